"""Intervals and paired differences whose unit is the physical recording, not the frame."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000
FEWEST_CLUSTERS = 10


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval over clusters; low and high are NaN below 10 clusters."""

    value: float
    low: float
    high: float
    n: int
    clusters: int


def estimate(values: NDArray, clusters: NDArray, seed: int = 0) -> Estimate:
    """Mean over the known values, percentile bootstrap over clusters.

    values (N,) may hold NaN (left out); clusters (N,) integers naming each value's recording. A
    cluster is drawn whole, so copies of a camera inside a recording do not narrow the interval.
    Field & Welsh 2007 (cluster bootstrap).
    """
    known = np.isfinite(values)
    values, clusters = values[known], clusters[known]
    if not len(values):
        return Estimate(float("nan"), float("nan"), float("nan"), 0, 0)
    names, member = np.unique(clusters, return_inverse=True)
    mean = float(values.mean())
    if len(names) < FEWEST_CLUSTERS:
        return Estimate(mean, float("nan"), float("nan"), len(values), len(names))
    totals = np.bincount(member, weights=values)
    sizes = np.bincount(member).astype(float)
    draws = _draws(len(names), seed)
    means = (draws @ totals) / (draws @ sizes)
    low, high = np.percentile(means, [2.5, 97.5])
    return Estimate(mean, float(low), float(high), len(values), len(names))


@dataclass(frozen=True)
class Difference:
    """Mean of a - b over the hands both have, its interval, and a two-sided bootstrap p-value."""

    value: float
    low: float
    high: float
    p: float
    n: int
    clusters: int


def paired(a: NDArray, b: NDArray, clusters: NDArray, seed: int = 0) -> Difference:
    """Paired difference a - b, (N,) each, over clusters (N,). p is NaN below 10 clusters."""
    difference = a - b
    result = estimate(difference, clusters, seed)
    if not np.isfinite(result.low):
        return Difference(
            result.value, result.low, result.high, float("nan"), result.n, result.clusters
        )
    known = np.isfinite(difference)
    _, member = np.unique(clusters[known], return_inverse=True)
    totals = np.bincount(member, weights=difference[known])
    sizes = np.bincount(member).astype(float)
    draws = _draws(len(sizes), seed)
    means = (draws @ totals) / (draws @ sizes)
    # centred: how often would a difference this large come up if there were none
    extreme = np.abs(means - result.value) >= abs(result.value)
    p = (extreme.sum() + 1) / (len(means) + 1)
    return Difference(result.value, result.low, result.high, float(p), result.n, result.clusters)


def holm(p: NDArray) -> NDArray:
    """Holm's step-down correction of p-values (K,), NaN entries kept (Holm 1979)."""
    corrected = np.full(len(p), np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, p[index] * (len(order) - rank)))
        corrected[index] = running
    return corrected


def _draws(clusters: int, seed: int) -> NDArray:
    """How often each cluster is drawn in each of DRAWS resamples, (DRAWS, clusters)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(clusters, np.full(clusters, 1.0 / clusters), size=DRAWS).astype(float)
