"""Prediction files: what any tool writes and handbench scores, without torch."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from handbench.errors import DataError, ShapeError
from handbench.files import replacing

FORMAT = "handbench-predictions"
FORMAT_VERSION = 1
# name -> (shape of one row, type); one row is one hand in one image
HAND_ARRAYS: dict[str, tuple[tuple[int, ...], str]] = {
    "is_left": ((), "u1"),
    "joints_m": ((21, 3), "f4"),
    "verts_m": ((778, 3), "f4"),
    "root_m": ((3,), "f4"),
    "visibility": ((5,), "f4"),
    "hand_score": ((), "f4"),
    "joints_px": ((21, 2), "f4"),
    "root_rotation": ((3, 3), "f4"),
}
IMAGE_ARRAYS: dict[str, tuple[tuple[int, ...], str]] = {
    "left_minus_right_m": ((3,), "f4"),
    "object/T_camera": ((4, 4), "f4"),
}
REQUIRED = ("is_left", "joints_m")


@dataclass(frozen=True)
class Predictions:
    """Predicted hands, one row each, un-mirrored, OpenCV axes, metres, relative to the wrist.

    id (M,) the image's id; is_left (M,); joints_m (M,21,3). Or None: verts_m (M,778,3); root_m
    (M,3) wrist in the camera; visibility (M,5) probability that a finger is visible; hand_score
    (M,) that there is such a hand; joints_px (M,21,2) in the image; root_rotation (M,3,3) of the
    hand model's first joint in the camera. per_image: image_id (N,) and arrays of one row an image.
    attributes: root_source ("predicted" | "ground_truth" | "none") and how the file was made.
    """

    id: NDArray[np.str_]
    is_left: NDArray[np.bool_]
    joints_m: NDArray[np.float32]
    verts_m: NDArray[np.float32] | None = None
    root_m: NDArray[np.float32] | None = None
    visibility: NDArray[np.float32] | None = None
    hand_score: NDArray[np.float32] | None = None
    joints_px: NDArray[np.float32] | None = None
    root_rotation: NDArray[np.float32] | None = None
    per_image: Mapping[str, NDArray] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in HAND_ARRAYS:
            value = getattr(self, name)
            expected = (len(self.id), *HAND_ARRAYS[name][0])
            if value is not None and value.shape != expected:
                raise ShapeError(f"predictions: {name} is {value.shape}, expected {expected}")

    def __len__(self) -> int:
        return len(self.id)

    def write(self, path: str | Path) -> None:
        """Write the whole file at once, atomically."""
        arrays = {name: getattr(self, name) for name in HAND_ARRAYS}
        present = [name for name, value in arrays.items() if value is not None]
        of_images = [name for name in IMAGE_ARRAYS if name in self.per_image]
        images = dict(self.per_image)
        if images:
            images["image_id"] = images["image_id"].astype(object)
        count = len(images["image_id"]) if of_images else 0
        with writing(path, len(self), [*present, *of_images], self.attributes, count) as add:
            add(self.id, **{name: arrays[name] for name in present}, **images)


@contextmanager
def writing(
    path: str | Path,
    rows: int,
    arrays: Sequence[str],
    attributes: Mapping[str, Any],
    images: int = 0,
) -> Iterator[Any]:
    """Write a prediction file batch by batch: yields add(id, **arrays), which appends rows.

    arrays: names of HAND_ARRAYS, and of IMAGE_ARRAYS for `images` pictures; add then takes these
    and their image_id (n,) too, for other rows than the hands'. The file appears under its name
    only when the block ends well and all rows have come.
    """
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        own = {"format": FORMAT, "format_version": FORMAT_VERSION, "root_source": "none"}
        file.attrs.update({**own, **attributes})
        ids = file.create_dataset("id", (rows,), h5py.string_dtype())
        columns = {}
        for name in dict.fromkeys((*REQUIRED, *arrays)):
            if name in IMAGE_ARRAYS:
                continue
            shape, kind = HAND_ARRAYS[name]
            columns[name] = file.create_dataset(name, (rows, *shape), kind)
        pictures = {}
        for name in (each for each in arrays if each in IMAGE_ARRAYS):
            shape, kind = IMAGE_ARRAYS[name]
            pictures[name] = file.create_dataset(name, (images, *shape), kind)
        if pictures:
            pictures["image_id"] = file.create_dataset("image_id", (images,), h5py.string_dtype())
        done = seen = 0

        def add(id: Sequence[str] | NDArray, **values: NDArray) -> None:
            nonlocal done, seen
            stop = done + len(id)
            ids[done:stop] = np.asarray(id, dtype=object)
            for name, column in columns.items():
                column[done:stop] = values[name]
            done = stop
            if pictures:
                stop = seen + len(values["image_id"])
                for name, column in pictures.items():
                    column[seen:stop] = values[name]
                seen = stop

        yield add
        if (done, seen) != (rows, images if pictures else 0):
            raise DataError(f"{path}: {done} of {rows} predictions came; the file was not kept")


def read(path: str | Path) -> Predictions:
    """Read predictions.h5. Raises DataError naming the file when it is missing, cut or foreign."""
    path = Path(path)
    try:
        with h5py.File(path, "r") as file:
            return _read(path, file)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist: run  handbench predict  first") from error
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"{path} is no readable HDF5 file ({error}): was it cut short? Write it again"
        ) from error


def attributes(path: str | Path) -> dict[str, Any]:
    """A file's attributes and its number of `rows`, without reading the arrays."""
    try:
        with h5py.File(path, "r") as file:
            return {
                **{name: _plain(value) for name, value in file.attrs.items()},
                "rows": len(file["id"]),
            }
    except (OSError, RuntimeError, KeyError) as error:
        raise DataError(f"{path} is no readable prediction file ({error})") from error


