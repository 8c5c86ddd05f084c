"""Joint orders, camera frames, units and mirroring: every conversion of the project.

Inside: metres, OpenCV camera frame (x right, y down, z forward), joint order wrist, thumb,
index, middle, ring, little, each base to tip.
"""

import numpy as np
from numpy.typing import NDArray

JOINTS = (
    "wrist",
    *(
        f"{finger}{k}"
        for finger in ("thumb", "index", "middle", "ring", "little")
        for k in range(4)
    ),
)
FINGERS = ("thumb", "index", "middle", "ring", "little")
PARTS = ("palm", *FINGERS)
# (20,2): the joints that a bone joins, finger by finger from the wrist
BONES = np.array([(0 if k == 0 else 4 * f + k, 4 * f + k + 1) for f in range(5) for k in range(4)])

# order[i] = index in the named order of our joint i
# MANO's 16 joints (wrist, index, middle, little, ring, thumb) followed by five tips (thumb first).
MANO_TIPS = np.array(
    [0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20], dtype=np.int64
)
HO3D = MANO_TIPS  # HO-3D lists MANO's joints and then the tips
INTERHAND = np.array(
    [20, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12, 19, 18, 17, 16], dtype=np.int64
)
FPHA = np.array(
    [0, 1, 6, 7, 8, 2, 9, 10, 11, 3, 12, 13, 14, 4, 15, 16, 17, 5, 18, 19, 20], dtype=np.int64
)

OPENGL = np.array([1.0, -1.0, -1.0])  # multiply points: OpenGL camera <-> OpenCV camera


def project(points_m: NDArray, K: NDArray) -> NDArray:
    """Pinhole projection, no distortion.

    points_m: (…, P, 3) in the camera frame; K: (…, 3, 3) px. Returns (…, P, 2) px;
    points with z = 0 give inf or NaN.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ray = points_m[..., :2] / points_m[..., 2:]
    focal = np.stack([K[..., 0, 0], K[..., 1, 1]], -1)[..., None, :]
    centre = np.stack([K[..., 0, 2], K[..., 1, 2]], -1)[..., None, :]
    return ray * focal + centre


def to_camera(points_m: NDArray, T: NDArray) -> NDArray:
    """Points (P, 3) under the rigid transform T (4, 4)."""
    return points_m @ T[:3, :3].T + T[:3, 3]


def mirror_points(points: NDArray) -> NDArray:
    """Points (…, 3) mirrored in the plane x = 0."""
    return points * np.array([-1.0, 1.0, 1.0], dtype=points.dtype)


def mirror_pose(pose: NDArray) -> NDArray:
    """Axis-angle pose (…, 3k) of the other hand: the mirror in x negates y and z of each axis."""
    signs = np.tile(np.array([1.0, -1.0, -1.0], dtype=pose.dtype), pose.shape[-1] // 3)
    return pose * signs
