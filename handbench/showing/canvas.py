"""Figures without pyplot: nothing needs a display. Each is a PDF, a PNG and the CSV behind it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter
from numpy.typing import NDArray

from handbench.files import replacing, write_text

# Okabe and Ito's palette, told apart by the colour-blind; line styles keep it apart in grey print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
LEGEND_ROW = 0.16
STYLES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))


LONGEST_NAME = 42


def legible(name: str) -> str:
    """A name as a legend shows it: matplotlib reads formulas between $ and hides what begins with
    an underscore."""
    short = name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
    return f"{' ' if short.startswith('_') else ''}{short}".replace("$", r"\$")


def banded(axis: Axes, points: NDArray, index: int, name: str) -> None:
    """Values (K,4: x, value, low, high) with their interval as a band."""
    x, value, low, high = points.T
    axis.plot(x, value, marker="o", markersize=3, **style(index), label=legible(name))
    axis.fill_between(x, low, high, color=COLOURS[index % len(COLOURS)], alpha=0.15, lw=0)


def canvas(columns: int, rows: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """A figure of size (w, h) inches with rows x columns axes, by rows."""
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(np.ravel(figure.subplots(rows, columns)))


def style(index: int) -> dict:
    """The colour and the line of the curve of that number."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "linestyle": STYLES[index % len(STYLES)],
        "lw": 1.5,
    }


def decorate(axis: Axes, title: str, x: str, y: str, unit: bool = True) -> None:
    """Titles and a light grid; unit: axes of 0..50 mm and shares 0..1, as PCK has."""
    axis.set_title(title, fontsize=8)
    axis.set_xlabel(x, fontsize=8)
    axis.set_ylabel(y, fontsize=8)
    axis.tick_params(labelsize=7)
    axis.grid(alpha=0.25, lw=0.5)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    if unit:
        axis.set_xlim(0, 50)
        axis.set_ylim(0, 1)


def below(axis: Axes, title: str = "") -> None:
    """The legend under its axes, where it covers no curve; LEGEND_ROW inches a line."""
    under: dict[str, Any] = {
        "loc": "upper center",
        "bbox_to_anchor": (0.5, -0.19),
        "borderaxespad": 0.0,
    }
    axis.legend(title=title, fontsize=7, title_fontsize=7, frameon=False, **under)


class _Plain(LogFormatter):
    """LogFormatter's choice of ticks, without its powers of ten."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def plain_numbers(axis: Axis) -> None:
    """Ticks of a logarithmic axis as 0.2, 2, 20; between powers of ten where few of them show."""
    axis.set_major_formatter(_Plain())
    axis.set_minor_formatter(_Plain(minor_thresholds=(1.5, 0.6)))
    axis.set_tick_params(which="minor", labelsize=6)


def save(figure: Figure, stem: Path, data: pd.DataFrame) -> list[Path]:
    """PDF and PNG without a date inside, so that the same results give the same bytes."""
    paths = [stem.with_suffix(ending) for ending in (".pdf", ".png", ".csv")]
    with replacing(paths[0]) as temporary:
        figure.savefig(temporary, format="pdf", metadata={"CreationDate": None})
    with replacing(paths[1]) as temporary:
        figure.savefig(temporary, format="png", dpi=160, metadata={"Software": None})
    write_text(paths[2], data.to_csv(index=False))
    return paths
