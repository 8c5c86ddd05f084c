"""Errors of keypoints gathered piece by piece: the official EvalUtil's means, PCK and AUC."""

import numpy as np
from numpy.typing import NDArray

THRESHOLDS_M = np.linspace(0.0, 0.05, 100)


class Curves:
    """Sums and threshold counts of K keypoints; pieces may come in any order and be merged.

    A keypoint's mean is over samples, the reported mean over keypoints; PCK counts errors <= each
    of 100 thresholds; AUC is the trapezoid rule over the thresholds given, normalised.
    """

    def __init__(self, keypoints: int, thresholds: NDArray = THRESHOLDS_M) -> None:
        self.thresholds = thresholds
        self.total = np.zeros(keypoints)
        self.first = np.zeros((keypoints, len(thresholds) + 1), np.int64)
        self.samples = 0

    def add(self, errors: NDArray) -> NDArray:
        """errors (n, K) in the thresholds' unit; returns each sample's own AUC (n,)."""
        self.total += errors.sum(0)
        self.samples += len(errors)
        reached = np.searchsorted(self.thresholds, errors, side="left")
        cells = self.first.shape[1]
        flat = reached + np.arange(self.first.shape[0]) * cells
        self.first += np.bincount(flat.ravel(), minlength=self.first.size).reshape(self.first.shape)
        steps = len(self.thresholds) - 1
        own = np.where(reached > steps, 0.0, np.minimum(steps + 0.5 - reached, steps))
        return own.mean(1) / steps

    def merge(self, other: "Curves") -> None:
        self.total += other.total
        self.first += other.first
        self.samples += other.samples

    @property
    def mean(self) -> float:
        return float(np.mean(self.total / self.samples))

    @property
    def pck(self) -> NDArray:
        """(100,), mean over keypoints."""
        return self._pck().mean(0)

    @property
    def auc(self) -> float:
        area = np.trapezoid(self._pck(), self.thresholds, axis=1)
        return float(np.mean(area / np.trapezoid(np.ones(len(self.thresholds)), self.thresholds)))

    def _pck(self) -> NDArray:
        return self.first[:, :-1].cumsum(1) / self.samples
