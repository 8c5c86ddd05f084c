"""From one value a hand to the numbers of a result: means, quantiles, failure rates, AP.

Beside a mean NAME a result holds NAME_median, NAME_p90, NAME_p95 and the share of hands over a
limit, NAME_over_30 (mm) or NAME_over_45 (degrees), for the errors in SPREAD.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbench.scoring.metrics import METRICS
from handbench.scoring.occlusion import average_precision, calibration_error
from handbench.scoring.stats import (
    FEWEST_CLUSTERS,
    Estimate,
    estimate,
    estimate_by,
    estimate_columns,
)

QUANTILES = {"median": 0.5, "p90": 0.9, "p95": 0.95}
FAILURES = {"mm": 30.0, "deg": 45.0}  # limit by unit
SPREAD = (
    *("mpjpe_mm", "pa_mpjpe_mm", "mpvpe_mm", "hidden_mpjpe_mm", "hidden_given_seen_mm"),
    *("rotation_deg", "root_rotation_deg", "canonical_mm"),
)
# Errors of the single joints, where a protocol averages joint by joint
BY_JOINT = {"mpjpe_mm": "joint_errors_mm", "pa_mpjpe_mm": "pa_joint_errors_mm"}


def unit_of(name: str) -> str:
    """Unit of a number in a result, by its metric; rates and unknown names have none."""
    metric, _, suffix = name.rpartition("_")
    base = metric if suffix in QUANTILES else name
    return METRICS[base].unit if base in METRICS else ""


def means(
    per_sample: Mapping[str, NDArray],
    names: Sequence[str],
    chosen: NDArray,
    average: str = "hand",
) -> dict[str, Estimate]:
    """Mean of each named metric over the chosen hands (M,) bool.

    average "joint": first over the hands for each of 2 x 21 joints, then over these 42.
    """
    clusters = per_sample["recording"][chosen]
    found = {}
    for name in names:
        if average == "joint" and name in BY_JOINT:
            errors = per_sample[BY_JOINT[name]][chosen].astype(np.float64)
            left = per_sample["is_left"][chosen].astype(bool)[:, None]
            both = np.hstack([np.where(left, np.nan, errors), np.where(left, errors, np.nan)])
            found[name] = estimate_columns(both, clusters)
        else:
            found[name] = estimate(per_sample[name][chosen], clusters)
    return found


def spread(
    per_sample: Mapping[str, NDArray], names: Sequence[str], clusters: NDArray
) -> dict[str, Estimate]:
    """Quantiles and failure rates of the errors in SPREAD among the named metrics."""
    found: dict[str, Estimate] = {}
    for name in (each for each in SPREAD if each in names):
        values = per_sample[name]
        known = np.isfinite(values)
        if not known.any():
            continue
        quantiles = estimate_by(_Quantiles(values[known]), clusters[known])
        found |= {f"{name}_{suffix}": e for suffix, e in zip(QUANTILES, quantiles)}
        limit = FAILURES[METRICS[name].unit]
        over = np.where(known, values > limit, np.nan)
        found[f"{name}_over_{limit:g}"] = estimate(over, clusters)
    return found


def occlusion(per_sample: Mapping[str, NDArray]) -> dict[str, Estimate]:
    """occlusion_ap and occlusion_ece over all labelled fingers, where visibility was predicted."""
    if "visibility_pred" not in per_sample:
        return {}
    probability = per_sample["visibility_pred"].astype(np.float64)
    labels = per_sample["finger_visible"]
    known = (labels <= 1) & np.isfinite(probability)
    if not known.any():
        return {}
    visible, told = labels[known] == 1, probability[known]
    clusters = np.broadcast_to(per_sample["recording"][:, None], labels.shape)[known]
    found = estimate_by(
        lambda weights: np.array(
            [
                average_precision(~visible, 1 - told, weights),
                calibration_error(visible, told, weights),
            ]
        ),
        clusters,
    )
    return dict(zip(("occlusion_ap", "occlusion_ece"), found))


def by_cluster(
    per_sample: Mapping[str, NDArray], names: Sequence[str], key: str, titles: Sequence[str]
) -> dict[str, Any]:
    """What the clusters that `key` numbers (recording, subject) say beside the means.

    Fewer than 10: each one's own value, and their standard deviation, least and greatest. From 10
    on: intervals over them. JSON-able; -1 numbers none.
    """
    clusters = per_sample[key]
    known = clusters >= 0
    present = np.unique(clusters[known])
    found: dict[str, Any] = {"count": len(present)}
    if len(present) >= FEWEST_CLUSTERS:
        for name in names:
            e = estimate(per_sample[name][known], clusters[known])
            if np.isfinite(e.low):
                found[name] = {"value": e.value, "low": e.low, "high": e.high}
        return found
    found["names"] = [titles[k] for k in present]
    found["hands"] = [int((clusters == k).sum()) for k in present]
    for name in names:
        values = [_mean(per_sample[name][clusters == k]) for k in present]
        told = [value for value in values if value is not None]
        if len(told) > 1:
            found[name] = {
                "values": values,
                "sd": float(np.std(told, ddof=1)),
                "least": min(told),
                "greatest": max(told),
            }
    return found


class _Quantiles:
    """Weighted quantiles of values (N,): the least value that reaches the share of hands."""

    def __init__(self, values: NDArray) -> None:
        self.order = np.argsort(values, kind="stable")
        self.values = values[self.order]
        self.shares = np.array([*QUANTILES.values()])

    def __call__(self, weights: NDArray) -> NDArray:
        reached = np.cumsum(weights[self.order])
        # a hair less than the share, so that rounding does not pass an exact hit
        wanted = self.shares * reached[-1] * (1 - 1e-12)
        return self.values[np.searchsorted(reached, wanted, side="left")]


def _mean(values: NDArray) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None
