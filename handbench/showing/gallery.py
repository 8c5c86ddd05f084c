"""Cases to look at: photograph, truth and every method on the same hands, front and side."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from handbench import predictions
from handbench.files import write_bytes, write_text
from handbench.frames import FINGERS, project
from handbench.hand import Hand
from handbench.predictions import Predictions
from handbench.result import Result
from handbench.rules import LEVELS
from handbench.scoring.truth import Truth, of_split
from handbench.showing import draw
from handbench.showing.rows import by_boxes, label, ordered, stem, told_apart
from handbench.store import Split, open_split, prepared

CELL = 272
GAP = 3
ACROSS = 5  # more in a row make titles illegible on a page
SEED = 0
RULE = (
    "Of the method with the least MPJPE the worst hand, the worst one of another recording and the "
    f"median one; from each occlusion level one hand drawn with seed {SEED}. All methods are shown "
    "on the same hands, at the true wrist and in one scale; hatched fingers are occluded."
)
NOTHING = "no pictures: the split, or predictions.h5 beside the results, is not there"
QUARTER = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])  # seen from the camera's right


@dataclass(frozen=True)
class Case:
    """One picture: RGB (h,w,3), which hand it shows, why, and every method's MPJPE of it."""

    why: str
    id: str
    side: str
    level: str
    errors_mm: Mapping[str, float]
    picture: NDArray


@dataclass(frozen=True)
class Body:
    """A hand to draw: joints (21,3) and perhaps vertices relative to its wrist, and its title."""

    title: str
    joints_m: NDArray
    verts_m: NDArray | None
    fingers_visible: NDArray

    @property
    def points_m(self) -> NDArray:
        return self.joints_m if self.verts_m is None else self.verts_m


def cases(results: Sequence[Result]) -> list[Case]:
    """Panels for the results of one split whose predictions stand beside them, chosen by RULE."""
    ready = [
        each
        for each in ordered(told_apart(by_boxes(results)[0]))
        if each.folder is not None and (each.folder / "predictions.h5").is_file()
    ]
    if not ready or ready[0].protocol["evaluation"]["data"] not in prepared():
        return []
    split = open_split(ready[0].protocol["evaluation"]["data"])
    shown = [
        (each, predictions.read(each.folder / "predictions.h5"))
        for each in ready
        if each.folder is not None
    ]
    truth = of_split(split)
    rows = {key: row for row, key in enumerate(zip(truth.id.tolist(), truth.is_left.tolist()))}
    best = ready[0].per_sample
    return [
        _case(split, truth, shown, rows[str(best["id"][k]), bool(best["is_left"][k])], why)
        for why, k in choose(ready[0])
    ]


