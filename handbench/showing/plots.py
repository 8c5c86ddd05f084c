"""Figures of results: PCK curves, error over controlled occlusion and over time, training curves.

Every figure is a PDF, a PNG and the CSV of the data behind it (canvas.py).
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from handbench.console import amount
from handbench.result import Result
from handbench.rules import LEVELS
from handbench.scoring.curves import AUC_STEPS, pck, thresholds_mm
from handbench.scoring.seeds import pooled
from handbench.scoring.stats import estimate
from handbench.showing import latency, onset
from handbench.showing.breakdowns import Condition, has
from handbench.showing.canvas import (
    COLOURS,
    LEGEND_ROW,
    banded,
    below,
    canvas,
    decorate,
    legible,
    plain_numbers,
    save,
    style,
)
from handbench.showing.rows import by_boxes, caption, label, numbered, stem, told_apart
from handbench.showing.tables import is_controlled


def pck_curves(results: Sequence[Result], folder: Path) -> list[Path]:
    """PCK over 0-50 mm of all hands, wrist- and Procrustes-aligned; AUC in the legend."""
    figure, axes = canvas(2, 1, (7.2, 2.9 + LEGEND_ROW * len(results)))
    limits = thresholds_mm()
    data: dict[str, object] = {"threshold_mm": limits}
    for axis, errors, title in (
        (axes[0], "joint_errors_mm", "wrist-aligned"),
        (axes[1], "pa_joint_errors_mm", "Procrustes-aligned"),
    ):
        for index, each in numbered(results):
            curve = pck(each.per_sample[errors])
            area = float(np.trapezoid(curve, dx=1.0 / (AUC_STEPS - 1)))
            axis.plot(limits, curve, **style(index), label=f"{legible(label(each))} ({area:.3f})")
            data[f"{label(each)}, {title}"] = curve
        decorate(axis, f"{title}, joints", "error threshold (mm)", "PCK")
        below(axis, "AUC")
    return save(figure, folder / f"{stem(results)}_pck", pd.DataFrame(data))


def pck_by_level(results: Sequence[Result], folder: Path) -> list[Path]:
    """One PCK panel for each occlusion level, with its number of hands."""
    figure, axes = canvas(4, 1, (10.2, 2.9))
    limits = thresholds_mm()
    data: dict[str, object] = {"threshold_mm": limits}
    for number, (axis, level) in enumerate(zip(axes, LEVELS)):
        count = int((results[0].per_sample["level"] == number).sum())
        for index, each in numbered(results):
            chosen = each.per_sample["level"] == number
            if chosen.any():
                curve = pck(each.per_sample["joint_errors_mm"][chosen])
                axis.plot(limits, curve, **style(index), label=legible(label(each)))
                data[f"{label(each)}, {level} %"] = curve
        decorate(
            axis,
            f"{level} % occluded\n{amount(count, 'hand')}",
            "threshold (mm)",
            "PCK" if not number else "",
        )
    handles, names = axes[0].get_legend_handles_labels()
    if handles:
        figure.legend(
            handles, names, loc="outside lower center", ncols=4, fontsize=7, frameon=False
        )
    return save(figure, folder / f"{stem(results)}_pck_by_level", pd.DataFrame(data))


def error_over_occlusion(results: Sequence[Result], folder: Path) -> list[Path]:
    """MPJPE against the share covered by an added occluder: the same grasps at every share."""
    figure, axes = canvas(1, 1, (4.6, 3.0 + LEGEND_ROW * len(results)))
    rows = []
    for index, each in numbered(results):
        targets = each.per_sample["controlled_target"]
        points = []
        for target in np.unique(targets):
            chosen = targets == target
            found = estimate(
                each.per_sample["mpjpe_mm"][chosen], each.per_sample["recording"][chosen]
            )
            points.append((100 * target, found.value, found.low, found.high))
            rows.append((label(each), float(target), found.value, found.low, found.high, found.n))
        banded(axes[0], np.array(points), index, label(each))
    decorate(axes[0], "", "hand pixels covered by the added occluder (%)", "MPJPE (mm)", unit=False)
    axes[0].set_ylim(bottom=0)
    below(axes[0])
    names = ["method", "target", "mpjpe_mm", "low", "high", "n"]
    return save(figure, folder / f"{stem(results)}_error", pd.DataFrame(rows, columns=names))


def training_curve(log: Path, folder: Path, name: str) -> list[Path]:
    """Loss and validation error over steps from a run's log.csv."""
    data = pd.read_csv(log)
    figure, axes = canvas(1, 1, (4.6, 3.0))
    axes[0].plot(data["step"], data["loss"], color=COLOURS[0], lw=1, label="loss")
    decorate(axes[0], name, "step", "loss", unit=False)
    axes[0].set_yscale("log")
    plain_numbers(axes[0].yaxis)
    handles = list(axes[0].get_lines())
    if "val_mpjpe_mm" in data and data["val_mpjpe_mm"].notna().any():
        known = data[data["val_mpjpe_mm"].notna()]
        right = axes[0].twinx()
        right.plot(
            known["step"],
            known["val_mpjpe_mm"],
            color=COLOURS[1],
            marker="o",
            markersize=3,
            lw=1,
            label="validation MPJPE",
        )
        right.set_ylabel("validation MPJPE (mm)", fontsize=8)
        right.tick_params(labelsize=7)
        handles += list(right.get_lines())
    axes[0].legend(handles=handles, fontsize=7, frameon=False)
    return save(figure, folder / f"training_{name.replace('/', '_')}", data)


