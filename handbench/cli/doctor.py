"""handbench doctor: what is wrong or missing, in the installation, downloads, splits and files."""

from pathlib import Path
from typing import Any

import click

from handbench.cli import complete
from handbench.cli.options import only_with, say_written

ALL = "all"


@click.command()
@click.argument("file", metavar="[FILE|RUN]", required=False, type=click.Path())
@click.option(
    "--raw", nargs=2, metavar="NAME DIR", help="An official download: what is there, what is not."
)
@click.option(
    "--data",
    "splits",
    multiple=True,
    metavar="NAME/SPLIT",
    shell_complete=complete.splits,
    help="A prepared split; repeatable.",
)
@click.option(
    "--leakage",
    is_flag=False,
    flag_value=ALL,
    metavar="[NAME]",
    help="What train, val and test share.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0),
    default=3.0,
    show_default=True,
    help="mm; nearer poses are near-equal.",
)
@click.option("-o", "given", multiple=True, metavar="KEY=VALUE", help="--raw: a reader's option.")
@click.option("--data-dir", type=click.Path(file_okay=False), help="Folder of prepared data.")
@click.option("--out", type=click.Path(file_okay=False), help="Default: results/out/doctor.")
@click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON on stdout.")
def doctor(
    file: str | None,
    raw: tuple[str, str] | None,
    splits: tuple[str, ...],
    leakage: str | None,
    threshold: float,
    given: tuple[str, ...],
    data_dir: str | None,
    out: str | None,
    as_json: bool,
) -> None:
    """Look for what is wrong. Every check is a row: ok, warn, fail or n/a, measured and expected.

    \b
    handbench doctor                                 this installation
    handbench doctor --raw dexycb ~/dexycb           what of a download is missing, and where it is
    handbench doctor --data synthetic/test           a prepared split, with a contact sheet
    handbench doctor --leakage dexycb                what its splits share
    handbench doctor results/runs/h2onet/full/…      a run, or one file of ours

    --data writes checks.html and sheet.png, --leakage leakage.csv and leakage.json under --out.
    Exit code 1 when a check fails.
    """
    from handbench.errors import HandbenchError

    asked = [file is not None, raw is not None, bool(splits), leakage is not None]
    if sum(asked) > 1:
        raise HandbenchError("give one of FILE, --raw, --data and --leakage")
    only_with(raw is not None, "--raw", "given")
    only_with(leakage is not None, "--leakage", "threshold")
    only_with(bool(splits) or leakage is not None, "--data or --leakage", "data_dir", "out")
    folder = Path(out or "results/out/doctor")
    if leakage is not None:
        leaks(leakage, data_dir, threshold, folder, as_json)
        return
    if raw is not None:
        groups = {f"{raw[0]} in {raw[1]}": download(raw, given)}
    elif splits:
        groups = {name: prepared_split(name, data_dir, folder) for name in splits}
    elif file is not None:
        from handbench.checking.file import check_file

        groups = {file: list(check_file(Path(file)))}
    else:
        from handbench.checking.environment import check_environment

        groups = {"this installation": list(check_environment())}
    report(groups, as_json)


def download(raw: tuple[str, str], given: tuple[str, ...]) -> list[Any]:
    """Checks of a raw folder with the reader's options."""
    from handbench import registry
    from handbench.checking.raw import check_raw
    from handbench.errors import DataError
    from handbench.preparing.readers import chosen_options

    reader_class = registry.load("dataset", raw[0])
    if not reader_class.needs_raw:
        raise DataError(f"{raw[0]} is made here: there is no download to look at")
    if not Path(raw[1]).expanduser().is_dir():
        raise DataError(f"{raw[1]} is not a folder; give the one of the official download")
    return list(check_raw(raw[0], raw[1], chosen_options(reader_class, given, {})))


def prepared_split(name: str, data_dir: str | None, folder: Path) -> list[Any]:
    """Checks of a prepared split; its page and contact sheet are written below folder."""
    from handbench.checking.split import CHECKS, check_split
    from handbench.console import progress
    from handbench.showing import checklist
    from handbench.store import open_split

    split = open_split(name, data_dir)
    found = []
    with progress(f"doctor    {name}", len(CHECKS), "checks") as advance:
        for check in check_split(split):
            found.append(check)
            advance()
    say_written(checklist.write(split, found, folder / name.replace("/", "-")))
    return found


def report(groups: dict[str, list[Any]], as_json: bool) -> None:
    """Print all rows; end with exit code 1 when one of them is a failure."""
    import json

    from handbench.checking.check import counted, failed
    from handbench.showing.checklist import plain

    if as_json:
        rows = {name: [check.as_json() for check in checks] for name, checks in groups.items()}
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        for name, checks in groups.items():
            click.echo(f"{name}: {counted(checks)}\n{plain(checks)}\n")
    _end(sum(failed(checks) for checks in groups.values()))


def leaks(name: str, data_dir: str | None, threshold: float, folder: Path, as_json: bool) -> None:
    """The table of what splits share, for one data set or all that have two splits."""
    import json

    from handbench.checking import leakage
    from handbench.console import say
    from handbench.errors import HandbenchError
    from handbench.files import write_json, write_text
    from handbench.showing import checklist

    groups = leakage.data_sets(data_dir)
    if name == ALL:
        chosen = [each for each, setups in groups.items() if any(len(m) > 1 for m in setups)]
    else:
        chosen = [name]
    found = [row for each in chosen for row in leakage.leakage(each, data_dir, threshold)]
    if not found:
        raise HandbenchError(
            f"{name if name != ALL else 'no data set'} has two prepared splits to compare: "
            "prepare train and test first"
        )
    rows = [row.as_json() for row in found]
    write_json(folder / "leakage.json", rows)
    write_text(folder / "leakage.csv", checklist.leakage_csv(found))
    for ending in ("csv", "json"):
        say(f"wrote {folder / f'leakage.{ending}'}")
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        click.echo(checklist.leakage_plain(found))


def _end(failures: int) -> None:
    if failures:
        click.get_current_context().exit(1)
