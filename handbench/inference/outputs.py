"""What a method gives -> what prediction files hold: native hands, pixels of the whole image."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from handbench.loading import crop
from handbench.loading.batch import Batch, unmirror

FLIP = np.array([-1.0, 1.0, 1.0], np.float32)


def native(arrays: Batch, out: dict[str, torch.Tensor], crop_px: int) -> dict[str, NDArray]:
    """A batch's hands as predictions.HAND_ARRAYS has them, those that the method gives.

    arrays: the batch's is_left (B,) and crop_matrix (B,2,3). out: joints_m (B,21,3) and, where
    given, verts_m (B,778,3), joints_crop (B,21,2), rotation (B,3,3) or rotations (B,16,3,3),
    occlusion_logits (B,[T,]2,6), visibility (B,5), hand_score (B,). All are un-mirrored and
    relative to the predicted wrist; of several frames the current one, the first, is taken.
    """
    left = arrays["is_left"].astype(bool)
    given = {name: _array(out[name]) for name in SOURCES if out.get(name) is not None}
    joints = given["joints_m"]
    found = {"is_left": left, "joints_m": unmirror(joints - joints[:, :1], left)}
    if "verts_m" in given:  # the mesh belongs to the same wrist as the joints
        found["verts_m"] = unmirror(given["verts_m"] - joints[:, :1], left)
    if "joints_crop" in given:
        flat = given["joints_crop"].reshape(len(left), -1, 21, 2)[:, 0]
        found["joints_px"] = to_image(flat, arrays["crop_matrix"], crop_px)
    if "rotation" in given or "rotations" in given:
        turns = given["rotation"] if "rotation" in given else given["rotations"][:, 0]
        found["root_rotation"] = np.where(left[:, None, None], FLIP[:, None] * turns * FLIP, turns)
    if "visibility" in given:
        found["visibility"] = given["visibility"]
    elif "occlusion_logits" in given:
        found["visibility"] = visible(given["occlusion_logits"])
    if "hand_score" in given and given["hand_score"].shape == left.shape:
        found["hand_score"] = given["hand_score"]
    return found


SOURCES = (
    *("joints_m", "verts_m", "joints_crop", "rotation", "rotations"),
    *("visibility", "occlusion_logits", "hand_score"),
)


def to_image(joints_crop: NDArray, matrices: NDArray, crop_px: int) -> NDArray[np.float32]:
    """Joints (B,P,2) in 0..1 of crops cut by matrices (B,2,3) -> pixels of the whole images.

    A crop of a left hand is mirrored; so is its matrix, and going back through it undoes that.
    """
    forth = np.zeros((len(matrices), 3, 3))
    forth[:, :2], forth[:, 2, 2] = matrices, 1
    back = np.linalg.inv(forth)[:, :2]
    return crop.transform(joints_crop.astype(np.float64) * crop_px, back).astype(np.float32)


def visible(logits: NDArray) -> NDArray[np.float32]:
    """Logits (B,[T,]2,6) of not occluded and occluded, five fingers and the whole hand -> the
    probability (B,5) that a finger is visible in the current frame."""
    current = logits.reshape(len(logits), -1, 2, 6)[:, 0, :, :5].astype(np.float64)
    return (1 / (1 + np.exp(current[:, 1] - current[:, 0]))).astype(np.float32)


def _array(value: Any) -> NDArray[np.float32]:
    return value.detach().float().cpu().numpy()
