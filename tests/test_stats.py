"""Intervals over recordings: coverage, and what must not change them."""

import numpy as np
import pytest

from handbench.stats import estimate, holm, paired


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
