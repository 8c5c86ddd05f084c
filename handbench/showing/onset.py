"""What being hidden does: frames of a covered take against the same frames of its bare twin."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from handbench.scoring.stats import Estimate, estimate

# frames since the hand was last seen: title -> first and last
SINCE = {
    "0": (0, 0),
    "1": (1, 1),
    "2": (2, 2),
    "3-4": (3, 4),
    "5-8": (5, 8),
    "9-16": (9, 16),
    "17+": (17, 10**6),
}
COLUMNS = ("onset_pair", "onset_occluded", "frames_since_seen")


def twins(
    per_sample: Mapping[str, NDArray], metric: str = "mpjpe_mm"
) -> tuple[NDArray, NDArray, NDArray]:
    """(D,) frames since last seen, covered minus bare error, and the pair's number as cluster.

    One row for each frame of each hand that the occluder hides: it shows less than half of what
    the twin shows in some frame that counts as unseen. A second hand beside it has no row.
    """
    pair, order = per_sample["onset_pair"], per_sample["order"]
    left, since = per_sample["is_left"].astype(int), per_sample["frames_since_seen"]
    covered = np.flatnonzero(per_sample["onset_occluded"] == 1)
    bare = np.flatnonzero(per_sample["onset_occluded"] == 0)
    place = {key: row for row, key in zip(bare, zip(pair[bare], left[bare], order[bare]))}
    keys = zip(pair[covered], left[covered], order[covered])
    twin = np.array([place.get(key, -1) for key in keys], np.int64)
    covered, twin = covered[twin >= 0], twin[twin >= 0]
    shown = per_sample["share_visible"]
    gone = (since[covered] > 0) & (shown[covered] < 0.5 * shown[twin])
    hand = 2 * pair + left
    kept = np.isin(hand[covered], hand[covered][gone])
    covered, twin = covered[kept], twin[kept]
    difference = per_sample[metric][covered] - per_sample[metric][twin]
    return since[covered], difference, pair[covered]


def by_span(per_sample: Mapping[str, NDArray], metric: str = "mpjpe_mm") -> dict[str, Estimate]:
    """The difference to the twin for each span of SINCE that occurs; interval over pairs."""
    since, difference, pair = twins(per_sample, metric)
    spans = {title: (since >= a) & (since <= b) for title, (a, b) in SINCE.items()}
    return {
        title: estimate(difference[chosen], pair[chosen])
        for title, chosen in spans.items()
        if chosen.any()
    }
