"""How a split is occluded: by finger, together, over time, by level and by cause."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbench.checking.hands import SplitHands
from handbench.checking.labels import part_sizes
from handbench.frames import FINGERS
from handbench.rules import CAUSES, LEVELS, RULES, UNKNOWN, level

HIDDEN, VISIBLE = 0, 1  # of the flags that rules give


@dataclass(frozen=True)
class Runs:
    """Runs of frames in which something stays hidden, within one sequence, camera and clip.

    length (R,) frames; begins, ends (R,): whether its first and its last frame were seen. A run cut
    by the border of a clip lasted at least `length`.
    """

    length: NDArray[np.int64]
    begins: NDArray[np.bool_]
    ends: NDArray[np.bool_]

    def lasting(self) -> NDArray[np.float64]:
        """Share of runs that last longer than 0, 1, 2 … frames, of those begun in sight.

        Runs cut at the end count as long as they were watched (Kaplan and Meier 1958).
        """
        length, ends = self.length[self.begins], self.ends[self.begins]
        if not len(length):
            return np.ones(1)
        watched = np.array([(length >= n).sum() for n in range(1, length.max() + 1)])
        over = np.array([((length == n) & ends).sum() for n in range(1, length.max() + 1)])
        return np.concatenate([[1.0], np.cumprod(1 - over / watched)])

    def summary(self) -> dict[str, Any]:
        """Counts, and lengths in frames; None where no run has one."""
        whole = self.length[self.begins & self.ends]
        lasting = self.lasting()
        below = np.flatnonzero(lasting <= 0.5)
        return {
            "runs": len(self.length),
            "begun_inside": int(self.begins.sum()),
            "whole": len(whole),
            "median_frames": int(below[0]) if len(below) else None,
            "mean_frames_of_whole": float(whole.mean()) if len(whole) else None,
            "longest_frames": int(self.length.max(initial=0)),
        }


@dataclass(frozen=True)
class Occlusion:
    """One split's numbers. rates: rule -> shares hidden (thumb … little, hand); together: rule ->
    (5,5) share of hands with finger i hidden in which j is hidden too; fingers_hidden: rule ->
    hands (6,) with 0 … 5 hidden fingers; levels (4,) hands; causes: cause -> hidden fingers (5,);
    runs: rule -> what (each finger, hand) -> Runs.
    """

    name: str
    hands: int
    labelled: int
    rates: dict[str, NDArray]
    together: dict[str, NDArray]
    fingers_hidden: dict[str, NDArray]
    levels: NDArray
    causes: dict[str, NDArray]
    runs: dict[str, dict[str, Runs]]

    def as_json(self) -> dict[str, Any]:
        """The same by names, null for what no labelled hand tells."""
        return {
            "split": self.name,
            "hands": self.hands,
            "labelled": self.labelled,
            "hidden": {
                rule: dict(zip((*FINGERS, "hand"), map(_number, shares)))
                for rule, shares in self.rates.items()
            },
            "hidden_together": {
                rule: [[_number(value) for value in row] for row in shares]
                for rule, shares in self.together.items()
            },
            "hands_by_hidden_fingers": {k: v.tolist() for k, v in self.fingers_hidden.items()},
            "hands_by_level": dict(zip(LEVELS, self.levels.tolist())),
            "causes": {k: dict(zip(FINGERS, v.tolist())) for k, v in self.causes.items()},
            "runs": {
                rule: {what: runs.summary() for what, runs in found.items()}
                for rule, found in self.runs.items()
            },
        }


def occlusion(hands: SplitHands) -> Occlusion:
    """The numbers of a split, over the hands that have labels."""
    chosen = np.flatnonzero(hands.labelled)
    count, share = hands["visibility/scene/finger_count"], hands["visibility/scene/hand"]
    sizes = part_sizes(hands)
    rates, together, fingers_hidden, runs = {}, {}, {}, {}
    steps = _steps(hands)
    for rule, decide in RULES.items():
        fingers, hand = decide(count, share, sizes)
        flags = np.column_stack([fingers, hand])
        flags[~hands.labelled] = UNKNOWN
        rates[rule] = hidden_shares(flags[chosen])
        together[rule] = hidden_together(flags[chosen, :5])
        number = (flags[chosen, :5] == HIDDEN).sum(1)
        fingers_hidden[rule] = np.bincount(number, minlength=6)
        runs[rule] = {
            what: hidden_runs(column[steps.order], steps.follows)
            for what, column in zip((*FINGERS, "hand"), flags.T)
        }
    levels = level(share[chosen])
    cause = hands["occlusion_cause"][chosen]
    return Occlusion(
        name=hands.split.name,
        hands=len(hands),
        labelled=len(chosen),
        rates=rates,
        together=together,
        fingers_hidden=fingers_hidden,
        levels=np.bincount(levels[levels >= 0], minlength=len(LEVELS)),
        causes={title: (cause == k).sum(0) for k, title in CAUSES.items() if k != 0},
        runs=runs,
    )


def hidden_shares(flags: NDArray) -> NDArray[np.float64]:
    """Share hidden in each column of flags (N,K): 1 visible, 0 hidden, 255 unknown; NaN of none."""
    known = (flags != UNKNOWN).sum(0)
    with np.errstate(invalid="ignore"):
        return (flags == HIDDEN).sum(0) / np.where(known, known, np.nan)


def hidden_together(flags: NDArray) -> NDArray[np.float64]:
    """(K,K): of the rows of flags (N,K) with column i hidden, the share with j hidden too."""
    hidden = (flags == HIDDEN).astype(np.float64)
    known = (flags != UNKNOWN).astype(np.float64)
    alone = hidden.T @ known
    return (hidden.T @ hidden) / np.where(alone > 0, alone, np.nan)


@dataclass(frozen=True)
class _Steps:
    """order (N,): hands by time; follows (N,): whether each is the next frame of the one before."""

    order: NDArray[np.int64]
    follows: NDArray[np.bool_]


def _steps(hands: SplitHands) -> _Steps:
    clip, time = hands.image("clip"), hands.image("order")
    order = np.lexsort([time, clip, hands.is_left, hands.video])
    keys = np.stack([hands.video, hands.is_left, clip])[:, order]
    same = (np.diff(keys, axis=1) == 0).all(0)
    step = np.diff(time[order])
    follows = same & (step == 1) & (time[order][1:] >= 0)
    return _Steps(order, np.concatenate([[False], follows]) if len(order) else np.zeros(0, bool))


def hidden_runs(flags: NDArray, follows: NDArray) -> Runs:
    """Runs of hidden frames in flags (N,) by time; follows (N,): it is the frame after the one
    before. A frame of unknown visibility cuts a run as the border of a clip does."""
    hidden = flags == HIDDEN
    goes_on = np.concatenate([follows[1:], [False]])
    first = hidden & ~(follows & np.roll(hidden, 1))
    last = hidden & ~(goes_on & np.roll(hidden, -1))
    start, stop = np.flatnonzero(first), np.flatnonzero(last)
    seen_before, seen_after = np.roll(flags == VISIBLE, 1), np.roll(flags == VISIBLE, -1)
    return Runs(
        length=stop - start + 1,
        begins=follows[start] & seen_before[start],
        ends=goes_on[stop] & seen_after[stop],
    )


def _number(value: Any) -> float | None:
    return None if math.isnan(value) else float(value)
