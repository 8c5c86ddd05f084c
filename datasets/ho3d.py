"""HO-3D v2 (Hampali et al., CVPR 2020) and v3: the official downloads, right hands with an object.

docs/datasets/ho3d.md says what to download and where it goes.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbench.datasets.dexycb_lists import NO_BOX, loaders_keep
from handbench.datasets.ho3d_files import SIZE, Meta, Truth, intrinsics
from handbench.datasets.ho3d_hands import (
    FIT_LIMIT_MM,
    add_fit,
    hand_record,
    joints_to_ours,
    read_fit,
    to_ours,
    with_box,
    wrist_record,
)
from handbench.datasets.ho3d_lists import LISTS, Line, subject_of, take_of
from handbench.datasets.ho3d_masks import PALETTES, RIGHT, Masks, visible_box
from handbench.datasets.ho3d_reader import HALF_TURN, ListedReader
from handbench.datasets.jpeg import LeftOut, Skip
from handbench.datasets.trees import page
from handbench.errors import DataError, UnknownName
from handbench.png import encode_grey
from handbench.records import HandRecord, Mesh

ROOT_LIMIT_M = 0.002  # the truth's wrist is the one that the meta file tells


class HO3D(ListedReader):
    """Reader of one split of one version.

    raw: the folder with train/, evaluation/ and the lists. list: "official", all lines; of train
    also "handoccnet", what the loaders of HandOccNet and HandGCAT keep, "h2onet" and "h2onet_val",
    the parts that H2ONet's loader makes of it. masks: folder with train/SEQ/seg, "auto" (raw, or a
    folder *segmentations_rendered in it) or "none" (labels are rendered). models: folder of YCB
    models, default raw/models. truth: folder of evaluation_xyz.json and evaluation_verts.json,
    default raw. strict: a frame that would be skipped is an error. Raises DataError, UnknownName.
    """

    turns_deg = dict.fromkeys((6, 10, 21), HALF_TURN)
    no_truth = f"evaluation_xyz.json and evaluation_verts.json are not there ({page('ho3d')})"

    def __init__(
        self,
        split: str,
        raw: str | Path | None = None,
        list: str = "official",
        masks: str = "auto",
        models: str = "",
        truth: str = "",
        strict: bool = False,
    ) -> None:
        self._open(split, raw, models, strict, masks)
        known = LISTS if split == "train" else ("official",)
        if list not in known:
            raise UnknownName(f"list of {self.name}/{split}", list, known)
        self.list = list
        self.masks = self._find_masks()
        self.truth = None
        if split == "evaluation":
            self.truth = Truth.find(self._folder("truth", truth) or self.raw, len(self.listed))
            if truth and self.truth is None:
                raise DataError(f"-o truth={truth}: no evaluation_xyz.json in it")
        self.ships_verts = self.truth is not None

    def _find_masks(self) -> Masks | None:
        if self.masks_folder is None:
            return None
        suffix = ".jpg" if self.name == "ho3d_v2" else ".png"
        return Masks(self.masks_folder, self.masks_name, suffix, PALETTES[self.name])

    def take_of(self, sequence: str) -> tuple[str, str]:
        return take_of(sequence)

    def chosen(self) -> list[Line]:
        return LISTS[self.list](self.listed)

    def content(self, meta: Meta, sequence: str, number: int, line: int) -> dict[str, Any]:
        K = intrinsics(meta)
        found: dict[str, Any] = {"K": K, "left": None, "segmentation": None, "meshes": ()}
        if self.split == "evaluation":
            found["right"], found["meshes"] = self._evaluated(meta, K, line)
            return found
        record = hand_record(
            joints_to_ours(_spread(meta.array("handJoints3D", 21, 3))), np.ones(21, bool), K
        )
        keep = loaders_keep(record.joints_px, SIZE)
        if self.list == "handoccnet" and not keep:
            raise LeftOut(NO_BOX)
        shape = meta.array("handBeta", 10)
        pose, trans = meta.array("handPose", 48), meta.array("handTrans", 3)
        if self.hand_models is not None:
            model = self.hand_models[0]
            record, mesh = add_fit(record, read_fit(pose, shape, trans, model), model, "right")
            found["meshes"] = () if mesh is None else (mesh,)
        codes = None if self.masks is None else self.masks.read(sequence, number)
        if self.masks is not None and codes is not None:
            self.masks.check(codes, record.joints_px, str(self.masks.path(sequence, number)))
            record = replace(record, box_visible_px=visible_box(codes, RIGHT))
            found["segmentation"] = encode_grey(codes)
        told = {"subject": subject_of(shape), "extra": {"loaders_keep": keep}}
        return {**found, "right": record, **told}

    def _evaluated(self, meta: Meta, K: NDArray, line: int) -> tuple[HandRecord, tuple[Mesh, ...]]:
        """The hand of an evaluation frame: wrist and official box alone, or the released truth."""
        wrist = meta.array("handJoints3D", 3)
        box = meta.array("handBoundingBox", 4)
        if self.truth is None:
            return wrist_record(wrist, box, K), ()
        joints, verts = self.truth.of(line)
        if np.linalg.norm(joints[0] - wrist) > ROOT_LIMIT_M:
            raise Skip("its line of evaluation_xyz.json has another wrist than its meta file")
        verts_m = to_ours(verts)
        known = np.ones(21, bool)
        record = with_box(hand_record(joints_to_ours(joints), known, K), box)
        record = replace(record, verts_m=verts_m)
        if self.hand_models is None:
            return record, ()
        return record, (Mesh(verts_m, self.hand_models[0].faces, "right"),)

    def attributes(self) -> dict[str, Any]:
        found = super().attributes()
        rule = f"{found['split_rule']}, list {self.list}"
        told = self.masks.palette.told() if self.masks else "none"
        if self.split == "evaluation":
            found["truth"] = int(self.truth is not None)
        return {**found, "split_rule": rule, "mask_colours": told, "fit_limit_mm": FIT_LIMIT_MM}


class HO3Dv2(HO3D):
    """Reader of HO-3D v2: PNG pictures, JPEG masks."""

    name = "ho3d_v2"
    title = "HO-3D v2"
    suffix = ".png"


class HO3Dv3(HO3D):
    """Reader of HO-3D v3: JPEG pictures, PNG masks, calibration of takes of several cameras."""

    name = "ho3d_v3"
    title = "HO-3D v3"


def _spread(joints: NDArray) -> NDArray:
    """The joints, unless they are degenerate. Raises Skip."""
    if np.ptp(joints, axis=0).max() == 0:
        raise Skip("all joints in one place")
    return joints
