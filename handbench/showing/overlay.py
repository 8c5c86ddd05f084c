"""A row of a prepared split as pictures, text and mesh files."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handbench import files
from handbench.errors import DataError
from handbench.frames import FINGERS
from handbench.hand import Hand, default_hand, models_of
from handbench.rules import LEVELS, RULES, level
from handbench.schema import SIDES
from handbench.showing import draw
from handbench.store import Split


def hand_models(split: Split) -> dict[str, Hand]:
    """The hand models by side that the split was made with; empty when they are not here."""
    models = models_of(str(split.attributes.get("hand_model", "")))
    return {} if models is None else dict(zip(SIDES, models))


def drawings(split: Split, row: int, rule: str = "released") -> dict[str, draw.Drawing]:
    """What is known of each hand of an image, by side."""
    models = hand_models(split)
    return {
        side: _drawing(split, row, side, models, rule)
        for side in SIDES
        if split.columns[f"{side}/present"][row] == 1
    }


def _drawing(split: Split, row: int, side: str, models: dict[str, Hand], rule: str) -> draw.Drawing:
    valid, joints_px, box_px, share = (
        split.columns[f"{side}/{name}"][row]
        for name in ("joints_valid", "joints_px", "box_px", "visibility/scene/hand")
    )
    model = models.get(side)
    seen = fingers_visible(split, row, side, rule)
    lines = [side]
    if np.isfinite(share):
        hidden = [name for name, flag in zip(FINGERS, seen) if flag == 0]
        lines[0] += f": {share:.0%} visible, occlusion level {LEVELS[int(level([share])[0])]} %"
        lines.append(f"  occluded fingers ({rule}): {', '.join(hidden) or 'none'}")
    return draw.Drawing(
        joints_px=np.where((valid > 0)[:, None], joints_px, np.nan),
        fingers_visible=seen,
        verts_m=vertices(split, row, side, models),
        faces=None if model is None else model.faces,
        face_part=None if model is None else model.face_part,
        box_px=box_px,
        mark=side[0].upper(),
        lines=tuple(lines),
    )


def vertices(split: Split, row: int, side: str, models: dict[str, Hand]) -> NDArray | None:
    """One hand's mesh (778,3) m in the camera frame: as stored, or from its MANO parameters."""
    stored = f"{side}/verts_m"
    if stored in split.columns and np.isfinite(split.columns[stored][row]).all():
        return split.columns[stored][row].astype(np.float64) if side in models else None
    if side not in models or not split.columns[f"{side}/mano_valid"][row]:
        return None
    pose, shape, trans = (
        split.columns[f"{side}/mano_{name}"][row] for name in ("pose", "shape", "trans_m")
    )
    return models[side].pose(pose[None], shape[None])[0][0] + trans


def fingers_visible(split: Split, row: int, side: str, rule: str) -> NDArray[np.uint8]:
    """(5,) 1, 0 or 255 unknown, thumb first, by a named rule."""
    count = split.columns[f"{side}/visibility/scene/finger_count"][row]
    hand = split.columns[f"{side}/visibility/scene/hand"][row]
    return RULES[rule](count[None], hand[None], part_sizes(split))[0][0]


def part_sizes(split: Split) -> NDArray[np.int64]:
    """(6,) vertices of palm and fingers in the split's hand model, else in the one at hand."""
    model = hand_models(split).get("right") or default_hand("right")
    return model.part_sizes


def picture(split: Split, row: int, rule: str = "released", small: bool = False) -> NDArray:
    """The photograph with all that is known drawn over it; the mesh from the side beside it.

    small: only the part around the hands, without text but the row number, for a contact sheet.
    """
    shown = list(drawings(split, row, rule).values())
    image, K = split.image(row), split.columns["K"][row]
    if small:
        image, shown, K = draw.close_up(image, shown, K)
        plain = [replace(each, lines=()) for each in shown]
        return draw.overlay(image, plain, K, 256, (str(row),))
    title = (f"{split.name} [{row}]", str(split.columns["id"][row]))
    whole = draw.overlay(image, shown, K, 512, title)
    if any(each.verts_m is not None for each in shown):
        side = draw.side_view(shown, (whole.shape[0], whole.shape[0]))
        whole = draw.beside(whole, side)
    return whole


def sheet(split: Split, rows: Iterable[int], rule: str = "released") -> NDArray:
    """A contact sheet of rows, each around its hands."""
    return draw.contact_sheet([picture(split, row, rule, small=True) for row in rows], 6, 256)


def write_obj(split: Split, row: int, path: Path) -> int:
    """All hand meshes of a row as one Wavefront OBJ in the camera frame; returns how many.

    Raises DataError when the row has no mesh that can be made here.
    """
    models = hand_models(split)
    meshes = {side: vertices(split, row, side, models) for side in SIDES}
    known = {side: verts_m for side, verts_m in meshes.items() if verts_m is not None}
    text = obj_text((side, verts_m, models[side].faces) for side, verts_m in known.items())
    if not text:
        raise DataError(
            f"{split.columns['id'][row]} has no mesh to write: it holds joints only, or its hand "
            "model is not here (set HANDBENCH_MANO to the folder of your MANO files)"
        )
    files.write_text(path, text)
    return len(known)


def obj_text(meshes: Iterable[tuple[str, NDArray, NDArray]]) -> str:
    """Wavefront OBJ of meshes (name, vertices (V,3) m, faces (F,3) from 0); empty without any."""
    lines, first = [], 1
    for name, verts_m, faces in meshes:
        lines.append(f"o {name}")
        lines += [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in verts_m]
        lines += [f"f {a} {b} {c}" for a, b, c in faces + first]
        first += len(verts_m)
    return "".join(line + "\n" for line in lines)
