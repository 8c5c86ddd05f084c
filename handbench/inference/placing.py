"""Where in front of the camera a wrist-relative hand stands, from its joints in the picture."""

import numpy as np
from numpy.typing import NDArray

ASSUMED = 1.2  # focal length over the longer side of a picture: about a phone's main camera


def camera(size: tuple[int, int], focal_px: float | None = None) -> NDArray[np.float64]:
    """A pinhole K (3,3) for a picture (w, h); without a focal length the assumed one."""
    focal = focal_px or ASSUMED * max(size)
    return np.array([[focal, 0, (size[0] - 1) / 2], [0, focal, (size[1] - 1) / 2], [0, 0, 1.0]])


def translation(joints_m: NDArray, joints_px: NDArray, K: NDArray) -> NDArray[np.float64] | None:
    """The shift (3,) m that brings joints (P,3) nearest to their pixels (P,2) under K.

    Least squares of u (Z + tz) = fx (X + tx) + cx (Z + tz), and alike for v: linear in the shift.
    None when the pixels fit no hand in front of the camera, all in one point for example.
    """
    x, y, z = np.asarray(joints_m, np.float64).T
    u, v = (np.asarray(joints_px, np.float64) - K[:2, 2]).T
    zero, one = np.zeros_like(x), np.ones_like(x)
    rows = [np.stack([K[0, 0] * one, zero, -u], 1), np.stack([zero, K[1, 1] * one, -v], 1)]
    wanted = np.concatenate([u * z - K[0, 0] * x, v * z - K[1, 1] * y])
    shift, _, rank, _ = np.linalg.lstsq(np.concatenate(rows), wanted, rcond=1e-9)
    in_front = np.isfinite(shift).all() and (z + shift[2] > 0).all()
    return shift if rank == 3 and in_front else None


def inside_box(joints_m: NDArray, box_px: NDArray, K: NDArray) -> NDArray[np.float64]:
    """The shift (3,) m with which joints (P,3) about fill a box x y w h: no more than a guess."""
    low, high = joints_m.min(0).astype(np.float64), joints_m.max(0).astype(np.float64)
    middle = (low + high) / 2
    depth = ((high - low)[:2].max() / max(box_px[2:])) * K[0, 0]
    centre = box_px[:2] + box_px[2:] / 2 - K[:2, 2]
    return np.append(centre * depth / K[[0, 1], [0, 1]], depth) - middle


def residual_px(joints_m: NDArray, joints_px: NDArray, K: NDArray) -> float:
    """Root mean square distance in pixels of joints (P,3) in the camera from pixels (P,2)."""
    from handbench.frames import project

    away = project(np.asarray(joints_m, np.float64), K) - joints_px
    return float(np.sqrt((away**2).sum(-1).mean()))
