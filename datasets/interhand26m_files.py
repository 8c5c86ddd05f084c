"""InterHand2.6M's annotation files as compact arrays (data, joint_3d, MANO and id lists)."""

from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbench import files
from handbench.datasets.jsonstream import stream
from handbench.datasets.trees import page
from handbench.errors import DataError
from handbench.schema import SIDES

HAND_TYPES = ("right", "left", "interacting")
NOT_TOLD = 2  # validity in joint_3d.json of the first release: data.json has it alone

IMAGE = np.dtype(
    [("id", "i8"), ("size", "i4", 2), ("capture", "i4"), ("subject", "i4"), ("frame", "i4")]
    + [("sequence", "i4"), ("camera", "i4")]
)
ANNOTATION = np.dtype(
    [("id", "i8"), ("image", "i8"), ("bbox", "f4", 4), ("valid", "u1", 42)]
    + [("hand_type", "i1"), ("hand_type_valid", "u1")]
)
MOMENT = [("capture", "i8"), ("frame", "i8")]
JOINTS = np.dtype([*MOMENT, ("world_mm", "f4", (42, 3)), ("valid", "u1", 42)])
FITS = np.dtype(
    [*MOMENT, ("pose", "f8", (2, 48)), ("shape", "f8", (2, 10)), ("trans", "f8", (2, 3))]
)
CAMERA = {"campos": (3,), "camrot": (3, 3), "focal": (2,), "princpt": (2,)}
FIT_LENGTHS = (("pose", 48), ("shape", 10), ("trans", 3))


def image_folder(root: Path, split: str, fps: int) -> Path:
    """images/{split} of a tree. Raises DataError when it is not there."""
    return _folder(root, f"images/{split}", fps)


def _folder(root: Path, name: str, fps: int) -> Path:
    """root/name, or the same inside the folder that the archives unpack to."""
    places = [root / name, root / f"InterHand2.6M_{fps}fps_batch1" / name]
    for place in places:
        if place.is_dir():
            return place
    raise DataError(f"{places[0]} does not exist; unpack it there ({page('interhand26m')})")


def annotation_files(
    root: Path, split: str, annotation: str, fps: int
) -> tuple[str, dict[str, Path]]:
    """Release and its files: data, camera, joints, and fits where there."""
    base = _folder(root, "annotations", fps)
    version, folder, fits = "v1.0", split, "MANO_NeuralAnnot"
    old = {"all": "all", "human": "human_annot", "machine": "machine_annot"}[annotation]
    if any((base / name).is_dir() for name in ("all", "human_annot", "machine_annot")):
        version, fits = "v0.0", "MANO"
        folder = "machine_annot" if split == "val" and annotation == "all" else old
    kinds = {"data": "data", "camera": "camera", "joints": "joint_3d", "fits": fits}
    found = {
        key: base / folder / f"InterHand2.6M_{split}_{kind}.json" for key, kind in kinds.items()
    }
    for key, path in list(found.items()):
        if not path.is_file():
            if key != "fits":
                raise DataError(
                    f"{path} is missing: unpack the annotations of InterHand2.6M there "
                    f"({page('interhand26m')})"
                )
            del found[key]
    return version, found


def human_list(root: Path, split: str) -> Path | None:
    path = root / f"aid_human_annot_{split}.txt"
    return path if path.is_file() else None


