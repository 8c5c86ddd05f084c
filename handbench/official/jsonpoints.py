"""Huge JSON lists of points, read a few hundred samples at a time and checked to the last bracket.

A file holds `[sample, …]` or `[[sample, …], [sample, …]]` with sample = `[[x, y, z], …]`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np
import simdjson
from numpy.typing import NDArray

from handbench.errors import DataError

_OPEN, _CLOSE, _COMMA, _QUOTE, _BRACE = 91, 93, 44, 34, 123


@dataclass(frozen=True)
class PointList:
    """Where the samples of one list stand in a file: sample i is bytes[starts[i]:stops[i]]."""

    path: Path
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    points: NDArray[np.int64]
    factor: tuple[float, float, float] | None = None  # applied to every point when it is read

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def points_a_sample(self) -> int:
        """Raises DataError naming the first sample that has another count than sample 0."""
        if not len(self):
            return 0
        other = np.flatnonzero(self.points != self.points[0])
        if len(other):
            raise DataError(
                f"{self.path}: sample {other[0]} has {self.points[other[0]]} points, "
                f"sample 0 has {self.points[0]}: every sample needs the same number"
            )
        return int(self.points[0])

    def read(self, start: int, stop: int) -> NDArray[np.float64]:
        """Samples start to stop as (n, points, 3); JSON's NaN and Infinity are understood."""
        with open(self.path, "rb") as file:
            file.seek(int(self.starts[start]))
            text = file.read(int(self.stops[stop - 1] - self.starts[start]))
        shape = (stop - start, self.points_a_sample, 3)
        try:
            numbers: Any = simdjson.Parser().parse(b"[" + text + b"]")
            found = np.frombuffer(numbers.as_buffer(of_type="d"), np.float64).reshape(shape)
        except (ValueError, TypeError, RuntimeError):
            found = self._read_slowly(text, start, shape)
        return found if self.factor is None else found * np.array(self.factor)

    def _read_slowly(self, text: bytes, start: int, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """The standard parser: for NaN, which simdjson refuses, and to name what is wrong."""
        import json

        try:
            return np.array(json.loads(b"[" + text + b"]"), dtype=np.float64).reshape(shape)
        except (ValueError, TypeError) as error:
            raise DataError(
                f"{self.path}: a value between samples {start} and {start + shape[0]} is no "
                f"number ({error})"
            ) from error


def index(path: str | Path, lists: int) -> list[PointList]:
    """The samples of a file of one list (lists=1) or of `[list, list]` (lists=2).

    Raises DataError when the file is missing, is not JSON of this form, or is cut short; names the
    sample when a point has not three numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} does not exist")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty")
    data = np.memmap(path, np.uint8, mode="r")
    problem, where, starts, stops, points, owner = _scan(data, 1 if lists == 2 else 0)
    if problem:
        raise DataError(f"{path}: {_PROBLEMS[problem].format(sample=where, lists=lists)}")
    return [
        PointList(path, starts[owner == k], stops[owner == k], points[owner == k])
        for k in range(lists)
    ]


_PROBLEMS = {
    1: "is not a JSON list: expected [[[x, y, z], …], …]",
    2: "is cut short: a bracket is never closed",
    3: "sample {sample} has a point without exactly three numbers",
    4: "sample {sample} holds something else than lists of numbers",
    5: "text follows the end of the list",
    6: "is nested otherwise than expected ({lists} list(s) of samples of [x, y, z])",
}


@numba.njit(cache=True, nogil=True)
def _scan(data, outer):
    """Walk all bytes: check nesting, note where each sample begins and ends.

    outer: how many levels stand around a list of samples. Returns (problem, sample, starts,
    stops, points, owner); problem 0 is well.
    """
    room = 1024
    starts = np.empty(room, np.int64)
    stops = np.empty(room, np.int64)
    points = np.empty(room, np.int64)
    owner = np.empty(room, np.int64)
    count, depth, commas, inside, lists = 0, 0, 0, 0, -1
    sample_depth = 2 + outer
    ended, number = False, False
    for at in range(len(data)):
        c = data[at]
        if c in (32, 10, 13, 9):
            continue
        if ended:
            return 5, count, starts, stops, points, owner
        if c == _OPEN:
            if number:
                return 4, count, starts, stops, points, owner
            depth += 1
            if depth > sample_depth + 1:
                return 6, count, starts, stops, points, owner
            if depth == 1 + outer:
                lists += 1
            elif depth == sample_depth:
                if count == room:
                    room *= 2
                    starts, stops = _grow(starts, room), _grow(stops, room)
                    points, owner = _grow(points, room), _grow(owner, room)
                starts[count] = at
                inside = 0
            elif depth == sample_depth + 1:
                commas = 0
        elif c == _CLOSE:
            if depth == 0:
                return 1, count, starts, stops, points, owner
            if depth == sample_depth + 1:
                if commas != 2 or not number:
                    return 3, count, starts, stops, points, owner
                inside += 1
            elif number:
                return 4, count, starts, stops, points, owner
            elif depth == sample_depth:
                stops[count] = at + 1
                points[count] = inside
                owner[count] = lists
                count += 1
            depth -= 1
            number = False
            ended = depth == 0
        elif c == _COMMA:
            if depth == sample_depth + 1:
                if not number:
                    return 3, count, starts, stops, points, owner
                commas += 1
                number = False
        else:
            if depth == 0:
                return 1, count, starts, stops, points, owner
            if c in (_QUOTE, _BRACE):
                return 4, count, starts, stops, points, owner
            if depth != sample_depth + 1:
                return 6, count, starts, stops, points, owner
            number = True
    if not ended:
        return 2, count, starts, stops, points, owner
    if outer == 1 and lists != 1:
        return 6, count, starts, stops, points, owner
    return 0, count, starts[:count], stops[:count], points[:count], owner[:count]


@numba.njit(cache=True, nogil=True)
def _grow(values, room):
    grown = np.empty(room, np.int64)
    grown[: len(values)] = values
    return grown
