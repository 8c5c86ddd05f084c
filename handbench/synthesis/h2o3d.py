"""Writing synthetic takes of two hands as a tree in H2O-3D's official format.

For tests, and for trying any tool that reads the format without the licensed data. There are a
frame without annotation, a left hand of invalid pose and one of a few invalid joints, as in the
release.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from handbench import files
from handbench.datasets.ho3d_lists import take_of_h2o3d
from handbench.datasets.ho3d_reader import SPLITS
from handbench.errors import UnknownName
from handbench.hand import Hand
from handbench.synthesis.ho3d_parts import (
    BLUE,
    GREEN,
    RED,
    SIZE,
    box_of,
    depth_png,
    joints_of,
    mano_of,
    mask_colours,
    object_of,
    python2_pickle,
    write_list,
    write_models,
)
from handbench.synthesis.takes import Shot, Take, cameras_around, film_takes

K = np.array([[617.343, 0, 312.42], [0, 617.343, 241.42], [0, 0, 1]])
MOMENTS = 3
MASK_STEP = 2  # masks have half the pictures' width
COLOURS = {"right": RED, "left": BLUE, "object": GREEN}  # of the hands: our choice, not known
# sequences by split; takes of one object and subject
SEQUENCES = {"train": ("GCB0", "GCB1", "SMB2"), "evaluation": ("SSPD3",)}
TAKES = {
    "GCB": (0, "003_cracker_box"),
    "SMB": (1, "006_mustard_bottle"),
    "SSPD": (2, "035_power_drill"),
}
UNANNOTATED = ("SMB2", 0)
INVALID_POSE, INVALID_JOINTS = ("GCB0", 1), ("GCB1", 2)  # of the left hand
LOST = [4, 5, 6, 18]  # joints in the files' order that are invalid there


def write(root: Path, splits: tuple[str, ...], hands: Mapping[str, Hand], seed: int = 0) -> None:
    """The tree of some splits. Raises UnknownName."""
    write_shots(root, film(splits, hands, seed), hands)


def film(splits: tuple[str, ...], hands: Mapping[str, Hand], seed: int = 0) -> Iterator[Shot]:
    """The pictures of the tree; a shot's `camera` is its sequence."""
    for split in splits:
        if split not in SPLITS:
            raise UnknownName("split of h2o3d", split, SPLITS)
    names = [name for split in splits for name in SEQUENCES[split]]
    for take, (subject, thing) in TAKES.items():
        own = [name for name in names if take_of_h2o3d(name)[0] == take]
        if own:
            cameras = cameras_around(own, K, SIZE, spread_deg=60.0)
            staged = Take(take, subject, ("right", "left"), (thing,), MOMENTS)
            yield from film_takes([staged], cameras, hands, SIZE, seed)


def write_shots(root: Path, shots: Iterable[Shot], hands: Mapping[str, Hand]) -> None:
    """The tree of pictures that `film` makes, and everything beside them."""
    listed: dict[str, list[tuple[str, int]]] = {split: [] for split in SPLITS}
    things: set[str] = set()
    for shot in shots:
        split = "train" if shot.camera in SEQUENCES["train"] else "evaluation"
        folder, number = root / split / shot.camera, f"{shot.frame_number:04d}"
        files.write_bytes(folder / "rgb" / f"{number}.jpg", shot.image)
        files.write_bytes(folder / "depth" / f"{number}.png", depth_png(shot))
        mask = cv2.imencode(".png", mask_colours(shot, COLOURS, MASK_STEP)[..., ::-1])[1]
        files.write_bytes(folder / "segr" / f"{number}.png", mask.tobytes())
        meta = _meta(shot, hands, split)
        if (shot.camera, shot.frame_number) == UNANNOTATED:
            meta = dict.fromkeys(meta)
        else:
            listed[split].append((shot.camera, shot.frame_number))
        files.write_bytes(folder / "meta" / f"{number}.pkl", python2_pickle(meta))
        things.update(each.name for each in shot.objects)
    for split, lines in listed.items():
        if lines:
            write_list(root / f"{split}.txt", lines)
    write_models(root / "models", things)


def _meta(shot: Shot, hands: Mapping[str, Hand], split: str) -> dict[str, Any]:
    assert shot.object is not None
    meta = {**object_of(shot.object), "camMat": shot.K.astype(np.float64)}
    meta["camIDList"] = [0, 1, 2, 3, 4]
    for side, record in (("right", shot.right), ("left", shot.left)):
        assert record is not None
        if split == "evaluation":
            meta |= {
                f"{side}HandJoints3D": joints_of(record)[0],
                f"{side}HandBoundingBox": box_of(record),
            }
            continue
        pose, trans, shape = mano_of(record, hands[side])
        here = shot.camera, shot.frame_number
        joints_valid, pose_valid = np.ones(21, np.int64), np.ones(48, np.int64)
        if side == "left" and here == INVALID_POSE:
            pose_valid[:] = 0
        if side == "left" and here == INVALID_JOINTS:
            joints_valid[LOST] = 0
        meta |= {
            f"{side}HandPose": pose,
            f"{side}HandTrans": trans,
            "handBeta": shape,
            f"{side}HandJoints3D": joints_of(record),
            f"jointValid{side.title()}": joints_valid,
            f"poseValid{side.title()}": pose_valid,
        }
    return meta
