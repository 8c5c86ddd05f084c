"""From posed meshes to a picture in linear light: z-buffer, shadow map, shading."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from handbench.raster import draw, project
from handbench.synthesis.look import Surface
from handbench.synthesis.shade import shade, vertex_normals

SHADOW_PX = 160
LAMP_DISTANCE_M = 1.1


@dataclass(frozen=True)
class Stage:
    """The surfaces of a sequence joined, what does not change from frame to frame."""

    surfaces: tuple[Surface, ...]
    faces: NDArray[np.int32]
    rest_m: NDArray[np.float64]
    corner_rgb: NDArray[np.float32]
    material: NDArray[np.uint8]
    surface: NDArray[np.int16]  # of each face
    lights: NDArray[np.float64]

    @classmethod
    def build(cls, surfaces: tuple[Surface, ...], lights: NDArray) -> "Stage":
        """Join surfaces; lights (6,3) as `shade.shade` takes them."""
        starts = np.cumsum([0] + [len(s.rest_m) for s in surfaces])
        return cls(
            surfaces,
            np.concatenate([s.faces + start for s, start in zip(surfaces, starts)]).astype(
                np.int32
            ),
            np.concatenate([s.rest_m for s in surfaces]),
            np.concatenate([s.corner_rgb for s in surfaces]),
            np.concatenate([s.material for s in surfaces]),
            np.concatenate([np.full(len(s.faces), k) for k, s in enumerate(surfaces)]).astype(
                np.int16
            ),
            lights,
        )


@dataclass(frozen=True)
class Picture:
    """front (h,w,4) f4, premultiplied linear RGB and coverage; face_id (2h,2w) i4: the stage's face
    at each sample, -1 none."""

    front: NDArray[np.float32]
    face_id: NDArray[np.int32]


def render(stage: Stage, verts_m: list[NDArray], K: NDArray, size: int) -> Picture:
    """Draw the stage in size² pixels; verts_m: (V,3) m of each surface, camera frame."""
    verts = np.concatenate(verts_m)
    fine = K.copy()
    fine[:2] *= 2
    fine[:2, 2] += 0.5  # samples at -1/4 and +1/4 of a pixel's centre
    points, pixels = project(verts, fine)
    face_id, inverse = draw(points, pixels, stage.faces, (0, 0, 2 * size, 2 * size))
    normals, flat = vertex_normals(verts, stage.faces)
    _join_wrists(stage, normals)
    lamp, shadow = _cast_shadows(verts, stage)
    front = np.empty((size, size, 4), np.float32)
    shade(
        face_id, inverse, stage.surface, points, stage.faces, normals, flat, stage.rest_m,
        stage.corner_rgb, stage.material, make_volume(), np.array([fine[0, 0], *fine[:2, 2]]),
        stage.lights, lamp, shadow, front,
    )  # fmt: skip
    return Picture(front, face_id)


@lru_cache(maxsize=1)
def make_volume(seed: int = 1, size: int = 32) -> NDArray[np.float32]:
    """The periodic noise cube that `shade.grain` reads, variance 1."""
    cube = np.random.default_rng(seed).standard_normal((size,) * 3)
    smooth = cube + sum(np.roll(cube, s, a) for a in range(3) for s in (-1, 1)) * 0.35
    return (smooth / smooth.std()).astype(np.float32)


def _join_wrists(stage: Stage, normals: NDArray) -> None:
    """Give the first ring of each forearm and the wrist loop before it the same normals."""
    start = 0
    for k, surface in enumerate(stage.surfaces):
        if surface.seam is not None:
            loop = start - len(stage.surfaces[k - 1].rest_m) + surface.seam
            ring = start + np.arange(len(loop))
            both = normals[loop] + normals[ring]
            both /= np.maximum(np.linalg.norm(both, axis=1, keepdims=True), 1e-9)
            normals[loop] = normals[ring] = both
        start += len(surface.rest_m)


def _cast_shadows(verts: NDArray, stage: Stage) -> tuple[NDArray, NDArray]:
    """The scene from the key light: `lamp` as in shade.lit_share, and inverse depths."""
    first = len(stage.surfaces[0].rest_m)
    centre = verts[:first].mean(0)
    forward = -stage.lights[0]
    across = np.cross(forward, [0.3, 0.2, 0.9])
    across /= np.linalg.norm(across)
    R = np.stack([across, np.cross(forward, across), forward])
    place = centre + stage.lights[0] * LAMP_DISTANCE_M
    focal = SHADOW_PX / 2 * LAMP_DISTANCE_M / 0.22
    middle = (SHADOW_PX - 1) / 2
    K = np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1]])
    points, pixels = project((verts - place) @ R.T, K)
    _, inverse = draw(points, pixels, stage.faces, (0, 0, SHADOW_PX, SHADOW_PX))
    return np.concatenate([R.ravel(), place, [focal, middle]]), inverse
