"""InterHand2.6M's hands in the camera frame: joints, and MANO fits (NeuralAnnot) with meshes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbench import frames
from handbench.datasets.interhand26m_files import NOT_TOLD
from handbench.datasets.jpeg import Skip
from handbench.datasets.trees import is_synthetic
from handbench.errors import DataError
from handbench.hand import Hand
from handbench.mano_files import FILES, find_mano
from handbench.records import SHIPPED, HandRecord, Mesh
from handbench.rigid import move_hand
from handbench.schema import SIDES

REGRESSOR = "J_regressor_mano_ih26m.npy"  # the release's own, beside the user's MANO files


def read_hands(moment: Any, note: Any, T: NDArray, K: NDArray) -> dict[str, HandRecord | None]:
    """Both hands in the camera frame, our joint order; None for a hand that is not there.

    Validity comes from the flags alone: an absent joint is usually written (1, 1, 1), but not
    always. A hand of an interacting pair without any valid joint is present but not annotated.
    """
    hands: dict[str, HandRecord | None] = {}
    single = note["hand_type"] != 2
    for first, side in zip((0, 21), SIDES):
        order = frames.INTERHAND + first
        inside = note["valid"][order] > 0
        annotated = np.where(moment["valid"][order] == NOT_TOLD, inside, moment["valid"][order] > 0)
        seen = annotated & inside
        if not annotated.any():
            expected = not single or SIDES[note["hand_type"]] == side
            hands[side] = unannotated() if expected else None
            continue
        joints_m = frames.to_camera(moment["world_mm"][order].astype(np.float64) / 1000, T)
        joints_m[~annotated] = np.nan
        if not np.isfinite(joints_m[annotated]).all():
            raise Skip("joints not finite")
        joints_px = frames.project(joints_m, K)
        box, source = None, 0
        if single and seen.any() and (note["bbox"][2:] > 0).all():
            box, source = _shrink(note["bbox"]), SHIPPED
        elif seen.any():
            low, high = joints_px[seen].min(0), joints_px[seen].max(0)
            box, source = np.concatenate([low, high - low]), 1
        valid = annotated.astype(np.uint8) + 2 * seen.astype(np.uint8)
        hands[side] = HandRecord(
            joints_m, valid, joints_px, joints_kind=2, box_px=box, box_source=source
        )
    return hands


@dataclass(frozen=True)
class Fits:
    """The user's MANO hands by side, and the joints that a fit is compared with.

    joints_kind: "regressor" when the release's J_regressor_mano_ih26m.npy lies beside the MANO
    files (it regresses the joints from the surface), else "mano" (kinematic joints and tips).
    folder None: the open hands, for a tree of theirs.
    """

    folder: Path | None
    joints_kind: str

    @classmethod
    def of_tree(cls, root: Path) -> "Fits | None":
        """The hands that a raw tree's fits belong to; None without the user's MANO: joints only.

        Raises DataError when $HANDBENCH_MANO is set and holds no MANO files.
        """
        if is_synthetic(root):
            return cls(None, "mano")
        path, other = (find_mano(side) for side in SIDES)
        if path is None or other is None:
            return None
        kind = "regressor" if (path.parent / REGRESSOR).is_file() else "mano"
        return cls(path.parent, kind)

    def models(self) -> tuple[Hand, Hand]:
        """Right and left hand."""
        return _models(self.folder)["right"], _models(self.folder)["left"]

    def add(
        self,
        hands: Mapping[str, HandRecord | None],
        row: Any,
        T: NDArray,
        limit_mm: float,
    ) -> tuple[dict[str, HandRecord | None], tuple[Mesh, ...]]:
        """Hands with their MANO parameters in the camera frame, and the meshes to label from.

        row: pose, shape, trans of right and left in the world frame, or None. The meshes are
        empty unless every hand in the picture has a fit better than limit_mm: one bad mesh
        would spoil what is said about both hands.
        """
        out = dict(hands)
        meshes = []
        for at, (side, hand) in enumerate(hands.items()):
            if hand is None or row is None:
                continue
            if not all(np.isfinite(row[name][at]).all() for name in ("pose", "shape", "trans")):
                continue
            model = _models(self.folder)[side]
            fitted, verts_m = self._fitted(model, hand, row, at, T)
            out[side] = fitted
            if fitted.fit_error_mm < limit_mm:
                meshes.append(Mesh(verts_m, model.faces, side))
        complete = len(meshes) == sum(hand is not None for hand in hands.values())
        return out, tuple(meshes) if complete else ()

    def _fitted(
        self, model: Hand, hand: HandRecord, row: Any, at: int, T: NDArray
    ) -> tuple[HandRecord, NDArray]:
        """One hand's record and vertices (778,3) m in the camera frame."""
        shape = row["shape"][at][None]
        pose = row["pose"][at][None] + np.concatenate([np.zeros(3), model.hands_mean])
        rest = model.rest_joints(shape)[:, 0]
        pose, trans = move_hand(pose, row["trans"][at][None], rest, T[:3, :3], T[:3, 3])
        verts, joints = model.pose(pose, shape)
        verts_m, joints_m = verts[0] + trans, joints[0] + trans
        if self.folder is not None and self.joints_kind == "regressor":
            joints_m = (_regressor(self.folder) @ verts_m)[frames.INTERHAND]
        known = (hand.joints_valid & 1) > 0
        error = np.linalg.norm(joints_m - hand.joints_m, axis=-1)[known]
        record = replace(
            hand,
            mano_pose=pose[0],
            mano_shape=shape[0],
            mano_trans_m=trans[0],
            mano_valid=1,
            fit_error_mm=float(error.mean() * 1000) if len(error) else float("nan"),
        )
        return record, verts_m


@lru_cache(maxsize=2)
def _models(folder: Path | None) -> dict[str, Hand]:
    """Both hands; the shape fault of the public left file is undone where it is found."""
    if folder is None:
        return {side: Hand.open(side) for side in SIDES}
    return {
        "right": Hand.load(folder / FILES["right"]),
        "left": Hand.load(folder / FILES["left"], fix_left_shape=True),
    }


@lru_cache(maxsize=2)
def _regressor(folder: Path) -> NDArray:
    path = folder / REGRESSOR
    try:
        matrix = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is no numpy file ({error}): fetch it again") from None
    if matrix.shape != (21, 778):
        raise DataError(f"{path}: expected (21, 778), found {matrix.shape}")
    return matrix


def unannotated() -> HandRecord:
    """A hand that is in the picture, and nothing of it is told."""
    nothing = np.full((21, 3), np.nan)
    return HandRecord(nothing, np.zeros(21, np.uint8), nothing[:, :2], present=2)


def _shrink(bbox: NDArray) -> NDArray:
    """The official box is the joints' extent times 1.2 about its centre: back to the extent."""
    size = bbox[2:].astype(np.float64) / 1.2
    return np.concatenate([bbox[:2] + bbox[2:] / 2 - size / 2, size])
