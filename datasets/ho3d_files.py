"""Files of HO-3D and H2O-3D: annotation pickles, pictures, calibration, evaluation's truth."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbench.datasets.jpeg import Skip, read_picture
from handbench.datasets.png import png_size
from handbench.datasets.trees import page
from handbench.errors import DataError
from handbench.official.ho3d import read_truth
from handbench.official.jsonpoints import PointList
from handbench.pickles import load_pickle

SIZE = (640, 480)
NOT_ANNOTATED = "not annotated (None in its meta file)"


@dataclass(frozen=True)
class Meta:
    """One annotation pickle; values are taken out by name, shape and unit as the file has them."""

    values: Mapping[str, Any]

    def array(self, name: str, *shape: int) -> NDArray[np.float64]:
        """A numeric field of that many values. Raises Skip for one that is not there or not so."""
        found = self.values.get(name, self)
        if found is self:
            raise Skip(f"meta lacks {name}")
        if found is None:
            raise Skip(NOT_ANNOTATED)
        try:
            array = np.asarray(found, dtype=np.float64)
        except (TypeError, ValueError):
            raise Skip(f"meta: {name} is not numeric") from None
        if array.size != int(np.prod(shape)):
            raise Skip(f"meta: {name} is not of shape {shape}")
        if not np.isfinite(array).all():
            raise Skip(f"meta: {name} not finite")
        return array.reshape(shape)

    def text(self, name: str) -> str:
        found = self.values.get(name)
        if found is None:
            raise Skip(NOT_ANNOTATED if name in self.values else f"meta lacks {name}")
        if not isinstance(found, str) or "/" in found or ".." in found:
            raise Skip(f"meta: {name} is no name")
        return found

    def flags(self, name: str, count: int) -> NDArray[np.bool_]:
        """An optional field of 0 and 1; all set where the file does not have it."""
        if self.values.get(name) is None:
            return np.ones(count, bool)
        return self.array(name, count) > 0.5


def read_meta(path: Path) -> Meta:
    """An annotation pickle, of Python 2 or 3; nothing in it is executed.

    Raises Skip for a file that is missing or cut short, DataError for one that asks for more than
    plain data.
    """
    if not path.is_file():
        raise Skip("meta file missing")
    try:
        content = load_pickle(path)
    except DataError as error:
        if error.__cause__ is None:  # it names what is refused: nobody should go on from there
            raise
        raise Skip("meta file cannot be read") from None
    if not isinstance(content, dict):
        raise Skip("meta file holds no fields by name")
    return Meta(content)


def read_image(path: Path) -> bytes:
    """The bytes of a picture of 640 x 480, as shipped. Raises Skip for what cannot be used."""
    if path.suffix == ".jpg":
        return read_picture(path, SIZE)
    try:
        data = path.read_bytes()
        found = png_size(data)
    except FileNotFoundError:
        raise Skip("picture missing") from None
    except DataError as error:
        raise Skip(str(error)) from None
    if found != SIZE:
        raise Skip("picture is {} x {}, expected {} x {}".format(*found, *SIZE))
    return data


def intrinsics(meta: Meta) -> NDArray[np.float64]:
    """camMat: K (3,3) px."""
    K = meta.array("camMat", 3, 3)
    if not (K[[0, 1], [0, 1]] > 0).all() or np.abs(K[2] - [0, 0, 1]).max() > 1e-6:
        raise Skip("meta: camMat is no camera matrix")
    return K


@lru_cache(maxsize=64)
def read_cameras(root: Path, take: str) -> dict[str, NDArray[np.float64]]:
    """T_world_camera (4,4), world to camera, by camera digit; empty without calibration.

    trans_i.txt has the other direction and counts places in cam_orders.txt, not cameras. The world
    is the calibration's common frame. Raises DataError for a file that is no calibration.
    """
    folder = root / "calibration" / take / "calibration"
    if not (folder / "cam_orders.txt").is_file():
        return {}
    found = {}
    for place, camera in enumerate(np.atleast_1d(_numbers(folder / "cam_orders.txt")).astype(int)):
        path = folder / f"trans_{place}.txt"
        T = _numbers(path)
        if T.shape != (4, 4) or not np.abs(T[:3, :3] @ T[:3, :3].T - np.eye(3)).max() < 1e-3:
            raise DataError(f"{path}: expected a rigid 4 x 4 transform: unpack calibration again")
        found[str(camera)] = np.asarray(np.linalg.inv(T), np.float64)
    return found


def _numbers(path: Path) -> NDArray[np.float64]:
    try:
        return np.loadtxt(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}): unpack calibration again") from error


@dataclass(frozen=True)
class Truth:
    """evaluation_xyz.json and evaluation_verts.json, by line of evaluation.txt."""

    joints: PointList
    verts: PointList

    @classmethod
    def find(cls, folder: Path, lines: int) -> "Truth | None":
        """None where neither file is there. Raises DataError for other files than the list's."""
        names = ("evaluation_xyz.json", "evaluation_verts.json")
        lost = [name for name in names if not (folder / name).is_file()]
        if lost == list(names):
            return None
        if lost:
            raise DataError(
                f"{folder / lost[0]} is missing: the truth of evaluation is two files, put both "
                f"there or neither ({page('ho3d')})"
            )
        truth = cls(*read_truth(folder))
        for found, points in ((truth.joints, 21), (truth.verts, 778)):
            if (len(found), found.points_a_sample) != (lines, points):
                raise DataError(
                    f"{found.path} holds {len(found):,} x {found.points_a_sample} points; "
                    f"evaluation.txt asks for {lines:,} x {points}: is it of the other version?"
                )
        return truth

    def of(self, line: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Joints (21,3) and vertices (778,3) of a line, m, as in the files: OpenGL, MANO's order.

        Raises Skip where they are not finite.
        """
        joints, verts = (each.read(line, line + 1)[0] for each in (self.joints, self.verts))
        if not (np.isfinite(joints).all() and np.isfinite(verts).all()):
            raise Skip("evaluation truth not finite")
        return joints, verts
