"""Writes golden/reported_control*.csv: tables of papers whose numbers are true of simulated hands.

Three methods are imagined as noise on simulated hands and scored; the scores are printed with the
digits and units that papers use, in two papers that cite each other. Anything that the checks of
published figures find here they find wrongly. Run: python tests/reported_control.py
"""

import csv
from dataclasses import fields
from pathlib import Path

import numpy as np
from scipy.spatial.distance import cdist

from handbench.published.reported import Claim, Reported
from handbench.scoring.align import procrustes, root, scale_translation
from handbench.scoring.curves import auc

GOLDEN = Path(__file__).parent / "golden"
HANDS, SINGLE, AROUND = 200, 115, 37
COLUMNS = [field.name for field in fields(Reported)]
# name -> size of the joint noise, of a common shift, and share of hands that are far off
METHODS = {"Alpha": (4.0, 4.0, 0.02), "Beta": (6.0, 6.0, 0.06), "Gamma": (10.0, 8.0, 0.15)}


def simulate() -> dict[str, dict[str, float]]:
    """Method -> metric (with ":part") -> true value in mm or as a share.

    A hand is 21 joints and a cloud of points around each, which moves with its joint.
    """
    rng = np.random.default_rng(7)
    joints = rng.normal(scale=40.0, size=(HANDS, 21, 3))
    cloud = rng.normal(scale=8.0, size=(HANDS, 21, AROUND, 3))
    verts = (joints[:, :, None] + cloud).reshape(HANDS, -1, 3)
    single = np.arange(HANDS) < SINGLE
    found = {}
    for name, (noise, shift, lost) in METHODS.items():
        spread = np.where(rng.random(HANDS) < lost, 5.0, 1.0) * np.where(single, 1.0, 1.3)
        moves = rng.normal(scale=noise, size=joints.shape)
        moves += rng.normal(scale=shift, size=(HANDS, 1, 3))
        moves *= spread[:, None, None]
        pred_joints, pred_verts = joints + moves, verts + np.repeat(moves, AROUND, axis=1)
        scores: dict[str, float] = {}
        for prefix, points in (
            ("", root(pred_joints, pred_joints[:, 0], joints[:, 0])),
            ("st_", scale_translation(pred_joints, joints)),
            ("pa_", procrustes(pred_joints, joints)),
        ):
            errors = np.linalg.norm(points - joints, axis=-1)
            scores[f"{prefix}mpjpe_mm"] = errors.mean()
            scores[f"{prefix}auc50_joints"] = auc(errors).mean()
            if not prefix:
                scores["mpjpe_mm:single"] = errors[single].mean()
                scores["mpjpe_mm:interacting"] = errors[~single].mean()
                scores["mpjpe_mm:all"] = errors.mean()
        rooted = root(pred_verts, pred_joints[:, 0], joints[:, 0])
        for prefix, points in (("", rooted), ("pa_", procrustes(pred_verts, verts))):
            errors = np.linalg.norm(points - verts, axis=-1)
            scores[f"{prefix}mpvpe_mm"] = errors.mean()
            scores[f"{prefix}auc50_verts"] = auc(errors).mean()
            near = np.array([near_shares(*pair) for pair in zip(points, verts)])
            scores[f"{prefix}f5"], scores[f"{prefix}f15"] = near.mean(0)
        found[name] = scores
    return found


def near_shares(points: np.ndarray, target: np.ndarray) -> list[float]:
    """F-scores at 5 and 15 mm of two point sets (V, 3) in mm, by all distances."""
    distance = cdist(points, target)
    f_scores = []
    for limit in (5, 15):
        p, r = (distance.min(1) < limit).mean(), (distance.min(0) < limit).mean()
        f_scores.append(2 * p * r / max(p + r, 1e-12))
    return f_scores


def cells(scores: dict[str, dict[str, float]]) -> list[dict[str, str]]:
    """Tables of papers "handoccnet" and "h2onet" (names that the reader of the files knows)."""
    joint = ["mpjpe_mm", "auc50_joints", "pa_mpjpe_mm", "pa_auc50_joints"]
    mesh = ["mpvpe_mm", "auc50_verts", "pa_mpvpe_mm", "pa_auc50_verts", "f5", "f15", "pa_f5"]
    shares = [*mesh, "pa_f15"]
    parts = ["mpjpe_mm:single", "mpjpe_mm:interacting", "mpjpe_mm:all"]
    layout = [
        ("handoccnet", "1", joint + shares, ("mm", 1), ("%", 1)),
        ("handoccnet", "2", ["st_mpjpe_mm", "st_auc50_joints", *joint], ("cm", 2), ("", 3)),
        ("handoccnet", "3", parts, ("mm", 2), ("", 3)),
        ("h2onet", "1", joint + shares, ("mm", 2), ("", 3)),
        ("h2onet", "2", ["st_mpjpe_mm", "st_auc50_joints"], ("mm", 1), ("%", 1)),
    ]
    rows = []
    for paper, table, names, length, share in layout:
        for method, values in scores.items():
            for name in names:
                metric, _, part = name.partition(":")
                unit, digits = length if metric.endswith("_mm") else share
                factor = {"mm": 1.0, "cm": 0.1, "%": 100.0, "": 1.0}[unit]
                better = "↓" if metric.endswith("_mm") else "↑"
                row = {
                    "paper": paper,
                    "table": table,
                    "row": f"{method} et al.",
                    "method": method,
                    "dataset": "interhand26m" if part else "ho3d_v3",
                    "split": "test" if part else "evaluation",
                    "part": part,
                    "protocol": "simulated",
                    "metric": metric,
                    "heading": f"{metric} {part} {better}",
                    "value": f"{values[name] * factor:.{digits}f}",
                    "unit": unit,
                    "tier": "RGB",
                    "trust": "P",
                }
                rows.append({column: row.get(column, "") for column in COLUMNS})
    return rows


def sentences(scores: dict[str, dict[str, float]]) -> list[list[str]]:
    a, b = (scores[name]["pa_mpjpe_mm"] for name in ("Alpha", "Beta"))
    rows, columns = ("Alpha et al.", "Beta et al."), "mpjpe_mm pa_mpjpe_mm pa_f5"
    gain = f"{100 * (1 - a / b):.0f}"
    return [
        ["handoccnet", "sec. 1", "best of all", "best", "", "1", rows[0], "", columns],
        ["handoccnet", "sec. 1", "better than Beta", "better", "", "1", *rows, columns],
        ["handoccnet", "sec. 1", f"{gain} %", "relative", gain, "1", *rows, "pa_mpjpe_mm"],
    ]


def main() -> None:
    scores = simulate()
    with open(GOLDEN / "reported_control.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(cells(scores))
    with open(GOLDEN / "reported_control_claims.csv", "w", newline="", encoding="utf-8") as file:
        plain = csv.writer(file, lineterminator="\n")
        plain.writerow([field.name for field in fields(Claim)])
        plain.writerows(sentences(scores))


if __name__ == "__main__":
    main()
