"""HO-3D's and H2O-3D's lists: which frames, in which order, and who films the same take.

A list has one `SEQUENCE/0000` a line; its order is the order of official files and submissions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from handbench.errors import DataError

# Frames of the official lists: HO-3D by its evaluation code and papers, H2O-3D by users' counts.
OFFICIAL = {
    "ho3d_v2": {"train": 66_034, "evaluation": 11_524},
    "ho3d_v3": {"train": 83_325, "evaluation": 20_137},
    "h2o3d": {"train": 60_998, "evaluation": 15_342},
}
# Takes that several cameras film; the last digit of a sequence's name is then the camera.
GROUPS = (
    "ABF1", "AP1", "BB1", "GPMF1", "GSF1", "MDF1", "MPM1", "SB1", "ShSu1", "SiBF1", "SMu4",
)  # fmt: skip
EVERY = 20  # H2ONet's loader validates on so many-th lines


@dataclass(frozen=True)
class Line:
    """One line of a list: `number` counts lines from 0, `frame` is the file's."""

    sequence: str
    frame: int
    number: int


def read_list(path: Path) -> list[Line]:
    """The lines of train.txt or evaluation.txt. Raises DataError naming the line that is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(
            f"{path} is missing: the list of frames comes with the data set, beside train/ and "
            "evaluation/"
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text ({error}): unpack it again") from None
    found = []
    for number, line in enumerate(text.split()):
        sequence, _, frame = line.partition("/")
        if not (sequence.isalnum() and frame.isdecimal()):
            raise DataError(f"{path}, line {number + 1}: expected SEQ/0000, found '{line[:40]}'")
        found.append(Line(sequence, int(frame), number))
    if len({(each.sequence, each.frame) for each in found}) < len(found):
        raise DataError(f"{path} lists a frame twice: is it the original file?")
    if not found:
        raise DataError(f"{path} is empty: unpack it again")
    return found


def _everything(lines: list[Line]) -> list[Line]:
    return lines


def _validation(lines: list[Line]) -> list[Line]:
    """Every 20th of the sorted lines, from the first on."""
    ordered = sorted(lines, key=lambda each: f"{each.sequence}/{each.frame:04d}".encode())
    return ordered[::EVERY]


def _without_validation(lines: list[Line]) -> list[Line]:
    left_out = set(_validation(lines))
    return [each for each in lines if each not in left_out]


# Lists of the released loaders, by name. "handoccnet" (HandGCAT's too) leaves out by the box,
# which the reader sees to; the last two are the parts of H2ONet's train list.
LISTS: dict[str, Callable[[list[Line]], list[Line]]] = {
    "official": _everything,
    "handoccnet": _everything,
    "h2onet": _without_validation,
    "h2onet_val": _validation,
}


def take_of(sequence: str) -> tuple[str, str]:
    """(take, camera) of an HO-3D sequence: SB13 -> SB1, 3; sequences of one camera have camera 0.

    The take SB1 is in both splits: cameras 0, 2, 4 in train, 1, 3 in evaluation.
    """
    group = sequence[:-1]
    return (group, sequence[-1]) if group in GROUPS else (sequence, "0")


def take_of_h2o3d(sequence: str) -> tuple[str, str]:
    """(take, camera) of an H2O-3D sequence: its name ends with the camera's digit."""
    return (sequence[:-1], sequence[-1]) if sequence[-1:].isdigit() else (sequence, "0")


def moment(take: str, frame: int) -> int:
    """A number that all cameras of a take share at one moment, in whichever split they are."""
    return crc32(take.encode()) * 10_000 + frame


def subject_of(shape: NDArray) -> int:
    """A number made of the shape (10,) of a hand: the files name no person, but a person has one
    shape throughout."""
    return crc32((np.round(shape, 4) + 0.0).astype("<f4").tobytes()) & 0x7FFFFFFF


def clips(frames: NDArray[np.int64], listed: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of the gap-free run of each frame; the usual step is that of the listed frames."""
    steps, counts = np.unique(np.diff(listed), return_counts=True)
    usual = steps[counts.argmax()] if len(steps) else 0
    return np.concatenate([[0], np.cumsum(np.diff(frames) > usual)])
