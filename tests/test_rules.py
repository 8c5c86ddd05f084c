"""Rules and levels against numbers worked by hand; vertex bits."""

import numpy as np
import pytest

from handbench.rules import CAUSES, DEFAULT, LEVELS, RULES, balance, level, pack, unpack

SIZES = np.array([190, 102, 121, 122, 124, 119])
COUNT = np.array(
    [
        [0, 29, 30, 72, 73, 119],
        [190, 52, 71, 71, 74, 68],
        [-1, -1, -1, -1, -1, -1],
        [190, 51, 70, 0, 124, 69],
    ],
    np.int16,
)
HAND = np.array([0.40, 0.39, np.nan, 0.5], np.float32)


def test_the_released_rule():
    fingers, hands = RULES["released"](COUNT, HAND, SIZES)
    assert fingers.tolist() == [[0, 1, 1, 1, 1], [1] * 5, [255] * 5, [1, 1, 0, 1, 1]]
    assert hands.tolist() == [1, 0, 255, 1]
    assert fingers.dtype == hands.dtype == np.uint8
    assert DEFAULT == "released"


def test_the_paper_rule():
    """Occluded above 50 hidden vertices: thumb visible from 52 on, index 71, middle 72, …"""
    fingers, hands = RULES["paper"](COUNT, HAND, SIZES)
    assert fingers.tolist() == [[0, 0, 1, 0, 1], [1, 1, 0, 1, 0], [255] * 5, [0, 0, 0, 1, 1]]
    assert hands.tolist() == [0, 0, 255, 1]


def test_levels_are_closed_below():
    share = [1.0, 0.76, 0.75, 0.51, 0.5, 0.26, 0.25, 0.0, np.nan]
    assert level(share).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, -1]
    assert len(LEVELS) == 4
    assert set(CAUSES) == {0, 1, 2, 3, 4, 5, 255}


def test_balance_counts_only_what_is_known():
    found = balance(COUNT, HAND, SIZES)
    assert found["rows"] == 4
    assert found["levels"] == {"0-25": 0, "25-50": 0, "50-75": 3, "75-100": 0}
    released, paper = found["rules"]["released"], found["rules"]["paper"]
    assert released["fingers_occluded"] == pytest.approx([1 / 3, 0, 1 / 3, 0, 0])
    assert paper["fingers_occluded"] == pytest.approx([2 / 3, 2 / 3, 2 / 3, 1 / 3, 1 / 3])
    assert (released["hands_occluded"], paper["hands_occluded"]) == pytest.approx((1 / 3, 2 / 3))
    assert found["agreement"]["fingers"] == pytest.approx(9 / 15)
    assert found["agreement"]["hands"] == pytest.approx(2 / 3)
    nothing = balance(COUNT[2:3], HAND[2:3], SIZES)
    assert np.isnan(nothing["agreement"]["fingers"])


def test_bits_are_big_endian_and_come_back():
    flags = np.zeros((2, 778), bool)
    flags[0, [0, 9]] = True
    flags[1] = np.random.default_rng(0).random(778) < 0.5
    bits = pack(flags)
    assert bits.shape == (2, 98)
    assert bits[0, :3].tolist() == [128, 64, 0]
    assert (unpack(bits) == flags).all()
    assert unpack(bits).dtype == bool
