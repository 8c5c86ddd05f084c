"""Predictions and ground truth of an official protocol, from whichever files hold them."""

import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from handbench import predictions as prediction_files
from handbench.errors import DataError, HandbenchError
from handbench.files import read_npz
from handbench.official import dexycb, ho3d
from handbench.official.hands import (
    CONVENTIONS,
    OfficialHands,
    PlacedHands,
    Points,
    kind_of,
    official_hands,
    place,
    rows_for,
)
from handbench.official.jsonpoints import index
from handbench.official.levels import listed_images, read_levels, takes
from handbench.store import open_split, prepared

AXES = (1.0, -1.0, -1.0)  # OpenGL <-> OpenCV


@dataclass(frozen=True)
class Options:
    """What a user may ask for; see handbench eval --help."""

    subset: bool = False
    on_nan: str = "error"
    assume_frame: str | None = None
    levels: Path | None = None


@dataclass(frozen=True)
class Case:
    """Predictions beside the truth: lists of points for the JSON protocols, arrays for DexYCB.

    number (N,): official lines; who: id, sequence, recording, level …; evaluation: conditions that
    are known; made: attributes of a predictions.h5.
    """

    number: NDArray[np.int64]
    who: Mapping[str, NDArray]
    evaluation: Mapping[str, Any]
    pred: tuple[Points, Points | None] | None = None
    true: tuple[Points, Points] | None = None
    results: Mapping[int, NDArray] = field(default_factory=dict)
    joint_3d: NDArray | None = None
    made: Mapping[str, Any] = field(default_factory=dict)


@contextmanager
def json_case(path: Path, truth: str, protocol: str, asked: Options) -> Iterator[Case]:
    """HO-3D or FreiHAND: pred.json, a zip with it, or predictions.h5 against a folder or split."""
    kind = kind_of(protocol)
    hands = split_of(truth, kind)
    evaluation = {"root_source": "camera frame, as in the file", **_told(hands, protocol, asked)}
    made: Mapping[str, Any] = {}
    with unpacked(path) as plain, ThreadPoolExecutor(1) as pool:
        # both files are a gigabyte at full size: look through them at the same time
        listed = None if is_hdf5(path) else pool.submit(index, plain, 2)
        pred: tuple[Points, Points | None]
        true: tuple[Points, Points]
        if hands is None:
            true = ho3d.read_truth(truth)
        if listed is None:
            if asked.assume_frame == "opengl":
                raise HandbenchError(
                    "--assume-frame is for official files: predictions.h5 is OpenCV"
                )
            found = prediction_files.read(path)
            if hands is None:
                placed, source = _by_line(found, path, truth, true[0], kind)
            else:
                hands, row = rows_for(found, hands, path, asked.subset)
                placed, source = place(found, path, row, hands.wrist_m(), kind)
            pred = placed.joints(), placed.verts()
            evaluation |= _root(source, found.attributes)
            made = found.attributes
        else:
            lists = listed.result()
            if asked.assume_frame not in (None, "opencv" if kind == "freihand" else "opengl"):
                lists = [replace(each, factor=AXES) for each in lists]
            pred = lists[0], lists[1]
        if hands is not None:
            true = hands.joints(), hands.verts()
        number = np.arange(len(true[0])) if hands is None else hands.number
        yield Case(number, _who(hands, truth, number, asked), evaluation, pred, true, made=made)


def dexycb_case(path: Path, truth: str, asked: Options) -> Case:
    """DexYCB: a results .txt or predictions.h5 against an .npz with joint_3d, or a split."""
    hands = None if truth.endswith(".npz") else split_of(truth, "dexycb")
    joint_3d = _joint_3d(Path(truth)) if hands is None else _of_hands(hands)
    evaluation = {"root_source": "wrist, camera position: as in the file"}
    evaluation |= _told(hands, "dexycb_hpe", asked)
    made: Mapping[str, Any] = {}
    if is_hdf5(path):
        found = prediction_files.read(path)
        made = found.attributes
        if hands is None:
            row, number = np.arange(len(found)), _numbers(found, path, [])
            if number.min() < 0 or number.max() >= len(joint_3d):
                wrong = number[(number < 0) | (number >= len(joint_3d))][0]
                raise DataError(f"{path} names index {wrong}, {truth} has 0 to {len(joint_3d) - 1}")
            if len(set(number.tolist())) != len(number):
                raise DataError(f"{path} names an index twice: keep one prediction of each")
            placed, source = place(found, path, row, joint_3d[number, 0].astype(float), "dexycb")
        else:
            kept, row = rows_for(found, hands, path, asked.subset)
            placed, source = place(found, path, row, kept.wrist_m(), "dexycb")
            number = kept.number
        evaluation |= _root(source, made, "wrist")
        in_mm = placed.joints().read(0, len(number)) * 1000
        results = dict(zip(number.tolist(), in_mm))
    else:
        results = dexycb.read_results(path)
    if asked.subset:
        absent = [i for i in range(len(joint_3d)) if i not in results]
        joint_3d = joint_3d.copy()
        joint_3d[absent] = -1
    scored = np.flatnonzero(~(joint_3d == -1).all((1, 2)))
    if not len(scored):
        raise DataError(f"{path} and {truth} have no sample in common")
    who = _who(hands, truth, scored, asked)
    return Case(scored, who, evaluation, results=results, joint_3d=joint_3d, made=made)


