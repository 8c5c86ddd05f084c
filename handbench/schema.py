"""The columns of a prepared split as data, and the values that a frame puts into them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbench.records import Frame, HandLabels, HandRecord
from handbench.rules import UNKNOWN, pack

FORMAT = "handbench-frames"
FORMAT_VERSION = 1
SIDES = ("right", "left")
TEXT = "text"  # stored as fixed-length UTF-8
VERTEX_BYTES = 98  # 778 bits
NOT_ANNOTATED = 0
CAMERA_FRAME = "opencv_camera"


@dataclass(frozen=True)
class Column:
    """One column: where it lies in a part, the shape of one row, its type and what stands for none.

    table: the column holds indices into this table of names. optional: left out of a part in which
    no row has a value.
    """

    path: str
    dtype: str
    missing: Any
    shape: tuple[int, ...] = ()
    unit: str = ""
    frame: str = ""
    table: str = ""
    optional: bool = False

    def blank(self, rows: int) -> NDArray:
        """Rows without a value (rows, *shape); names for table columns and text."""
        if self.dtype == TEXT or self.table:
            return np.full((rows, *self.shape), "", dtype=object)
        return np.full((rows, *self.shape), self.missing, self.dtype)


NAN = float("nan")
IMAGE_COLUMNS = (
    Column("id", TEXT, ""),
    Column("official_index", "i8", -1),
    Column("sequence", "i4", -1, table="sequences"),
    Column("camera", "i4", -1, table="cameras"),
    Column("recording", "i4", -1, table="recordings"),
    Column("subject", "i4", -1),
    Column("frame_number", "i4", -1),
    Column("order", "i4", -1),
    Column("clip", "i4", -1),
    Column("instant", "i8", -1),
    Column("variant", "u1", UNKNOWN),
    Column("subset", "u1", 0),
    Column("image_path", TEXT, ""),
    Column("image_size", "i4", -1, (2,), "px"),
    Column("K", "f4", NAN, (3, 3), "px", "image"),
    Column("T_world_camera", "f8", NAN, (4, 4), "m", "world to " + CAMERA_FRAME),
)
HAND_COLUMNS = (
    Column("present", "u1", UNKNOWN),
    Column("joints_m", "f4", NAN, (21, 3), "m", CAMERA_FRAME),
    Column("joints_valid", "u1", NOT_ANNOTATED, (21,)),
    Column("joints_px", "f4", NAN, (21, 2), "px", "image"),
    Column("joints_kind", "u1", UNKNOWN),
    Column("mano_pose", "f4", NAN, (48,), "rad", CAMERA_FRAME),
    Column("mano_shape", "f4", NAN, (10,)),
    Column("mano_trans_m", "f4", NAN, (3,), "m", CAMERA_FRAME),
    Column("mano_valid", "u1", 0),
    Column("fit_error_mm", "f4", NAN, (), "mm"),
    Column("verts_m", "f4", NAN, (778, 3), "m", CAMERA_FRAME, optional=True),
    Column("box_px", "f4", NAN, (4,), "px", "image"),
    Column("box_source", "u1", 0),
    Column("box_visible_px", "f4", NAN, (4,), "px", "image"),
    Column("occlusion_cause", "u1", UNKNOWN, (5,)),
    Column("visibility/source", "u1", 0),
    *(
        Column(f"visibility/{where}/{name}", dtype, missing, shape)
        for where in ("alone", "scene")
        for name, dtype, missing, shape in (
            ("vertex", "u1", 0, (VERTEX_BYTES,)),
            ("finger_count", "i2", -1, (6,)),
            ("finger", "u1", UNKNOWN, (5,)),
            ("hand", "f4", NAN, ()),
        )
    ),
)
OBJECT_COLUMNS = (
    Column("present", "u1", UNKNOWN),
    Column("name", "i4", -1, table="objects"),
    Column("T_camera", "f4", NAN, (4, 4), "m", "object to " + CAMERA_FRAME),
)


def _under(folder: str, column: Column) -> Column:
    values = {field.name: getattr(column, field.name) for field in fields(column)}
    return Column(**{**values, "path": f"{folder}/{column.path}"})


COLUMNS: dict[str, Column] = {
    column.path: column
    for column in (
        *IMAGE_COLUMNS,
        *(_under(side, column) for side in SIDES for column in HAND_COLUMNS),
        *(_under("object", column) for column in OBJECT_COLUMNS),
    )
}
TABLES = tuple(dict.fromkeys(c.table for c in COLUMNS.values() if c.table))
# The encoded bytes of a row lie flat, one after another, beside their offsets.
BYTES = ("image", "segmentation")
RESERVED = frozenset(("index", "parts", *BYTES, *TABLES, *SIDES, "object"))
_FRAME_FIELDS = tuple(column.path for column in IMAGE_COLUMNS)
_HAND_FIELDS = tuple(field.name for field in fields(HandRecord))


def extra_column(path: str, dtype: np.dtype, shape: tuple[int, ...]) -> Column:
    """A column of one data set only; missing is NaN, -1, 255 or the empty text by its type."""
    if dtype.kind in "UST":
        return Column(path, TEXT, "", shape)
    if dtype.kind == "b":
        dtype = np.dtype("u1")
    missing = {"f": NAN, "i": -1, "u": np.iinfo(dtype).max if dtype.kind == "u" else 0}
    return Column(path, dtype.str[1:], missing[dtype.kind], shape)


def frame_values(frame: Frame) -> Iterator[tuple[str, Any]]:
    """(column path, value) of all that a frame knows; what it does not know is left out."""
    for name in _FRAME_FIELDS:
        yield name, getattr(frame, name)
    for side in SIDES:
        hand = getattr(frame, side)
        if hand is None:
            yield f"{side}/present", 0
            continue
        for name in _HAND_FIELDS:
            yield f"{side}/{name}", getattr(hand, name)
    yield "object/present", int(frame.object is not None)
    if frame.object is not None:
        yield "object/name", frame.object.name
        yield "object/T_camera", frame.object.T_camera


def label_values(labels: Mapping[str, HandLabels]) -> Iterator[tuple[str, Any]]:
    """(column path, value) of occlusion labels by side; finger flags follow when all are there."""
    for side, label in labels.items():
        yield f"{side}/visibility/source", label.source
        if label.source:
            yield f"{side}/occlusion_cause", label.cause
            yield f"{side}/box_visible_px", label.box_visible_px
        for where in ("alone", "scene") if label.source else ("alone",):
            folder = f"{side}/visibility/{where}"
            yield f"{folder}/vertex", pack(getattr(label, f"{where}_vertex"))
            yield f"{folder}/finger_count", getattr(label, f"{where}_finger_count")
            yield f"{folder}/hand", getattr(label, f"{where}_hand")


def row_bytes() -> int:
    """About how many bytes one row takes beside its image and optional columns."""
    text = 60
    return sum(
        text if c.dtype == TEXT else np.dtype(c.dtype).itemsize * int(np.prod(c.shape, dtype=int))
        for c in COLUMNS.values()
        if not c.optional
    )
