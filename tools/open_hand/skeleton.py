"""The 16-joint tree in MANO's order and blend skinning on it, for the build only."""

import numpy as np
from scipy.spatial.transform import Rotation

PARENTS = np.array([-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14])
FINGERS = {
    "index": (1, 2, 3),
    "middle": (4, 5, 6),
    "pinky": (7, 8, 9),
    "ring": (10, 11, 12),
    "thumb": (13, 14, 15),
}
JOINT_PART = np.array([0, 2, 2, 2, 3, 3, 3, 5, 5, 5, 4, 4, 4, 1, 1, 1])  # 0 palm, 1 thumb …


def rodrigues(vectors: np.ndarray) -> np.ndarray:
    """Rotation matrices (…, 3, 3) of axis-angle vectors (…, 3)."""
    vectors = np.asarray(vectors, float)
    flat = Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix()
    return flat.reshape(*vectors.shape, 3)


def rotation_between(a: np.ndarray, b: np.ndarray, share: float = 1.0) -> np.ndarray:
    """The rotation (3, 3) turning direction a by a share of its angle to direction b."""
    cross = np.cross(a, b)
    sine = np.linalg.norm(cross)
    return rodrigues(cross / max(sine, 1e-9) * np.arctan2(sine, a @ b) * share)


def world_transforms(turns: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """(16, 4, 4) of turns (16, 3, 3) relative to the parent about rest joints (16, 3)."""
    world = np.zeros((16, 4, 4))
    for j in range(16):
        local = np.eye(4)
        local[:3, :3] = turns[j]
        local[:3, 3] = joints[j] - (joints[PARENTS[j]] if j else 0)
        world[j] = world[PARENTS[j]] @ local if j else local
    return world


def moves(turns: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """Transforms (16, 4, 4) that carry rest points along."""
    out = world_transforms(turns, joints)
    out[:, :3, 3] -= np.einsum("jab,jb->ja", out[:, :3, :3], joints)
    return out


def skin(
    verts: np.ndarray, joints: np.ndarray, weights: np.ndarray, turns: np.ndarray
) -> np.ndarray:
    """Vertices (V, 3) by linear blend skinning with turns relative to the parent."""
    blended = np.einsum("vj,jab->vab", weights, moves(turns, joints))
    return np.einsum("vab,vb->va", blended[:, :3, :3], verts) + blended[:, :3, 3]


def relative(world_turns: np.ndarray) -> np.ndarray:
    """Turns relative to the parent of turns (16, 3, 3) in the world; the wrist's is none."""
    out = np.tile(np.eye(3), (16, 1, 1))
    for j in range(1, 16):
        out[j] = world_turns[PARENTS[j]].T @ world_turns[j]
    return out


def prune(weights: np.ndarray) -> np.ndarray:
    """At most four influences a vertex, none under 1 %, summing to 1."""
    weights = weights.copy()
    order = np.argsort(-weights, 1)
    weights[np.arange(len(weights))[:, None], order[:, 4:]] = 0
    weights[weights < 0.01] = 0
    weights /= weights.sum(1, keepdims=True)
    return weights


def unit(vector: np.ndarray) -> np.ndarray:
    """The vector (3,) at length 1."""
    return vector / np.linalg.norm(vector)


def anatomical_axes(joints: np.ndarray, tips: np.ndarray) -> np.ndarray:
    """(16, 3, 3): flexion closes the finger, abduction is towards the thumb, then twist.

    Long fingers flex about the axis across the bone and the palm's normal, the thumb about
    the normal of the plane its own bones bend in.
    """
    axes = np.zeros((16, 3, 3))
    axes[0] = np.eye(3)
    for k, (finger, chain) in enumerate(FINGERS.items()):
        places = [*joints[list(chain)], tips[k]]
        bones = [unit(places[i + 1] - places[i]) for i in range(3)]
        bend = unit(np.cross(bones[0], bones[1]) + np.cross(bones[1], bones[2]))
        for j, bone in zip(chain, bones):
            if finger == "thumb":
                flexion = unit(bend - bone * (bend @ bone))
            else:
                flexion = unit(np.cross(bone, [0, -1, 0]))
            axes[j] = [flexion, np.cross(flexion, bone), bone]
    return axes
