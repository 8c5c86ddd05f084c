"""Writing part files: rows are assembled in memory and written in one go, the same bytes each time.

Layout: every column a contiguous dataset; images as one flat array with offsets, which is read
by one pread. No time stamps and no order of hash tables gets into a file.
"""

import io
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from handbench.errors import DataError, ShapeError
from handbench.files import replacing
from handbench.records import Frame, HandLabels
from handbench.rules import DEFAULT, RULES
from handbench.schema import (
    BYTES,
    COLUMNS,
    FORMAT,
    FORMAT_VERSION,
    RESERVED,
    SIDES,
    TEXT,
    Column,
    extra_column,
    frame_values,
    label_values,
)

BLOCK = 256  # rows of image bytes joined for one write


class _Sink(io.FileIO):
    """A file below HDF5 that keeps the first failure to itself and swallows what comes after.

    HDF5 cannot close a file it fails to write, and reports no errno; so the library is left in
    peace and the failure is raised afterwards, as the plain OSError it was.
    """

    failure: OSError | None = None

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        size = len(view)
        try:
            while self.failure is None and len(view):
                view = view[super().write(view) :]
        except OSError as error:
            self.failure = error
        return size

    def truncate(self, size: int | None = None) -> int:
        try:
            if self.failure is None:
                return super().truncate(size)
        except OSError as error:
            self.failure = error
        return size or 0


@contextmanager
def writing(path: Path) -> Iterator[h5py.File]:
    """A new HDF5 file that appears under its name when the block ends well.

    Raises OSError with errno and the file's name when the disk is full.
    """
    with replacing(path) as temporary, _Sink(temporary, "w+") as sink:
        try:
            with h5py.File(sink, "w") as file:
                yield file
            if sink.failure is None:
                os.fsync(sink.fileno())
        except (OSError, RuntimeError):
            if sink.failure is None:
                raise
        if sink.failure is not None:
            raise OSError(sink.failure.errno, sink.failure.strerror, str(path)) from None


def write_attributes(file: h5py.File, attributes: Mapping[str, Any]) -> None:
    """Numbers and text as they are, all else as JSON; in order of name."""
    own = {"format": FORMAT, "format_version": FORMAT_VERSION}
    for name, value in sorted({**attributes, **own}.items()):
        plain = isinstance(value, str | int | float | np.generic)
        file.attrs[name] = value if plain else json.dumps(value, sort_keys=True)


def write_text(group: h5py.Group, path: str, values: NDArray) -> h5py.Dataset:
    """Text as fixed-length UTF-8: contiguous, unlike variable-length strings."""
    encoded = np.array([str(value).encode() for value in values.ravel()], dtype="S")
    length = max(1, encoded.dtype.itemsize)
    text = encoded.reshape(values.shape).astype(h5py.string_dtype("utf-8", length))
    return group.create_dataset(path, data=text)


