"""Reading JSON files of many GB value by value, in memory that does not grow with the file."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from handbench.errors import DataError

BLOCK = 1 << 22  # characters read at a time
LARGEST = 1 << 26  # a single value longer than this means that the file is broken
SPACE = " \t\r\n"


def stream(path: str | Path, depth: int = 2) -> Iterator[tuple[tuple, Any]]:
    """Every value that lies `depth` containers deep, with its keys (names or list positions).

    `{"images": [a, b]}` gives (("images", 0), a), (("images", 1), b) at depth 2. Scalars nearer
    to the top are passed over. Raises DataError naming the file when it is missing, cut short or
    not JSON.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = _Text(file)
            yield from _values(text, depth, ())
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path} is not JSON ({error}): was it cut short?") from error


class _Text:
    """A window over the file: `peek` and `take` one sign, `value` one whole JSON value."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.buffer = ""
        self.place = 0
        self.decode = json.JSONDecoder().raw_decode

    def refill(self) -> bool:
        """Read one more block behind what is not yet used; False at the end of the file."""
        more = self.file.read(BLOCK)
        self.buffer = self.buffer[self.place :] + more
        self.place = 0
        return bool(more)

    def peek(self) -> str:
        while True:
            while self.place < len(self.buffer) and self.buffer[self.place] in SPACE:
                self.place += 1
            if self.place < len(self.buffer):
                return self.buffer[self.place]
            if not self.refill():
                raise json.JSONDecodeError("the text ends too early", "", 0)

    def take(self, expected: str) -> str:
        sign = self.peek()
        if sign not in expected:
            raise json.JSONDecodeError(f"found {sign!r} for one of {expected!r}", "", 0)
        self.place += 1
        return sign

    def value(self) -> Any:
        self.peek()
        while True:
            try:
                value, end = self.decode(self.buffer, self.place)
                # A number that touches the end of the window may go on in the next block.
                if end < len(self.buffer) or not self.refill():
                    self.place = end
                    return value
            except json.JSONDecodeError:
                if len(self.buffer) - self.place > LARGEST or not self.refill():
                    raise


def _values(text: _Text, depth: int, keys: tuple) -> Iterator[tuple[tuple, Any]]:
    opening = text.peek()
    if depth == 0:
        yield keys, text.value()
        return
    if opening not in "{[":
        text.value()
        return
    closing = "}" if opening == "{" else "]"
    text.take(opening)
    position = 0
    if text.peek() == closing:
        text.take(closing)
        return
    while True:
        key: Any = position
        if opening == "{":
            key = text.value()
            text.take(":")
        yield from _values(text, depth - 1, (*keys, key))
        position += 1
        if text.take("," + closing) == closing:
            return