class Listing:
    """data.json: `rows` (image i, annotation i), sorted by sequence, camera and frame.

    images IMAGE array, annotations ANNOTATION array of equal length; sequences and cameras are
    the names their columns point into; odd_names: image id -> file name where it is not the
    official pattern; without_annotation: images listed without one (they are left out).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.odd_names: dict[int, str] = {}
        names: dict[str, dict[str, int]] = {"sequence": {}, "camera": {}}
        images = np.zeros(0, IMAGE)
        annotations = np.zeros(0, ANNOTATION)
        for part, items in groupby(stream(path), key=lambda item: item[0][0]):
            if part == "images":
                images = _collect(path, items, IMAGE, lambda v: self._image(v, names))
            elif part == "annotations":
                annotations = _collect(path, items, ANNOTATION, _annotation)
        self.sequences, self.cameras = list(names["sequence"]), list(names["camera"])
        self.images, self.annotations = self._joined(images, annotations)
        self.without_annotation = len(images) - len(self.images)
        self._sort()

    def _image(self, v: dict, names: dict[str, dict[str, int]]) -> tuple:
        sequence = f"Capture{v['capture']}/{v['seq_name']}"
        camera = str(v["camera"])
        if v["file_name"] != official_name(sequence, camera, v["frame_idx"]):
            self.odd_names[v["id"]] = v["file_name"]
        sequence_at = names["sequence"].setdefault(sequence, len(names["sequence"]))
        camera_at = names["camera"].setdefault(camera, len(names["camera"]))
        size = (v["width"], v["height"])
        subject = int(v.get("subject", -1))
        return v["id"], size, int(v["capture"]), subject, v["frame_idx"], sequence_at, camera_at

    def _joined(self, images: NDArray, annotations: NDArray) -> tuple[NDArray, NDArray]:
        """The images that have an annotation, and theirs, row by row."""
        order = np.argsort(images["id"], kind="stable")
        ids = images["id"][order]
        if len(ids) and (np.diff(ids) == 0).any():
            twice = ids[1:][np.diff(ids) == 0][0]
            raise DataError(f"{self.path} lists image {twice} twice; expected unique ids")
        place = np.searchsorted(ids, annotations["image"])
        place_ok = np.minimum(place, max(len(ids) - 1, 0))
        if len(annotations) and (not len(ids) or (ids[place_ok] != annotations["image"]).any()):
            raise DataError(
                f"{self.path}: an annotation names an image that the file does not list; "
                "is it the original file?"
            )
        rows = order[place]
        if len(np.unique(rows)) != len(rows):
            raise DataError(
                f"{self.path} holds {len(rows)} annotations for {len(np.unique(rows))} images; "
                "expected one an image"
            )
        return images[rows], annotations

    def _sort(self) -> None:
        """Bytewise by sequence name and camera, then by frame; raises DataError for equal ones."""
        sequence, camera = _ranks(self.sequences), _ranks(self.cameras)
        order = np.lexsort(
            (self.images["frame"], camera[self.images["camera"]], sequence[self.images["sequence"]])
        )
        self.images, self.annotations = self.images[order], self.annotations[order]
        place = self.images[["sequence", "camera", "frame"]]
        same = place[1:] == place[:-1]
        if same.any():
            row = int(np.flatnonzero(same)[0])
            first, second = self.images["id"][row : row + 2]
            raise DataError(
                f"{self.path} lists {self._official_name(row)} twice, as images {first} and "
                f"{second}; expected each frame of a sequence and camera once"
            )

    def keep(self, rows: NDArray[np.bool_]) -> None:
        self.images, self.annotations = self.images[rows], self.annotations[rows]

    def groups(self) -> list[NDArray[np.int64]]:
        """Row numbers of each sequence and camera."""
        images = self.images
        changes = (np.diff(images["sequence"]) != 0) | (np.diff(images["camera"]) != 0)
        cuts = [0, *(np.flatnonzero(changes) + 1).tolist(), len(images)]
        return [np.arange(a, b) for a, b in pairwise(cuts) if b > a]

    def odd_name(self, row: int) -> str | None:
        """File name of a row below images/{split}/ where it is not the official one."""
        return self.odd_names.get(int(self.images[row]["id"])) if self.odd_names else None

    def file_name(self, row: int) -> str:
        """Path below images/{split}/, as data.json gives it."""
        return self.odd_name(row) or self._official_name(row)

    def _official_name(self, row: int) -> str:
        image = self.images[row]
        sequence, camera = self.sequences[image["sequence"]], self.cameras[image["camera"]]
        return official_name(sequence, camera, image["frame"])


def official_name(sequence: str, camera: str, frame: int) -> str:
    """Where the release keeps a picture, below images/{split}/."""
    return f"{sequence}/cam{camera}/image{frame}.jpg"


class ByMoment:
    """Rows of one file looked up by (capture, frame): the moment that all cameras share."""

    def __init__(self, rows: NDArray) -> None:
        self.rows = rows
        keys = zip(rows["capture"].tolist(), rows["frame"].tolist())
        self.place = {key: i for i, key in enumerate(keys)}

    def get(self, capture: int, frame: int) -> NDArray | None:
        i = self.place.get((capture, frame))
        return None if i is None else self.rows[i]


def read_joints(path: Path) -> ByMoment:
    """joint_3d.json. The first release holds a bare (42,3) list: validity is NOT_TOLD there."""
    return _read_moments(path, _stamp(path), "joints")


def read_fits(path: Path) -> ByMoment:
    """MANO_NeuralAnnot.json: world frame, pose without MANO's mean; NaN where a hand is null."""
    return _read_moments(path, _stamp(path), "fits")


