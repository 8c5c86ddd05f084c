"""Free hands: fingers on their way, pointing, counting, half closed, not yet holding anything."""

import numpy as np
from numpy.typing import NDArray

from handbench.hand import Hand
from handbench.synthesis.closing import CHAINS
from handbench.synthesis.placing import ShapedHand

EVERY = 6  # vertices looked at: one in six
TOUCHING = 2  # of these may lie inside another part, in proportion to the grasp library's bound
TRIES = 8
APART = 0.35  # share of gestures whose fingers go each its own way


def draw_gesture(hand: Hand, shape: NDArray, rng: np.random.Generator) -> NDArray[np.float64]:
    """A pose (48,) of a right hand with no wrist rotation, inside the joint limits.

    Fingers close together with some play, or each on its own. Poses that run into themselves are
    drawn again; after TRIES the hand is opened instead.
    """
    shaped = ShapedHand(hand, shape)
    for _ in range(TRIES):
        angles = draw_angles(shaped.limits, rng)
        if shaped.self_intersections(shaped.verts(angles), EVERY) <= TOUCHING:
            return shaped.to_pose(angles)
    return shaped.to_pose(angles * 0.2)


def draw_angles(limits: NDArray, rng: np.random.Generator) -> NDArray[np.float64]:
    """Flexion, abduction and twist (16,3) rad within limits (16,3,2)."""
    together = rng.uniform(0.0, 0.95)
    if rng.random() < APART:
        closure = rng.choice([0.05, 0.5, 0.9], size=4) + rng.normal(0, 0.08, 4)
    else:
        closure = together + rng.normal(0, 0.15, 4)
    closure = np.clip(closure, 0, 1)
    spread = rng.uniform(-0.3, 1.0)
    angles = np.zeros((16, 3))
    for k, (first, middle, last) in enumerate(CHAINS[1:]):
        bend = closure[k] * rng.uniform(0.7, 1.0)
        angles[first, 0] = np.radians(-12 + 90 * bend)
        # closed fingers lie side by side
        angles[first, 1] = (1 - bend) * spread * limits[first, 1, 1] * (1.5 - k) / 1.5
        angles[middle, 0] = np.radians(3 + 95 * closure[k])
        angles[last, 0] = 0.62 * angles[middle, 0]
    base, middle, tip = CHAINS[0]
    angles[base] = rng.uniform(0.7 * limits[base, :, 0], 0.7 * limits[base, :, 1])
    bend = np.clip(0.5 * together + rng.uniform(0, 0.5), 0, 1)
    angles[middle, 0] = np.radians(-5 + 50 * bend)
    angles[tip, 0] = np.radians(-10 + 70 * bend)
    return np.clip(angles, limits[..., 0], limits[..., 1])
