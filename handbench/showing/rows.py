"""What all tables and figures of results share: names of rows, tiers, captions, what may meet."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from handbench.console import amount
from handbench.errors import HandbenchError
from handbench.protocol import EVALUATION_CONDITIONS, differences
from handbench.result import Result
from handbench.scoring.stats import FEWEST_CLUSTERS

TIERS = ("RGB", "RGB frames", "RGB + 2D pose", "oracle")
MAIN_BOXES = "visible_mask"  # tables of other boxes say so in their name
INTERVAL_NOTE = "[95 % interval, bootstrap over recordings]"
UNKNOWN_BOXES = (
    "where the boxes came from is unknown: with attribute box_source in predictions.h5 these rows "
    "would stand beside others of the same source"
)
TINY_NOTE = (
    "tiny presets, minutes of CPU training: this ranks tiny presets, not the methods, "
    "and is not comparable with published figures"
)


def label(result: Result) -> str:
    """The name of a row: method, variant where it is not the full one, seed where it is not 0,
    and what the method says of itself, as that it is our reconstruction."""
    if "label" in result.provenance:
        return str(result.provenance["label"])
    made = result.provenance["predictions"]
    name = str(made.get("method", result.provenance.get("name", "predictions")))
    if made.get("variant", "full") != "full":
        name += f" {made['variant']}"
    if "seeds" in made:
        name += f" ({made['seeds']} seeds)"
    elif made.get("seed", 0):
        name += f" (seed {made['seed']})"
    return f"{name} ({made['status']})" if "status" in made else name


def told_apart(results: Sequence[Result]) -> list[Result]:
    """Results of equal label get labels of their own: by the conditions in which they differ, else
    numbered, so that no row, curve or column stands for two."""
    found = []
    for each in results:
        alike = [other for other in results if label(other) == label(each)]
        if len(alike) > 1:
            place = [other is each for other in alike].index(True)
            told = [str(values[place]) for values in differences(_conditions(alike)).values()]
            same = [other for other in alike if _conditions([other]) == _conditions([each])]
            number = [other is each for other in same].index(True) + 1
            told += [str(number)] if number > 1 else []
            name = f"{label(each)} ({'; '.join(told)})" if told else label(each)
            each = replace(each, provenance={**each.provenance, "label": name})
        found.append(each)
    return found


def tier(result: Result) -> str:
    """Results that see the same kind of input compete: RGB, RGB frames, RGB + 2D pose, oracle."""
    method = result.protocol["method"]
    if result.provenance["predictions"].get("oracle"):
        return "oracle"
    if "joints_crop" in str(method.get("inputs", "")):
        return "RGB + 2D pose"
    return "RGB frames" if str(method.get("frames", 1)) not in ("1", "unknown") else "RGB"


def boxes(result: Result) -> str:
    """Where the boxes came from at test time, without the factor they were enlarged by."""
    return str(result.protocol["evaluation"]["box_source"]).split(" ")[0]


def caption(results: Sequence[Result]) -> str:
    """Data, sample count, alignment and boxes, as the table's results share them."""
    differing = dict.fromkeys(differences(_conditions(results)), "as footnoted")
    evaluation = {**results[0].protocol["evaluation"], **differing}
    count = evaluation["hands"]
    hands = f"{count} hands" if "hands" in differing else amount(count, "hand")
    recordings = len(np.unique(results[0].per_sample["recording"]))
    root = evaluation["root_source"]
    return " · ".join(
        (
            f"{evaluation['data']} {evaluation['dataset_version']}".strip(),
            f"{hands}, {amount(recordings, 'recording')}",
            # in the camera frame everything hangs on how the wrist came to its place
            f"root: {root if root.startswith('camera') else root.split(',')[0]}",
            f"boxes: {evaluation['box_source'].replace('_', ' ')}",
            f"occlusion rule: {evaluation['label_rule']}",
            evaluation.get("protocol", results[0].protocol["label"]),
        )
    )