def is_hdf5(path: Path) -> bool:
    return path.is_file() and h5py.is_hdf5(path)


def split_of(truth: str, kind: str) -> OfficialHands | None:
    """The official hands of a prepared split; None when truth is a folder of official files."""
    name = truth.strip("/")
    if name in prepared() and not (Path(truth) / "evaluation_xyz.json").is_file():
        return official_hands(open_split(name), kind)
    if Path(truth).exists():
        if kind == "dexycb":
            raise HandbenchError(
                "--ground-truth for dexycb_hpe: a prepared split, or an .npz with joint_3d "
                "(N,21,3) in metres, row = index"
            )
        return None
    open_split(name)  # raises, naming the nearest prepared split
    return None


def _of_hands(hands: OfficialHands) -> NDArray[np.float32]:
    """joint_3d by index, -1 where the split has no hand."""
    joint_3d = np.full((int(hands.number.max()) + 1, 21, 3), -1, np.float32)
    joint_3d[hands.number] = hands.truth.split.hand_column("joints_m")[hands.hand]
    return joint_3d


def _joint_3d(path: Path) -> NDArray:
    arrays = read_npz(path)
    if "joint_3d" not in arrays:
        raise DataError(f"{path} holds {sorted(arrays)}, but no array joint_3d")
    joint_3d = arrays["joint_3d"]
    if joint_3d.dtype.kind != "f":
        raise DataError(f"{path}: joint_3d is of {joint_3d.dtype}, expected metres as floats")
    if joint_3d.ndim != 3 or joint_3d.shape[1:] != (21, 3):
        raise DataError(f"{path}: joint_3d is {joint_3d.shape}, expected (N, 21, 3)")
    return joint_3d


def _by_line(
    found: prediction_files.Predictions, path: Path, truth: str, joints: Points, kind: str
) -> tuple[PlacedHands, str]:
    """Predictions whose ids are lines of the list, against a folder of official files."""
    number = _numbers(found, path, listed_images(Path(truth)))
    order = np.argsort(number, kind="stable")
    if not np.array_equal(number[order], np.arange(len(joints))):
        raise DataError(
            f"{path} has {len(number):,} hands for the {len(joints):,} lines of {truth}: every "
            "line needs one. To score a part, give a prepared split as --ground-truth"
        )
    wrist = joints.read(0, len(joints))[:, 0] * CONVENTIONS[kind].axes
    return place(found, path, order, wrist, kind)


def _numbers(found: prediction_files.Predictions, path: Path, lines: list[str]) -> NDArray:
    """The official line of each prediction: its id is that number, or a line of evaluation.txt."""
    place_of = {line: k for k, line in enumerate(lines)}
    try:
        return np.array([place_of[name] if name in place_of else int(name) for name in found.id])
    except ValueError as error:
        raise DataError(
            f"{path}: ids such as '{found.id[0]}' name no line of the official list: give a "
            "prepared split as --ground-truth, or use the line's number (from 0) as id"
        ) from error


def _who(
    hands: OfficialHands | None, truth: str, number: NDArray, asked: Options
) -> dict[str, NDArray]:
    if hands is None:
        plain = {"id": number.astype(str), "is_left": np.zeros(len(number), bool)}
        return {**plain, **takes(Path(truth), number), **read_levels(asked.levels, number)}
    kept = np.isin(hands.number, number)
    found = {name: values[kept] for name, values in hands.who().items()}
    return found if asked.levels is None else found | read_levels(asked.levels, number)


def _told(hands: OfficialHands | None, protocol: str, asked: Options) -> dict[str, Any]:
    if hands is None:
        part = " (a part of it)" if asked.subset else ""
        rule = "from --levels" if asked.levels else "none"
        return {"data": protocol.removesuffix("_hpe") + part, "label_rule": rule}
    split = hands.truth.split
    return {
        "data": split.name,
        "dataset_version": str(split.attributes.get("dataset_version", "")),
        "label_rule": "from --levels" if asked.levels else hands.truth.rule,
    }


def _root(source: str, made: Mapping[str, Any], root: str = "camera frame") -> dict[str, Any]:
    where = "the predicted wrist" if source == "predicted" else "the true wrist"
    return {
        "root_source": f"{root}, placed at {where}",
        "box_source": str(made.get("box_source", "unknown")),
        "left_hands": "scored un-mirrored",
    }


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """pred.json itself, or the one inside a zip."""
    if not path.is_file():
        raise DataError(f"{path} does not exist")
    if path.suffix.lower() != ".zip":
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        plain = _extract(path, folder)
        try:
            yield plain
        except DataError as error:
            raise DataError(str(error).replace(str(plain), str(path))) from error


def _extract(path: Path, folder: str) -> Path:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if Path(name).name == "pred.json"]
            if len(names) != 1:
                raise DataError(f"{path} holds {len(names)} files named pred.json, expected one")
            return Path(archive.extract(names[0], folder))
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path} is no whole zip file: {error}") from error
    except (RuntimeError, NotImplementedError) as error:  # a password, an unknown compression
        raise DataError(f"{path} cannot be unpacked: {error}") from error
