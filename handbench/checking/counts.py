"""Checks of what is there: files, rows against what was expected, ids, order, flags."""

import json
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from handbench.checking.check import FAIL, NONE, OK, WARN, Check, percent
from handbench.checking.hands import INSIDE, SplitHands
from handbench.console import amount
from handbench.schema import SIDES
from handbench.scoring.stats import FEWEST_CLUSTERS
from handbench.store import Split

EDGE_PX = 0.05  # bit "inside the image" may differ this near to the border


def parts(hands: SplitHands) -> Check:
    """Part files complete, and all of one preparation. Their sizes were checked on opening."""
    split = hands.split
    wrong = [
        f"{path.name} {why}"
        for path in split.columns.parts
        for why in _part_faults(path, split.attributes.get("plan"))
    ]
    told = ", ".join(wrong[:3]) or f"{amount(len(split.columns.parts), 'part')} and an index"
    return Check("files", FAIL if wrong else OK, told, "complete, of one preparation")


def _part_faults(path: Path, plan: object) -> list[str]:
    with h5py.File(path, "r") as file:
        faults = [] if file.attrs.get("complete") == 1 else ["is not complete"]
        return faults + ([] if file.attrs.get("plan") == plan else ["is of another preparation"])


def rows(hands: SplitHands) -> Check:
    """Rows, what is missing in the raw folder and what was skipped, against what was expected."""
    split = hands.split
    found = split.attributes
    missing, expected = int(found.get("missing", 0)), int(found.get("expected", -1))
    skipped = json.loads(found.get("skipped", "{}"))
    limit = json.loads(found.get("options", "{}")).get("limit")
    left_out = sum(skipped.values())
    told = f"{amount(len(split), 'image')}, {amount(len(hands), 'hand')}"
    told += f"; missing {missing:,}" if missing else ""
    if left_out:
        reasons = ", ".join(f"{count:,} {why}" for why, count in sorted(skipped.items()))
        told += f"; skipped {reasons}"
    if limit is not None:
        return Check("rows", WARN, f"{told}; prepared with --limit {limit}", _told(expected))
    if expected < 0:
        return Check("rows", OK, told, "no count is known")
    fits = len(split) + missing + left_out == expected
    whole = fits and not missing and not left_out
    return Check("rows", OK if whole else WARN if fits else FAIL, told, _told(expected))


def _told(expected: int) -> str:
    return amount(expected, "image") if expected >= 0 else "no count is known"


def official(hands: SplitHands) -> Check:
    """What the release lists against the count that its authors publish."""
    published = int(hands.split.attributes.get("official_rows", -1))
    listed = int(hands.split.attributes.get("expected", len(hands.split)))
    if published < 0:
        return Check("official count", NONE, f"{listed:,} listed", "none is published for this")
    told = f"{listed:,} listed" + ("" if listed == published else f" ({listed - published:+,})")
    return Check("official count", OK if listed == published else WARN, told, f"{published:,}")


def ids(hands: SplitHands) -> Check:
    """Ids unique and of the form data set/split/…."""
    found = hands.split.columns["id"]
    again = len(found) - len(np.unique(found))
    foreign = int((~np.char.startswith(found.astype(str), hands.split.name + "/")).sum())
    told = f"{again:,} repeated, {foreign:,} of another name"
    return Check("ids", FAIL if again or foreign else OK, told, f"unique, {hands.split.name}/…")


def order(hands: SplitHands) -> Check:
    """Within a sequence and camera the order increases with the frame number."""
    columns = hands.split.columns
    same = (np.diff(columns["sequence"]) == 0) & (np.diff(columns["camera"]) == 0)
    known = same & (columns["order"][1:] >= 0) & (columns["order"][:-1] >= 0)
    later = np.diff(columns["frame_number"]) > 0
    wrong = int((known & later & (np.diff(columns["order"]) <= 0)).sum())
    wrong += int((known & (np.diff(columns["clip"]) < 0)).sum())
    if not known.any():
        return Check("order in time", NONE, "single images")
    told = f"{wrong:,} of {int(known.sum()):,} steps go back"
    return Check("order in time", FAIL if wrong else OK, told, "order rises with frame_number")