def choose(best: Result) -> list[tuple[str, int]]:
    """(why, index among the scored hands) by RULE."""
    errors = best.per_sample["mpjpe_mm"]
    order = np.argsort(np.where(np.isfinite(errors), errors, -1), kind="stable")
    chosen = [(f"worst of {label(best)}", int(order[-1]))]
    recording = best.per_sample["recording"]
    others = order[recording[order] != recording[order[-1]]]
    if len(others):
        chosen.append((f"worst of {label(best)} in another recording", int(others[-1])))
    if len(order) > 2:
        chosen.append((f"median of {label(best)}", int(order[len(order) // 2])))
    rng = np.random.default_rng(SEED)
    for number, level in enumerate(LEVELS):
        members = np.flatnonzero(best.per_sample["level"] == number)
        if len(members):
            chosen.append((f"drawn by seed from {level} % occluded", int(rng.choice(members))))
    return chosen


def write(results: Sequence[Result], folder: Path) -> list[Path]:
    """The cases of one split as PNG files, and a CSV of which hands they are and why."""
    found, written = cases(results), []
    methods = list(found[0].errors_mm) if found else []
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["picture", "why", "id", "side", "level", *(f"{m} mpjpe_mm" for m in methods)])
    for number, case in enumerate(found):
        plain = re.sub(r"[^a-z0-9]+", "_", case.why.lower()).strip("_")
        path = folder / f"{stem(results)}_{number:02d}_{plain}.png"
        write_bytes(path, draw.encoded(case.picture))
        errors = [f"{value:.3f}" for value in case.errors_mm.values()]
        rows.writerow([path.name, case.why, case.id, case.side, case.level, *errors])
        written.append(path)
    if found:
        written.append(folder / f"{stem(results)}_cases.csv")
        write_text(written[-1], table.getvalue())
    return written


def _case(
    split: Split,
    truth: Truth,
    shown: Sequence[tuple[Result, Predictions]],
    hand: int,
    why: str,
) -> Case:
    models = truth.hand_models()
    model = None if models is None else models[int(truth.is_left[hand])]
    joints, _, wrist = truth.joints_m()
    verts = truth.verts_m(np.array([hand]))
    mesh = None if verts is None or not np.isfinite(verts).all() else verts[0]
    bodies = [Body("truth", joints[hand], mesh, truth.finger_visible()[hand])]
    errors: dict[str, float] = {}
    for each, given in shown:
        row = _row(given.id, given.is_left, truth, hand)
        scored = _row(each.per_sample["id"], each.per_sample["is_left"], truth, hand)
        if row is None or scored is None:
            continue
        errors[label(each)] = float(each.per_sample["mpjpe_mm"][scored])
        found = None if given.verts_m is None else given.verts_m[row]
        title = f"{label(each)} {errors[label(each)]:.1f} mm"
        bodies.append(Body(title, given.joints_m[row], found, np.full(5, 255)))
    number, side = int(truth.level()[hand]), "left" if truth.is_left[hand] else "right"
    level = f"{LEVELS[number]} %" if number >= 0 else "unknown"
    notes = (why, str(truth.id[hand]), f"{side} hand, {level} occluded")
    image_row = int(split.hands.row[hand])
    K = split.columns["K"][image_row].astype(float)
    picture = panel(split.image(image_row), K, wrist[hand], bodies, model, notes)
    return Case(why, str(truth.id[hand]), side, level, errors, picture)


def _row(ids: NDArray, is_left: NDArray, truth: Truth, hand: int) -> int | None:
    found = np.flatnonzero((ids == truth.id[hand]) & (is_left == truth.is_left[hand]))
    return int(found[0]) if len(found) else None


def panel(
    image: NDArray,
    K: NDArray,
    wrist_m: NDArray,
    bodies: Sequence[Body],
    model: Hand | None,
    notes: Sequence[str] = (),
) -> NDArray:
    """Upper rows: photograph and bodies from the front; lower: notes and bodies from the side.

    wrist_m (3,): where all wrists stand in the camera frame. Bodies without vertices are drawn as
    skeletons. All side views share one scale, and wrists one place in them.
    """
    drawings = [_drawing(body, model, wrist_m, K) for body in bodies]
    photo, moved, K = draw.close_up(image, drawings, K, margin=1.3)
    upper = [draw.label(_fit(photo), ("photograph",))]
    lower = [_notes(notes)]
    everything = np.concatenate([body.points_m for body in bodies]) @ QUARTER.T
    low, high = everything.min(0), everything.max(0)
    reach = max(float((high - low)[:2].max()) / 2, 1e-6)
    far = 100 * reach  # from far away, so that the view is nearly without perspective
    K_side = np.array([[0.46 * CELL * far / reach, 0, (CELL - 1) / 2]] * 2 + [[0, 0, 1.0]])
    K_side[1] = K_side[0][[1, 0, 2]]
    blank = np.full((CELL, CELL, 3), draw.BACKDROP, np.uint8)
    for body, placed in zip(bodies, moved):
        upper.append(draw.label(_fit(draw.overlay(photo, [placed], K, CELL)), (body.title,)))
        turned = Body(
            body.title,
            body.joints_m @ QUARTER.T,
            None if body.verts_m is None else body.verts_m @ QUARTER.T,
            body.fingers_visible,
        )
        seen = _drawing(turned, model, np.r_[-(low + high)[:2] / 2, far], K_side)
        lower.append(draw.label(_side(blank, seen, K_side), ("from the right",)))
    return _bands(upper, lower)


def _drawing(body: Body, model: Hand | None, wrist_m: NDArray, K: NDArray) -> draw.Drawing:
    mesh = None if body.verts_m is None or model is None else body.verts_m + wrist_m
    return draw.Drawing(
        joints_px=project(body.joints_m + wrist_m, K),
        fingers_visible=body.fingers_visible,
        verts_m=mesh,
        faces=None if model is None else model.faces,
        face_part=None if model is None else model.face_part,
    )


def _side(blank: NDArray, seen: draw.Drawing, K: NDArray) -> NDArray:
    if seen.verts_m is None or seen.faces is None:
        assert seen.joints_px is not None
        return draw.skeleton(blank, seen.joints_px, seen.fingers_visible)
    flags = seen.fingers_visible
    return draw.mesh(blank, seen.verts_m, seen.faces, K, seen.face_part, flags, alpha=1.0)


def _notes(lines: Sequence[str]) -> NDArray:
    """A cell of text: the notes, broken at the cell's width, and the colours of the fingers."""
    cell = np.full((CELL, CELL, 3), draw.BACKDROP, np.uint8)
    y = 8
    for line in lines:
        for piece in re.findall(r".{1,40}(?:\s|$)|.{40}", line):
            y += 17
            _text(cell, piece.strip(), (10, y), draw.INK)
        y += 6
    for finger, colour in zip(FINGERS, draw.COLOURS[1:]):
        y += 17
        cv2.circle(cell, (16, y - 4), 5, colour.tolist(), -1, cv2.LINE_AA)
        _text(cell, finger, (28, y), draw.INK)
    return cell


def _text(image: NDArray, text: str, at: tuple[int, int], colour: tuple[int, int, int]) -> None:
    cv2.putText(image, text, at, draw.FONT, 0.37, colour, 1, cv2.LINE_AA)


def _bands(upper: list[NDArray], lower: list[NDArray]) -> NDArray:
    """Front views over side views; of more than ACROSS in several pairs of rows."""
    across = -(-len(upper) // -(-len(upper) // ACROSS))  # rows of nearly one length
    white = [np.full((CELL, CELL, 3), 255, np.uint8)] * (-len(upper) % across)
    upper, lower = [*upper, *white], [*lower, *white]
    rows = [
        _row_of(cells[first : first + across])
        for first in range(0, len(upper), across)
        for cells in (upper, lower)
    ]
    gap = np.full_like(rows[0][:GAP], 255)
    return np.concatenate([part for row in rows for part in (gap, row)])[GAP:]


def _row_of(cells: Sequence[NDArray]) -> NDArray:
    """Cells beside each other with a white gap between them."""
    gap = np.full((CELL, GAP, 3), 255, np.uint8)
    return draw.beside(*(part for cell in cells for part in (gap, cell)))[:, GAP:]


def _fit(picture: NDArray) -> NDArray:
    """A square picture in the cell's size."""
    way = cv2.INTER_AREA if len(picture) > CELL else cv2.INTER_CUBIC
    return cv2.resize(picture, (CELL, CELL), interpolation=way)
