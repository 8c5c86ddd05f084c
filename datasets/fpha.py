"""FPHA (Garcia-Hernando et al., CVPR 2018): the official download, right hands seen from the head.

One rig of fixed calibration; 21 mo-cap joints, no hand mesh; 6D poses of four objects.
docs/datasets/fpha.md says what to download and where it goes.
"""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbench import files, frames
from handbench.console import say
from handbench.datasets import ycb
from handbench.datasets.fpha_files import (
    COUNTS,
    MODELS,
    OBJECTS,
    PICTURES,
    POSES,
    RULES,
    SIZES,
    SKELETONS,
    SPLIT_FILE,
    T_DEPTH_COLOUR,
    Listed,
    find_folder,
    intrinsics,
    model_path,
    pose_to_colour,
    read_poses,
    read_skeleton,
    read_split,
    select,
    to_colour,
)
from handbench.datasets.fpha_fits import FIT_LIMIT_MM, Fits
from handbench.datasets.jpeg import Skip, read_picture
from handbench.datasets.trees import check_root, page
from handbench.errors import DataError, UnknownName
from handbench.hand import Hand
from handbench.records import Frame, HandRecord, Mesh, ObjectRecord, Scene, SequencePlan

NEED = "Video_files/, the annotations and the split file of FPHA"
LISTS = ("objects", "all")
# frames with an object pose, as published: two pairs of equal sum go round
QUOTED = {"train": (10_503, 11_019), "test": (10_998, 10_482)}
CAMERA = "color"
CONTACT = 4  # bit of Frame.subset: passed the filter of far hands


