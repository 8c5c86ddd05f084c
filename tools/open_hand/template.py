"""Stage 2: the average hand in MANO's frame, cut at the wrist, with better knuckles and weights.

Frame: fingers -x, back of the hand +y, thumb +z. Every vertex stays a linear map of MakeHuman's.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as linalg
import trimesh
from makehuman import Hands
from skeleton import prune, unit

WRIST = np.array([0.095, 0.006, 0.006])  # away from the origin on purpose, as MANO's
CUT = WRIST[0] + 0.022
KNUCKLES = {1: 16, 4: 17, 7: 18, 10: 19}  # first joint of each long finger: its tip


@dataclass(frozen=True)
class Template:
    """verts (V, 3), faces (F, 3), joints (22, 3), weights (V, 16); cut makes verts of all."""

    verts: np.ndarray
    faces: np.ndarray
    joints: np.ndarray
    weights: np.ndarray
    cut: sp.csr_matrix
    axes: np.ndarray


def canonical_axes(joints: np.ndarray) -> np.ndarray:
    """(3, 3): rows are MANO's axes as seen from a hand with these joints."""
    along = unit(joints[4] - joints[0])
    normal = unit(np.cross(along, joints[1] - joints[7]))
    return np.stack([-along, normal, np.cross(normal, along)])


def triangulate(verts: np.ndarray, quads: np.ndarray) -> np.ndarray:
    """Each quad split along its shorter diagonal."""
    ac = np.linalg.norm(verts[quads[:, 0]] - verts[quads[:, 2]], axis=1)
    bd = np.linalg.norm(verts[quads[:, 1]] - verts[quads[:, 3]], axis=1)
    short = (ac <= bd)[:, None]
    first = np.where(short, quads[:, [0, 1, 2]], quads[:, [0, 1, 3]])
    return np.concatenate([first, np.where(short, quads[:, [0, 2, 3]], quads[:, [1, 2, 3]])])


def move_knuckles(mesh: trimesh.Trimesh, joints: np.ndarray) -> np.ndarray:
    """MakeHuman's knuckles sit at the web: move them 38 % of a phalanx back, to 42 % depth."""
    out = joints.copy()
    for j in KNUCKLES:
        place = joints[j] - 0.38 * (joints[j + 1] - joints[j])
        top = mesh.ray.intersects_location([place], [[0, 1, 0]])[0][:, 1].min()
        bottom = mesh.ray.intersects_location([place], [[0, -1, 0]])[0][:, 1].max()
        out[j] = [place[0], top - 0.42 * (top - bottom), place[2]]
    return out


def cut_wrist(verts: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, sp.csr_matrix]:
    """Faces before the plane x = CUT and the sparse map to the vertices they use."""
    count, ids, rows = len(verts), {}, []

    def crossing(a, b):
        key = (min(a, b), max(a, b))
        if key not in ids:
            a, b = key
            ids[key] = count + len(rows)
            rows.append((a, b, (CUT - verts[a, 0]) / (verts[b, 0] - verts[a, 0])))
        return ids[key]

    inside, faces = verts[:, 0] < CUT, []
    for face in triangles:
        kept = inside[face]
        face = face.tolist()
        if kept.all():
            faces.append(face)
        elif kept.sum() == 1:
            while not inside[face[0]]:
                face = face[1:] + face[:1]
            a, b, c = face
            faces.append([a, crossing(a, b), crossing(a, c)])
        elif kept.sum() == 2:
            while inside[face[2]]:
                face = face[1:] + face[:1]
            a, b, c = face
            p, q = crossing(b, c), crossing(a, c)
            faces += [[a, b, p], [a, p, q]]
    cut = sp.lil_matrix((count + len(rows), count))
    cut[np.arange(count), np.arange(count)] = 1
    for k, (a, b, share) in enumerate(rows):
        cut[count + k, a], cut[count + k, b] = 1 - share, share
    faces = np.array(faces)
    edges = trimesh.Trimesh(np.zeros((count + len(rows), 3)), faces, process=False).edges
    largest = max(trimesh.graph.connected_components(edges, min_len=3), key=len)
    faces = faces[np.isin(faces, largest).all(1)]
    used = np.unique(faces)
    return np.searchsorted(used, faces), cut.tocsr()[used]


