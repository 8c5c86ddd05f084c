"""FreiHAND's hands: shipped joints and vertices, MANO parameters with the mean pose included."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbench import frames
from handbench.datasets.freihand_files import SIZE, TIP_IDS
from handbench.datasets.jpeg import Skip
from handbench.datasets.trees import hands_of_tree
from handbench.hand import Hand
from handbench.records import HandRecord, Mesh

ROOT_JOINT, NEXT_JOINT = 9, 10  # base and first bend of the middle finger
NEAR_MM, NEAR_PX = 1.0, 1.0  # how far what two files say of one hand may differ


@dataclass(frozen=True)
class Models:
    """The user's MANO hands, or the open hands of a tree written here."""

    root: Path

    @classmethod
    def find(cls, root: Path) -> "Models | None":
        return None if hands_of_tree(root) is None else cls(root)

    @property
    def hands(self) -> tuple[Hand, Hand]:
        return _hands(self.root)

    def fit(self, mano: NDArray, verts_m: NDArray) -> tuple[dict[str, Any], NDArray]:
        """Pose, shape and translation of a *_mano entry (61,), and the vertices they give.

        The entry's pose is without the mean. Its root is given in pixels and scale; the
        translation that brings the posed mesh onto the shipped one is the same and exact.
        """
        model = self.hands[0]
        pose = mano[:48] + np.concatenate([np.zeros(3), model.hands_mean])
        verts, _ = model.pose(pose[None], mano[None, 48:58])
        trans = (verts_m - verts[0]).mean(0)
        found = {"mano_pose": pose, "mano_shape": mano[48:58], "mano_trans_m": trans}
        return found, verts[0] + trans


def regress(verts_m: NDArray, model: Hand) -> NDArray[np.float64]:
    """Joints (21,3) as the release has them: regressed from posed vertices (778,3), and tips."""
    joints = np.concatenate([model.J_regressor @ verts_m, verts_m[list(TIP_IDS)]])
    return joints[frames.MANO_TIPS]


def read_hand(
    sample: Mapping[str, NDArray], models: Models | None
) -> tuple[HandRecord, Mesh | None]:
    """The right hand of a sample (K, xyz, verts, mano), and its mesh where faces are known.

    Raises Skip for numbers that cannot be.
    """
    joints_m, verts_m, K = sample["xyz"], sample["verts"], sample["K"]
    for name in ("K", "xyz", "verts", "mano"):
        if not np.isfinite(sample[name]).all():
            raise Skip(f"{name} not finite")
    if np.ptp(joints_m, axis=0).max() == 0:
        raise Skip("all joints in one place")
    if (joints_m[:, 2] <= 0).any():
        raise Skip("joints behind the camera")
    joints_px = frames.project(joints_m, K)
    inside = ((joints_px >= -0.5) & (joints_px < np.array(SIZE) - 0.5)).all(1)
    low, high = joints_px.min(0), joints_px.max(0)
    hand = HandRecord(
        joints_m,
        np.where(inside, 3, 1).astype(np.uint8),
        joints_px,
        joints_kind=1,
        box_px=np.concatenate([low, high - low]),
        box_source=1,
        verts_m=verts_m,
    )
    if models is None:
        return hand, None
    found, posed = models.fit(sample["mano"], verts_m)
    joints = regress(posed, models.hands[0])
    error = float(np.linalg.norm(joints - joints_m, axis=-1).mean() * 1000)
    hand = replace(hand, **found, mano_valid=1, fit_error_mm=error)
    return hand, Mesh(verts_m, models.hands[0].faces, "right")


def unknown_hand() -> HandRecord:
    """A right hand that is known to be there, and nothing else of it."""
    nowhere = np.full((21, 3), np.nan)
    return HandRecord(nowhere, np.zeros(21, np.uint8), nowhere[:, :2])


def check_sample(sample: Mapping[str, NDArray], models: Models | None) -> Iterator[str]:
    """What in a sample contradicts the documented conventions: expected against found."""
    joints_m, K, mano = sample["xyz"], sample["K"], sample["mano"]
    if not all(np.isfinite(values).all() for values in sample.values()):
        return  # the frame is skipped and counted when it is read
    bone = np.linalg.norm(joints_m[ROOT_JOINT] - joints_m[NEXT_JOINT])
    if abs(bone - sample["scale"]) * 1000 > NEAR_MM:
        yield f"expected a middle finger bone of {sample['scale']:.4f} m, found {bone:.4f}"
    root_px, root_z = frames.project(joints_m, K)[ROOT_JOINT], joints_m[ROOT_JOINT, 2]
    if np.abs(root_px - mano[58:60]).max() > NEAR_PX:
        said = " ".join(f"{x:.1f}" for x in mano[58:60])
        yield f"expected joint 9 at pixel {said}, found {root_px[0]:.1f} {root_px[1]:.1f}"
    depth = (K[0, 0] + K[1, 1]) / 2 / mano[60] if mano[60] else np.inf
    if abs(depth - root_z) * 1000 > NEAR_MM:
        yield f"expected joint 9 {depth:.4f} m away (focal length / scale), found {root_z:.4f}"
    if models is not None:
        _, posed = models.fit(mano, sample["verts"])
        error = np.linalg.norm(posed - sample["verts"], axis=-1).mean() * 1000
        if error > NEAR_MM:
            yield (
                f"expected MANO parameters to give the shipped vertices, found them {error:.1f} mm "
                "apart: is it FreiHAND v2, and MANO v1.2?"
            )


@lru_cache(maxsize=2)
def _hands(root: Path) -> tuple[Hand, Hand]:
    found = hands_of_tree(root)
    assert found is not None
    return found
