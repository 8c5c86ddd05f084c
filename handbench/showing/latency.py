"""Accuracy against latency: results beside what `handbench speed` measured of their runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from handbench.errors import HandbenchError
from handbench.files import read_json
from handbench.result import Result
from handbench.showing.canvas import (
    COLOURS,
    LEGEND_ROW,
    below,
    canvas,
    decorate,
    legible,
    plain_numbers,
    save,
)
from handbench.showing.rows import label, numbered, stem

NOTHING = (
    "no figure of accuracy against latency: none of these runs has a speed.json, "
    "handbench speed RUN measures it"
)
MARKERS = "osD^vP*X"
Speed = Mapping[str, Any]


def speed_of(result: Result) -> Speed | None:
    """speed.json of the run that a result belongs to: beside it, or in the folders above it.

    Raises HandbenchError naming a file that is not what `handbench speed` writes.
    """
    if result.folder is None:
        return None
    folder = result.folder.resolve()
    for place in (folder, *folder.parents[:2]):
        path = place / "speed.json"
        if path.is_file():
            found = read_json(path)
            known = isinstance(found, dict) and isinstance(found.get("latency_ms"), dict)
            if not known or not {"median", "p95"} <= found["latency_ms"].keys():
                raise HandbenchError(f"{path} has no latency_ms: run  handbench speed {place}")
            return found
        if (place / "recipe.toml").is_file():
            return None
    return None


def measured(results: Sequence[Result]) -> bool:
    """Whether any of these runs has been timed."""
    return any(speed_of(each) is not None for each in results)


def error_over_latency(results: Sequence[Result], folder: Path) -> list[Path]:
    """MPJPE against the median latency of one hand, to the 95th percentile; a panel a machine.

    Only times of one device, number of threads and protocol stand in one panel. Methods that
    were not timed are named below the figure, not guessed; one without a network is a line.
    """
    known = [(index, each, speed_of(each)) for index, each in numbered(results)]
    timed = [(index, each, speed) for index, each, speed in known if speed is not None]
    untimed = [legible(label(each)) for _, each, speed in known if speed is None]
    panels = list(dict.fromkeys(_conditions(speed) for _, _, speed in timed))
    size = (4.8 * len(panels), 3.3 + LEGEND_ROW * len(timed))
    figure, axes = canvas(len(panels), 1, size)
    rows = []
    for index, each, speed in timed:
        error, times = each.metrics["mpjpe_mm"], speed["latency_ms"]
        axis = axes[panels.index(_conditions(speed))]
        numbers = (error.value, error.low, error.high, times["median"], times["p95"])
        about = (speed["parameters"], speed.get("macs"), speed.get("form"), _conditions(speed))
        rows.append((label(each), *numbers, *about))
        colour = COLOURS[index % len(COLOURS)]
        if not speed.get("macs"):
            axis.axhline(
                error.value,
                color=colour,
                ls="--",
                lw=1,
                label=f"{legible(label(each))} (no network)",
            )
            continue
        spread = np.nan_to_num([[error.value - error.low], [error.high - error.value]])
        axis.errorbar(
            times["median"],
            error.value,
            yerr=spread,
            xerr=[[0.0], [max(times["p95"] - times["median"], 0.0)]],
            fmt=MARKERS[index % len(MARKERS)],
            color=colour,
            elinewidth=0.8,
            capsize=2,
            label=f"{legible(label(each))} ({speed['parameters'] / 1e6:.2f} M)",
        )
    for axis, conditions in zip(axes, panels):
        axis.set_xscale("log")
        decorate(axis, conditions, "latency of one hand (ms), median to p95", "MPJPE (mm)", False)
        plain_numbers(axis.xaxis)
        axis.set_ylim(bottom=0)
        below(axis, "method (parameters)")
    if untimed:
        figure.supxlabel(f"not timed: {', '.join(untimed)}", fontsize=7)
    names = ["method", "mpjpe_mm", "low", "high", "latency_ms_median", "latency_ms_p95"]
    names += ["parameters", "macs", "form", "conditions"]
    return save(figure, folder / f"{stem(results)}_latency", pd.DataFrame(rows, columns=names))


def _conditions(speed: Speed) -> str:
    """What times must share to stand in one panel."""
    protocol = speed.get("protocol", "")
    name = protocol.get("name", "") if isinstance(protocol, dict) else protocol
    count = speed.get("threads", 1)
    threads = f", {count} threads" if count > 1 else ", 1 thread"
    compiled = ", compiled" if speed.get("compiled") else ""
    return f"{speed.get('device', 'unknown')}{threads}{compiled}, {name}".rstrip(", ")
