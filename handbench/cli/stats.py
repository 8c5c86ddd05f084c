"""handbench stats NAME/SPLIT…: how splits are occluded, side by side."""

import click

from handbench.cli import complete
from handbench.cli.options import say_written


@click.command()
@click.argument(
    "names", metavar="NAME/SPLIT...", nargs=-1, required=True, shell_complete=complete.splits
)
@click.option("--rule", default="released", show_default=True, help="Finger rule: released, paper.")
@click.option("--train", metavar="NAME/SPLIT", help="Compare rotations with this one's.")
@click.option("--data-dir", type=click.Path(file_okay=False), help="Folder of prepared data.")
@click.option("--out", type=click.Path(file_okay=False), help="Default: results/out/stats.")
@click.option("--json", "as_json", is_flag=True, help="Print all numbers as JSON on stdout.")
def stats(
    names: tuple[str, ...],
    rule: str,
    train: str | None,
    data_dir: str | None,
    out: str | None,
    as_json: bool,
) -> None:
    """How often, how long, together with what and by what fingers and hands are hidden.

    \b
    handbench stats synthetic/train synthetic/test
    handbench stats dexycb/s0_test ho3d_v3/train synthetic/test --out stats

    Both label rules where a rule matters; rotation coverage of each split by the train split of its
    data set. Writes stats.html (opens offline), stats.csv, stats.json and plots/*.{pdf,png,csv}.
    """
    import json
    from pathlib import Path

    from handbench.checking.coverage import coverage
    from handbench.checking.hands import SplitHands
    from handbench.checking.leakage import train_of
    from handbench.checking.occlusion import occlusion
    from handbench.console import progress, say
    from handbench.errors import UnknownName
    from handbench.rules import RULES
    from handbench.store import open_split

    if rule not in RULES:
        raise UnknownName("rule", rule, RULES)
    # all names are checked before the first split is read
    splits = {name: open_split(name, data_dir) for name in dict.fromkeys(names)}
    trains = {name: train or train_of(name, data_dir) for name in splits}
    known = {name: SplitHands(split) for name, split in splits.items()}
    for name in filter(None, trains.values()):
        if name not in known:
            known[name] = SplitHands(open_split(name, data_dir))
    found, turns = [], []
    with progress("stats", len(splits), "splits") as advance:
        for name in splits:
            found.append(occlusion(known[name]))
            other = trains[name]
            if other is not None and other != name:
                covered = coverage(known[name], known[other])
                turns += [covered] if covered is not None else []
            if not found[-1].labelled:
                say(f"{name} has no occlusion labels (joints only)")
            advance()

    from handbench.showing import statistics_page as pages

    say_written(pages.write(found, turns, Path(out or "results/out/stats"), rule))
    if as_json:
        told = {"splits": [each.as_json() for each in found]}
        turned = [each.as_json() for each in turns]
        click.echo(json.dumps({**told, "rotation_coverage": turned}, indent=2))
    else:
        show(*pages.rows_of_shares(found))
        if turns:
            show(*pages.rows_of_coverage(turns))


def show(heading: list[str], rows: list[list[str]]) -> None:
    """A table as plain text on stdout."""
    from tabulate import tabulate

    align = ("left", *("right" for _ in heading[1:]))
    click.echo(tabulate(rows, heading, tablefmt="simple", disable_numparse=True, colalign=align))
