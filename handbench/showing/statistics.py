"""Figures of how splits are occluded, several data sets side by side."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from handbench.checking.coverage import WITHIN_DEG, Coverage
from handbench.checking.occlusion import Occlusion
from handbench.console import progress
from handbench.frames import FINGERS
from handbench.rules import DEFAULT, LEVELS, RULES
from handbench.showing.canvas import COLOURS, canvas, decorate, save, style

PARTS = (*FINGERS, "hand")
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "+++", "ooo", "***")
MOST_FRAMES = 60
ACROSS = 4  # panels in a row


def draw(
    found: Sequence[Occlusion], coverages: Sequence[Coverage], folder: Path, rule: str = DEFAULT
) -> list[tuple[str, list[Path]]]:
    """All figures as PDF, PNG and CSV, each with its caption.

    Splits without labels have none but rotation coverage.
    """
    known = [each for each in found if each.labelled]
    figures: dict[str, Callable[[], list[Path]]] = {}
    if known:
        figures = {
            "Share hidden of each finger and of the hand": partial(finger_rates, known, folder),
            f"Fingers hidden together, rule {rule}": partial(hidden_together, known, folder, rule),
            "Hands by level of occlusion and by hidden fingers": partial(levels, known, folder),
            f"What hides the fingers, rule {DEFAULT}": partial(causes, known, folder),
            f"How long parts stay hidden, rule {rule}": partial(run_lengths, known, folder, rule),
        }
    if coverages:
        title = "Test hands by the angle to the train hand turned most alike"
        figures[title] = partial(rotation_coverage, coverages, folder)
    splits = ", ".join(dict.fromkeys(each.name for each in found))
    drawn = []
    with progress("figures", len(figures), "figures") as advance:
        for title, figure in figures.items():
            drawn.append((f"{title} · {splits}", figure()))
            advance()
    return drawn


def finger_rates(found: Sequence[Occlusion], folder: Path) -> list[Path]:
    """Share hidden of each finger and of the hand, a panel for each rule, a bar for each split."""
    figure, axes = canvas(2, 1, (9.0, 3.2))
    rows = []
    for axis, rule in zip(axes, RULES):
        for k, each in enumerate(found):
            shares = 100 * each.rates[rule]
            _bars(axis, shares, k, len(found), each.name)
            rows += [(each.name, rule, part, value / 100) for part, value in zip(PARTS, shares)]
        axis.set_xticks(range(len(PARTS)), PARTS)
        axis.set_ylim(0, 100)
        decorate(axis, f"rule {rule}", "", "hidden (%)", unit=False)
    _legend(figure, axes[0])
    data = pd.DataFrame(rows, columns=["split", "rule", "part", "hidden"])
    return save(figure, folder / "finger_rates", data)


def hidden_together(found: Sequence[Occlusion], folder: Path, rule: str) -> list[Path]:
    """Of the hands with one finger hidden, the share in which another one is, too."""
    figure, axes = _panels(len(found), 2.5)
    rows = []
    for axis, each in zip(axes, found):
        shares = each.together[rule]
        image = axis.imshow(100 * shares, cmap="cividis", vmin=0, vmax=100)
        for (i, j), value in np.ndenumerate(shares):
            ink = "white" if value <= 0.55 else "black"
            text = "–" if np.isnan(value) else f"{100 * value:.0f}"
            axis.text(j, i, text, ha="center", va="center", fontsize=7, color=ink)
            rows.append((each.name, rule, FINGERS[i], FINGERS[j], value))
        axis.set_xticks(range(5), FINGERS, rotation=45)
        axis.set_yticks(range(5), FINGERS)
        decorate(axis, each.name, "", "hidden" if axis in axes[::ACROSS] else "", unit=False)
        axis.set_facecolor("#dddddd")
        axis.grid(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label("is hidden too (%)", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    data = pd.DataFrame(rows, columns=["split", "rule", "hidden", "hidden_too", "share"])
    return save(figure, folder / "hidden_together", data)


def levels(found: Sequence[Occlusion], folder: Path) -> list[Path]:
    """Hands by level, and by the number of hidden fingers by both rules, as shares of a split."""
    figure, axes = canvas(3, 1, (10.2, 3.1))
    rows = []
    for k, each in enumerate(found):
        panels: list[tuple[str, tuple[str, ...], NDArray]] = [("level", LEVELS, each.levels)]
        panels += [
            (f"hidden fingers, {rule}", tuple("012345"), each.fingers_hidden[rule])
            for rule in RULES
        ]
        for axis, (what, names, counts) in zip(axes, panels):
            shares = 100 * counts / max(counts.sum(), 1)
            _bars(axis, shares, k, len(found), each.name)
            axis.set_xticks(range(len(names)), names)
            rows += [(each.name, what, name, int(n)) for name, n in zip(names, counts)]
    decorate(axes[0], "occlusion level", "hand pixels hidden (%)", "hands (%)", unit=False)
    for axis, rule in zip(axes[1:], RULES):
        decorate(axis, f"rule {rule}", "hidden fingers", "", unit=False)
    _legend(figure, axes[0])
    data = pd.DataFrame(rows, columns=["split", "what", "value", "hands"])
    return save(figure, folder / "levels", data)


def causes(found: Sequence[Occlusion], folder: Path) -> list[Path]:
    """What hides the fingers that the released rule calls hidden, stacked to 100 %."""
    figure, axes = _panels(len(found), 2.7)
    rows = []
    drawn = [k for k in found[0].causes if any(each.causes[k].any() for each in found)]
    for axis, each in zip(axes, found):
        total = np.maximum(sum(each.causes.values()), 1)
        below = np.zeros(len(FINGERS))
        for k, cause in enumerate(drawn):
            counts = each.causes[cause]
            shares = 100 * counts / total
            axis.bar(
                range(5),
                shares,
                bottom=below,
                color=COLOURS[k],
                hatch=HATCHES[k],
                edgecolor="white",
                lw=0.5,
                label=cause,
            )
            below = below + shares
            rows += [(each.name, cause, f, int(n)) for f, n in zip(FINGERS, counts)]
        axis.set_xticks(range(5), FINGERS, rotation=45)
        axis.set_ylim(0, 100)
        y = "of hidden fingers (%)" if axis in axes[::ACROSS] else ""
        decorate(axis, each.name, "", y, unit=False)
    _legend(figure, axes[0])
    data = pd.DataFrame(rows, columns=["split", "cause", "finger", "hidden_fingers"])
    return save(figure, folder / "causes", data)


def run_lengths(found: Sequence[Occlusion], folder: Path, rule: str) -> list[Path]:
    """How long things stay hidden: share of runs that last longer than so many frames."""
    figure, axes = canvas(2, 1, (8.0, 3.1))
    rows = []
    for axis, whole in zip(axes, (False, True)):
        for k, each in enumerate(found):
            parts = ("hand",) if whole else FINGERS
            runs = [each.runs[rule][part] for part in parts]
            lasting = type(runs[0])(
                *(
                    np.concatenate([getattr(r, f) for r in runs])
                    for f in ("length", "begins", "ends")
                )
            )
            curve = lasting.lasting()[: MOST_FRAMES + 1]
            if lasting.begins.any():
                name = f"{each.name} ({int(lasting.begins.sum()):,})"
                axis.step(range(len(curve)), curve, where="post", label=name, **style(k))
                what = "hand" if whole else "fingers"
                rows += [(each.name, rule, what, n, value) for n, value in enumerate(curve)]
        axis.set_ylim(0, 1.02)
        title = "hands" if whole else "fingers"
        decorate(axis, f"{title}, rule {rule}", "frames", "still hidden", unit=False)
        if axis.get_lines():
            axis.legend(title="runs begun in sight", fontsize=7, title_fontsize=7, frameon=False)
    data = pd.DataFrame(rows, columns=["split", "rule", "what", "frames", "still_hidden"])
    return save(figure, folder / "run_lengths", data)


def rotation_coverage(coverages: Sequence[Coverage], folder: Path) -> list[Path]:
    """Share of test hands with a train hand turned within so many degrees."""
    figure, axes = canvas(1, 1, (4.8, 3.4))
    degrees = np.linspace(0, 90, 181)
    data: dict[str, object] = {"degrees": degrees}
    for k, each in enumerate(coverages):
        curve = np.searchsorted(np.sort(each.nearest_deg), degrees, side="right")
        data[f"{each.test} from {each.train}"] = curve / len(each.nearest_deg)
        name = f"{each.test} from {each.train.partition('/')[2]}"
        axes[0].plot(degrees, 100 * curve / len(each.nearest_deg), label=name, **style(k))
    for mark in WITHIN_DEG:
        axes[0].axvline(mark, color="#777777", lw=0.6, zorder=0)
    axes[0].set_xlim(0, 90)
    axes[0].set_ylim(0, 101)
    axes[0].set_xticks([0, *WITHIN_DEG, 60, 90])
    decorate(axes[0], "", "nearest turn of the palm in train (degrees)", "hands (%)", unit=False)
    axes[0].legend(fontsize=7, frameon=False, loc="lower right")
    return save(figure, folder / "rotation_coverage", pd.DataFrame(data))


def _panels(count: int, height: float) -> tuple[Figure, list[Axes]]:
    """So many panels in rows of ACROSS; what is left over in the last row stays empty."""
    across, rows = min(count, ACROSS), -(-count // ACROSS)
    figure, axes = canvas(across, rows, (2.4 * across + 1.2, height * rows + 0.4))
    for axis in axes[count:]:
        axis.set_visible(False)
    return figure, axes[:count]


def _bars(axis: Axes, values: np.ndarray, index: int, count: int, name: str) -> None:
    """One split's bars beside those of the others."""
    width = 0.8 / count
    axis.bar(
        np.arange(len(values)) - 0.4 + (index + 0.5) * width,
        np.nan_to_num(values),
        width * 0.92,
        color=COLOURS[index % len(COLOURS)],
        hatch=HATCHES[index % len(HATCHES)],
        edgecolor="white",
        lw=0.3,
        label=name,
    )


def _legend(figure: Figure, axis: Axes) -> None:
    handles, names = axis.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, fontsize=7, frameon=False)
