"""DexYCB (Chao et al., CVPR 2021): the official download, setups S0 to S3.

Ten subjects, eight cameras, one hand a sequence that grasps one of several objects.
docs/datasets/dexycb.md says what to download and where it goes.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from handbench.console import say
from handbench.datasets import ycb
from handbench.datasets.dexycb_files import (
    SIZE,
    Meta,
    read_extrinsics,
    read_intrinsics,
    read_labels,
    read_meta,
    read_shape,
)
from handbench.datasets.dexycb_hands import (
    FIT_LIMIT_MM,
    Models,
    cameras_differ_mm,
    object_meshes,
    read_hand,
    read_objects,
    read_segmentation,
)
from handbench.datasets.dexycb_lists import (
    NO_BOX,
    OFFICIAL,
    RELEASED,
    SERIALS,
    SPLITS,
    Sequence,
    find_sequences,
    first_indices,
    grasped_object,
    loaders_keep,
    rule_of,
)
from handbench.datasets.jpeg import LeftOut, Skip, read_picture
from handbench.datasets.trees import check_root, page
from handbench.errors import DataError, UnknownName
from handbench.hand import Hand
from handbench.records import Frame, Scene, SequencePlan
from handbench.schema import SIDES

NEED = "the subject folders, calibration/ and models/ of DexYCB"
LISTS = ("labelled", "handoccnet")
NO_HAND = "no hand annotated"
CAMERAS_MM = 10.0  # joints were fitted in all views at once


class DexYCB:
    """Reader of one split.

    raw: the folder with the subjects' folders, calibration/ and models/. sequences: a text file of
    all sequences' names, for subjects of which only some are there. list: "labelled", all images
    with an annotated hand, or "handoccnet", of these what the released training loaders keep.
    side: "both", or "right"/"left" for sequences of one hand. strict: a frame that would be
    skipped is an error (one without a hand is not). `skipped` counts what this object left out.
    Raises DataError and UnknownName.
    """

    name = "dexycb"
    splits = SPLITS
    needs_raw = True
    _plans: list[SequencePlan] | None

    def __init__(
        self,
        split: str,
        raw: str | Path | None = None,
        sequences: str | None = None,
        list: str = "labelled",
        side: str = "both",
        strict: bool = False,
    ) -> None:
        for what, value, known in (
            ("split of dexycb", split, SPLITS),
            ("list", list, LISTS),
            ("side", side, ("both", *SIDES)),
        ):
            if value not in known:
                raise UnknownName(what, value, known)
        self.split, self.list, self.side, self.strict = split, list, side, strict
        self.raw = check_root(raw, self.name, NEED)
        listed = None if sequences is None else Path(sequences).expanduser()
        self.found = find_sequences(self.raw, split, listed)
        if not self._any_camera():
            raise DataError(
                f"{self.raw} holds no picture of {split}: unpack its subjects there "
                f"({page('dexycb')})"
            )
        self.models = Models.find(self.raw)
        self.skipped: Counter[str] = Counter()
        self.counts: dict[str, int] = {}
        self.digest = hashlib.sha256()
        self._plans = None

    def _any_camera(self) -> bool:
        cameras = [SERIALS[c] for c in rule_of(self.split).cameras]
        there = (self.raw / sequence.path for sequence in self.found if sequence.there)
        return any((folder / serial).is_dir() for folder in there for serial in cameras)

    def plan(self) -> list[SequencePlan]:
        """All sequences, one of each camera, in official order; their pictures that are there."""
        if self._plans is None:
            self._plans = self._read_plan()
        return self._plans

    def __getstate__(self) -> dict[str, Any]:
        """Without the plan: a worker is given the sequences it needs."""
        return {**self.__dict__, "_plans": None, "digest": None, "found": []}

    def _read_plan(self) -> list[SequencePlan]:
        cameras = rule_of(self.split).cameras
        metas = {s: self._meta(s) for s in self.found if s.there}
        lengths = [metas[s].frames if s in metas else s.frames for s in self.found]
        firsts = first_indices(lengths, len(cameras))
        plans: list[SequencePlan] = []
        listed = unlike = 0
        for sequence, first in zip(self.found, firsts):
            if sequence not in metas:
                # of which side it is, only its own meta.yml would tell
                listed += max(sequence.frames, 0) * len(cameras) * (self.side == "both")
                continue
            meta = metas[sequence]
            expected = grasped_object(sequence.position) if sequence.position >= 0 else None
            unlike += expected not in (None, meta.ycb_ids[meta.grasped])
            if self.side in ("both", meta.side):
                listed += meta.frames * len(cameras)
                plans += self._of_cameras(sequence, meta, first, cameras)
        self._count(plans, listed, unlike)
        return plans

    def _of_cameras(
        self, sequence: Sequence, meta: Meta, first: int, cameras: tuple[int, ...]
    ) -> Iterator[SequencePlan]:
        """One sequence by each camera that has pictures of it; first: its first official index."""
        for at, serial in enumerate(SERIALS[c] for c in cameras):
            there = self._numbers(sequence, serial, meta.frames)
            if there:
                key = {
                    "subject": sequence.subject,
                    "meta": meta,
                    "shape": read_shape(self.raw, meta.mano_calib),
                    "K": read_intrinsics(self.raw, serial),
                    "T": read_extrinsics(self.raw, meta.extrinsics).get(serial),
                    "frames": there,
                    "first": -1 if first < 0 else first + at * meta.frames,
                }
                yield SequencePlan(sequence.path, serial, sequence.path, len(there), key)

    def _meta(self, sequence: Sequence) -> Meta:
        path = self.raw / sequence.path / "meta.yml"
        meta = read_meta(path)
        self.digest.update(path.read_bytes())
        return meta

    def _numbers(self, sequence: Sequence, serial: str, frames: int) -> list[int]:
        """Frames with picture and labels. One look at the folder instead of one a file."""
        folder = self.raw / sequence.path / serial
        names = set(os.listdir(folder)) if folder.is_dir() else set()
        return [
            n
            for n in range(frames)
            if f"color_{n:06d}.jpg" in names and f"labels_{n:06d}.npz" in names
        ]

    def _count(self, plans: list[SequencePlan], listed: int, unlike: int) -> None:
        """What the split expects and what is there; says what is not as published."""
        rows = sum(plan.rows for plan in plans)
        absent = sum(not sequence.there for sequence in self.found)
        official = OFFICIAL.get(self.split, -1) if self.side == "both" else -1
        expected = max(official, listed) if absent else listed
        self.counts = {
            "expected": expected,
            "missing": expected - rows,
            "missing_sequences": absent,
            "official_rows": official,
            "official_labelled": RELEASED.get(self.split, -1),
        }
        if not plans:
            raise DataError(
                f"none of the {listed} pictures of {self.split} with their labels is below "
                f"{self.raw}: unpack the subjects there ({page('dexycb')})"
            )
        here = f"{self.name}/{self.split}"
        if absent:
            say(f"{here}: {len(self.found) - absent} of {len(self.found)} sequences are here")
        elif official not in (-1, listed):
            say(f"{here}: meta.yml files tell of {listed:,} pictures; expected {official:,}")
        if unlike:
            say(
                f"{here}: {unlike} sequences grasp another object than their place among the "
                "hundred tells: is a subject's folder complete and unaltered?"
            )
        if any(plan.key["T"] is None for plan in plans):
            say(f"{here}: no T_world_camera, calibration/extrinsics_*/ is not complete")
        if self.models is None:
            say(
                f"{here}: joints only, no meshes or occlusion labels: set HANDBENCH_MANO to the "
                "folder of MANO_RIGHT.pkl and MANO_LEFT.pkl"
            )
        elif self.models.left_was_corrected():
            say(
                f"{here}: MANO_LEFT.pkl has been corrected, but DexYCB's left hands belong to the "
                "file as released: put that one there, else their meshes are off (fit_error_mm)"
            )

    def frames(self, plan: SequencePlan) -> Iterator[Frame]:
        """The frames of one sequence and camera; what cannot be used is skipped and counted."""
        clip, last = 0, None
        for number in plan.key["frames"]:
            here = clip + (last is not None and number != last + 1)
            try:
                frame = self._frame(plan, number, here)
            except Skip as reason:
                if self.strict and not isinstance(reason, LeftOut):
                    place = f"{self.raw / plan.name / plan.camera}, frame {number}"
                    raise DataError(f"{place}: {reason}") from None
                self.skipped[str(reason)] += 1
            else:
                clip, last = here, number
                yield frame

    def _frame(self, plan: SequencePlan, number: int, clip: int) -> Frame:
        key, meta = plan.key, plan.key["meta"]
        folder = self.raw / plan.name / plan.camera
        labels = read_labels(folder / f"labels_{number:06d}.npz", len(meta.ycb_ids))
        if labels.no_hand:
            shown = (labels.seg == 255).any()
            raise LeftOut(f"{NO_HAND}, but the segmentation shows one" if shown else NO_HAND)
        hand = read_hand(labels, key["K"])
        keep = loaders_keep(labels.joint_2d, SIZE)
        if self.list == "handoccnet" and self.split.endswith("_train") and not keep:
            raise LeftOut(NO_BOX)
        picture = folder / f"color_{number:06d}.jpg"
        image = read_picture(picture, SIZE)
        objects = read_objects(labels, meta)
        meshes: tuple = ()
        if self.models is not None:
            hand, mesh = self.models.add(hand, meta.side, labels.pose_m, key["shape"])
            if mesh is not None:
                models = self.raw / "models"
                others = object_meshes(objects, meta.grasped, models, mesh, key["K"])
                meshes = (mesh, *others)
        moment = int(plan.name.rpartition("/")[2].replace("_", ""))
        return Frame(
            id=f"dexycb/{self.split}/{plan.name}/{plan.camera}/{number}",
            sequence=plan.name,
            camera=plan.camera,
            recording=plan.recording,
            frame_number=number,
            order=number,
            image=image,
            image_path=str(picture.relative_to(self.raw)),
            image_size=SIZE,
            K=key["K"],
            right=hand if meta.side == "right" else None,
            left=hand if meta.side == "left" else None,
            object=objects.get(meta.grasped),
            official_index=-1 if key["first"] < 0 else key["first"] + number,
            subject=key["subject"] + 1,
            clip=clip,
            instant=moment * 10_000 + number,
            T_world_camera=key["T"],
            segmentation=read_segmentation(labels.seg, meta),
            scene=Scene(meshes, key["K"], SIZE) if meshes else None,
            extra={"loaders_keep": keep},
        )

    def attributes(self) -> dict[str, Any]:
        """What the prepared file says about its source; counts are there after plan()."""
        files_known = self.models is not None
        return {
            "dataset_version": "DexYCB, release of 2021",
            "split_rule": f"official {self.split} of the DexYCB toolkit, list {self.list}",
            **self.counts,
            "mano_missing": int(not files_known),
            **({} if files_known else {"hand_model": {"kind": "none"}}),
            "fit_limit_mm": FIT_LIMIT_MM,
            "licence": "CC BY-NC 4.0; the prepared file holds images of DexYCB",
            "sources": [{"file": "*/*/meta.yml", "sha256": self.digest.hexdigest()}],
        }

    def hands(self) -> tuple[Hand, Hand]:
        """Right and left model of the meshes; the open hands where there are none."""
        return self.models.hands if self.models else (Hand.open("right"), Hand.open("left"))

    def summary(self, columns: Any) -> dict[str, Any]:
        """Measured on the prepared columns; says what is not as published or cannot be true."""
        rows, differ = len(columns["id"]), cameras_differ_mm(columns)
        published = RELEASED.get(self.split, -1)
        everything = self.list == "labelled" and self.side == "both" and not self.counts["missing"]
        # not of the first so many rows: the last video, about 72 images, was reached
        reached = columns["official_index"].max() > OFFICIAL.get(self.split, 0) - 150
        if everything and reached and published not in (-1, rows):
            say(f"dexycb/{self.split}: {rows:,} images with a hand; expected {published:,}")
        if differ > CAMERAS_MM:
            say(
                f"dexycb/{self.split}: cameras see the same wrist {differ:.0f} mm from each other; "
                f"expected less than {CAMERAS_MM:.0f}: T_world_camera cannot be trusted"
            )
        return {"cameras_differ_mm": differ} if differ == differ else {}

    def objects(self) -> dict[str, Any]:
        """Name -> where its model came from, its diameter and hull, for models that are there."""
        folder = self.raw / "models"
        known = {name: ycb.describe(ycb.model_path(folder, name)) for name in ycb.NAMES.values()}
        return {name: info for name, info in known.items() if info}
