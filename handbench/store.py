"""Reading a prepared split: whole columns in memory, encoded images by one read each.

A split is DIR/NAME/SPLIT/index.h5 and its part files; index.h5 says which rows there are, in
which order, and where each of them lies.
"""

import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import h5py
import numpy as np
from numpy.typing import NDArray

from handbench import files, registry
from handbench.console import amount
from handbench.errors import DataError, UnknownName
from handbench.schema import COLUMNS, FORMAT, FORMAT_VERSION, SIDES, Column, extra_column

OPEN_PARTS = 256  # part files kept open by one process


class Hands(NamedTuple):
    """The one-hand samples of a split in fixed order: row (M,) of the image, is_left (M,)."""

    row: NDArray[np.int64]
    is_left: NDArray[np.bool_]


def command(name: str, folder: Path) -> str:
    """The command that prepares the split NAME/SPLIT below a data folder."""
    dataset, _, split = name.partition("/")
    out = "" if folder == files.data_dir() else f" --out {shlex.quote(str(folder))}"
    return f"handbench prepare {dataset}" + (f" --split {split}" if split else "") + out


@contextmanager
def reading(path: Path, advice: str) -> Iterator[h5py.File]:
    """An HDF5 file of ours, open for reading. advice: the command that makes it.

    Raises DataError naming the file when it is missing, cut short, foreign or of another version.
    """
    try:
        file = h5py.File(path, "r")
    except FileNotFoundError:
        raise DataError(f"{path} is missing: run  {advice}") from None
    except OSError as error:
        if isinstance(error, PermissionError):
            raise
        raise DataError(
            f"{path} is no whole HDF5 file (cut short, or something else): delete it and run  "
            f"{advice}"
        ) from None
    with file:
        found, version = file.attrs.get("format"), file.attrs.get("format_version")
        if found != FORMAT:
            raise DataError(f"{path} was not written by handbench prepare: run  {advice}")
        if version != FORMAT_VERSION:
            raise DataError(
                f"{path} has format version {version}, this handbench reads {FORMAT_VERSION}: "
                f"run  {advice} --force"
            )
        try:
            yield file
        except (KeyError, OSError, RuntimeError) as error:
            raise DataError(f"{path} is damaged ({error}): run  {advice} --force") from error


def decode(encoded: bytes, flags: int) -> NDArray[np.uint8] | None:
    """The picture in encoded JPEG or PNG bytes, channels as OpenCV has them; None: not readable."""
    data = np.frombuffer(encoded, np.uint8)
    picture = cv2.imdecode(data, flags) if data.size else None
    return None if picture is None else np.asarray(picture, np.uint8)


def read_text(dataset: h5py.Dataset) -> NDArray:
    """All texts of a dataset of fixed-length UTF-8."""
    return np.char.decode(dataset[()].astype("S"), "utf-8").astype(str)


def read_attributes(file: h5py.File) -> dict[str, Any]:
    """A file's attributes as plain Python values."""
    plain = {name: file.attrs[name] for name in file.attrs}
    return {k: v.item() if isinstance(v, np.generic) else v for k, v in plain.items()}


