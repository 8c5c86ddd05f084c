"""handbench predict RUN: a trained run's predictions for a prepared split."""

import click

from handbench.cli.options import torch_options


@click.command()
@click.argument("run")
@click.option("--data", help="NAME/SPLIT; default: the test split of the data it was trained on.")
@torch_options
@click.option("--force", is_flag=True, help="Predict again although the file is up to date.")
def predict(
    run: str, data: str | None, device: str, threads: int, hand_layer: str, force: bool
) -> None:
    """Predict with RUN: its folder, or METHOD/VARIANT where that names one run.

    \b
    handbench predict h2onet/full
    handbench predict h2onet/full --data synthetic/controlled
    """
    try:
        import torch  # noqa: F401
    except ImportError as error:
        from handbench.errors import MissingPackage

        raise MissingPackage("torch", "train", "predicting") from error
    from handbench.hand_layer import choose
    from handbench.training import runs
    from handbench.training.predict import predict as run_prediction

    choose(hand_layer)

    click.echo(run_prediction(runs.find(run), data, device, threads, force))
