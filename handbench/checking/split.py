"""Every check of a prepared split, in order."""

from collections.abc import Callable, Iterator

from handbench.checking import counts, geometry, labels, pictures
from handbench.checking.check import FAIL, Check
from handbench.checking.hands import SplitHands
from handbench.errors import HandbenchError
from handbench.store import Split

Checker = Callable[[SplitHands], Check | list[Check]]
CHECKS: tuple[Checker, ...] = (
    *counts.CHECKS,
    *geometry.CHECKS,
    *pictures.CHECKS,
    *labels.CHECKS,
)


def check_split(split: Split) -> Iterator[Check]:
    """All checks of a split; what a check cannot read is a failure of its own."""
    hands = SplitHands(split)
    for checker in CHECKS:
        try:
            found = checker(hands)
        except HandbenchError as error:
            found = Check(checker.__name__.replace("_", " "), FAIL, str(error))
        yield from [found] if isinstance(found, Check) else found
