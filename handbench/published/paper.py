"""The papers' tables rebuilt: printed figures with our own measurement under each row of ours.

Which cell is which METHOD/VARIANT on which data stands in results/reported/*.csv. A measured value
appears only where a result of that variant on that data exists, in the unit that the paper prints.
Rows under each other instead of side by side: the widest table has twelve columns.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache

from handbench.console import amount
from handbench.errors import UnknownName
from handbench.protocol import PROTOCOLS
from handbench.published.findings import exclude
from handbench.published.reported import (
    UNITS,
    Reported,
    better,
    by_row,
    captions,
    counts,
    load,
    tabled,
    title,
    unit,
)
from handbench.result import Result
from handbench.scoring.stats import Estimate
from handbench.showing.formats import Cell, Column, Row, Table
from handbench.showing.rows import TINY_NOTE, label, tier

TITLES = {
    "handoccnet": "HandOccNet",
    "h2onet": "H2ONet",
    "handgcat": "HandGCAT",
    "occrobnet": "OccRobNet",
}
# The published networks themselves, in the order of the comparison tables: by what they see.
COMPARED = (
    "handoccnet/full",
    "h2onet/full",
    "occrobnet/full",
    "h2onet/multi_frame",
    "handgcat/full",
)
LEGEND = "slanted: printed in the paper; under it, where the row can be run here: measured"


@dataclass(frozen=True)
class Slot:
    """One printed column: metric and part, and the unit in which it is printed."""

    metric: str
    part: str
    unit: str
    heading: str
    digits: int

    @property
    def key(self) -> tuple[str, str]:
        return self.metric, self.part

    @property
    def column(self) -> Column:
        """The column of our table that takes measured values."""
        length = self.unit if unit(self.metric) == "mm" else {"%": "percent"}.get(self.unit, "")
        key = "_".join(filter(None, (self.metric.removesuffix("_mm"), self.part, length)))
        named = self.unit in ("", "1/s") or self.unit in self.heading
        text = self.heading if named else f"{self.heading} ({self.unit})"
        return Column(key, text, better(self.metric), self.digits + 1, intervals=False)

    def measured(self, result: Result) -> Estimate | None:
        """The result's value for this column, converted to the printed unit."""
        rows = result.levels.get(self.part, {}) if self.part not in ("", "all") else result.metrics
        found = rows.get(self.metric)
        if found is None:
            return None
        return _moved(found, factor=10.0 ** -UNITS[self.unit])


def paper_tables(
    paper: str, results: Sequence[Result], added: Sequence[Result] = ()
) -> list[Table]:
    """Every table of a paper ("all": of all four, and the comparisons), in print order.

    results fill the rows whose variant they are; added stand below as rows of their own where the
    data fit. Raises UnknownName for another paper.
    """
    if paper == "all":
        made = [table for name in TITLES for table in paper_tables(name, results, added)]
        return [*made, *comparisons(results)]
    if paper not in TITLES:
        raise UnknownName("paper", paper, [*TITLES, "all"])
    known = captions()
    return [
        _rebuilt(cells, results, added)
        for place, cells in tabled(load(paper)).items()
        if place in known
    ]


def comparisons(results: Sequence[Result]) -> list[Table]:
    """One table a data set: the four methods as each paper prints them, and as measured."""
    cells = [cell for name in TITLES for cell in load(name)]
    names = dict.fromkeys(cell.data for cell in cells if cell.variant in COMPARED)
    return [_comparison([cell for cell in cells if cell.data == data], results) for data in names]


def find(results: Sequence[Result], variant: str, cell: Reported) -> list[Result]:
    """Results of a variant on the cell's data, the likest to the printed figures first."""
    hits = [each for each in results if _variant(each) == variant and fits(each, cell)]
    return sorted(
        hits,
        key=lambda each: (
            each.protocol["name"] != cell.protocol,
            each.provenance["predictions"].get("preset") != "paper",
            each.provenance["predictions"].get("seed", 0),
        ),
    )


def fits(result: Result, cell: Reported) -> bool:
    """Same split; or the whole official set of the data, scored by the printed protocol itself."""
    data = result.protocol["evaluation"]["data"]
    return data == cell.data or (data == cell.dataset and result.protocol["name"] == cell.protocol)


