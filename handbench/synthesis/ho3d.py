"""Writing synthetic takes as trees in the official formats of HO-3D v2 and v3.

For tests, and for trying any tool that reads the formats without the licensed data. As in the
releases there are frames without annotation, which the lists leave out, lists that are not sorted,
and a take that both splits show by different cameras.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handbench import files
from handbench.datasets.ho3d_lists import take_of
from handbench.datasets.ho3d_reader import SPLITS
from handbench.errors import UnknownName
from handbench.hand import Hand
from handbench.synthesis.ho3d_parts import (
    BLUE,
    GREEN,
    RED,
    SIZE,
    as_png,
    box_of,
    depth_png,
    joints_of,
    mano_of,
    mask_colours,
    object_of,
    python2_pickle,
    to_theirs,
    write_list,
    write_models,
)
from handbench.synthesis.takes import Shot, Take, cameras_around, film_takes

K = np.array([[614.627, 0, 320.262], [0, 614.101, 238.469], [0, 0, 1]])
MOMENTS = 3
MASK_STEP = 4  # masks have a quarter of the pictures' width
COLOURS = {"v2": (RED, BLUE), "v3": (BLUE, GREEN)}  # of hand and object
TIPS = [20, 19, 18, 17, 16]  # of the files' joints, little finger first: manual annotations


@dataclass(frozen=True)
class Filmed:
    """A take: who holds what, its sequences by split, moments before the hand comes."""

    subject: int
    thing: str
    train: tuple[str, ...] = ()
    evaluation: tuple[str, ...] = ()
    late: int = 0


TAKES = {
    "SB1": Filmed(0, "021_bleach_cleanser", ("SB10", "SB12"), ("SB11", "SB13")),
    "ABF1": Filmed(1, "021_bleach_cleanser", ("ABF10", "ABF11")),
    "MC1": Filmed(2, "003_cracker_box", ("MC1",), late=2),
    "AP1": Filmed(1, "019_pitcher_base", evaluation=("AP10",)),
}


def film(splits: tuple[str, ...], hands: Mapping[str, Hand], seed: int = 0) -> Iterator[Shot]:
    """The pictures of the tree; a shot's `camera` is its sequence. Raises UnknownName."""
    for split in splits:
        if split not in SPLITS:
            raise UnknownName("split of HO-3D", split, SPLITS)
    for name, each in TAKES.items():
        wanted = {sequence for split in splits for sequence in getattr(each, split)}
        moments = MOMENTS + each.late
        take = Take(name, each.subject, ("right",), (each.thing,), moments, each.late)
        if wanted:
            everything = sorted(each.train + each.evaluation)
            cameras = cameras_around(everything, K, SIZE, spread_deg=80.0)
            shots = film_takes([take], cameras, hands, SIZE, seed)
            yield from (shot for shot in shots if shot.camera in wanted)


def write(
    version: str, root: Path, splits: tuple[str, ...], hands: Mapping[str, Hand], seed: int = 0
) -> None:
    """The tree of some splits of "v2" or "v3"."""
    write_shots(version, root, film(splits, hands, seed), hands)


write_v2, write_v3 = partial(write, "v2"), partial(write, "v3")


def split_of(sequence: str) -> str:
    """The split whose lists name a sequence's pictures."""
    in_train = any(sequence in each.train for each in TAKES.values())
    return "train" if in_train else "evaluation"


def write_shots(version: str, root: Path, shots: Iterable[Shot], hands: Mapping[str, Hand]) -> None:
    """The tree of pictures that `film` makes, and everything beside them.

    The first moments of a late take have no annotation: None in the first's file, no file for the
    others. No list names them.
    """
    listed: dict[str, list[Shot]] = {split: [] for split in SPLITS}
    seen: dict[str, dict[str, Shot]] = {}
    for shot in shots:
        split = split_of(shot.camera)
        folder, number = root / split / shot.camera, f"{shot.frame_number:04d}"
        _write_pictures(folder, number, shot, version, masks=split == "train")
        if shot.right is not None:
            meta = _meta(shot, hands["right"], split, version)
            listed[split].append(shot)
            seen.setdefault(take_of(shot.camera)[0], {})[shot.camera] = shot
            if shot.camera == "ABF11" and version == "v3":
                _write_manual(root / "manual_annotations", shot)
        else:
            meta = dict.fromkeys((*_ANNOTATED, "camMat"))
        if shot.right is not None or shot.frame_number == 0:
            files.write_bytes(folder / "meta" / f"{number}.pkl", python2_pickle(meta))
    for split, found in listed.items():
        if found:
            # out of order, as nobody promises that lists are sorted
            found.sort(key=lambda s: (s.camera, s.frame_number), reverse=split == "evaluation")
            write_list(root / f"{split}.txt", [(s.camera, s.frame_number) for s in found])
    if listed["evaluation"]:
        _write_truth(root, listed["evaluation"])
    if version == "v3":
        for take, cameras in seen.items():
            if take_of(next(iter(cameras)))[0] != next(iter(cameras)):
                _write_calibration(root / "calibration" / take / "calibration", cameras)
    write_models(root / "models", {each.thing for each in TAKES.values()})


