"""One frame of DexYCB as this project sees it: hand, objects, meshes and segmentation."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbench import frames
from handbench.datasets import ycb
from handbench.datasets.dexycb_files import HAND, SIZE, Labels, Meta
from handbench.datasets.jpeg import Skip
from handbench.datasets.reach import cut_to_reach, hand_reach, may_hide
from handbench.datasets.trees import hands_of_tree
from handbench.hand import Hand, has_left_shape_fault
from handbench.png import encode_grey
from handbench.records import HandRecord, Mesh, ObjectRecord

RIGHT, LEFT, OBJECT, VOID = 1, 2, 3, 255  # of a segmentation as prepared
FIT_LIMIT_MM = 5.0  # joint_3d are the mesh's own joints: a greater distance means another model
PROJECTION_PX = 2.0  # joint_2d are joint_3d's projection


@dataclass(frozen=True)
class Models:
    """The (right, left) hands that the pose_m of the tree at root belong to."""

    root: Path
    hands: tuple[Hand, Hand]

    @classmethod
    def find(cls, root: Path) -> "Models | None":
        """As hands_of_tree. DexYCB was annotated with MANO_LEFT.pkl as released, fault included."""
        found = hands_of_tree(root)
        return None if found is None else cls(root, found)

    def __reduce__(self) -> tuple:
        # without the arrays, which each process reads for itself
        return Models.find, (self.root,)

    def left_was_corrected(self) -> bool:
        """Whether the user's MANO_LEFT.pkl is not as released, so that left meshes will be off."""
        right, left = self.hands
        return left.kind == "mano" and not has_left_shape_fault(left.shapedirs, right.shapedirs)

    def add(self, record: HandRecord, side: str, pose_m: NDArray, shape: NDArray) -> tuple:
        """The record with MANO parameters, and the hand's mesh in the camera frame.

        pose_m (51,): root axis-angle, 45 PCA coefficients without the mean, translation. The mesh
        is None where its joints are not the annotated ones, and a pose of zeros is none at all.
        """
        if not pose_m.any():
            return record, None
        model = self.hands[side == "left"]
        pose_m = pose_m.astype(np.float64)
        fingers = pose_m[3:48] @ model.hands_components + model.hands_mean
        pose, trans = np.concatenate([pose_m[:3], fingers]), pose_m[48:]
        verts, joints = model.pose(pose[None], shape[None])
        error_mm = np.linalg.norm(joints[0] + trans - record.joints_m, axis=-1).mean() * 1000
        record = replace(
            record,
            mano_pose=pose,
            mano_shape=shape,
            mano_trans_m=trans,
            mano_valid=1,
            fit_error_mm=float(error_mm),
        )
        close = error_mm < FIT_LIMIT_MM
        return record, Mesh(verts[0] + trans, model.faces, side) if close else None


def read_hand(labels: Labels, K: NDArray) -> HandRecord:
    """Joints in our order, which is DexYCB's; all of them are annotated or none is."""
    joints_m = labels.joint_3d.astype(np.float64)
    joints_px = labels.joint_2d.astype(np.float64)
    if not (joints_m[:, 2] > 0).all():
        raise Skip("labels: joints behind the camera")
    off = np.abs(frames.project(joints_m, K) - joints_px).max()
    if off > PROJECTION_PX:
        raise Skip(f"labels: joint_2d is not joint_3d's projection to {PROJECTION_PX:g} px")
    inside = ((joints_px >= -0.5) & (joints_px < np.array(SIZE) - 0.5)).all(1)
    low, high = joints_px.min(0), joints_px.max(0)
    return HandRecord(
        joints_m,
        np.asarray(1 + 2 * inside, np.uint8),
        joints_px,
        joints_kind=0,
        box_px=np.concatenate([low, high - low]),
        box_source=1,
        box_visible_px=visible_box(labels.seg),
    )


def visible_box(seg: NDArray[np.uint8]) -> NDArray[np.float32] | None:
    """x y w h around the pixels that show the hand, pixel areas included; None without any."""
    rows, columns = (np.flatnonzero((seg == HAND).any(axis)) for axis in (1, 0))
    if not len(rows):
        return None
    x, y = columns[0] - 0.5, rows[0] - 0.5
    return np.array([x, y, columns[-1] + 0.5 - x, rows[-1] + 0.5 - y], np.float32)


def read_objects(labels: Labels, meta: Meta) -> dict[int, ObjectRecord]:
    """Poses by row of pose_y; an object that was not seen is written as zeros."""
    found = {}
    for row, name in enumerate(meta.objects):
        pose = labels.pose_y[row]
        if not pose.any():
            continue
        T = np.eye(4)
        T[:3] = pose
        if np.abs(T[:3, :3] @ T[:3, :3].T - np.eye(3)).max() > 1e-3:
            raise Skip("labels: pose_y is no rotation")
        found[row] = ObjectRecord(name, T)
    return found


def object_meshes(
    objects: Mapping[int, ObjectRecord], grasped: int, models: Path, hand: Mesh, K: NDArray
) -> tuple[Mesh, ...]:
    """What may hide the hand, of the grasped object and others whose model is there.

    What is behind the hand or beside it in the picture is left out: it changes no label.
    """
    out = []
    reach = hand_reach([hand.verts_m], K)
    for row, each in objects.items():
        path = ycb.model_path(models, each.name)
        model, hull = ycb.load_model(path), ycb.load_hull(path)
        if model is None or hull is None:
            continue
        if may_hide(frames.to_camera(hull, each.T_camera), reach, K):
            verts_m, faces = cut_to_reach(*model, each.T_camera, K, reach)
            out.append(Mesh(verts_m, faces, "object" if row == grasped else "occluder"))
    return tuple(out)


def cameras_differ_mm(columns: Any) -> float:
    """Median distance of a moment's wrists, seen by all its cameras, from their mean in the world.

    columns: of a split. NaN where no two cameras with known poses see the same moment. Large where
    a calibration was read the wrong way.
    """
    T = columns["T_world_camera"]
    wrists = np.where(
        (columns["right/present"] == 1)[:, None],
        *(columns[f"{side}/joints_m"][:, 0].astype(np.float64) for side in ("right", "left")),
    )
    world = np.einsum("nji,nj->ni", T[:, :3, :3], wrists - T[:, :3, 3])
    known = np.isfinite(world).all(1)
    world = world[known]
    _, group, cameras = np.unique(
        columns["instant"][known], return_inverse=True, return_counts=True
    )
    shared = cameras[group] > 1
    if not shared.any():
        return float("nan")
    mean = np.stack([np.bincount(group, axis) for axis in world.T], 1) / cameras[:, None]
    return float(np.median(np.linalg.norm(world - mean[group], axis=1)[shared]) * 1000)


def read_segmentation(seg: NDArray[np.uint8], meta: Meta) -> bytes:
    """seg as a PNG of our values: the hand's side, the grasped object, other objects background.

    Values that no object has are void.
    """
    codes = np.full(256, VOID, np.uint8)
    codes[[0, *ycb.NAMES]] = 0
    codes[HAND] = RIGHT if meta.side == "right" else LEFT
    codes[meta.ycb_ids[meta.grasped]] = OBJECT
    return encode_grey(codes[seg])