def unused(paper: str, results: Sequence[Result]) -> list[Result]:
    """Results that fit no cell of the paper ("all": of the four)."""
    cells = [cell for name in (TITLES if paper == "all" else (paper,)) for cell in load(name)]
    return [each for each in results if not any(fits(each, cell) for cell in cells)]


def _rebuilt(
    cells: Sequence[Reported], results: Sequence[Result], added: Sequence[Result]
) -> Table:
    first, printed = cells[0], captions()[cells[0].paper, cells[0].table]
    slots = _slots(cells)
    rows: list[Row] = []
    notes = [printed.note, LEGEND, _conversions(slots)]
    for name, row in by_row(cells).items():
        texts = {c.cell: c.value or "illegible" for c in row}
        given = {c.cell: float(c.value) for c in row if c.value}
        rows.append(_printed(name, slots, texts, given, row[0].tier))
        if variant := row[0].variant:
            hits = find(results, variant, row[0])
            rows += _own(variant, slots, hits, given, row[0].tier)
            notes += _told(variant, hits, row[0])
        notes += [f"{name}: {note}" for note in dict.fromkeys(c.note for c in row) if note]
    for each in added:
        if fits(each, first) and not any(_variant(each) == c.variant for c in cells):
            rows += _own(label(each), slots, [each], {}, tier(each))
            notes += _told(label(each), [each], first)
    caption = (
        f"{TITLES[first.paper]}, Table {first.table}: {printed.caption.rstrip('.')} · {first.data}"
    )
    name = f"{first.paper}_table_{first.table}"
    shown = [note for note in dict.fromkeys(notes) if note]
    return Table(name, caption, [slot.column for slot in slots], rows, shown)


def _comparison(cells: Sequence[Reported], results: Sequence[Result]) -> Table:
    """Figures in mm and shares, whatever the papers print; "a / b" where a paper prints two."""
    ours = [c for c in cells if c.variant in COMPARED and c.value and c.metric != "fps"]
    first = ours[0]
    slots = [
        Slot(*key, unit(key[0]), f"{title(key[0])} {key[1]}".strip(), 1 if length else 3)
        for key in dict.fromkeys(cell.cell for cell in ours)
        for length in (unit(key[0]) == "mm",)
    ]
    rows: list[Row] = []
    notes = [LEGEND, "lengths in mm, AUC and F-scores as shares, whatever the papers print"]
    for variant in COMPARED:
        method = variant.partition("/")[0]
        mine = [cell for cell in ours if cell.variant == variant]
        given: dict[tuple[str, str], float] = {}
        # the method's own paper first: the difference is taken from its figures
        for paper in sorted(dict.fromkeys(c.paper for c in mine), key=lambda p: p != method):
            texts = {}
            for key in dict.fromkeys(c.cell for c in mine if c.paper == paper):
                kept = _distinct([c for c in mine if c.paper == paper and c.cell == key])
                texts[key] = " / ".join(f"{c.exact:f}" for c in kept)
                given.setdefault(key, float(kept[0].exact))
            shown = f"{mine[0].method} (in {TITLES[paper]})"
            rows.append(_printed(shown, slots, texts, given, mine[0].tier))
        like = mine[0] if mine else first
        hits = find(results, variant, like)
        rows += _own(variant, slots, hits, given, _tiers()[variant])
        notes += _told(variant, hits, like)
    caption = f"The four methods on {first.data}: as printed and as measured"
    name = f"comparison_{first.dataset}_{first.split}"
    return Table(name, caption, [slot.column for slot in slots], rows, list(dict.fromkeys(notes)))


def _printed(
    name: str,
    slots: Sequence[Slot],
    texts: Mapping[tuple[str, str], str],
    given: Mapping[tuple[str, str], float],
    tier: str,
) -> Row:
    """A row as printed: its own digits, a dash where the paper prints nothing."""
    cells = {slot.column.key: Cell(None, "not printed") for slot in slots}
    for slot in slots:
        if slot.key in texts:
            estimate = Estimate(given.get(slot.key, math.nan), math.nan, math.nan, 0, 0)
            cells[slot.column.key] = Cell(estimate, "reported", texts[slot.key])
    return Row(name, cells, tier=tier)


