"""handbench predict RUN: a trained run's predictions for a prepared split, or for own pictures."""

from pathlib import Path

import click

from handbench.cli import complete
from handbench.cli.options import box_sources, only_with, torch_options


@click.command()
@click.argument("run", shell_complete=complete.runs)
@click.option(
    "--data",
    shell_complete=complete.splits,
    help="NAME/SPLIT; default: the test split of the data it was trained on.",
)
@click.option(
    "--image",
    "images",
    multiple=True,
    metavar="FILE|DIR|VIDEO",
    help="Own pictures instead of a split; may be repeated.",
)
@click.option("--box", metavar="X,Y,W,H", help="Where the hand is; default: the whole picture.")
@click.option(
    "--boxes",
    metavar="FILE|SOURCE,…",
    help="With --image: CSV image,x,y,w,h[,side] or JSON. Else a split's box sources.",
)
@click.option(
    "--side",
    type=click.Choice(["right", "left"]),
    default="right",
    show_default=True,
    help="Which hand --image shows.",
)
@click.option("--focal", type=float, help="Focal length in pixels; else assumed, and said so.")
@click.option(
    "--joints",
    metavar="FILE|RUN",
    help="2D joints for methods that need them: JSON by picture, predictions.h5, another RUN.",
)
@click.option("--out", metavar="DIR", help="Where pictures' results go.  [default: RUN/pictures]")
@torch_options
@click.option("--force", is_flag=True, help="Predict again although the file is up to date.")
def predict(
    run: str,
    data: str | None,
    images: tuple[str, ...],
    box: str | None,
    boxes: str | None,
    side: str,
    focal: float | None,
    joints: str | None,
    out: str | None,
    device: str,
    threads: int,
    hand_layer: str,
    force: bool,
) -> None:
    """Predict with RUN: its folder, or METHOD/VARIANT where that names one run.

    \b
    handbench predict h2onet/full
    handbench predict h2onet/full --data synthetic/controlled
    handbench predict h2onet/full --boxes visible_mask,gt_joints
    handbench predict handgcat/full --joints handoccnet/full
    handbench predict h2onet/full --image photo.jpg --box 120,80,200,220
    handbench predict h2onet/full --image clip.mp4 --boxes boxes.csv --out seen
    torchrun --nproc-per-node 8 -m handbench predict h2onet/full
    """
    try:
        import torch
    except ImportError as error:
        from handbench.errors import MissingPackage

        raise MissingPackage("torch", "train", "predicting") from error
    from handbench.hand_layer import choose
    from handbench.inference.predict import joints_file
    from handbench.inference.predict import predict as run_prediction
    from handbench.training import runs
    from handbench.training.distributed import joined

    choose(hand_layer)

    if images:
        only_with(False, "a split, not with --image", "data", "force")
        from handbench.inference.pictures import predict_pictures, wanted

        torch.set_num_threads(threads)
        asked = wanted(side, box, boxes, joints, focal)
        folder = Path(out) if out else None
        for path in predict_pictures(runs.find(run), images, asked, folder, device):
            click.echo(path)
        return
    only_with(False, "--image", "box", "focal", "side", "out")
    with joined(device):
        chosen = runs.find(run)
        known = None
        if joints:
            split = data or runs.data_split(chosen.recipe().data, runs.TEST)
            known = joints_file(joints, split, device, threads)
        for source in box_sources(boxes):
            click.echo(run_prediction(chosen, data, device, threads, force, source, known))