_ANNOTATED = (
    "handPose", "handTrans", "handBeta", "handJoints3D", "objRot", "objTrans", "objName",
    "objLabel", "objCorners3D", "objCorners3DRest",
)  # fmt: skip


def _meta(shot: Shot, hand: Hand, split: str, version: str) -> dict[str, Any]:
    record = shot.right
    assert record is not None and shot.object is not None and shot.scene is not None
    meta = {**object_of(shot.object), "camMat": shot.K.astype(np.float64)}
    joints = joints_of(record)
    if split == "evaluation":
        return {**meta, "handJoints3D": joints[0], "handBoundingBox": box_of(record)}
    pose, trans, shape = mano_of(record, hand)
    meta |= {"handPose": pose, "handTrans": trans, "handBeta": shape, "handJoints3D": joints}
    if version == "v3":
        meta |= {"camIDList": [0, 1, 2, 3, 4], **_contact(shot)}
    return meta


def _contact(shot: Shot) -> dict[str, NDArray]:
    """handVert…: distance to the object's surface, taken at its vertices here."""
    from scipy.spatial import cKDTree

    assert shot.scene is not None
    hand, thing = (next(m for m in shot.scene.meshes if m.kind == k) for k in ("right", "object"))
    distance, nearest = cKDTree(thing.verts_m).query(hand.verts_m)
    return {
        "handVertContact": distance < 0.004,
        "handVertIntersec": np.zeros(len(distance), bool),
        "handVertDist": distance.astype(np.float32),
        "handVertObjSurfProj": to_theirs(thing.verts_m[nearest]).astype(np.float32),
    }


def _write_pictures(folder: Path, number: str, shot: Shot, version: str, masks: bool) -> None:
    """rgb, depth and, where asked for, seg of one moment."""
    if version == "v3":
        files.write_bytes(folder / "rgb" / f"{number}.jpg", shot.image)
    else:
        files.write_bytes(folder / "rgb" / f"{number}.png", as_png(shot.image))
    files.write_bytes(folder / "depth" / f"{number}.png", depth_png(shot))
    if masks:
        hand, thing = COLOURS[version]
        colours = mask_colours(shot, {"right": hand, "object": thing}, MASK_STEP)
        suffix = ".jpg" if version == "v2" else ".png"
        encoded = cv2.imencode(suffix, colours[..., ::-1])[1].tobytes()
        files.write_bytes(folder / "seg" / f"{number}{suffix}", encoded)


def _write_truth(root: Path, shots: list[Shot]) -> None:
    """evaluation_xyz.json and evaluation_verts.json, line for line of evaluation.txt."""
    joints, verts = [], []
    for shot in shots:
        assert shot.right is not None and shot.scene is not None
        mesh = next(mesh for mesh in shot.scene.meshes if mesh.kind == "right")
        joints.append(joints_of(shot.right).astype(np.float64).tolist())
        verts.append(to_theirs(mesh.verts_m).astype(np.float32).astype(np.float64).tolist())
    for name, content in (("xyz", joints), ("verts", verts)):
        files.write_text(root / f"evaluation_{name}.json", json.dumps(content))


def _write_calibration(folder: Path, cameras: Mapping[str, Shot]) -> None:
    """Cameras of a take in a common frame; numbered by their place in cam_orders.txt."""
    order = sorted(cameras, reverse=True)
    files.write_text(folder / "cam_orders.txt", "".join(f"{name[-1]}\n" for name in order))
    files.write_text(folder / "cam_0_depth_scale.txt", "0.00012498664727900177\n")
    for place, name in enumerate(order):
        shot = cameras[name]
        assert shot.T_world_camera is not None
        back = np.linalg.inv(shot.T_world_camera)
        rows = "".join(" ".join(f"{value:.18e}" for value in row) + "\n" for row in back)
        files.write_text(folder / f"trans_{place}.txt", rows)
        lens = zip(("fx", "fy", "ppx", "ppy"), shot.K[[0, 1, 0, 1], [0, 1, 2, 2]])
        text = ", ".join(f"{field}: {value:.4f}" for field, value in lens)
        files.write_text(folder / f"cam_{place}_intrinsics.txt", text + "\n")


def _write_manual(folder: Path, shot: Shot) -> None:
    """Five tips (5,3) in the OpenGL frame of a take's camera 1."""
    assert shot.right is not None
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / f"ABF1_{shot.frame_number:04d}.npy", joints_of(shot.right)[TIPS])
