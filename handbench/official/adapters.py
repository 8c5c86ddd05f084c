"""Prediction dumps of other projects -> our Predictions; docs/adapters.md says what is known."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbench import frames
from handbench.errors import DataError, UnknownName
from handbench.files import document, read_json, read_npz
from handbench.pickles import load_pickle
from handbench.predictions import Predictions
from handbench.store import Split

NAMES = ("image_name", "file_name", "img_name", "image", "name", "image_id", "id")


@dataclass(frozen=True)
class Adapter:
    """What a dump calls things and how its hands stand.

    joints, verts, side: names of the arrays, the first one found is taken; side counts 1 for right
    (or holds the words). order: their joint of ours; mirrored: left hands are given as right ones,
    mirrored in x; root: whether positions lie in the camera of the original picture.
    """

    name: str
    about: str
    joints: tuple[str, ...]
    verts: tuple[str, ...]
    side: tuple[str, ...]
    mirrored: bool
    root: bool = False
    order: tuple[int, ...] = tuple(range(21))
    axes: tuple[float, float, float] = (1.0, 1.0, 1.0)


ADAPTERS: dict[str, Adapter] = {
    adapter.name: adapter
    for adapter in (
        Adapter(
            "handoccnet",
            "HandOccNet's and HandGCAT's outputs joints3d, verts3d; left hands mirrored",
            ("joints3d", "joints_coord_cam"),
            ("verts3d", "mesh_coord_cam"),
            ("hand_type", "right", "is_right"),
            mirrored=True,
        ),
        Adapter(
            "h2onet",
            "H2ONet's outputs with global rotation; left hands mirrored",
            ("pred_joints3d_w_gr", "joints"),
            ("pred_verts3d_w_gr", "verts"),
            ("hand_type", "right", "is_right"),
            mirrored=True,
        ),
        Adapter(
            "mobrecon",
            "MobRecon's camera-oriented vertices with joints; left hands mirrored",
            ("joints", "pred_joints3d", "joint_pred"),
            ("verts", "pred_verts3d", "mesh_pred"),
            ("hand_type", "right", "is_right"),
            mirrored=True,
        ),
        Adapter(
            "hamer",
            "HaMeR-style pred_keypoints_3d, pred_vertices; left hands mirrored",
            ("pred_keypoints_3d", "keypoints_3d", "joints"),
            ("pred_vertices", "vertices", "verts"),
            ("right", "is_right", "hand_type"),
            mirrored=True,
        ),
        Adapter(
            "ho3d_json",
            "HO-3D's convention for any dump: OpenGL axes, HO-3D's joint order, camera frame",
            ("xyz", "joints"),
            ("verts", "vertices"),
            ("right", "is_right", "hand_type"),
            mirrored=False,
            root=True,
            order=tuple(frames.HO3D.tolist()),
            axes=(1.0, -1.0, -1.0),
        ),
    )
}


def adapt(path: Path, adapter_name: str, split: Split) -> Predictions:
    """The dump's hands as Predictions whose ids are those of the split.

    Dumps are .npz, .pkl or .json: arrays of one row a hand, a list of records, or records by image
    name. Images are found by id, path, official index, or the end of the path where that is unique.
    A dump without sides takes them from the split. Raises DataError saying what does not fit.
    """
    if adapter_name not in ADAPTERS:
        raise UnknownName("adapter", adapter_name, ADAPTERS, document("adapters.md"))
    adapter = ADAPTERS[adapter_name]
    columns = as_columns(read_dump(path), path)
    names = _names(columns, path)
    joints = _array(columns, adapter.joints, (21, 3), path, needed=True)
    verts = _array(columns, adapter.verts, (778, 3), path, needed=False)
    assert joints is not None
    if len(joints) != len(names) or (verts is not None and len(verts) != len(names)):
        raise DataError(f"{path}: {len(names)} image names for {len(joints)} hands: one each")
    row = find_images(names, split, path)
    is_left = _sides(columns, adapter, split, row, path)
    joints = joints[:, list(adapter.order)] * np.array(adapter.axes)
    wrist = joints[:, :1].copy()
    joints = joints - wrist
    verts = None if verts is None else verts * np.array(adapter.axes) - wrist
    if adapter.mirrored:
        for points in (joints, verts):
            if points is not None:
                points[is_left] = frames.mirror_points(points[is_left])
    source = "predicted" if adapter.root else "none"
    return Predictions(
        id=np.asarray(split.columns["id"])[row].astype(str),
        is_left=is_left,
        joints_m=joints.astype(np.float32),
        verts_m=None if verts is None else verts.astype(np.float32),
        root_m=wrist[:, 0].astype(np.float32) if adapter.root else None,
        attributes={"root_source": source, "adapter": adapter.name, "method": path.stem},
    )


def read_dump(path: Path) -> Any:
    """The content of a .npz, .pkl or .json file; pickles are read without running anything."""
    if not path.is_file():
        raise DataError(f"{path} does not exist")
    if path.suffix == ".json":
        return read_json(path)
    if path.suffix in (".pkl", ".pickle"):
        return load_pickle(path)
    if path.suffix != ".npz":
        raise DataError(f"{path}: a dump is .npz, .pkl or .json, not {path.suffix or 'that'}")
    return read_npz(path)


def as_columns(dump: Any, path: Path) -> dict[str, list]:
    """Columns of one row a hand, from columns, a list of records or records by image name."""
    if isinstance(dump, Mapping) and dump and all(isinstance(v, Mapping) for v in dump.values()):
        dump = [{"image_name": name, **record} for name, record in dump.items()]
    if isinstance(dump, list) and dump and all(isinstance(record, Mapping) for record in dump):
        keys = set(dump[0])
        for number, record in enumerate(dump):
            if set(record) != keys:
                raise DataError(
                    f"{path}: record {number} has {sorted(set(record) ^ keys)} differently from "
                    "record 0: all records need the same names"
                )
        return {key: [record[key] for record in dump] for key in dump[0]}
    if isinstance(dump, Mapping) and dump:
        return {str(name): list(values) for name, values in dump.items() if np.ndim(values)}
    raise DataError(f"{path}: expected arrays by name, a list of records, or records by image name")


def _names(columns: Mapping[str, list], path: Path) -> list[str]:
    for key in NAMES:
        if key in columns:
            return [str(each) for each in _single(columns, key, path)]
    raise DataError(f"{path} has {sorted(columns)}, but no image names: one of {', '.join(NAMES)}")


def _single(columns: Mapping[str, list], key: str, path: Path) -> list[Any]:
    """One value a hand; texts out of bytes."""
    try:
        values = [np.asarray(value).item() for value in columns[key]]
    except ValueError as error:
        raise DataError(f"{path}: {key} holds several values for one hand") from error
    return [each.decode("utf-8", "replace") if isinstance(each, bytes) else each for each in values]


def _array(
    columns: Mapping[str, list],
    keys: tuple[str, ...],
    shape: tuple[int, int],
    path: Path,
    needed: bool,
) -> NDArray[np.float64] | None:
    key = next((key for key in keys if key in columns), None)
    if key is None:
        if needed:
            raise DataError(f"{path} has {sorted(columns)}, but none of {', '.join(keys)}")
        return None
    try:
        values = np.array([np.squeeze(np.asarray(v, dtype=np.float64)) for v in columns[key]])
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: {key} is no array of numbers of one shape ({error})") from error
    if values.shape[1:] != shape:
        raise DataError(f"{path}: {key} is {values.shape}, expected (N, {shape[0]}, {shape[1]})")
    return values


def find_images(names: list[str], split: Split, path: Path) -> NDArray[np.int64]:
    """The split's row of each name; a plain number is an official index, nothing else.

    Raises DataError naming the first that is not found.
    """
    known: dict[str, int] = {}
    columns = split.columns
    for row, (id, place) in enumerate(zip(columns["id"], columns["image_path"])):
        for text in {*_endings(str(place)), *_endings(str(id))}:
            # a name that fits two images fits none
            known[text] = row if known.get(text, row) == row else -1
    official = {n: row for row, n in enumerate(columns["official_index"].tolist()) if n >= 0}
    found = np.array([_image(_bare(name), known, official) for name in names], np.int64)
    if (found < 0).any():
        first = names[int(np.flatnonzero(found < 0)[0])]
        why = "fits several images" if _bare(first) in known else "is unknown"
        raise DataError(
            f"{path}: image '{first}' {why} in {split.name}, whose images are called like "
            f"'{columns['id'][0]}' or '{columns['image_path'][0]}' or their official index"
        )
    return found


def _image(name: str, known: Mapping[str, int], official: Mapping[int, int]) -> int:
    return official.get(int(name), -1) if name.isdigit() else known.get(name, -1)


def _endings(place: str) -> list[str]:
    """All ends of a path without its extension: a/b/c.png -> a/b/c, b/c, c."""
    parts = PurePosixPath(_bare(place)).parts
    return ["/".join(parts[k:]) for k in range(len(parts))]


def _bare(name: str) -> str:
    """Without the extension of a picture and without a leading ./"""
    plain = PurePosixPath(name)
    ending = plain.suffix.lower()
    return (plain.with_suffix("") if ending in (".jpg", ".jpeg", ".png") else plain).as_posix()


def _sides(
    columns: Mapping[str, list], adapter: Adapter, split: Split, row: NDArray, path: Path
) -> NDArray[np.bool_]:
    key = next((key for key in adapter.side if key in columns), None)
    if key is not None:
        words = {"left": True, "right": False, 0: True, 1: False}  # is the hand a left one
        values = [v.lower() if isinstance(v, str) else v for v in _single(columns, key, path)]
        if len(values) != len(row):
            raise DataError(f"{path}: {len(values)} sides in {key} for {len(row)} hands: one each")
        unknown = [value for value in values if value not in words]
        if unknown:
            raise DataError(f"{path}: {key} holds {unknown[0]!r}, expected left or right, 0 or 1")
        return np.array([words[value] for value in values])
    left = {int(r): bool(side) for r, side in zip(split.hands.row, split.hands.is_left)}
    counts = np.bincount(split.hands.row, minlength=len(split))
    if (counts[row] != 1).any():
        first = split.columns["id"][row[counts[row] != 1][0]]
        raise DataError(
            f"{path} names no sides (one of {', '.join(adapter.side)}), and '{first}' has "
            f"{counts[row[counts[row] != 1][0]]} annotated hands"
        )
    return np.array([left[int(r)] for r in row])
