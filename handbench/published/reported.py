"""Published figures: the cells of papers' tables as printed, read from CSV files and checked."""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

from handbench.errors import DataError, UnknownName
from handbench.scoring.metrics import METRICS

PAPERS = ("handoccnet", "h2onet", "handgcat", "occrobnet")
SOURCES = (*PAPERS, "landscape")

# Metrics that papers print and handbench's own list does not have: name -> (title, unit, better)
PRINTED_ONLY = {
    "fps": ("FPS", "1/s", "higher"),
}
# Printed unit -> power of ten that leads to the metric's own unit.
UNITS = {"mm": 0, "cm": 1, "": 0, "%": -2, "1/s": 0}
TRUST = ("P", "Q", "S")
TIERS = ("RGB", "RGB frames", "RGB + 2D pose", "RGB, more data", "oracle")
MARKS = ("", "bold", "underlined")


@dataclass(frozen=True)
class Reported:
    """One printed cell; the columns of results/reported/*.csv (described in results/README.md).

    value keeps the printed digits and is empty where the print is illegible.
    """

    paper: str
    table: str
    row: str
    cites: str
    method: str
    variant: str
    dataset: str
    split: str
    part: str
    protocol: str
    metric: str
    heading: str
    value: str
    unit: str
    mark: str
    tier: str
    trust: str
    note: str

    @property
    def data(self) -> str:
        """NAME/SPLIT, as prepared splits are called."""
        return f"{self.dataset}/{self.split}"

    @property
    def exact(self) -> Decimal:
        """The value in the metric's own unit, with the digits that were printed."""
        return Decimal(self.value).scaleb(UNITS[self.unit])

    @property
    def half(self) -> Decimal:
        """Half of the last printed digit: what rounding may hide, in the metric's own unit."""
        digit = Decimal((0, (1,), int(Decimal(self.value).as_tuple().exponent)))
        return digit.scaleb(UNITS[self.unit]) / 2

    @property
    def table_name(self) -> str:
        """h2onet Table 1."""
        plain = self.paper == "landscape" or self.table == "text"
        return f"{self.paper} {self.table if plain else 'Table ' + self.table}"

    @property
    def place(self) -> str:
        """Where it stands, for messages: h2onet Table 1, METRO [33]."""
        return f"{self.table_name}, {self.row}"

    @property
    def cell(self) -> tuple[str, str]:
        """Metric and part: one column of one table."""
        return self.metric, self.part


@dataclass(frozen=True)
class Claim:
    """A sentence about numbers: columns of one row against others (all rows when against is empty).

    kind: "best" (no row is better), "better" (strictly), "relative" (claimed per cent), "equals"
    (the claimed number is the cell's, in its printed unit).
    """

    paper: str
    where: str
    claim: str
    kind: str
    claimed: str
    table: str
    row: str
    against: str
    columns: str

    @property
    def rivals(self) -> list[str]:
        return [name.strip() for name in self.against.split(";") if name.strip()]

    @property
    def cells(self) -> list[tuple[str, str]]:
        """(metric, part) of each column."""
        pairs = (name.partition(":") for name in self.columns.split())
        return [(metric, part) for metric, _, part in pairs]


@dataclass(frozen=True)
class PrintedTable:
    """One table of a paper: its number, what it shows, and what to know of it."""

    paper: str
    table: str
    caption: str
    note: str


@dataclass(frozen=True)
class Count:
    """How many images and hands a part of a split holds; bounds the weight of a part in a total."""

    data: str
    part: str
    images: str
    hands: str
    source: str


Entry = TypeVar("Entry", Reported, Claim, PrintedTable, Count)


def folder() -> Path:
    """Where the committed files stand, in a checkout as in an installed package."""
    return Path(str(files("handbench.results") / "reported"))


def unit(metric: str) -> str:
    return METRICS[metric].unit if metric in METRICS else PRINTED_ONLY[metric][1]


def better(metric: str) -> str:
    return METRICS[metric].better if metric in METRICS else PRINTED_ONLY[metric][2]


def title(metric: str) -> str:
    return METRICS[metric].title if metric in METRICS else PRINTED_ONLY[metric][0]


def load(paper: str | None = None) -> list[Reported]:
    """Every printed cell of a paper (or of "landscape"), in print order; all of them without one.

    Raises UnknownName for another paper, DataError naming file and line for a broken row.
    """
    if paper is not None and paper not in SOURCES:
        raise UnknownName("paper", paper, SOURCES)
    return [
        cell
        for name in ((paper,) if paper else SOURCES)
        for cell in read(folder() / f"{name}.csv", name)
    ]


