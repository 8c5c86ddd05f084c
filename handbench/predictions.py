"""Prediction files: what any tool writes and handbench scores, without torch."""

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


def _read(path: Path, file: h5py.File) -> Predictions:
    missing = [name for name in ("id", *REQUIRED) if name not in file]
    if missing:
        raise DataError(
            f"{path}: no dataset {missing[0]!r}; a prediction file needs id, is_left, joints_m"
        )
    arrays: dict[str, Any] = {
        name: np.asarray(file[name][()]) for name in HAND_ARRAYS if name in file
    }
    for name, value in arrays.items():
        expected = (len(file["id"]), *HAND_ARRAYS[name][0])
        if value.shape != expected:
            raise DataError(f"{path}: {name} is {value.shape}, expected {expected}")
    per_image = {name: file[name][()] for name in IMAGE_ARRAYS if name in file}
    if "image_id" in file:
        per_image["image_id"] = file["image_id"].asstr()[()].astype(str)
    return Predictions(
        id=file["id"].asstr()[()].astype(str),
        is_left=arrays.pop("is_left").astype(bool),
        per_image=per_image,
        attributes={name: _plain(value) for name, value in file.attrs.items()},
        **{name: value.astype(np.float32) for name, value in arrays.items()},
    )


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
