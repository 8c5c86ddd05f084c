"""The other hand: it comes up to the object, or supports it from another side."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from handbench.hand import Hand
from handbench.synthesis.motion import HandTrack, ease, place_hand

# Directions in the holding hand's frame from which a free hand may come: palm side, thumb side,
# little-finger side, beyond the fingers.
SIDES = np.array([(0.0, -1, 0), (0, -0.5, 1), (0, -0.5, -1), (-1, -0.5, 0)])


def draw_partner(
    first: HandTrack,
    object_m: NDArray,
    turns: NDArray,
    hand: Hand,
    pose: NDArray,
    shape: NDArray,
    sleeve: tuple[int, float],
    rng: np.random.Generator,
) -> HandTrack:
    """A second hand whose palm faces the object, kept apart by a plane in every frame.

    first: the holding hand; object_m (T,V,3); turns (T,3,3) of the first hand; hand, pose (48,),
    shape (10,) of the second. It moves with the first, closing a gap of some centimetres to some
    millimetres; the plane makes sure that nothing runs into anything.
    """
    frames = len(turns)
    origin = first.joints_m[:, :1]
    still = np.concatenate([first.verts_m, first.arm_m, object_m], axis=1) - origin
    still = np.einsum("tij,tvi->tvj", turns, still)  # in the frame of the holding hand
    side = SIDES[rng.integers(len(SIDES))] + rng.normal(0, 0.25, 3)
    side /= np.linalg.norm(side)
    posed, joints = hand.pose(pose[None], shape[None])
    posed = posed[0] - joints[0, 0]
    palm = joints[0, [5, 9, 17]].mean(0) - joints[0, 0]
    turn = _face(side, turns[frames // 2], hand.is_left, rng)
    # the arm counts too: its place comes from a trial
    trial = place_hand(hand, pose[None], shape, turn[None], np.zeros((1, 3)), sleeve)
    reach = (np.concatenate([trial.verts_m[0], trial.arm_m[0]]) @ side).min()
    gap = rng.uniform(0.002, 0.006) + rng.uniform(0, 0.05) * (
        1 - ease(np.linspace(rng.uniform(0, 0.6), 1.2, frames))
    )
    height = (still @ side).max() - reach + gap
    centre = np.einsum("tij,tvi->tvj", turns, object_m - origin).mean((0, 1))
    aside = centre - turn @ palm + rng.normal(0, 0.02, 3)
    aside -= side * (aside @ side)
    wrists = np.einsum("tij,tj->ti", turns, aside + height[:, None] * side) + origin[:, 0]
    poses = np.repeat(pose[None], frames, 0)
    return place_hand(hand, poses, shape, turns @ turn, wrists, sleeve)


def _face(side: NDArray, turn: NDArray, is_left: bool, rng: np.random.Generator) -> NDArray:
    """Rotation of the second hand: palm against `side`, its arm towards the picture's bottom."""
    down = turn.T @ np.array([0.0, 1.0, 0.2]) + rng.normal(0, 0.35, 3)
    arm = down - side * (down @ side)
    arm /= np.linalg.norm(arm)
    x = -arm if is_left else arm
    # the palm looks along -y of the hand's frame
    face = np.stack([x, side, np.cross(x, side)], 1)
    tilt = Rotation.from_euler("xz", rng.normal(0, 12, 2), degrees=True).as_matrix()
    return face @ tilt