def read_camera(path: Path, capture: str, camera: str) -> tuple[NDArray, NDArray] | None:
    """K (3,3) px and T world (m) -> camera (4,4) of camera.json; None where it lacks the camera.

    The file is {capture: {campos mm, camrot, focal, princpt: {camera: numbers}}}.
    Raises DataError.
    """
    try:
        entry = _read_cameras(path, _stamp(path))[capture]
        found = {name: np.array(entry[name][camera], np.float64) for name in CAMERA}
    except KeyError:
        return None
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}, entry {capture}: {_reason(error)}") from error
    for name, shape in CAMERA.items():
        if found[name].shape != shape or not np.isfinite(found[name]).all():
            raise DataError(f"{path}: {name} of {capture}/{camera} is not {shape} finite numbers")
    R, focal, centre = found["camrot"], found["focal"], found["princpt"]
    if np.abs(R @ R.T - np.eye(3)).max() > 1e-3 or np.linalg.det(R) < 0:
        raise DataError(f"{path}: camrot of {capture}/{camera} is no rotation")
    K = np.array([[focal[0], 0, centre[0]], [0, focal[1], centre[1]], [0, 0, 1]])
    T = np.eye(4)
    T[:3, :3] = R
    T[:3, 3] = -R @ found["campos"] / 1000
    return K, T


def read_ids(path: Path) -> NDArray[np.int64]:
    """A list of annotation ids, one a line, sorted."""
    try:
        return np.sort(np.array(path.read_text(encoding="utf-8").split(), dtype=np.int64))
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except ValueError as error:
        raise DataError(f"{path} should hold one annotation id a line: {error}") from error


def _stamp(path: Path) -> tuple[int, int]:
    try:
        state = path.stat()
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    return state.st_size, state.st_mtime_ns


@lru_cache(maxsize=4)
def _read_moments(path: Path, stamp: tuple[int, int], kind: str) -> ByMoment:
    """Kept once a process: a worker gets many sequences of one tree. stamp: size and time."""
    dtype, convert = {"joints": (JOINTS, _joints), "fits": (FITS, _fit)}[kind]
    return ByMoment(_collect(path, stream(path), dtype, convert, keyed=True))


@lru_cache(maxsize=4)
def _read_cameras(path: Path, stamp: tuple[int, int]) -> dict[str, dict]:
    return files.read_json(path)


def _collect(path: Path, items: Any, dtype: np.dtype, convert: Any, keyed: bool = False) -> NDArray:
    """Stream items into one structured array. keyed: the two keys come first in each row."""
    at: tuple = ()

    def rows() -> Iterator[tuple]:
        nonlocal at
        for at, value in items:
            yield (int(at[0]), int(at[1]), *convert(value)) if keyed else convert(value)

    try:
        return np.fromiter(rows(), dtype)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        where = "/".join(str(key) for key in at)
        raise DataError(f"{path}, entry {where}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"expected a field {error}, found none"
    return f"not as expected ({error})"


def _annotation(v: dict) -> tuple:
    valid = np.ravel(v["joint_valid"])
    if valid.shape != (42,):
        raise ValueError(f"joint_valid: expected (42, 1), found {np.shape(v['joint_valid'])}")
    kind = v["hand_type"]
    if kind not in HAND_TYPES:
        raise ValueError(f"hand_type: expected one of {', '.join(HAND_TYPES)}, found {kind!r}")
    hand_type_valid = int(v["hand_type_valid"])
    return v["id"], v["image_id"], v["bbox"], valid, HAND_TYPES.index(kind), hand_type_valid


def _joints(v: Any) -> tuple:
    if isinstance(v, list):
        return v, np.full(42, NOT_TOLD)
    return v["world_coord"], np.ravel(v["joint_valid"])


def _fit(v: dict) -> tuple:
    return tuple(
        [_fit_values(v.get(side), side, name, length) for side in SIDES]
        for name, length in FIT_LENGTHS
    )


def _fit_values(hand: dict | None, side: str, name: str, length: int) -> NDArray[np.float64]:
    values = np.full(length, np.nan) if hand is None else np.ravel(hand[name])
    if len(values) != length:
        raise ValueError(f"{side} {name}: expected {length} numbers, found {len(values)}")
    return values


def _ranks(names: list[str]) -> NDArray[np.int64]:
    """Each name's place in bytewise order."""
    rank = np.zeros(max(len(names), 1), np.int64)
    rank[sorted(range(len(names)), key=lambda i: names[i].encode())] = np.arange(len(names))
    return rank
