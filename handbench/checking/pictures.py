"""Checks of joints and labels against boxes, segmentation and the pictures themselves."""

import cv2
import numpy as np
from numpy.typing import NDArray

from handbench.checking.check import FAIL, NONE, OK, WARN, Check, percent, verdict
from handbench.checking.hands import INSIDE, SplitHands, spread_rows
from handbench.console import amount
from handbench.errors import DataError
from handbench.schema import SIDES

MOST_PICTURES = 200
BLACK = 2  # the brightest pixel of a picture that shows nothing
GROWN = 0.1  # boxes may be so much larger, as a share of their longer side
NEAR = 0.04  # a joint may miss the mask by so much of the box' longer side
SEEN = 0.75  # hands of which less shows say little about the mask
EXTENT_PX = 2.0
HAND_CLASSES = {"right": (1, 4), "left": (2, 4)}


def boxes(hands: SplitHands) -> Check:
    """Joints inside the image lie in their box, a little enlarged."""
    box, pixels = hands["box_px"].astype(np.float64), hands["joints_px"].astype(np.float64)
    boxed = np.asarray(np.isfinite(box).all(1))
    seen = hands.valid & ((hands["joints_valid"] & INSIDE) > 0) & boxed[:, None]
    expected = "95 % of joints or more"
    if not seen.any():
        return Check("joints in boxes", NONE, "no box with joints inside the image", expected)
    margin = GROWN * box[:, None, 2:].max(-1, keepdims=True)
    low, high = box[:, None, :2] - margin, box[:, None, :2] + box[:, None, 2:] + margin
    inside = ((pixels >= low) & (pixels <= high)).all(-1)
    share = float(inside[seen].mean())
    without = 1 - float(boxed.mean())
    told = f"{percent(share)} of joints"
    told += f"; {percent(without)} of hands have no box" if without else ""
    return Check("joints in boxes", verdict(share, 0.95, 0.8), told, expected)


def visible_boxes(hands: SplitHands) -> Check:
    """Boxes of the visible pixels lie in the image."""
    box, size = hands["box_visible_px"].astype(np.float64), hands.image("image_size")
    known = np.isfinite(box).all(1)
    if not known.any():
        return Check("visible boxes", NONE, "none stored", "inside the image")
    end = box[:, :2] + box[:, 2:]
    wrong = known & ((box[:, :2] < -0.5) | (end > size - 0.5) | (box[:, 2:] <= 0)).any(1)
    told = (
        f"{percent(float(known.mean()))} of hands have one, {int(wrong.sum()):,} beyond the image"
    )
    return Check("visible boxes", FAIL if wrong.any() else OK, told, "inside the image")


def decoded(hands: SplitHands) -> Check:
    """Pictures can be decoded, have the size that is said, and are not black."""
    split = hands.split
    faults, looked = [], 0
    for row in spread_rows(len(split), MOST_PICTURES):
        name = str(split.columns["id"][row])
        if not split.image_bytes(row):
            continue
        looked += 1
        try:
            picture = split.image(row)
        except DataError:
            faults.append(f"{name} is not readable")
            continue
        if picture.shape[1::-1] != tuple(split.columns["image_size"][row]):
            faults.append(f"{name} is {picture.shape[1]} x {picture.shape[0]}")
        elif picture.max() <= BLACK:
            faults.append(f"{name} is black")
    if not looked:
        return Check("pictures", WARN, "none stored", "every picture readable")
    told = f"{looked} looked at, {len(faults)} wrong" + (f": {faults[0]}" if faults else "")
    return Check(
        "pictures", FAIL if faults else OK, told, "readable, of the size stored, not black"
    )


def segmentation(hands: SplitHands) -> list[Check]:
    """Joints of hands that mostly show lie on their own pixels; visible boxes on the mask."""
    share, on_mask = hands["visibility/scene/hand"], []
    outside = looked = 0
    seen = hands.valid & ((hands["joints_valid"] & INSIDE) > 0)
    # without labels nobody knows what shows; then hands alone in the picture are looked at
    candidates = np.flatnonzero(seen.any(1) & ~(share < SEEN) & np.isfinite(hands["box_px"]).all(1))
    for hand in candidates[spread_rows(len(candidates), MOST_PICTURES)]:
        mask = _own_pixels(hands, int(hand))
        if mask is None:
            continue
        looked += 1
        scale = np.array(mask.shape[::-1]) / hands.image("image_size")[hand]
        reach = NEAR * float(hands["box_px"][hand, 2:].max()) * float(scale.max())
        on_mask.append(_share_on(mask, hands["joints_px"][hand][seen[hand]] * scale, reach))
        outside += not _box_on(mask, hands["box_visible_px"][hand], scale)
    expected = "90 % of joints or more"
    if not looked:
        told = "no segmentation stored" if len(candidates) else "no hand that mostly shows"
        return [Check("joints on the mask", NONE, told, expected)]
    middle = float(np.mean(on_mask))
    told = f"{percent(middle)} of joints, {amount(looked, 'hand')} that mostly show"
    wrong = outside / looked
    told_box = f"{percent(wrong)} of {looked} beyond the mask"
    return [
        Check("joints on the mask", verdict(middle, 0.9, 0.6), told, expected),
        Check("visible boxes on the mask", verdict(wrong, 0.01, 0.1), told_box, "none beyond it"),
    ]


def _own_pixels(hands: SplitHands, hand: int) -> NDArray[np.bool_] | None:
    """The hand's pixels in its segmentation; None without one, or where sides are not told."""
    row, side = int(hands.row[hand]), SIDES[int(hands.is_left[hand])]
    mask = hands.split.segmentation(row)
    if mask is None:
        return None
    both = all(hands.split.columns[f"{each}/present"][row] == 1 for each in SIDES)
    if both and (mask == 4).any():
        return None
    return np.isin(mask, HAND_CLASSES[side])


def _share_on(mask: NDArray, points: NDArray, reach: float) -> float:
    """Share of points (K,2) nearer than reach px to the mask; nothing is on an empty one."""
    if not mask.any():
        return 0.0
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    limits = np.array(mask.shape[::-1]) - 1
    x, y = np.clip(np.round(points).astype(int), 0, limits).T
    return float((away[y, x] <= max(reach, 1.5)).mean())


def _box_on(mask: NDArray, box: NDArray, scale: NDArray) -> bool:
    """Whether a box x, y, w, h lies in the extent of the mask; one without numbers does."""
    if not np.isfinite(box).all():
        return True
    if not mask.any():
        return False
    y, x = np.nonzero(mask)
    low, high = np.array([x.min(), y.min()]) - 0.5, np.array([x.max(), y.max()]) + 0.5
    first, last = box[:2] * scale, (box[:2] + box[2:]) * scale
    return bool((first >= low - EXTENT_PX).all() and (last <= high + EXTENT_PX).all())


CHECKS = (decoded, boxes, visible_boxes, segmentation)
