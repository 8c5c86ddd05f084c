"""handbench synth --as NAME DIR: a miniature raw tree in a data set's official format."""

import click

from handbench.cli import complete


@click.command()
@click.argument("folder", type=click.Path(), metavar="DIR")
@click.option(
    "--as",
    "name",
    required=True,
    metavar="NAME",
    shell_complete=complete.data_sets,
    help="Whose format: dexycb, ….",
)
@click.option(
    "--split", "splits", multiple=True, metavar="SPLIT", help="May be repeated.  [default: all]"
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Other takes.")
@click.option("--force", is_flag=True, help="Write into a folder that holds something.")
def synth(folder: str, name: str, splits: tuple[str, ...], seed: int, force: bool) -> None:
    """Write synthetic takes below DIR as data set NAME is downloaded, to try `prepare` and others.

    \b
    handbench synth --as dexycb ./raw/dexycb --split s0
    handbench prepare dexycb --raw ./raw/dexycb --split s0

    The hands are handbench's own; no licensed data is needed or imitated beyond its file format.
    """
    import shlex

    from handbench import registry
    from handbench.console import amount, say
    from handbench.preparing.readers import named_splits
    from handbench.synthesis.writers import known_format, write_tree

    reader_class = registry.load("dataset", known_format(name))
    wanted = named_splits(reader_class, splits) or list(reader_class.splits)
    files, size = write_tree(name, folder, wanted, seed, force)
    chosen = "".join(f" --split {split}" for split in splits)
    say(f"synth     {name:<20} {amount(files, 'file')} · {size / 1e6:.1f} MB in {folder}")
    say(f"next:     handbench prepare {name} --raw {shlex.quote(folder)}{chosen}")
