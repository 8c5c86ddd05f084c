"""handbench demo: the whole chain on synthetic data."""

import click


@click.command()
@click.option("--out", default="results/demo", show_default=True, type=click.Path(file_okay=False))
@click.option("--workers", type=click.IntRange(1), help="Processes; default the CPU cores.")
def demo(out: str, workers: int | None) -> None:
    """Prepare synthetic grasps, train tiny networks, score them, and build tables and a report.

    Needs no download, no display and no GPU. Called again it goes on where it stopped. The tiny
    presets train for minutes on a CPU: they show the chain and rank nothing but themselves.
    """
    from pathlib import Path

    from handbench.demo import demo as run
    from handbench.machine import usable_cores

    run(Path(out), workers or usable_cores())
