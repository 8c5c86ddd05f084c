"""handbench speed: how large and how fast a method or a run is."""

import click

from handbench.cli.options import torch_options


@click.command()
@click.argument("what", metavar="METHOD|RUN")
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
@click.option("--data", help="For --end-to-end: NAME/SPLIT.  [default: the run's test split]")
@click.option(
    "--form",
    type=click.Choice(["folded", "trained"]),
    default="folded",
    show_default=True,
    help="The network made for asking, or as it is trained.",
)
@click.option("--compile", "compiled", is_flag=True, help="torch.compile it first (minutes).")
@torch_options
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
    device: str,
    threads: int,
    hand_layer: str,
    as_json: bool,
) -> None:
    """Parameters, products, memory, latency and throughput of METHOD (random weights) or RUN.

    Published frames per second stand apart, with their GPU: they are no measurement of this
    machine. A RUN keeps the figures in its speed.json.

    \b
    handbench speed handoccnet
    handbench speed h2onet/full --end-to-end --device cuda
    """
    try:
        import torch
    except ImportError as error:
        from handbench.errors import MissingPackage

        raise MissingPackage("torch", "train", "measuring speed") from error
    import json

    from handbench.console import say
    from handbench.hand_layer import choose
    from handbench.training import runs
    from handbench.training import speed as do
    from handbench.training.train import pick_device

    choose(hand_layer)
    torch.set_num_threads(threads)
    one, where = do.subject(what, variant, preset), pick_device(device)
    figures = do.measure(one, protocol, where, form, compiled)
    if end_to_end:
        split = data or runs.data_split(one.recipe.data, runs.TEST)
        figures["end_to_end"] = do.end_to_end(one, split, protocol, where)
    click.echo(json.dumps(figures, indent=2) if as_json else "\n".join(do.lines(figures)))
    path = do.write(one, figures)
    if path:
        say(f"wrote {path}")
