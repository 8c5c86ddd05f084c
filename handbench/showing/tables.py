"""Which tables are made of which results, and that only comparable results meet in one."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from handbench.console import amount
from handbench.files import write_text
from handbench.protocol import METHOD_CONDITIONS
from handbench.result import Result
from handbench.rules import LEVELS
from handbench.scoring.seeds import pooled
from handbench.scoring.stats import estimate
from handbench.showing import boxes
from handbench.showing.breakdowns import BREAKDOWNS, Builder, Condition
from handbench.showing.compare import clear_differences
from handbench.showing.formats import DASH, FORMATS, Cell, Column, Row, Table, latex_document
from handbench.showing.rows import (
    by_boxes,
    caption,
    label,
    notes,
    ordered,
    stem,
    tier,
    told_apart,
)

CLEAR_NOTE = (
    "† clearly worse than the best of its group: paired over recordings, p < 0.05 after Holm's "
    "correction over this table"
)
STAR_NOTE = "J*: joints regressed from every mesh by one regressor, the hand model's own"
MAIN = (
    Column("mpjpe_mm", "MPJPE mm", "lower", 1),
    Column("pa_mpjpe_mm", "PA-MPJPE mm", "lower", 1),
    Column("jstar_mpjpe_mm", "J* MPJPE mm", "lower", 1, intervals=False),
    Column("mpvpe_mm", "MPVPE mm", "lower", 1, intervals=False),
    Column("pa_mpvpe_mm", "PA-MPVPE mm", "lower", 1, intervals=False),
    Column("auc50_joints", "J-AUC", "higher", 3, intervals=False),
    Column("f15", "F@15", "higher", 3, intervals=False),
    Column("hidden_mpjpe_mm", "hidden joints: MPJPE mm", "lower", 1),
    Column("mrrpe_mm", "MRRPE mm", "lower", 1, intervals=False),
    Column("mssd_mm", "MSSD mm", "lower", 1, intervals=False),
    Column("handedness_acc", "handedness", "higher", 3, intervals=False),
)
EXTRAS = ("inputs", "frames", "crop_px", "initialisation", "checkpoint_rule")


def comparison(results: Sequence[Result], mixed: bool = False) -> Table:
    """All methods on one split: the main metrics, with the method conditions as columns."""
    columns = [c for c in MAIN if any(c.key in each.metrics for each in results)]
    rows = _rows(results, columns)
    told = notes(results, mixed)
    if any("†" in cell.text for row in rows for cell in row.cells.values()):
        told.append(CLEAR_NOTE)
    if any(column.key.startswith("jstar") for column in columns):
        told.append(STAR_NOTE)
    told += [note for each in ordered(results) for note in (*_seeds(each), *_subjects(each))]
    name = f"{stem(results)}_comparison"
    return Table(name, caption(results), columns, rows, told, EXTRAS)


def by_level(results: Sequence[Result], metric: str = "mpjpe_mm", mixed: bool = False) -> Table:
    """One metric in each occlusion level (1 - visible share of the hand)."""
    title = {"mpjpe_mm": "MPJPE", "pa_mpjpe_mm": "PA-MPJPE"}[metric]
    columns = [Column(level, f"{level} % occluded", "lower", 1) for level in LEVELS]
    rows = []
    for each in ordered(results):
        cells = {level: Cell(each.levels[level].get(metric)) for level in LEVELS}
        rows.append(Row(label(each), cells, tier=tier(each)))
    counts = [int((results[0].per_sample["level"] == k).sum()) for k in range(len(LEVELS))]
    hands = ", ".join(f"{level} %: {count}" for level, count in zip(LEVELS, counts))
    told = [f"hands per level: {hands}", *notes(results, mixed)]
    name = f"{stem(results)}_levels_{metric.removesuffix('_mm')}"
    return Table(name, f"{title} mm · {caption(results)}", columns, rows, told)


def controlled(results: Sequence[Result], mixed: bool = False) -> Table:
    """MPJPE against the share that an added occluder covers, the same grasps in every column."""
    targets = np.unique(results[0].per_sample["controlled_target"])
    columns = [Column(f"{t:g}", f"{100 * t:.0f} % covered", "lower", 1) for t in targets]
    rows = []
    for each in ordered(results):
        chosen = each.per_sample["controlled_target"]
        cells = {
            f"{t:g}": Cell(
                estimate(
                    each.per_sample["mpjpe_mm"][chosen == t],
                    each.per_sample["recording"][chosen == t],
                )
            )
            for t in targets
        }
        rows.append(Row(label(each), cells, tier=tier(each)))
    name = f"{stem(results)}_comparison"
    title = f"Effect of covering, MPJPE mm · {caption(results)}"
    return Table(name, title, columns, rows, notes(results, mixed))


def grouped(results: Sequence[Result]) -> list[list[Result]]:
    """Results of one split together, in the order in which the splits come."""
    groups: dict[str, list[Result]] = {}
    for each in results:
        groups.setdefault(each.protocol["evaluation"]["data"], []).append(each)
    return list(groups.values())


def is_controlled(results: Sequence[Result]) -> bool:
    """Whether the split shows the same grasps behind occluders of given sizes."""
    return all("controlled_target" in each.per_sample for each in results)


# condition on the results of one split, not a controlled one -> the table that they can fill
BUILDERS: tuple[tuple[Condition, Builder], ...] = (
    (bool, comparison),
    (bool, partial(by_level, metric="mpjpe_mm")),
    (bool, partial(by_level, metric="pa_mpjpe_mm")),
    *BREAKDOWNS,
)


def all_of(results: Sequence[Result], mixed: bool = False) -> list[Table]:
    """Every table that the results of one split can fill.

    Further box sources have a comparison of their own, and stand beside the first in one table.
    """
    made = []
    for number, found in enumerate(by_boxes(results, mixed)):
        group = told_apart(pooled(found))
        if is_controlled(group):
            made.append(controlled(group, mixed=mixed))
        else:
            builders = BUILDERS[: 1 if number else None]
            made += [build(group, mixed=mixed) for fits, build in builders if fits(group)]
    return made + ([boxes.beside(results, mixed=mixed)] if boxes.several(results) else [])


def write(tables: Sequence[Table], folder: Path, formats: Sequence[str]) -> list[Path]:
    """Every table in every format under folder; tables.tex shows them all."""
    written = []
    for table in tables:
        for name in formats:
            render, ending = FORMATS[name]
            path = folder / f"{table.name}.{ending}"
            write_text(path, render(table))
            written.append(path)
    if "latex" in formats:
        write_text(folder / "tables.tex", latex_document([table.name for table in tables]))
        written.append(folder / "tables.tex")
    return written


def _rows(results: Sequence[Result], columns: Sequence[Column]) -> list[Row]:
    clear = clear_differences(ordered(results), columns)
    rows = []
    for k, each in enumerate(ordered(results)):
        cells = {}
        for column in columns:
            found = each.metrics.get(column.key)
            marked = found is not None and (k, column.key) in clear
            text = f"{found.value:.{column.digits}f}†" if found is not None and marked else ""
            cells[column.key] = Cell(found, text=text)
        method = each.protocol["method"]
        extras = {name: str(method.get(name, "unknown")) for name in METHOD_CONDITIONS}
        rows.append(Row(label(each), cells, extras, tier(each)))
    return rows


def _seeds(result: Result) -> list[str]:
    made = result.provenance["predictions"]
    told = f"{label(result)}: mean of seeds, MPJPE of each {made.get('seed_values')}"
    return [f"{told}; interval over recordings and seeds"] if "seed_values" in made else []


def _subjects(result: Result) -> list[str]:
    """The main error's interval over subjects, or each subject's value when they are few."""
    found = result.clusters.get("subject", {})
    error = found.get("mpjpe_mm", {})
    if "low" in error:
        told = f"[{error['low']:.1f} {error['high']:.1f}] as interval over"
    elif "values" in error:
        told = ", ".join(DASH if v is None else f"{v:.1f}" for v in error["values"]) + " in"
    else:
        return []
    return [f"{label(result)}: MPJPE {told} {amount(found['count'], 'subject')}"]
