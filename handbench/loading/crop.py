"""From a box to a square crop: one affine matrix with rotation, scale and mirror folded in."""

import numpy as np
from numpy.typing import NDArray

from handbench.errors import UnknownName

FACTOR = 1.5  # margin around a tight box, as HandOccNet and H2ONet cut theirs

# Box source -> the columns (of a hand) that it is made from.
SOURCES = {
    "visible_mask": "box_visible_px",
    "official": "box_px",
    "gt_joints": "joints_px",
    "jittered": "joints_px",
}
WAYS = ("exact", "fast")  # of cutting pictures, see patches.py
JITTER_SHIFT, JITTER_SCALE = 0.1, 0.15  # of the box side: the spread of a middling detector


def tight_boxes(source: str, column: NDArray, ids: NDArray | None = None) -> NDArray[np.float32]:
    """Tight boxes x y w h (N,4) px of a box source; NaN where there is none.

    column: the hand's column named by SOURCES[source]: boxes (N,4) or joints_px (N,21,2).
    `jittered` moves and scales each box by a fixed draw from ids (N,) i8, the same in every run.
    Raises UnknownName.
    """
    if source not in SOURCES:
        raise UnknownName("box source", source, SOURCES)
    if SOURCES[source] != "joints_px":
        boxes = np.array(column, np.float32)
    else:
        boxes = extent(column)
    if source == "jittered":
        from handbench.loading.augment import normals

        draw = normals(0, 0, np.arange(len(boxes)) if ids is None else ids, 3).clip(-2, 2)
        boxes = jitter(boxes, JITTER_SHIFT * draw[:, :2], 1 + JITTER_SCALE * draw[:, 2])
    boxes[~((boxes[:, 2] > 0) & (boxes[:, 3] > 0))] = np.nan
    return boxes


def extent(points_px: NDArray) -> NDArray[np.float32]:
    """Boxes (N,4) around points (N,P,2); points that are not finite are left out."""
    finite = np.isfinite(points_px).all(-1, keepdims=True)
    low = np.where(finite, points_px, np.inf).min(1)
    high = np.where(finite, points_px, -np.inf).max(1)
    boxes = np.concatenate([low, high - low], -1).astype(np.float32)
    boxes[~np.isfinite(boxes).all(-1)] = np.nan
    return boxes


def jitter(boxes_px: NDArray, shift: NDArray, scale: NDArray) -> NDArray[np.float32]:
    """Boxes (N,4) moved by shift (N,2) in units of their longer side and scaled (N,)."""
    side = boxes_px[:, 2:].max(1, keepdims=True)
    size = boxes_px[:, 2:] * scale[:, None]
    centre = boxes_px[:, :2] + boxes_px[:, 2:] / 2 + shift * side
    return np.concatenate([centre - size / 2, size], -1).astype(np.float32)


def square(
    boxes_px: NDArray, image_size: NDArray, factor: float = FACTOR, shipped: NDArray | bool = False
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Centre (N,2) px, side (N,) px and whether the box was usable (N,).

    The box is widened by factor, moved into the image (w, h) (N,2) at its left and top, cut at its
    right and bottom, and made square on its longer side about the new centre, as HandOccNet does.
    Boxes that a data set ships (shipped (N,)) are widened last, beyond the image, as HandOccNet
    and H2ONet evaluate on HO-3D; kypt on InterHand2.6M cuts a box of 1.2 times the extent first,
    which differs at the border alone. No usable box: the whole image.
    """
    boxes, size = np.asarray(boxes_px, np.float64), np.asarray(image_size, np.float64)
    late = np.broadcast_to(shipped, len(boxes))
    early = np.where(late, 1.0, factor)[:, None]
    middle, half = boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:] * early / 2
    low = np.maximum(middle - half, 0)
    high = np.minimum(low + np.maximum(2 * half - 1, 0), size - 1)
    with np.errstate(invalid="ignore"):
        usable = ((high - low) > 1).all(-1)
    low = np.where(usable[:, None], low, 0)
    high = np.where(usable[:, None], high, size - 1)
    return (low + high) / 2, (high - low).max(1) * np.where(late & usable, factor, 1.0), usable


def affine(
    centre_px: NDArray,
    side_px: NDArray,
    crop_px: int,
    rotation: NDArray | float = 0.0,
    mirror: NDArray | bool = False,
) -> NDArray[np.float64]:
    """Matrices (N,2,3): pixels of the image -> pixels of the crop.

    The centre (N,2) goes to (crop_px/2, crop_px/2) and side (N,) to crop_px. rotation (N,) rad
    turns x towards y (clockwise on the screen); mirror (N,) flips left and right before it.
    """
    count = len(centre_px)
    scale = crop_px / np.asarray(side_px, np.float64)
    angle = np.broadcast_to(np.asarray(rotation, np.float64), count)
    flip = np.where(np.broadcast_to(mirror, count), -1.0, 1.0)
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.stack([flip * cosine, -sine, flip * sine, cosine], -1).reshape(count, 2, 2)
    shift = crop_px / 2 - np.einsum("nij,nj->ni", linear, centre_px)
    return np.concatenate([linear, shift[..., None]], -1)


def transform(points_px: NDArray, matrices: NDArray) -> NDArray:
    """Points (N,P,2) under matrices (N,2,3)."""
    return points_px @ matrices[:, :, :2].transpose(0, 2, 1) + matrices[:, None, :, 2]


def intrinsics(
    K: NDArray, matrices: NDArray, rotation: NDArray | float, mirror: NDArray | bool
) -> NDArray[np.float64]:
    """K_crop (N,3,3): camera points as the method sees them (mirrored, turned) -> crop pixels.

    K (N,3,3) px of the image. A turned crop goes with points turned by the same angle about the
    optical axis, so for square pixels the result is again a plain pinhole matrix.
    """
    count = len(K)
    full = np.zeros((count, 3, 3))
    full[:, :2], full[:, 2, 2] = matrices, 1
    undo = about_z(np.broadcast_to(np.asarray(rotation, np.float64), count)).transpose(0, 2, 1)
    undo = undo.copy()
    undo[np.broadcast_to(mirror, count), 0] *= -1
    return full @ K @ undo


def about_z(angle: NDArray) -> NDArray[np.float64]:
    """Rotations (N,3,3) by angle (N,) rad about the optical axis, x towards y."""
    turn = np.zeros((len(angle), 3, 3))
    turn[:, 0, 0] = turn[:, 1, 1] = np.cos(angle)
    turn[:, 1, 0] = np.sin(angle)
    turn[:, 0, 1] = -turn[:, 1, 0]
    turn[:, 2, 2] = 1
    return turn
