"""What the shell offers after TAB: names of data sets, methods, prepared splits and runs."""

from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem

Found = list[CompletionItem]


def data_sets(ctx: click.Context, param: click.Parameter, begun: str) -> Found:
    from handbench.registry import table

    return _matching(table("dataset"), begun)


def methods(ctx: click.Context, param: click.Parameter, begun: str) -> Found:
    from handbench.registry import table

    return _matching(table("method"), begun)


def splits(ctx: click.Context, param: click.Parameter, begun: str) -> Found:
    """Prepared ones, in --data-dir where the command line names one."""
    from handbench.store import prepared

    return _matching(prepared(ctx.params.get("data_dir")), begun)


def runs(ctx: click.Context, param: click.Parameter, begun: str) -> Found:
    """METHOD/VARIANT/NAME; METHOD/VARIANT where that names one run."""
    from handbench.training.runs import every

    names = [run.name for run in every()]
    short = [name.rpartition("/")[0] for name in names]
    return _matching([s if short.count(s) == 1 else n for n, s in zip(names, short)], begun)


def _matching(names: Iterable[str], begun: str) -> Found:
    """The names that begin so; where none does, files."""
    found = [CompletionItem(name) for name in sorted(names) if name.startswith(begun)]
    return found or [CompletionItem(begun, type="file")]
