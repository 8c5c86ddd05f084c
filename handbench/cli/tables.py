"""handbench tables: results -> LaTeX, CSV, Markdown and HTML tables."""

import click

FORMATS = "latex,csv,md,html"


@click.command()
@click.argument("results", nargs=-1, type=click.Path())
@click.option("--format", "formats", default=FORMATS, show_default=True, help="Which formats.")
@click.option("--mixed", is_flag=True, help="Let unequal protocols meet; footnote the difference.")
@click.option("--out", type=click.Path(file_okay=False), help="Default: results/out.")
def tables(results: tuple[str, ...], formats: str, mixed: bool, out: str | None) -> None:
    """Make the tables of RESULTS (runs or result.json files), by default of every scored run.

    One comparison per split and one table per occlusion level; controlled splits give error
    against the share covered. tables.tex shows them all.
    """
    from pathlib import Path

    from handbench import tables as make
    from handbench.console import say
    from handbench.errors import UnknownName
    from handbench.evaluate import collect
    from handbench.formats import FORMATS as KNOWN

    names = [name.strip() for name in formats.split(",") if name.strip()]
    for name in names:
        if name not in KNOWN:
            raise UnknownName("format", name, KNOWN)
    folder = Path(out or "results/out") / "tables"
    found = [
        table for group in make.grouped(collect(results)) for table in make.all_of(group, mixed)
    ]
    for path in make.write(found, folder, names):
        say(f"wrote {path}")
