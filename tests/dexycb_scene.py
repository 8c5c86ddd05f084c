"""DexYCB's split s1_val in miniature: one subject, two sequences, eight cameras, three moments."""

from functools import lru_cache
from pathlib import Path

import numpy as np

from handbench import files
from handbench.datasets.dexycb import DexYCB
from handbench.datasets.dexycb_lists import SERIALS
from handbench.datasets.trees import SYNTH_MARK
from handbench.hand import Hand
from handbench.records import Frame
from handbench.synthesis.dexycb import film, write_shots
from handbench.synthesis.takes import Shot

SPLIT = "s1_val"


def hands() -> dict[str, Hand]:
    return {side: Hand.open(side) for side in ("right", "left")}


@lru_cache(maxsize=1)
def shots() -> tuple[Shot, ...]:
    """Every picture of the tree with its truth."""
    return tuple(film((SPLIT,), hands()))


def mark(folder: Path) -> None:
    """Say that the tree's hands are the open hands, as `handbench synth` does."""
    files.write_json(folder / SYNTH_MARK, {"hand_model": {"sha256": Hand.open().sha256}})


def write(folder: Path, cameras: tuple[str, ...] = SERIALS) -> Path:
    """The tree with the pictures of some cameras."""
    chosen = [shot for shot in shots() if shot.camera in cameras]
    write_shots(folder, (SPLIT,), chosen, hands())
    mark(folder)
    return folder


def read(raw: Path, split: str = SPLIT, **options) -> list[Frame]:
    reader = DexYCB(split, raw=raw, **options)
    return [frame for plan in reader.plan() for frame in reader.frames(plan)]


def edit_labels(path: Path, **changes: np.ndarray) -> None:
    """Replace arrays of a labels file; None takes one out."""
    with np.load(path) as archive:
        content = {name: archive[name] for name in archive.files}
    content |= changes
    np.savez(path, **{name: value for name, value in content.items() if value is not None})
