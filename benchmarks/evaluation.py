"""F-scores and joint metrics per 1,000 hands against plain numpy, one thread, CPU time."""

import numpy as np
from report import Row, compare, interleave, main

from handbench.scoring.align import procrustes
from handbench.scoring.fscore import THRESHOLDS_M, fscores
from handbench.scoring.metrics import measure
from handbench.scoring.pairs import Pairs

HANDS = 40
ROUNDS = 5


def plain_fscores(pred: np.ndarray, true: np.ndarray) -> np.ndarray:
    """All 778 x 778 distances of each hand, as the definition reads."""
    scores = np.zeros((len(pred), 2))
    for n, (p, t) in enumerate(zip(pred, true)):
        distance = np.sqrt(((p[:, None] - t[None]) ** 2).sum(-1))
        for k, threshold in enumerate(THRESHOLDS_M):
            precision = (distance.min(1) < threshold).mean()
            recall = (distance.min(0) < threshold).mean()
            both = precision + recall
            scores[n, k] = 2 * precision * recall / both if both else 0.0
    return scores


def plain_joints(pred: np.ndarray, true: np.ndarray) -> tuple[list, list]:
    """MPJPE and PA-MPJPE hand by hand with scipy's Procrustes."""
    from scipy.linalg import orthogonal_procrustes

    raw, similar = [], []
    for p, t in zip(pred, true):
        raw.append(np.linalg.norm(p - t, axis=1).mean())
        a, b = t - t.mean(0), p - p.mean(0)
        na, nb = np.linalg.norm(a), np.linalg.norm(b)
        R, s = orthogonal_procrustes(a / na, b / nb)
        moved = b / nb @ R.T * s * na + t.mean(0)
        similar.append(np.linalg.norm(moved - t, axis=1).mean())
    return raw, similar


def run() -> list[Row]:
    rng = np.random.default_rng(0)
    from handbench.hand import Hand

    pose = rng.normal(scale=0.3, size=(HANDS, 48))
    verts, joints = Hand.open().pose(pose, rng.normal(size=(HANDS, 10)))
    near, _ = Hand.open().pose(pose + rng.normal(scale=0.1, size=pose.shape), np.zeros((HANDS, 10)))
    many_true = np.repeat(joints - joints[:, :1], 25, axis=0)
    many_pred = many_true + rng.normal(scale=0.01, size=many_true.shape)
    valid = np.ones(many_true.shape[:2], bool)

    def ours() -> None:
        measure(Pairs(many_pred, many_true, valid, reflection=True), ("mpjpe_mm", "pa_mpjpe_mm"))

    similar = procrustes(near, verts)
    assert np.array_equal(fscores(near, verts), plain_fscores(near, verts))

    def plain_pair() -> None:
        plain_fscores(near, verts)
        plain_fscores(similar, verts)

    def our_pair() -> None:
        fscores(near, verts)
        fscores(similar, verts)

    slow = interleave([plain_pair, our_pair], ROUNDS)
    joint = interleave([lambda: plain_joints(many_pred, many_true), ours], ROUNDS)
    # s per 1,000 hands
    return [
        compare("F-scores, raw and aligned", "all distances, numpy", "s", slow, 40, 1000 / HANDS),
        compare("MPJPE and PA-MPJPE", "hand by hand, scipy", "s", joint, 5, 1000 / len(many_true)),
    ]


if __name__ == "__main__":
    main(run)
