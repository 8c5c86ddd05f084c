"""Training augmentation: colour, scale, in-plane rotation, box jitter, painted occluders.

Each sample's draw depends on (seed, epoch, index) alone: not on batches, threads or resuming.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

_STEP, _MIX1, _MIX2 = (
    np.uint64(0x9E3779B97F4A7C15),
    np.uint64(0xBF58476D1CE4E5B9),
    np.uint64(0x94D049BB133111EB),
)


def _mix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014): every bit depends on every bit."""
    bits = (bits ^ (bits >> np.uint64(30))) * _MIX1
    bits = (bits ^ (bits >> np.uint64(27))) * _MIX2
    return bits ^ (bits >> np.uint64(31))


def uniforms(seed: int, epoch: int, index: NDArray, count: int) -> NDArray[np.float64]:
    """Numbers (B, count) in [0, 1) from (seed, epoch, index (B,)): a counter-based generator."""
    start = np.array([seed & 0xFFFFFFFFFFFFFFFF, epoch], np.uint64)
    key = _mix(start[:1] * _STEP + _STEP)
    key = _mix(key ^ (start[1:] + _STEP))
    stream = _mix(key ^ (np.asarray(index, np.uint64) + _STEP))  # (B,)
    counter = np.arange(1, count + 1, dtype=np.uint64) * _STEP
    return (_mix(stream[:, None] + counter) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normals(seed: int, epoch: int, index: NDArray, count: int) -> NDArray[np.float64]:
    """Standard normal numbers (B, count), by Box and Muller."""
    u = uniforms(seed, epoch, index, 2 * count)
    return np.sqrt(-2 * np.log1p(-u[:, :count])) * np.cos(2 * np.pi * u[:, count:])


@dataclass(frozen=True)
class Augmentation:
    """How far augmentation goes; the defaults are those of HandOccNet and H2ONet.

    scale: 1 + scale * clip(N(0,1), -1, 1) of the crop side; rotation_deg * clip(N(0,1), -2, 2) in
    a share rotation_share of samples, else none; colour: gain 1 +- colour for each channel;
    shift and box_scale: box jitter in units of its side; occluders: share of samples with one
    painted shape of up to half the crop (their visibility labels are then marked unknown).
    """

    scale: float = 0.25
    rotation_deg: float = 30.0
    rotation_share: float = 0.6
    colour: float = 0.2
    shift: float = 0.0
    box_scale: float = 0.0
    occluders: float = 0.0


@dataclass(frozen=True)
class Draw:
    """One draw for each of B samples: side factor (B,), rotation (B,) rad, gain (B,3) of R, G, B,
    shift (B,2) in box sides, box_scale (B,), occluder (B,7): numbers in [0,1), first one the
    choice whether there is any."""

    scale: NDArray
    rotation: NDArray
    gain: NDArray
    shift: NDArray
    box_scale: NDArray
    occluder: NDArray

    @property
    def occluded(self) -> NDArray[np.bool_]:
        return self.occluder[:, 0] >= 0


def draw(rules: Augmentation | None, seed: int, epoch: int, index: NDArray) -> Draw:
    """The draws of samples index (B,); without rules the neutral ones."""
    if rules is None:
        rules, seed = Augmentation(0, 0, 0, 0), 0
    z = normals(seed, 2 * epoch, index, 5)
    u = uniforms(seed, 2 * epoch + 1, index, 11)
    turned = u[:, 0] < rules.rotation_share
    occluder = u[:, 4:].copy()
    occluder[occluder[:, 0] >= rules.occluders, 0] = -1
    return Draw(
        scale=1 + rules.scale * z[:, 0].clip(-1, 1),
        rotation=np.deg2rad(rules.rotation_deg) * z[:, 1].clip(-2, 2) * turned,
        gain=1 + rules.colour * (2 * u[:, 1:4] - 1),
        shift=rules.shift * z[:, 2:4].clip(-2, 2),
        box_scale=1 + rules.box_scale * z[:, 4].clip(-2, 2),
        occluder=occluder,
    )


def paint_occluder(crop: NDArray[np.uint8], numbers: NDArray) -> None:
    """Paints one filled ellipse or rectangle on the crop (S,S,3), in place.

    numbers (7,): choice of shape, centre x and y, the two half axes, angle, colour.
    """
    size = crop.shape[0]
    kind, x, y, a, b, angle, colour = numbers
    centre = (size * (0.15 + 0.7 * x), size * (0.15 + 0.7 * y))
    axes = (size * (0.16 + 0.34 * a), size * (0.16 + 0.34 * b))
    shade = [int(256 * (colour * k % 1)) for k in (1, 7, 31)]
    shape = (centre, axes, 180 * angle)
    if kind * 1e4 % 1 < 0.5:
        cv2.ellipse(crop, shape, shade, -1)
    else:
        cv2.fillConvexPoly(crop, cv2.boxPoints(shape).astype(np.int32), shade)
