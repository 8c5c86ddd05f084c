"""Which earlier frames go with a sample: of the same video, or as the released loader has them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbench.errors import UnknownName
from handbench.loading.augment import uniforms

RULES = ("clean", "released")


class Neighbours:
    """The frames of M hands, current first, then `step`, 2 `step` … frames earlier; T in all.

    columns: of a split; rows, is_left (M,): image and side of each hand. rule: one of
    RULES. clean: frames of the same sequence, camera and gap-free clip; before its
    first frame that one stands. released: so many places earlier in the list of hands, whatever
    stands there, and in the first frames of a video half way to frame 0 and frame 0 (H2ONet's
    loaders); the list is the official one where every hand has its official_index, else the order
    of hands. jitter: the offsets of training vary, t * step by less than jitter, as there.
    Raises UnknownName.
    """

    def __init__(
        self,
        columns: Any,
        rows: NDArray,
        is_left: NDArray,
        frames: int = 1,
        step: int = 1,
        rule: str = "clean",
        jitter: int = 0,
    ) -> None:
        if rule not in RULES:
            raise UnknownName("frame rule", rule, RULES)
        self.rule, self.step, self.jitter = rule, step, jitter
        self.rows, self.side = rows, is_left.astype(np.int64)
        self.back = step * np.arange(frames)
        number = np.asarray(columns["frame_number"]) if rule == "released" else np.zeros(0)
        self.frame_number = number[rows] if len(number) else number
        self.listed = listed(columns, rows) if rule == "released" else rows[:0]
        self.at = np.argsort(self.listed)
        if frames > 1 and rule == "clean":
            self.by_time, self.place, self.first = videos(columns)
        self.hand = np.full((2, len(columns["id"])), -1)
        self.hand[self.side, rows] = np.arange(len(rows))

    @property
    def frames(self) -> int:
        return len(self.back)

    def of(self, index: NDArray, seed: int = 0, epoch: int = 0) -> tuple[NDArray, ...]:
        """Row, side (1 left) and hand of each frame (B,T); hand -1: not annotated there.

        The draw of offsets depends on seed, epoch and index alone.
        """
        back = np.broadcast_to(self.back, (len(index), self.frames))
        if self.jitter and self.frames > 1:
            back = back - self._drawn(index, seed, epoch)
        if self.rule == "released":
            far, number = self.back[-1], self.frame_number[index, None]
            early = number * np.arange(self.frames) // max(1, self.frames - 1)
            # an index below 0 counts from the list's end there, as here
            at = self.at[index, None] - np.where(number < far, early, back)
            hand = self.listed[at % len(self.rows)]
            return self.rows[hand], self.side[hand], hand
        side = np.repeat(self.side[index, None], self.frames, 1)
        row = self.rows[index, None]
        if self.frames > 1:
            here = self.place[row]
            row = self.by_time[np.maximum(here - back, self.first[here])]
        return row, side, self.hand[side, row]

    def _drawn(self, index: NDArray, seed: int, epoch: int) -> NDArray[np.int64]:
        """What offsets (B,T) fall short by: the first by -j+1 to j-1, later ones by 0 to j-1."""
        u = uniforms(~seed, epoch, index, self.frames)
        short = np.floor(self.jitter * u).astype(np.int64)
        short[:, 1] = np.trunc(self.jitter * (2 * u[:, 1] - 1)).astype(np.int64)
        short[:, 0] = 0
        return short

    def told(self) -> str:
        """For protocols: how many frames, by which rule and how far back."""
        return f"{self.frames} ({self.rule}: {', '.join(str(-back) for back in self.back)})"


def listed(columns: Any, rows: NDArray) -> NDArray[np.int64]:
    """Hands (M,) of the rows in the order of the official list, else as they are."""
    official = np.asarray(columns["official_index"])[rows] if "official_index" in columns else rows
    return np.argsort(official if (official >= 0).all() else np.arange(len(rows)), kind="stable")


def videos(columns: Any) -> tuple[NDArray[np.int64], ...]:
    """Rows by time within gap-free clips: rows in that order (N,), the place of each row in it,
    and for each place that of its clip's first frame."""
    keys = [np.asarray(columns[name]) for name in ("order", "clip", "camera", "sequence")]
    by_time = np.lexsort(keys)  # last key first
    group = np.stack(keys[1:])[:, by_time]
    new = np.r_[True, (group[:, 1:] != group[:, :-1]).any(0)]
    first = np.maximum.accumulate(np.where(new, np.arange(len(by_time)), 0))
    place = np.empty(len(by_time), np.int64)
    place[by_time] = np.arange(len(by_time))
    return by_time, place, first
