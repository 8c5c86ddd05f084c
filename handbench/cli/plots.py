"""handbench plots: results -> figures as PDF, PNG and the CSV behind them."""

import click


@click.command()
@click.argument("results", nargs=-1, type=click.Path(), metavar="[qualitative] [RESULT]...")
@click.option("--out", type=click.Path(file_okay=False), help="Default: results/out.")
def plots(results: tuple[str, ...], out: str | None) -> None:
    """Draw RESULTS (runs or result.json files), by default every scored run.

    PCK curves with their AUC, one panel per occlusion level, error against controlled occlusion,
    and error against latency where `handbench speed` has timed the runs.

    \b
    handbench plots                         every figure
    handbench plots qualitative             pictures: photograph, truth and every method, front
    handbench plots qualitative h2onet …    and side view, with a CSV of which hands and why
    """
    from pathlib import Path

    from handbench.console import say
    from handbench.evaluate import collect
    from handbench.showing import latency
    from handbench.showing.tables import grouped

    pictures = results[:1] == ("qualitative",)
    folder = Path(out or "results/out") / "plots"
    chosen = collect(results[pictures:])
    if not pictures and not latency.measured(chosen):
        say(latency.NOTHING)
    for group in grouped(chosen):
        if pictures:
            from handbench.showing import gallery

            paths = gallery.write(group, folder / "qualitative")
            data = group[0].protocol["evaluation"]["data"]
            say(f"{data}: {gallery.RULE}" if paths else f"{data}: {gallery.NOTHING}")
        else:
            from handbench.showing import plots as draw

            paths = draw.all_of(group, folder)
        for path in paths:
            say(f"wrote {path}")
