"""handbench eval: score runs, or anybody's prediction file."""

import click


@click.command("eval")
@click.argument("names", metavar="[RUN]...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Every run; only what is missing is done.")
@click.option("--data", multiple=True, help="Score on NAME/SPLIT; default the runs' test split.")
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
    handbench eval --predictions predictions.h5 --ground-truth synthetic/test --out scores
    handbench eval --predictions pred.json --ground-truth gt/ --protocol ho3d_v2 --out scores
    handbench eval --predictions dump.npz --adapter hamer --ground-truth synthetic/test --out scores
    """
    import json
    from pathlib import Path

    from handbench import evaluate as do
    from handbench.errors import HandbenchError
    from handbench.training import runs

    if predictions:
        if not ground_truth:
            raise HandbenchError("--predictions needs --ground-truth, for example synthetic/test")
        asked = do.Asked(subset, on_nan, assume_frame, Path(levels) if levels else None)
        folder = Path(out or Path(predictions).parent)
        results = [
            do.evaluate_anybody(
                Path(predictions), ground_truth, protocol, folder, asked, force, adapter
            )
        ]
    else:
        chosen = runs.every() if every else [runs.find(name) for name in names]
        if not chosen:
            hint = "handbench train makes the first run" if every else "name runs, or say --all"
            raise HandbenchError(f"nothing to score: {hint}")
        results = [
            do.evaluate_run(run, split, device, on_nan, force)
            for run in chosen
            for split in (data or (None,))
        ]
    if as_json:
        click.echo(json.dumps([each.as_json() for each in results], indent=2))
    else:
        show(results)


def show(results: list) -> None:
    """The comparison of each split as plain text on stdout."""
    from handbench.showing.formats import plain
    from handbench.showing.tables import comparison, controlled, grouped

    for group in grouped(results):
        ready = all("controlled_target" in each.per_sample for each in group)
        click.echo(plain((controlled if ready else comparison)(group, mixed=True)))