def called(path: Path) -> str:
    """What predictions are called that name no method: by their file, or by its folder where
    everybody's file has the same name."""
    return path.resolve().parent.name if path.stem in ("pred", "predictions") else path.stem


def _read(path: Path, file: h5py.File) -> Predictions:
    missing = [name for name in ("id", *REQUIRED) if name not in file]
    if missing:
        raise DataError(
            f"{path}: no dataset {missing[0]!r}; a prediction file needs id, is_left, joints_m"
        )
    id = _texts(path, file, "id")
    arrays = {
        name: _numbers(path, file, name, (len(id), *shape))
        for name, (shape, _) in HAND_ARRAYS.items()
        if name in file
    }
    if not np.isin(arrays["is_left"], (0, 1)).all():
        raise DataError(f"{path}: is_left holds other values than 0 (right) and 1 (left)")
    seen = arrays.get("visibility")
    if seen is not None and ((seen < 0) | (seen > 1)).any():
        raise DataError(f"{path}: visibility must be probabilities from 0 to 1, or NaN")
    return Predictions(
        id=id,
        is_left=arrays.pop("is_left").astype(bool),
        per_image=_of_images(path, file),
        attributes={name: _plain(value) for name, value in file.attrs.items()},
        **{name: value.astype(np.float32) for name, value in arrays.items()},
    )


def _of_images(path: Path, file: h5py.File) -> dict[str, NDArray]:
    """image_id and the arrays that have one row an image; empty without any of these."""
    names = [name for name in IMAGE_ARRAYS if name in file]
    if not names:
        return {}
    if "image_id" not in file:
        raise DataError(f"{path}: {names[0]} has one row an image, so image_id is needed beside it")
    image_id = _texts(path, file, "image_id")
    if len(set(image_id.tolist())) != len(image_id):
        raise DataError(f"{path}: image_id names an image twice")
    shapes = {name: (len(image_id), *IMAGE_ARRAYS[name][0]) for name in names}
    found = {name: _numbers(path, file, name, shape) for name, shape in shapes.items()}
    return {**found, "image_id": image_id}


def _numbers(path: Path, file: h5py.File, name: str, shape: tuple[int, ...]) -> NDArray:
    """A dataset of numbers. Raises DataError when it is something else or of another shape."""
    found = file[name]
    if not isinstance(found, h5py.Dataset) or found.dtype.kind not in "bfiu":
        raise DataError(f"{path}: {name} must be a dataset of numbers")
    if found.shape != shape:
        raise DataError(f"{path}: {name} is {found.shape}, expected {shape}")
    return np.asarray(found[()])


def _texts(path: Path, file: h5py.File, name: str) -> NDArray[np.str_]:
    """A list of names; whole numbers, as of official lines, count as names too."""
    found = file[name]
    if isinstance(found, h5py.Dataset) and found.ndim == 1:
        if h5py.check_string_dtype(found.dtype) is not None:
            return np.asarray(found.asstr(errors="replace")[()]).astype(str)
        if found.dtype.kind in "iu":
            return np.asarray(found[()]).astype(str)
    raise DataError(f"{path}: {name} must be a list of texts")


def _plain(value: Any) -> Any:
    """An attribute as JSON can hold it, where it is a single number or text."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
