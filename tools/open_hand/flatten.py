"""Stage 3: straighten the fingers into a flat hand and decimate it to 778 vertices."""

from dataclasses import dataclass

import numpy as np
import trimesh
from decimate import Decimation
from scipy.spatial import cKDTree
from skeleton import (
    FINGERS,
    JOINT_PART,
    prune,
    relative,
    rotation_between,
    skin,
    unit,
    world_transforms,
)
from template import Template

QUOTA = [187, 102, 121, 119, 124, 121]  # least vertices a part keeps: near MANO's
DISTAL = [3, 6, 9, 12, 15]


@dataclass(frozen=True)
class Flat:
    """The flat hand, full (verts, joints, tips) and decimated (coarse, faces, weights).

    pick (778, V) reads each decimated vertex off the full surface.
    """

    verts: np.ndarray
    joints: np.ndarray
    tips: np.ndarray
    coarse: np.ndarray
    faces: np.ndarray
    weights: np.ndarray
    pick: np.ndarray


def closest_on_surface(
    verts: np.ndarray, faces: np.ndarray, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Face (P,) and barycentric coordinates (P, 3) of the surface's nearest place to points."""
    corners = verts[faces]
    _, near = cKDTree(corners.mean(1)).query(points, k=40)
    flat = np.repeat(points, 40, 0)
    places = trimesh.triangles.closest_point(corners[near.ravel()], flat)
    best = np.linalg.norm(places - flat, axis=1).reshape(near.shape).argmin(1)
    rows = np.arange(len(points))
    face = near[rows, best]
    places = places.reshape(*near.shape, 3)[rows, best]
    return face, trimesh.triangles.points_to_barycentric(corners[face], places)


def straighten(template: Template) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Turn the long fingers, by less than 25 degrees, nearly into the plane of the palm.

    Vertices (V, 3), joints (16, 3) and tips (5, 3).
    """
    joints, tips = template.joints[:16], template.joints[16:21]
    turns = np.tile(np.eye(3), (16, 1, 1))
    for k, (finger, chain) in enumerate(FINGERS.items()):
        if finger == "thumb":
            continue
        places = [*joints[list(chain)], tips[k]]
        target = unit((places[3] - places[0]) * [1, 0, 1])
        target = unit(np.array([target[0], -0.03, target[2]]))  # a trace of a bend stays
        for j, a, b in zip(chain, places, places[1:]):
            turns[j] = rotation_between(unit(b - a), target, share=0.92)
    turns = relative(turns)
    world = world_transforms(turns, joints)
    distal = world[DISTAL]
    tips = np.einsum("kab,kb->ka", distal[:, :3, :3], tips - joints[DISTAL]) + distal[:, :3, 3]
    return skin(template.verts, joints, template.weights, turns), world[:, :3, 3], tips


def flatten_and_decimate(template: Template) -> Flat:
    """The template as a flat hand, and that with 778 vertices."""
    verts, joints, tips = straighten(template)
    weights = template.weights
    fingers = weights[:, 1:].sum(1)
    density = np.where(verts[:, 0] > 0.085, 0.35, 1) * (0.6 + 0.9 * fingers)
    part = JOINT_PART[weights.argmax(1)]
    work = Decimation(verts, template.faces, weights, density, part, QUOTA, boundary=16)
    coarse, faces = work.run(778)
    face, share = closest_on_surface(verts, template.faces, coarse)
    pick = np.zeros((778, len(verts)), np.float32)
    for k in range(3):
        np.add.at(pick, (np.arange(778), template.faces[face][:, k]), share[:, k])
    return Flat(verts, joints, tips, coarse, faces, prune(pick @ weights), pick)
