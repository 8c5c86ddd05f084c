"""handbench tables: results -> LaTeX, CSV, Markdown and HTML tables."""

from typing import TYPE_CHECKING

import click

from handbench.cli import complete
from handbench.cli.options import only_with, say_written

if TYPE_CHECKING:
    from pathlib import Path

FORMATS = "latex,csv,md,html"


@click.command()
@click.argument("results", nargs=-1, shell_complete=complete.runs)
@click.option(
    "--add", "added", multiple=True, metavar="RUN|FILE", help="Beside all scored runs, also this."
)
@click.option("--format", "formats", default=FORMATS, show_default=True, help="Which formats.")
@click.option("--mixed", is_flag=True, help="Let unequal protocols meet; footnote the difference.")
@click.option("--paper", help="handoccnet, h2onet, handgcat, occrobnet or all: printed | measured.")
@click.option("--out", type=click.Path(file_okay=False), help="Default: results/out.")
def tables(
    results: tuple[str, ...],
    added: tuple[str, ...],
    formats: str,
    mixed: bool,
    paper: str | None,
    out: str | None,
) -> None:
    """Make the tables of RESULTS (runs or result.json files), by default of every scored run.

    One comparison per split and one table per occlusion level; controlled splits give error
    against the share covered. tables.tex shows them all. --paper rebuilds the tables of a paper,
    with what was measured under what is printed and macros.tex for quoting it; it needs no run.

    
    handbench tables --add my_scores/result.json     my method beside all scored runs
    """
    from pathlib import Path

    from handbench.console import progress
    from handbench.errors import UnknownName
    from handbench.evaluate import collect
    from handbench.showing import tables as make
    from handbench.showing.formats import FORMATS as KNOWN

    names = [name.strip() for name in formats.split(",")]
    for name in names:
        if name not in KNOWN:
            raise UnknownName("format", name, KNOWN)
    folder = Path(out or "results/out") / "tables"
    only_with(paper is None, "tables of runs, not with --paper", "mixed")
    if paper:
        _write_papers(paper, results, added, folder, names)
        return
    groups, found = make.grouped(collect(results, added=added)), []
    with progress("tables", len(groups), "splits") as advance:
        for group in groups:
            found += make.all_of(group, mixed)
            advance()
    say_written(make.write(found, folder, names))


def _write_papers(
    paper: str,
    results: tuple[str, ...],
    added: tuple[str, ...],
    folder: "Path",
    names: list[str],
) -> None:
    from handbench.console import say
    from handbench.evaluate import collect
    from handbench.files import runs_dir, write_text
    from handbench.published import paper as papers
    from handbench.published.macros import macros
    from handbench.showing import tables as make
    from handbench.showing.rows import label

    # published figures can be shown before anything was run
    named = collect((*results, *added)) if results or added else []
    ran = not results and any(runs_dir().glob("*/*/*/**/result.json"))
    found = papers.paper_tables(paper, [*(collect(()) if ran else ()), *named], named)
    for each in papers.unused(paper, named):
        data = each.protocol["evaluation"]["data"]
        say(f"{label(each)} on {data} stands in no table: none of these papers' is on these data")
    written = make.write(found, folder, names)
    if "latex" in names:
        written.append(folder / "macros.tex")
        write_text(written[-1], macros(found))
    say_written(written)
