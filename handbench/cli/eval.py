"""handbench eval: score runs, or anybody's prediction file."""

import click


@click.command("eval")
@click.argument("names", metavar="[RUN]...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Every run; only what is missing is done.")
@click.option("--data", multiple=True, help="Score on NAME/SPLIT; default the runs' test split.")
@click.option("--predictions", type=click.Path(dir_okay=False), help="Score this file instead.")
@click.option("--ground-truth", help="The truth for --predictions: a prepared split NAME/SPLIT.")
@click.option("--protocol", default="handbench", show_default=True, help="handbench list protocols")
@click.option("--out", type=click.Path(file_okay=False), help="Where --predictions' scores go.")
@click.option(
    "--on-nan",
    type=click.Choice(["error", "drop", "worst"]),
    default="error",
    show_default=True,
    help="What a non-finite prediction does.",
)
@click.option("--device", default="auto", show_default=True, help="cpu, cuda or auto.")
@click.option("--force", is_flag=True, help="Score again what was scored.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON on stdout.")
def evaluate(
    names: tuple[str, ...],
    every: bool,
    data: tuple[str, ...],
    predictions: str | None,
    ground_truth: str | None,
    protocol: str,
    out: str | None,
    on_nan: str,
    device: str,
    force: bool,
    as_json: bool,
) -> None:
    """Score RUNs (predicting first where predictions are missing), or a prediction file.

    \b
    handbench eval --all
    handbench eval h2onet --data synthetic/controlled
    handbench eval --predictions predictions.h5 --ground-truth synthetic/test --out scores
    """
    import json
    from pathlib import Path

    from handbench import evaluate as do
    from handbench import runs
    from handbench.errors import HandbenchError
    from handbench.store import open_split

    if predictions:
        if not ground_truth:
            raise HandbenchError("--predictions needs --ground-truth, for example synthetic/test")
        folder = Path(out or Path(predictions).parent)
        results = [
            do.evaluate_file(
                Path(predictions), open_split(ground_truth), protocol, folder, on_nan, force
            )
        ]
    else:
        chosen = runs.every() if every else [runs.find(name) for name in names]
        if not chosen:
            raise HandbenchError("nothing to score: name runs, or say --all (handbench train …)")
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
    from handbench.formats import plain
    from handbench.tables import comparison, controlled, grouped

    for group in grouped(results):
        ready = all("controlled_target" in each.per_sample for each in group)
        click.echo(plain((controlled if ready else comparison)(group, mixed=True)))
