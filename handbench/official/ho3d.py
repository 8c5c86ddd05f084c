"""HO-3D's and FreiHAND's evaluation of pred.json, line for line."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handbench.errors import DataError
from handbench.official.curves import Curves
from handbench.official.hands import CONVENTIONS, Points, kind_of
from handbench.official.jsonpoints import PointList, index_all
from handbench.official.meshes import check_finite, joint_trafo, score_meshes
from handbench.scoring.align import MIDDLE, procrustes, scale_translation

# protocol -> the official number of samples
OFFICIAL_SAMPLES = {"ho3d_v2": 11_524, "ho3d_v3": 20_137, "freihand": 3_960}


@dataclass(frozen=True)
class OfficialScores:
    """lines: name -> value as the official tool prints them; per_sample in mm and shares, (N,)."""

    protocol: str
    lines: Mapping[str, float]
    per_sample: Mapping[str, NDArray]
    curves: Mapping[str, NDArray]

    def text(self) -> str:
        """scores.txt."""
        return "".join(f"{name}: {value:f}\n" for name, value in self.lines.items())


def read_truth(folder: str | Path) -> tuple[PointList, PointList]:
    """evaluation_xyz.json and evaluation_verts.json of a ground-truth folder."""
    wanted = [Path(folder) / name for name in ("evaluation_xyz.json", "evaluation_verts.json")]
    for path in wanted:
        if not path.is_file():
            raise DataError(
                f"{path} does not exist: --ground-truth wants the folder with the released "
                "evaluation_xyz.json and evaluation_verts.json"
            )
    joints, verts = index_all([(path, 1) for path in wanted])
    return joints[0], verts[0]


def check_counts(
    protocol: str,
    pred: tuple[Points, Points | None],
    true: tuple[Points, Points],
    subset: bool,
) -> None:
    """Raises DataError unless predictions and truth agree, and have the official count."""
    meshes = pred[0] if pred[1] is None else pred[1]
    counts = [len(each) for each in (pred[0], meshes, *true)]
    if len(set(counts)) > 1:
        raise DataError(
            f"{pred[0].path} has {counts[0]} joint and {counts[1]} mesh samples, the ground truth "
            f"{counts[2]} and {counts[3]}: all must be equal"
        )
    wanted = OFFICIAL_SAMPLES[protocol]
    if not subset and counts[0] != wanted:
        raise DataError(
            f"{pred[0].path} and the ground truth have {counts[0]:,} samples, {protocol} has "
            f"{wanted:,}: add --subset to score a part of it"
        )
    if not counts[0]:
        raise DataError(f"{pred[0].path} holds no sample")
    for each, name in ((pred[0], "predicted"), (true[0], "true")):
        if each.points_a_sample != 21:
            raise DataError(f"{each.path}: {each.points_a_sample} {name} joints a sample, not 21")


def evaluate(
    pred: tuple[Points, Points | None],
    true: tuple[Points, Points],
    protocol: str,
    on_nan: str = "error",
    workers: int | None = None,
) -> OfficialScores:
    """Score all samples as the official tool of the protocol does.

    Joints are in the file's own order and frame. Whether the mesh has MANO's topology is decided
    by the first sample's vertex count, as officially; if not, mesh lines read -100 and -1. Without
    predicted meshes (None) there are no mesh lines.
    """
    joints, target = pred[0].read(0, len(pred[0])), true[0].read(0, len(true[0]))
    check_finite(true[0], target, 0)
    broken = ~np.isfinite(joints).all((1, 2))
    if broken.any() and (on_nan == "error" or (on_nan == "drop" and broken.all())):
        raise DataError(
            f"{pred[0].path}: the joints of sample {np.flatnonzero(broken)[0]} are not finite: "
            "mend them, or choose --on-nan drop or --on-nan worst"
        )
    order = np.argsort(CONVENTIONS[kind_of(protocol)].order)  # where our joints stand in the file
    joints[broken] = target[broken]  # measured as nothing here, dropped or made the worst below
    versions = {
        "": joints,
        "pa_": procrustes(joints, target),
        "st_": scale_translation(joints, target, stop=int(order[MIDDLE])),
    }
    per_sample: dict[str, NDArray] = {}
    curve = {name: Curves(21) for name in versions}
    for name, points in versions.items():
        errors = np.linalg.norm(target - points, axis=-1)
        errors[broken] = 1.0 if on_nan == "worst" else np.nan
        per_sample[f"{name}mpjpe_mm"] = errors.mean(1) * 1000
        own = np.full(len(errors), np.nan)
        kept = np.isfinite(errors).all(1)
        own[kept] = curve[name].add(errors[kept])
        per_sample[f"{name}auc50_joints"] = own
        if name != "st_":
            per_sample[f"{name}joint_errors_mm"] = (errors * 1000).astype(np.float32)
    similar = "xyz_al" if protocol == "freihand" else "xyz_procrustes_al"
    lines = _pair("xyz", curve[""]) | _pair(similar, curve["pa_"])
    if protocol != "freihand":
        lines |= _pair("xyz_scale_trans_al", curve["st_"])
    curves = {"joints": curve[""].pck, "pa_joints": curve["pa_"].pck}
    if pred[1] is None:
        return OfficialScores(protocol, lines, per_sample, curves)
    same = pred[1].points_a_sample == true[1].points_a_sample
    trafo = None if same else joint_trafo(joints, target)
    meshes = score_meshes(pred[1], true[1], trafo, on_nan, workers)
    per_sample |= meshes.per_sample
    lines |= _pair("mesh", meshes.raw) | _pair("mesh_al", meshes.aligned)
    for threshold in ("5", "15"):
        lines[f"f_score_{threshold}"] = float(np.nanmean(per_sample[f"f{threshold}"]))
        lines[f"f_al_score_{threshold}"] = float(np.nanmean(per_sample[f"pa_f{threshold}"]))
    if meshes.raw is not None and meshes.aligned is not None:
        curves |= {"verts": meshes.raw.pck, "pa_verts": meshes.aligned.pck}
    return OfficialScores(protocol, lines, per_sample, curves)


def _pair(name: str, curves: Curves | None) -> dict[str, float]:
    """Mean in cm and AUC; -100 and -1 stand for a mesh that cannot be compared."""
    if curves is None:
        return {f"{name}_mean3d": -100.0, f"{name}_auc3d": -1.0}
    return {f"{name}_mean3d": curves.mean * 100, f"{name}_auc3d": curves.auc}