def read(path: str | Path, paper: str | None = None) -> list[Reported]:
    """The cells of one CSV file. Raises DataError: unknown metric, non-number, a key twice, …"""
    path = Path(path)
    cells, keys = [], set()
    for line, cell in enumerate(_rows(path, Reported), 2):
        _check(cell, f"{path}, line {line}", paper)
        key = (cell.paper, cell.table, cell.row, *cell.cell, cell.data)
        if key in keys:
            raise DataError(f"{path}, line {line}: {cell.place}, {cell.metric} stands there twice")
        keys.add(key)
        cells.append(cell)
    return cells


def claims(path: str | Path | None = None) -> list[Claim]:
    """The sentences of text_claims.csv. Raises DataError for an unknown kind or metric."""
    path = Path(path or folder() / "text_claims.csv")
    found = _rows(path, Claim)
    for line, claim in enumerate(found, 2):
        if claim.kind not in ("best", "better", "relative", "equals"):
            raise DataError(f"{path}, line {line}: no kind of claim '{claim.kind}'")
        for metric, _ in claim.cells:
            _known_metric(metric, f"{path}, line {line}")
        if claim.kind in ("relative", "equals"):
            _number(claim.claimed, f"{path}, line {line}")
    return found


def captions() -> dict[tuple[str, str], PrintedTable]:
    """(paper, table) -> its printed caption and footnote, in print order."""
    return {(each.paper, each.table): each for each in _rows(folder() / "tables.csv", PrintedTable)}


def counts() -> dict[tuple[str, str], Count]:
    """(NAME/SPLIT, part) -> its size; part "all" is the whole split."""
    return {(each.data, each.part): each for each in _rows(folder() / "counts.csv", Count)}


def tabled(cells: Iterable[Reported]) -> dict[tuple[str, str], list[Reported]]:
    """Cells by (paper, table), in the order of the file."""
    groups: dict[tuple[str, str], list[Reported]] = {}
    for cell in cells:
        groups.setdefault((cell.paper, cell.table), []).append(cell)
    return groups


def by_row(cells: Iterable[Reported]) -> dict[str, list[Reported]]:
    """Cells of one table by the row's printed name."""
    rows: dict[str, list[Reported]] = {}
    for cell in cells:
        rows.setdefault(cell.row, []).append(cell)
    return rows


def _rows(path: Path, kind: type[Entry]) -> list[Entry]:
    names = [field.name for field in fields(kind)]
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if reader.fieldnames != names:
                raise DataError(f"{path}: the columns must be {','.join(names)}")
            rows: list[Mapping[str, str]] = list(reader)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a text file in UTF-8 ({error})") from error
    for line, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise DataError(f"{path}, line {line}: not {len(names)} columns")
    return [kind(**row) for row in rows]


def _check(cell: Reported, where: str, paper: str | None) -> None:
    _known_metric(cell.metric, where)
    if cell.value:
        _number(cell.value, where)
    elif not cell.note:
        raise DataError(f"{where}: an empty value needs a note that says why")
    if cell.unit not in UNITS or (unit(cell.metric) == "mm") != (cell.unit in ("mm", "cm")):
        raise DataError(f"{where}: {cell.metric} is not printed in '{cell.unit}'")
    for name, known in (("trust", TRUST), ("tier", TIERS), ("mark", MARKS)):
        if getattr(cell, name) not in known:
            raise DataError(
                f"{where}: {name} '{getattr(cell, name)}' is not one of {', '.join(known)}"
            )
    for name in ("table", "row", "method", "dataset", "split", "protocol", "heading"):
        if not getattr(cell, name):
            raise DataError(f"{where}: {name} is empty")
    if paper is not None and cell.paper != paper:
        raise DataError(f"{where}: paper is '{cell.paper}' in the file of '{paper}'")


def _known_metric(metric: str, where: str) -> None:
    if metric not in METRICS and metric not in PRINTED_ONLY:
        raise DataError(f"{where}: no metric '{metric}' (handbench list metrics)")


def _number(text: str, where: str) -> None:
    try:
        finite = Decimal(text).is_finite()
    except InvalidOperation:
        finite = False
    if not finite:
        raise DataError(f"{where}: '{text}' is not a number")
