"""Writers of official formats: miniature trees of synthetic scenes, below a folder of one's choice.

A writer is a function `write(root, splits, hands, seed)` in a module of its own:

    root: Path, a new folder that it fills with exactly the official files (names, keys, dtypes,
        units, frames, joint orders, encodings), a few MB and a few seconds in all;
    splits: tuple of official split names; the tree must serve at least these, and holds no more
        than it must (what splits share is written once);
    hands: {"right": Hand, "left": Hand}, whose MANO parameters the tree carries;
    seed: int, same seed, same bytes.

Its scenes come from `takes.film_takes`. A row in TABLE makes it known to `handbench synth`.

Trees are written with the open hand, which everybody has, while official ones need the user's MANO
files. `write_tree` therefore leaves handbench_synth.json at the root, and readers ask
`datasets.trees.hands_of_tree(root)`: the open hands beside that file, else the user's MANO, else
None. Nothing else in a reader may look at the mark.
"""

import shutil
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from handbench import files
from handbench._version import VERSION
from handbench.datasets.trees import SYNTH_MARK
from handbench.errors import DataError, UnknownName
from handbench.hand import Hand

TABLE = {
    "dexycb": "handbench.synthesis.dexycb:write",
    "interhand26m": "handbench.synthesis.interhand26m:write",
    "fpha": "handbench.synthesis.fpha:write",
    "freihand": "handbench.synthesis.freihand:write",
    "h2o3d": "handbench.synthesis.h2o3d:write",
    "ho3d_v2": "handbench.synthesis.ho3d:write_v2",
    "ho3d_v3": "handbench.synthesis.ho3d:write_v3",
}


def known_format(name: str) -> str:
    """name, when there is a writer of it; raises UnknownName."""
    if name not in TABLE:
        raise UnknownName("official format to write", name, TABLE)
    return name


def write_tree(
    name: str, root: str | Path, splits: Sequence[str], seed: int = 0, force: bool = False
) -> tuple[int, int]:
    """Write a tree of data set `name` at root, with a mark that says whose hands it shows.

    It appears under its name when it is whole. force: write into a folder that holds something.
    Returns files and bytes. Raises UnknownName, and DataError for a folder that is not empty.
    """
    root = Path(root).expanduser()
    if root.exists() and not root.is_dir():
        raise DataError(f"{root} is a file; give a folder for the tree")
    full = root.is_dir() and any(root.iterdir())
    if full and not force:
        raise DataError(f"{root} is not empty; give a new folder, or --force to write into it")
    root.parent.mkdir(parents=True, exist_ok=True)
    module, _, function = TABLE[known_format(name)].partition(":")
    right, left = Hand.open("right"), Hand.open("left")
    hands = {"right": right, "left": left}
    mark = {
        "made_by": f"handbench {VERSION}",
        "dataset": name,
        "splits": list(splits),
        "seed": seed,
        "hand_model": {"kind": right.kind, "sha256": right.sha256},
    }
    with TemporaryDirectory(prefix=f".{root.name}.", dir=root.parent) as name_of:
        made = Path(name_of) / "tree"
        getattr(import_module(module), function)(made, tuple(splits), hands, seed)
        files.write_json(made / SYNTH_MARK, mark)
        sizes = [path.stat().st_size for path in made.rglob("*") if path.is_file()]
        if full:
            shutil.copytree(made, root, dirs_exist_ok=True)
        else:
            made.replace(root)
    return len(sizes), sum(sizes)
