"""handbench export: predictions as official files, or a network as ONNX."""

from pathlib import Path

import click

from handbench.cli import complete
from handbench.cli.options import only_with

KINDS = ("ho3d", "freihand", "dexycb", "onnx")


@click.command()
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("source", metavar="RUN|FILE", shell_complete=complete.runs)
@click.option(
    "--data",
    metavar="NAME/SPLIT",
    shell_complete=complete.splits,
    help="Prepared split; default: the run's test split.",
)
@click.option("--out", type=click.Path(dir_okay=False), help="[default: in the run's folder]")
@click.option(
    "--root",
    type=click.Choice(["auto", "predicted", "ground_truth"]),
    default="auto",
    show_default=True,
    help="Whose wrist places the hand; auto: the predicted one where there is one.",
)
@click.option("--subset", is_flag=True, help="Write what there is although lines are missing.")
@click.option("--check", is_flag=True, help="FILE is such a file already: only check it.")
def export(
    kind: str,
    source: str,
    data: str | None,
    out: str | None,
    root: str,
    subset: bool,
    check: bool,
) -> None:
    """Write the predictions of a RUN, or a predictions.h5, as an official submission.

    \b
    ho3d      pred.json or pred.zip: OpenGL axes, HO-3D's joint order, metres
    freihand  pred.json or pred.zip: OpenCV axes, metres
    dexycb    a text file: index and 63 numbers in OpenCV axes, millimetres
    onnx      the RUN's network, for batches of one, checked against torch

    \b
    handbench export ho3d handoccnet --data ho3d_v2/evaluation --out pred.zip
    handbench export ho3d pred.zip --check --data ho3d_v2/evaluation
    handbench export onnx handoccnet --out handoccnet.onnx
    """
    from handbench.console import amount, say
    from handbench.errors import DataError, HandbenchError
    from handbench.official import submission
    from handbench.store import open_split
    from handbench.training import runs

    only_with(kind != "onnx", "a submission, not with onnx", "data", "root", "subset", "check")
    only_with(not check, "export, not with --check", "out", "root")
    if kind == "onnx":
        _export_network(source, Path(out) if out else None)
        return
    if check:
        path = Path(source)
        samples = None if subset else submission.official_count(data or "")
        problems = submission.validate(path, kind, samples)
        if problems:
            raise DataError(f"{path} is not fit to be sent: {'; '.join(problems)}")
        known = samples is not None or subset or kind == "dexycb"
        count = "" if known else "; whether it is complete is not known without --data"
        say(f"{path}: fine{count}")
        return
    if Path(source).is_file():
        predictions = Path(source)
        if data is None:
            raise HandbenchError("export of a file needs --data NAME/SPLIT")
    else:
        run = runs.find(source)
        data = data or runs.data_split(run.recipe().data, runs.TEST)
        predictions = run.predictions(data)
    path = Path(out) if out else predictions.with_name(submission.DEFAULT_NAME[kind])
    done = submission.export(kind, predictions, open_split(data), path, root, subset)
    whose = "predicted" if done.root_source == "predicted" else "true (--root ground_truth)"
    say(f"{amount(done.hands, 'hand')}, each placed at the {whose} wrist")
    for problem in submission.validate(path, kind):
        say(f"warning: {path}: {problem}")
    click.echo(path)


def _export_network(source: str, out: Path | None) -> None:
    try:
        import torch  # noqa: F401
    except ImportError as error:
        from handbench.errors import MissingPackage

        raise MissingPackage("torch", "train", "exporting networks") from error
    from handbench import checkpoint
    from handbench.console import say
    from handbench.inference import onnx
    from handbench.training import runs

    run = runs.find(source)
    path = out or run.path / "network.onnx"
    difference = onnx.export(checkpoint.trained(run)[0], path)
    say(f"differs from torch by at most {difference:.1e}")
    click.echo(path)
