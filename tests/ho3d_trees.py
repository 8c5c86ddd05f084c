"""HO-3D's miniature trees and the takes that they show, made once for several test files."""

import pickle
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from handbench.datasets.ho3d import HO3Dv2, HO3Dv3
from handbench.hand import Hand
from handbench.records import Frame
from handbench.synthesis import ho3d
from handbench.synthesis.ho3d_parts import python2_pickle
from handbench.synthesis.takes import Shot
from handbench.synthesis.writers import write_tree

READERS = {"v2": HO3Dv2, "v3": HO3Dv3}
_film = ho3d.film
_KEPT = TemporaryDirectory(prefix="ho3d-trees-")


@lru_cache
def hands() -> dict[str, Hand]:
    return {side: Hand.open(side) for side in ("right", "left")}


@lru_cache
def shots() -> tuple[Shot, ...]:
    """All pictures of the trees; both versions show the same."""
    return tuple(_film(("train", "evaluation"), hands()))


@lru_cache
def tree(version: str) -> Path:
    """A whole tree as `handbench synth` makes it, not to be changed."""
    root = Path(_KEPT.name) / version
    with patch.object(ho3d, "film", return_value=shots()):
        write_tree(f"ho3d_{version}", root, ("train", "evaluation"))
    return root


def read(root: Path, version: str = "v3", split: str = "train", **options: Any) -> tuple[list, Any]:
    """The frames of a split, and the reader."""
    reader = READERS[version](split, root, **options)
    frames: list[Frame] = [f for plan in reader.plan() for f in reader.frames(plan)]
    return frames, reader


def edit(path: Path, **changes: Any) -> None:
    """Change fields of an annotation file; ... removes one."""
    content = pickle.loads(path.read_bytes(), encoding="latin1")
    content = {k: v for k, v in {**content, **changes}.items() if v is not ...}
    path.write_bytes(python2_pickle(content))