def check(results: Sequence[Result], mixed: bool) -> list[str]:
    """Footnotes on what differs between results; raises HandbenchError unless mixed."""
    found = differences(_conditions(results))
    if found and not mixed:
        name, values = next(iter(found.items()))
        title = EVALUATION_CONDITIONS.get(name, name)
        pairs = dict(zip(map(str, values), results))
        apart = "; ".join(f"{label(each)}: {value}" for value, each in pairs.items())
        raise HandbenchError(
            f"these results do not share one protocol ({title}: {apart}): "
            "make one table of each, or add --mixed to footnote the difference"
        )
    told = []
    for name, values in found.items():
        rows: dict[str, list[str]] = {}
        for each, value in zip(results, values):
            rows.setdefault(str(value), []).append(label(each))
        parts = "; ".join(f"{value}: {', '.join(who)}" for value, who in rows.items())
        told.append(f"differs: {EVALUATION_CONDITIONS.get(name, name)} ({parts})")
    return told


def _conditions(results: Sequence[Result]) -> list[Mapping[str, Any]]:
    return [{"protocol": each.protocol["label"], **each.protocol["evaluation"]} for each in results]


def notes(results: Sequence[Result], mixed: bool, intervals: bool = True) -> list[str]:
    """What stands below every table: what differs, what brackets mean, tiny presets.

    intervals: whether the table has columns with intervals.
    """
    recordings = max(len(np.unique(each.per_sample["recording"])) for each in results)
    few = f"no interval: {amount(recordings, 'recording')} known, {FEWEST_CLUSTERS} are needed"
    brackets = [INTERVAL_NOTE if recordings >= FEWEST_CLUSTERS else few] if intervals else []
    presets = {each.provenance["predictions"].get("preset") for each in results}
    tiny = [TINY_NOTE] if "tiny" in presets else []
    lone = {boxes(each) for each in results} == {"unknown"} and "/" in _data(results)
    unknown = [UNKNOWN_BOXES] if lone else []
    return [*check(results, mixed), *_left_out(results), *brackets, *tiny, *unknown]


def _left_out(results: Sequence[Result]) -> list[str]:
    """Whose means are over fewer hands because broken predictions were dropped."""
    dropped = [
        f"{label(each)} {amount(each.provenance['non_finite'], 'hand')}"
        for each in results
        if each.provenance.get("on_nan") == "drop" and each.provenance.get("non_finite")
    ]
    return [f"not finite and left out of the means: {', '.join(dropped)}"] if dropped else []


def ordered(results: Sequence[Result]) -> list[Result]:
    """By tier, then by MPJPE."""
    return sorted(
        results, key=lambda each: (TIERS.index(tier(each)), each.metrics["mpjpe_mm"].value)
    )


def numbered(results: Sequence[Result]) -> list[tuple[int, Result]]:
    """Ordered results, each with the number of its colour: by name, so the same in every figure."""
    names = sorted(results, key=label)
    return [(next(k for k, x in enumerate(names) if x is each), each) for each in ordered(results)]


def stem(results: Sequence[Result]) -> str:
    """How files about this split begin: dexycb/s0_test -> dexycb_s0_test, other boxes named."""
    name = re.sub(r"\W+", "_", _data(results)).strip("_")
    found = {boxes(each) for each in results}
    # of official lists nobody knows the boxes; there they tell no tables apart
    other = found - {MAIN_BOXES, *(() if "/" in _data(results) else ("unknown",))}
    return f"{name}_{other.pop()}" if len(found) == 1 and other else name


def _data(results: Sequence[Result]) -> str:
    return str(results[0].protocol["evaluation"]["data"])


def by_boxes(results: Sequence[Result], mixed: bool = False) -> list[list[Result]]:
    """Results with the same source of boxes together, the main table's first; all when mixed."""
    if mixed:
        return [list(results)]
    groups: dict[str, list[Result]] = {}
    for each in sorted(results, key=lambda each: boxes(each) != MAIN_BOXES):
        groups.setdefault(boxes(each), []).append(each)
    return list(groups.values())
