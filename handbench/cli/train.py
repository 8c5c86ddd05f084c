"""handbench train METHOD: train one variant of a method, or all of them."""

import click

from handbench.cli.options import torch_options


@click.command()
@click.argument("method")
@click.option("-v", "--variant", default="full", show_default=True, help="One of the method's.")
@click.option("--all-variants", is_flag=True, help="Train every variant, one after another.")
@click.option(
    "--data", default="synthetic", show_default=True, help="Prepared data: NAME, or dexycb/s0."
)
@click.option("--preset", help="tiny | paper; default: tiny on synthetic data, else paper.")
@click.option("--seed", type=int, help="Seed of weights, order and augmentation.  [default: 0]")
@click.option("--steps", type=int, help="Optimizer steps, instead of the recipe's.")
@click.option("--batch", type=int, help="Samples a step, instead of the recipe's.")
@click.option(
    "-o", "overrides", multiple=True, metavar="KEY=VALUE", help="A recipe key; may be repeated."
)
@click.option(
    "--backbone", type=click.Path(dir_okay=False), help="Weights the backbone starts from."
)
@click.option("--start", metavar="RUN", help="A run of the method that all weights start from.")
@torch_options
@click.option("--force", is_flag=True, help="Start over instead of going on.")
def train(
    method: str,
    variant: str,
    all_variants: bool,
    data: str,
    preset: str | None,
    seed: int | None,
    steps: int | None,
    batch: int | None,
    overrides: tuple[str, ...],
    backbone: str | None,
    start: str | None,
    device: str,
    threads: int,
    hand_layer: str,
    force: bool,
) -> None:
    """Train METHOD on a prepared data set; the same command again goes on where it stopped.

    \b
    handbench train h2onet
    handbench train h2onet --data dexycb/s0 --device cuda -o lr=0.0005

    Order of precedence: these flags, then -o, then the recipe file, then the preset.
    """
    try:
        import torch  # noqa: F401
    except ImportError as error:
        from handbench.errors import MissingPackage

        raise MissingPackage("torch", "train", "training") from error
    from handbench import files, registry
    from handbench.hand_layer import choose
    from handbench.training import recipe, runs
    from handbench.training.train import train as run_training

    choose(hand_layer)

    origin = runs.find(start) if start else None
    flags = {
        "seed": seed,
        "steps": steps,
        "batch": batch,
        "backbone": files.sha256(backbone) if backbone else None,
        "start": f"{origin.name} {files.sha256(origin.checkpoint)[:12]}" if origin else None,
    }
    variants = registry.load("method", method).VARIANTS if all_variants else [variant]
    for name in variants:
        chosen = recipe.make(method, name, preset, data, overrides, **flags)
        run = run_training(chosen, device, threads, force, backbone, origin)
        click.echo(run.path)
