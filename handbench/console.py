"""Messages, their wording, and progress bars on stderr; stdout is for data only."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click


def say(text: str) -> None:
    """One message line on stderr."""
    click.echo(text, err=True)


def amount(count: int, noun: str) -> str:
    """A count with its noun: `1 hand`, `1,234 hands`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


@contextmanager
def progress(what: str, total: int, unit: str = "") -> Iterator[Callable[..., None]]:
    """A rich progress bar with rate and time left; silent when stderr is not a terminal.

    Yields advance(steps=1, note=""): note stands at the end of the bar.
    """
    if not sys.stderr.isatty():
        yield lambda steps=1, note="": None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:<30}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total, rate="", note="")

        def advance(steps: int = 1, note: str = "") -> None:
            bar.advance(task, steps)
            speed = bar.tasks[0].finished_speed or bar.tasks[0].speed
            rate = f"{speed:,.0f} {unit}/s" if speed and unit else ""
            bar.update(task, rate=rate, note=note)

        yield advance
