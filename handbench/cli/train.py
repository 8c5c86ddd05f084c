"""handbench train METHOD: train one variant of a method, all of them, or a sweep of settings."""

import click

from handbench.cli import complete
from handbench.cli.options import only_with, read_shard, torch_options, workers_option


@click.command()
@click.argument("method", shell_complete=complete.methods)
@click.option("-v", "--variant", default="full", show_default=True, help="One of the method's.")
@click.option("--all-variants", is_flag=True, help="Train every variant, one after another.")
@click.option(
    "--sweep",
    "sweeps",
    multiple=True,
    metavar="KEY=A,B,C",
    help="A run for each value of a recipe key or of seed; several: each combination.",
)
@click.option("--shard", metavar="I/N", help="Only every N-th of these runs, for job arrays.")
@click.option(
    "--data", default="synthetic", show_default=True, help="Prepared data: NAME, or dexycb/s0."
)
@click.option("--preset", help="tiny | paper; default: tiny on synthetic data, else paper.")
@click.option(
    "--seed", type=click.IntRange(0), help="Seed of weights, order and augmentation.  [default: 0]"
)
@click.option("--steps", type=click.IntRange(1), help="Optimizer steps, instead of the recipe's.")
@click.option("--batch", type=click.IntRange(1), help="Samples a step, of all processes together.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16", "fp16"]),
    help="Numbers of forward passes in training.  [default: fp32]",
)
@click.option(
    "-o", "overrides", multiple=True, metavar="KEY=VALUE", help="A recipe key; may be repeated."
)
@click.option(
    "--backbone",
    type=click.Path(dir_okay=False),
    metavar="FILE|none",
    help="Weights the backbone starts from; paper presets: else from $HANDBENCH_BACKBONES.",
)
@click.option(
    "--start",
    "--init-from",
    metavar="RUN",
    help="A run of the method that all weights start from, on any data.",
)
@click.option("--label", help="Ends the run folder's name: one recipe beside another.")
@torch_options
@workers_option
@click.option("--compile", "compiled", is_flag=True, help="Compile the network (torch.compile).")
@click.option(
    "--compile-mode",
    type=click.Choice(["default", "reduce-overhead"]),
    default="default",
    show_default=True,
    help="Of --compile; reduce-overhead: CUDA graphs, for networks of many small kernels.",
)
@click.option("--tensorboard", is_flag=True, help="Write TensorBoard files beside log.csv.")
@click.option("--force", is_flag=True, help="Start over instead of going on.")
def train(
    method: str,
    variant: str,
    all_variants: bool,
    sweeps: tuple[str, ...],
    shard: str | None,
    data: str,
    preset: str | None,
    seed: int | None,
    steps: int | None,
    batch: int | None,
    precision: str | None,
    overrides: tuple[str, ...],
    backbone: str | None,
    start: str | None,
    label: str | None,
    device: str,
    threads: int,
    hand_layer: str,
    workers: int,
    compiled: bool,
    compile_mode: str,
    tensorboard: bool,
    force: bool,
) -> None:
    """Train METHOD on a prepared data set; the same command again goes on where it stopped.

    \b
    handbench train h2onet
    handbench train h2onet --data dexycb/s0 --device cuda -o lr=0.0005
    handbench train plain --sweep lr=0.001,0.003 --sweep seed=0,1,2 --shard 1/2
    torchrun --nproc-per-node 8 -m handbench train h2onet --data dexycb/s0

    Order of precedence: these flags, then -o, then the recipe file, then the preset.
    """
    try:
        import torch  # noqa: F401
    except ImportError as error:
        from handbench.errors import MissingPackage

        raise MissingPackage("torch", "train", "training") from error
    from handbench import files, registry
    from handbench.console import say
    from handbench.hand_layer import choose
    from handbench.store import open_split
    from handbench.training import backbones, distributed, recipe, runs, sweep
    from handbench.training.train import train as run_training

    choose(hand_layer)
    only_with(compiled, "--compile", "compile_mode")
    only_with(all_variants or bool(sweeps), "--all-variants or --sweep", "shard")
    only_with(not all_variants, "one variant, not with --all-variants", "variant")

    origin = runs.find(start) if start else None
    flags = {
        "seed": seed,
        "steps": steps,
        "batch": batch,
        "precision": precision,
        "label": label,
        "start": f"{origin.name} {files.sha256(origin.checkpoint)[:12]}" if origin else None,
    }

    def trained(asked: recipe.Recipe) -> runs.Run:
        open_split(runs.data_split(asked.data, runs.TRAIN))  # without data weights are no matter
        chosen, weights = backbones.chosen(asked, backbone)
        run = run_training(
            chosen,
            device,
            threads,
            force,
            weights,
            origin,
            compiled=compiled,
            tensorboard=tensorboard,
            compile_mode=compile_mode,
            workers=workers,
        )
        if distributed.team().first:
            from handbench.training import curves  # draws: not before there is something to draw

            curves.keep(run)
        click.echo(run.path)
        return run

    with distributed.joined(device):
        variants = registry.load("method", method).VARIANTS if all_variants else [variant]
        recipes = [
            recipe.make(
                method, name, preset, data, [*overrides, *each.overrides], **each.flags(flags)
            )
            for name in variants
            for each in sweep.settings(sweeps)
        ]
        done = sweep.train_all(recipes, trained, read_shard(shard))
        for score, name in sweep.ranking(done) if sweeps else []:
            say(f"validation MPJPE {score:6.1f} mm   {name}")
