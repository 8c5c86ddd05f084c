"""handbench import METHOD FILE: the authors' weights as a run."""

from pathlib import Path

import click

from handbench.cli import complete


@click.command("import")
@click.argument("method", shell_complete=complete.methods)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="The run's folder.")
@click.option(
    "--topology",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Mesh hierarchy: template.ply, transform.pkl or .npz; h2onet needs one.",
)
@click.option(
    "--data", default="ho3d_v2", show_default=True, help="What the weights were trained on."
)
@click.option("--force", is_flag=True, help="Replace a run that stands there.")
def import_(
    method: str, file: Path, out: Path | None, topology: Path | None, data: str, force: bool
) -> None:
    """Make a run of the checkpoint FILE of METHOD's authors; predict, eval and speed then work.

    Nothing in FILE is executed. Hand model parameters in it are left there: your MANO, else the
    open hand, stands in.

    \b
    handbench import handoccnet snapshot_69.pth.tar --data ho3d_v2
    handbench import h2onet multi_frame.pth --topology template.ply --data dexycb/s0
    """
    try:
        import torch  # noqa: F401
    except ImportError as error:
        from handbench.errors import MissingPackage

        raise MissingPackage("torch", "train", "importing weights") from error
    from handbench.inference.importing import make_run

    click.echo(make_run(method, file, data, out, topology, force).path)
