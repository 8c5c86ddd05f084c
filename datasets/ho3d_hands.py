"""Hands and objects of HO-3D and H2O-3D: OpenGL and MANO's joint order -> OpenCV and ours."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from handbench import frames
from handbench.datasets import ycb
from handbench.datasets.ho3d_files import SIZE
from handbench.datasets.jpeg import Skip
from handbench.datasets.reach import cut_to_reach, hand_reach
from handbench.hand import Hand
from handbench.records import SHIPPED, HandRecord, Mesh, ObjectRecord
from handbench.rigid import move_hand

FLIP = np.diag(frames.OPENGL)  # a half turn about x: a rotation, so poses move with it
FIT_LIMIT_MM = 5.0  # the joints are the mesh's own: a greater distance means another model
# How the two sets' tips were picked from the mesh differs from MANO layers': they tell nothing.
BASES = np.setdiff1d(np.arange(21), [4, 8, 12, 16, 20])


def to_ours(points: NDArray) -> NDArray[np.float64]:
    """Points (…,3) of the OpenGL camera in the OpenCV camera, m."""
    return points * frames.OPENGL


def joints_to_ours(joints: NDArray) -> NDArray[np.float64]:
    """Joints (21,3) of the files in our frame and order."""
    return to_ours(joints)[frames.HO3D]


def hand_record(joints_m: NDArray, known: NDArray, K: NDArray) -> HandRecord:
    """A hand of joints (21,3) m in our frame and order, of which `known` (21,) are annotated.

    Its box is their extent. Raises Skip for joints that cannot be.
    """
    if (joints_m[known, 2] <= 0).any():
        raise Skip("joints behind the camera")
    joints_m = np.where(known[:, None], joints_m, np.nan)
    joints_px = frames.project(joints_m, K)
    inside = ((joints_px >= -0.5) & (joints_px < np.array(SIZE) - 0.5)).all(1)
    low, high = joints_px[known].min(0), joints_px[known].max(0)
    whole = known.sum() > 1
    return HandRecord(
        joints_m,
        (known + 2 * inside).astype(np.uint8),
        joints_px,
        joints_kind=0,
        box_px=np.concatenate([low, high - low]) if whole else None,
        box_source=int(whole),
    )


def unannotated() -> HandRecord:
    """A hand that is in the picture but not annotated."""
    nothing = np.full((21, 3), np.nan)
    return HandRecord(nothing, np.zeros(21, np.uint8), nothing[:, :2], present=2)


def wrist_record(wrist: NDArray, box: NDArray, K: NDArray) -> HandRecord:
    """What evaluation tells of a hand: its wrist (3,) as in the file, and the official box."""
    joints_m = np.zeros((21, 3))
    joints_m[0] = to_ours(wrist)
    return with_box(hand_record(joints_m, np.arange(21) == 0, K), box)


def with_box(record: HandRecord, box: NDArray) -> HandRecord:
    """box (4,): x1 y1 x2 y2 px of the file. Raises Skip for an empty one."""
    if not (box[2:] > box[:2]).all():
        raise Skip("meta: the bounding box is empty")
    return replace(record, box_px=np.concatenate([box[:2], box[2:] - box[:2]]), box_source=SHIPPED)


@dataclass(frozen=True)
class Fit:
    """MANO parameters in our frame: pose (48,) with the mean, shape (10,), trans_m (3,)."""

    pose: NDArray
    shape: NDArray
    trans_m: NDArray


def read_fit(pose: NDArray, shape: NDArray, trans: NDArray, model: Hand) -> Fit:
    """The parameters of the files: the full axis-angle pose holds the mean already."""
    rest = model.rest_joints(shape[None])[:, 0]
    moved, trans_m = move_hand(pose[None], trans[None], rest, FLIP, np.zeros(3))
    return Fit(moved[0], shape, trans_m[0])


def add_fit(record: HandRecord, fit: Fit, model: Hand, side: str) -> tuple[HandRecord, Mesh | None]:
    """The record with MANO parameters, and the mesh where its joints are the annotated ones."""
    verts, joints = model.pose(fit.pose[None], fit.shape[None])
    apart = np.linalg.norm(joints[0] + fit.trans_m - record.joints_m, axis=-1)[BASES]
    error_mm = float(np.nanmean(apart) * 1000) if np.isfinite(apart).any() else float("nan")
    record = replace(
        record,
        mano_pose=fit.pose,
        mano_shape=fit.shape,
        mano_trans_m=fit.trans_m,
        mano_valid=1,
        fit_error_mm=error_mm,
    )
    close = error_mm < FIT_LIMIT_MM
    return record, Mesh(verts[0] + fit.trans_m, model.faces, side) if close else None


def object_record(name: str, rotation: NDArray, trans: NDArray) -> ObjectRecord:
    """The object's pose from axis-angle (3,) and translation (3,) of the files."""
    T = np.eye(4)
    T[:3, :3] = FLIP @ Rotation.from_rotvec(rotation).as_matrix()
    T[:3, 3] = to_ours(trans)
    return ObjectRecord(name, T)


def object_mesh(
    record: ObjectRecord, models: Path, K: NDArray, hands: Sequence[Mesh] = ()
) -> Mesh | None:
    """The object's mesh in the camera frame, None without its model.

    hands: with them only what may hide them, where nothing else is asked of the object.
    """
    model = ycb.load_model(ycb.model_path(models, record.name))
    if model is None:
        return None
    if hands:
        reach = hand_reach([hand.verts_m for hand in hands], K)
        verts_m, faces = cut_to_reach(*model, record.T_camera, K, reach)
        return Mesh(verts_m, faces, "object")
    return Mesh(frames.to_camera(model[0], record.T_camera), model[1], "object")
