"""handbench report: one self-contained HTML page."""

import click

from handbench.cli import complete


@click.command()
@click.argument("results", nargs=-1, shell_complete=complete.runs)
@click.option("--mixed", is_flag=True, help="Let unequal protocols meet; footnote the difference.")
@click.option("--out", type=click.Path(file_okay=False), help="Default: results/out.")
def report(results: tuple[str, ...], mixed: bool, out: str | None) -> None:
    """Tables, figures and cases of RESULTS, by default of every scored run, in one HTML file.

    It opens offline: pictures are inside the page.
    """
    from pathlib import Path

    from handbench.console import say
    from handbench.evaluate import collect
    from handbench.showing.report import write
    from handbench.showing.tables import grouped

    path = write(grouped(collect(results)), Path(out or "results/out") / "report.html", mixed)
    say(f"wrote {path}")
