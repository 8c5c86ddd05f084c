"""What is probably wrong with predictions that fit much better after simple changes."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

from handbench.console import say
from handbench.frames import HO3D, INTERHAND, OPENGL, mirror_points

TIMES = 3.0  # how many times better every single change must make the fit
SAMPLES = 500
DEPTH_M = (0.05, 5.0)  # a hand is farther from the camera than this and nearer than that
_FROM_OURS = np.argsort(HO3D)  # row i of HO-3D's order in our order


@dataclass(frozen=True)
class Suspicion:
    """changes: what helps, all together; times: how many times smaller the error gets; told: one
    sentence."""

    changes: tuple[str, ...]
    times: float
    told: str


@dataclass(frozen=True)
class _Change:
    name: str
    told: str
    of: Callable[[NDArray], NDArray]


_UNITS = (
    _Change("millimetres", "they look like millimetres; metres are wanted", lambda p: p / 1000.0),
    _Change("metres", "they look like metres; millimetres are wanted", lambda p: p * 1000.0),
)
_AXES = (
    _Change(
        "frame",
        "they fit after (x, -y, -z): OpenCV and OpenGL axes are mistaken for each other",
        lambda p: p * OPENGL,
    ),
    _Change(
        "mirror",
        "they fit after x -> -x: left and right are mistaken, or left hands are still mirrored",
        mirror_points,
    ),
)


def suspicion(joints_m: NDArray, target_m: NDArray, order: str = "ho3d") -> Suspicion | None:
    """What makes predictions fit at least 3 times better: a unit, axes, a joint order, or several.

    joints_m, target_m (N,21,3) in one order: "ho3d" or "ours". Each of several changes must be
    needed: without it the rest fits 3 times worse. Errors are medians of wrist-relative distances
    over at most 500 samples, so a few bad samples trigger nothing.
    """
    pick = np.flatnonzero(np.isfinite(joints_m).all((1, 2)))
    pick = pick[:: max(1, len(pick) // SAMPLES)]
    if not len(pick):
        return None
    pred, true = joints_m[pick].astype(np.float64), target_m[pick]
    errors = {
        chosen: _error(_changed(pred, chosen), true)
        for each in product((None, *_UNITS), (None, *_AXES), (None, *_orders(order)))
        for chosen in [tuple(change for change in each if change is not None)]
    }
    needed = {
        chosen: error
        for chosen, error in errors.items()
        if chosen and all(error * TIMES < errors[part] for part in _parts(chosen))
    }
    if not needed:
        return None
    best = min(needed, key=lambda chosen: needed[chosen])
    return Suspicion(
        tuple(change.name for change in best),
        errors[()] / max(errors[best], 1e-12),
        "; and ".join(change.told for change in best),
    )


def misplaced(joints_m: NDArray, ahead: float) -> list[str]:
    """What is odd about where the median hand of joints (N,21,3) lies for the camera, if anything.

    ahead: 1 where z grows away from the camera, -1 where it grows towards it.
    """
    known = joints_m[np.isfinite(joints_m[:, 0, 2]), 0, 2]
    depth = float(np.median(known) * ahead) if len(known) else 1.0
    if depth < 0:
        return ["hands lie behind the camera: OpenCV and OpenGL axes are mistaken"]
    if not DEPTH_M[0] < depth < DEPTH_M[1]:
        return [f"wrists lie {depth:.3g} m from the camera: joints must stand in its frame"]
    return []


def warn(
    joints_m: NDArray,
    target_m: NDArray,
    order: str,
    is_left: NDArray | None = None,
    advice: str = "",
    ahead: float = 0.0,
) -> None:
    """Say on stderr what the predictions probably are, where simple changes fit much better.

    Where none do, say it when they lie where no hand can be (misplaced), unless ahead is 0.
    is_left (N,): which hands are left ones; a mistake of one side alone is told apart. advice: what
    helps when axes are mistaken.
    """
    sides = {"the predictions": np.ones(len(joints_m), bool)}
    if is_left is not None and is_left.any() and not is_left.all():
        sides = {"the left hands": is_left, "the right hands": ~is_left}
    found = {who: suspicion(joints_m[part], target_m[part], order) for who, part in sides.items()}
    if len({each.changes if each else None for each in found.values()}) == 1:
        found = {"the predictions": suspicion(joints_m, target_m, order)}
    for who, each in found.items():
        if each is not None:
            mend = advice if "frame" in each.changes else ""
            say(
                f"warning: {who} fit {each.times:.0f} times better when changed: "
                f"{each.told}. Scores below are for the file as it is{mend}"
            )
    if ahead and not any(found.values()):
        for told in misplaced(joints_m, ahead):
            say(f"warning: {told}. Scores below are for the file as it is")


def _orders(order: str) -> tuple[_Change, ...]:
    """Other joint orders that the file may hold, each brought into the wanted one."""
    ours = order == "ours"
    to_file = np.arange(21) if ours else _FROM_OURS
    written = "HO-3D's" if ours else "wrist, thumb, index, middle, ring, little"
    told = "they fit in another joint order: {} seems to have been written"
    return (
        _Change("order", told.format(written), lambda p: p[:, HO3D if ours else to_file]),
        _Change(
            "interhand_order",
            told.format("InterHand2.6M's (tip to base, wrist last)"),
            lambda p: p[:, INTERHAND][:, to_file],
        ),
    )


def _changed(points: NDArray, changes: tuple[_Change, ...]) -> NDArray:
    for change in changes:
        points = change.of(points)
    return points


def _parts(chosen: tuple[_Change, ...]) -> list[tuple[_Change, ...]]:
    """All proper parts, the empty one too."""
    return [part for size in range(len(chosen)) for part in combinations(chosen, size)]


def _error(pred: NDArray, true: NDArray) -> float:
    distance = np.linalg.norm((pred - pred[:, :1]) - (true - true[:, :1]), axis=-1)
    return float(np.median(distance.mean(1)))
