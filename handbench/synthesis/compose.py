"""Composing a take: a grasp is placed, turned, carried and watched, and things pass before it."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from handbench.frames import mirror_pose
from handbench.synthesis import look, motion, occluder
from handbench.synthesis.library import LibraryGrasp, load_grasps
from handbench.synthesis.motion import HandTrack
from handbench.synthesis.occluder import Silhouette
from handbench.synthesis.partner import draw_partner
from handbench.synthesis.scene import Camera, Take, make_object, open_hand

FLIP = np.diag([-1.0, 1.0, 1.0, 1.0])
# occluders differ between splits by their seeds
OCCLUDER_SEEDS = {"train": range(8), "val": range(8, 10), "test": range(10, 14)}
SEEN_PX = 240  # of the holding hand without an occluder, in every picture of 256 pixels a side
LEFT_PX = 80  # of these beside an occluder
COARSE = 4  # pixels a step when looking for places
TRIES = 12


@dataclass(frozen=True)
class Shares:
    """How often things happen."""

    left: float = 0.3
    two_hands: float = 0.25  # in some of them the second hand is hardly in the picture
    occluder: float = 0.45
    second_camera: float = 0.2


def draw_take(
    split: str,
    grasp: LibraryGrasp,
    frames: int,
    size: int,
    rng: np.random.Generator,
    shares: Shares = Shares(),
) -> Take:
    """A take around a grasp; split: "train", "val" or "test", whose things it may use.

    In every frame a good part of the holding hand is in the picture and not behind the object;
    what crosses leaves some of it to be seen. (After TRIES fruitless tries it is taken as it is.)
    """
    for _ in range(TRIES):
        take = _compose(split, grasp, frames, size, rng, shares)
        views = _look(take)
        if min(view.hand.sum() for _, _, view in views) * COARSE**2 >= SEEN_PX * (size / 256) ** 2:
            break
    if rng.random() < shares.occluder:
        take = _add_crossing(take, views, OCCLUDER_SEEDS[split], rng)
    return take


def _compose(
    split: str,
    grasp: LibraryGrasp,
    frames: int,
    size: int,
    rng: np.random.Generator,
    shares: Shares,
) -> Take:
    """One try at a take without an occluder."""
    right = open_hand("right")
    left_handed = rng.random() < shares.left
    K, depth = draw_camera(size, rng)
    sleeve = int(rng.integers(4, 9)), float(rng.uniform(1.12, 1.35))
    turns = motion.draw_turns(frames, rng)
    grip = motion.draw_grip(right, grasp, frames, rng)
    anchor = 0.6 * right.pose(grasp.pose[None], grasp.shape[None])[1][0].mean(0)
    anchor += 0.4 * grasp.T_hand_object[:3, 3] - 0.6 * right.rest_joints(grasp.shape[None])[0, 0]
    wrists = motion.draw_places(frames, K, size, depth, rng) - turns @ anchor
    track = motion.place_hand(right, grip.pose, grasp.shape, turns, wrists, sleeve)
    held = make_object(grasp.object_name, grasp.object_seed)
    leave = grip.away_m[:, None] * grasp.approach
    T_object = motion.carry(grasp.T_hand_object, leave, turns, wrists)
    tracks: tuple[HandTrack, ...] = (track,)
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
    return Take(
        tracks, grasp, left_handed, held, T_object, None, None, (skin,) * len(tracks),
        look.draw_cloth(rng), look.draw_lights(rng), tuple(cameras), size,
    )  # fmt: skip


def draw_camera(size: int, rng: np.random.Generator) -> tuple[NDArray[np.float64], float]:
    """K and a distance at which a hand measures a third to three fifths of the picture."""
    focal = rng.uniform(300, 500) * size / 256
    hand_px = rng.uniform(0.4, 0.66) * size
    centre = (size - 1) / 2 + rng.uniform(-0.03, 0.03, 2) * size
    K = np.array([[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1]])
    return K.astype(np.float32).astype(np.float64), float(
        np.clip(focal * motion.HAND_M / hand_px, 0.45, 0.8)
    )


def _look(take: Take) -> list[tuple[int, Camera, Silhouette]]:
    """The holding hand in all frames and cameras, in coarse pixels."""
    views = []
    for camera in take.cameras:
        for t in range(take.frames):
            meshes = [(mesh.verts_m, mesh.faces) for mesh in take.meshes(t, camera)]
            views.append((t, camera, Silhouette.draw(meshes, camera.K, take.size, COARSE)))
    return views


def _add_crossing(
    take: Take,
    views: list[tuple[int, Camera, Silhouette]],
    seeds: range,
    rng: np.random.Generator,
) -> Take:
    """The take with an occluder that covers some of the hand at times and never all of it.

    It keeps nearer to the first camera than hands and object; what a second camera sees of the
    hand is watched as well. The take as it was when TRIES fail.
    """
    K, track = take.cameras[0].K, take.tracks[0]
    nearest = min(
        mesh.verts_m[:, 2].min()
        for t in range(take.frames)
        for mesh in take.meshes(t, take.cameras[0])
        if mesh.kind != "forearm"
    )
    middle = track.joints_m.mean(1)
    pixels = (middle / middle[:, 2:]) @ K[:2].T
    hand_px = K[0, 0] * motion.HAND_M / middle[:, 2].mean()
    least = LEFT_PX * (take.size / 256) ** 2 / COARSE**2
    for _ in range(TRIES):
        screen = occluder.draw_screen(
            seeds, nearest, K[0, 0], hand_px * rng.uniform(0.8, 1.7), take.frames, rng
        )
        poses = screen.poses(occluder.draw_path(pixels, hand_px, rng), K)
        covered = np.array(
            [
                view.covered(
                    occluder.pose_mesh(screen.mesh, camera.T_world_camera @ poses[t]),
                    screen.mesh.faces,
                )
                for t, camera, view in views
            ]
        )
        beside = (1 - covered) * [view.hand.sum() for _, _, view in views]
        if covered[: take.frames].max() > 0.3 and beside.min() >= least:
            return replace(take, screen=screen.mesh, T_world_screen=poses)
    return take


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
    pose = mirror_pose(loose.pose_open * rng.uniform(0.4, 1.0))
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
