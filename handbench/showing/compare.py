"""Paired differences of two results on the same hands."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbench.console import amount
from handbench.errors import HandbenchError
from handbench.protocol import EVALUATION_CONDITIONS
from handbench.protocol import differences as unequal
from handbench.result import Result
from handbench.rules import LEVELS
from handbench.scoring.metrics import METRICS
from handbench.scoring.stats import Difference, holm, paired
from handbench.showing.formats import Column
from handbench.showing.rows import label, tier

SHOWN = (
    *("mpjpe_mm", "pa_mpjpe_mm", "jstar_mpjpe_mm", "mpvpe_mm", "pa_mpvpe_mm"),
    *("hidden_mpjpe_mm", "hidden_given_seen_mm", "rotation_deg"),
)
LEVEL_METRIC = "pa_mpjpe_mm"
CLEAR = 0.05


def differences(a: Result, b: Result) -> list[dict[str, Any]]:
    """Rows {metric, level, value, low, high, p, p_holm, n, clusters} of a - b.

    Raises HandbenchError when the two were not scored by one protocol on the same hands.
    """
    found = unequal([{"protocol": r.protocol["label"], **r.protocol["evaluation"]} for r in (a, b)])
    if found:
        name, values = next(iter(found.items()))
        title = EVALUATION_CONDITIONS.get(name, name)
        raise HandbenchError(f"not comparable: {title} is {values[0]} in A and {values[1]} in B")
    for name in ("id", "is_left"):
        if not np.array_equal(a.per_sample[name], b.per_sample[name]):
            raise HandbenchError("not comparable: A and B scored different hands")
    rows: list[dict[str, Any]] = []
    clusters = a.per_sample["recording"]
    for name in SHOWN:
        if name in a.per_sample and name in b.per_sample:
            whole = paired(a.per_sample[name], b.per_sample[name], clusters)
            rows.append(_row(name, "all", whole))
    for index, level in enumerate(LEVELS):
        chosen = a.per_sample["level"] == index
        if chosen.any():
            part = paired(
                a.per_sample[LEVEL_METRIC][chosen],
                b.per_sample[LEVEL_METRIC][chosen],
                clusters[chosen],
            )
            rows.append(_row(LEVEL_METRIC, level, part))
    corrected: NDArray = holm(np.array([math.nan if r["p"] is None else r["p"] for r in rows]))
    for row, p in zip(rows, corrected):
        row["p_holm"] = None if math.isnan(p) else float(p)
    return rows


def lines(rows: list[dict[str, Any]], a: Result, b: Result) -> list[str]:
    """One line a row: metric, difference with interval, which is better, corrected p."""
    told = []
    for row in rows:
        metric = METRICS[row["metric"]]
        where = "" if row["level"] == "all" else f" at {row['level']} % occluded"
        head = f"{metric.title + where:<32} {row['value']:+.2f} {metric.unit}"
        if row["low"] is None:
            told.append(f"{head}  {amount(row['clusters'], 'recording')}: too few for an interval")
            continue
        better = a if (row["value"] < 0) == (metric.better == "lower") else b
        clear = row["p_holm"] is not None and row["p_holm"] < CLEAR
        verdict = f"{label(better)} better" if clear else "no clear difference"
        told.append(
            f"{head} [{row['low']:+.2f} {row['high']:+.2f}]  {verdict}, "
            f"p {row['p_holm']:.4f}, {amount(row['n'], 'hand')}, "
            f"{amount(row['clusters'], 'recording')}"
        )
    return told


def clear_differences(results: Sequence[Result], columns: Sequence[Column]) -> set[tuple[int, str]]:
    """Cells (row, column key) that are clearly worse than the best of their tier and column.

    Paired over recordings; Holm's correction over all cells of the table that are compared.
    Results on other hands than the best's are not compared.
    """
    cells: list[tuple[int, str]] = []
    p: list[float] = []
    for column in (each for each in columns if each.better in ("lower", "higher")):
        have = [k for k, each in enumerate(results) if column.key in each.per_sample]
        for group in {tier(results[k]) for k in have}:
            rivals = [k for k in have if tier(results[k]) == group]
            values = [results[k].metrics[column.key].value for k in rivals]
            if not np.isfinite(values).any():
                continue
            pick = np.nanargmin if column.better == "lower" else np.nanargmax
            best = results[rivals[int(pick(values))]].per_sample
            for k in rivals:
                mine = results[k].per_sample
                if mine is not best and np.array_equal(mine["id"], best["id"]):
                    found = paired(mine[column.key], best[column.key], mine["recording"])
                    cells.append((k, column.key))
                    p.append(found.p)
    corrected = holm(np.array(p))
    return {cell for cell, each in zip(cells, corrected) if each < CLEAR}


def _row(metric: str, level: str, found: Difference) -> dict[str, Any]:
    numbers = {
        name: value if math.isfinite(value) else None
        for name, value in (
            ("value", found.value),
            ("low", found.low),
            ("high", found.high),
            ("p", found.p),
        )
    }
    return {"metric": metric, "level": level, **numbers, "n": found.n, "clusters": found.clusters}