class Columns(Mapping[str, NDArray]):
    """Column name -> all rows in the order of the index; read when asked for, then kept.

    parts: the part files in order; part, row (N,): where each row of the index lies. Table
    columns hold indices into tables (name -> names); text comes as an array of str.
    """

    def __init__(
        self,
        parts: list[Path],
        part: NDArray,
        row: NDArray,
        names: list[str],
        tables: Mapping[str, NDArray],
        advice: str,
    ) -> None:
        self.parts, self.names, self.tables, self.advice = parts, names, tables, advice
        self.place = part, row
        self.cache: dict[str, NDArray] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __getitem__(self, name: str) -> NDArray:
        if name not in self.names:
            raise KeyError(str(UnknownName("column", name, self.names)))
        if name not in self.cache:
            self.cache[name] = self.read(name)
            self.cache[name].flags.writeable = False
        return self.cache[name]

    def read(self, name: str) -> NDArray:
        """All rows of any dataset that parts hold, in the order of the index; not kept."""
        part, row = self.place
        pieces: list[NDArray | None] = []
        counts = []
        for path in self.parts:
            with reading(path, self.advice) as file:
                counts.append(len(file["id"]))
                pieces.append(self._piece(file, name) if name in file else None)
        found = [piece for piece in pieces if piece is not None]
        kind = np.result_type(*found)
        column = COLUMNS.get(name) or extra_column(name, kind, found[0].shape[1:])
        whole = np.concatenate(
            [
                piece if piece is not None else _blank(column, count, kind)
                for piece, count in zip(pieces, counts)
            ]
        )
        starts = np.cumsum([0, *counts])[:-1]
        order = starts[part] + row
        return whole if np.array_equal(order, np.arange(len(whole))) else whole[order]

    def _piece(self, file: h5py.File, name: str) -> NDArray:
        dataset = file[name]
        if h5py.check_string_dtype(dataset.dtype):
            return read_text(dataset)
        values = dataset[()]
        table = COLUMNS[name].table if name in COLUMNS else ""
        if not table:
            return values
        own = read_text(file[f"{table}/name"])
        place = {text: i for i, text in enumerate(self.tables[table])}
        numbers = np.array([*(place[text] for text in own), -1], values.dtype)
        return numbers[values]  # -1, none, stays -1


def _blank(column: Column, rows: int, dtype: np.dtype) -> NDArray:
    return column.blank(rows).astype(dtype)


class PartBytes:
    """The encoded images and segmentations of one open part file.

    The file is closed when nobody holds this any more, so threads need no lock.
    """

    def __init__(self, path: Path, advice: str) -> None:
        with reading(path, advice) as file:
            self.where = {
                name: (file[f"{name}/bytes"].id.get_offset() or 0, file[f"{name}/offsets"][()])
                for name in ("image", "segmentation")
            }
        self.path, self.advice = path, advice
        self.descriptor = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)

    def read(self, name: str, row: int) -> bytes:
        """The bytes of one row of a dataset. Raises DataError where the file is cut short."""
        base, offsets = self.where[name]
        start, stop = int(offsets[row]), int(offsets[row + 1])
        found = os.pread(self.descriptor, stop - start, base + start)
        if len(found) != stop - start:
            raise DataError(f"{self.path} is cut short: delete it and run  {self.advice}")
        return found


