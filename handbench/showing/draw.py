"""Pictures of hands: joints, boxes and meshes over a photograph, side views, contact sheets.

Pure functions: uint8 RGB in, a new uint8 RGB out. Finger colours are Okabe and Ito's, which stay
apart for colour-blind readers; what is occluded is hollow (joints) or hatched (mesh), so that no
meaning rests on colour alone. Pixel centres are integers, in every enlargement too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from handbench.errors import ShapeError
from handbench.frames import BONES
from handbench.raster import Buffers, buffers

# palm, thumb, index, middle, ring, little
COLOURS = np.array(
    [
        [235, 235, 235],
        [230, 159, 0],
        [86, 180, 233],
        [0, 158, 115],
        [240, 228, 66],
        [204, 121, 167],
    ],
    dtype=np.uint8,
)
BACKDROP = (24, 26, 30)
INK = (245, 245, 245)
BOX = (255, 255, 255)
JOINT_PART = np.array([0] + [part for part in range(1, 6) for _ in range(4)])
FONT = cv2.FONT_HERSHEY_SIMPLEX
SHIFT = 4  # cv2 draws at 1/16 px
ALPHA = 0.62  # how much of the picture a mesh covers


@dataclass(frozen=True)
class Drawing:
    """What is to be drawn of one hand; all of it is optional.

    joints_px (21,2) px, NaN for none; fingers_visible (5,) 1, 0 or 255 unknown; verts_m (V,3) in
    the camera frame with faces (F,3) and face_part (F,); box_px (4,) x y w h; mark: a letter at the
    wrist; lines of text.
    """

    joints_px: NDArray | None = None
    fingers_visible: NDArray = field(default_factory=lambda: np.full(5, 255))
    verts_m: NDArray | None = None
    faces: NDArray | None = None
    face_part: NDArray | None = None
    box_px: NDArray | None = None
    mark: str = ""
    lines: tuple[str, ...] = ()


def encoded(picture: NDArray[np.uint8], ending: str = ".png", quality: int = 95) -> bytes:
    """A file's bytes of an RGB picture (h,w,3). ending: `.png`, or `.jpg` of that quality."""
    options = [] if ending == ".png" else [cv2.IMWRITE_JPEG_QUALITY, quality]
    return cv2.imencode(ending, picture[..., ::-1], options)[1].tobytes()


