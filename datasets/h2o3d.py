"""H2O-3D (Hampali et al., CVPR 2022; TU Graz): the official download, two hands and an object.

docs/datasets/h2o3d.md says what to download and where it goes.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbench import frames
from handbench.console import say
from handbench.datasets.ho3d_files import Meta, intrinsics, read_meta
from handbench.datasets.ho3d_hands import (
    FIT_LIMIT_MM,
    add_fit,
    hand_record,
    joints_to_ours,
    read_fit,
    unannotated,
    wrist_record,
)
from handbench.datasets.ho3d_lists import subject_of, take_of_h2o3d
from handbench.datasets.ho3d_masks import (
    HANDS_UNKNOWN,
    LEFT,
    RIGHT,
    Masks,
    learn_sides,
    read_colours,
    visible_box,
)
from handbench.datasets.ho3d_reader import HALF_TURN, ListedReader
from handbench.datasets.jpeg import Skip
from handbench.datasets.trees import hands_of_tree
from handbench.hand import Hand
from handbench.png import encode_grey
from handbench.records import HandRecord, Mesh, SequencePlan

SIDES = {"right": RIGHT, "left": LEFT}
SAMPLED = 24  # frames of a split from which colours and the left hand's convention are learnt
# which MANO_LEFT.pkl the annotation means: its shape directions' fault undone, left in, or all of
# them negated as HO-3D's setup script does with its copy
LEFT_SHAPES = ("corrected", "as released", "negated")


class H2O3D(ListedReader):
    """Reader of one split.

    raw: the folder with train/, evaluation/ and the lists. masks: "auto" (train/SEQ/segr), "none"
    (labels are rendered) or a folder with train/SEQ/segr. models: folder of YCB models, default
    raw/models. strict: a frame that would be skipped is an error. Raises DataError, UnknownName.
    """

    name = "h2o3d"
    title = "H2O-3D"
    masks_name = "segr"
    no_truth = "the truth is not released"
    turns_deg = {
        **dict.fromkeys((3, 4, 6, 10, 21), HALF_TURN),
        **dict.fromkeys((19, 24, 25), tuple(range(-180, 180, 5))),
    }
    left_shape = LEFT_SHAPES[0]

    def __init__(
        self,
        split: str,
        raw: str | Path | None = None,
        masks: str = "auto",
        models: str = "",
        strict: bool = False,
    ) -> None:
        self._open(split, raw, models, strict, masks)
        self.masks = None
        if self.masks_folder is not None:
            self.masks = Masks(self.masks_folder, self.masks_name, ".png", HANDS_UNKNOWN)

    def take_of(self, sequence: str) -> tuple[str, str]:
        return take_of_h2o3d(sequence)

    def _load_models(self) -> tuple[Hand, Hand] | None:
        found = hands_of_tree(self.raw, fix_left_shape=self.left_shape == "corrected")
        if found is None or self.left_shape != "negated":
            return found
        return found[0], found[1].negated()

    def _read_plan(self) -> list[SequencePlan]:
        plans = super()._read_plan()
        if self.split == "train":
            self._learn_left(plans)
            self._learn_colours(plans)
        return plans

    def _sampled(self, plans: list[SequencePlan]) -> Iterator[tuple[Meta, str, int]]:
        """Annotations of some frames, evenly spaced over the split."""
        everything = [(plan, i) for plan in plans for i in range(plan.rows)]
        step = max(1, len(everything) // SAMPLED)
        for plan, i in everything[::step]:
            number = int(plan.key["frames"][i])
            path = self.raw / self.split / plan.name / "meta" / f"{number:04d}.pkl"
            try:
                yield read_meta(path), plan.name, number
            except Skip:
                continue

    def _learn_left(self, plans: list[SequencePlan]) -> None:
        """Take the left hand of which posed joints and annotated ones agree best."""
        if self.hand_models is None:
            return
        metas = [meta for meta, _, _ in self._sampled(plans)]
        errors = {}
        for self.left_shape in LEFT_SHAPES:
            self.hand_models = self._load_models()
            found = [self._left_error(meta) for meta in metas]
            known = [error for error in found if np.isfinite(error)]
            errors[self.left_shape] = float(np.median(known)) if known else float("nan")
        self.left_shape = min(LEFT_SHAPES, key=lambda name: np.nan_to_num(errors[name], nan=1e9))
        self.hand_models = self._load_models()
        if errors[self.left_shape] > FIT_LIMIT_MM:
            told = ", ".join(f"{name} {error:.1f} mm" for name, error in errors.items())
            say(
                f"{self.name}: expected left hands posed by MANO_LEFT.pkl to agree with their "
                f"joints within {FIT_LIMIT_MM:g} mm; found {told}: no labels for these"
            )

    def _left_error(self, meta: Meta) -> float:
        try:
            record = self._hand(meta, "left", intrinsics(meta))[0]
        except Skip:
            return float("nan")
        return record.fit_error_mm

    def _learn_colours(self, plans: list[SequencePlan]) -> None:
        """Which colour of the masks is whose hand: the release does not say."""
        if self.masks is None:
            return
        samples = []
        for meta, sequence, number in self._sampled(plans):
            path = self.masks.path(sequence, number)
            try:
                K = intrinsics(meta)
                right, left = (self._hand(meta, side, K)[0].joints_px for side in SIDES)
                if path.is_file():
                    samples.append((read_colours(path), right, left))
            except Skip:
                continue
        self.masks = replace(self.masks, palette=learn_sides(samples))
        if not {RIGHT, LEFT} <= set(self.masks.palette.codes):
            say(
                f"{self.name}: expected a colour for either hand in the masks; found "
                f"{self.masks.palette.told()}: a pixel of a hand counts for both"
            )

    def content(self, meta: Meta, sequence: str, number: int, line: int) -> dict[str, Any]:
        K = intrinsics(meta)
        found: dict[str, Any] = {"K": K, "segmentation": None, "meshes": ()}
        codes = None if self.masks is None else self.masks.read(sequence, number)
        if codes is not None:
            found["segmentation"] = encode_grey(codes)
        if self.split == "evaluation":
            for side in SIDES:
                wrist = meta.array(f"{side}HandJoints3D", 3)
                found[side] = wrist_record(wrist, meta.array(f"{side}HandBoundingBox", 4), K)
            return found
        for side, code in SIDES.items():
            record, mesh = self._hand(meta, side, K)
            if codes is not None:
                record = replace(record, box_visible_px=visible_box(codes, code))
            found[side] = record
            found["meshes"] += () if mesh is None else (mesh,)
        if not any(found[side].present == 1 for side in SIDES):
            raise Skip("no valid hand")
        return {**found, "subject": subject_of(meta.array("handBeta", 10))}

    def _hand(self, meta: Meta, side: str, K: NDArray) -> tuple[HandRecord, Mesh | None]:
        """One hand of a train frame, its mesh where its pose is valid."""
        valid = meta.flags(f"jointValid{side.title()}", 21)
        valid_pose = f"poseValid{side.title()}"
        name = f"{side}HandJoints3D"
        if name in meta.values and meta.values[name] is None:
            return unannotated(), None
        joints = meta.array(name, 21, 3)
        if not valid.any() or np.ptp(joints[valid], axis=0).max() == 0:
            return unannotated(), None
        record = hand_record(joints_to_ours(joints), valid[frames.HO3D], K)
        posed = meta.values.get(f"{side}HandPose") is not None
        if self.hand_models is None or not posed or not meta.flags(valid_pose, 48).all():
            return record, None
        model = self.hand_models[side == "left"]
        pose, trans = meta.array(f"{side}HandPose", 48), meta.array(f"{side}HandTrans", 3)
        fit = read_fit(pose, meta.array("handBeta", 10), trans, model)
        return add_fit(record, fit, model, side)

    def attributes(self) -> dict[str, Any]:
        told = self.masks.palette.told() if self.masks else "none"
        learnt = self.split == "train" and self.hand_models is not None
        known = {"left_shape": self.left_shape} if learnt else {}
        return {
            **super().attributes(),
            **known,
            "mask_colours": told,
            "fit_limit_mm": FIT_LIMIT_MM,
        }
