"""One take: who holds what, how it moves, who watches; ready to render.

The world frame is that of the first camera. A take is composed with a right hand; for a left-handed
one everything is then mirrored in x = 0: hands change side, and the object becomes its mirror
image, whose model is the original's with x negated. Its pose stays a proper rotation: with
M = diag(-1, 1, 1), the mirrored vertices are M (R x + t) = (M R M) (M x) + M t.
"""

from dataclasses import dataclass
from functools import lru_cache
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from handbench.hand import Hand
from handbench.records import Mesh
from handbench.synthesis import look, objects, occluder
from handbench.synthesis.builder import ObjectMesh
from handbench.synthesis.library import LibraryGrasp
from handbench.synthesis.motion import HandTrack
from handbench.synthesis.render import Stage


@dataclass(frozen=True)
class Camera:
    """K (3,3) px of a square picture, world -> camera (4,4)."""

    K: NDArray
    T_world_camera: NDArray


@dataclass(frozen=True)
class Take:
    """A physical take of T frames in the world frame; tracks: the holding hand first."""

    tracks: tuple[HandTrack, ...]
    grasp: LibraryGrasp
    mirrored: bool
    held: ObjectMesh
    T_world_object: NDArray  # (T,4,4) model -> world
    screen: ObjectMesh | None
    T_world_screen: NDArray | None  # (T,4,4), scale included
    skins: tuple[look.Skin, ...]
    sleeve_rgb: NDArray
    lights: NDArray
    cameras: tuple[Camera, ...]
    size: int

    @property
    def frames(self) -> int:
        return len(self.T_world_object)

    def meshes(self, t: int, camera: Camera, screen: bool = True) -> tuple[Mesh, ...]:
        """Everything at frame t in a camera's frame, in the order of `surfaces`."""
        T = camera.T_world_camera
        R, shift = T[:3, :3], T[:3, 3]
        out = []
        for track in self.tracks:
            kind = "left" if track.hand.is_left else "right"
            out.append(Mesh(track.verts_m[t] @ R.T + shift, track.hand.faces, kind))
            out.append(Mesh(track.arm_m[t] @ R.T + shift, track.arm_faces, "forearm"))
        faces = look.turned(self.held.faces, self.mirrored)
        verts = occluder.pose_mesh(self.held, T @ self.T_world_object[t], self.mirrored)
        out.append(Mesh(verts, faces, "object"))
        if self.screen is not None and self.T_world_screen is not None and screen:
            verts = occluder.pose_mesh(self.screen, T @ self.T_world_screen[t])
            out.append(Mesh(verts, self.screen.faces, "occluder"))
        return tuple(out)

    def stage(self, screen: bool = True) -> Stage:
        """The looks of `meshes`, joined for rendering."""
        template = open_hand("right")
        out = []
        for track, skin in zip(self.tracks, self.skins):
            out.append(look.hand_surface(track.hand, skin, template))
            out.append(
                look.arm_surface(
                    skin, track.arm_loop, track.arm_faces, track.arm_cloth, track.arm_m[0],
                    self.sleeve_rgb,
                )
            )  # fmt: skip
        out.append(look.object_surface(self.held, "object", self.mirrored))
        if self.screen is not None and screen:
            out.append(look.object_surface(self.screen, "occluder"))
        return Stage.build(tuple(out), self.lights)


@lru_cache(maxsize=2)
def open_hand(side: str) -> Hand:
    """The open hand, kept: its folded arrays take longer to make than a frame."""
    return Hand.open(side)


@lru_cache(maxsize=256)
def make_object(name: str, seed: int) -> ObjectMesh:
    """objects.make, kept: takes share objects. Its arrays are not to be written to."""
    return objects.make(name, seed)


def object_name(mesh: ObjectMesh, mirrored: bool) -> str:
    """How an object is called in the columns: kind, seed, and whether it is a mirror image."""
    return f"{mesh.name}_{mesh.seed:02d}" + ("_mirrored" if mirrored else "")


def seeded(*key: int | str) -> np.random.Generator:
    """A generator for a key of numbers and words; the same on every machine and worker."""
    return np.random.default_rng(
        [crc32(part.encode()) if isinstance(part, str) else part for part in key]
    )
