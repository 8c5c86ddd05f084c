"""Occlusion and recordings of samples that are known by their line in an official list only."""

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbench.errors import DataError
from handbench.frames import FINGERS
from handbench.rules import DEFAULT, LEVELS, UNKNOWN
from handbench.scoring.truth import of_split
from handbench.store import open_split


def read_levels(source: Path | None, number: NDArray) -> dict[str, NDArray]:
    """level (N,) index into LEVELS, -1 unknown, and finger_visible (N,5), 255 unknown.

    source: a CSV of `handbench show NAME/SPLIT --levels`, or a prepared split NAME/SPLIT; matched
    by official index. Raises DataError when it names none of the samples.
    """
    level = np.full(len(number), -1)
    fingers = np.full((len(number), len(FINGERS)), UNKNOWN, np.uint8)
    if source is not None:
        known = _of_csv(source) if source.is_file() else _of_split(source)
        named = [k for k, each in enumerate(number.tolist()) if each in known]
        if not named:
            raise DataError(f"{source}: no official_index of it is among the scored samples")
        for k in named:
            level[k], fingers[k] = known[int(number[k])]
    return {"level": level, "finger_visible": fingers}


def _of_csv(path: Path) -> dict[int, tuple[int, list[int]]]:
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return {
                int(row["official_index"]): (
                    _level(row["level"]),
                    [int(row.get(f"{name}_{DEFAULT}") or UNKNOWN) for name in FINGERS],
                )
                for row in csv.DictReader(file)
            }
    except (KeyError, ValueError) as error:
        raise DataError(
            f"{path} is no level list ({error}): it needs official_index and level as "
            "handbench show NAME/SPLIT --levels writes them"
        ) from error


def _level(text: str) -> int:
    if text and text not in LEVELS:
        raise ValueError(f"level '{text}' is none of {', '.join(LEVELS)}")
    return LEVELS.index(text) if text else -1


def _of_split(name: Path) -> dict[int, tuple[int, list[int]]]:
    if name.suffix == ".csv":
        raise DataError(f"{name} does not exist")
    truth = of_split(open_split(name.as_posix()))
    rows = zip(truth.per_row("official_index"), truth.level(), truth.finger_visible())
    return {int(index): (int(level), fingers.tolist()) for index, level, fingers in rows}


def takes(ground_truth: Path, number: NDArray) -> dict[str, NDArray]:
    """Sequence and recording of each sample from evaluation.txt, where it stands by the truth.

    A recording is a HO-3D sequence without its last digit, the camera. Without the list all
    samples count as one recording, so no interval is given.
    """
    lines = listed_images(ground_truth)
    if len(lines) <= int(number.max()):
        return {name: np.zeros(len(number), np.int64) for name in ("sequence", "recording")}
    names = np.array([line.split("/")[0] for line in lines])[number]
    recordings: Any = [re.sub(r"\d$", "", name) for name in names]
    return {
        "sequence": np.unique(names, return_inverse=True)[1],
        "recording": np.unique(recordings, return_inverse=True)[1],
    }


def listed_images(ground_truth: Path) -> list[str]:
    """The lines SEQUENCE/NUMBER of evaluation.txt in or above a folder; empty without it."""
    for folder in (ground_truth, ground_truth.parent):
        if (folder / "evaluation.txt").is_file():
            return (folder / "evaluation.txt").read_text(encoding="utf-8").split()
    return []
