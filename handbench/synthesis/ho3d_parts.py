"""What the formats of HO-3D and H2O-3D share: their frame, pickles, pictures, lists, models."""

import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from handbench import files, frames
from handbench.datasets.ycb import NAMES, model_path
from handbench.hand import Hand
from handbench.records import HandRecord, ObjectRecord
from handbench.rigid import move_hand
from handbench.synthesis.likeness import obj_text, object_mesh
from handbench.synthesis.takes import Shot, draw_layers

SIZE = (640, 480)
FLIP = np.diag(frames.OPENGL)
DEPTH_SCALE_M = 0.00012498664727900177  # a step of the depth pictures
TO_THEIRS = np.argsort(frames.HO3D)
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def to_theirs(points_m: NDArray) -> NDArray:
    """Points of the OpenCV camera in the OpenGL camera."""
    return points_m * frames.OPENGL


def joints_of(record: HandRecord) -> NDArray[np.float32]:
    """(21,3) m in the files' frame and order."""
    return to_theirs(record.joints_m)[TO_THEIRS].astype(np.float32)


def mano_of(record: HandRecord, hand: Hand) -> tuple[NDArray, NDArray, NDArray]:
    """Pose (48,) with the mean, translation (3,) and shape (10,) in the OpenGL frame, float32."""
    shape = np.asarray(record.mano_shape, np.float64)
    rest = hand.rest_joints(shape[None])[:, 0]
    own_pose, own_trans = np.asarray(record.mano_pose)[None], np.asarray(record.mano_trans_m)[None]
    pose, trans = move_hand(own_pose, own_trans, rest, FLIP, np.zeros(3))
    return pose[0].astype(np.float32), trans[0].astype(np.float32), shape.astype(np.float32)


def box_of(record: HandRecord) -> list[float]:
    """A bounding box as evaluation files have it: x1 y1 x2 y2 px of the joints, in the picture."""
    corners = np.concatenate([record.joints_px.min(0), record.joints_px.max(0)])
    return np.rint(np.clip(corners, 0, np.tile(SIZE, 2) - 1)).tolist()


def object_of(thing: ObjectRecord) -> dict[str, Any]:
    """objRot (3,1), objTrans (3,), name, number and box corners of an object."""
    R, t = FLIP @ thing.T_camera[:3, :3], to_theirs(thing.T_camera[:3, 3])
    verts = object_mesh(thing.name).verts_m
    low, high = verts.min(0), verts.max(0)
    corners = low + (high - low) * np.stack(np.meshgrid(*[[0, 1]] * 3), -1).reshape(8, 3)
    return {
        "objRot": Rotation.from_matrix(R).as_rotvec()[:, None].astype(np.float32),
        "objTrans": t.astype(np.float32),
        "objName": thing.name,
        "objLabel": next(number for number, name in NAMES.items() if name == thing.name),
        "objCorners3D": (corners @ R.T + t).astype(np.float32),
        "objCorners3DRest": corners.astype(np.float32),
    }


def python2_pickle(content: Any) -> bytes:
    """A pickle that Python 2 and numpy 1 read: protocol 2, numpy's core by its old name."""
    data = pickle.dumps(content, protocol=2)
    return data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def depth_png(shot: Shot) -> bytes:
    """8-bit PNG of three channels: steps of depth, the low byte in red, the high one in green."""
    assert shot.scene is not None
    steps = np.rint(draw_layers(shot.scene)[1] / DEPTH_SCALE_M).clip(0, 65_535).astype(np.int64)
    bgr = np.stack([np.zeros_like(steps), steps >> 8, steps & 255], -1)
    return cv2.imencode(".png", bgr.astype(np.uint8))[1].tobytes()


def mask_colours(
    shot: Shot, colours: Mapping[str, tuple[int, int, int]], step: int
) -> NDArray[np.uint8]:
    """RGB (h,w,3) of what each block of step x step pixels shows, by the meshes' kinds."""
    assert shot.scene is not None
    owner = draw_layers(shot.scene)[0][step // 2 :: step, step // 2 :: step]
    table = [colours.get(mesh.kind, (0, 0, 0)) for mesh in shot.scene.meshes] + [(0, 0, 0)]
    return np.array(table, np.uint8)[owner]


def as_png(jpeg: bytes) -> bytes:
    """The picture of a JPEG as PNG."""
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return cv2.imencode(".png", picture)[1].tobytes()


def write_list(path: Path, lines: Iterable[tuple[str, int]]) -> None:
    """A list of frames, SEQUENCE/0000 a line."""
    files.write_text(path, "".join(f"{sequence}/{frame:04d}\n" for sequence, frame in lines))


def write_models(folder: Path, names: Iterable[str]) -> None:
    """An OBJ file of each object, by its YCB name, in the models' folder layout."""
    for name in sorted(names):
        files.write_text(model_path(folder, name), obj_text(name))
