"""curves.png of a run: what log.csv says, as a picture."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from handbench.errors import DataError
from handbench.files import replacing
from handbench.showing.canvas import canvas, decorate, plain_numbers, style
from handbench.training.display import NOT_TERMS
from handbench.training.runs import Run


def draw(run: Run) -> Path:
    """Loss and its terms, validation error, learning rate and samples a second over the steps.

    Raises DataError when log.csv is missing or holds no row.
    """
    try:
        data = pd.read_csv(run.log)
    except (FileNotFoundError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{run.log} holds nothing to draw: train the run first") from error
    figure, (loss, accuracy, rate, speed) = canvas(2, 2, (9.6, 5.6))
    terms = [str(name) for name in data if name not in NOT_TERMS]
    _lines(loss, data, ["loss", *(terms if len(terms) > 1 else [])], "loss and its terms")
    loss.set_yscale("log")
    plain_numbers(loss.yaxis)
    _lines(accuracy, data, ["val_mpjpe_mm"], "validation MPJPE (mm)", "o")
    _lines(rate, data, ["lr"], "learning rate")
    _lines(speed, data, ["samples_per_s"], "samples / s")
    speed.set_ylim(bottom=0)
    figure.suptitle(run.name, fontsize=9)
    path = run.path / "curves.png"
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130, metadata={"Software": None})
    return path


def keep(run: Run) -> None:
    """curves.png anew where log.csv is younger; nothing for methods that take no steps."""
    path = run.path / "curves.png"
    made = path.stat().st_mtime_ns if path.is_file() else 0
    if run.log.is_file() and run.log.stat().st_mtime_ns > made:
        draw(run)


def _lines(axis: Axes, data: pd.DataFrame, names: list[str], title: str, marker: str = "") -> None:
    """Columns that hold numbers over the step; a flat line for none at all would be a lie."""
    for index, name in enumerate(names):
        known = data[np.isfinite(data[name])] if name in data else data[:0]
        if len(known):
            drawn = {"marker": marker, "markersize": 3, "label": name, **style(index)}
            axis.plot(known["step"], known[name], **drawn)
    if not axis.lines:
        axis.text(0.5, 0.5, "not measured", transform=axis.transAxes, ha="center", fontsize=8)
    elif len(names) > 1:
        axis.legend(fontsize=7, ncols=2, framealpha=0.7, edgecolor="none")
    decorate(axis, title, "step", "", unit=False)
