"""What is probably wrong with predictions that fit much better after a simple change."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handbench.console import say
from handbench.frames import HO3D, INTERHAND, OPENGL

TIMES = 3.0  # how many times better a change must fit before it is spoken of
SAMPLES = 500
_FROM_OURS = np.argsort(HO3D)  # row i of HO-3D's order in our order


@dataclass(frozen=True)
class Suspicion:
    """change: what helps; times: how many times smaller the error gets; told: one sentence."""

    change: str
    times: float
    told: str


def suspicions(joints_m: NDArray, target_m: NDArray, order: str = "ho3d") -> list[Suspicion]:
    """Changes that make predictions fit at least 3 times better, the best first.

    joints_m, target_m (N,21,3) in one order: "ho3d" or "ours". Errors are medians of
    wrist-relative distances over at most 500 samples, so a few bad samples trigger nothing.
    """
    finite = np.isfinite(joints_m).all((1, 2))
    pick = np.flatnonzero(finite)
    pick = pick[:: max(1, len(pick) // SAMPLES)]
    if not len(pick):
        return []
    pred, true = joints_m[pick], target_m[pick]
    ours = order == "ours"
    to_file = np.arange(21) if ours else _FROM_OURS
    # name -> (what the file probably holds, the change that mends it)
    changes: dict[str, tuple[str, Callable[[NDArray], NDArray]]] = {
        "millimetres": ("they look like millimetres; metres are wanted", lambda p: p / 1000.0),
        "metres": ("they look like metres; millimetres are wanted", lambda p: p * 1000.0),
        "frame": (
            "they fit after (x, -y, -z): OpenCV and OpenGL axes are mistaken for each other",
            lambda p: p * OPENGL,
        ),
        "mirror": (
            "they fit after x -> -x: left and right are mistaken, or left hands are still mirrored",
            lambda p: p * np.array([-1.0, 1.0, 1.0]),
        ),
        "order": (
            "they fit in another joint order: "
            + ("HO-3D's" if ours else "wrist, thumb, index, middle, ring, little")
            + " seems to have been written",
            (lambda p: p[:, HO3D]) if ours else (lambda p: p[:, to_file]),
        ),
        "interhand_order": (
            "they fit in another joint order: InterHand2.6M's (tip to base, wrist last) seems to "
            "have been written",
            lambda p: p[:, INTERHAND][:, to_file],
        ),
    }
    before = _error(pred, true)
    found = []
    for name, (told, change) in changes.items():
        after = _error(change(pred), true)
        if after * TIMES < before:
            found.append(Suspicion(name, before / max(after, 1e-12), told))
    return sorted(found, key=lambda each: -each.times)


def warn(
    joints_m: NDArray,
    target_m: NDArray,
    order: str,
    is_left: NDArray | None = None,
    advice: str = "",
) -> None:
    """Say on stderr what the predictions probably are, where a simple change fits much better.

    is_left (N,): which hands are left ones; a mistake of one side alone is told apart. advice: what
    helps when axes are mistaken.
    """
    sides = {"the predictions": np.ones(len(joints_m), bool)}
    if is_left is not None and is_left.any() and not is_left.all():
        sides = {"the left hands": is_left, "the right hands": ~is_left}
    found = {who: suspicions(joints_m[part], target_m[part], order) for who, part in sides.items()}
    if len({tuple(each.change for each in side) for side in found.values()}) == 1:
        found = {"the predictions": suspicions(joints_m, target_m, order)}
    for who, side in found.items():
        for each in side[:2]:
            mend = advice if each.change == "frame" else ""
            say(
                f"warning: {who} fit {each.times:.0f} times better when changed: "
                f"{each.told}. Scores below are for the file as it is{mend}"
            )


def _error(pred: NDArray, true: NDArray) -> float:
    distance = np.linalg.norm((pred - pred[:, :1]) - (true - true[:, :1]), axis=-1)
    return float(np.median(distance.mean(1)))
