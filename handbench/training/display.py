"""A running training on the terminal: bar, rate and time left, and below it the loss terms."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

NOT_TERMS = ("step", "epoch", "lr", "loss", "grad_norm", "samples_per_s", "waiting", "val_mpjpe_mm")


@contextmanager
def live(name: str, step: int, total: int) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yields show(row), called once a step with a row of the log, or {} between rows.

    Silent when stderr is not a terminal: log.csv then says how far the run is.
    """
    if not sys.stderr.isatty():
        yield lambda row: None
        return
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    bar = Progress(
        TextColumn("train {task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    task = bar.add_task(name, total=total, completed=step, rate="")
    below = Text("", style="dim")
    validated = ""
    with Live(Group(bar, below), console=Console(stderr=True), refresh_per_second=4):

        def show(row: dict[str, Any]) -> None:
            nonlocal validated
            bar.advance(task)
            if "loss" in row:
                if row["val_mpjpe_mm"] != "":
                    validated = f"   validation MPJPE {row['val_mpjpe_mm']:.1f} mm"
                bar.update(task, rate=f"{row['samples_per_s']:,.0f} samples/s")
                below.plain = sentence(row) + validated

        yield show


def sentence(row: dict[str, Any]) -> str:
    """`loss 0.71 = joints 0.31 + verts 0.40   lr 0.0012   waiting for data 3 %`."""
    terms = [f"{name} {row[name]:.3g}" for name in row if name not in NOT_TERMS]
    parts = f" = {' + '.join(terms)}" if len(terms) > 1 else ""
    waiting = f"waiting for data {row['waiting']:.0%}"
    return f"loss {row['loss']:.3g}{parts}   lr {row['lr']:.2g}   {waiting}"
