"""DexYCB's files: settings as safe YAML, calibration, and the label archives of single frames."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from handbench.datasets import ycb
from handbench.datasets.jpeg import Skip
from handbench.datasets.trees import page
from handbench.errors import DataError
from handbench.schema import SIDES

SIZE = (640, 480)
HAND = 255  # in seg
LARGEST_YML = 1_000_000  # bytes; the real ones have a few kB


@dataclass(frozen=True)
class Meta:
    """meta.yml of one sequence; objects are names, the grasped one at `grasped`."""

    frames: int
    side: str
    ycb_ids: tuple[int, ...]
    grasped: int
    mano_calib: str
    extrinsics: str | None

    @property
    def objects(self) -> tuple[str, ...]:
        return tuple(ycb.NAMES[number] for number in self.ycb_ids)


@dataclass(frozen=True)
class Labels:
    """labels_%06d.npz: seg (480,640), pose_y (O,3,4), pose_m (51,), joint_3d (21,3), joint_2d."""

    seg: NDArray[np.uint8]
    pose_y: NDArray[np.float32]
    pose_m: NDArray[np.float32]
    joint_3d: NDArray[np.float32]
    joint_2d: NDArray[np.float32]

    @property
    def no_hand(self) -> bool:
        """The released lists' rule: all three say that there is none."""
        return bool(
            (self.pose_m == 0).all() and (self.joint_3d == -1).all() and (self.joint_2d == -1).all()
        )


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Plain YAML and the tuples of extrinsics.yml; every other tag is refused."""


_Loader.add_constructor(
    "tag:yaml.org,2002:python/tuple",
    lambda loader, node: tuple(loader.construct_sequence(node, deep=True)),
)


def read_yaml(path: Path) -> dict[str, Any]:
    """A mapping from a YAML file; nothing in it is executed.

    Raises DataError when the file is missing, is no YAML, asks for anything but plain data, or
    holds no mapping.
    """
    try:
        if path.stat().st_size > LARGEST_YML:
            raise DataError(f"{path} is {path.stat().st_size:,} bytes long: not a file of DexYCB")
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        raise DataError(f"{path} is missing: unpack it there ({page('dexycb')})") from None
    except yaml.constructor.ConstructorError as error:
        raise DataError(
            f"{path} asks for more than plain data ({error.problem}): refused, nothing was run"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path} is not YAML ({what}): fetch it again") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} holds no settings by name: fetch it again")
    return content


def read_meta(path: Path) -> Meta:
    """meta.yml of a sequence. Raises DataError naming the setting that is not as expected."""
    content = read_yaml(path)
    meta = Meta(
        frames=_setting(path, content, "num_frames", int, lambda n: n >= 0, "a number of frames"),
        side=_first(path, content, "mano_sides", lambda s: s in SIDES, "right or left"),
        ycb_ids=tuple(_setting(path, content, "ycb_ids", list, _are_objects, "numbers 1 to 21")),
        grasped=_setting(path, content, "ycb_grasp_ind", int, lambda n: n >= 0, "an index"),
        mano_calib=_first(path, content, "mano_calib", _is_name, "one folder's name"),
        extrinsics=content.get("extrinsics"),
    )
    if meta.grasped >= len(meta.ycb_ids):
        raise DataError(
            f"{path}: ycb_grasp_ind is {meta.grasped}, expected below {len(meta.ycb_ids)}"
        )
    return meta


@lru_cache(maxsize=16)
def read_intrinsics(root: Path, serial: str) -> NDArray[np.float64]:
    """K (3,3) px of a camera's colour pictures."""
    path = root / "calibration" / "intrinsics" / f"{serial}_640x480.yml"
    color = read_yaml(path).get("color")
    try:
        fx, fy, ppx, ppy = (float(color[name]) for name in ("fx", "fy", "ppx", "ppy"))  # type: ignore
    except (TypeError, KeyError, ValueError) as error:
        raise DataError(f"{path}: expected color with fx, fy, ppx, ppy ({error})") from error
    return np.array([[fx, 0, ppx], [0, fy, ppy], [0, 0, 1]])


@lru_cache(maxsize=64)
def read_extrinsics(root: Path, name: str | None) -> dict[str, NDArray[np.float64]]:
    """T_world_camera (4,4), world to camera, by serial; the world is the master camera.

    The file has the other direction, x_master = R x_camera + t. Empty when the file is not there:
    no label needs it. Raises DataError for one that is no calibration.
    """
    path = root / "calibration" / f"extrinsics_{name}" / "extrinsics.yml"
    if name is None or not path.is_file():
        return {}
    found = {}
    for serial, values in (read_yaml(path).get("extrinsics") or {}).items():
        try:
            pose = np.array([float(value) for value in values]).reshape(3, 4)
        except (TypeError, ValueError) as error:
            raise DataError(f"{path}: expected 12 numbers for {serial} ({error})") from error
        R = pose[:, :3]
        if not np.abs(R @ R.T - np.eye(3)).max() < 1e-3:
            raise DataError(f"{path}: the pose of {serial} is no rotation")
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = R.T, -R.T @ pose[:, 3]
        found[str(serial)] = T
    return found


@lru_cache(maxsize=64)
def read_shape(root: Path, calib: str) -> NDArray[np.float64]:
    """betas (10,) of a subject's hand."""
    path = root / "calibration" / f"mano_{calib}" / "mano.yml"
    try:
        shape = np.array([float(value) for value in read_yaml(path)["betas"]])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: expected betas of 10 numbers ({error})") from error
    if shape.shape != (10,) or not np.isfinite(shape).all():
        raise DataError(f"{path}: expected betas of 10 numbers, found {shape.shape}")
    return shape


def read_labels(path: Path, objects: int) -> Labels:
    """The labels of one frame with so many objects. Raises Skip for what cannot be used."""
    shapes = {
        "seg": (SIZE[1], SIZE[0]),
        "pose_y": (objects, 3, 4),
        "pose_m": (1, 51),
        "joint_3d": (1, 21, 3),
        "joint_2d": (1, 21, 2),
    }
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            found = {name: archive[name] for name in shapes}
    except FileNotFoundError:
        raise Skip("labels missing") from None
    except KeyError as error:
        raise Skip(f"labels lack an array ({error})") from error
    except Exception as error:  # a damaged archive can fail in any way
        raise Skip("labels cannot be read") from error
    for name, shape in shapes.items():
        if found[name].shape != shape or found[name].dtype.kind not in "uif":
            raise Skip(f"labels: {name} is not of shape {shape}")
        if not np.isfinite(found[name]).all():
            raise Skip(f"labels: {name} not finite")
    single = {name: found[name][0] for name in ("pose_m", "joint_3d", "joint_2d")}
    return Labels(seg=found["seg"].astype(np.uint8), pose_y=found["pose_y"], **single)


def _setting(path: Path, content: dict, name: str, kind: type, holds: Callable, what: str) -> Any:
    value = content.get(name)
    if kind is list and isinstance(value, tuple):
        value = list(value)
    if not isinstance(value, kind) or isinstance(value, bool) or not holds(value):
        raise DataError(f"{path}: {name} should be {what}, found {str(value)[:40]!r}")
    return value


def _first(path: Path, content: dict, name: str, holds: Callable, what: str) -> str:
    """The only entry of a list: a sequence has one hand."""
    values = _setting(path, content, name, list, lambda v: len(v) == 1 and holds(v[0]), what)
    return values[0]


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and "/" not in value and ".." not in value


def _are_objects(values: list) -> bool:
    return bool(values) and all(value in ycb.NAMES for value in values)
