"""A forearm in a sleeve that continues the open wrist of a hand, bent as a wrist may bend."""

import numpy as np
from numpy.typing import NDArray

from handbench.hand import Hand

BEND_DEG = 50.0  # how far a wrist bends to keep the arm from pointing at the camera
TOWARDS_CAMERA = -0.15  # least z of the arm's direction that needs no bending
LENGTHS_M = np.array(
    [0, 0.008, 0.018, 0.03, 0.044, 0.06, 0.08, 0.105, 0.135, 0.17, 0.21, 0.28, 0.36]
)
NEXT, AFTER = [1, 2, 0], [2, 0, 1]
HALF_M = (0.038, 0.045)  # half thickness and half width of the arm at its thick end


def faces(hand: Hand, sleeve_ring: int) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Triangles (F,3) over the rings of `verts`, facing out, and which of them are cloth (F,).

    The first ring repeats the hand's wrist loop. sleeve_ring: ring of LENGTHS_M where the cloth
    begins; that ring stands twice, bare and then wider.
    """
    sides, rings = len(hand.wrist_loop), len(LENGTHS_M) + 1
    ring, side = np.meshgrid(np.arange(rings - 1), np.arange(sides), indexing="ij")
    before, here = ring * sides + (side - 1) % sides, ring * sides + side
    quads = np.stack([before, here, here + sides, before, here + sides, before + sides], -1)
    cap = np.stack([before[-1] + sides, here[-1] + sides, np.full(sides, rings * sides)], -1)
    cloth = np.repeat(np.arange(rings - 1) >= sleeve_ring, 2 * sides)
    return (
        np.concatenate([quads.reshape(-1, 3), cap]).astype(np.int32),
        np.concatenate([cloth, np.ones(sides, bool)]),
    )


def verts(
    hand: Hand, verts_m: NDArray, root: NDArray, sleeve_ring: int, girth: float
) -> NDArray[np.float64]:
    """Vertices (T, A, 3) of the arm of posed hands verts_m (T,778,3), wrist rotations (T,3,3).

    girth: width of the sleeve over that of the arm. Camera frame.
    """
    sign = -1.0 if hand.is_left else 1.0
    loop = verts_m[:, hand.wrist_loop]
    centre = loop.mean(1)
    along, elbow = sign * root[:, :, 0], _elbow(sign * root[:, :, 0])
    local = np.einsum("tij,tsi->tsj", root, loop - centre[:, None])
    angle = np.arctan2(local[:, :, 2], local[:, :, 1])
    out = []
    point, last = centre, 0.0
    for k, length in enumerate(LENGTHS_M):
        share = np.clip(length / 0.07, 0, 1)
        axis = _unit(along + (elbow - along) * share * share * (3 - 2 * share))
        point = point + axis * (length - last)
        last = length
        up = _unit(root[:, :, 1] - axis * (axis * root[:, :, 1]).sum(1, keepdims=True))
        # the cross product of axis and up, which np.cross is slow at
        across = sign * (axis[:, NEXT] * up[:, AFTER] - axis[:, AFTER] * up[:, NEXT])
        blend = np.clip(length / 0.05, 0, 1)
        thick = 0.75 + 0.25 * np.clip(length / 0.2, 0, 1)
        ring = np.stack([HALF_M[0] * np.cos(angle), HALF_M[1] * np.sin(angle)], -1) * thick
        ring = local[:, :, 1:] * (1 - blend) + ring * blend
        for width in (1.0, girth) if k == sleeve_ring else (girth if k > sleeve_ring else 1.0,):
            if width > 1:  # folds of the cloth
                width = width * (1 + 0.04 * np.sin(3 * angle + 90 * length)[:, :, None])
            flat = ring * width
            out.append(
                point[:, None] + flat[..., :1] * up[:, None] + flat[..., 1:] * across[:, None]
            )
    out[0] = loop
    return np.concatenate([*out, point[:, None]], axis=1)


def _elbow(along: NDArray) -> NDArray[np.float64]:
    """Directions (T,3) turned away from the camera by at most BEND_DEG."""
    turn = np.radians(BEND_DEG) * np.clip((TOWARDS_CAMERA - along[:, 2:]) / 0.5, 0, 1)
    side = np.array([0.0, 0.3, 1.0]) - along * (along @ np.array([0.0, 0.3, 1.0]))[:, None]
    return np.cos(turn) * along + np.sin(turn) * _unit(side)


def _unit(vectors: NDArray) -> NDArray[np.float64]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
