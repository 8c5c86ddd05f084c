"""All annotated hands of a prepared split, as arrays that checks and statistics work on."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from handbench.frames import mirror_points
from handbench.hand import Hand, models_of
from handbench.store import Split

ANNOTATED, INSIDE = 1, 2  # bits of joints_valid


class SplitHands:
    """Columns (M,…) of the hands in a split's order; read when asked for, then kept.

    hands["joints_px"] is the column as stored; hands.image("K") that of each hand's image.
    """

    def __init__(self, split: Split) -> None:
        self.split = split
        self.row, self.is_left = split.hands
        self._kept: dict[str, NDArray] = {}

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, name: str) -> NDArray:
        if name not in self._kept:
            self._kept[name] = self.split.hand_column(name)
        return self._kept[name]

    def has(self, name: str) -> bool:
        return bool({f"right/{name}", f"left/{name}"} & set(self.split.columns))

    def image(self, name: str) -> NDArray:
        return self.split.columns[name][self.row]

    @cached_property
    def valid(self) -> NDArray[np.bool_]:
        """(M,21) joints annotated in 3D."""
        return (self["joints_valid"] & ANNOTATED) > 0

    @cached_property
    def joints_m(self) -> NDArray[np.float64]:
        """(M,21,3) camera frame, NaN where not annotated."""
        return np.where(self.valid[..., None], self["joints_m"], np.nan).astype(np.float64)

    @cached_property
    def as_right(self) -> NDArray[np.float64]:
        """joints_m with left hands mirrored to right ones."""
        joints = self.joints_m.copy()
        joints[self.is_left] = mirror_points(joints[self.is_left])
        return joints

    @cached_property
    def whole(self) -> NDArray[np.bool_]:
        """(M,) hands with all 21 joints."""
        return np.asarray(np.isfinite(self.joints_m).all((1, 2)))

    @cached_property
    def labelled(self) -> NDArray[np.bool_]:
        """(M,) hands with occlusion labels."""
        return self["visibility/source"] > 0

    @cached_property
    def models(self) -> tuple[Hand, Hand] | None:
        """The (right, left) hands that the split was made with, where they are here."""
        return models_of(str(self.split.attributes.get("hand_model", "")))

    @cached_property
    def video(self) -> NDArray[np.int64]:
        """(M,) number of the sequence and camera that each hand's image belongs to."""
        pairs = np.stack([self.image("sequence"), self.image("camera")])
        return np.unique(pairs, axis=1, return_inverse=True)[1].reshape(-1)


def spread_rows(count: int, most: int) -> NDArray[np.int64]:
    """At most so many of count rows, evenly spread, the same each time."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))
