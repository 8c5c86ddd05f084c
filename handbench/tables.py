"""Which tables are made of which results, and that only comparable results meet in one."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from handbench.errors import HandbenchError
from handbench.files import write_text
from handbench.formats import FORMATS, Cell, Column, Row, Table, latex_document
from handbench.protocol import EVALUATION_CONDITIONS, METHOD_CONDITIONS, differences
from handbench.result import Result
from handbench.rules import LEVELS
from handbench.stats import estimate

MAIN = (
    Column("mpjpe_mm", "MPJPE mm", "lower", 1),
    Column("pa_mpjpe_mm", "PA-MPJPE mm", "lower", 1),
    Column("mpvpe_mm", "MPVPE mm", "lower", 1, intervals=False),
    Column("pa_mpvpe_mm", "PA-MPVPE mm", "lower", 1, intervals=False),
    Column("auc50_joints", "J-AUC", "higher", 3, intervals=False),
    Column("f15", "F@15", "higher", 3, intervals=False),
    Column("hidden_mpjpe_mm", "hidden joints: MPJPE mm", "lower", 1),
)
EXTRAS = ("inputs", "frames", "crop_px", "initialisation", "checkpoint_rule")
INTERVAL_NOTE = "[95 % interval, bootstrap over recordings]"
TINY_NOTE = (
    "tiny presets, minutes of CPU training: this ranks tiny presets, not the methods, "
    "and is not comparable with published figures"
)


def label(result: Result) -> str:
    """The name of a row: method, variant where it is not the full one, seed where it is not 0."""
    made = result.provenance["predictions"]
    name = str(made.get("method", result.provenance.get("name", "predictions")))
    if made.get("variant", "full") != "full":
        name += f" {made['variant']}"
    if made.get("seed", 0):
        name += f" (seed {made['seed']})"
    return name


def tier(result: Result) -> str:
    """Results that see the same kind of input compete: RGB, RGB frames, RGB + 2D pose, oracle."""
    method = result.protocol["method"]
    if result.provenance["predictions"].get("oracle"):
        return "oracle"
    if "joints_crop" in str(method.get("inputs", "")):
        return "RGB + 2D pose"
    return "RGB frames" if str(method.get("frames", 1)) not in ("1", "unknown") else "RGB"


def caption(results: Sequence[Result]) -> str:
    """Data, sample count, alignment and boxes, as the table's results share them."""
    evaluation = results[0].protocol["evaluation"]
    recordings = len(np.unique(results[0].per_sample["recording"]))
    return " · ".join(
        (
            f"{evaluation['data']} {evaluation['dataset_version']}".strip(),
            f"{evaluation['hands']:,} hands, {recordings} recordings",
            f"root: {evaluation['root_source'].split(',')[0]}",
            f"boxes: {evaluation['box_source'].replace('_', ' ')}",
            f"occlusion rule: {evaluation['label_rule']}",
            results[0].protocol["label"],
        )
    )


def check(results: Sequence[Result], mixed: bool) -> list[str]:
    """Footnotes on what differs between results; raises HandbenchError unless mixed."""
    conditions = [
        {"protocol": each.protocol["label"], **each.protocol["evaluation"]} for each in results
    ]
    found = differences(conditions)
    if found and not mixed:
        name, values = next(iter(found.items()))
        title = EVALUATION_CONDITIONS.get(name, name)
        pairs = dict(zip(map(str, values), results))
        told = "; ".join(f"{label(each)}: {value}" for value, each in pairs.items())
        raise HandbenchError(
            f"these results do not share one protocol ({title}: {told}): "
            "make one table of each, or add --mixed to footnote the difference"
        )
    return [
        f"differs: {EVALUATION_CONDITIONS.get(name, name)} ("
        + "; ".join(f"{label(each)}: {value}" for each, value in zip(results, values))
        + ")"
        for name, values in found.items()
    ]


def comparison(results: Sequence[Result], mixed: bool = False) -> Table:
    """All methods on one split: the main metrics, with the method conditions as columns."""
    notes = [*check(results, mixed), INTERVAL_NOTE, *_tiny(results)]
    columns = [c for c in MAIN if any(c.key in each.metrics for each in results)]
    name = f"{stem(results)}_comparison"
    return Table(name, caption(results), columns, _rows(results, columns), notes, EXTRAS)


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
    notes = [*check(results, mixed), f"hands per level: {hands}", INTERVAL_NOTE, *_tiny(results)]
    name = f"{stem(results)}_levels_{metric.removesuffix('_mm')}"
    return Table(name, f"{title} mm · {caption(results)}", columns, rows, notes)


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
    notes = [*check(results, mixed), INTERVAL_NOTE, *_tiny(results)]
    name = f"{stem(results)}_comparison"
    return Table(name, f"MPJPE mm · {caption(results)}", columns, rows, notes)


def ordered(results: Sequence[Result]) -> list[Result]:
    tiers = ("RGB", "RGB frames", "RGB + 2D pose", "oracle")
    return sorted(
        results, key=lambda each: (tiers.index(tier(each)), each.metrics["mpjpe_mm"].value)
    )


def stem(results: Sequence[Result]) -> str:
    """How files about this split begin: dexycb/s0_test -> dexycb_s0_test."""
    return str(results[0].protocol["evaluation"]["data"]).replace("/", "_")


def grouped(results: Sequence[Result]) -> list[list[Result]]:
    """Results of one split together, in the order in which the splits come."""
    groups: dict[str, list[Result]] = {}
    for each in results:
        groups.setdefault(each.protocol["evaluation"]["data"], []).append(each)
    return list(groups.values())


def all_of(results: Sequence[Result], mixed: bool = False) -> list[Table]:
    """Every table that the results of one split can fill."""
    if all("controlled_target" in each.per_sample for each in results):
        return [controlled(results, mixed)]
    return [
        comparison(results, mixed),
        by_level(results, "mpjpe_mm", mixed),
        by_level(results, "pa_mpjpe_mm", mixed),
    ]


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
    return [
        Row(
            label(each),
            {column.key: Cell(each.metrics.get(column.key)) for column in columns},
            {name: str(each.protocol["method"].get(name, "unknown")) for name in METHOD_CONDITIONS},
            tier(each),
        )
        for each in ordered(results)
    ]


def _tiny(results: Sequence[Result]) -> list[str]:
    presets = {each.provenance["predictions"].get("preset") for each in results}
    return [TINY_NOTE] if "tiny" in presets else []
