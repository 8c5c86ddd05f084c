"""Contact sheet of the grasp library: python tools/draw_grasps.py [--split S] [--out FILE.png].

Every grasp is drawn twice, from the back of the hand and from the thumb's side. Flat colours with
one light: the sheet is for judging the holds, not the rendering of scenes.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from handbench import raster
from handbench.hand import Hand
from handbench.synthesis.library import KINDS, SPLITS, LibraryGrasp, load_grasps
from handbench.synthesis.objects import make

SKIN = np.array([0.87, 0.67, 0.56])
LIGHT = np.array([-0.4, -0.6, -0.7]) / np.linalg.norm([0.4, 0.6, 0.7])
FACE_ON = np.array([[0, 0, 1.0], [1, 0, 0], [0, 1, 0]])  # fingers up, back of the hand behind


def draw(
    verts_m: NDArray, faces: NDArray, normals: NDArray, colours: NDArray, size: int, focal: float
) -> NDArray[np.uint8]:
    """RGB picture, twofold oversampled; colours (F, 3); normals per face corner (F, 3, 3)."""
    wide = 2 * size
    K = np.array([[2 * focal, 0, wide / 2], [0, 2 * focal, wide / 2], [0, 0, 1.0]])
    shown = raster.buffers(verts_m, faces, K, (wide, wide))
    face, hit = shown.face_id, shown.face_id >= 0
    across = (shown.weights[hit][..., None] * normals[face[hit]]).sum(1)
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
    shade = 0.38 + 0.62 * np.clip(across @ LIGHT, 0, 1)
    picture = np.full((wide, wide, 3), 0.93)
    picture[hit] = colours[face[hit]] * shade[:, None]
    return (cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA) * 255).astype(np.uint8)


def picture(hand: Hand, grasp: LibraryGrasp, pose: NDArray, size: int = 170) -> NDArray[np.uint8]:
    """One grasp from two sides, side by side."""
    verts, joints = hand.pose(pose[None], grasp.shape[None])
    verts = verts[0] - joints[0, 0]
    held = make(grasp.object_name, grasp.object_seed)
    thing = held.verts_m @ grasp.T_hand_object[:3, :3].T + grasp.T_hand_object[:3, 3]
    faces = np.concatenate([hand.faces, held.faces + len(verts)])
    colours = np.concatenate([np.tile(SKIN, (len(hand.faces), 1)), held.face_colours])
    points = np.concatenate([verts, thing])
    flat = np.cross(
        points[faces[:, 1]] - points[faces[:, 0]], points[faces[:, 2]] - points[faces[:, 0]]
    )
    smooth = np.zeros_like(verts)
    for k in range(3):
        np.add.at(smooth, hand.faces[:, k], flat[: len(hand.faces)])
    corners = np.repeat(flat[:, None] / np.linalg.norm(flat, axis=1)[:, None, None], 3, axis=1)
    smooth /= np.linalg.norm(smooth, axis=1, keepdims=True)
    corners[: len(hand.faces)] = smooth[hand.faces]
    middle = np.array([-0.085, -0.025, 0.0])
    views = []
    for turn in (_look(25, -12) @ FACE_ON, _look(100, -8) @ FACE_ON):
        shown = (points - middle) @ turn.T + [0, 0, 0.62]
        views.append(draw(shown, faces, corners @ turn.T, colours, size, 2.05 * size))
    return np.hstack(views)


def _look(yaw: float, pitch: float) -> NDArray:
    """Rotation about the picture's vertical, then about its horizontal axis, degrees."""
    return Rotation.from_euler("yx", [yaw, pitch], degrees=True).as_matrix()


def choose(grasps: list[LibraryGrasp], count: int) -> list[LibraryGrasp]:
    """Equally many of each kind, evenly taken from the list."""
    each = max(1, count // len(KINDS))
    chosen = []
    for kind in KINDS:
        own = [g for g in grasps if g.kind == kind]
        chosen += [own[i] for i in np.linspace(0, len(own) - 1, min(each, len(own))).astype(int)]
    return chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--split", choices=SPLITS, help="default: all")
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/grasps.png"))
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--pose", default="pose", choices=("pose", "pose_open", "pose_alt"))
    arguments = parser.parse_args()
    splits = [arguments.split] if arguments.split else SPLITS
    hand, cells = Hand.open(), []
    for grasp in choose([g for s in splits for g in load_grasps(s)], arguments.count):
        cell = np.ascontiguousarray(picture(hand, grasp, getattr(grasp, arguments.pose)))
        text = f"{grasp.object_name}, {grasp.kind}"
        cv2.putText(cell, text, (5, 14), 0, 0.42, (40, 40, 40), 1, cv2.LINE_AA)
        cells.append(cell)
    while len(cells) % 4:
        cells.append(np.full_like(cells[0], 237))
    sheet = np.vstack([np.hstack(cells[i : i + 4]) for i in range(0, len(cells), 4)])
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(arguments.out), sheet[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])


if __name__ == "__main__":
    main()
