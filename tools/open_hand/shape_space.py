"""Stage 4: every sampled person's hand laid flat, and ten principal components of the result."""

from dataclasses import dataclass

import numpy as np
import scipy.optimize
from flatten import Flat
from makehuman import Hands
from skeleton import FINGERS, PARENTS, relative, rotation_between, skin, unit, world_transforms
from template import WRIST, Template

COMPONENTS = 10
LENGTH = 0.184  # wrist to middle tip, metres


@dataclass(frozen=True)
class ShapeSpace:
    """The mean hand and ten ways in which hands differ from it, in metres."""

    template: np.ndarray  # (778, 3)
    shapedirs: np.ndarray  # (778, 3, 10), unit variance
    regressor: np.ndarray  # (16, 778)


def fit_regressor(verts: np.ndarray, weights: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """Convex weights (16, V) of at most 40 vertices near each joint that give its place."""
    out = np.zeros((16, len(verts)))
    for j in range(16):
        influence = weights[:, j] + (weights[:, PARENTS[j]] if j else 0)
        near = np.flatnonzero(influence > (0.25 if j else 0.5))
        near = near[np.argsort(np.linalg.norm(verts[near] - joints[j], axis=1))[:40]]
        count = len(near)
        rows = [(verts[near] - joints[j]).T * 1e2, np.full((1, count), 10.0), 2e-2 * np.eye(count)]
        wanted = np.concatenate([[0, 0, 0, 10], np.full(count, 2e-2 / count)])
        share, _ = scipy.optimize.nnls(np.vstack(rows), wanted)
        out[j, near] = share / share.sum()
    return out


def bone_directions(joints: np.ndarray, tips: np.ndarray) -> np.ndarray:
    """(16, 3): the unit vector from each joint to the next of its finger; 0 at the wrist."""
    out = np.zeros((16, 3))
    for k, chain in enumerate(FINGERS.values()):
        places = [*joints[list(chain)], tips[k]]
        for i, j in enumerate(chain):
            out[j] = unit(places[i + 1] - places[i])
    return out


def lay_flat(
    verts: np.ndarray,
    template: Template,
    regressor: np.ndarray,
    tips: list[int],
    wanted: np.ndarray,
    palm: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """One person's cut hand on the template's palm with its bones along wanted (16, 3)."""
    a, b = verts[palm] - verts[palm].mean(0), template.verts[palm] - template.verts[palm].mean(0)
    u, _, vt = np.linalg.svd(a.T @ b)
    verts = verts @ (u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt)
    shift = WRIST - (regressor @ verts)[0]
    verts = verts + shift
    joints = regressor @ verts
    directions = bone_directions(joints, verts[tips])
    turns = np.tile(np.eye(3), (16, 1, 1))
    for j in range(1, 16):
        turns[j] = rotation_between(directions[j], wanted[j])
    turns = relative(turns)
    return skin(verts, joints, template.weights, turns), world_transforms(turns, joints)[:, :3, 3]


def hand_length(verts: np.ndarray, joints: np.ndarray, tips: list[int]) -> float:
    """From the wrist along the middle finger to its tip, in metres."""
    chain = [*joints[[0, 4, 5, 6]], verts[tips[1]]]
    return sum(float(np.linalg.norm(b - a)) for a, b in zip(chain, chain[1:]))


def vary_bones(
    verts: np.ndarray,
    joints: np.ndarray,
    weights: np.ndarray,
    wanted: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Random length and thickness of the palm and each finger, on top of the person's own."""
    scale = np.zeros((16, 3, 3))
    scale[0] = np.diag(1 + rng.normal(0, [0.025, 0.04, 0.03]))
    all_lengths, all_widths = rng.normal(0, 0.025), rng.normal(0, 0.035)
    for chain in FINGERS.values():
        length = 1 + all_lengths + rng.normal(0, 0.022)
        width = 1 + all_widths + rng.normal(0, 0.02)
        for j in chain:
            along = np.outer(wanted[j], wanted[j])
            scale[j] = length * along + width * (np.eye(3) - along)
    moved = joints.copy()
    for j in range(1, 16):
        moved[j] = moved[PARENTS[j]] + scale[PARENTS[j]] @ (joints[j] - joints[PARENTS[j]])
    out = np.zeros_like(verts)
    for j in range(16):
        out += weights[:, j : j + 1] * ((verts - joints[j]) @ scale[j].T + moved[j])
    return out, moved


def build_shape_space(hands: Hands, template: Template, flat: Flat) -> ShapeSpace:
    """Principal components of all people's hands, laid flat and scaled about the template."""
    regressor = fit_regressor(template.verts, template.weights, template.joints[:16])
    places = template.joints[16:21]
    tips = [int(np.argmin(np.linalg.norm(template.verts - place, axis=1))) for place in places]
    wanted = bone_directions(flat.joints, flat.verts[tips])
    palm = np.flatnonzero(
        (template.weights[:, 0] > 0.95) & (template.verts[:, 0] < WRIST[0] + 0.005)
    )

    people = []
    for verts, joints in zip(hands.verts[1:], hands.joints[1:]):
        verts = template.cut @ ((verts - joints[0]) @ template.axes.T + WRIST)
        people.append(lay_flat(verts, template, regressor, tips, wanted, palm))
    lengths = np.array([hand_length(verts, joints, tips) for verts, joints in people])
    # MakeHuman's spread of sizes is about twice that of people: keep half of it
    sizes = (LENGTH + (lengths - lengths.mean()) * 0.5) / lengths
    rng = np.random.default_rng(1)
    varied = [
        vary_bones((v - WRIST) * s + WRIST, (j - WRIST) * s + WRIST, template.weights, wanted, rng)
        for (v, j), s in zip(people, sizes)
    ]
    verts = np.array([v for v, _ in varied])
    mean = verts.mean(0)
    spread = np.einsum("dv,nvc->ndc", flat.pick, verts - mean).reshape(len(verts), -1)
    _, deviation, rows = np.linalg.svd(spread - spread.mean(0), full_matrices=False)
    rows = rows[:COMPONENTS] * (deviation[:COMPONENTS, None] / np.sqrt(len(verts) - 1))
    shapes = rows.reshape(COMPONENTS, 778, 3)
    coarse = flat.pick @ mean + (flat.coarse - flat.pick @ flat.verts)
    front = coarse[:, 0] < coarse[:, 0].min() + 0.01
    for shape in shapes:  # positive makes the fingers reach further
        if shape[front, 0].mean() > 0:
            shape *= -1
    joints = np.mean([j for _, j in varied], 0)
    return ShapeSpace(
        coarse, np.moveaxis(shapes, 0, 2), fit_regressor(coarse, flat.weights, joints)
    )
