"""One take: who holds what, how it moves, who watches; drawn from a seed, ready to render.

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
from scipy.spatial.transform import Rotation

from handbench.hand import Hand
from handbench.records import Mesh
from handbench.synthesis import look, motion, objects, occluder
from handbench.synthesis.builder import ObjectMesh
from handbench.synthesis.library import LibraryGrasp, load_grasps
from handbench.synthesis.motion import HandTrack
from handbench.synthesis.partner import draw_partner
from handbench.synthesis.render import Stage

FLIP = np.diag([-1.0, 1.0, 1.0, 1.0])
# occluders differ between splits by their seeds
OCCLUDER_SEEDS = {"train": range(8), "val": range(8, 10), "test": range(10, 14)}


@dataclass(frozen=True)
class Shares:
    """How often things happen."""

    left: float = 0.3
    two_hands: float = 0.15
    occluder: float = 0.45
    second_camera: float = 0.2


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
        if self.screen is not None and screen:
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
                    track.hand, skin, track.arm_faces, track.arm_cloth, track.arm_m[0],
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


def seeded(*key: int | str) -> np.random.Generator:
    """A generator for a key of numbers and words; the same on every machine and worker."""
    return np.random.default_rng(
        [crc32(part.encode()) if isinstance(part, str) else part for part in key]
    )


def draw_take(
    split: str,
    grasp: LibraryGrasp,
    frames: int,
    size: int,
    rng: np.random.Generator,
    shares: Shares = Shares(),
) -> Take:
    """Compose a take around a grasp; split: "train", "val" or "test", whose things it may use."""
    right = open_hand("right")
    left_handed = rng.random() < shares.left
    K, depth = draw_camera(size, rng)
    sleeve = int(rng.integers(4, 9)), float(rng.uniform(1.12, 1.35))
    turns = motion.draw_turns(frames, rng)
    grip = motion.draw_grip(grasp, frames, rng)
    anchor = 0.6 * right.pose(grasp.pose[None], grasp.shape[None])[1][0].mean(0)
    anchor += 0.4 * grasp.T_hand_object[:3, 3] - 0.6 * right.rest_joints(grasp.shape[None])[0, 0]
    wrists = motion.draw_places(frames, K, size, depth, rng) - turns @ anchor
    track = motion.place_hand(right, grip.pose, grasp.shape, turns, wrists, sleeve)
    held = objects.make(grasp.object_name, grasp.object_seed)
    leave = grip.away_m[:, None] * grasp.approach
    T_object = motion.carry(grasp.T_hand_object, leave, turns, wrists)
    tracks = (track,)
    if rng.random() < shares.two_hands:
        solid = np.stack([occluder.pose_mesh(held, T) for T in T_object])
        tracks += (_draw_second(split, track, solid, turns, sleeve, rng),)
    if left_handed:
        sides = {False: open_hand("left"), True: right}
        tracks = tuple(track.mirrored(sides[track.hand.is_left]) for track in tracks)
        T_object = FLIP @ T_object @ FLIP
    skin = look.draw_skin(right, rng)
    cameras = [Camera(K, np.eye(4))]
    if rng.random() < shares.second_camera:
        cameras.append(_draw_second_camera(tracks[0], size, rng))
    screen, T_screen = None, None
    if rng.random() < shares.occluder:
        screen, T_screen = draw_crossing(
            tracks[0], held, T_object, left_handed, cameras, size, OCCLUDER_SEEDS[split], rng
        )
    return Take(
        tracks, grasp, left_handed, held, T_object, screen, T_screen, (skin,) * len(tracks),
        look.draw_cloth(rng), look.draw_lights(rng), tuple(cameras), size,
    )  # fmt: skip


def draw_camera(size: int, rng: np.random.Generator) -> tuple[NDArray[np.float64], float]:
    """K and a distance at which a hand measures a third to three fifths of the picture."""
    focal = rng.uniform(300, 500) * size / 256
    hand_px = rng.uniform(0.4, 0.66) * size
    centre = (size - 1) / 2 + rng.uniform(-0.03, 0.03, 2) * size
    K = np.array([[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1]])
    return K.astype(np.float32).astype(np.float64), float(
        np.clip(focal * 0.17 / hand_px, 0.45, 0.8)
    )


def draw_crossing(
    track: HandTrack,
    held: ObjectMesh,
    T_object: NDArray,
    mirrored: bool,
    cameras: list[Camera],
    size: int,
    seeds: range,
    rng: np.random.Generator,
) -> tuple[ObjectMesh | None, NDArray | None]:
    """An occluder that covers some of the hand at times and never all of it; None if eight tries
    fail. Placed in the first camera's frame; what the other sees is checked too."""
    K, frames = cameras[0].K, len(T_object)
    solid = [occluder.pose_mesh(held, T, mirrored) for T in T_object]
    nearest = min(track.verts_m[..., 2].min(), min(v[:, 2].min() for v in solid))
    pixels = (track.joints_m.mean(1) / track.joints_m.mean(1)[:, 2:]) @ K.T
    hand_px = K[0, 0] * 0.17 / track.joints_m[..., 2].mean()
    views = []
    for camera in cameras:
        R, shift = camera.T_world_camera[:3, :3], camera.T_world_camera[:3, 3]
        for t in range(frames):
            meshes = [(track.verts_m[t] @ R.T + shift, track.hand.faces)]
            meshes += [(solid[t] @ R.T + shift, held.faces)]
            views.append((t, camera, occluder.Silhouette.draw(meshes, camera.K, size, step=4)))
    for _ in range(8):
        screen = occluder.draw_screen(
            seeds, nearest, K[0, 0], hand_px * rng.uniform(0.6, 1.4), frames, rng
        )
        poses = screen.poses(occluder.draw_path(pixels[:, :2], hand_px, rng), K)
        covered = [
            view.covered(
                occluder.pose_mesh(screen.mesh, camera.T_world_camera @ poses[t]), screen.mesh.faces
            )
            for t, camera, view in views
        ]
        if max(covered[:frames]) > 0.15 and max(covered) < 0.95:
            return screen.mesh, poses
    return None, None


def _draw_second(
    split: str,
    track: HandTrack,
    solid: NDArray,
    turns: NDArray,
    sleeve: tuple[int, float],
    rng: np.random.Generator,
) -> HandTrack:
    grasps = load_grasps(split)
    loose = grasps[rng.integers(len(grasps))]
    pose = motion.mirror_pose(loose.pose_open * rng.uniform(0.4, 1.0))
    hand = open_hand("left")
    return draw_partner(track, solid, turns, hand, pose, track.shape, sleeve, rng)


def _draw_second_camera(track: HandTrack, size: int, rng: np.random.Generator) -> Camera:
    """Another camera that looks at the hand from 20 to 60 degrees aside."""
    K, depth = draw_camera(size, rng)
    axis = np.array([rng.normal(0, 0.4), rng.choice([-1.0, 1.0]), rng.normal(0, 0.3)])
    turn = Rotation.from_rotvec(
        axis / np.linalg.norm(axis) * np.radians(rng.uniform(20, 60))
    ).as_matrix()
    T = np.eye(4)
    T[:3, :3] = turn
    T[:3, 3] = [*rng.normal(0, 0.015, 2), depth] - turn @ track.joints_m.mean((0, 1))
    return Camera(K, T)
