"""handbench prepare NAME: a raw data set -> HDF5 with occlusion labels."""

import json
import os
from typing import Any

import click

from handbench.cli import complete
from handbench.cli.options import read_shard

FORCE = ("all", "labels")


class Prepare(click.Command):
    """Lets --force stand alone before NAME: what follows is its value only when it is one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        after = [*args[1:], ""]
        alone = [a == "--force" and b not in FORCE for a, b in zip(args, after)]
        return super().parse_args(
            ctx, ["--force=all" if bare else a for a, bare in zip(args, alone)]
        )


@click.command(cls=Prepare)
@click.argument("name", shell_complete=complete.data_sets)
@click.option(
    "--split", "splits", multiple=True, metavar="SPLIT", help="May be repeated.  [default: all]"
)
@click.option("--side", type=click.Choice(["right", "left", "both"]), help="Which hands.")
@click.option("--annotation", type=click.Choice(["human", "machine", "all"]), help="Whose labels.")
@click.option("--fps", type=click.Choice(["5", "30"]), help="Release of InterHand2.6M.")
@click.option("--sequences", metavar="LIST", help="File of all sequences, for part of DexYCB.")
@click.option("--seed", type=click.IntRange(0), help="Seed of a data set that is made up.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N frames.")
@click.option(
    "-o", "given", multiple=True, metavar="KEY=VALUE", help="An option of the reader; repeatable."
)
@click.option("--store-verts", is_flag=True, help="Keep vertices of meshes: 9 kB a hand.")
@click.option("--raw", type=click.Path(), help="Folder of the official download; only read.")
@click.option("--out", type=click.Path(), help="[default: $HANDBENCH_DATA, else ./data]")
@click.option("--workers", type=click.IntRange(1), help="Processes.  [default: one a core]")
@click.option("--shard", metavar="I/N", help="Only every N-th part, for job arrays.")
@click.option("--scheduler", metavar="ADDRESS", help="Dask scheduler whose workers do the work.")
@click.option("--crop", is_flag=True, help="Store the part of each picture that training needs.")
@click.option(
    "--reencode", type=click.IntRange(1, 100), metavar="Q", help="Pictures as JPEG of quality Q."
)
@click.option("--strict", is_flag=True, help="Stop at the first frame that would be skipped.")
@click.option("--dry-run", is_flag=True, help="Say rows, bytes and hours; write nothing.")
@click.option(
    "--force",
    type=click.Choice(FORCE),
    is_flag=False,
    flag_value="all",
    help="Make anew what is there: all (the default), or all but the stored pictures.",
)
@click.option("--json", "as_json", is_flag=True, help="A summary as JSON on stdout.")
def prepare(
    name: str,
    splits: tuple[str, ...],
    side: str | None,
    annotation: str | None,
    fps: str | None,
    sequences: str | None,
    seed: int | None,
    limit: int | None,
    given: tuple[str, ...],
    store_verts: bool,
    raw: str | None,
    out: str | None,
    workers: int | None,
    shard: str | None,
    scheduler: str | None,
    crop: bool,
    reencode: int | None,
    strict: bool,
    dry_run: bool,
    force: str | None,
    as_json: bool,
) -> None:
    """Prepare data set NAME: images, labels and occlusion in DIR/NAME/SPLIT/*.h5.

    \b
    handbench prepare synthetic
    handbench prepare interhand26m --raw ~/InterHand2.6M --split test --dry-run

    What an earlier run finished is kept: after an interruption the same command goes on.
    """
    from handbench import registry
    from handbench.console import say
    from handbench.preparing.readers import chosen_options, open_readers

    reader_class = registry.load("dataset", name)
    flags: dict[str, Any] = {"side": side, "annotation": annotation, "fps": fps}
    flags |= {"sequences": sequences, "seed": seed}
    options = chosen_options(reader_class, given, flags, strict)
    if scheduler and raw:
        raw = os.path.abspath(raw)  # a worker stands in another folder
    opened = open_readers(reader_class, splits, raw, options)
    part_of = read_shard(shard)

    from handbench.machine import usable_cores
    from handbench.preparing.pictures import Pictures
    from handbench.preparing.prepare import estimate
    from handbench.preparing.prepare import prepare as run

    cores = workers or usable_cores()
    pictures = Pictures.choose(crop, reencode)
    anew = force if force == "labels" else force is not None
    results: list[Any] = []
    for reader in opened:
        if dry_run:
            results.append(estimate(reader, out, cores, limit, pictures))
        else:
            results.append(
                run(
                    reader, out, cores, limit, anew, options, part_of, store_verts, pictures,
                    scheduler,
                )
            )  # fmt: skip
        if results[-1] is None:
            say(f"prepare   {name}/{reader.split}: this shard is done, others are not")
            continue
        for line in results[-1].lines():
            say(line)
    if as_json:
        done = [result.as_json() for result in results if result is not None]
        click.echo(json.dumps({"dataset": name, "dry_run": dry_run, "splits": done}, indent=2))
