"""Grasps by search: place the object, close the fingers, oppose the thumb, settle, judge.

Nothing floats: a grasp is kept when thumb and fingers touch from opposing sides, the contact
forces with friction balance (Ferrari and Canny 1992: the origin lies in the hull of the contact
wrenches; a hook or a cradle only has to balance gravity), nothing is pierced and the hand does
not run into itself.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from handbench.synthesis import distance
from handbench.synthesis.closing import CHAINS, close, count_behind
from handbench.synthesis.placing import PLACES, Plan, ShapedHand, Thing

CONTACT_M = 0.0012  # skin this near the surface touches it
DEEPEST_M = 0.0025  # soft skin may give way this much
MOST_CROSSED = 12  # vertices of the hand inside another part of it
FRICTION = 0.6
# flexion of the three joints a step, degrees: from even curling to hooking, for fingers and thumb
CURLS = np.radians([[2.5, 2.5, 1.6], [2.5, 1.4, 0.8], [1.5, 2.8, 1.8], [0.9, 2.8, 2.0]])
THUMB_CURLS = np.radians([[1.5, 2.2, 2.2], [2.0, 1.2, 0.8], [0.8, 1.6, 2.6]])


@dataclass(frozen=True)
class Grasp:
    """One accepted grasp, in the hand's frame at zero global rotation, wrist at the origin.

    angles, angles_open, angles_alt (16, 3) rad; T_hand_object (4, 4): model -> hand frame;
    approach (3,): the way the object leaves the open hand; contact (6,): palm, thumb … little.
    """

    kind: str
    angles: NDArray[np.float64]
    angles_open: NDArray[np.float64]
    angles_alt: NDArray[np.float64]
    T_hand_object: NDArray[np.float64]
    approach: NDArray[np.float64]
    contact: NDArray[np.bool_]
    penetration_m: float
    self_intersections: int


def search(thing: Thing, hand: ShapedHand, kind: str, rng: np.random.Generator) -> Grasp | None:
    """One try at a grasp of a kind; None when it fails."""
    plan = PLACES[kind](thing, hand, rng)
    if plan is None:
        return None
    angles, touching, pull = _close_fingers(plan, thing, hand, rng)
    wanted = len(plan.closing)
    if len(touching) < {4: 3, 3: 2, 2: 2, 0: 1}[wanted] - (kind == "hook"):
        return None
    thumb = _oppose_thumb(plan, thing, hand, angles, pull, rng)
    if thumb is None:
        return None
    open_thumb, angles[list(CHAINS[0])], thumb_touches = thumb
    if not thumb_touches and kind not in ("hook", "cradle"):
        return None
    angles_open = plan.angles.copy()
    angles_open[list(CHAINS[0])] = open_thumb
    if thumb_touches:
        touching = [0, *touching]
    angles, shift = settle(angles, touching, plan, thing, hand)
    verts = hand.verts(angles)
    gaps = thing.distance((verts - shift) @ plan.turn)
    contact = np.array([gaps[hand.part == p].min() < CONTACT_M for p in range(6)])
    if gaps.min() < -DEEPEST_M or not _is_held(
        kind, contact, verts, gaps, shift, plan, thing, hand
    ):
        return None
    crossed = hand.self_intersections(verts)
    if crossed > MOST_CROSSED:
        return None
    approach = _find_approach(angles_open, shift, plan, thing, hand)
    if approach is None:
        return None
    angles_alt = _lift(angles, contact, shift, plan, thing, hand, rng)
    if angles_alt is None:
        return None
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = plan.turn, shift
    depth = max(0.0, -float(gaps.min()))
    return Grasp(kind, angles, angles_open, angles_alt, T, approach, contact, depth, crossed)


def _close_fingers(
    plan: Plan, thing: Thing, hand: ShapedHand, rng: np.random.Generator
) -> tuple[NDArray, list[int], NDArray]:
    """Angles with index to little closed, those that touch, and their mean object normal."""
    angles, touching, pull = plan.angles.copy(), list(plan.fixed), np.zeros(3)
    habit = rng.normal(0, 0.25, len(CURLS))  # one taste for all fingers, so that they look alike
    spreads = np.radians([-7.0, 0.0, 7.0])
    for f in (1, 2, 3, 4):
        finger, chain = hand.fingers[f], list(CHAINS[f])
        low, high = hand.limits[chain, 0].T
        if f in plan.fixed:
            continue
        if f in plan.closing:
            starts = np.tile(plan.angles[chain], (len(CURLS) * len(spreads), 1, 1))
            starts[:, 0, 1] += np.repeat(spreads, len(CURLS))
            rates = np.tile(CURLS, (len(spreads), 1))
            tops = np.broadcast_to(high, rates.shape)
            closed = close(finger, starts, rates, tops, thing.grid, plan.turn, plan.shift)
            worth = closed.touches @ [0.3, 0.5, 1.0] + 0.04 * np.minimum(closed.near, 15)
            worth += np.tile(habit, len(spreads)) - 0.25 * np.repeat(np.abs(spreads) > 0, 4)
            worth[closed.blocked | ~closed.touches.any(1)] = -np.inf
            best = int(worth.argmax())
            if np.isfinite(worth[best]):
                angles[chain] = closed.angles[best]
                touching.append(f)
                pull += closed.normal[best]
                continue
        rest = np.maximum([*plan.idle, 0.5 * plan.idle[1]], plan.angles[chain, 0])
        closed = close(
            finger,
            plan.angles[None, chain],
            CURLS[:1],
            rest[None],
            thing.grid,
            plan.turn,
            plan.shift,
        )
        angles[chain] = closed.angles[0]
    for f in plan.fixed:
        ids = hand.part == f + 1
        verts = hand.verts(angles)[ids]
        points = (verts - plan.shift) @ plan.turn
        nearest = points[[thing.distance(points).argmin()]]
        pull += plan.turn @ distance.gradient(thing.grid, nearest)[0]
    return angles, touching, pull / max(float(np.linalg.norm(pull)), 1e-9)


def _oppose_thumb(
    plan: Plan,
    thing: Thing,
    hand: ShapedHand,
    angles: NDArray,
    pull: NDArray,
    rng: np.random.Generator,
) -> tuple[NDArray, NDArray, bool] | None:
    """Open and closed thumb angles (3, 3) and whether it touches: all CMC rotations are tried.

    The best thumb presses against the fingers (its contact normal opposes theirs), with its tip,
    at an easy angle, and passes through neither palm nor fingers.
    """
    chain = list(CHAINS[0])
    low, high = hand.limits[chain].transpose(2, 0, 1)
    grid = np.meshgrid(
        np.linspace(low[0, 1], high[0, 1], 7),
        np.linspace(low[0, 2], high[0, 2], 5),
        [low[0, 0] + 0.03, 0.0],
        np.arange(len(THUMB_CURLS)),
        indexing="ij",
    )
    abduction, twist, flexion, curl = (g.ravel() for g in grid)
    starts = np.zeros((len(curl), 3, 3))
    starts[:, 0] = np.stack([flexion, abduction, twist], 1)
    tops = np.broadcast_to(high[:, 0], (len(curl), 3))
    rates = THUMB_CURLS[curl.astype(int)]
    closed = close(hand.fingers[0], starts, rates, tops, thing.grid, plan.turn, plan.shift)
    comfort = (starts[:, 0, 1] / high[0, 1]) ** 2 + (starts[:, 0, 2] / high[0, 2]) ** 2
    opposed = -(closed.normal @ pull)
    worth = 1.2 * opposed + closed.touches @ [0.0, 0.2, 0.6] + 0.03 * np.minimum(closed.near, 12)
    worth += rng.normal(0, 0.12, len(worth)) - 0.15 * comfort
    worth[closed.blocked | ~closed.touches[:, 1:].any(1)] = -np.inf
    others = np.flatnonzero(hand.part != 1)
    verts = hand.verts(angles)
    normals = hand.normals(verts)
    for best in np.argsort(-worth, kind="stable")[:8]:
        if not np.isfinite(worth[best]):
            break
        trial = angles.copy()
        trial[chain] = closed.angles[best]
        if _thumb_crosses(hand, trial, verts[others], normals[others]) <= 2:
            return starts[best], closed.angles[best], True
    if plan.kind not in ("hook", "cradle"):
        return None
    for best in rng.permutation(np.flatnonzero(~closed.blocked))[:8]:
        trial = angles.copy()
        trial[chain] = starts[best] * 0.5
        points = (hand.verts(trial)[hand.part == 1] - plan.shift) @ plan.turn
        if thing.distance(points).min() > 0 and (
            _thumb_crosses(hand, trial, verts[others], normals[others]) == 0
        ):
            return trial[chain], trial[chain], False
    return None


def _thumb_crosses(hand: ShapedHand, angles: NDArray, verts: NDArray, normals: NDArray) -> int:
    thumb = hand.verts(angles)[np.flatnonzero(hand.part == 1)[hand.fingers[0].link > 0]]
    return count_behind(thumb, verts, normals)


def settle(
    angles: NDArray, touching: list[int], plan: Plan, thing: Thing, hand: ShapedHand
) -> tuple[NDArray, NDArray]:
    """Angles and object shift after small corrections with the whole hand model.

    Fingers that touch end between 0.4 mm off and 0.8 mm in; others stay out; the object gives way
    to the palm.
    """
    angles, shift = angles.copy(), plan.shift.copy()
    for _ in range(14):
        verts = hand.verts(angles)
        points = (verts - shift) @ plan.turn
        gaps = thing.distance(points)
        moved = False
        palm = np.flatnonzero(hand.part == 0)
        worst = palm[gaps[palm].argmin()]
        if gaps[worst] < -0.0006:
            away = plan.turn @ distance.gradient(thing.grid, points[[worst]])[0]
            shift += away * gaps[worst]
            moved = True
        for f, chain in enumerate(CHAINS):
            ids = np.flatnonzero(hand.part == f + 1)
            nearest = gaps[ids].argmin()
            gap = gaps[ids[nearest]]
            if gap >= -0.0008 and (gap <= 0.0004 or f not in touching or f in plan.fixed):
                continue
            joint = chain[max(0, hand.fingers[f].link[nearest] - 1)]
            step = np.clip((gap + 0.0002) / 0.045, -0.04, 0.03)
            low, high = hand.limits[joint, 0]
            angles[joint, 0] = np.clip(angles[joint, 0] + step, low, high)
            moved = True
        if not moved:
            break
    return angles, shift


def _is_held(
    kind: str,
    contact: NDArray,
    verts: NDArray,
    gaps: NDArray,
    shift: NDArray,
    plan: Plan,
    thing: Thing,
    hand: ShapedHand,
) -> bool:
    """Enough fingers, opposed, in balance."""
    fingers = int(contact[2:].sum())
    if kind in ("hook", "cradle"):
        if fingers < 3 - (kind == "hook"):
            return False
    elif not contact[1] or fingers < {"power": 3, "precision": 2, "tripod": 2, "lateral": 1}[kind]:
        return False
    ids = np.concatenate(
        [_some(np.flatnonzero((hand.part == p) & (gaps < 0.0016))) for p in range(6)]
    )
    points = (verts[ids] - shift) @ plan.turn
    normals = distance.gradient(thing.grid, points)
    part = hand.part[ids]
    if kind not in ("hook", "cradle"):
        thumb, rest = (normals[m].mean(0) for m in (part == 1, part > 1))
        cosine = thumb @ rest / max(np.linalg.norm(thumb) * np.linalg.norm(rest), 1e-9)
        if cosine > (0.1 if kind == "power" else -0.5):
            return False
    gravity = None if plan.gravity is None else plan.turn.T @ plan.gravity
    centred = points - thing.centre
    return balances(centred, normals) or (
        gravity is not None and balances(centred, normals, gravity)
    )


def _some(ids: NDArray, most: int = 8) -> NDArray:
    """At most `most` of ids, evenly taken."""
    return ids if len(ids) <= most else ids[np.linspace(0, len(ids) - 1, most).astype(int)]


def balances(points: NDArray, normals: NDArray, gravity: NDArray | None = None) -> bool:
    """Whether contact forces with friction can cancel out, or cancel gravity when it is given.

    points (P, 3) m from the mass centre; normals (P, 3) outward, unit; friction cones have eight
    edges; torques are scaled by the farthest contact.
    """
    side = np.cross(normals, np.where(np.abs(normals[:, :1]) < 0.7, [[1.0, 0, 0]], [[0, 1.0, 0]]))
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    other = np.cross(normals, side)
    turn = np.arange(8) * np.pi / 4
    edges = FRICTION * (np.cos(turn)[:, None, None] * side + np.sin(turn)[:, None, None] * other)
    forces = (edges - normals).reshape(-1, 3)
    places = np.tile(points, (8, 1))
    radius = max(np.linalg.norm(points, axis=1).max(), 1e-3)
    wrenches = np.concatenate([forces, np.cross(places, forces) / radius], 1).T
    if gravity is not None:
        return bool(nnls(wrenches, np.concatenate([-gravity, np.zeros(3)]))[1] < 0.05)
    rows = np.concatenate([wrenches, np.ones((1, wrenches.shape[1]))])
    return bool(nnls(rows, np.eye(7)[6])[1] < 0.05)


def _find_approach(
    angles_open: NDArray, shift: NDArray, plan: Plan, thing: Thing, hand: ShapedHand
) -> NDArray | None:
    """A direction in which the object can leave the open hand without passing through it."""
    verts = hand.verts(angles_open)
    for way in (
        [0, -1, 0],
        [-1, -1, 0],
        [-1, 0, 0],
        [-1, -1, 1],
        [0, -1, 1],
        [-1, 0, 1],
        [0, 0, 1],
    ):
        way = np.array(way) / np.linalg.norm(way)
        paths = [(verts - shift - way * s) @ plan.turn for s in np.linspace(0, 0.12, 13)]
        if min(thing.distance(p).min() for p in paths) > -DEEPEST_M:
            return way
    return None


def _lift(
    angles: NDArray,
    contact: NDArray,
    shift: NDArray,
    plan: Plan,
    thing: Thing,
    hand: ShapedHand,
    rng: np.random.Generator,
) -> NDArray | None:
    """The same hold with one or two fingers lifted, for motion while the object is held."""
    tips = hand.hand.tip_ids
    before = hand.verts(angles)[tips]
    for _ in range(8):
        chosen = rng.choice([1, 2, 3, 4], rng.integers(1, 3), replace=False)
        lifted = angles.copy()
        for f in chosen:
            a, b, c = CHAINS[f]
            change = -np.radians([rng.uniform(8, 22), rng.uniform(0, 10), rng.uniform(0, 5)])
            lifted[[a, b, c], 0] = np.clip(
                lifted[[a, b, c], 0] + change, *hand.limits[[a, b, c], 0].T
            )
        verts = hand.verts(lifted)
        if np.linalg.norm(verts[tips] - before, axis=1)[chosen].min() < 0.005:
            continue  # the finger was straight already
        gaps = thing.distance((verts - shift) @ plan.turn)
        if gaps.min() >= -DEEPEST_M and hand.self_intersections(verts) <= MOST_CROSSED:
            return lifted
    return None
