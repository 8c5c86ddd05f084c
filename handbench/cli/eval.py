"""handbench eval: score runs, or anybody's prediction file."""

import click

from handbench.cli import complete
from handbench.cli.options import BOXES_HELP

OF_RUNS = ("every", "data", "boxes", "device")
OF_FILES = ("adapter", "ground_truth", "protocol", "out", "subset", "assume_frame", "levels")


@click.command("eval")
@click.argument("names", metavar="[RUN]...", nargs=-1, shell_complete=complete.runs)
@click.option("--all", "every", is_flag=True, help="Every run; only what is missing is done.")
@click.option(
    "--data",
    multiple=True,
    shell_complete=complete.splits,
    help="Score on NAME/SPLIT; default the runs' test split.",
)
@click.option("--boxes", metavar="SOURCE,…", help=BOXES_HELP)
@click.option("--predictions", type=click.Path(dir_okay=False), help="Score this file instead.")
@click.option("--adapter", metavar="NAME", help="FILE is a dump of: handoccnet, h2onet, hamer …")
@click.option("--ground-truth", help="For --predictions: a split NAME/SPLIT, or official files.")
@click.option("--protocol", default="handbench", show_default=True, help="handbench list protocols")
@click.option("--out", type=click.Path(file_okay=False), help="Where --predictions' scores go.")
@click.option(
    "--on-nan",
    type=click.Choice(["error", "drop", "worst"]),
    default="error",
    show_default=True,
    help="What a non-finite prediction does.",
)
@click.option("--subset", is_flag=True, help="Allow another sample count than the official one.")
@click.option(
    "--assume-frame", type=click.Choice(["opencv", "opengl"]), help="Axes of an official file."
)
@click.option(
    "--levels",
    type=click.Path(),
    help="Per-level scores: a CSV of handbench show --levels, or a split.",
)
@click.option("--device", default="auto", show_default=True, help="cpu, cuda or auto.")
@click.option("--force", is_flag=True, help="Score again what was scored.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON on stdout.")
def evaluate(
    names: tuple[str, ...],
    every: bool,
    data: tuple[str, ...],
    boxes: str | None,
    predictions: str | None,
    adapter: str | None,
    ground_truth: str | None,
    protocol: str,
    out: str | None,
    on_nan: str,
    subset: bool,
    assume_frame: str | None,
    levels: str | None,
    device: str,
    force: bool,
    as_json: bool,
) -> None:
    """Score RUNs (predicting first where predictions are missing), or a prediction file.

    \b
    handbench eval --all
    handbench eval h2onet --data synthetic/controlled
    handbench eval --all --boxes visible_mask,gt_joints,jittered
    handbench eval --predictions predictions.h5 --ground-truth synthetic/test --out scores
    handbench eval --predictions pred.json --ground-truth gt/ --protocol ho3d_v2 --out scores
    handbench eval --predictions dump.npz --adapter hamer --ground-truth synthetic/test --out scores
    """
    import json
    from itertools import product
    from pathlib import Path

    from handbench import evaluate as do
    from handbench.cli.options import box_sources, only_with
    from handbench.console import say
    from handbench.errors import HandbenchError
    from handbench.training import runs

    only_with(predictions is None, "runs, not with --predictions", *OF_RUNS)
    only_with(predictions is not None, "--predictions", *OF_FILES)
    if names and (predictions or every):
        raise click.UsageError("give RUNs, or --all, or --predictions")
    sources = box_sources(boxes)
    results: list[do.Result] = []
    failures: list[HandbenchError] = []
    if predictions:
        if not ground_truth:
            raise HandbenchError("--predictions needs --ground-truth, for example synthetic/test")
        path = Path(predictions)
        if not path.is_file():
            raise HandbenchError(f"--predictions: there is no file {path}")
        official = protocol in do.OFFICIAL
        only_with(official, "an official file's --protocol", "subset", "assume_frame", "levels")
        if not official and adapter is None and path.suffix != ".h5":
            raise HandbenchError(
                f"{path} is no predictions.h5: name the --protocol of an official file, "
                "or the --adapter of a dump"
            )
        asked = do.Asked(subset, on_nan, assume_frame, Path(levels) if levels else None)
        folder = Path(out) if out else path.parent
        results.append(
            do.evaluate_anybody(path, ground_truth, protocol, folder, asked, force, adapter)
        )
    else:
        chosen = runs.every() if every else [runs.find(name) for name in names]
        if not chosen:
            hint = "handbench train makes the first run" if every else "name runs, or say --all"
            raise HandbenchError(f"nothing to score: {hint}")
        for run, split, source in product(chosen, data or (None,), sources):
            try:
                results.append(do.evaluate_run(run, split, device, on_nan, force, source))
            except HandbenchError as error:
                if not every:
                    raise
                # one broken run must not keep the others from being scored
                failures.append(error)
                say(f"{run.name}: {error}")
        if not results:
            raise failures[0]
    if as_json:
        click.echo(json.dumps([each.as_json() for each in results], indent=2))
    else:
        show(results)
    if failures:
        click.get_current_context().exit(1)


def show(results: list) -> None:
    """The comparison of each split and box source as plain text on stdout."""
    from handbench.showing import boxes
    from handbench.showing.formats import plain
    from handbench.showing.rows import by_boxes
    from handbench.showing.tables import comparison, controlled, grouped, is_controlled

    for group in grouped(results):
        for same in by_boxes(group):
            click.echo(plain((controlled if is_controlled(same) else comparison)(same, mixed=True)))
        if boxes.several(group):
            click.echo(plain(boxes.beside(group, mixed=True)))
