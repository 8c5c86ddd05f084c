"""Occlusion labels by rendering: which vertices, fingers and pixels of a hand can be seen, and why.

docs/labels.md defines every number. Vertices are decided by exact ray casting, counts and shares
by the z-buffer at pixel centres.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from handbench.errors import DataError, ShapeError
from handbench.raster import Window, as_faces, draw, project
from handbench.records import HandLabels, Mesh, Scene
from handbench.rules import DEFAULT, RULES, UNKNOWN
from handbench.sight import hide

# who shows at a pixel; the first three are also the codes of a segmentation
NOBODY, RIGHT, LEFT, OBJECT, ANY_HAND, OCCLUDER, FOREARM_RIGHT, FOREARM_LEFT = range(8)
SIDES = {"right": RIGHT, "left": LEFT}
OWNERS = {**SIDES, "object": OBJECT, "occluder": OCCLUDER}
# why a vertex of that hand is not seen, by who shows instead; 0: nobody to blame
BLAME = {
    "right": np.array([0, 1, 3, 2, UNKNOWN, 4, 1, 3], np.uint8),
    "left": np.array([0, 3, 1, 2, UNKNOWN, 4, 3, 1], np.uint8),
}
BORDER = 5


@dataclass(frozen=True)
class _Geometry:
    """All meshes of a scene in one: projected points, faces, owner and part of each face."""

    points: NDArray[np.float64]
    pixels: NDArray[np.float64]
    faces: NDArray[np.int32]
    owner: NDArray[np.uint8]
    part: NDArray[np.int8]
    spans: dict[str, tuple[slice, slice]]  # side -> its vertices, its faces


def label_scene(
    scene: Scene,
    hand_right: Any,
    hand_left: Any,
    mask: NDArray[np.uint8] | None = None,
    source: int = 1,
) -> tuple[dict[str, HandLabels], NDArray[np.uint8]]:
    """Label every hand of a scene and draw its segmentation.

    scene: meshes in the camera frame, at most one "right" and one "left"; hand_right, hand_left:
    the Hand of each side (faces, vertex_part, face_part, wrist_loop are used), None where the
    scene has none; mask (h,w): an official segmentation (1 right, 2 left, 3 object, 4 hand of
    unknown side), then a pixel counts for a hand only where the mask says so; source: kept in the
    labels. Returns {side: HandLabels} and the rendered segmentation (h,w) u1 of 0 background, 1
    right, 2 left, 3 object; forearms and occluders are background.
    Raises DataError and ShapeError.
    """
    width, height = scene.size
    if mask is not None and mask.shape != (height, width):
        raise ShapeError(f"the mask is {mask.shape}, the image {(height, width)} (rows, columns)")
    segmentation = np.zeros((height, width), np.uint8)
    hands = {"right": hand_right, "left": hand_left}
    geometry = _gather(scene, hands)
    if geometry is None:
        return {}, segmentation
    window = _cover(geometry.pixels, (0, 0, width, height))
    shown, _ = draw(geometry.points, geometry.pixels, geometry.faces, window)
    allowed = np.empty((0, 0), np.uint8) if mask is None else np.ascontiguousarray(mask, np.uint8)
    seen, extent = _tally(shown, geometry.owner, allowed, *window[:2], segmentation)
    labels = {
        side: _label_hand(
            geometry, side, hands[side], scene.size, (shown, window), mask, seen, extent, source
        )
        for side in geometry.spans
    }
    return labels, segmentation


def _gather(scene: Scene, hands: Mapping[str, Any]) -> _Geometry | None:
    """Join the meshes; a forearm belongs to the hand whose wrist is nearest to it."""
    points, pixels, faces, owner, part, spans = [], [], [], [], [], {}
    vertices = count = 0
    wrists = {
        mesh.kind: np.asarray(mesh.verts_m)[hands[mesh.kind].wrist_loop].mean(0)
        for mesh in scene.meshes
        if mesh.kind in SIDES and hands[mesh.kind] is not None
    }
    for mesh in scene.meshes:
        if len(mesh.faces) == 0:
            continue
        projected = project(mesh.verts_m, scene.K)
        own = as_faces(mesh.faces, len(mesh.verts_m))
        points.append(projected[0])
        pixels.append(projected[1])
        faces.append(own + np.int32(vertices))
        owner.append(np.full(len(own), _owner(mesh, wrists), np.uint8))
        if mesh.kind in SIDES:
            if mesh.kind in spans:
                raise DataError(f"a scene has two {mesh.kind} hands; one of each side at most")
            _check_hand(mesh, hands[mesh.kind])
            part.append(hands[mesh.kind].face_part)
            spans[mesh.kind] = (
                slice(vertices, vertices + len(mesh.verts_m)),
                slice(count, count + len(own)),
            )
        else:
            part.append(np.full(len(own), -1))
        vertices += len(mesh.verts_m)
        count += len(own)
    if not faces:
        return None
    return _Geometry(
        np.concatenate(points),
        np.concatenate(pixels),
        np.concatenate(faces),
        np.concatenate(owner),
        np.concatenate(part).astype(np.int8),
        spans,
    )


def _owner(mesh: Mesh, wrists: Mapping[str, NDArray]) -> int:
    if mesh.kind != "forearm":
        if mesh.kind not in OWNERS:
            raise DataError(f"a mesh is of kind '{mesh.kind}'; known: {', '.join(OWNERS)}, forearm")
        return OWNERS[mesh.kind]
    if not wrists:
        return OCCLUDER
    reach = {side: np.square(mesh.verts_m - wrist).sum(1).min() for side, wrist in wrists.items()}
    return FOREARM_RIGHT if min(reach, key=reach.__getitem__) == "right" else FOREARM_LEFT


def _check_hand(mesh: Mesh, hand: Any) -> None:
    if hand is None:
        raise DataError(f"a scene has a {mesh.kind} hand, but no hand model of that side was given")
    if len(mesh.verts_m) != len(hand.vertex_part) or len(mesh.faces) != len(hand.face_part):
        raise ShapeError(
            f"a {mesh.kind} hand has {len(mesh.verts_m)} vertices and {len(mesh.faces)} faces; "
            f"its model {len(hand.vertex_part)} and {len(hand.face_part)}"
        )


def _label_hand(
    geometry: _Geometry,
    side: str,
    hand: Any,
    size: tuple[int, int],
    shown: tuple[NDArray[np.int32], Window],
    mask: NDArray[np.uint8] | None,
    seen: NDArray[np.int64],
    extent: NDArray[np.int64],
    source: int,
) -> HandLabels:
    """Labels of one hand, given the whole scene drawn in a window and its tally."""
    verts, own = geometry.spans[side]
    pixels, vertex_part = geometry.pixels[verts], hand.vertex_part.astype(np.int64)
    width, height = size
    with np.errstate(invalid="ignore"):  # vertices behind the camera are NaN, hence not inside
        limit = np.array([width, height]) - 0.5
        inside: NDArray[np.bool_] = np.asarray(((pixels >= -0.5) & (pixels < limit)).all(1))
    at = np.floor(np.where(inside[:, None], pixels, 0) + 0.5).astype(np.int64)

    # far outside nothing is drawn: at most one image's size beyond each border
    window = _cover(pixels, (-width, -height, 2 * width, 2 * height))
    alone, _ = draw(geometry.points, geometry.pixels, geometry.faces[own], window)
    whole = np.count_nonzero(alone >= 0)
    x0, y0 = window[:2]
    framed = alone[max(-y0, 0) : max(height - y0, 0), max(-x0, 0) : max(width - x0, 0)]
    in_image = np.count_nonzero(framed >= 0)
    alone_part = _look(geometry.part[own], alone, window, at, inside)
    alone_counted = inside & (alone_part == vertex_part)

    allowed = np.ones(len(at), bool)
    if mask is not None:
        said = mask[at[:, 1], at[:, 0]]
        allowed = (said == SIDES[side]) | (said == ANY_HAND)
    owner = _look(geometry.owner, *shown, at, inside, NOBODY)
    part = _look(geometry.part, *shown, at, inside)
    own_part = (owner == SIDES[side]) & (part == vertex_part)
    counted = inside & own_part & allowed

    blame = np.where(inside, BLAME[side][owner], BORDER).astype(np.uint8)
    if mask is not None:
        refused = inside & own_part & ~allowed
        blame[refused] = _blame_mask(side, said[refused])
    finger_count = _count(vertex_part, counted)

    alone_vertex = _cast(geometry, verts, own, inside)
    scene_vertex = _cast(geometry, verts, slice(0, own.start), alone_vertex & allowed)
    scene_vertex = _cast(geometry, verts, slice(own.stop, None), scene_vertex)
    visible = int(seen[SIDES[side]])
    if whole == 0:
        shares = float("nan"), float("nan")
    else:
        shares = in_image / whole, visible / in_image if in_image else 0.0
    return HandLabels(
        alone_vertex=alone_vertex,
        alone_finger_count=_count(vertex_part, alone_counted),
        alone_hand=shares[0],
        scene_vertex=scene_vertex,
        scene_finger_count=finger_count,
        scene_hand=shares[1],
        cause=_causes(vertex_part, counted, blame, finger_count),
        box_visible_px=_visible_box(visible, extent[SIDES[side]]),
        source=source,
    )


def _cover(pixels: NDArray[np.float64], limits: Window) -> Window:
    """The window of limits that holds all pixels drawn by these vertices."""
    u, v = pixels[:, 0], pixels[:, 1]
    if np.isnan(u.min()):
        # a mesh that reaches behind the camera has no outline bounded by its vertices
        return limits if not np.isnan(u).all() else (*limits[:2], *limits[:2])
    return (
        int(min(max(np.floor(u.min()), limits[0]), limits[2])),
        int(min(max(np.floor(v.min()), limits[1]), limits[3])),
        int(min(max(np.ceil(u.max()) + 1, limits[0]), limits[2])),
        int(min(max(np.ceil(v.max()) + 1, limits[1]), limits[3])),
    )


def _look(values, face_id, window, at, inside, missing=-1) -> NDArray:
    """Value of the face shown at each pixel `at` (V,2) of the image, missing where none is."""
    found = np.full(len(at), missing, np.int16)
    face = face_id[at[inside, 1] - window[1], at[inside, 0] - window[0]]
    found[inside] = np.where(face >= 0, values[face], missing)
    return found


def _count(vertex_part: NDArray, counted: NDArray[np.bool_]) -> NDArray[np.int16]:
    return np.bincount(vertex_part[counted], minlength=6).astype(np.int16)


def _blame_mask(side: str, said: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Blame where the mask, not the geometry, says that something else shows."""
    owner = np.where((said == OBJECT) | (said == RIGHT) | (said == LEFT), said, ANY_HAND)
    return BLAME[side][owner]


