"""Options that several commands share."""

from collections.abc import Callable, Iterable
from pathlib import Path

import click
from click.core import ParameterSource

from handbench.console import say

BOXES_HELP = "Box sources at test time, others than the recipe's in boxes-SOURCE."


def read_shard(text: str | None) -> tuple[int, int]:
    """I/N as two numbers, 1 <= I <= N; without text the whole, 1/1. Raises BadParameter."""
    if text is None:
        return 1, 1
    first, _, count = text.partition("/")
    if not (first.isdecimal() and count.isdecimal() and 1 <= int(first) <= int(count)):
        raise click.BadParameter(f"'{text}' is not like 2/8", param_hint="--shard")
    return int(first), int(count)


def torch_options(command: Callable) -> Callable:
    """--device, --threads and --hand-layer: how torch runs and with which hand layer."""
    for option in (
        click.option(
            "--hand-layer",
            type=click.Choice(["own", "manopth"]),
            default="own",
            show_default=True,
            help="manopth: the real one, where you have installed it.",
        ),
        click.option(
            "--threads",
            type=click.IntRange(1),
            default=1,
            show_default=True,
            help="CPU threads of torch.",
        ),
        click.option("--device", default="auto", show_default=True, help="cpu | cuda | auto."),
    ):
        command = option(command)
    return command


workers_option = click.option(
    "--workers",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Processes that make batches; 0: threads of this one.",
)


def box_sources(text: str | None) -> list[str | None]:
    """The box sources of a list with commas; [None], the recipe's own, when none is given.

    Raises UnknownName.
    """
    if text is None:
        return [None]
    from handbench.errors import UnknownName
    from handbench.loading.crop import SOURCES

    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in SOURCES:
            raise UnknownName("box source", name, SOURCES)
    return list(dict.fromkeys(names))


def only_with(allowed: bool, partner: str, *names: str) -> None:
    """Refuse options of the running command that would have no effect without their partner.

    names: parameters of the command. Raises UsageError naming the first one given.
    """
    context = click.get_current_context()
    for option in context.command.params:
        given = context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
        if given and not allowed and option.name in names:
            raise click.UsageError(f"{option.opts[-1]} goes with {partner}")


def say_written(paths: Iterable[Path]) -> None:
    """What was written, a line for all endings of one name: `wrote tables/a.{tex,csv}`."""
    endings: dict[Path, list[str]] = {}
    for path in paths:
        endings.setdefault(path.with_suffix(""), []).append(path.suffix[1:])
    for stem, found in endings.items():
        say(f"wrote {stem}.{found[0] if len(found) == 1 else '{' + ','.join(found) + '}'}")
