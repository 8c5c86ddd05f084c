"""handbench show: draw or list what is in a prepared split, or in one of handbench's files."""

from pathlib import Path
from typing import Any

import click

from handbench.cli import complete
from handbench.cli.options import only_with

SHEET = 24
PICTURES = (".png", ".jpg", ".jpeg")
FILES = (".h5", ".json", ".npz")
DRAWING = ("index", "name", "count", "sheet", "seed", "rule", "out", "obj", "levels")


@click.command()
@click.argument("target", metavar="NAME/SPLIT|FILE", shell_complete=complete.splits)
@click.option("--index", type=int, help="Draw this image (0 is the first; -1 the last).")
@click.option("--id", "name", help="Draw the image of this id.")
@click.option("--random", "count", type=click.IntRange(1), help="Draw N images at random.")
@click.option("--sheet", is_flag=True, help=f"A contact sheet of {SHEET} random images.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Which random images."
)
@click.option("--rule", default="released", show_default=True, help="Finger rule: released, paper.")
@click.option("--data-dir", type=click.Path(file_okay=False), help="Folder of prepared data.")
@click.option("--out", type=click.Path(dir_okay=False), help="The picture [NAME-SPLIT-INDEX.png].")
@click.option("--obj", type=click.Path(dir_okay=False), help="Write the hand meshes (OBJ).")
@click.option(
    "--levels", type=click.Path(dir_okay=False), help="Write level and flags of every hand (CSV)."
)
@click.option("--json", "as_json", is_flag=True, help="Print what is found as JSON on stdout.")
def show(
    target: str,
    index: int | None,
    name: str | None,
    count: int | None,
    sheet: bool,
    seed: int,
    rule: str,
    data_dir: str | None,
    out: str | None,
    obj: str | None,
    levels: str | None,
    as_json: bool,
) -> None:
    """Draw images of a prepared split with joints, boxes, meshes and labels; or list a file.

    \b
    handbench show synthetic/test --index 12
    handbench show synthetic/test --sheet --out sheet.png
    handbench show synthetic/test --levels levels.csv
    handbench show results/runs/h2onet/full/…/predictions.h5
    """
    if Path(target).is_file() or Path(target).suffix in FILES:
        only_with(False, "NAME/SPLIT", *DRAWING)
        from handbench.showing.contents import describe

        report(describe(Path(target)), as_json)
        return
    from handbench import files
    from handbench.console import amount, say
    from handbench.errors import HandbenchError, UnknownName
    from handbench.rules import RULES
    from handbench.showing import overlay
    from handbench.showing.draw import encoded
    from handbench.store import open_split

    if rule not in RULES:
        raise UnknownName("rule", rule, RULES)
    if out and Path(out).suffix.lower() not in PICTURES:
        raise HandbenchError(f"--out {out}: give a name that ends in .png or .jpg")
    split = open_split(target, data_dir)
    many = SHEET if sheet else count or 0
    if sum([index is not None, name is not None, bool(many)]) > 1:
        raise HandbenchError("give one of --index, --id, and --random or --sheet")
    if levels:
        from handbench.showing.occlusion_list import occlusion_list

        table = occlusion_list(split)
        with files.replacing(levels) as temporary:
            table.to_csv(temporary, index=False)
        say(f"{amount(len(table), 'hand')} written to {levels}")
    only_with(bool(many), "--random or --sheet", "seed")
    rows = pick(split, index, name, many, seed)
    if not rows:
        if obj or out:
            raise HandbenchError("which image? Give --index, --id, --random or --sheet")
        if not levels or as_json:
            report(summary(split), as_json)
        return
    if obj:
        if len(rows) > 1:
            raise HandbenchError("--obj writes one image's hands: give --index or --id")
        say(f"{amount(overlay.write_obj(split, rows[0], Path(obj)), 'hand')} written to {obj}")
    one = len(rows) == 1 and not sheet
    picture = overlay.picture(split, rows[0], rule) if one else overlay.sheet(split, rows, rule)
    suffix = str(rows[0]) if one else "sheet"
    path = Path(out or f"{split.name.replace('/', '-')}-{suffix}.png")
    files.write_bytes(path, encoded(picture, path.suffix.lower()))
    say(f"picture written to {path}")
    if as_json:
        report({"split": split.name, "records": [record(split, row) for row in rows]}, True)


def pick(split: Any, index: int | None, name: str | None, many: int, seed: int) -> list[int]:
    """Row numbers asked for; empty when none was."""
    import numpy as np

    from handbench.errors import HandbenchError

    if index is not None:
        if not -len(split) <= index < len(split):
            raise HandbenchError(f"{split.name} has images 0 to {len(split) - 1}, no {index}")
        return [index % len(split)]
    if name is not None:
        found = np.flatnonzero(split.columns["id"] == name)
        if not len(found):
            first = split.columns["id"][0]
            raise HandbenchError(f"{split.name} has no image '{name}'; its ids are like '{first}'")
        return [int(found[0])]
    if not many:
        return []
    rng = np.random.default_rng(seed)
    return sorted(rng.choice(len(split), min(many, len(split)), replace=False).tolist())


def record(split: Any, row: int) -> dict[str, Any]:
    """What is known of one image, as plain values (NaN becomes null)."""
    from handbench.schema import SIDES

    columns = split.columns
    found: dict[str, Any] = {"index": row}
    for key in ("id", "frame_number", "clip", "official_index", "image_size", "K"):
        found[key] = plain(columns[key][row])
    for side in SIDES:
        if columns[f"{side}/present"][row] == 1:
            found[side] = {
                key: plain(columns[f"{side}/{key}"][row])
                for key in ("joints_m", "joints_px", "joints_valid", "box_px", "fit_error_mm")
                + ("visibility/scene/hand", "visibility/scene/finger", "occlusion_cause")
            }
    return found


def summary(split: Any) -> dict[str, Any]:
    """Counts, attributes and columns of a split."""
    import numpy as np

    from handbench.rules import LEVELS, level

    found = level(split.hand_column("visibility/scene/hand"))
    counts = {name: int((found == i).sum()) for i, name in enumerate(LEVELS)}
    return {
        "split": split.name,
        "images": len(split),
        "hands": {
            "right": int((~split.hands.is_left).sum()),
            "left": int(split.hands.is_left.sum()),
        },
        "sequences": len(split.sequences["rows"]),
        "recordings": len(np.unique(split.columns["recording"])),
        "hands at occlusion level (%)": {**counts, "unknown": int((found < 0).sum())},
        "attributes": split.attributes,
        "columns": list(split.columns),
    }


def plain(value: Any) -> Any:
    """Arrays as lists of ordinary numbers; what is not finite becomes None."""
    import numpy as np

    array = np.asarray(value)
    if array.dtype.kind == "f":
        known = np.isfinite(array)
        array = array.astype(object)
        array[~known] = None
    return array.tolist()


def report(found: dict[str, Any], as_json: bool) -> None:
    """Print a nested description on stdout."""
    import json

    if as_json:
        click.echo(json.dumps(found, indent=2, default=str))
        return
    for key, value in found.items():
        if isinstance(value, dict):
            click.echo(f"{key}:")
            for name, what in value.items():
                click.echo(f"  {name:<36} {shortened(what)}")
        elif isinstance(value, list):
            click.echo(f"{key}: {len(value)} ({shortened(', '.join(map(str, value)))})")
        else:
            click.echo(f"{key}: {value}")


def shortened(value: Any, most: int = 110) -> str:
    """One line for people; --json gives all of it."""
    text = " ".join(str(value).split())
    return text if len(text) <= most else text[: most - 2] + " …"
