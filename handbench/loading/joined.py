"""Training splits of several data sets as one."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from handbench.errors import HandbenchError
from handbench.loading.batch import Batch, Samples


class Joined(Samples):
    """The samples of several splits after each other, every sample once an epoch.

    What else is asked of samples (split, hand, boxes) is the first one's; a batch's `index` counts
    through all. Raises HandbenchError when their hand models differ.
    """

    def __init__(self, parts: Sequence[Samples]) -> None:
        self.__dict__ |= parts[0].__dict__
        self.parts, self.starts = list(parts), np.cumsum([0, *map(len, parts)])
        others = {part.hand.sha256 for part in parts}
        if len(others) > 1:
            names = " and ".join(part.split.name for part in parts)
            raise HandbenchError(
                f"{names} were prepared with different hand models: prepare them with one"
            )

    def __len__(self) -> int:
        return int(self.starts[-1])

    def names(self, indices: NDArray) -> list[str]:
        found = []
        for index in np.asarray(indices):
            part = self._part(index)
            found += self.parts[part].names(np.array([index - self.starts[part]]))
        return found

    def batch(self, indices: Sequence[int] | NDArray, epoch: int = 0) -> Batch:
        index = np.asarray(indices, np.int64)
        of = self._part(index)
        pieces, places = [], []
        for part in np.unique(of):
            chosen = np.flatnonzero(of == part)
            pieces.append(self.parts[part].batch(index[chosen] - self.starts[part], epoch))
            places.append(chosen)
        order = np.argsort(np.concatenate(places))
        most = max(piece.get("object_corners", np.empty((0, 0))).shape[1] for piece in pieces)
        joined = {
            name: np.concatenate([_filled(piece[name], name, most) for piece in pieces])[order]
            for name in pieces[0]
        }
        return {**joined, "index": index}

    def _part(self, index: NDArray) -> NDArray:
        return np.searchsorted(self.starts, index, side="right") - 1


def _filled(value: NDArray, name: str, most: int) -> NDArray:
    """object_corners (B,S,8,3) with the identity's repeated up to `most` symmetries."""
    lacking = most - value.shape[1] if name == "object_corners" else 0
    return np.concatenate([value, np.repeat(value[:, :1], lacking, 1)], 1) if lacking else value
