"""Intervals and paired differences whose unit is the physical recording, not the frame."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000
# for p-values: Holm multiplies them by the number of a table's cells, and 1 / 2,001 times a hundred
# could never be clear
TAIL_DRAWS = 20_000
SLOW_DRAWS = 200  # where each resample goes through all hands
FEWEST_CLUSTERS = 10


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval over clusters; low and high are NaN below 10 clusters."""

    value: float
    low: float
    high: float
    n: int
    clusters: int


NOTHING = Estimate(float("nan"), float("nan"), float("nan"), 0, 0)


def estimate(values: NDArray, clusters: NDArray, seed: int = 0) -> Estimate:
    """Mean over the known values, percentile bootstrap over clusters.

    values (N,) may hold NaN (left out); clusters (N,) integers naming each value's recording. A
    cluster is drawn whole, so copies of a camera inside a recording do not narrow the interval.
    Field & Welsh 2007 (cluster bootstrap).
    """
    known = np.isfinite(values)
    values, clusters = values[known], clusters[known]
    if not len(values):
        return NOTHING
    names, member = np.unique(clusters, return_inverse=True)
    means = _resampled(values, member, seed)
    low, high = _bounds(means, len(names))
    return Estimate(float(values.mean()), low, high, len(values), len(names))


def estimate_columns(values: NDArray, clusters: NDArray, seed: int = 0) -> Estimate:
    """Mean over the columns of values (N, K) of each column's own mean over its known entries.

    InterHand2.6M's average: 42 joints count alike however often each is annotated. Columns
    without any entry are left out. The interval as in `estimate`; n counts rows with an entry.
    """
    known = np.isfinite(values)
    rows = known.any(1)
    if not rows.any():
        return NOTHING
    names, member = np.unique(clusters[rows], return_inverse=True)
    totals, sizes = np.zeros((2, len(names), values.shape[1]))
    np.add.at(totals, member, np.where(known, values, 0.0)[rows])
    np.add.at(sizes, member, known[rows].astype(float))
    weights = np.concatenate([np.ones((1, len(names))), _draws(len(names), seed)])
    drawn = weights @ sizes
    means = np.where(drawn > 0, weights @ totals / np.where(drawn > 0, drawn, 1.0), 0.0)
    columns = (drawn > 0).sum(1)
    found = np.where(columns > 0, means.sum(1) / np.maximum(columns, 1), np.nan)
    low, high = _bounds(found[1:], len(names))
    return Estimate(float(found[0]), low, high, int(rows.sum()), len(names))


def estimate_by(
    statistic: Callable[[NDArray], NDArray], clusters: NDArray, seed: int = 0
) -> list[Estimate]:
    """K numbers that are no means: statistic(weights (N,)) gives them as (K,).

    Once with all weights 1, then with each cluster's hands weighted by how often it was drawn.
    """
    names, member = np.unique(clusters, return_inverse=True)
    value = statistic(np.ones(len(clusters)))
    bounds = np.full((len(value), 2), np.nan)
    if len(names) >= FEWEST_CLUSTERS:
        draws = _draws(len(names), seed)[:SLOW_DRAWS]
        found = np.array([statistic(draw[member]) for draw in draws])
        bounds = np.array([_bounds(each[np.isfinite(each)], len(names)) for each in found.T])
    return [
        Estimate(float(v), float(low), float(high), len(clusters), len(names))
        for v, (low, high) in zip(value, bounds)
    ]


def over_seeds(values: Sequence[NDArray], clusters: NDArray, seed: int = 0) -> Estimate:
    """Mean over several trainings of one method, each (N,) on the same hands; n counts hands.

    Nested bootstrap: seeds are drawn as well as clusters, so the interval covers both. With few
    seeds it is too narrow for them, as any bootstrap of few is.
    """
    if len(values) == 1:
        return estimate(values[0], clusters, seed)
    known = np.isfinite(values).all(0)
    names, member = np.unique(clusters[known], return_inverse=True)
    if not len(names):
        return NOTHING
    totals = np.stack([np.bincount(member, weights=each[known]) for each in values])
    sizes = np.bincount(member).astype(float)
    rng = np.random.default_rng(seed + 1)
    seeds = rng.multinomial(len(values), np.full(len(values), 1 / len(values)), size=DRAWS)
    draws = _draws(len(names), seed)
    means = ((seeds / len(values)) @ totals * draws).sum(1) / (draws @ sizes)
    value = float(totals.sum() / (sizes.sum() * len(values)))
    return Estimate(value, *_bounds(means, len(names)), int(known.sum()), len(names))


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
    means = _resampled(difference[known], member, seed, TAIL_DRAWS)
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


def _resampled(values: NDArray, member: NDArray, seed: int, number: int = DRAWS) -> NDArray:
    """Means (number,) of resamples of whole clusters; member (N,): each value's cluster."""
    totals = np.bincount(member, weights=values)
    sizes = np.bincount(member).astype(float)
    draws = _draws(len(sizes), seed, number)
    return (draws @ totals) / (draws @ sizes)


def _bounds(found: NDArray, clusters: int) -> tuple[float, float]:
    """95 % percentile bounds of resampled values; NaN below 10 clusters or without any value."""
    if clusters < FEWEST_CLUSTERS or not len(found):
        return float("nan"), float("nan")
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


@lru_cache(maxsize=4)
def _draws(clusters: int, seed: int, number: int = DRAWS) -> NDArray:
    """How often each cluster is drawn in each resample, (number, clusters)."""
    rng = np.random.default_rng(seed)
    found = rng.multinomial(clusters, np.full(clusters, 1.0 / clusters), size=number).astype(float)
    found.flags.writeable = False  # shared by all that ask for it
    return found