def error_since_seen(results: Sequence[Result], folder: Path) -> list[Path]:
    """MPJPE beyond the uncovered twin's over frames since the hand was last seen."""
    figure, axes = canvas(1, 1, (4.6, 3.0 + LEGEND_ROW * len(results)))
    spans, rows = [*onset.SINCE], []
    for index, each in numbered(results):
        points = []
        for span, found in onset.by_span(each.per_sample).items():
            points.append((spans.index(span), found.value, found.low, found.high))
            rows.append((label(each), span, *points[-1][1:], found.n))
        banded(axes[0], np.array(points).reshape(-1, 4), index, label(each))
    axes[0].axhline(0, color="#777777", lw=0.8)
    axes[0].set_xticks(range(len(spans)), spans)
    y = "MPJPE beyond that without occluder (mm)"
    decorate(axes[0], "", "frames since the hand was last seen", y, unit=False)
    below(axes[0])
    names = ["method", "frames_since_seen", "mpjpe_mm_difference", "low", "high", "n"]
    return save(figure, folder / f"{stem(results)}_since_seen", pd.DataFrame(rows, columns=names))


Drawer = Callable[[Sequence[Result], Path], list[Path]]
COVERED = "MPJPE against the share that an added occluder covers"
# condition on the results of one split, not a controlled one -> what is drawn, and what draws it
DRAWERS: tuple[tuple[Condition, str, Drawer], ...] = (
    (bool, "PCK of all joints over error thresholds", pck_curves),
    (bool, "PCK over error thresholds at each level of occlusion", pck_by_level),
    (has(*onset.COLUMNS), "Effect of being hidden over time", error_since_seen),
    (latency.measured, "MPJPE against the latency of one hand", latency.error_over_latency),
)


def captioned(results: Sequence[Result], folder: Path) -> list[tuple[str, list[Path]]]:
    """Every figure that the results of one split can fill, each with what it shows of what data by
    what protocol; of further box sources PCK alone."""
    drawn = []
    for number, found in enumerate(by_boxes(results)):
        group = told_apart(pooled(found))
        drawers = DRAWERS[: 1 if number else None]
        if is_controlled(group):
            drawers = ((bool, COVERED, error_over_occlusion),)
        drawn += [
            (f"{title} · {caption(group)}", draw(group, folder))
            for fits, title, draw in drawers
            if fits(group)
        ]
    return drawn


def all_of(results: Sequence[Result], folder: Path) -> list[Path]:
    """The files of all these figures."""
    return [path for _, paths in captioned(results, folder) for path in paths]