class Part:
    """The rows of one part file, filled frame by frame and written at the end.

    rows: at most so many. store_verts: keep S/verts_m, 9 kB a hand, where a frame has them.
    """

    def __init__(self, rows: int, store_verts: bool = False) -> None:
        self.rows, self.count, self.store_verts = rows, 0, store_verts
        self.columns: dict[str, Column] = {}
        self.arrays: dict[str, NDArray] = {}
        self.extras: dict[str, dict[int, NDArray]] = {}
        self.bytes: dict[str, list[bytes]] = {name: [] for name in BYTES}
        self.windows: list[tuple[int, int, int, int]] = []

    def add(
        self,
        frame: Frame,
        labels: Mapping[str, HandLabels] | None = None,
        segmentation: bytes | None = None,
        stored: tuple[bytes, tuple[int, int, int, int]] | None = None,
    ) -> None:
        """Append one frame; stored: what to keep of its picture, and which window that is.

        Raises ShapeError naming the frame and the column that does not fit.
        """
        for path, value in frame_values(frame):
            self._put(frame, COLUMNS[path], value)
        for path, value in label_values(labels or {}):
            self._put(frame, COLUMNS[path], value)
        for path, value in frame.extra.items():
            if path in COLUMNS or path.partition("/")[0] in RESERVED:
                raise DataError(f"{frame.id}: extra column '{path}' has the name of another column")
            self.extras.setdefault(path, {})[self.count] = np.asarray(value)
        image, window = stored or (frame.image, (0, 0, *frame.image_size))
        self.bytes["image"].append(image)
        self.windows.append(window)
        self.bytes["segmentation"].append(segmentation or frame.segmentation or b"")
        self.count += 1

    def _put(self, frame: Frame, column: Column, value: Any) -> None:
        if value is None or (column.optional and not self.store_verts):
            return
        plain = not isinstance(value, tuple | list)
        shape = getattr(value, "shape", ()) if plain else np.shape(value)
        if shape != column.shape:
            raise ShapeError(f"{frame.id}: {column.path} is {shape}, expected {column.shape}")
        if column.path not in self.arrays:
            self.arrays[column.path] = column.blank(self.rows)
        self.arrays[column.path][self.count] = value

    def write(self, path: str | Path, attributes: Mapping[str, Any]) -> None:
        """Sort the rows and write the whole file, atomically.

        Raises DataError for ids that occur twice and values that are not finite, OSError.
        """
        columns = self._finished()
        order = self._order(columns)
        with writing(Path(path)) as file:
            write_attributes(file, {**attributes, "rows": self.count, "complete": 1})
            for column, values in columns:
                self._write_column(file, column, values[order])
            for name, rows in self.bytes.items():
                write_bytes(file, name, [rows[i] for i in order])
            window = np.array([self.windows[i] for i in order], "i2").reshape(-1, 4)
            dataset = file.create_dataset("image/window", data=window)
            dataset.attrs.update({"unit": "px", "frame": "image as shipped: x0 y0 x1 y1"})

    def _finished(self) -> list[tuple[Column, NDArray]]:
        """All columns with their values, cut to the rows that came."""
        self._flag_fingers()
        found = []
        for column in COLUMNS.values():
            values = self.arrays.get(column.path)
            if values is None and not column.optional:
                values = column.blank(self.count)
            if values is not None:
                found.append((column, values[: self.count]))
        for path, rows in sorted(self.extras.items()):
            found.append(self._extra(path, rows))
        known = {column.path: values for column, values in found}
        for column, values in found:
            if values.dtype.kind == "f" and np.isinf(values).any():
                row = np.flatnonzero(np.isinf(values).reshape(self.count, -1).any(1))[0]
                raise DataError(f"{known['id'][row]}: {column.path} is not finite in the raw data")
        return found

    def _flag_fingers(self) -> None:
        for side in SIDES:
            for where in ("alone", "scene"):
                folder = f"{side}/visibility/{where}"
                counts = self.arrays.get(f"{folder}/finger_count")
                if counts is not None:
                    flags = RULES[DEFAULT](counts, self.arrays[f"{folder}/hand"], np.zeros(6))
                    self.arrays[f"{folder}/finger"] = flags[0]

    def _extra(self, path: str, rows: Mapping[int, NDArray]) -> tuple[Column, NDArray]:
        shapes = {value.shape for value in rows.values()}
        if len(shapes) > 1:
            raise ShapeError(f"extra column '{path}' has rows of different shapes: {shapes}")
        dtype = np.result_type(*{value.dtype for value in rows.values()})
        column = extra_column(path, dtype, shapes.pop())
        values = column.blank(self.count)
        for row, value in rows.items():
            values[row] = value
        return column, values

    def _order(self, columns: list[tuple[Column, NDArray]]) -> list[int]:
        known = {column.path: values for column, values in columns}
        ids = known["id"]
        if len(set(ids)) != len(ids):
            twice = next(name for name in ids if (ids == name).sum() > 1)
            raise DataError(f"{twice}: this id occurs twice; the reader must number its frames")
        texts = [[name.encode() for name in known[path]] for path in ("sequence", "camera")]
        keys = list(zip(*texts, known["frame_number"], known["variant"], ids))
        return sorted(range(self.count), key=keys.__getitem__)

    def _write_column(self, file: h5py.File, column: Column, values: NDArray) -> None:
        if column.table:
            names = sorted(set(values) - {""}, key=str.encode)
            write_text(file, f"{column.table}/name", np.array(names, dtype=object))
            place = {name: i for i, name in enumerate(names)}
            numbers = [place.get(name, column.missing) for name in values]
            dataset = file.create_dataset(column.path, data=np.array(numbers, column.dtype))
        elif column.dtype == TEXT:
            dataset = write_text(file, column.path, values)
        else:
            dataset = file.create_dataset(column.path, data=values)
        dataset.attrs.update({"unit": column.unit, "frame": column.frame})


def write_bytes(file: h5py.File, name: str, rows: list[bytes]) -> None:
    """rows as name/bytes, one flat unfiltered array, and name/offsets (N+1,)."""
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.uint64)])
    offsets = offsets.astype(np.uint64)
    flat = file.create_dataset(f"{name}/bytes", (int(offsets[-1]),), "u1", fill_time="never")
    for start in range(0, len(rows), BLOCK):
        stop = min(start + BLOCK, len(rows))
        if offsets[stop] > offsets[start]:
            block = np.frombuffer(b"".join(rows[start:stop]), np.uint8)
            flat[offsets[start] : offsets[stop]] = block
    file.create_dataset(f"{name}/offsets", data=offsets)
    encodings = {b"\xff\xd8\xff": "jpeg", b"\x89PN": "png"}
    file[name].attrs["encoding"] = ",".join(
        sorted({encodings.get(row[:3], "other") for row in rows if row})
    )
