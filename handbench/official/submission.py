"""Predictions -> the files that the official evaluators take, and checks of such files."""

import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from handbench import predictions as prediction_files
from handbench.console import progress
from handbench.errors import DataError
from handbench.files import replacing
from handbench.official.dexycb import read_results
from handbench.official.hands import (
    CONVENTIONS,
    Computed,
    PlacedHands,
    Points,
    official_hands,
    place,
    rows_for,
)
from handbench.official.ho3d import OFFICIAL_SAMPLES
from handbench.official.inputs import unpacked
from handbench.official.jsonpoints import index
from handbench.official.suspects import misplaced
from handbench.store import Split

KINDS = {
    "ho3d": "HO-3D pred.json or .zip: OpenGL axes, HO-3D's joint order, metres",
    "freihand": "FreiHAND pred.json or .zip: OpenCV axes, metres",
    "dexycb": "DexYCB results .txt: index and 63 numbers in OpenCV axes, millimetres",
}
DEFAULT_NAME = {"ho3d": "pred.zip", "freihand": "pred.zip", "dexycb": "dexycb.txt"}
SLICE = 200
LENGTH_M = (0.04, 0.4)  # a hand's length lies between these
LONGEST_BONE = 0.45  # of that length; the longest finger bone of a hand is about a third


@dataclass(frozen=True)
class Written:
    """A submission: where it is, how many hands it has and whose wrists."""

    path: Path
    hands: int
    root_source: str


def export(
    kind: str,
    source: Path,
    split: Split,
    out: Path,
    root: str = "auto",
    subset: bool = False,
) -> Written:
    """Write the predictions.h5 source for a split in the official format of kind, atomically.

    Lines follow official_index. root as in `place`. Raises DataError when official lines are
    missing and subset is not asked for, or a value is not finite.
    """
    found = prediction_files.read(source)
    hands, row = rows_for(found, official_hands(split, kind), source, subset)
    _check_complete(hands.number, split, kind, subset)
    placed, root_source = place(found, source, row, hands.wrist_m(), kind, root)
    if kind == "dexycb":
        _write_text(placed, hands.number, out)
    else:
        _write_json(placed, out)
    return Written(out, len(hands), root_source)


def _check_complete(number: NDArray, split: Split, kind: str, subset: bool) -> None:
    """DexYCB lines carry their index; the lists of the others must have every line."""
    if subset or kind == "dexycb":
        return
    wanted = official_count(split.name) or int(number[-1]) + 1
    if not np.array_equal(number, np.arange(wanted)):
        gaps = np.setdiff1d(np.arange(wanted), number)
        first = f"; the first missing is {gaps[0]}" if len(gaps) else ""
        raise DataError(
            f"{split.name} has {len(number):,} of the {wanted:,} official lines{first}: the "
            "official evaluator refuses such a file. Take --subset to write it all the same"
        )


def _write_json(placed: PlacedHands, out: Path) -> None:
    verts = placed.verts()
    if verts is None:
        raise DataError(f"{placed.path} has no verts_m: {out.name} needs joints and vertices")
    joints = placed.joints()
    with (
        replacing(out) as temporary,
        _opened(temporary, out) as file,
        progress(f"write {out.name}", len(joints) * 2, "samples") as advance,
    ):
        file.write(b"[")
        for number, points in enumerate((joints, verts)):
            file.write(b"[" if number == 0 else b", [")
            for start in range(0, len(points), SLICE):
                stop = min(start + SLICE, len(points))
                text = json.dumps(_finite(points, start, stop).tolist(), allow_nan=False)
                file.write((", " if start else "").encode() + text[1:-1].encode())
                advance(stop - start)
            file.write(b"]")
        file.write(b"]\n")


@contextmanager
def _opened(temporary: Path, out: Path) -> Iterator[BinaryIO]:
    """The file itself, or pred.json inside a zip when out is named so."""
    if out.suffix.lower() != ".zip":
        with open(temporary, "wb") as file:
            yield file
        return
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        # a fixed date, so that equal predictions give equal bytes
        entry = zipfile.ZipInfo("pred.json", (1980, 1, 1, 0, 0, 0))
        entry.compress_type = zipfile.ZIP_DEFLATED
        with archive.open(entry, "w", force_zip64=True) as inner:
            yield inner  # type: ignore[misc]


