"""How varied a prepared split is: measured from its columns, kept in its index and printed."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from handbench.frames import mirror_pose
from handbench.hand import Hand
from handbench.rules import level
from handbench.schema import SIDES
from handbench.synthesis.library import load_grasps

# stations of a training grasp's motion, as weights of open, closed and lifted
STATIONS = np.array(
    [(1, 0, 0), (0.67, 0.33, 0), (0.33, 0.67, 0), (0, 1, 0), (0, 0.5, 0.5), (0, 0, 1)]
)
BLOCK = 64


def variety(columns: Mapping[str, NDArray], unseen: bool) -> dict[str, Any]:
    """Numbers that json can hold; unseen: also how far the poses are from those of train.

    columns: those of the index; hands count where they are annotated (present = 1). Shares are
    0..1, angles degrees, distances mm.
    """
    there = {side: columns[f"{side}/present"] == 1 for side in SIDES}
    pose = np.concatenate(
        [
            columns["right/mano_pose"][there["right"]],
            mirror_pose(columns["left/mano_pose"][there["left"]]),
        ]
    ).astype(np.float64)
    visible, share = (
        np.concatenate([columns[f"{side}/visibility/scene/{name}"][there[side]] for side in SIDES])
        for name in ("finger", "hand")
    )
    levels = level(share)
    covered = (visible == 0).sum(1)
    out = {
        "recordings": len(np.unique(columns["recording"])),
        "objects": len(np.unique(columns["object/name"])),
        "left_hands": float(there["left"].sum() / max(1, len(pose))),
        "two_hands": float((there["right"] & there["left"]).mean()),
        "hands_by_occlusion_level": [int((levels == k).sum()) for k in range(4)],
        "hands_by_occluded_fingers": np.bincount(covered, minlength=6).tolist(),
        "sequences_with_changing_fingers": _changing(columns, there),
        "orientation_spread_deg": _spread(pose[:, :3]),
    }
    if unseen:
        distance = nearest_train_mm(pose)
        out["nearest_train_pose_mm"] = {
            name: float(np.percentile(distance, at))
            for name, at in (("least", 0), ("median", 50), ("most", 100))
        }
    return out


def nearest_train_mm(pose: NDArray) -> NDArray[np.float64]:
    """Distance (N,) from poses (N,48) of right hands to the nearest pose in train, mm.

    Mean joint distance with the wrist's turn taken out and one hand shape, to six stations of the
    motion of every training grasp: open, closing, closed, fingers lifted.
    """
    grasps = load_grasps("train")
    keys = np.stack([[g.pose_open, g.pose, g.pose_alt] for g in grasps])
    known = _shape_only(np.einsum("sk,gkp->gsp", STATIONS, keys).reshape(-1, 48))
    asked = _shape_only(pose)
    out = np.empty(len(asked))
    for first in range(0, len(asked), BLOCK):
        rows = slice(first, first + BLOCK)
        apart = np.zeros((len(asked[rows]), len(known)))
        for joint in range(1, known.shape[1]):
            step = asked[rows, None, joint] - known[None, :, joint]
            apart += np.sqrt((step * step).sum(-1))
        out[rows] = 1000 * apart.min(1) / known.shape[1]
    return out


def _shape_only(pose: NDArray) -> NDArray[np.float64]:
    """Joints (N,21,3) of poses without the wrist's turn, mean shape, relative to the wrist."""
    still = np.concatenate([np.zeros((len(pose), 3)), pose[:, 3:]], axis=1)
    joints = Hand.open().pose(still, np.zeros((1, 10)))[1]
    return joints - joints[:, :1]


def _spread(rotvec: NDArray) -> list[list[float]]:
    """2.5 and 97.5 percentile of the turns about the camera's x, y and z from the mean one."""
    turns = Rotation.from_rotvec(rotvec)
    angles = (turns * turns.mean().inv()).as_euler("xyz", degrees=True)
    return np.percentile(angles, [2.5, 97.5], axis=0).T.round(1).tolist()


def _changing(columns: Mapping[str, NDArray], there: Mapping[str, NDArray]) -> float:
    """Share of sequences of one camera in which some finger's visibility changes."""
    filmed, group = np.unique(
        np.stack([columns["sequence"], columns["camera"]]), axis=1, return_inverse=True
    )
    changes = np.zeros(filmed.shape[1], bool)
    for side in SIDES:
        finger, of = columns[f"{side}/visibility/scene/finger"][there[side]], group[there[side]]
        known, first = np.unique(of, return_index=True)
        start = np.zeros(len(changes), np.int64)
        start[known] = first
        changes[of[(finger != finger[start[of]]).any(1)]] = True
    return float(changes.mean())
