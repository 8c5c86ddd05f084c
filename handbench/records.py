"""What a reader yields: one image with up to two hands and one object, in canonical frames."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh in the camera frame.

    verts_m (V,3) m; faces (F,3). kind: "right" or "left" (the 778-vertex hands), "object" (held),
    "occluder" (anything else in front) or "forearm" (hides its own hand, is no part of it).
    """

    verts_m: NDArray
    faces: NDArray
    kind: str


@dataclass(frozen=True)
class Scene:
    """All known geometry of one image: meshes in the camera frame, K (3,3) px, size (w, h).

    whole False: things without a mesh may stand before the hands, so labels of the whole scene
    need a segmentation; without one, those of the hand alone are all.
    """

    meshes: tuple[Mesh, ...]
    K: NDArray
    size: tuple[int, int]
    whole: bool = True


SHIPPED = 3  # box_source of a box that the data set itself ships


@dataclass(frozen=True)
class HandRecord:
    """One annotated hand, native side. Missing floats are NaN, missing flags 0 or 255.

    joints_m (21,3) m and joints_px (21,2); joints_valid (21,) bit 1 annotated, bit 2 inside the
    image; joints_kind 0 MANO kinematics, 1 regressed, 2 triangulated, 3 motion capture;
    mano_pose (48,) axis-angle with the mean pose included, mano_shape (10,), mano_trans_m (3,);
    box_px (4,) tight x y w h; box_source 1 joints, 2 vertices, 3 official, 4 mask;
    box_visible_px (4,) from an official segmentation (occlusion labels replace it).
    """

    joints_m: NDArray
    joints_valid: NDArray
    joints_px: NDArray
    joints_kind: int = 255
    mano_pose: NDArray | None = None
    mano_shape: NDArray | None = None
    mano_trans_m: NDArray | None = None
    mano_valid: int = 0
    box_px: NDArray | None = None
    box_source: int = 0
    box_visible_px: NDArray | None = None
    present: int = 1
    fit_error_mm: float = float("nan")
    verts_m: NDArray | None = None


@dataclass(frozen=True)
class ObjectRecord:
    """The manipulated object: its name and T_camera (4,4), model metres -> camera."""

    name: str
    T_camera: NDArray


@dataclass(frozen=True)
class Frame:
    """One image and what is known about it (docs/design.md says what each field means).

    id is `{dataset}/{split}/{sequence}/{camera}/{frame_number}[/{variant}]`; image holds the
    encoded bytes as shipped; recording names the physical take (all its cameras and versions).
    extra: further columns of one data set, name -> scalar or fixed-shape array.
    """

    id: str
    sequence: str
    camera: str
    recording: str
    frame_number: int
    order: int
    image: bytes
    image_path: str
    image_size: tuple[int, int]
    K: NDArray
    right: HandRecord | None = None
    left: HandRecord | None = None
    object: ObjectRecord | None = None
    official_index: int = -1
    subject: int = -1
    clip: int = 0
    instant: int = -1
    variant: int = 255
    subset: int = 0
    T_world_camera: NDArray | None = None
    segmentation: bytes | None = None
    scene: Scene | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SequencePlan:
    """One sequence of one camera as the reader will yield it: its rows are known beforehand."""

    name: str
    camera: str
    recording: str
    rows: int
    key: Any = None


@dataclass(frozen=True)
class HandLabels:
    """Occlusion labels of one hand from rendering (visibility.py).

    For the hand alone (image border and itself) and in the whole scene: vertex (778,) bool by
    depth test, finger_count (6,) vertices on a pixel of their own part, hand: visible share of the
    pixels that the hand would cover. cause (5,): why each finger is not visible. source: 1
    official mesh, 2 third-party fit, 3 synthetic, 4 mask; 0: the scene is not known, only what is
    said of the hand alone holds.
    """

    alone_vertex: NDArray[np.bool_]
    alone_finger_count: NDArray[np.int16]
    alone_hand: float
    scene_vertex: NDArray[np.bool_]
    scene_finger_count: NDArray[np.int16]
    scene_hand: float
    cause: NDArray[np.uint8]
    box_visible_px: NDArray[np.float32]
    source: int = 1
