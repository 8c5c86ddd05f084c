"""Cases to look at: photograph, truth and every method on the same hands, front and side."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from handbench import draw, predictions
from handbench.frames import project
from handbench.predictions import Predictions
from handbench.result import Result
from handbench.rules import LEVELS
from handbench.store import Split, open_split
from handbench.tables import label, ordered
from handbench.truth import Truth, of_split

CELL = 240
SEED = 0
RULE = (
    "Of the method with the least MPJPE the two worst hands and the median one; from each "
    f"occlusion level one hand drawn with seed {SEED}. Predictions stand at the true wrist; "
    "hatched fingers are occluded."
)


@dataclass(frozen=True)
class Case:
    """One picture: RGB (h,w,3), and why this hand was chosen."""

    why: str
    id: str
    picture: NDArray


def cases(results: Sequence[Result]) -> list[Case]:
    """Panels for the results of one split whose predictions stand beside them, chosen by RULE."""
    ready = [
        each
        for each in ordered(results)
        if each.folder is not None and (each.folder / "predictions.h5").is_file()
    ]
    if not ready:
        return []
    split = open_split(ready[0].protocol["evaluation"]["data"])
    truth = of_split(split)
    shown = [(each, predictions.read(each.folder / "predictions.h5")) for each in ready]
    return [
        Case(why, str(truth.id[hand]), panel(split, truth, shown, hand))
        for why, hand in choose(ready[0])
    ]


def choose(best: Result) -> list[tuple[str, int]]:
    """(why, index of the hand) by RULE."""
    errors = best.per_sample["mpjpe_mm"]
    order = np.argsort(np.where(np.isfinite(errors), errors, -1), kind="stable")
    chosen = [(f"worst of {label(best)}", int(order[-1]))]
    if len(order) > 2:
        chosen.append((f"second worst of {label(best)}", int(order[-2])))
        chosen.append((f"median of {label(best)}", int(order[len(order) // 2])))
    rng = np.random.default_rng(SEED)
    for number, level in enumerate(LEVELS):
        members = np.flatnonzero(best.per_sample["level"] == number)
        if len(members):
            chosen.append((f"drawn by seed from {level} % occluded", int(rng.choice(members))))
    return chosen


def panel(
    split: Split, truth: Truth, shown: Sequence[tuple[Result, Predictions]], hand: int
) -> NDArray:
    """Upper row: photograph, truth, methods from the front; lower row: from the side.

    Predictions are wrist-relative: they are drawn at the true wrist.
    """
    row = int(split.hands.row[hand])
    K = split.columns["K"][row].astype(float)
    joints, _, wrist = truth.joints_m()
    models = truth.hand_models()
    model = None if models is None else models[int(truth.is_left[hand])]
    verts = truth.verts_m(slice(hand, hand + 1))
    fingers = truth.finger_visible()[hand]
    bodies = [("truth", joints[hand], None if verts is None else verts[0])]
    for each, given in shown:
        found = np.flatnonzero(
            (given.id == truth.id[hand]) & (given.is_left == truth.is_left[hand])
        )
        error = f"{label(each)} {each.per_sample['mpjpe_mm'][hand]:.1f} mm"
        mesh = None if given.verts_m is None else given.verts_m[found[0]]
        bodies.append((error, given.joints_m[found[0]], mesh))
    drawings = [
        draw.Drawing(
            joints_px=project(points + wrist[hand], K),
            fingers_visible=fingers if number == 0 else np.full(5, 255),
            verts_m=None if mesh is None or model is None else mesh + wrist[hand],
            faces=None if model is None else model.faces,
            face_part=None if model is None else model.face_part,
        )
        for number, (_, points, mesh) in enumerate(bodies)
    ]
    photo, moved, K = draw.close_up(split.image(row), drawings, K, margin=1.3)
    upper = [draw.label(fit(photo), ("photograph",))]
    lower = [np.full((CELL, CELL, 3), 255, np.uint8)]
    for (text, _, _), placed, drawing in zip(bodies, moved, drawings):
        picture = draw.overlay(photo, [placed], K, at_least=CELL)
        upper.append(draw.label(fit(picture), (text,)))
        lower.append(draw.side_view([drawing], (CELL, CELL)))
    return np.concatenate([draw.beside(*upper), draw.beside(*lower)])


def fit(picture: NDArray) -> NDArray:
    """A square picture in the cell's size."""
    return cv2.resize(picture, (CELL, CELL), interpolation=cv2.INTER_AREA)
