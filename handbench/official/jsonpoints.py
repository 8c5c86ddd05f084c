"""Huge JSON lists of points, read a few hundred samples at a time and checked to the last bracket.

A file holds `[sample, …]` or `[[sample, …], [sample, …]]` with sample = `[[x, y, z], …]`.
"""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np
import simdjson
from numpy.typing import NDArray

from handbench.errors import DataError

_OPEN, _CLOSE, _COMMA, _QUOTE, _BRACE = 91, 93, 44, 34, 123
BLOCK = 8 << 20  # bytes looked at together
_LOCAL = threading.local()


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
        begin, end = int(self.starts[start]), int(self.stops[stop - 1])
        text = bytearray(end - begin + 2)
        text[0], text[-1] = _OPEN, _CLOSE
        with open(self.path, "rb", buffering=0) as file:
            file.seek(begin)
            file.readinto(memoryview(text)[1:-1])
        shape = (stop - start, self.points_a_sample, 3)
        try:
            numbers: Any = _parser().parse(text)
            found = np.frombuffer(numbers.as_buffer(of_type="d"), np.float64).reshape(shape)
        except (ValueError, TypeError, RuntimeError):
            found = self._read_slowly(text, start, shape)
        return found if self.factor is None else found * np.array(self.factor)

    def _read_slowly(
        self, text: bytearray, start: int, shape: tuple[int, ...]
    ) -> NDArray[np.float64]:
        """The standard parser: for NaN, which simdjson refuses, and to name what is wrong."""
        import json

        try:
            return np.array(json.loads(text), dtype=np.float64).reshape(shape)
        except (ValueError, TypeError) as error:
            raise DataError(
                f"{self.path}: a value between samples {start} and {start + shape[0]} is no "
                f"number ({error})"
            ) from error


def _parser() -> simdjson.Parser:
    """This thread's parser: a new one for every read would allocate its tape anew."""
    if not hasattr(_LOCAL, "parser"):
        _LOCAL.parser = simdjson.Parser()
    return _LOCAL.parser


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
    state = np.zeros(7, np.int64)
    state[LISTS] = -1
    rows, at = np.empty((1024, 4), np.int64), 0
    with open(path, "rb", buffering=0) as file:
        while block := file.read(BLOCK):
            data = np.frombuffer(block, np.uint8)
            rows, problem = _scan(data, at, 1 if lists == 2 else 0, state, rows)
            at += len(block)
            if problem:
                break
    if not problem and not state[ENDED]:
        problem = CUT_SHORT
    elif not problem and lists == 2 and state[LISTS] != 1:
        problem = NESTED
    if problem:
        told = _PROBLEMS[problem].format(sample=int(state[COUNT]), form=_FORMS[lists])
        raise DataError(f"{path}: {told}")
    found = rows[: state[COUNT]]
    parts = (found[found[:, OWNER] == k] for k in range(lists))
    return [PointList(path, *part.T[:OWNER].copy()) for part in parts]


def index_all(files: Sequence[tuple[str | Path, int]]) -> list[list[PointList]]:
    """`index` of several files (path, lists) at the same time."""
    with ThreadPoolExecutor(len(files)) as pool:
        return list(pool.map(lambda each: index(*each), files))


CUT_SHORT, NESTED = 2, 6
_PROBLEMS = {
    1: "is not a JSON list: expected [[[x, y, z], …], …]",
    2: "is cut short: a bracket is never closed",
    3: "sample {sample} has a point without exactly three numbers",
    4: "sample {sample} holds something else than lists of numbers",
    5: "text follows the end of the list",
    6: "is nested otherwise than {form} with sample = [[x, y, z], …]",
    7: "a comma is missing or too many at sample {sample}",
}
_FORMS = {1: "[sample, …]", 2: "[[joints of a sample, …], [vertices of a sample, …]]"}


# what the scan carries from block to block, and the columns of its rows
COUNT, DEPTH, COMMAS, INSIDE, LISTS, ENDED, BEFORE = range(7)
START, STOP, POINTS, OWNER = range(4)


@numba.njit(cache=True, nogil=True)
def _scan(data, offset, outer, state, rows):
    """Walk a block of bytes: check nesting, note where each sample begins and ends.

    offset: where the block stands in the file; outer: how many levels stand around a list of
    samples; state (7,): carried from block to block (COMMAS doubled, plus 1 inside a number; BEFORE
    the last bracket or comma);
    rows (R, 4): start, stop, points and owning list of each sample.
    Returns (rows, problem): rows may have grown; problem 0 is well.
    """
    count, depth, inside, lists = state[COUNT], state[DEPTH], state[INSIDE], state[LISTS]
    commas, number = state[COMMAS] >> 1, state[COMMAS] & 1 == 1
    ended, before = state[ENDED] == 1, state[BEFORE]
    sample_depth = 2 + outer
    problem = 0
    i = -1
    while i + 1 < len(data):
        i += 1
        c = data[i]
        if number:  # most of the file is digits
            while 45 <= c <= 57 and i + 1 < len(data):
                i += 1
                c = data[i]
        if c == 32 or c == 10 or c == 13 or c == 9:
            continue
        if ended:
            problem = 5
        elif c == _OPEN:
            depth += 1
            if number:
                problem = 4
            elif before == _CLOSE:
                problem = 7
            elif depth > sample_depth + 1:
                problem = NESTED
            elif depth == 1 + outer:
                lists += 1
            elif depth == sample_depth:
                if count == len(rows):
                    grown = np.empty((2 * count, 4), np.int64)
                    grown[:count] = rows
                    rows = grown
                rows[count, START] = offset + i
                inside = 0
            elif depth == sample_depth + 1:
                commas = 0
        elif c == _CLOSE:
            if depth == 0:
                problem = 1
            elif depth == sample_depth + 1:
                if commas != 2 or not number:
                    problem = 3
                inside += 1
            elif number:
                problem = 4
            elif before == _COMMA:
                problem = 7
            elif depth == sample_depth:
                rows[count, STOP] = offset + i + 1
                rows[count, POINTS] = inside
                rows[count, OWNER] = lists
                count += 1
            depth -= 1
            number = False
            ended = depth == 0
        elif c == _COMMA:
            if depth == sample_depth + 1:
                if not number:
                    problem = 3
                commas += 1
                number = False
            elif before != _CLOSE:
                problem = 7
        elif depth == 0:
            problem = 1
        elif c in (_QUOTE, _BRACE):
            problem = 4
        elif depth != sample_depth + 1:
            problem = NESTED
        else:
            number = True
        if problem:
            break
        if not number:
            before = c
    state[COUNT], state[DEPTH], state[INSIDE], state[LISTS] = count, depth, inside, lists
    state[COMMAS] = commas * 2 + (1 if number else 0)
    state[ENDED], state[BEFORE] = 1 if ended else 0, before
    return rows, problem
