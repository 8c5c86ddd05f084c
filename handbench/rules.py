"""What counts as visible: the named rules over stored counts, occlusion levels, packed bits."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

VERTICES = 778
UNKNOWN = 255
DEFAULT = "released"
LEVELS = ("0-25", "25-50", "50-75", "75-100")
CAUSES = {
    0: "visible",
    1: "self",
    2: "held object",
    3: "other hand",
    4: "other occluder",
    5: "image border",
    UNKNOWN: "unknown",
}

Rule = Callable[[NDArray, NDArray, NDArray], tuple[NDArray[np.uint8], NDArray[np.uint8]]]


def released(
    finger_count: NDArray, hand: NDArray, part_sizes: NDArray
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A finger is visible from 30 counted vertices on, a hand from a visible share of 0.40 on.

    finger_count (N,6), palm first, -1 unknown; hand (N,) share, NaN unknown; part_sizes (6,)
    vertices of each part. Returns finger_visible (N,5) and hand_visible (N,): 1, 0 or 255 unknown.
    H2ONet, released label scripts.
    """
    fingers = np.asarray(finger_count)[..., 1:]
    return _flag(fingers >= 30, fingers < 0), _flag(np.asarray(hand) >= 0.40, np.isnan(hand))


def paper(
    finger_count: NDArray, hand: NDArray, part_sizes: NDArray
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A finger is occluded when more than 50 of its vertices are, a hand when over half of it is.

    Arguments and returns as in `released`. H2ONet, section 3.2.
    """
    fingers = np.asarray(finger_count)[..., 1:]
    occluded = np.asarray(part_sizes)[1:] - fingers
    return _flag(occluded <= 50, fingers < 0), _flag(np.asarray(hand) >= 0.50, np.isnan(hand))


RULES: dict[str, Rule] = {"released": released, "paper": paper}


def level(hand: ArrayLike) -> NDArray[np.int8]:
    """Occlusion level of visible shares (N,): index into LEVELS of 1 - share, -1 where NaN.

    Levels are closed below and open above, the last is closed: a share of 0.75 is level 1.
    """
    share = np.asarray(hand, np.float64)
    # thresholds on the share itself: 1 - share would round
    found = 3 - np.searchsorted([0.25, 0.5, 0.75], share, side="left")
    return np.where(np.isnan(share), -1, found).astype(np.int8)


def balance(finger_count: NDArray, hand: NDArray, part_sizes: NDArray) -> dict:
    """How the rules divide N hands, and how far they agree: shares of what is known.

    Arguments as in `released`. Returns {"rows", "rules": {name: {"fingers_occluded" [5],
    "hands_occluded"}}, "agreement": {"fingers", "hands"}, "levels": {name: rows}}; NaN of nothing.
    """
    labels = {name: rule(finger_count, hand, part_sizes) for name, rule in RULES.items()}
    (fingers_a, hands_a), (fingers_b, hands_b) = labels["released"], labels["paper"]
    levels = level(hand)
    return {
        "rows": len(hands_a),
        "rules": {
            name: {
                "fingers_occluded": [_share(column == 0, column) for column in fingers.T],
                "hands_occluded": _share(hands == 0, hands),
            }
            for name, (fingers, hands) in labels.items()
        },
        "agreement": {
            "fingers": _share(fingers_a == fingers_b, fingers_a),
            "hands": _share(hands_a == hands_b, hands_a),
        },
        "levels": {name: int((levels == i).sum()) for i, name in enumerate(LEVELS)},
    }


def pack(visible: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Vertex flags (...,778) as bits (...,98), the first vertex in the highest bit."""
    return np.packbits(visible, axis=-1, bitorder="big")


def unpack(bits: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Bits (...,98) as vertex flags (...,778)."""
    return np.unpackbits(bits, axis=-1, count=VERTICES, bitorder="big").astype(bool)


def _flag(visible: NDArray, unknown: NDArray) -> NDArray[np.uint8]:
    return np.where(unknown, UNKNOWN, visible).astype(np.uint8)


def _share(chosen: NDArray, flags: NDArray) -> float:
    known = flags != UNKNOWN
    return float(chosen[known].mean()) if known.any() else float("nan")
