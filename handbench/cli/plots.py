"""handbench plots: results -> figures as PDF, PNG and the CSV behind them."""

from pathlib import Path

import click

from handbench.cli import complete
from handbench.cli.options import only_with, say_written


@click.command()
@click.argument(
    "results",
    nargs=-1,
    type=click.Path(),
    metavar="[qualitative|attention|features] [RESULT]...",
)
@click.option("--out", type=click.Path(file_okay=False), help="Default: results/out.")
@click.option(
    "--data",
    metavar="NAME/SPLIT",
    shell_complete=complete.splits,
    help="attention, features: default the test split.",
)
@click.option("--index", default=0, show_default=True, help="attention, features: which hand.")
@click.option("--query", metavar="X,Y", help="attention: pixel of the crop.  [default: its middle]")
def plots(
    results: tuple[str, ...], out: str | None, data: str | None, index: int, query: str | None
) -> None:
    """Draw RESULTS (runs or result.json files), by default every scored run.

    PCK curves with their AUC, one panel per occlusion level, error against controlled occlusion,
    and error against latency where `handbench speed` has timed the runs.

    \b
    handbench plots                         every figure
    handbench plots qualitative             pictures: photograph, truth and every method, front
    handbench plots qualitative h2onet …    and side view, with a CSV of which hands and why
    handbench plots features RUN --index 7  what a run's network sees in one hand: its maps
    handbench plots attention RUN --query 40,22   where it looks from a place of the crop
    """
    inside = results[:1] in (("attention",), ("features",))
    only_with(inside, "attention and features", "data", "index")
    only_with(results[:1] == ("attention",), "attention", "query")
    if inside:
        _inside(results, Path(out or "results/out") / "plots", data, index, query)
        return

    from handbench.console import progress, say
    from handbench.evaluate import collect
    from handbench.showing import latency
    from handbench.showing.tables import grouped

    pictures = results[:1] == ("qualitative",)
    folder = Path(out or "results/out") / "plots"
    chosen = collect(results[pictures:])
    if not pictures and not latency.measured(chosen):
        say(latency.NOTHING)
    groups = grouped(chosen)
    with progress("plots", len(groups), "splits") as advance:
        for group in groups:
            if pictures:
                from handbench.showing import gallery

                paths = gallery.write(group, folder / "qualitative")
                data = group[0].protocol["evaluation"]["data"]
                say(f"{data}: {gallery.RULE}" if paths else f"{data}: {gallery.NOTHING}")
            else:
                from handbench.showing import plots as draw

                paths = draw.all_of(group, folder)
            say_written(paths)
            advance()


def _inside(
    words: tuple[str, ...], folder: Path, data: str | None, index: int, query: str | None
) -> None:
    """plots attention RUN and plots features RUN (a METHOD too: with random weights)."""
    from handbench.console import say
    from handbench.errors import HandbenchError, MissingPackage

    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingPackage("torch", "train", "looking inside a network") from error
    from handbench.inference import speed
    from handbench.inference.inspected import inspect
    from handbench.showing import inspecting
    from handbench.training import runs

    what, *names = words
    if len(names) != 1:
        raise HandbenchError(f"plots {what} takes one RUN: handbench plots {what} RUN --index 7")
    one = speed.subject(names[0])
    seen = inspect(one, data or runs.data_split(one.recipe.data, runs.TEST), index)
    stem = folder / f"{what}_{one.recipe.method}_{one.recipe.variant}_{index}"
    if what == "features":
        paths = inspecting.features(seen.crop, seen.maps, seen.joints_crop, stem)
    else:
        size = seen.crop.shape[0]
        try:
            x, y = (float(v) for v in query.split(",")) if query else (size / 2, size / 2)
        except ValueError as error:
            raise HandbenchError(f"--query {query}: write it as X,Y in pixels") from error
        paths, told = inspecting.attention(seen.crop, seen.maps, (x, y), stem)
        for line in told:
            say(line)
    say(f"{seen.name}, crop of {seen.crop.shape[0]} px")
    say_written(paths)