def cotangent_laplacian(verts: np.ndarray, faces: np.ndarray) -> tuple[sp.csr_matrix, np.ndarray]:
    """The Laplacian (V, V) by cotangents, bounded, and each vertex's area (V,)."""
    rows, columns, values = [], [], []
    area = np.zeros(len(verts))
    for k in range(3):
        i, j, l = faces[:, k], faces[:, (k + 1) % 3], faces[:, (k + 2) % 3]
        a, b = verts[i] - verts[l], verts[j] - verts[l]
        cross = np.linalg.norm(np.cross(a, b), axis=1)
        cotangent = np.clip((a * b).sum(1) / np.maximum(cross, 1e-12), 0.02, 20)
        rows += [i, j]
        columns += [j, i]
        values += [cotangent / 2, cotangent / 2]
        np.add.at(area, i, cross / 6)
    flat = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    matrix = sp.coo_matrix(flat, (len(verts),) * 2).tocsr()
    return sp.diags(np.asarray(matrix.sum(1)).ravel()) - matrix, area


def distance_to_bone(points: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distance (P,) of points (P, 3) from the segment a, b."""
    share = np.clip(((points - a) @ (b - a)) / ((b - a) @ (b - a)), 0, 1)
    return np.linalg.norm(points - (a + share[:, None] * (b - a)), axis=1)


def split_palm(
    verts: np.ndarray, faces: np.ndarray, joints: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Palm and finger shares by bone heat (Baran and Popovic 2007); phalanges keep their ratios.

    The thumb keeps MakeHuman's weights.
    """
    laplacian, area = cotangent_laplacian(verts, faces)

    def nearest(pairs: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        return np.min([distance_to_bone(verts, a, b) for a, b in pairs], 0)

    J = joints
    palm = [(J[0], J[i]) for i in (*KNUCKLES, 13)] + [(J[13], J[14]), (J[1], J[7])]
    bones = [palm] + [
        [(J[i], J[i + 1]), (J[i + 1], J[i + 2]), (J[i + 2], J[t])] for i, t in KNUCKLES.items()
    ]
    bones.append([(J[14], J[15]), (J[15], J[20])])
    distance = np.stack([nearest(pairs) for pairs in bones], 1)
    heat = sp.diags(area / distance.min(1) ** 2)
    share = linalg.spsolve((laplacian + heat).tocsc(), heat @ np.eye(6)[distance.argmin(1)])
    share = np.clip(share, 0, None)
    share /= share.sum(1, keepdims=True)
    share[:, 0] += share[:, 5]  # what heat gives the thumb goes to the palm
    rest = 1 - weights[:, 13:].sum(1)
    out = np.zeros_like(weights)
    out[:, 13:] = weights[:, 13:]
    out[:, 0] = rest * share[:, 0]
    for k, i in enumerate(KNUCKLES):
        finger = weights[:, i : i + 3]
        total = finger.sum(1)[:, None]
        ratio = np.where(total > 1e-3, finger / np.maximum(total, 1e-9), [1, 0, 0])
        out[:, i : i + 3] = (rest * share[:, 1 + k])[:, None] * ratio
    return prune(out)


def build_template(hands: Hands) -> Template:
    """The average person's hand in MANO's frame, cut and weighted anew."""
    axes = canonical_axes(hands.joints[0])
    verts = (hands.verts[0] - hands.joints[0][0]) @ axes.T + WRIST
    joints = (hands.joints[0] - hands.joints[0][0]) @ axes.T + WRIST
    triangles = triangulate(verts, hands.quads)
    joints = move_knuckles(trimesh.Trimesh(verts, triangles, process=False), joints)
    faces, cut = cut_wrist(verts, triangles)
    weights = cut @ hands.weights
    weights[:, 0] += weights[:, 16]  # what is left of the forearm follows the wrist
    weights = weights[:, :16] / weights[:, :16].sum(1, keepdims=True)
    verts = cut @ verts
    return Template(verts, faces, joints, split_palm(verts, faces, joints, weights), cut, axes)
