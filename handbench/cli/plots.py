"""handbench plots: results -> figures as PDF, PNG and the CSV behind them."""

import click


@click.command()
@click.argument("results", nargs=-1, type=click.Path())
@click.option("--out", type=click.Path(file_okay=False), help="Default: results/out.")
def plots(results: tuple[str, ...], out: str | None) -> None:
    """Draw RESULTS (runs or result.json files), by default every scored run.

    PCK curves with their AUC, one panel per occlusion level, and error against controlled
    occlusion.
    """
    from pathlib import Path

    from handbench import plots as draw
    from handbench.console import say
    from handbench.evaluate import collect
    from handbench.tables import grouped

    for group in grouped(collect(results)):
        for path in draw.all_of(group, Path(out or "results/out") / "plots"):
            say(f"wrote {path}")
