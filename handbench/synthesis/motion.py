"""How hands reach, close, hold and let go: their poses over time and where the object is."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from handbench.frames import mirror_points, mirror_pose
from handbench.hand import Hand
from handbench.rigid import move_hand
from handbench.synthesis import forearm
from handbench.synthesis.gesture import draw_gesture
from handbench.synthesis.library import LibraryGrasp

# Fingers up, seen from the thumb and the back of the hand: the view that orientations vary about.
BASE = Rotation.from_euler("y", 110, degrees=True) * Rotation.from_matrix(
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
)
SPREAD_DEG = 75.0
SCRIPTS = {"hold": 0.35, "reach": 0.3, "release": 0.15, "free": 0.2}
APPROACH_M = 0.07
FREE_M = 0.09  # further away while the fingers are free
HAND_M = 0.17  # a hand's length in a grasp, for sizes in pictures


@dataclass(frozen=True)
class HandTrack:
    """One hand over T frames in one rigid frame; arm_faces turn over when it is mirrored."""

    hand: Hand
    pose: NDArray  # (T,48)
    shape: NDArray  # (10,)
    trans_m: NDArray  # (T,3)
    verts_m: NDArray  # (T,778,3)
    joints_m: NDArray  # (T,21,3)
    arm_m: NDArray  # (T,A,3)
    arm_loop: NDArray  # vertices of the hand that the first ones of the arm repeat
    arm_faces: NDArray
    arm_cloth: NDArray

    def mirrored(self, other: Hand) -> "HandTrack":
        """The hand of the other side, everything mirrored in x = 0 of the frame."""
        return replace(
            self,
            hand=other,
            pose=mirror_pose(self.pose),
            trans_m=mirror_points(self.trans_m),
            verts_m=mirror_points(self.verts_m),
            joints_m=mirror_points(self.joints_m),
            arm_m=mirror_points(self.arm_m),
            arm_faces=np.ascontiguousarray(self.arm_faces[:, ::-1]),
        )

    def moved(self, T: NDArray) -> "HandTrack":
        """The same hand in another frame: x' = T x, T (4,4) rigid."""
        R, t = T[:3, :3], T[:3, 3]
        rest = self.hand.rest_joints(self.shape[None])[0, 0]
        pose, trans = move_hand(self.pose, self.trans_m, rest, R, t)
        points = {name: getattr(self, name) @ R.T + t for name in ("verts_m", "joints_m", "arm_m")}
        return replace(self, pose=pose, trans_m=trans, **points)


@dataclass(frozen=True)
class Grip:
    """What the fingers do: pose (T,48) with no wrist rotation, and how far the object is (T,)."""

    pose: NDArray
    away_m: NDArray


def draw_grip(hand: Hand, grasp: LibraryGrasp, frames: int, rng: np.random.Generator) -> Grip:
    """Fingers that close, hold with some play, or open; free ones before, after or all the time."""
    script = rng.choice(list(SCRIPTS), p=list(SCRIPTS.values()))
    t = np.linspace(0, 1, frames) if frames > 1 else np.array([0.7])
    start, length = rng.uniform(0.0, 0.4), rng.uniform(0.3, 0.5)
    time = 1 - t if script == "release" else t
    closed = np.ones(frames) if script == "hold" else ease((time - start) / length)
    play = rng.uniform(0.3, 1) * np.sin(np.pi * (rng.uniform(0.5, 2) * t + rng.uniform())) ** 2
    held = grasp.pose + play[:, None] * (grasp.pose_alt - grasp.pose)
    free = np.zeros(frames) if script == "hold" else 1 - ease((time - start + 0.25) / 0.3)
    if script == "free":
        closed, free = np.zeros(frames), np.ones(frames)
    # the hand arrives before the fingers have closed
    away = APPROACH_M * (1 - ease(closed * 1.6)) + FREE_M * free
    pose = grasp.pose_open + ease(closed * 1.6 - 0.6)[:, None] * (held - grasp.pose_open)
    if free.any():
        first, last = (draw_gesture(hand, grasp.shape, rng) for _ in range(2))
        loose = first + (t[:, None] if script == "free" else 0.0) * (last - first)
        pose = pose + free[:, None] * (loose - pose)
    return Grip(pose, away)


def draw_turns(
    frames: int, rng: np.random.Generator, wander_deg: float = 28.0
) -> NDArray[np.float64]:
    """Wrist rotations (T,3,3) in the camera frame: BASE turned by up to SPREAD_DEG an axis."""
    first = rng.uniform(-SPREAD_DEG, SPREAD_DEG, 3)
    last = np.clip(first + rng.normal(0, wander_deg, 3), -SPREAD_DEG, SPREAD_DEG)
    share = np.linspace(0, 1, frames)[:, None]
    angles = first + (last - first) * share
    return (Rotation.from_euler("xyz", angles, degrees=True) * BASE).as_matrix()


def draw_places(
    frames: int, K: NDArray, size: int, depth_m: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Points (T,3) m in the camera frame on a gentle arc through the middle of the picture."""
    ends = rng.uniform(-0.13, 0.13, (2, 2)) * size
    bow = rng.normal(0, 0.03, 2) * size
    share = np.linspace(0, 1, frames)[:, None]
    pixel = ends[0] + (ends[1] - ends[0]) * share + bow * np.sin(np.pi * share) + size / 2
    depth = depth_m * (1 + rng.uniform(-0.06, 0.06) * (share - 0.5))
    ray = (pixel - K[:2, 2]) / K[[0, 1], [0, 1]]
    return np.concatenate([ray * depth, depth], 1)


def place_hand(
    hand: Hand,
    pose: NDArray,
    shape: NDArray,
    turns: NDArray,
    wrists_m: NDArray,
    sleeve: tuple[int, float],
) -> HandTrack:
    """A hand with finger poses (T,48) whose wrist stands at wrists_m (T,3), turned by (T,3,3).

    sleeve: ring where the cloth begins, and its width (forearm.verts).
    """
    pose = pose.copy()
    pose[:, :3] = Rotation.from_matrix(turns).as_rotvec()
    trans = wrists_m - hand.rest_joints(shape[None])[0, 0]
    verts, joints = hand.pose(pose, shape[None])
    verts, joints = verts + trans[:, None], joints + trans[:, None]
    arm_faces, cloth = forearm.faces(hand, sleeve[0])
    arm = forearm.verts(hand, verts, turns, *sleeve)
    return HandTrack(
        hand, pose, shape, trans, verts, joints, arm, hand.wrist_loop, arm_faces, cloth
    )


def carry(
    T_hand_object: NDArray, leave_m: NDArray, turns: NDArray, wrists_m: NDArray
) -> NDArray[np.float64]:
    """Object poses (T,4,4) that follow the hand, shifted by leave_m (T,3) of the hand's frame."""
    out = np.tile(np.eye(4), (len(turns), 1, 1))
    out[:, :3, :3] = turns @ T_hand_object[:3, :3]
    local = T_hand_object[:3, 3] + leave_m
    out[:, :3, 3] = np.einsum("tij,tj->ti", turns, local) + wrists_m
    return out


def ease(share: NDArray) -> NDArray[np.float64]:
    """Smooth step from 0 to 1."""
    share = np.clip(share, 0, 1)
    return share * share * (3 - 2 * share)
