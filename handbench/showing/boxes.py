"""The same trained methods with boxes from several sources at test time, side by side."""

from collections.abc import Sequence

import numpy as np

from handbench.result import Result
from handbench.scoring.seeds import pooled
from handbench.scoring.stats import Estimate, paired
from handbench.showing.formats import Cell, Column, Row, Table
from handbench.showing.rows import boxes, by_boxes, caption, label, notes, ordered, tier

METRICS = (("mpjpe_mm", "MPJPE mm"), ("pa_mpjpe_mm", "PA-MPJPE mm"))
TOLD = {
    "visible_mask": "extent of the hand's visible pixels",
    "gt_joints": "the published rule, which tells where hidden fingers are",
    "jittered": "gt joints, moved and scaled by a fixed draw",
    "official": "as the data set gives them",
}


def several(results: Sequence[Result]) -> bool:
    """Whether one of the methods was scored with boxes from more than one source."""
    found = [(_key(each), boxes(each)) for each in results]
    return len({key for key, _ in found}) < len(set(found))


def beside(results: Sequence[Result], mixed: bool = False) -> Table:
    """One row a method, columns by box source, and what another source changes (paired).

    The main table's source comes first. Cells of sources that a method was not scored with say so.
    """
    groups = [pooled(group) for group in by_boxes(results)]
    sources = [boxes(group[0]) for group in groups]
    known = [{_key(each): each for each in group} for group in groups]
    columns, rows = [], []
    for metric, title in METRICS:
        for source in sources:
            name = f"{title}, {_told(source)}"
            columns.append(Column(f"{metric}|{source}", name, "lower", 1, intervals=False))
        for source in sources[1:]:
            name = f"{title.removesuffix(' mm')}, {_told(source)} − {_told(sources[0])}"
            columns.append(Column(f"{metric}|{source} difference", name, "none", 1))
    keys = dict.fromkeys(key for group in groups for key in map(_key, ordered(group)))
    for key in keys:
        scored = [group.get(key) for group in known]
        one = next(each for each in scored if each is not None)
        rows.append(Row(label(one), _cells(scored, sources), tier=tier(one)))
    rules = [f"{_told(source)}: {TOLD[source]}" for source in sources if source in TOLD]
    told = [f"the weights are the same; {'; '.join(rules)}"]
    told += [note for group in groups for note in notes(group, mixed)]
    first = groups[0]
    name = f"{str(first[0].protocol['evaluation']['data']).replace('/', '_')}_boxes"
    about = caption(first).replace(f"boxes: {_source(first[0])}", "boxes: by column")
    return Table(name, f"Boxes at test time · {about}", columns, rows, list(dict.fromkeys(told)))


def _cells(scored: Sequence[Result | None], sources: Sequence[str]) -> dict[str, Cell]:
    cells = {}
    for metric, _ in METRICS:
        for source, each in zip(sources, scored):
            found = None if each is None else each.metrics.get(metric)
            cells[f"{metric}|{source}"] = Cell(found, "measured" if found else "not run")
        for source, each in zip(sources[1:], scored[1:]):
            change = _change(each, scored[0], metric)
            kind = "difference" if change else "not run"
            cells[f"{metric}|{source} difference"] = Cell(change, kind)
    return cells


def _change(other: Result | None, main: Result | None, metric: str) -> Estimate | None:
    """The paired difference over the hands that both scored; None where they are not the same."""
    if other is None or main is None:
        return None
    a, b = other.per_sample, main.per_sample
    same = all(np.array_equal(a[name], b[name]) for name in ("id", "is_left"))
    if not same or metric not in a or metric not in b:
        return None
    found = paired(a[metric], b[metric], a["recording"])
    return Estimate(found.value, found.low, found.high, found.n, found.clusters)


def _key(result: Result) -> tuple:
    """What tells methods apart but for their seed and boxes."""
    made = result.provenance["predictions"]
    names = ("method", "variant", "preset", "training_data", "initialisation")
    own = () if "method" in made else (result.provenance.get("name"), id(result))
    return (*(str(made.get(name)) for name in names), *own)


def _told(source: str) -> str:
    return source.replace("_", " ")


def _source(result: Result) -> str:
    return str(result.protocol["evaluation"]["box_source"]).replace("_", " ")
