"""How well train covers the ways in which test hands are turned."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbench.checking.hands import SplitHands
from handbench.checking.poses import nearest_turn_deg, palm_rotation

WITHIN_DEG = (10, 20, 30)


@dataclass(frozen=True)
class Coverage:
    """nearest_deg (N,): from each test hand to the train hand that is turned most alike."""

    test: str
    train: str
    nearest_deg: NDArray[np.float64]

    def within(self, degrees: float) -> float:
        """Share of test hands with a train hand within so many degrees."""
        return float((self.nearest_deg <= degrees).mean())

    def as_json(self) -> dict[str, Any]:
        """What JSON keeps of it: shares within some distances, the median and the greatest."""
        return {
            "test": self.test,
            "train": self.train,
            "hands": len(self.nearest_deg),
            **{f"within_{degrees}_deg": self.within(degrees) for degrees in WITHIN_DEG},
            "median_deg": float(np.median(self.nearest_deg)),
            "most_deg": float(self.nearest_deg.max()),
        }


def coverage(test: SplitHands, train: SplitHands) -> Coverage | None:
    """Turns of palms in the camera frame, left hands mirrored; None where joints are not known."""
    if not test.whole.any() or not train.whole.any():
        return None
    asked, known = (palm_rotation(each.as_right[each.whole]) for each in (test, train))
    return Coverage(test.split.name, train.split.name, nearest_turn_deg(asked, known))
