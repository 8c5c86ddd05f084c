"""handbench speed: how large and how fast a method or a run is."""

import click

from handbench.cli import complete
from handbench.cli.options import only_with, torch_options, workers_option


@click.command()
@click.argument("what", metavar="METHOD|RUN", shell_complete=complete.methods)
@click.option("-v", "--variant", default="full", show_default=True, help="Of a METHOD.")
@click.option("--preset", help="Of a METHOD: tiny | paper.  [default: paper]")
@click.option(
    "--protocol",
    type=click.Choice(["handbench", "h2onet_table4"]),
    default="handbench",
    show_default=True,
    help="How many frames, after how many to warm up.",
)
@click.option("--end-to-end", is_flag=True, help="Also decoding and cropping, from prepared data.")
@click.option("--data", help="For --end-to-end: NAME/SPLIT; for --train: NAME.")
@click.option(
    "--form",
    type=click.Choice(["folded", "trained"]),
    default="folded",
    show_default=True,
    help="The network made for asking, or as it is trained.",
)
@click.option("--compile", "compiled", is_flag=True, help="torch.compile it first (minutes).")
@click.option("--train", "training", is_flag=True, help="Training steps instead, all included.")
@click.option("--steps", type=click.IntRange(1), default=20, show_default=True, help="For --train.")
@click.option("--batch", type=click.IntRange(1), help="For --train.  [default: the recipe's]")
@click.option("--precision", type=click.Choice(["fp32", "bf16", "fp16"]), help="For --train.")
@click.option(
    "--compile-mode",
    type=click.Choice(["default", "reduce-overhead"]),
    default="default",
    show_default=True,
    help="Of --train --compile; reduce-overhead: CUDA graphs.",
)
@click.option(
    "-o", "overrides", multiple=True, metavar="KEY=VALUE", help="For --train of a METHOD."
)
@torch_options
@workers_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
def speed(
    what: str,
    variant: str,
    preset: str | None,
    protocol: str,
    end_to_end: bool,
    data: str | None,
    form: str,
    compiled: bool,
    training: bool,
    steps: int,
    batch: int | None,
    precision: str | None,
    compile_mode: str,
    overrides: tuple[str, ...],
    device: str,
    threads: int,
    hand_layer: str,
    workers: int,
    as_json: bool,
) -> None:
    """Parameters, products, memory, latency and throughput of METHOD (random weights) or RUN.

    Published frames per second stand apart, with their GPU: they are no measurement of this
    machine. A RUN keeps the figures in its speed.json.

    \b
    handbench speed handoccnet
    handbench speed h2onet/full --end-to-end --device cuda
    handbench speed h2onet --train --data dexycb/s0 --batch 64 --precision bf16
    """
    try:
        import torch
    except ImportError as error:
        from handbench.errors import MissingPackage

        raise MissingPackage("torch", "train", "measuring speed") from error
    import json

    from handbench.console import say
    from handbench.hand_layer import choose
    from handbench.inference import speed as do
    from handbench.training import runs
    from handbench.training.train import pick_device

    only_with(
        training, "--train", "steps", "batch", "precision", "compile_mode", "workers", "overrides"
    )
    only_with(compiled, "--compile", "compile_mode")
    only_with(not training, "networks, not with --train", "protocol", "end_to_end", "form")
    only_with(training or end_to_end, "--end-to-end or --train", "data")
    choose(hand_layer)
    torch.set_num_threads(threads)
    if training:
        from handbench.training import training_speed

        flags = {"batch": batch, "precision": precision}
        chosen = do.recipe_of(what, variant, preset, data, overrides, flags)
        where = pick_device(device)
        found = training_speed.measure(chosen, where, steps, compiled, compile_mode, workers)
        text = training_speed.lines(found)
        click.echo(json.dumps(found, indent=2) if as_json else "\n".join(text))
        return
    one, where = do.subject(what, variant, preset), pick_device(device)
    figures = do.measure(one, protocol, where, form, compiled)
    if end_to_end:
        split = data or runs.data_split(one.recipe.data, runs.TEST)
        figures["end_to_end"] = do.end_to_end(one, split, protocol, where)
    click.echo(json.dumps(figures, indent=2) if as_json else "\n".join(do.lines(figures)))
    path = do.write(one, figures)
    if path:
        say(f"wrote {path}")