class FPHA:
    """Reader of one split.

    raw: the folder of Video_files/ and the annotations. rule: "actions", the official split of
    sequences, or the authors' "subjects" or "objects" (fpha_files.select). list: "objects", the
    frames with an object pose, on which HandOccNet and others report, or "all". pictures: "full",
    "480" (reduced by the user), or "auto", what is there. fits: folder of Hasson's MANO fits,
    default ROOT/fhbhands_fits. far_mm: drop frames whose object is further than this from all
    joints; 0 keeps all. strict: a frame that would be skipped is an error. `skipped` counts reasons
    of frames that this object left out. Raises DataError and UnknownName.
    """

    name = "fpha"
    splits = ("train", "test")
    needs_raw = True

    def __init__(
        self,
        split: str,
        raw: str | Path | None = None,
        rule: str = "actions",
        list: str = "objects",
        pictures: str = "auto",
        fits: str = "",
        far_mm: float = 0.0,
        strict: bool = False,
    ) -> None:
        for what, value, known in (
            ("split of fpha", split, self.splits),
            ("rule", rule, RULES),
            ("list", list, LISTS),
            ("pictures", pictures, ("auto", *PICTURES)),
        ):
            if value not in known:
                raise UnknownName(what, value, known)
        self.split, self.rule, self.chosen = split, rule, list
        self.far_mm, self.strict = float(far_mm), strict
        self.raw = check_root(raw, self.name, NEED)
        self.pictures = self._choose_pictures(pictures)
        self.size, self.K = SIZES[self.pictures], intrinsics(self.pictures)
        self.skeletons = self._need(SKELETONS, "the hand pose annotation")
        self.poses = find_folder(self.raw, POSES)
        if self.poses is None and (list == "objects" or far_mm):
            self._need(POSES, "the object pose annotation (without it only -o list=all)")
        self.listed = self._listed()
        self.fits = Fits.find(self.raw, fits)
        self.skipped: Counter[str] = Counter()
        self.counts: dict[str, int] = {}
        self._plans: Any = None

    def _choose_pictures(self, wanted: str) -> str:
        for kind in PICTURES if wanted == "auto" else (wanted,):
            if (self.raw / PICTURES[kind]).is_dir():
                return kind
        name = PICTURES["full" if wanted == "auto" else wanted]
        raise DataError(
            f"{self.raw / name} does not exist; unpack the videos there ({page('fpha')})"
        )

    def _need(self, names: tuple[str, ...], what: str) -> Path:
        found = find_folder(self.raw, names)
        if found is None:
            raise DataError(
                f"{self.raw / names[0]} does not exist; unpack {what} there ({page('fpha')})"
            )
        return found

    def _listed(self) -> tuple[Listed, ...]:
        """The split's sequences in bytewise order."""
        found = read_split(self.raw / SPLIT_FILE)
        for split, expected in COUNTS.items():
            if len(found[split]) != expected:
                say(f"{SPLIT_FILE}: {len(found[split])} sequences of {split}; expected {expected}")
        chosen = select(found, self.rule, self.split)
        if self.chosen == "objects":
            chosen = [each for each in chosen if each.object in OBJECTS]
        return tuple(sorted(chosen, key=lambda each: each.name.encode()))

    def plan(self) -> list[SequencePlan]:
        """All sequences of which a picture is there, in bytewise order."""
        if self._plans is None:
            self._plans = self._read_plan()
        return self._plans

    def __getstate__(self) -> dict[str, Any]:
        """Without the plan: a worker is given the sequences it needs."""
        return {**self.__dict__, "_plans": None, "listed": ()}

    def _read_plan(self) -> list[SequencePlan]:
        plans, wanted = [], 0
        lacking: Counter[str] = Counter()
        for each in self.listed:
            skeleton = self.skeletons / each.name / "skeleton.txt"
            if not skeleton.is_file():
                lacking["missing_sequences"] += 1
                continue
            numbers = read_skeleton(skeleton)[0]
            if not len(numbers):
                lacking["empty_sequences"] += 1
            if self.chosen == "objects":
                pose = self._pose_file(each.name)
                lacking["sequences_without_pose"] += pose is None
                posed = read_poses(pose)[0] if pose else np.zeros(0, np.int64)
                numbers = np.intersect1d(numbers, posed)
            wanted += len(numbers)
            numbers = self._there(each.name, numbers)
            if len(numbers):
                clip = np.concatenate([[0], np.cumsum(np.diff(numbers) > 1)])
                key = {"frames": numbers, "clip": clip, "listed": each}
                plans.append(SequencePlan(each.name, CAMERA, each.name, len(numbers), key))
        self._count(plans, wanted, lacking)
        return plans

    def _pose_file(self, name: str) -> Path | None:
        path = self.poses / name / "object_pose.txt" if self.poses else None
        return path if path is not None and path.is_file() else None

    def _there(self, name: str, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Frames whose picture exists. One look at the folder instead of one a file."""
        folder = self._picture(name, 0).parent
        names = set(os.listdir(folder)) if folder.is_dir() else set()
        return np.array([n for n in numbers if self._picture(name, n).name in names], np.int64)

    def _picture(self, name: str, number: int) -> Path:
        folder = self.raw / PICTURES[self.pictures] / name / "color"
        return folder / f"color_{number:04d}.jpeg"

    def _count(self, plans: list[SequencePlan], wanted: int, lacking: Counter[str]) -> None:
        rows = sum(plan.rows for plan in plans)
        names = ("missing_sequences", "empty_sequences", "sequences_without_pose")
        self.counts = {
            "expected": wanted,
            "missing": wanted - rows,
            "official_rows": self._official_rows(wanted),
            **{name: lacking[name] for name in names},
        }
        here = f"{self.name}/{self.split}"
        if not plans:
            raise DataError(
                f"none of the {wanted} annotated pictures of {here} is below "
                f"{self.raw / PICTURES[self.pictures]}: unpack the videos there "
                f"({page('fpha')})"
            )
        if lacking["missing_sequences"]:
            there = len(self.listed) - lacking["missing_sequences"]
            say(f"{here}: {there} of {len(self.listed)} sequences are annotated here")
        elif self.counts["official_rows"] not in (-1, wanted):
            quoted = " or ".join(f"{count:,}" for count in QUOTED[self.split])
            say(f"{here}: found {wanted:,} frames with an object pose; expected {quoted}")

    def _official_rows(self, wanted: int) -> int:
        """The published count, of the two that go round the one that is found; -1: none is."""
        if (self.rule, self.chosen) != ("actions", "objects"):
            return -1
        quoted = QUOTED[self.split]
        return wanted if wanted in quoted else quoted[0]

    def frames(self, plan: SequencePlan) -> Iterator[Frame]:
        """The frames of one sequence; what cannot be used is skipped and counted."""
        numbers, joints_mm = read_skeleton(self.skeletons / plan.name / "skeleton.txt")
        pose = self._pose_file(plan.name)
        posed = dict(zip(*read_poses(pose))) if pose else {}
        fits = self.fits.read(plan.name) if self.fits else {}
        rows = {int(number): row for row, number in enumerate(numbers)}
        skipped = 0
        for i in range(plan.rows):
            number = int(plan.key["frames"][i])
            path = self._picture(plan.name, number)
            try:
                image = read_picture(path, self.size)
                hand = self._hand(joints_mm[rows[number]])
                thing = self._object(plan.key["listed"], posed.get(number))
                meshes = self._meshes(thing)
                near = self._check_reach(hand, meshes)
                if number in fits and self.fits is not None:
                    hand, mesh = self.fits.add(hand, fits[number])
                    meshes = (mesh, *meshes) if mesh is not None else ()
                else:
                    meshes = ()
            except Skip as reason:
                if self.strict:
                    raise DataError(f"{path}: {reason}") from None
                self.skipped[str(reason)] += 1
                skipped += 1
                continue
            yield Frame(
                id=f"fpha/{self.split}/{plan.name}/{CAMERA}/{number}",
                sequence=plan.name,
                camera=CAMERA,
                recording=plan.recording,
                frame_number=number,
                order=i,
                image=image,
                image_path=str(path.relative_to(self.raw)),
                image_size=self.size,
                K=self.K,
                right=hand,
                left=UNKNOWN_HAND,
                object=thing,
                subject=plan.key["listed"].subject,
                clip=int(plan.key["clip"][i]) + skipped,
                subset=near,
                T_world_camera=T_DEPTH_COLOUR,
                scene=Scene(meshes, self.K, self.size, thing is not None) if meshes else None,
                extra={"action": np.int16(plan.key["listed"].action)},
            )

    def _hand(self, joints_mm: NDArray) -> HandRecord:
        """One row of skeleton.txt in the colour camera, our order."""
        if not np.isfinite(joints_mm).all():
            raise Skip("joints not finite")
        if np.ptp(joints_mm, axis=0).max() == 0:
            raise Skip("all joints in one place")
        joints_m = to_colour(joints_mm[frames.FPHA])
        if (joints_m[:, 2] <= 0).any():
            raise Skip("joints behind the camera")
        joints_px = frames.project(joints_m, self.K)
        inside = ((joints_px >= -0.5) & (joints_px < np.array(self.size) - 0.5)).all(1)
        low, high = joints_px.min(0), joints_px.max(0)
        return HandRecord(
            joints_m,
            np.where(inside, 3, 1).astype(np.uint8),
            joints_px,
            joints_kind=3,
            box_px=np.concatenate([low, high - low]),
            box_source=1,
        )

    def _object(self, listed: Listed, T_mm: NDArray | None) -> ObjectRecord | None:
        if T_mm is None or listed.object not in OBJECTS:
            return None
        if not np.isfinite(T_mm).all():
            raise Skip("object pose not finite")
        R = T_mm[:3, :3]
        if np.abs(R @ R.T - np.eye(3)).max() > 1e-3 or np.linalg.det(R) < 0:
            raise Skip("object pose is no rotation")
        return ObjectRecord(listed.object, pose_to_colour(T_mm))

    def _meshes(self, thing: ObjectRecord | None) -> tuple[Mesh, ...]:
        """The object in the colour camera, where it is needed and its model is there."""
        if thing is None or not (self.fits or self.far_mm):
            return ()
        path = model_path(self.raw / MODELS, thing.name)
        model = ycb.load_model(path)
        if model is None:
            raise DataError(f"{path} is missing: unpack Object_models there")
        return (Mesh(frames.to_camera(model[0], thing.T_camera), model[1], "object"),)

    def _check_reach(self, hand: HandRecord, meshes: tuple[Mesh, ...]) -> int:
        """Bit CONTACT for a hand near its object, 0 when nobody asks."""
        if not (self.far_mm and meshes):
            return 0
        from scipy.spatial import cKDTree

        reach_mm = cKDTree(meshes[0].verts_m).query(hand.joints_m)[0].min() * 1000
        if reach_mm > self.far_mm:
            raise Skip(f"object further than {self.far_mm:g} mm from all joints")
        return CONTACT

    def attributes(self) -> dict[str, Any]:
        """What the prepared file says about its source; counts are there after plan()."""
        path = self.raw / SPLIT_FILE
        return {
            "dataset_version": f"FPHA, {self.skeletons.name}",
            "split_rule": f"{self.rule} {self.split}, list {self.chosen}",
            **self.counts,
            "pictures": self.pictures,
            "mano_missing": int(self.fits is None),
            "fit_limit_mm": FIT_LIMIT_MM,
            **({} if self.fits else {"hand_model": {"kind": "none"}}),
            "licence": "research only, by the authors' terms; holds pictures of FPHA",
            "sources": [{"file": path.name, "sha256": files.sha256(path)}],
        }

    def hands(self) -> tuple[Hand, Hand]:
        """Right and left model of the fits; the open hands where there are none."""
        return self.fits.hands if self.fits else (Hand.open("right"), Hand.open("left"))

    def objects(self) -> dict[str, Any]:
        """Name -> where its model came from, its diameter and hull, for models that are there."""
        known = {name: ycb.describe(model_path(self.raw / MODELS, name)) for name in OBJECTS}
        return {name: info for name, info in known.items() if info}


# the other hand is often in the picture and never annotated
UNKNOWN_HAND = HandRecord(
    np.full((21, 3), np.nan), np.zeros(21, np.uint8), np.full((21, 2), np.nan), present=255
)