def recordings(hands: SplitHands) -> Check:
    """Physical takes; every sequence belongs to one."""
    columns = hands.split.columns
    pairs = np.unique(np.stack([columns["sequence"], columns["recording"]]), axis=1)
    torn = pairs.shape[1] - len(np.unique(pairs[0]))
    count = len(np.unique(columns["recording"]))
    subjects = np.unique(columns["subject"][columns["subject"] >= 0])
    told = f"{amount(count, 'recording')}, {amount(len(np.unique(columns['camera'])), 'camera')}, "
    told += amount(len(subjects), "subject") if len(subjects) else "unknown subjects"
    told += f"; {amount(torn, 'sequence')} in two recordings" if torn else ""
    state = FAIL if torn else OK if count >= FEWEST_CLUSTERS else WARN
    return Check("recordings", state, told, f"{FEWEST_CLUSTERS} or more, for intervals")


def flags(hands: SplitHands) -> Check:
    """What is flagged as known is finite, what is not annotated is not, in every column."""
    wrong = {
        "joints flagged but not finite": (
            hands.valid & ~np.isfinite(hands["joints_m"]).all(-1)
        ).any(1),
        "hands without any joint": ~hands.valid.any(1),
        "fits flagged but not finite": (hands["mano_valid"] > 0)
        & ~np.isfinite(np.concatenate([hands["mano_pose"], hands["mano_shape"]], axis=1)).all(1),
        "labels flagged but not there": hands.labelled
        & (hands["visibility/scene/finger_count"] < 0).any(1),
        "labels there but not flagged": ~hands.labelled
        & (hands["visibility/scene/finger_count"] >= 0).any(1),
        "boxes flagged but empty": (hands["box_source"] > 0) & ~(hands["box_px"][:, 2:] > 0).all(1),
    }
    told = [f"{what}: {int(mask.sum()):,}" for what, mask in wrong.items() if mask.any()]
    joints, labels = _values_of_absent(hands.split)
    told += [f"joints where no hand is: {joints:,}"] if joints else []
    state = FAIL if told else WARN if labels else OK
    told += [f"labels where no hand is: {labels:,} (nothing reads them)"] if labels else []
    return Check("flags", state, ", ".join(told) or "agree", "flags and values agree")


def _values_of_absent(split: Split) -> tuple[int, int]:
    """Rows in which a hand that is not there has joints, and labels."""
    joints = labels = 0
    for side in SIDES:
        absent = split.columns[f"{side}/present"] == 0
        known = np.isfinite(split.columns[f"{side}/joints_m"][absent]).any((1, 2))
        joints += int(known.sum())
        labels += int((split.columns[f"{side}/visibility/source"][absent] > 0).sum())
    return joints, labels


def inside(hands: SplitHands) -> Check:
    """The flag "inside the image" agrees with joints_px; how much lies outside."""
    pixels, size = hands["joints_px"].astype(np.float64), hands.image("image_size")[:, None]
    known = hands.valid & np.isfinite(pixels).all(-1)
    said = (hands["joints_valid"] & INSIDE) > 0
    beyond = _beyond(pixels, size)
    wrong = known & ((said & (beyond > EDGE_PX)) | (~said & (beyond < -EDGE_PX)))
    share = float(wrong.sum() / max(known.sum(), 1))
    outside = float((beyond[known] > 0).mean()) if known.any() else float("nan")
    told = f"{percent(share)} of flags differ; {percent(outside)} of joints lie outside"
    state = OK if share == 0 else WARN if share <= 0.01 else FAIL
    return Check("joints in the image", state, told, "the flag is that of joints_px")


def _beyond(pixels: NDArray, size: NDArray) -> NDArray[np.float64]:
    """How far outside the picture (negative: inside) points lie, px."""
    return np.maximum(-0.5 - pixels, pixels - (size - 0.5)).max(-1)


CHECKS = (parts, rows, official, ids, order, recordings, flags, inside)
