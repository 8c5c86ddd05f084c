"""Stage 5b: number the vertices so that published MANO indices point at the right places."""

import numpy as np
from flatten import Flat
from poses import fit_posedirs, joint_limits, sample_angles, to_axis_angle
from shape_space import ShapeSpace
from skeleton import FINGERS, JOINT_PART, PARENTS, anatomical_axes, unit

PARTS = ["palm", "thumb", "index", "middle", "ring", "pinky"]
THUMB_FIRST = ("thumb", "index", "middle", "ring", "pinky")
# public evaluators' fingertip numbers, and the loop of public wrist-sealing code
TIP_NUMBERS = {
    "thumb": [744, 745, 728],
    "index": [320, 317, 353, 333],
    "middle": [443, 444, 442],
    "ring": [555, 554, 556, 576],
    "pinky": [672, 671, 673, 694],
}
MANOPTH_TIPS = [745, 317, 444, 556, 673]
WRIST_LOOP = [108, 79, 78, 121, 214, 215, 279, 239, 234, 92, 38, 122, 118, 117, 119, 120]
PART_ORDER = [0, 5, 1, 2, 3, 4]  # low numbers: palm, index, middle, ring, little, thumb
PRIOR = 20000
LICENCE = "CC0-1.0 (derived from MakeHuman/MPFB2 base mesh, targets and game_engine rig, all CC0)"


def find_tips(verts: np.ndarray, weights: np.ndarray, joints: np.ndarray) -> dict[str, int]:
    """The vertex of each finger that reaches furthest along its last bone."""
    tips = {}
    for finger, (_, _, distal) in FINGERS.items():
        own = np.flatnonzero(weights[:, distal] > 0.6)
        along = unit(verts[own].mean(0) - joints[distal])
        tips[finger] = int(own[np.argmax((verts[own] - joints[distal]) @ along)])
    return tips


def wrist_loop(verts: np.ndarray, faces: np.ndarray) -> list[int]:
    """The open edge, in the order of an outward cap, from the thumb's side on."""
    edges = {(f[k], f[(k + 1) % 3]) for f in faces.tolist() for k in range(3)}
    following = {a: b for a, b in edges if (b, a) not in edges}
    loop = [min(following)]
    while following[loop[-1]] != loop[0]:
        loop.append(following[loop[-1]])
    loop = loop[::-1]
    start = int(np.argmax(verts[loop][:, 2]))
    return loop[start:] + loop[:start]


def number(
    verts: np.ndarray, faces: np.ndarray, part: np.ndarray, tips: dict[str, int]
) -> np.ndarray:
    """Old index (778,) of each new number."""
    fixed = dict(zip(WRIST_LOOP, wrist_loop(verts, faces)))
    for finger, numbers in TIP_NUMBERS.items():
        own = np.flatnonzero(part == part[tips[finger]])
        near = own[np.argsort(np.linalg.norm(verts[own] - verts[tips[finger]], axis=1))]
        fixed |= zip(numbers, near[: len(numbers)].tolist())
    taken = set(fixed.values())
    rest = sorted(
        (i for i in range(778) if i not in taken),
        key=lambda i: (PART_ORDER[part[i]], -round(float(verts[i, 0]), 3), float(verts[i, 1])),
    )
    old = np.empty(778, int)
    old[list(fixed)] = list(fixed.values())
    old[[i for i in range(778) if i not in fixed]] = rest
    return old


def face_parts(parts: np.ndarray) -> np.ndarray:
    """(F,): the part of most of a face's corners (F, 3), of the second where all differ."""
    first = (parts[:, 0] == parts[:, 1]) | (parts[:, 0] == parts[:, 2])
    return np.where(first, parts[:, 0], parts[:, 1]).astype(np.int8)


def assemble(flat: Flat, space: ShapeSpace) -> dict[str, np.ndarray]:
    """The arrays of open_hand.npz."""
    verts, weights = space.template, flat.weights
    part = JOINT_PART[weights.argmax(1)].astype(np.int8)
    tips = find_tips(verts, weights, space.regressor @ verts)
    old = number(verts, flat.faces, part, tips)
    new = np.argsort(old)
    verts, weights, part, faces = verts[old], weights[old], part[old], new[flat.faces]
    face_part = face_parts(part[faces])
    order = np.lexsort((faces[:, 0], face_part))
    faces, face_part = faces[order], face_part[order]
    regressor = space.regressor[:, old]
    joints = regressor @ verts
    axes = anatomical_axes(joints, verts[[new[tips[finger]] for finger in FINGERS]])
    limits, rng = joint_limits(), np.random.default_rng(0)
    poses = to_axis_angle(np.array([sample_angles(rng, limits) for _ in range(PRIOR)]), axes)
    mean = poses.mean(0)
    _, deviation, components = np.linalg.svd(poses - mean, full_matrices=False)
    tree = np.stack([np.where(PARENTS < 0, 2**32 - 1, PARENTS), np.arange(16)])
    return {
        "v_template": verts.astype(np.float32),
        "faces": faces.astype(np.int32),
        "weights": weights.astype(np.float32),
        "J_regressor": regressor.astype(np.float32),
        "shapedirs": space.shapedirs[old].astype(np.float32),
        "posedirs": fit_posedirs(verts, joints, weights, poses[:700]).astype(np.float32),
        "hands_components": components.astype(np.float32),
        "hands_mean": mean.astype(np.float32),
        "hands_std": (deviation / np.sqrt(PRIOR - 1)).astype(np.float32),
        "kintree_table": tree.astype(np.int64),
        "fingertip_ids": np.array([new[tips[f]] for f in THUMB_FIRST], np.int32),
        "fingertip_ids_manopth": np.array(MANOPTH_TIPS, np.int32),
        "vertex_part": part,
        "face_part": face_part,
        "part_names": np.array(PARTS),
        "wrist_loop": np.array(WRIST_LOOP, np.int32),
        "joint_axes": axes.astype(np.float32),
        "joint_limits_deg": limits.astype(np.float32),
        "licence": np.array(LICENCE),
    }