class Split:
    """One prepared split: NAME/SPLIT in a data folder. Cheap to pickle; no file handle goes along.

    name; attributes (units, rule, sources …, as in the files); len(split) images; columns; hands;
    tables: name -> names that the columns sequence, camera, recording and object/name index.
    Raises DataError when the index or a part is missing, cut short or foreign.
    """

    def __init__(self, name: str, data_dir: str | Path | None = None) -> None:
        self.name, self.data_dir = name, files.data_dir(data_dir)
        self.folder = (self.data_dir / name).absolute()
        self.advice = command(name, self.data_dir)
        with reading(self.folder / "index.h5", self.advice) as file:
            self.attributes = read_attributes(file)
            self.part, self.row = file["index/part"][()], file["index/row"][()]
            hands = file["index/hands"][()]
            self.hands = Hands(hands["row"], hands["is_left"].astype(bool))
            self.tables = {
                table: read_text(file[f"{table}/name"])
                for table in ("sequences", "cameras", "recordings", "objects")
            }
            self.sequences = {
                key: file[f"sequences/{key}"][()] for key in ("first_row", "rows", "step")
            }
            names = [str(name) for name in read_text(file["index/columns"])]
            parts = [self.folder / str(part) for part in read_text(file["parts/name"])]
            sizes = file["parts/bytes"][()]
        for path, size in zip(parts, sizes):
            _check_size(path, int(size), self.advice)
        self.columns = Columns(parts, self.part, self.row, names, self.tables, self.advice)
        self._open: dict[int, PartBytes] = {}

    def __len__(self) -> int:
        return len(self.row)

    def __repr__(self) -> str:
        hands = amount(len(self.hands.row), "hand")
        return f"Split({self.name!r}, {amount(len(self), 'image')}, {hands})"

    def __reduce__(self) -> tuple:
        return Split, (self.name, self.data_dir.absolute())

    def image_bytes(self, row: int) -> bytes:
        """The stored JPEG or PNG: the image as shipped or its window; empty when there is none."""
        return self._part(row).read("image", self.row[row])

    @cached_property
    def windows(self) -> NDArray[np.int64] | None:
        """(N,4) x0 y0 x1 y1 of what is stored of each picture; None where all of each is."""
        if "crop" not in str(self.attributes.get("pictures", "")):
            return None
        return self.columns.read("image/window").astype(np.int64)

    def image(self, row: int) -> NDArray[np.uint8]:
        """The decoded image (h,w,3), RGB, not turned by EXIF, black where none is stored.

        Raises DataError naming the row.
        """
        picture = decode(self.image_bytes(row), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if picture is None:
            raise DataError(f"{self.name}: the image of {self.columns['id'][row]} is not readable")
        picture = np.ascontiguousarray(picture[:, :, ::-1])
        if self.windows is None:
            return picture
        (width, height), (x0, y0, x1, y1) = self.columns["image_size"][row], self.windows[row]
        whole = np.zeros((height, width, 3), np.uint8)
        whole[y0:y1, x0:x1] = picture
        return whole

    def segmentation(self, row: int) -> NDArray[np.uint8] | None:
        """(h,w): 0 background, 1 right, 2 left, 3 object, 4 hand, 255 void; None: not stored."""
        encoded = self._part(row).read("segmentation", self.row[row])
        if not encoded:
            return None
        picture = decode(encoded, cv2.IMREAD_UNCHANGED)
        if picture is None or picture.ndim != 2:
            raise DataError(f"{self.name}: the segmentation of row {row} is not readable")
        return picture

    def hand_column(self, name: str) -> NDArray:
        """right/name and left/name gathered by split.hands (M, …); missing on a side without it."""
        row, is_left = self.hands
        paths = [f"{side}/{name}" for side in SIDES]
        values = self.columns[next((p for p in paths if p in self.columns), paths[0])][row]
        for path, mask in zip(paths, (~is_left, is_left)):
            known = path in self.columns
            values[mask] = self.columns[path][row[mask]] if known else COLUMNS[path].missing
        return values

    def _part(self, row: int) -> PartBytes:
        number = int(self.part[row])
        found = self._open.get(number)
        if found is None:
            if len(self._open) >= OPEN_PARTS:
                self._open = {}  # the simplest rule: random access has no favourites
            found = self._open[number] = PartBytes(self.columns.parts[number], self.advice)
        return found


def _check_size(path: Path, size: int, advice: str) -> None:
    try:
        found = path.stat().st_size
    except FileNotFoundError:
        raise DataError(f"{path} is missing: run  {advice}  (what is there is kept)") from None
    if found != size:
        raise DataError(
            f"{path} has {found:,} of {size:,} bytes, it is cut short or changed: "
            f"delete it and run  {advice}"
        )


def prepared(data_dir: str | Path | None = None) -> list[str]:
    """The names NAME/SPLIT of all finished splits in a data folder."""
    found = files.data_dir(data_dir).glob("*/*/index.h5")
    return sorted("/".join(path.parts[-3:-1]) for path in found)


def open_split(name: str, data_dir: str | Path | None = None) -> Split:
    """The prepared split NAME/SPLIT. Raises DataError, UnknownName with the nearest one."""
    root = files.data_dir(data_dir)
    folder = root / name
    parts = sorted(folder.glob("part-*.h5"))
    if name.count("/") == 1 and parts and not (folder / "index.h5").exists():
        raise DataError(
            f"{folder} is not finished ({amount(len(parts), 'part')}, no index.h5): "
            f"run  {command(name, root)}  again, it goes on from there"
        )
    known = prepared(root)
    if name not in known:
        dataset, _, part = name.partition("/")
        there = dataset in registry.table("dataset")
        splits = registry.load("dataset", dataset).splits if there else ()
        if part in splits:
            raise DataError(f"{name} is not prepared in {root}: run  {command(name, root)}")
        near = [each for each in known if not splits or each.startswith(f"{dataset}/")]
        near += [f"{dataset}/{each}" for each in splits]
        raise UnknownName("prepared split", name, set(near), "handbench list datasets")
    return Split(name, root)
