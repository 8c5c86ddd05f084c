"""Intervals over recordings: coverage, and what must not change them."""

import numpy as np
import pytest

from handbench.scoring.aggregate import by_cluster, spread, unit_of
from handbench.scoring.stats import (
    estimate,
    estimate_by,
    estimate_columns,
    holm,
    over_seeds,
    paired,
)


def sample(recordings=40, frames=10, seed=0):
    rng = np.random.default_rng(seed)
    clusters = np.repeat(np.arange(recordings), frames)
    values = 10 + np.repeat(rng.normal(size=recordings), frames) + rng.normal(size=len(clusters))
    return values, clusters


def test_copies_of_a_camera_leave_the_interval_as_it_is():
    values, clusters = sample()
    once = estimate(values, clusters)
    twice = estimate(np.tile(values, 2), np.tile(clusters, 2))
    assert (once.value, once.low, once.high) == pytest.approx((twice.value, twice.low, twice.high))
    assert twice.n == 2 * once.n
    assert twice.clusters == once.clusters


def test_taking_frames_as_the_unit_would_be_too_sure():
    values, clusters = sample()
    honest = estimate(values, clusters)
    naive = estimate(values, np.arange(len(values)))
    assert honest.high - honest.low > 2 * (naive.high - naive.low)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    hits = 0
    for seed in range(200):
        found = estimate(*sample(recordings=40, frames=3, seed=seed))
        hits += found.low <= 10 <= found.high
    assert 178 <= hits <= 200  # 95 % of 200, a little less for 40 clusters


def test_fewer_than_ten_recordings_get_no_interval():
    values, clusters = sample(recordings=9)
    found = estimate(values, clusters)
    assert np.isfinite(found.value)
    assert np.isnan(found.low)
    assert np.isnan(paired(values, values + 1, clusters).p)


def test_unknown_values_are_left_out():
    values, clusters = sample()
    holes = values.copy()
    holes[::7] = np.nan
    found = estimate(holes, clusters)
    assert found.value == pytest.approx(np.nanmean(holes))
    assert found.n == np.isfinite(holes).sum()
    assert np.isnan(estimate(np.full(3, np.nan), np.arange(3)).value)


def test_paired_difference_sees_what_single_intervals_cannot():
    values, clusters = sample()
    rng = np.random.default_rng(1)
    other = values - 0.3 + rng.normal(scale=0.1, size=len(values))
    a, b = estimate(values, clusters), estimate(other, clusters)
    assert b.high > a.low  # the intervals overlap
    difference = paired(values, other, clusters)
    assert difference.low > 0
    assert difference.p < 0.01
    same = paired(values, values + rng.normal(scale=0.1, size=len(values)), clusters)
    assert same.low < 0 < same.high
    assert same.p > 0.05


def test_holm_on_a_worked_example():
    corrected = holm(np.array([0.01, 0.04, np.nan, 0.03, 0.005]))
    assert corrected[[0, 1, 3, 4]] == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert np.isnan(corrected[2])


def test_a_mean_of_column_means_weighs_columns_alike():
    values, clusters = sample()
    columns = np.stack([values, values + 2, np.full(len(values), np.nan)], axis=1)
    columns[::2, 1] = np.nan
    found = estimate_columns(columns, clusters)
    assert found.value == pytest.approx((values.mean() + values[1::2].mean() + 2) / 2)
    assert found.low < found.value < found.high
    alone = estimate_columns(values[:, None], clusters)
    same = estimate(values, clusters)
    assert (alone.low, alone.high) == pytest.approx((same.low, same.high))
    assert np.isnan(estimate_columns(columns[:20], clusters[:20]).low)
    # recordings of unequal length, drawn anew, weigh what they hold
    uneven = np.concatenate([clusters, np.zeros(100, clusters.dtype)])
    even = estimate_columns(np.full((len(uneven), 2), 5.0), uneven)
    assert (even.low, even.high) == pytest.approx((5, 5))


def test_a_mean_by_weights_has_the_same_interval():
    values, clusters = sample()
    (found,) = estimate_by(lambda w: np.array([(w * values).sum() / w.sum()]), clusters)
    same = estimate(values, clusters)
    assert found.value == pytest.approx(same.value)
    assert (found.low, found.high) == pytest.approx((same.low, same.high), abs=0.1)


def test_quantiles_and_failure_rates_by_hand():
    errors = np.r_[np.arange(1.0, 21), np.nan]  # 1 … 20 mm and a hand without a value
    kept = {"mpjpe_mm": 2 * errors, "rotation_deg": 5 * errors}
    found = spread(kept, ["mpjpe_mm", "rotation_deg"], np.arange(21))
    numbers = {name: each.value for name, each in found.items()}
    assert numbers == {
        "mpjpe_mm_median": 20.0,
        "mpjpe_mm_p90": 36.0,
        "mpjpe_mm_p95": 38.0,
        "mpjpe_mm_over_30": 0.25,
        "rotation_deg_median": 50.0,
        "rotation_deg_p90": 90.0,
        "rotation_deg_p95": 95.0,
        "rotation_deg_over_45": 0.55,
    }
    assert all(each.n == 20 for each in found.values())
    assert found["mpjpe_mm_median"].low < 20 < found["mpjpe_mm_median"].high
    units = {name: unit_of(name) for name in ("mpjpe_mm_p90", "mpjpe_mm_over_30", "rotation_deg")}
    assert units == {"mpjpe_mm_p90": "mm", "mpjpe_mm_over_30": "", "rotation_deg": "deg"}


def test_seeds_widen_an_interval_by_their_own_spread():
    values, clusters = sample()
    same = over_seeds([values, values, values], clusters)
    one = estimate(values, clusters)
    assert (same.value, same.low, same.high) == pytest.approx((one.value, one.low, one.high))
    apart = over_seeds([values - 3, values, values + 3], clusters)
    assert apart.value == pytest.approx(one.value)
    assert apart.high - apart.low > 3 * (one.high - one.low)
    assert over_seeds([values], clusters) == one
    assert np.isnan(over_seeds([values[:20], values[:20]], clusters[:20]).low)


def test_few_clusters_are_told_one_by_one():
    kept = {"mpjpe_mm": np.array([1.0, 3.0, 8.0, np.nan]), "subject": np.array([0, 0, 2, -1])}
    found = by_cluster(kept, ["mpjpe_mm"], "subject", ["a", "b", "c"])
    assert (found["count"], found["names"], found["hands"]) == (2, ["a", "c"], [2, 1])
    told = found["mpjpe_mm"]
    assert told["values"] == [2.0, 8.0]
    assert (told["sd"], told["least"], told["greatest"]) == pytest.approx((np.sqrt(18), 2, 8))
    values, clusters = sample()
    many = by_cluster({"mpjpe_mm": values, "subject": clusters}, ["mpjpe_mm"], "subject", [])
    assert many["count"] == 40
    assert many["mpjpe_mm"]["low"] == estimate(values, clusters).low