def _own(
    name: str,
    slots: Sequence[Slot],
    hits: Sequence[Result],
    given: Mapping[tuple[str, str], float],
    tier: str,
) -> list[Row]:
    """Under a printed row: measured, 95 % interval, and the difference; or "not run"."""
    found = {slot: slot.measured(hits[0]) if hits else None for slot in slots}
    measured, between, apart = {}, {}, {}
    for slot, value in found.items():
        key, digits = slot.column.key, slot.column.digits
        printed = given.get(slot.key)
        if value is None:
            measured[key] = Cell(
                None, "not run" if printed is not None or not given else "not printed"
            )
            between[key], apart[key] = Cell(None, "interval"), Cell(None, "difference")
            continue
        measured[key] = Cell(value)
        known = math.isfinite(value.low)
        text = f"[{value.low:.{digits}f} {value.high:.{digits}f}]" if known else ""
        between[key] = Cell(None, "interval", text)
        apart[key] = Cell(None, "difference")
        if printed is not None:
            gap = _moved(value, shift=-printed)
            apart[key] = Cell(gap, "difference", f"{gap.value:+.{digits}f}".replace("-", "−"))
    rows = [Row(f"{name}: measured", measured, tier=tier)]
    if any(cell.text for cell in between.values()):
        rows.append(Row(f"{name}: 95 % interval", between, tier=tier))
    if any(cell.text for cell in apart.values()):
        rows.append(Row(f"{name}: measured − printed", apart, tier=tier))
    return rows


def _moved(e: Estimate, factor: float = 1.0, shift: float = 0.0) -> Estimate:
    low, high = (factor * x + shift for x in (e.low, e.high))
    return replace(e, value=factor * e.value + shift, low=low, high=high)


def _told(name: str, hits: Sequence[Result], cell: Reported) -> list[str]:
    """Footnotes on a measured row: what was scored, and how its protocol differs."""
    if not hits:
        return []
    result, made = hits[0], hits[0].provenance["predictions"]
    evaluation, protocol = result.protocol["evaluation"], result.protocol
    whole = counts().get((cell.data, "all"))
    notes = [
        f"{name}: {amount(evaluation['hands'], 'hand')} of {evaluation['data']}"
        + (f" (at most {int(whole.hands):,})" if whole else "")
        + f", {protocol['label']}, preset {made.get('preset', 'unknown')}, "
        f"seed {made.get('seed', 'unknown')}, boxes {evaluation['box_source']}"
        + (f"; one of {len(hits)} runs" if len(hits) > 1 else "")
    ]
    if protocol["name"] != cell.protocol:
        ours, theirs = PROTOCOLS.get(protocol["name"]), PROTOCOLS.get(cell.protocol)
        text = f"{name}: protocol {protocol['label']}, where the paper's is {cell.protocol}"
        if ours and theirs and ours.root != theirs.root:
            text += f"; root {ours.root}, not {theirs.root}"
        if ours and theirs and ours.reflection != theirs.reflection:
            text += f"; Procrustes {'may' if ours.reflection else 'may not'} mirror"
        notes.append(text)
    return [*notes, TINY_NOTE] if made.get("preset") == "tiny" else notes


def _slots(cells: Sequence[Reported]) -> list[Slot]:
    """The printed columns in print order, which a row without a dash has."""
    fullest = max(by_row(cells).values(), key=len)
    groups: dict[tuple[str, str], list[Reported]] = {cell.cell: [] for cell in fullest}
    for cell in cells:
        groups.setdefault(cell.cell, []).append(cell)
    return [
        Slot(*key, group[0].unit, group[0].heading, max(_decimals(c.value) for c in group))
        for key, group in groups.items()
    ]


def _conversions(slots: Sequence[Slot]) -> str:
    units = {
        "cm": "lengths are in cm (mm / 10)",
        "%": "shares are in % (x 100)",
    }
    return "; ".join(dict.fromkeys(units[s.unit] for s in slots if s.unit in units))


def _distinct(group: Sequence[Reported]) -> list[Reported]:
    """The printings of one cell that no rounding reconciles; the one with most digits of each."""
    kept: list[Reported] = []
    for cell in sorted(group, key=lambda c: c.half):
        if all(exclude([cell, other]) for other in kept):
            kept.append(cell)
    return kept


def _decimals(value: str | Decimal) -> int:
    return max(0, -int(Decimal(value or 0).as_tuple().exponent))


def _variant(result: Result) -> str:
    made = result.provenance["predictions"]
    return f"{made.get('method')}/{made.get('variant')}"


@cache
def _tiers() -> dict[str, str]:
    """What each variant sees at test time, from the printed rows."""
    return {c.variant: c.tier for name in TITLES for c in load(name) if c.variant}
