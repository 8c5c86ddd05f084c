"""The index of a split, written last: which rows there are, in which order, where they lie."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbench.errors import DataError
from handbench.preparing.parts import write_attributes, write_text, writing
from handbench.schema import BYTES, SIDES, TABLES
from handbench.store import Columns, read_text, reading

HAND = np.dtype([("row", "i8"), ("is_left", "u1")])
RULE = "present = 1"


@dataclass(frozen=True)
class Index:
    """Rows in the order (sequence, camera, frame_number, variant), bytewise; columns reads them."""

    parts: list[Path]
    part: NDArray[np.int32]
    row: NDArray[np.int32]
    tables: Mapping[str, NDArray]
    columns: Columns

    def hands(self) -> NDArray:
        """Annotated hands (M,), by row, the right one first."""
        present = np.stack([self.columns[f"{side}/present"] == 1 for side in SIDES], axis=1)
        row, is_left = np.nonzero(present)
        hands = np.empty(len(row), HAND)
        hands["row"], hands["is_left"] = row, is_left
        return hands

    def sequences(self) -> dict[str, NDArray]:
        """For each sequence its first row, rows, and usual step of frame_number (-1: one frame)."""
        columns = self.columns
        sequence = columns["sequence"]
        count = len(self.tables["sequences"])
        gap = np.diff(columns["frame_number"])
        same = (np.diff(sequence) == 0) & (np.diff(columns["camera"]) == 0) & (gap > 0)
        step = np.full(count, np.iinfo(np.int32).max, np.int64)
        np.minimum.at(step, sequence[1:][same], gap[same])
        return {
            "first_row": np.searchsorted(sequence, np.arange(count)).astype(np.int64),
            "rows": np.bincount(sequence, minlength=count).astype(np.int64),
            "step": np.where(step == np.iinfo(np.int32).max, -1, step).astype(np.int32),
        }

    def write(
        self,
        path: Path,
        attributes: Mapping[str, Any],
        objects: Mapping[str, Any] | None = None,
    ) -> None:
        """index.h5, atomically. objects: name -> what is known of it (mesh, sha256, …)."""
        own = {"rows": len(self.part), "complete": 1, "index": RULE}
        with writing(path) as file:
            write_attributes(file, {**attributes, **own})
            file["index/part"], file["index/row"] = self.part, self.row
            write_text(file, "index/id", self.columns["id"])
            file["index/sequence"] = self.columns["sequence"]
            file["index/hands"] = self.hands()
            write_text(file, "index/columns", np.array(self.columns.names))
            write_text(file, "parts/name", np.array([part.name for part in self.parts]))
            file["parts/bytes"] = np.array([part.stat().st_size for part in self.parts], np.int64)
            for table, names in self.tables.items():
                write_text(file, f"{table}/name", names)
            for name, values in self.sequences().items():
                file[f"sequences/{name}"] = values
            known = [
                json.dumps((objects or {}).get(str(o), {}), sort_keys=True)
                for o in self.tables["objects"]
            ]
            write_text(file, "objects/info", np.array(known, dtype=object))


def build(parts: list[Path], advice: str) -> Index:
    """The index of these part files. Raises DataError for an id that is in two of them."""
    counts: list[int] = []
    names: set[str] = set()
    tables: dict[str, set[str]] = {table: set() for table in TABLES}
    for path in parts:
        with reading(path, advice) as file:
            counts.append(len(file["id"]))
            file.visititems(lambda name, item: names.add(name) if hasattr(item, "shape") else None)
            for table, known in tables.items():
                known.update(read_text(file[f"{table}/name"]).tolist())
    kept = sorted(name for name in names if name.partition("/")[0] not in (*BYTES, *TABLES))
    ordered = {table: np.array(sorted(known), dtype=str) for table, known in tables.items()}
    part = np.repeat(np.arange(len(parts), dtype=np.int32), counts)
    row = np.concatenate([np.arange(count, dtype=np.int32) for count in counts])
    columns = Columns(parts, part, row, kept, ordered, advice)
    ids, first = np.unique(columns["id"], return_index=True)
    if len(ids) < len(part):
        twice = np.setdiff1d(np.arange(len(part)), first)[0]
        raise DataError(f"{columns['id'][twice]}: this id occurs in two parts; the reader is wrong")
    keys = ("id", "variant", "frame_number", "camera", "sequence")
    order = np.lexsort([columns[key] for key in keys])
    part, row = part[order], row[order]
    return Index(parts, part, row, ordered, Columns(parts, part, row, kept, ordered, advice))