def enlarged(image: NDArray, at_least: int = 512) -> tuple[NDArray, int]:
    """The picture whole times larger, so that its shorter side has at_least px, and the factor."""
    _check(image)
    factor = max(1, -(-at_least // min(image.shape[:2])))
    if factor == 1:
        return image.copy(), 1
    size = (image.shape[1] * factor, image.shape[0] * factor)
    return cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), factor


def skeleton(
    image: NDArray, joints_px: NDArray, fingers_visible: NDArray | None = None, scale: float = 1.0
) -> NDArray:
    """Bones and joints over the image; joints of an occluded finger are hollow, its bones thin.

    joints_px (21,2) in the pixels of this image, NaN where unknown; scale: size of dots and lines.
    """
    image = image.copy()
    joints_px = np.asarray(joints_px, np.float64)
    if joints_px.shape != (21, 2):
        raise ShapeError(f"joints_px is {joints_px.shape}, expected (21, 2)")
    flags = np.full(5, 255) if fingers_visible is None else np.asarray(fingers_visible)
    hidden = np.concatenate([[False], flags == 0])[JOINT_PART]
    # a joint far outside the picture would overflow cv2's fixed-point numbers
    known = np.isfinite(joints_px).all(1) & (np.abs(joints_px) < 2**15).all(1)
    points = np.round(np.where(known[:, None], joints_px, 0) * 2**SHIFT).astype(int)
    thick, radius = max(1, round(2 * scale)), max(2.0, 3.6 * scale)
    for a, b in BONES.tolist():
        if known[a] and known[b]:
            ends = points[a].tolist(), points[b].tolist()
            if not hidden[b]:
                cv2.line(image, *ends, (0, 0, 0), thick + 2, 16, SHIFT)
            cv2.line(image, *ends, _colour(JOINT_PART[b]), 1 if hidden[b] else thick, 16, SHIFT)
    for j in np.flatnonzero(known):
        centre, size = points[j].tolist(), round(radius * 2**SHIFT)
        cv2.circle(image, centre, size + 2**SHIFT, (0, 0, 0), -1, 16, SHIFT)
        width = thick if hidden[j] else -1
        cv2.circle(image, centre, size, _colour(JOINT_PART[j]), width, 16, SHIFT)
    return image


def box(image: NDArray, box_px: NDArray, colour: tuple[int, int, int] = BOX) -> NDArray:
    """A box x, y, width, height over the image; nothing where it is NaN."""
    image = image.copy()
    if np.isfinite(box_px).all():
        corners = np.array([box_px[:2], np.asarray(box_px[:2]) + box_px[2:]])
        a, b = np.round(np.clip(corners, -(2**14), 2**14) * 2**SHIFT).astype(int).tolist()
        cv2.rectangle(image, a, b, (0, 0, 0), 3, 16, SHIFT)
        cv2.rectangle(image, a, b, colour, 1, 16, SHIFT)
    return image


def mesh(
    image: NDArray,
    verts_m: NDArray,
    faces: NDArray,
    K: NDArray,
    face_part: NDArray | None = None,
    fingers_visible: NDArray | None = None,
    alpha: float = ALPHA,
) -> NDArray:
    """A shaded, half-transparent mesh over the image; occluded fingers are hatched.

    verts_m (V,3) m in the camera frame, faces (F,3), K (3,3) px of this image; face_part (F,) 0..5
    colours the parts, grey without; fingers_visible (5,) as in Drawing.
    """
    height, width = image.shape[:2]
    drawn = buffers(verts_m, faces, K, (width, height))
    covered = drawn.face_id >= 0
    if not covered.any():
        return image.copy()
    part = np.zeros(len(faces), int) if face_part is None else np.asarray(face_part, int)
    part_seen = part[drawn.face_id]
    shade = _shading(verts_m, faces, drawn)
    colour = COLOURS[part_seen] * shade[..., None]
    weight = np.where(covered, alpha, 0.0)
    if fingers_visible is not None:
        hidden = np.concatenate([[False], np.asarray(fingers_visible) == 0])[part_seen]
        y, x = np.mgrid[:height, :width]
        weight[hidden & ((x + y) // 4 % 2 == 0)] *= 0.12
    blend = image * (1 - weight[..., None]) + colour * weight[..., None]
    return np.clip(np.round(blend), 0, 255).astype(np.uint8)


def side_view(drawings: Sequence[Drawing], size: tuple[int, int]) -> NDArray:
    """Meshes seen from the camera's right at a quarter turn, filling a picture of size (w,h)."""
    image = np.full((size[1], size[0], 3), BACKDROP, np.uint8)
    shown = [drawing for drawing in drawings if drawing.verts_m is not None]
    if not shown:
        return image
    everything = np.concatenate([drawing.verts_m for drawing in shown])
    centre = (everything.min(0) + everything.max(0)) / 2
    quarter = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    turned = [(drawing.verts_m - centre) @ quarter.T for drawing in shown]
    reach = max(np.abs(np.concatenate(turned)[:, :2]).max(), 1e-6)
    # from far away, so that the view is nearly without perspective
    far = 100 * reach
    focal = 0.46 * min(size) * (far - reach) / reach
    K = np.array([[focal, 0, (size[0] - 1) / 2], [0, focal, (size[1] - 1) / 2], [0, 0, 1]])
    order = np.argsort([-verts[:, 2].mean() for verts in turned])
    for i in order:
        verts = turned[i] + [0, 0, far]
        image = _mesh_of(image, shown[i], verts, K, alpha=1.0)
    return label(image, ("seen from the right",))


def label(image: NDArray, lines: Sequence[str], corner: str = "top") -> NDArray:
    """Small text on a darkened strip in the top or bottom left corner."""
    image = image.copy()
    size = 0.42 if image.shape[1] >= 400 else 0.34
    step = round(38 * size)
    boxes = [cv2.getTextSize(line, FONT, size, 1)[0] for line in lines]
    if not boxes:
        return image
    width = min(image.shape[1], max(w for w, _ in boxes) + 8)
    height = min(image.shape[0], step * len(lines) + 6)
    top = 0 if corner == "top" else image.shape[0] - height
    image[top : top + height, :width] = image[top : top + height, :width] // 4
    for i, line in enumerate(lines):
        at = (4, top + step * (i + 1) - 2)
        cv2.putText(image, line, at, FONT, size, INK, 1, cv2.LINE_AA)
    return image


def overlay(
    image: NDArray,
    drawings: Sequence[Drawing],
    K: NDArray,
    at_least: int = 512,
    title: Sequence[str] = (),
) -> NDArray:
    """Photograph with meshes, boxes, joints and text, enlarged to be readable.

    K (3,3) and all pixels are those of the image given.
    """
    picture, factor = enlarged(image, at_least)
    for drawing in drawings:
        if drawing.verts_m is not None:
            picture = _mesh_of(picture, drawing, drawing.verts_m, enlarged_K(K, factor))
    for drawing in drawings:
        if drawing.box_px is not None:
            corner = (np.asarray(drawing.box_px[:2]) + 0.5) * factor - 0.5
            picture = box(
                picture, np.concatenate([corner, np.asarray(drawing.box_px[2:]) * factor])
            )
        if drawing.joints_px is not None:
            points = (np.asarray(drawing.joints_px) + 0.5) * factor - 0.5
            scale = max(0.5, min(picture.shape[:2]) / 640)
            picture = skeleton(picture, points, drawing.fingers_visible, scale)
            picture = _letter(picture, points[0], drawing.mark)
    lines = [line for drawing in drawings for line in drawing.lines]
    return label(label(picture, title), lines, "bottom")


def close_up(
    image: NDArray, drawings: Sequence[Drawing], K: NDArray, margin: float = 2.0
) -> tuple[NDArray, list[Drawing], NDArray]:
    """The square part of the picture around all hands, with the drawings and K moved along.

    margin: side of the square over the extent of the hands; black beyond the picture's border.
    """
    points = [d.joints_px for d in drawings if d.joints_px is not None]
    points += [np.reshape(d.box_px, (2, 2)).cumsum(0) for d in drawings if d.box_px is not None]
    known = np.concatenate([*points, np.empty((0, 2))])
    known = known[np.isfinite(known).all(1)]
    size = np.array(image.shape[1::-1])
    if not len(known):
        return image, list(drawings), K
    low, high = np.clip(known.min(0), 0, size), np.clip(known.max(0), 0, size)
    side = int(np.clip(np.ceil((high - low).max() * margin), 16, size.max()))
    first = np.round((low + high - side) / 2).astype(int)
    part = np.zeros((side, side, 3), np.uint8)
    start, stop = np.maximum(first, 0), np.minimum(first + side, size)
    into = tuple(slice(a, b) for a, b in zip((start - first)[::-1], (stop - first)[::-1]))
    part[into] = image[start[1] : stop[1], start[0] : stop[0]]
    K = np.array(K, dtype=np.float64)
    K[:2, 2] -= first
    moved = [
        replace(
            d,
            joints_px=None if d.joints_px is None else d.joints_px - first,
            box_px=None if d.box_px is None else d.box_px - [*first, 0, 0],
        )
        for d in drawings
    ]
    return part, moved, K


def enlarged_K(K: NDArray, factor: float) -> NDArray:
    """K of the picture `enlarged` by factor: pixel x becomes (x + 0.5) factor - 0.5."""
    K = np.array(K, dtype=np.float64)
    K[:2] *= factor
    K[:2, 2] += (factor - 1) / 2
    return K


def contact_sheet(images: Sequence[NDArray], columns: int = 6, cell: int = 256) -> NDArray:
    """Pictures of any size in a grid of square cells, their shape kept. Raises ShapeError."""
    if not images:
        raise ShapeError("a contact sheet needs at least one picture")
    gap = 4
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    shape = (rows * (cell + gap) + gap, columns * (cell + gap) + gap, 3)
    sheet = np.full(shape, BACKDROP, np.uint8)
    for i, image in enumerate(images):
        _check(image)
        factor = cell / max(image.shape[:2])
        size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
        method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        small = cv2.resize(image, size, interpolation=method)
        top = gap + (i // columns) * (cell + gap) + (cell - size[1]) // 2
        left = gap + (i % columns) * (cell + gap) + (cell - size[0]) // 2
        sheet[top : top + size[1], left : left + size[0]] = small
    return sheet


def beside(*images: NDArray) -> NDArray:
    """Pictures of one height in a row."""
    if len({image.shape[0] for image in images}) != 1:
        raise ShapeError("pictures beside each other need the same height")
    return np.concatenate(images, axis=1)


def _mesh_of(
    image: NDArray, drawing: Drawing, verts_m: NDArray, K: NDArray, alpha: float = ALPHA
) -> NDArray:
    """A drawing's mesh with its vertices at verts_m."""
    if drawing.faces is None:
        raise ShapeError("a drawing with vertices needs faces")
    flags = drawing.fingers_visible
    return mesh(image, verts_m, drawing.faces, K, drawing.face_part, flags, alpha)


def _letter(image: NDArray, at: NDArray, text: str) -> NDArray:
    """A small letter below right of a point."""
    if text and np.isfinite(at).all():
        place = (np.clip(at, 0, image.shape[1::-1]) + [5, 14]).astype(int).tolist()
        for colour, width in (((0, 0, 0), 3), (INK, 1)):
            cv2.putText(image, text, place, FONT, 0.45, colour, width, cv2.LINE_AA)
    return image


def _shading(verts_m: NDArray, faces: NDArray, drawn: Buffers) -> NDArray:
    """(h,w) brightness 0.35..1 by the angle between surface and view, smooth over the mesh."""
    corners = verts_m[faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros(verts_m.shape)
    for k in range(3):
        np.add.at(normals, faces[:, k], across)
    lengths = np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    view = verts_m / np.maximum(np.linalg.norm(verts_m, axis=1, keepdims=True), 1e-12)
    facing = np.abs((normals / lengths * view).sum(1))
    return 0.35 + 0.65 * (drawn.weights * facing[faces[drawn.face_id]]).sum(-1)


def _colour(part: int) -> tuple[int, ...]:
    return tuple(int(c) for c in COLOURS[part])


def _check(image: NDArray) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ShapeError(f"a picture is (h, w, 3) uint8, got {image.shape} {image.dtype}")
