"""Options that several commands share."""

from collections.abc import Callable

import click


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
