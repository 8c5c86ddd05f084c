"""The official evaluators' definitions, sample by sample, in plain loops: slow and obvious."""

import numpy as np
from scipy.linalg import orthogonal_procrustes


def similar(target, points):
    """Procrustes with reflection allowed; also what is handed on to another mesh."""
    t1, t2 = target.mean(0), points.mean(0)
    a, b = target - t1, points - t2
    s1, s2 = np.linalg.norm(a) + 1e-8, np.linalg.norm(b) + 1e-8
    R, s = orthogonal_procrustes(a / s1, b / s2)
    return b / s2 @ R.T * s * s1 + t1, (R, s, s1, t1 - t2)


def by_trafo(points, trafo):
    """The joints' transform on a mesh of other topology, without the division by its norm."""
    R, s, s1, shift = trafo
    centre = points.mean(0)
    return (points - centre) @ R.T * s * s1 + shift + centre


def scaled(target, points):
    length = np.linalg.norm(points[4] - points[0])
    moved = points.copy()
    if length != 0:
        moved = moved / length
    moved = moved * np.linalg.norm(target[4] - target[0])
    return moved - moved[0] + target[0]


def fscore(target, points, threshold):
    distance = np.sqrt(((target[:, None] - points[None]) ** 2).sum(-1))
    precision = (distance.min(1) < threshold).mean()
    recall = (distance.min(0) < threshold).mean()
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


def measures(errors):
    """Mean and AUC of errors (N,K) in metres, keypoint by keypoint."""
    thresholds = np.linspace(0, 0.05, 100)
    means, areas = [], []
    for column in errors.T:
        means.append(column.mean())
        curve = [(column <= t).mean() for t in thresholds]
        areas.append(np.trapezoid(curve, thresholds) / 0.05)
    return np.mean(means), np.mean(areas)


def scores_txt(joints, target, verts, true_verts):
    """The 14 lines, and per-sample F (N, threshold, raw or aligned)."""
    lines = {}

    def add(name, errors):
        if errors is None:
            lines[f"{name}_mean3d"], lines[f"{name}_auc3d"] = -100.0, -1.0
        else:
            mean, area = measures(np.array(errors))
            lines[f"{name}_mean3d"], lines[f"{name}_auc3d"] = mean * 100, area

    def apart(a, b):
        return [np.linalg.norm(x - y, axis=1) for x, y in zip(a, b)]

    trafos = [similar(t, p) for t, p in zip(target, joints)]
    add("xyz", apart(target, joints))
    add("xyz_procrustes_al", apart(target, [moved for moved, _ in trafos]))
    add("xyz_scale_trans_al", apart(target, [scaled(t, p) for t, p in zip(target, joints)]))
    same = len(verts[0]) == len(true_verts[0])
    if same:
        moved = [similar(t, p)[0] for t, p in zip(true_verts, verts)]
    else:
        moved = [by_trafo(p, trafo) for p, (_, trafo) in zip(verts, trafos)]
    add("mesh", apart(true_verts, verts) if same else None)
    add("mesh_al", apart(true_verts, moved) if same else None)
    per_sample = np.array(
        [
            [[fscore(t, p, limit), fscore(t, m, limit)] for limit in (0.005, 0.015)]
            for t, p, m in zip(true_verts, verts, moved)
        ]
    )
    for k, name in enumerate(("5", "15")):
        lines[f"f_score_{name}"] = per_sample[:, k, 0].mean()
        lines[f"f_al_score_{name}"] = per_sample[:, k, 1].mean()
    return "".join(f"{name}: {value:f}\n" for name, value in lines.items()), per_sample