def _causes(
    vertex_part: NDArray,
    counted: NDArray[np.bool_],
    blame: NDArray[np.uint8],
    finger_count: NDArray[np.int16],
) -> NDArray[np.uint8]:
    """Per finger 0 where the released rule sees it, else what hides most of its vertices."""
    shown, _ = RULES[DEFAULT](finger_count[None], np.zeros(1), np.zeros(6))
    missed = ~counted
    votes = np.bincount(vertex_part[missed] * 256 + blame[missed], minlength=6 * 256)
    # with nobody to blame this gives 1, self: foreshortened, the finger is too small to be counted
    found = votes.reshape(6, 256)[1:, 1:].argmax(1) + 1
    return np.where(shown[0] == 1, 0, found).astype(np.uint8)


def _visible_box(visible: int, extent: NDArray[np.int64]) -> NDArray[np.float32]:
    if visible == 0:
        return np.full(4, np.nan, np.float32)
    left, top, right, bottom = extent
    return np.array([left - 0.5, top - 0.5, right - left + 1, bottom - top + 1], np.float32)


def _cast(
    geometry: _Geometry, verts: slice, faces: slice, candidates: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Those candidates (V,) that none of the faces hides from the camera."""
    blockers = geometry.faces[faces]
    visible = candidates.copy()
    if len(blockers):
        targets = np.flatnonzero(candidates) + verts.start
        hidden = hide(geometry.points, geometry.pixels, blockers, targets)
        visible[targets[hidden] - verts.start] = False
    return visible


@njit(cache=True, error_model="numpy")
def _tally(face_id, owner, mask, x0, y0, segmentation):
    """Paint the segmentation; count the pixels of each hand that the mask allows, and their extent.

    Returns seen (3,) and extent (3,4) left top right bottom, indexed by RIGHT and LEFT.
    """
    seen = np.zeros(3, np.int64)
    extent = np.empty((3, 4), np.int64)
    for i in range(face_id.shape[0]):
        for j in range(face_id.shape[1]):
            if face_id[i, j] < 0:
                continue
            who = owner[face_id[i, j]]
            if who > OBJECT:
                continue
            x, y = x0 + j, y0 + i
            segmentation[y, x] = who
            if who == OBJECT or (mask.size and mask[y, x] != who and mask[y, x] != ANY_HAND):
                continue
            if seen[who] == 0:
                extent[who] = x, y, x, y
            seen[who] += 1
            extent[who, 0], extent[who, 1] = min(extent[who, 0], x), min(extent[who, 1], y)
            extent[who, 2], extent[who, 3] = max(extent[who, 2], x), max(extent[who, 3], y)
    return seen, extent
