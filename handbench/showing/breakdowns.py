"""Tables of what lies behind a mean: hidden parts, fingers, causes, orientation, recordings, time.

Only frames of the same motion with and without an occluder (onset) tell cause and effect; all
other tables say where errors are, not what they come from.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from handbench.frames import FINGERS
from handbench.protocol import INTERACTION
from handbench.result import Result
from handbench.rules import CAUSES, UNKNOWN
from handbench.scoring.curves import row_mean
from handbench.scoring.stats import FEWEST_CLUSTERS, Estimate, estimate
from handbench.showing import onset
from handbench.showing.formats import Cell, Column, Row, Table
from handbench.showing.rows import caption, label, notes, ordered, stem, tier

HIDDEN = (
    Column("visible_mpjpe_mm", "visible joints mm", "lower", 1),
    Column("hidden_mpjpe_mm", "hidden joints mm", "lower", 1),
    Column("hidden_given_seen_mm", "hidden given seen mm", "lower", 1),
    Column("hidden_given_seen_mm_median", "its median mm", "lower", 1, intervals=False),
    Column("visible_mpvpe_mm", "visible vertices mm", "lower", 1, intervals=False),
    Column("hidden_mpvpe_mm", "hidden vertices mm", "lower", 1, intervals=False),
)
ORIENTATION = (
    Column("rotation_deg", "rotation deg", "lower", 1),
    Column("rotation_deg_median", "median", "lower", 1, intervals=False),
    Column("rotation_deg_p90", "p90", "lower", 1, intervals=False),
    Column("rotation_deg_p95", "p95", "lower", 1, intervals=False),
    Column("rotation_deg_over_45", "share over 45 deg", "lower", 3),
    Column("canonical_mm", "canonical pose mm", "lower", 1),
    Column("scale_ratio", "size / true size", "one", 3, intervals=False),
    Column("mpjpe_mm_median", "MPJPE median mm", "lower", 1, intervals=False),
    Column("mpjpe_mm_p90", "p90", "lower", 1, intervals=False),
    Column("mpjpe_mm_p95", "p95", "lower", 1, intervals=False),
    Column("mpjpe_mm_over_30", "share over 30 mm", "lower", 3),
)
Condition = Callable[[Sequence[Result]], bool]
Values = Callable[[Result], dict[str, Estimate]]


class Builder(Protocol):
    """A table of results; mixed: of unequal protocols too."""

    def __call__(self, results: Sequence[Result], *, mixed: bool = False) -> Table: ...


def hidden_visible(results: Sequence[Result], mixed: bool = False) -> Table:
    """Errors of what can be seen beside what cannot, and of the hidden given the seen."""
    counts = [
        f"{label(each)} {each.metrics['hidden_given_seen_mm'].n:,}"
        for each in ordered(results)
        if "hidden_given_seen_mm" in each.metrics
    ]
    note = (
        "wrist-relative; hidden given seen: after a similarity of the visible joints alone, hands "
        f"with 4 visible joints and a hidden one: {', '.join(counts)}"
    )
    return _table(results, mixed, "hidden", "Hidden and visible", HIDDEN, _metrics, [note])


def orientation(results: Sequence[Result], mixed: bool = False) -> Table:
    """Rotation of the whole hand, which Procrustes hides, and how far errors spread."""
    note = (
        "rotation: mesh turned onto the true one (Kabsch); canonical pose: joint error after the "
        "best rigid motion without scale"
    )
    return _table(
        results, mixed, "orientation", "Orientation and spread", ORIENTATION, _metrics, [note]
    )


def by_finger(results: Sequence[Result], mixed: bool = False) -> Table:
    """MPJPE of each finger's four joints, where the finger is visible and where it is hidden."""
    columns = [
        Column(f"{name}_{seen}", f"{name} {seen}", "lower", 1, intervals=False)
        for name in FINGERS
        for seen in ("visible", "hidden")
    ]

    def values(result: Result) -> dict[str, Estimate]:
        labels = result.per_sample["finger_visible"]
        return {
            f"{name}_{seen}": _over(result, finger_errors(result)[:, k], labels[:, k] == wanted)
            for k, name in enumerate(FINGERS)
            for seen, wanted in (("visible", 1), ("hidden", 0))
        }

    note = "wrist-relative errors of each finger's joints, by the finger's own label"
    return _table(results, mixed, "fingers", "MPJPE mm by finger", columns, values, [note])


def by_cause(results: Sequence[Result], mixed: bool = False) -> Table:
    """MPJPE of fingers by what hides them."""
    present = np.unique(results[0].per_sample["finger_cause"])
    causes = {k: title for k, title in CAUSES.items() if k in present and k != UNKNOWN}
    columns = [Column(title, title, "lower", 1) for title in causes.values()]

    def values(result: Result) -> dict[str, Estimate]:
        cause = result.per_sample["finger_cause"]
        errors = finger_errors(result)
        return {
            title: _over(result, row_mean(np.where(cause == k, errors, np.nan)))
            for k, title in causes.items()
        }

    told = ", ".join(
        f"{title}: {(results[0].per_sample['finger_cause'] == k).sum():,}"
        for k, title in causes.items()
    )
    note = f"wrist-relative errors of the fingers' joints by what hides the finger; fingers {told}"
    return _table(results, mixed, "causes", "MPJPE mm by what hides", columns, values, [note])


