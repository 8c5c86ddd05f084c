"""Stage 5a: joint limits, a prior over poses, and offsets that keep volume at bends."""

import numpy as np
from scipy.spatial.transform import Rotation
from skeleton import FINGERS, moves, rodrigues

LONG = ("index", "middle", "ring", "pinky")
SPREAD = {"index": (-18, 18), "middle": (-12, 12), "ring": (-15, 12), "pinky": (-25, 15)}
# kind: share, thumb's base (flexion, abduction, twist)
KINDS = {
    "relaxed": (0.16, (0, 0, 5)), "open": (0.12, (-8, 8, -5)), "power": (0.24, (10, -14, 15)),
    "precision": (0.13, (8, -10, 15)), "tripod": (0.08, (10, -12, 15)), "hook": (0.06, (0, 5, 0)),
    "point": (0.04, (15, -10, 15)), "lateral": (0.05, (10, 8, -5)), "free": (0.12, (5, 0, 5)),
}  # fmt: skip


def joint_limits() -> np.ndarray:
    """(16, 3, 2) degrees of flexion, abduction, twist; general anatomy, not fitted to data."""
    limits = np.zeros((16, 3, 2))
    for finger, (a, b, c) in FINGERS.items():
        if finger == "thumb":
            limits[a] = [(-20, 35), (-30, 30), (-25, 35)]
            limits[b] = [(-10, 60), (-8, 8), (-8, 8)]
            limits[c] = [(-20, 80), (0, 0), (0, 0)]
        else:
            limits[a] = [(-25, 90), SPREAD[finger], (-8, 8)]
            limits[b] = [(-5, 105), (0, 0), (0, 0)]
            limits[c] = [(-10, 75), (0, 0), (0, 0)]
    return limits


def sample_angles(rng: np.random.Generator, limits: np.ndarray) -> np.ndarray:
    """(16, 3) degrees of one of nine kinds of grasp; closed fingers spread less."""
    kind = rng.choice(list(KINDS), p=[share for share, _ in KINDS.values()])
    angles, grip = np.zeros((16, 3)), rng.uniform(0, 1)
    base = {
        "relaxed": (18, 28), "open": (-3, 5), "power": (30 + 45 * grip, 35 + 55 * grip),
        "precision": (35 + 20 * grip, 30 + 30 * grip), "tripod": (45, 45), "hook": (5, 85),
        "point": (65, 85), "lateral": (55, 70), "free": None,
    }[kind]  # fmt: skip
    common = rng.normal(0, 8)
    spread = rng.normal(0, 5) if kind != "open" else rng.normal(6, 6)
    for k, finger in enumerate(LONG):
        a, b, c = FINGERS[finger]
        if base is None:
            mcp, pip = rng.uniform(-15, 85), rng.uniform(0, 100)
        else:
            mcp = base[0] + common + rng.normal(0, 7) + (k - 1.5) * rng.normal(3, 3)
            pip = base[1] + 0.8 * common + rng.normal(0, 9)
            if kind in ("precision", "tripod") and k >= (1 if kind == "precision" else 2):
                mcp += rng.normal(10, 12)
                pip += rng.normal(8, 15)
            if kind == "point" and finger == "index":
                mcp, pip = rng.normal(0, 8), rng.normal(8, 6)
        dip = pip * rng.normal(0.62, 0.08)
        side = {"index": 1.0, "middle": 0.15, "ring": -0.6, "pinky": -1.3}[finger] * spread
        side = side * (1 - 0.8 * np.clip(mcp / 90, 0, 1)) + rng.normal(0, 2.5)
        angles[a] = [mcp, side, rng.normal(0, 2)]
        angles[b, 0], angles[c, 0] = pip, dip
    a, b, c = FINGERS["thumb"]
    angles[a] = np.array(KINDS[kind][1]) + rng.normal(0, [8, 9, 7])
    bend = rng.normal(15 + 15 * (kind in ("power", "point")), 12)
    angles[b] = [bend, rng.normal(0, 2.5), rng.normal(0, 2.5)]
    angles[c, 0] = rng.normal(15 + 20 * (kind in ("power", "precision", "tripod")), 14)
    return np.clip(angles, limits[..., 0], limits[..., 1])


def to_axis_angle(angles: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """(…, 45) of angles (…, 16, 3) degrees: twist, then flexion, then abduction."""
    turns = rodrigues(np.radians(angles[..., 1:, :, None]) * axes[1:])
    matrices = turns[..., 1, :, :] @ turns[..., 0, :, :] @ turns[..., 2, :, :]
    vectors = Rotation.from_matrix(matrices.reshape(-1, 3, 3)).as_rotvec()
    return vectors.reshape(*angles.shape[:-2], 45)


def dual_quaternion_skin(
    verts: np.ndarray, weights: np.ndarray, transforms: np.ndarray
) -> np.ndarray:
    """Skinning that keeps volume at bends (Kavan et al. 2007)."""
    q = Rotation.from_matrix(transforms[:, :3, :3]).as_quat()[:, [3, 0, 1, 2]]
    q *= np.where(q @ q[0] < 0, -1, 1)[:, None]
    (w, x, y, z), (tx, ty, tz) = q.T, transforms[:, :3, 3].T
    dual = [
        -tx * x - ty * y - tz * z,
        tx * w + ty * z - tz * y,
        -tx * z + ty * w + tz * x,
        tx * y - ty * x + tz * w,
    ]
    real, dual = weights @ q, weights @ (0.5 * np.stack(dual, 1))
    length = np.linalg.norm(real, axis=1, keepdims=True)
    real, dual = real / length, dual / length
    turned = Rotation.from_quat(real[:, [1, 2, 3, 0]]).apply(verts)
    shift = real[:, :1] * dual[:, 1:] - dual[:, :1] * real[:, 1:]
    return turned + 2 * (shift + np.cross(real[:, 1:], dual[:, 1:]))


def fit_posedirs(
    verts: np.ndarray,
    joints: np.ndarray,
    weights: np.ndarray,
    poses: np.ndarray,
    ridge: float = 2.0,
) -> np.ndarray:
    """(778, 3, 135): offsets, linear in nearby joints' R - I, towards dual quaternions."""
    excess, offsets = np.zeros((len(poses), 135)), np.zeros((len(poses), 778, 3))
    for k, pose in enumerate(poses):
        turns = np.concatenate([np.eye(3)[None], rodrigues(pose.reshape(15, 3))])
        carried = moves(turns, joints)
        blended = np.einsum("vj,jab->vab", weights, carried)
        goal = dual_quaternion_skin(verts, weights, carried) - blended[:, :3, 3]
        offset = (
            np.linalg.solve(blended[:, :3, :3] + 1e-6 * np.eye(3), goal[..., None])[..., 0] - verts
        )
        length = np.linalg.norm(offset, axis=1, keepdims=True)
        offsets[k] = offset * np.minimum(1, 0.004 / np.maximum(length, 1e-9))
        excess[k] = (turns[1:] - np.eye(3)).ravel()
    out = np.zeros((778, 3, 135))
    for v in range(778):
        near = [j for j in np.flatnonzero(weights[v] > 0.02) if j > 0]
        if near:
            columns = np.concatenate([np.arange(9 * (j - 1), 9 * j) for j in near])
            x = excess[:, columns]
            normal = x.T @ x + ridge * np.eye(len(columns))
            out[v][:, columns] = np.linalg.solve(normal, x.T @ offsets[:, v]).T
    return out
