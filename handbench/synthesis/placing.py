"""Where an object goes relative to an open hand, for each kind of grasp.

Frame: the hand at zero global rotation, wrist at the origin: fingers along -x, the palm faces -y,
the thumb is on the +z side. Angles are radians (16, 3: flexion, abduction, twist).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from handbench.hand import Hand
from handbench.synthesis import distance
from handbench.synthesis.builder import ObjectMesh
from handbench.synthesis.closing import CHAINS, Finger, fingers

CLEAR_M = 0.0005  # an open hand keeps this far from the object
FAR_M = 0.25
HEAVY_M3, LEVER_M = 3e-4, 0.06  # what is larger is only pinched this near to its mass centre


class ShapedHand:
    """A hand of one shape, posed by joint angles."""

    def __init__(self, hand: Hand, shape: NDArray) -> None:
        self.hand, self.shape = hand, np.asarray(shape, float)
        rest = hand.v_template + hand.shapedirs @ self.shape
        self.fingers: list[Finger] = fingers(hand, rest)
        assert hand.joint_limits_deg is not None
        assert hand.joint_axes is not None
        self.axes = hand.joint_axes
        self.limits = np.radians(hand.joint_limits_deg)
        self.part = np.asarray(hand.vertex_part)
        loop, middle = hand.wrist_loop, len(rest)
        cap = [[loop[i - 1], loop[i], middle] for i in range(len(loop))]
        self.closed_faces = np.concatenate([hand.faces, cap]).astype(np.int64)
        self.rest_normals = self.normals(rest)

    def to_pose(self, angles: NDArray) -> NDArray:
        """Axis-angle (48,) of angles (16, 3): abduction after flexion after twist."""
        axes = self.axes
        flexion, abduction, twist = (
            Rotation.from_rotvec(angles[:, k, None] * axes[:, k]) for k in range(3)
        )
        vectors = (abduction * flexion * twist).as_rotvec()
        vectors[0] = 0
        return vectors.reshape(48)

    def verts(self, angles: NDArray) -> NDArray:
        """Vertices (778, 3) of the whole model, wrist at the origin."""
        verts, joints = self.hand.pose(self.to_pose(angles)[None], self.shape[None])
        return verts[0] - joints[0, 0]

    def normals(self, verts: NDArray) -> NDArray:
        """Unit vertex normals (778, 3)."""
        a, b, c = (verts[self.hand.faces[:, k]] for k in range(3))
        out = np.zeros_like(verts)
        for k in range(3):
            np.add.at(out, self.hand.faces[:, k], np.cross(b - a, c - a))
        return out / np.linalg.norm(out, axis=1, keepdims=True)

    def self_intersections(self, verts: NDArray, every: int = 1) -> int:
        """Vertices inside another part of the hand: winding number of the capped mesh above 1.2.

        every: look at each so-manieth vertex only, for a quick answer.
        """
        capped = np.concatenate([verts, verts[self.hand.wrist_loop].mean(0, keepdims=True)])
        return int((distance.winding(verts[::every], capped, self.closed_faces) > 1.2).sum())

    def site(self, verts: NDArray, part: int, links: tuple[int, ...], side: NDArray) -> tuple:
        """Mean position and normal of the skin of some links that faces `side` at rest."""
        ids = np.flatnonzero(self.part == part)
        chosen = np.isin(self.fingers[part - 1].link, links) & (self.rest_normals[ids] @ side > 0.7)
        normal = self.normals(verts)[ids[chosen]].mean(0)
        return verts[ids[chosen]].mean(0), normal / np.linalg.norm(normal)


class Thing:
    """An object made ready for grasping: its distances, mass centre and places to pinch."""

    def __init__(self, mesh: ObjectMesh, rng: np.random.Generator) -> None:
        self.mesh = mesh
        self.grid = distance.grid(mesh.verts_m, mesh.faces)
        a, b, c = (mesh.verts_m[mesh.faces[:, k]] for k in range(3))
        volumes = np.einsum("ij,ij->i", a, np.cross(b, c))
        self.is_heavy = volumes.sum() / 6 > HEAVY_M3
        self.centre = (volumes[:, None] * (a + b + c)).sum(0) / (4 * volumes.sum())
        self.pinches = self._find_pinches(rng)

    def distance(self, points: NDArray) -> NDArray:
        """Signed distance (P,) m of points (P, 3) from the surface, negative inside."""
        g = self.grid
        return distance.sample_all(g.values, g.origin, g.step, np.ascontiguousarray(points))

    def _find_pinches(self, rng: np.random.Generator, count: int = 600) -> NDArray:
        """Opposite surface points (P, 7): first point, outward normal there, thickness (m)."""
        verts, faces = self.mesh.verts_m, self.mesh.faces
        a, b, c = (verts[faces[:, k]] for k in range(3))
        cross = np.cross(b - a, c - a)
        area = np.linalg.norm(cross, axis=1)
        chosen = rng.choice(len(faces), count, p=area / area.sum())
        u, v = rng.uniform(size=(2, count, 1))
        u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
        points = a[chosen] + u * (b - a)[chosen] + v * (c - a)[chosen]
        normals = cross[chosen] / area[chosen, None]
        depths = np.arange(0.001, 0.08, 0.001)
        along = points[:, None] - depths[:, None] * normals[:, None]
        outside = self.distance(along.reshape(-1, 3)).reshape(count, -1) > 0
        width = depths[outside.argmax(1)]
        other = points - width[:, None] * normals
        facing = (distance.gradient(self.grid, other) * normals).sum(1)
        good = outside.any(1) & (width > 0.0015) & (facing < -0.8)
        good &= np.abs(self.distance(points)) < 0.0015  # not a face hidden inside another part
        return np.concatenate([points, normals, width[:, None]], 1)[good]


@dataclass
class Plan:
    """An open hand before an object: what to close, how far, and in what order of preference.

    turn (3, 3), shift (3,): model -> hand frame; angles (16, 3): the open hand; closing: fingers
    (1 index … 4 little) that are to touch; idle (2,): flexion where the others rest; fixed:
    fingers that touch already and stay.
    """

    kind: str
    turn: NDArray
    shift: NDArray
    angles: NDArray
    closing: tuple[int, ...] = (1, 2, 3, 4)
    idle: tuple[float, float] = (0.6, 0.7)
    fixed: tuple[int, ...] = ()
    gravity: NDArray | None = field(default=None)


def _flexed(rng: np.random.Generator, base: float, middle: float, spread: float = 4) -> NDArray:
    """Angles of four like-bent fingers (degrees given), each a little its own way."""
    angles = np.zeros((16, 3))
    for k, (a, b, c) in enumerate(CHAINS[1:]):
        angles[a, :2] = base + rng.normal(0, 3), (1.5 - k) * spread
        angles[b, 0] = max(0.0, middle + rng.normal(0, 3))
        angles[c, 0] = max(0.0, 0.55 * middle + rng.normal(0, 2))
    return np.radians(angles)


def _frame(axis: NDArray, side: NDArray) -> NDArray:
    """Right-handed columns (axis, side made orthogonal, their cross product)."""
    side = side - axis * (side @ axis)
    side /= np.linalg.norm(side)
    return np.stack([axis, side, np.cross(axis, side)], 1)


def _push_up(thing: Thing, verts: NDArray, turn: NDArray, start: NDArray) -> NDArray | None:
    """Moves the object from below (-y) until it almost touches; None when it misses the hand."""
    shift = start - [0, FAR_M, 0]
    for _ in range(60):
        gap = thing.distance((verts - shift) @ turn).min() - CLEAR_M
        if gap < 0.0002:
            return shift
        shift = shift + [0, gap, 0]
        if shift[1] > 0.05:
            return None
    return shift


def _is_clear(thing: Thing, points: NDArray, turn: NDArray, shift: NDArray) -> bool:
    return bool(thing.distance((points - shift) @ turn).min() > CLEAR_M / 2)


def place_power(thing: Thing, hand: ShapedHand, rng: np.random.Generator) -> Plan | None:
    """A bar of the object across the palm, pushed up to it."""
    if not len(thing.mesh.bars):
        return None
    k = int(rng.integers(len(thing.mesh.bars)))
    return _across_palm(thing, hand, rng, k, "power", (4, 30))


def place_hook(thing: Thing, hand: ShapedHand, rng: np.random.Generator) -> Plan | None:
    """A handle in the bend of the fingers, the body hanging beyond it."""
    handles = [k for k, kind in enumerate(thing.mesh.bar_kinds) if kind == "handle"]
    if not handles:
        return None
    return _across_palm(thing, hand, rng, int(rng.choice(handles)), "hook", (-24, 8))


def _across_palm(
    thing: Thing, hand: ShapedHand, rng: np.random.Generator, bar: int, kind: str, reach: tuple
) -> Plan | None:
    start, end = thing.mesh.bars[bar]
    is_handle = thing.mesh.bar_kinds[bar] == "handle"
    length = float(np.linalg.norm(end - start))
    along = (end - start) / length
    if rng.random() < (0.15 if is_handle else 0.5):
        along, start, end = -along, end, start
    middle, front = (start + end) / 2, thing.mesh.bar_fronts[bar]
    if front.any():
        side, roll = front, rng.uniform(-50, 50)
    else:
        side, roll = np.cross(along, rng.normal(size=3)), 0.0
        if thing.mesh.bar_kinds[bar] == "body" and len(thing.mesh.bars) == 3:  # a box: flat on
            side = np.eye(3)[rng.permutation([i for i in range(3) if abs(along[i]) < 0.5])[0]]
            roll = rng.normal(0, 12)
    lean = Rotation.from_euler("xyz", [rng.normal(0, 8), rng.normal(6, 16), roll], degrees=True)
    target = lean.as_matrix() @ _frame(np.array([0, 0, 1.0]), np.array([0, -1.0, 0]))
    turn = target @ _frame(along, side).T
    slide = max(0.0, length / 2 - 0.035) * rng.uniform(-1, 1)
    angles = _flexed(rng, rng.uniform(-12, 4), rng.uniform(2, 12))
    joints = np.array([hand.fingers[f].joints[0] for f in (1, 2, 3, 4)])
    place = joints.mean(0) * [1, 0, 1] + [rng.uniform(*reach) / 1e3, 0, rng.uniform(-6, 10) / 1e3]
    verts = hand.verts(angles)[hand.part != 1]
    shift = _push_up(thing, verts, turn, place - turn @ (middle + slide * along))
    if shift is None:
        return None
    gravity = turn @ [0, 0, -1.0] if is_handle else None
    return Plan(kind, turn, shift, angles, gravity=gravity)


def place_cradle(thing: Thing, hand: ShapedHand, rng: np.random.Generator) -> Plan | None:
    """The object lies on the upturned hand."""
    extent = np.ptp(thing.mesh.verts_m, axis=0)
    down = -np.eye(3)[2] if rng.random() < 0.6 else np.eye(3)[extent.argmin()]
    lean = Rotation.from_euler("xz", rng.normal(0, 6, 2), degrees=True).as_matrix()
    turn = (
        lean
        @ _frame(np.array([0, 1.0, 0]), rng.normal(size=3))
        @ _frame(down, rng.normal(size=3)).T
    )
    angles = _flexed(rng, rng.uniform(-5, 12), rng.uniform(5, 22), spread=7)
    place = np.array([rng.uniform(-0.115, -0.075), 0, rng.uniform(-0.02, 0.015)])
    verts = hand.verts(angles)[hand.part != 1]
    shift = _push_up(thing, verts, turn, place - turn @ thing.centre)
    if shift is None:
        return None
    return Plan("cradle", turn, shift, angles, gravity=np.array([0, 1.0, 0]))


def _pinch(
    thing: Thing,
    hand: ShapedHand,
    rng: np.random.Generator,
    plan: Plan,
    site: tuple[NDArray, NDArray],
    gap_m: float,
    widest_m: float,
) -> Plan | None:
    """Puts one of two opposite surface points at a site of the skin, the object beyond it."""
    middle = thing.pinches[:, :3] - thing.pinches[:, 3:6] * thing.pinches[:, 6:] / 2
    off = np.linalg.norm(middle - thing.centre, axis=1)
    fits = (thing.pinches[:, 6] < widest_m) & (off < (LEVER_M if thing.is_heavy else np.inf))
    if not fits.any():
        return None
    options, off = thing.pinches[fits], off[fits]
    weight = np.exp(-((off / 0.05) ** 2)) + 0.004
    verts = hand.verts(plan.angles)[hand.part != 1]
    point, normal = site
    for _ in range(60):
        first, outward = np.split(options[rng.choice(len(options), p=weight / weight.sum())], [3])
        lean = Rotation.from_rotvec(rng.normal(0, 0.12, 3)).as_matrix()
        target = lean @ _frame(-normal, rng.normal(size=3))
        turn = target @ _frame(outward[:3], rng.normal(size=3)).T
        shift = point + normal * gap_m - turn @ first
        if _is_clear(thing, verts, turn, shift):
            plan.turn, plan.shift = turn, shift
            return plan
    return None


def place_precision(
    thing: Thing, hand: ShapedHand, rng: np.random.Generator, kind: str = "precision"
) -> Plan | None:
    """Between the finger pads and the thumb, off the palm."""
    angles = _flexed(rng, rng.uniform(18, 62), rng.uniform(14, 52), spread=2)
    closing: tuple[int, ...] = (1, 2, 3, 4) if rng.random() < 0.6 else (1, 2, 3)
    if kind == "tripod":
        closing = (1, 2)
        for f in (3, 4):
            a, b, c = CHAINS[f]
            angles[[a, b, c], 0] += np.radians([14, 24, 10])
    palmar = np.array([0, -1.0, 0])
    sites = [hand.site(hand.verts(angles), f + 1, (2,), palmar) for f in closing[:2]]
    point, normal = (np.mean([s[k] for s in sites], axis=0) for k in (0, 1))
    start = angles.copy()
    for f in closing:
        start[CHAINS[f][0], 0] -= np.radians(9)
    idle = (1.0, 1.2) if kind == "tripod" else (0.7, 0.8)
    plan = Plan(kind, np.eye(3), np.zeros(3), start, closing, idle)
    site = point, normal / np.linalg.norm(normal)
    return _pinch(thing, hand, rng, plan, site, 0.004, 0.072 if kind == "precision" else 0.05)


def place_tripod(thing: Thing, hand: ShapedHand, rng: np.random.Generator) -> Plan | None:
    """Between index, middle and thumb; ring and little curl away."""
    return place_precision(thing, hand, rng, "tripod")


def place_lateral(thing: Thing, hand: ShapedHand, rng: np.random.Generator) -> Plan | None:
    """Between the thumb and the thumb's side of a bent index finger, like a key."""
    base, middle = rng.uniform(25, 55), rng.uniform(42, 72)
    angles = _flexed(rng, base, middle, spread=1.5)
    for a, b, _ in CHAINS[2:]:
        angles[[a, b], 0] += np.radians([6, 10])
    link = (1,) if rng.random() < 0.6 else (2,)
    site = hand.site(hand.verts(angles), 2, link, np.array([0, 0, 1.0]))
    plan = Plan("lateral", np.eye(3), np.zeros(3), angles, (), (1.1, 1.4), fixed=(1,))
    return _pinch(thing, hand, rng, plan, site, 0.0006, 0.026)


PLACES: dict[str, Callable[[Thing, ShapedHand, np.random.Generator], Plan | None]] = {
    "power": place_power,
    "precision": place_precision,
    "tripod": place_tripod,
    "lateral": place_lateral,
    "hook": place_hook,
    "cradle": place_cradle,
}
