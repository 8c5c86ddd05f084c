"""Protocols as data: everything that must match before two numbers may be compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from handbench.errors import UnknownName

# Evaluation conditions, which rows of one table must share, and what they are called in print.
EVALUATION_CONDITIONS = {
    "data": "data",
    "dataset_version": "data version",
    "hands": "hands scored",
    "box_source": "boxes at test time",
    "root_source": "root",
    "left_hands": "left hands",
    "label_rule": "occlusion rule",
}
# Method conditions, which are shown as columns beside the numbers.
METHOD_CONDITIONS = {
    "inputs": "inputs at test time",
    "frames": "frames",
    "crop_px": "crop",
    "initialisation": "initialisation",
    "training_data": "training data",
    "checkpoint_rule": "checkpoint",
    "trained_in": "training batches",
}
OFFICIAL_MESH = (
    *("mpjpe_mm", "pa_mpjpe_mm", "st_mpjpe_mm", "mpvpe_mm", "pa_mpvpe_mm"),
    *("auc50_joints", "pa_auc50_joints", "st_auc50_joints", "auc50_verts", "pa_auc50_verts"),
    *("f5", "f15", "pa_f5", "pa_f15"),
)
AUCS = ("raw_auc50_joints", "auc50_joints", "pa_auc50_joints")
HIDDEN = (
    *("hidden_mpjpe_mm", "visible_mpjpe_mm", "hidden_given_seen_mm"),
    *("hidden_mpvpe_mm", "visible_mpvpe_mm"),
)
ORIENTATION = ("rotation_deg", "root_rotation_deg", "canonical_mm", "scale_ratio")
PLANAR = tuple(
    f"{part}{name}"
    for part in ("", "visible_", "hidden_")
    for name in ("epe2d_px", "pck2d_005", "pck2d_010", "pck2d_015")
)
WHOLE = ("accel_mm", "jitter_mm", "mrrpe_mm", "handedness_acc", "mssd_mm")
MAIN = (
    *("mpjpe_mm", "pa_mpjpe_mm", "st_mpjpe_mm", "raw_mpjpe_mm", "mpvpe_mm", "pa_mpvpe_mm"),
    *("jstar_mpjpe_mm", "pa_jstar_mpjpe_mm"),
    *("auc50_joints", "pa_auc50_joints", "auc50_verts", "pa_auc50_verts"),
    *("f5", "f15", "pa_f5", "pa_f15"),
    *HIDDEN,
    *ORIENTATION,
    *PLANAR,
    "occlusion_acc",
    *WHOLE,
)
INTERACTION = ("single", "interacting")


@dataclass(frozen=True)
class Protocol:
    """How predictions become numbers. A changed rule raises the version.

    root: what errors are relative to; reflection: whether Procrustes may mirror; average: "hand",
    the mean of all hands, or "joint", first over hands for each of both hands' 42 joints; groups:
    parts of the data with their own numbers; left_hands: how they are compared.
    """

    name: str
    version: int
    about: str
    root: str
    reflection: bool
    metrics: tuple[str, ...]
    average: str = "hand"
    groups: tuple[str, ...] = ()
    left_hands: str = "scored un-mirrored"

    @property
    def label(self) -> str:
        return f"{self.name}@{self.version}"


PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="handbench",
            version=1,
            about="wrist-relative errors; PA is a similarity without reflection, joints and mesh "
            "each by their own; AUC over 0-50 mm in 100 steps; every hand of the split counts once",
            root="wrist",
            reflection=False,
            metrics=MAIN,
        ),
        *(
            Protocol(
                name=name,
                version=1,
                about=f"the official {title} evaluator: raw errors in the camera frame, PA may "
                "mirror, joints and mesh each by their own; AUC over 0-50 mm in 100 steps",
                root="camera",
                reflection=True,
                metrics=OFFICIAL_MESH,
            )
            for name, title in (
                ("ho3d_v2", "HO-3D v2"),
                ("ho3d_v3", "HO-3D v3"),
                ("freihand", "FreiHAND"),
            )
        ),
        Protocol(
            name="dexycb_hpe",
            version=1,
            about="the DexYCB toolkit's hand pose evaluation: 21 joints, left hands as they are; "
            "MPJPE is root-relative and counts the wrist, raw is in the camera frame, PA may "
            "mirror; AUC over 0-50 mm in 100 steps",
            root="wrist",
            reflection=True,
            metrics=("raw_mpjpe_mm", "mpjpe_mm", "pa_mpjpe_mm", *AUCS),
        ),
        Protocol(
            name="dexycb_handoccnet",
            version=1,
            about="DexYCB as HandOccNet's code scores it: predicted wrist on the true one, PA by "
            "Umeyama's similarity without reflection; left hands mirrored, which changes no "
            "distance; joints only. The code computes in float32, we in float64",
            root="wrist",
            reflection=False,
            metrics=("mpjpe_mm", "pa_mpjpe_mm"),
            left_hands="mirrored to right hands",
        ),
        Protocol(
            name="dexycb_h2onet",
            version=1,
            about="DexYCB as H2ONet's code scores it: both hands minus joint 0, meshes too; PA "
            "may mirror, joints and mesh each by their own; left hands mirrored. AUC (0-50 mm) "
            "and F-scores, which the paper prints and the code lacks, as HO-3D defines them",
            root="wrist",
            reflection=True,
            metrics=tuple(name for name in OFFICIAL_MESH if not name.startswith("st_")),
            left_hands="mirrored to right hands",
        ),
        Protocol(
            name="interhand26m",
            version=1,
            about="InterHand2.6M: each hand minus its own wrist, hands without a wrist dropped; "
            "mean over hands for each joint, then over the 42 joints of both hands; single, "
            "interacting and all; MRRPE of interacting hands with both wrists",
            root="own wrist",
            reflection=False,
            metrics=("mpjpe_mm", "pa_mpjpe_mm", "mrrpe_mm", "handedness_acc"),
            average="joint",
            groups=INTERACTION,
        ),
        Protocol(
            name="h2o3d",
            version=1,
            about="H2O-3D in the terms of kypt's and OccRobNet's tables: each hand minus its own "
            "wrist, MRRPE, MSSD of the object. The test server's own alignment is not published: "
            "numbers of a held-out part of train are not those of the server",
            root="own wrist",
            reflection=False,
            metrics=("mpjpe_mm", "pa_mpjpe_mm", "mrrpe_mm", "mssd_mm"),
        ),
        Protocol(
            name="fpha",
            version=1,
            about="FPHA as HandOccNet reports it: 21 joints after Umeyama's similarity without "
            "reflection; wrist-relative beside it. FPHA's joints are markers' and not MANO's",
            root="wrist",
            reflection=False,
            metrics=("mpjpe_mm", "pa_mpjpe_mm", "auc50_joints", "pa_auc50_joints"),
        ),
    )
}


def get(name: str) -> Protocol:
    """A protocol by name. Raises UnknownName with the nearest one."""
    if name not in PROTOCOLS:
        raise UnknownName("protocol", name, PROTOCOLS, "handbench list protocols")
    return PROTOCOLS[name]


def differences(conditions: list[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Evaluation conditions in which several results differ: name -> the value of each result."""
    names = ("protocol", *EVALUATION_CONDITIONS)
    found = {name: [each.get(name) for each in conditions] for name in names}
    return {name: values for name, values in found.items() if len(set(map(str, values))) > 1}
