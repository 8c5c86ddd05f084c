"""DexYCB's subjects, cameras, splits and numbering: which sequence is where, without a side file.

The rules are those of the official toolkit's class; sequences have no number of their own, they are
counted in the order of their names among a subject's 100.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbench.datasets.trees import page
from handbench.errors import DataError

SUBJECTS = (
    "20200709-subject-01", "20200813-subject-02", "20200820-subject-03", "20200903-subject-04",
    "20200908-subject-05", "20200918-subject-06", "20200928-subject-07", "20201002-subject-08",
    "20201015-subject-09", "20201022-subject-10",
)  # fmt: skip
SERIALS = (
    "836212060125", "839512060362", "840412060917", "841412060263", "932122060857",
    "932122060861", "932122061900", "932122062010",
)  # fmt: skip
EACH = 100  # sequences a subject: five of each of twenty grasped objects
PARTS = ("train", "val", "test")
SPLITS = tuple(f"s{setup}_{part}" for setup in range(4) for part in PARTS)
BY_POSITION = ("s0", "s3")  # setups that depend on a sequence's place among the 100
# Images of a split as published (toolkit, users' reports), labelled or not.
OFFICIAL = {"s0_train": 465_504, "s0_val": 23_200, "s0_test": 93_264, "s1_train": 407_088}
# The released methods' lists of them: images with an annotated hand.
RELEASED = {"s0_train": 406_888, "s0_test": 78_768}
EXPAND = 1.5  # the released loaders' box about all joints
NO_BOX = "left out by the released loaders: its box is empty"


@dataclass(frozen=True)
class Rule:
    """A split: subjects and cameras by number, and which of a subject's 100 sequences."""

    subjects: tuple[int, ...]
    cameras: tuple[int, ...]
    sequences: tuple[int, ...]


def rule_of(split: str) -> Rule:
    """The official rule of s0_train … s3_test."""
    setup, part = split.split("_")
    subjects, cameras, everything = tuple(range(10)), tuple(range(8)), tuple(range(EACH))
    if setup == "s0":
        last = part != "train"
        chosen = tuple(i for i in everything if (i % 5 == 4) == last)
        who = {"train": subjects, "val": (0, 1), "test": tuple(range(2, 10))}
        return Rule(who[part], cameras, chosen)
    if setup == "s1":
        who = {"train": (0, 1, 2, 3, 4, 5, 9), "val": (6,), "test": (7, 8)}
        return Rule(who[part], cameras, everything)
    if setup == "s2":
        seen = {"train": cameras[:6], "val": cameras[6:7], "test": cameras[7:]}
        return Rule(subjects, seen[part], everything)
    held = {"val": (3, 19), "test": (7, 11, 15)}
    held["train"] = tuple(o for o in range(20) if o not in (*held["val"], *held["test"]))
    return Rule(subjects, cameras, tuple(i for i in everything if i // 5 in held[part]))


def grasped_object(position: int) -> int:
    """YCB number that the sequence at a place 0..99 should grasp: 051_large_clamp never is."""
    ordinal = position // 5
    return ordinal + 1 if ordinal <= 17 else ordinal + 2


@dataclass(frozen=True)
class Sequence:
    """One sequence of a split, in official order.

    there: its folder exists; frames: as a list tells, else -1; name: empty where nobody knows it;
    position: its place among the subject's 100, -1 not known.
    """

    subject: int
    name: str
    position: int
    there: bool
    frames: int = -1

    @property
    def path(self) -> str:
        return f"{SUBJECTS[self.subject]}/{self.name}"


def find_sequences(root: Path, split: str, listed: Path | None) -> list[Sequence]:
    """The split's sequences in official order, those that are not there included.

    listed: a text file of all sequences, one `SUBJECT/SEQUENCE [FRAMES]` a line. Raises DataError
    for a subject folder without its 100 sequences in S0 and S3, where places would be wrong.
    """
    rule, by_position = rule_of(split), split[:2] in BY_POSITION
    known = {} if listed is None else read_list(listed)
    found: list[Sequence] = []
    for subject in rule.subjects:
        folder = root / SUBJECTS[subject]
        there = sorted(p.name for p in folder.glob("????????_??????") if p.is_dir())
        names = known.get(SUBJECTS[subject])
        frames: Mapping[str, int] = {}
        if names is not None:
            frames = names
            if odd := sorted(set(there) - set(names)):
                raise DataError(f"{folder / odd[0]} is not in {listed}: is the list the right one?")
        if len(there) > EACH:
            raise DataError(
                f"{folder} holds {len(there)} sequences, expected {EACH}: remove others"
            )
        complete = sorted(names) if names is not None else there
        if len(complete) == EACH:
            found += [
                Sequence(subject, name, i, name in there, frames.get(name, -1))
                for i, name in enumerate(complete)
                if i in rule.sequences
            ]
            continue
        if there and by_position:
            raise DataError(
                f"{folder} holds {len(there)} of {EACH} sequences, and {split} goes by their place "
                "in the whole: unpack all of the subject, or give all names with --sequences LIST "
                f"({page('dexycb')})"
            )
        lost = len(rule.sequences) - len(there)
        found += [Sequence(subject, "", -1, False)] * lost  # first: nothing after them has a number
        found += [Sequence(subject, name, -1, True) for name in there]
    return found


def read_list(path: Path) -> dict[str, dict[str, int]]:
    """subject -> {sequence: frames, -1 not told}, every subject with 100. Raises DataError."""
    found: dict[str, dict[str, int]] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--sequences {path} cannot be read ({error})") from error
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, *frames = line.split()
        subject, _, sequence = name.strip("/").partition("/")
        fits = subject in SUBJECTS and sequence.replace("_", "").isdigit() and len(frames) <= 1
        if not fits or not all(field.isdigit() for field in frames):
            raise DataError(
                f"{path}, line {number}: expected SUBJECT/SEQUENCE [FRAMES], for example "
                f"{SUBJECTS[0]}/20200709_141754 72"
            )
        found.setdefault(subject, {})[sequence] = int(frames[0]) if frames else -1
    for subject, names in found.items():
        if len(names) != EACH:
            raise DataError(f"{path} names {len(names)} sequences of {subject}, expected {EACH}")
    return found


def first_indices(frames: list[int], cameras: int) -> list[int]:
    """Official index of each sequence's first image, from its number of frames; -1 not known.

    The index runs over sequence, camera and frame, the frame fastest; after a sequence of unknown
    length (-1) nothing is known.
    """
    out, total = [], 0
    for count in frames:
        out.append(total)
        total = -1 if count < 0 or total < 0 else total + count * cameras
    return out


def loaders_keep(joints_px: NDArray[Any], size: tuple[int, int]) -> bool:
    """Whether the loaders of HandOccNet, HandGCAT and H2ONet train on a hand with these joints.

    joints_px (21,2). Their box, all joints' extent times 1.5, is moved into the picture at the
    left and top and cut at the right and bottom; what is empty then is dropped in training (and
    shown as a whole picture in testing).
    """
    low, high = joints_px.min(0).astype(np.float64), joints_px.max(0).astype(np.float64)
    side = (high - low) * EXPAND
    start = np.maximum((low + high - side) / 2, 0)
    end = np.minimum(start + np.maximum(side - 1, 0), np.array(size) - 1)
    return bool(side.min() > 0 and (end >= start).all())
