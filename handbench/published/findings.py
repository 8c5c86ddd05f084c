"""What the checks of published figures speak of: a printed number's span, and a finding."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from handbench.published.reported import Reported, title

GRADES = ("impossible", "contradictory", "odd")


@dataclass(frozen=True)
class Finding:
    """grade, which check found it, where it stands, what is wrong, and the arithmetic in lines."""

    grade: str
    check: str
    paper: str
    where: str
    what: str
    arithmetic: tuple[str, ...]


@dataclass(frozen=True)
class Span:
    """A printed number and what it may have been before rounding, in the metric's own unit."""

    value: float
    low: float
    high: float
    shown: str = ""

    def __str__(self) -> str:
        return f"{self.shown or self.value} ({self.low:g} to {self.high:g})"


def span(cell: Reported) -> Span:
    """A printed figure with the ends that its rounding leaves open."""
    exact, half = cell.exact, cell.half
    return Span(float(exact), float(exact - half), float(exact + half), f"{exact}")


def spans(cells: Iterable[Reported], part: str | None = None) -> dict[str, Span]:
    """Metric -> span of one row; of one part of it where parts are printed."""
    return {c.metric: span(c) for c in cells if c.value and part in (None, c.part)}


def exclude(cells: Sequence[Reported]) -> bool:
    """Whether no one number rounds to all of them; 9.4 and 9.5 merely touch, and do."""
    ends = [span(cell) for cell in cells]
    return bool(ends) and max(e.low for e in ends) >= min(e.high for e in ends)


def label(cell: Reported) -> str:
    return f"{title(cell.metric)} {cell.part}".strip()


def finding(
    grade: str, check_name: str, cell: Reported, what: str, *arithmetic: str, row: bool = True
) -> Finding:
    """A finding about a row, or about the table (row=False) that the cell stands in."""
    where = cell.place if row else cell.table_name
    return Finding(grade, check_name, cell.paper, where, what, arithmetic)


def less(
    row: Reported, values: Mapping[str, Span], large: str, small: str, grade: str, check_name: str
) -> list[Finding]:
    """A finding where `large`, which ought to be the larger one, is less even after rounding."""
    if large not in values or small not in values or values[large].high >= values[small].low:
        return []
    what = f"{title(large)} is lower than {title(small)}"
    return [finding(grade, check_name, row, what, f"{values[large]} < {values[small]}")]
