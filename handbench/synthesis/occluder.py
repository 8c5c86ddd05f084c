"""Things that pass between the camera and the hand: where they go and how much they cover."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from handbench.raster import face_ids
from handbench.synthesis import objects
from handbench.synthesis.builder import ObjectMesh

CLEARANCE_M = 0.012
LEAST_Z_M = 0.16


@dataclass(frozen=True)
class Silhouette:
    """The pixels of one hand that show without any occluder, in a picture reduced by `step`."""

    K: NDArray
    size: tuple[int, int]
    hand: NDArray[np.bool_]

    @classmethod
    def draw(
        cls, meshes: list[tuple[NDArray, NDArray]], K: NDArray, size: int, step: int = 1
    ) -> "Silhouette":
        """meshes: (verts_m, faces), camera frame; the hand comes first."""
        coarse = K.copy()
        coarse[:2, 2] += 0.5
        coarse[:2] /= step
        coarse[:2, 2] -= 0.5
        starts = np.cumsum([0] + [len(v) for v, _ in meshes])
        faces = np.concatenate([f + s for (_, f), s in zip(meshes, starts)])
        verts = np.concatenate([v for v, _ in meshes])
        shape = (size // step, size // step)
        shown, _ = face_ids(verts, faces, coarse, shape)
        return cls(coarse, shape, (shown >= 0) & (shown < len(meshes[0][1])))

    def covered(self, verts_m: NDArray, faces: NDArray) -> float:
        """Share of the hand's pixels behind a mesh that is nearer than the hand."""
        shown, _ = face_ids(verts_m, faces, self.K, self.size)
        return float((shown[self.hand] >= 0).mean()) if self.hand.any() else 0.0


@dataclass(frozen=True)
class Screen:
    """An object, turned and scaled, at a depth where it is nearer to the camera than the hands."""

    mesh: ObjectMesh
    scale: float
    depth_m: float
    turns: NDArray  # (T,3,3)

    def poses(self, pixels: NDArray, K: NDArray) -> NDArray[np.float64]:
        """(T,4,4), scale included, with the object's middle at pixels (T,2)."""
        out = np.tile(np.eye(4), (len(pixels), 1, 1))
        out[:, :3, :3] = self.scale * np.broadcast_to(self.turns, (len(pixels), 3, 3))
        ray = (pixels - K[:2, 2]) / K[[0, 1], [0, 1]]
        out[:, :3, 3] = np.concatenate([ray, np.ones((len(ray), 1))], 1) * self.depth_m
        return out


def draw_screen(
    seeds: range,
    nearest_m: float,
    focal: float,
    apparent_px: float,
    frames: int,
    rng: np.random.Generator,
    names: tuple[str, ...] = tuple(objects.OCCLUDERS),
    largest: float = 1.3,
) -> Screen:
    """An occluder about apparent_px large in the picture, nearer than nearest_m.

    seeds: which of its kind may be used; largest: at most so many times its natural size.
    """
    mesh = objects.make(names[rng.integers(len(names))], int(rng.choice(seeds)))
    # d px at depth (nearest - d s / 2): solve for the scale s, then limit it
    scale = apparent_px * nearest_m / (mesh.diameter_m * (focal + apparent_px / 2))
    scale = float(np.clip(scale, 0.3, largest))
    depth = max(nearest_m - CLEARANCE_M - scale * mesh.diameter_m / 2, LEAST_Z_M)
    scale = min(scale, 2 * (nearest_m - CLEARANCE_M - depth) / mesh.diameter_m)
    start = Rotation.random(random_state=rng)
    spin = rng.normal(0, 0.06, 3)
    turns = (Rotation.from_rotvec(np.outer(np.arange(frames), spin)) * start).as_matrix()
    return Screen(mesh, scale, depth, turns)


def draw_path(centres_px: NDArray, hand_px: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Pixels (T,2) of a thing that crosses, or comes to stay, near the hand at centres_px (T,2)."""
    frames = len(centres_px)
    t = np.linspace(-0.5, 0.5, frames) + rng.uniform(-0.35, 0.35)
    if rng.random() < 0.3:
        t = np.sign(rng.normal()) * np.maximum(np.abs(t) - rng.uniform(0, 0.3), 0)
    angle = rng.uniform(0, 2 * np.pi)
    along = np.array([np.cos(angle), np.sin(angle)]) * hand_px * rng.uniform(0.7, 2.6)
    aside = np.array([-np.sin(angle), np.cos(angle)]) * hand_px * rng.normal(0, 0.3)
    return centres_px + aside + t[:, None] * along


def pose_mesh(mesh: ObjectMesh, T: NDArray, mirrored: bool = False) -> NDArray[np.float64]:
    """Vertices of the mesh under T (4,4); mirrored: of its image in x = 0 of the model frame."""
    verts = mesh.verts_m * np.array([-1.0, 1.0, 1.0]) if mirrored else mesh.verts_m
    return verts @ T[:3, :3].T + T[:3, 3]