def _write_text(placed: PlacedHands, number: NDArray, out: Path) -> None:
    joints = placed.joints()
    with replacing(out) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for start in range(0, len(joints), SLICE):
            stop = min(start + SLICE, len(joints))
            in_mm = _finite(joints, start, stop) * 1000
            for k, values in zip(number[start:stop], in_mm.reshape(len(in_mm), -1).tolist()):
                file.write(",".join([str(k), *map(repr, values)]) + "\n")


def _finite(points: Computed, start: int, stop: int) -> NDArray[np.float64]:
    values = points.read(start, stop)
    broken = ~np.isfinite(values).all((1, 2))
    if broken.any():
        raise DataError(
            f"{points.path}: the prediction for official line {start + np.flatnonzero(broken)[0]} "
            "is not finite: the official evaluator would stop at it"
        )
    return values


def validate(path: Path, kind: str, samples: int | None = None) -> list[str]:
    """What an official evaluator, or a reader of its numbers, would object to; empty when fine.

    Form is checked by reading all of it; unit, axes and joint order by what hands look like.
    samples: the official count, where it is known. Raises DataError when the file is not of the
    format at all.
    """
    if kind == "dexycb":
        results = read_results(path)
        joints = np.array(list(results.values())).reshape(-1, 21, 3) / 1000
        found = [f"the joints of index {i} are not finite" for i in _broken(results)[:1]]
        return _count(len(results), samples) or found or _implausible(joints, kind)
    with unpacked(path) as plain:
        lists = index(plain, 2)
        found = _count(len(lists[0]), samples)
        if len(lists[0]) != len(lists[1]):
            found.append(f"{len(lists[0]):,} joint samples but {len(lists[1]):,} mesh samples")
        for points, wanted, what in zip(lists, (21, 778), ("joints", "vertices")):
            if len(points) and points.points_a_sample != wanted:
                found.append(f"{points.points_a_sample} {what} a sample, not {wanted}")
            found += _not_finite(points, what)
        return found or _implausible(lists[0].read(0, len(lists[0])), kind)


def _broken(results: Mapping[int, NDArray]) -> list[int]:
    return [i for i, joints in results.items() if not np.isfinite(joints).all()]


def _not_finite(points: Points, what: str) -> list[str]:
    for start in range(0, len(points), SLICE):
        values = points.read(start, min(start + SLICE, len(points)))
        broken = np.flatnonzero(~np.isfinite(values).all((1, 2)))
        if len(broken):
            return [f"the {what} of sample {start + broken[0]} are not finite"]
    return []


def _count(have: int, wanted: int | None) -> list[str]:
    if not have:
        return ["no sample"]
    return [f"{have:,} samples, not {wanted:,}"] if wanted not in (None, have) else []


def _implausible(joints_m: NDArray, kind: str) -> list[str]:
    """Unit, direction of the camera and joint order, judged by the median hand."""
    convention = CONVENTIONS[kind]
    length = float(np.median(np.linalg.norm(joints_m - joints_m[:, :1], axis=-1).max(1)))
    if not LENGTH_M[0] < length < LENGTH_M[1]:
        unit = "millimetres" if kind == "dexycb" else "metres"
        return [f"the median hand is {length:.3g} m long when read in {unit}: check the unit"]
    found = misplaced(joints_m, convention.axes[2])
    # along a finger neighbours are near; in a mistaken order some are a finger or more apart
    fingers = convention.ours(joints_m)[:, 1:].reshape(-1, 5, 4, 3)
    bones = np.linalg.norm(np.diff(fingers, axis=2), axis=-1)
    if float(np.median(bones.max((1, 2)))) > LONGEST_BONE * length:
        found.append("joints that should be neighbours lie far apart: check the joint order")
    return found


def official_count(split_name: str) -> int | None:
    """The official number of samples of an evaluation split; None where none is known."""
    name, _, part = split_name.partition("/")
    return OFFICIAL_SAMPLES.get(name) if part == "evaluation" else None
