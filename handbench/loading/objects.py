"""The held object in batches: its pose relative to wrists, its box corners, its mask."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from handbench.scoring.images import object_shapes
from handbench.store import Split

OBJECT = 3  # in segmentations
MASK_STEP = 4  # pixels of the crop to a cell of the mask
TURNS = 24  # symmetries of an object that a loss looks at, evenly spaced where there are more
UNKNOWN_M = 0.1  # side of the cube that stands for an object of unknown shape
CUBE = np.stack(np.meshgrid(*[(0.0, 1.0)] * 3, indexing="ij"), -1).reshape(8, 3)
MIRROR = np.diag([-1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Objects:
    """Poses (N,4,4) of a split's images, model to camera in m; which object (N,), -1 none; its box
    corners under each symmetry (K,S,8,3), the last row a cube for objects of unknown shape."""

    split: Split
    pose: NDArray[np.float64]
    name: NDArray[np.int64]
    corners: NDArray[np.float32]

    def relative(
        self, rows: NDArray, wrists_m: NDArray, turn: NDArray, mirrored: NDArray
    ) -> dict[str, NDArray[np.float32]]:
        """object_T (n,4,4) from the wrists (n,3), turned by (n,3,3), and valid_object (n,).

        wrists_m: in the camera. mirrored (n,): as in the picture of the other hand, where the
        model itself is mirrored. Unknown poses are 0.
        """
        known = np.isfinite(self.pose[rows]).all((1, 2)) & np.isfinite(wrists_m).all(1)
        pose = np.where(known[:, None, None], self.pose[rows], 0.0)
        pose[:, :3, 3] -= np.where(known[:, None], wrists_m, 0.0)
        pose[mirrored] = mirror_object(pose[mirrored])
        pose[:, :3] = turn @ pose[:, :3]
        pose[~known] = 0
        return {"object_T": pose.astype(np.float32), "valid_object": known.astype(np.float32)}

    def scene(
        self, rows: NDArray, matrices: NDArray, crop_px: int, mirrored: NDArray
    ) -> dict[str, NDArray[np.float32]]:
        """object_corners (B,S,8,3), of the mirrored model where mirrored (B,), object_mask (B,M,M)
        the object's share of each cell, and valid_object_mask (B,) of images rows (B,) under
        matrices (B,2,3)."""
        size = crop_px // MASK_STEP
        mask, known = np.zeros((len(rows), size, size), np.float32), np.zeros(len(rows), np.float32)
        for b, row in enumerate(rows):
            labels = self.split.segmentation(row)
            if labels is not None:
                inside = (labels == OBJECT).astype(np.float32)
                # the crop at full size, then averaged: a cell's value is its share
                whole = cv2.warpAffine(inside, matrices[b], (crop_px, crop_px))
                mask[b] = whole.reshape(size, MASK_STEP, size, MASK_STEP).mean((1, 3))
                known[b] = 1
        corners = self.corners[self.name[rows]]
        corners[mirrored, ..., 0] *= -1
        return {"object_corners": corners, "object_mask": mask, "valid_object_mask": known}

    def corners_m(self) -> NDArray[np.float64]:
        """Box corners (N,8,3) in the camera; NaN where shape or pose is unknown."""
        corners = np.where(self.name[:, None, None] < 0, np.nan, self.corners[self.name, 0])
        return corners @ self.pose[:, :3, :3].transpose(0, 2, 1) + self.pose[:, None, :3, 3]


def of_split(split: Split) -> Objects:
    """The objects of a split, shapes as its reader knows them."""
    shapes = object_shapes(split)
    names = [str(name) for name in split.tables["objects"]]
    turned = []
    for name in names:
        shape = shapes.get(name)
        if shape is None:
            turned.append(box(CUBE * UNKNOWN_M - UNKNOWN_M / 2)[None])
            continue
        some = shape.symmetries[:: -(-len(shape.symmetries) // TURNS)]
        moved = box(shape.points_m) @ some[:, :3, :3].transpose(0, 2, 1) + some[:, None, :3, 3]
        turned.append(moved)
    turned.append(box(CUBE * UNKNOWN_M - UNKNOWN_M / 2)[None])
    most = max(map(len, turned))
    # filled up with the identity, which changes no minimum
    corners = np.stack([np.concatenate([x, np.repeat(x[:1], most - len(x), 0)]) for x in turned])
    place = np.array([k if name in shapes else -1 for k, name in enumerate(names)] + [-1])
    pose = np.full((len(split), 4, 4), np.nan)
    if "object/T_camera" in split.columns:
        pose = np.asarray(split.columns["object/T_camera"], np.float64)
    index = np.full(len(split), -1)
    if "object/name" in split.columns:
        index = place[np.asarray(split.columns["object/name"])]
    return Objects(split, pose, index, corners.astype(np.float32))


def box(points_m: NDArray) -> NDArray[np.float64]:
    """The corners (8,3) of the box around points (P,3)."""
    low, high = points_m.min(0), points_m.max(0)
    return low + CUBE * (high - low)


def mirror_object(pose: NDArray) -> NDArray:
    """Poses (n,4,4) in the mirror x -> -x, of the mirrored model: M R M and M t."""
    moved = pose.copy()
    moved[:, :3, :3] = MIRROR @ pose[:, :3, :3] @ MIRROR
    moved[:, :3, 3] = pose[:, :3, 3] @ MIRROR
    return moved