def by_interaction(results: Sequence[Result], mixed: bool = False) -> Table:
    """One hand in the picture against two, as InterHand2.6M's tables have it."""
    columns = [Column(k, f"{k} MPJPE mm", "lower", 2) for k in (*INTERACTION, "all")]
    columns.append(Column("mrrpe_mm", "MRRPE mm", "lower", 2))

    def values(result: Result) -> dict[str, Estimate]:
        parts = {part: result.levels[part]["mpjpe_mm"] for part in INTERACTION}
        parts["all"] = result.metrics["mpjpe_mm"]
        pair = result.metrics.get("mrrpe_mm")
        return parts | ({} if pair is None else {"mrrpe_mm": pair})

    return _table(results, mixed, "hands", "Single and interacting hands", columns, values, [])


def by_recording(results: Sequence[Result], mixed: bool = False) -> Table:
    """MPJPE in each recording and their spread, where they are too few for an interval."""
    recordings = np.unique(results[0].per_sample["recording"])
    titles = results[0].clusters.get("recording", {}).get("names", [str(k) for k in recordings])
    columns = [Column(str(k), str(t), "none", 1) for k, t in zip(recordings, titles)]
    columns.append(Column("sd", "SD", "none", 1))

    def values(result: Result) -> dict[str, Estimate]:
        which = result.per_sample["recording"]
        errors = result.per_sample["mpjpe_mm"]
        found = {str(k): _over(result, errors, which == k) for k in recordings}
        spread = float(np.std([each.value for each in found.values()], ddof=1))
        return found | {"sd": Estimate(spread, np.nan, np.nan, len(found), len(found))}

    note = f"fewer than {FEWEST_CLUSTERS} recordings: no interval and no mark; SD over recordings"
    title = "MPJPE mm in each recording"
    return _table(results, mixed, "recordings", title, columns, values, [note])


def since_seen(results: Sequence[Result], mixed: bool = False) -> Table:
    """How much larger the error is than in the same frame without the occluder."""
    columns = [Column(span, f"{span} frames", "lower", 1) for span in onset.SINCE]

    def values(result: Result) -> dict[str, Estimate]:
        return onset.by_span(result.per_sample)

    note = (
        "MPJPE minus that of the same frame of the same motion without the occluder, by frames "
        "since the hand was last seen (0: it is seen); interval over pairs of takes"
    )
    title = "Effect of being hidden, mm"
    return _table(results, mixed, "since_seen", title, columns, values, [note])


def finger_errors(result: Result) -> NDArray:
    """(M,5) mean wrist-relative error of each finger's four joints."""
    joints = result.per_sample["joint_errors_mm"][:, 1:].astype(np.float64)
    return np.stack([row_mean(joints[:, 4 * k : 4 * k + 4]) for k in range(5)], axis=1)


def has(*names: str, metric: str = "mpjpe_mm") -> Condition:
    """Whether all results keep these arrays, and the metric."""
    return lambda results: all(
        metric in each.metrics and all(name in each.per_sample for name in names)
        for each in results
    )


def _few_recordings(results: Sequence[Result]) -> bool:
    found = len(np.unique(results[0].per_sample["recording"]))
    return 1 < found < FEWEST_CLUSTERS and has()(results)


def _caused(results: Sequence[Result]) -> bool:
    known = has("finger_cause", "joint_errors_mm")(results)
    return known and bool((results[0].per_sample["finger_cause"] != UNKNOWN).any())


def _fingers(results: Sequence[Result]) -> bool:
    known = has("finger_visible", "joint_errors_mm")(results)
    return known and bool((results[0].per_sample["finger_visible"] != UNKNOWN).any())


# condition on the results of one split -> the table that they can fill
BREAKDOWNS: tuple[tuple[Condition, Builder], ...] = (
    (has(metric="hidden_mpjpe_mm"), hidden_visible),
    (has(metric="rotation_deg"), orientation),
    (_fingers, by_finger),
    (_caused, by_cause),
    (lambda results: all("single" in each.levels for each in results), by_interaction),
    (_few_recordings, by_recording),
    (has(*onset.COLUMNS), since_seen),
)


def _metrics(result: Result) -> dict[str, Estimate]:
    return dict(result.metrics)


def _over(result: Result, values: NDArray, chosen: NDArray | None = None) -> Estimate:
    kept = values if chosen is None else np.where(chosen, values, np.nan)
    return estimate(kept, result.per_sample["recording"])


def _table(
    results: Sequence[Result],
    mixed: bool,
    name: str,
    title: str,
    columns: Sequence[Column],
    values: Values,
    told: Sequence[str],
) -> Table:
    rows = []
    known = [values(each) for each in ordered(results)]
    columns = [column for column in columns if any(column.key in each for each in known)]
    for each, found in zip(ordered(results), known):
        cells = {column.key: Cell(found.get(column.key)) for column in columns}
        rows.append(Row(label(each), cells, tier=tier(each)))
    intervals = any(column.intervals for column in columns)
    notes_ = [*told, *notes(results, mixed, intervals)]
    return Table(f"{stem(results)}_{name}", f"{title} · {caption(results)}", columns, rows, notes_)
