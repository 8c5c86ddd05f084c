"""What the readers of HO-3D and H2O-3D share: lists, folders, counting, what is left out."""

import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from handbench import files
from handbench.console import say
from handbench.datasets import ycb
from handbench.datasets.dexycb_hands import cameras_differ_mm
from handbench.datasets.ho3d_files import SIZE, Meta, read_cameras, read_image, read_meta
from handbench.datasets.ho3d_hands import object_mesh, object_record
from handbench.datasets.ho3d_lists import OFFICIAL, Line, clips, moment, read_list
from handbench.datasets.jpeg import LeftOut, Skip
from handbench.datasets.trees import check_root, hands_of_tree, page
from handbench.errors import DataError, UnknownName
from handbench.hand import Hand
from handbench.records import Frame, Scene, SequencePlan

SPLITS = ("train", "evaluation")
HALF_TURN = (0.0, 180.0)  # degrees: the object looks alike from behind
CAMERAS_MM = 10.0  # poses were fitted in all views at once


class ListedReader(ABC):
    """A split that a text file lists: SEQ/0000 a line, in SPLIT/SEQ/{rgb,meta,…}.

    A subclass gives name, title, suffix (of pictures), no_truth, take_of(sequence),
    content(meta, …) and says which lines it keeps.
    """

    name: str
    title: str
    suffix = ".jpg"
    masks_name = "seg"  # folder of masks in a sequence
    splits = SPLITS
    needs_raw = True
    ships_verts = False  # the truth of evaluation, vertices included, is there
    no_truth: str  # why it is not
    hand_models: tuple[Hand, Hand] | None
    # the symmetric rotations about z that kypt's evaluation lists, by object number
    turns_deg: Mapping[int, Sequence[float]]

    def _open(
        self, split: str, raw: str | Path | None, models: str, strict: bool, masks: str
    ) -> None:
        """Check names and the tree. Raises DataError and UnknownName."""
        if split not in SPLITS:
            raise UnknownName(f"split of {self.name}", split, SPLITS)
        self.split, self.strict = split, strict
        self.raw = check_root(raw, self.name, f"train/, evaluation/ and the lists of {self.title}")
        if not (self.raw / split).is_dir():
            raise DataError(
                f"{self.raw / split} does not exist; unpack {self.title} there ({page(self.name)})"
            )
        self.listed = read_list(self.raw / f"{split}.txt")
        self.models = self._folder("models", models) or self.raw / "models"
        self.without_masks = masks == "none"
        self.masks_folder = None if self.without_masks else self._masks(masks)
        self.hand_models = self._load_models()
        self.skipped: Counter[str] = Counter()
        self.counts: dict[str, Any] = {}
        self._plans: list[SequencePlan] | None = None

    def _folder(self, option: str, given: str) -> Path | None:
        if not given:
            return None
        folder = Path(given).expanduser()
        if not folder.is_dir():
            raise DataError(f"-o {option}={folder} is not a folder")
        return folder

    def _masks(self, given: str) -> Path | None:
        """The folder of sequences with masks; None where none is there."""
        places = [self.raw, *self.raw.glob("*segmentations_rendered")]
        if given != "auto":
            places = [folder for folder in [self._folder("masks", given)] if folder]
        for place in places:
            if next((place / self.split).glob(f"*/{self.masks_name}"), None):
                return place / self.split
        if given != "auto" and self.split == "train":  # HO-3D has none of evaluation
            raise DataError(
                f"-o masks={given}: expected {self.split}/SEQ/{self.masks_name} in it; found none"
            )
        return None

    @abstractmethod
    def take_of(self, sequence: str) -> tuple[str, str]:
        """(take, camera) of a sequence."""

    def chosen(self) -> list[Line]:
        """The lines that are read."""
        return self.listed

    def plan(self) -> list[SequencePlan]:
        """All sequences of which a picture is there, in bytewise order; frames by number."""
        if self._plans is None:
            self._plans = self._read_plan()
        return self._plans

    def __getstate__(self) -> dict[str, Any]:
        """Without plan and models: a worker is given the sequences it needs."""
        return {**self.__dict__, "_plans": None, "listed": [], "hand_models": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.hand_models = self._load_models()

    def _load_models(self) -> tuple[Hand, Hand] | None:
        return hands_of_tree(self.raw)

    def _read_plan(self) -> list[SequencePlan]:
        by_sequence: dict[str, list[Line]] = {}
        chosen = self.chosen()
        for line in chosen:
            by_sequence.setdefault(line.sequence, []).append(line)
        plans = []
        for name, lines in sorted(by_sequence.items(), key=lambda item: item[0].encode()):
            lines.sort(key=lambda line: line.frame)
            folder = self.raw / self.split / name / "rgb"
            there = set(os.listdir(folder)) if folder.is_dir() else set()
            kept = [line for line in lines if f"{line.frame:04d}{self.suffix}" in there]
            if not kept:
                continue
            numbers = np.array([line.frame for line in kept])
            take, camera = self.take_of(name)
            key = {
                "frames": numbers,
                "lines": np.array([line.number for line in kept]),
                "clip": clips(numbers, np.array([line.frame for line in lines])),
                "T": read_cameras(self.raw, take).get(camera),
            }
            plans.append(SequencePlan(name, camera, take, len(kept), key))
        self._count(plans, chosen, len(by_sequence))
        return plans

    def _count(self, plans: list[SequencePlan], chosen: list[Line], sequences: int) -> None:
        """What the list has and what is there; says what is not as published."""
        here, rows = f"{self.name}/{self.split}", sum(plan.rows for plan in plans)
        official = OFFICIAL[self.name][self.split]
        in_order = all(
            (a.sequence, a.frame) < (b.sequence, b.frame)
            for a, b in zip(self.listed, self.listed[1:])
        )
        self.counts = {
            "expected": len(chosen),
            "missing": len(chosen) - rows,
            "missing_sequences": sequences - len(plans),
            "listed": len(self.listed),
            "official_rows": official,
            "list_sorted": int(in_order),
        }
        if not plans:
            raise DataError(
                f"none of the {len(chosen):,} pictures of {self.split}.txt is below "
                f"{self.raw / self.split}: unpack {self.title} there ({page(self.name)})"
            )
        if len(self.listed) != official:
            found = f"found {len(self.listed):,}"
            say(f"{here}: expected {official:,} lines in {self.split}.txt, {found}")
        if self.split == "evaluation" and not self.ships_verts:
            say(f"{here}: wrists, boxes and objects, no other joints or labels: {self.no_truth}")
        elif self.hand_models is None:
            say(
                f"{here}: no meshes from pose parameters and no occlusion labels: set "
                "HANDBENCH_MANO to the folder of MANO_RIGHT.pkl and MANO_LEFT.pkl"
            )
        elif not any(ycb.model_path(self.models, n).is_file() for n in ycb.NAMES.values()):
            say(
                f"{here}: no object models in {self.models}: occlusion labels only where there "
                f"are masks; -o models=DIR names the folder of YCB models ({page(self.name)})"
            )
        if self.split == "train" and self.masks_folder is None and not self.without_masks:
            say(
                f"{here}: no masks (SEQ/{self.masks_name}) found: occlusion is known from meshes "
                f"alone; {page(self.name)} says where masks lie, -o masks=none that there are none"
            )

    def frames(self, plan: SequencePlan) -> Iterator[Frame]:
        """The frames of one sequence; what cannot be used is skipped and counted."""
        skipped = 0
        for i in range(plan.rows):
            number = int(plan.key["frames"][i])
            try:
                frame = self._frame(plan, i, number, int(plan.key["clip"][i]) + skipped)
            except Skip as reason:
                if self.strict and not isinstance(reason, LeftOut):
                    place = self.raw / self.split / plan.name
                    raise DataError(f"{place}, frame {number:04d}: {reason}") from None
                self.skipped[str(reason)] += 1
                skipped += 1
            else:
                yield frame

    def _frame(self, plan: SequencePlan, i: int, number: int, clip: int) -> Frame:
        folder = self.raw / self.split / plan.name
        meta = read_meta(folder / "meta" / f"{number:04d}.pkl")
        picture = folder / "rgb" / f"{number:04d}{self.suffix}"
        image = read_image(picture)
        thing = object_record(
            meta.text("objName"), meta.array("objRot", 3), meta.array("objTrans", 3)
        )
        found = self.content(meta, plan.name, number, int(plan.key["lines"][i]))
        # no segmentation is drawn where there is an official one
        asked = () if found["segmentation"] is None else found["meshes"]
        hidden = object_mesh(thing, self.models, found["K"], asked)
        hands = sum(found[side] is not None for side in ("right", "left"))
        # with a mesh missing, what it hides would count as seen, unless a mask knows better
        whole = len(found["meshes"]) == hands and hidden is not None
        known = len(found["meshes"]) > 0 and (whole or found["segmentation"] is not None)
        meshes = (*found.pop("meshes"), *([hidden] if hidden else []))
        return Frame(
            # with the file's four digits: ids sort as the lines of the list
            id=f"{self.name}/{self.split}/{plan.name}/{plan.camera}/{number:04d}",
            sequence=plan.name,
            camera=plan.camera,
            recording=plan.recording,
            frame_number=number,
            order=i,
            image=image,
            image_path=str(picture.relative_to(self.raw)),
            image_size=SIZE,
            object=thing,
            official_index=int(plan.key["lines"][i]),
            clip=clip,
            instant=moment(plan.recording, number),
            T_world_camera=plan.key["T"],
            scene=Scene(meshes, found["K"], SIZE) if known else None,
            **found,
        )

    @abstractmethod
    def content(self, meta: Meta, sequence: str, number: int, line: int) -> dict[str, Any]:
        """K, right, left, meshes, segmentation, subject and extra of one frame."""

    def attributes(self) -> dict[str, Any]:
        """What the prepared file says about its source; counts are there after plan()."""
        path = self.raw / f"{self.split}.txt"
        known = self.hand_models is not None
        return {
            "dataset_version": self.title,
            "split_rule": f"official {path.name}",
            **self.counts,
            "masks": int(self.masks_folder is not None),
            "mano_missing": int(not known),
            **({} if known else {"hand_model": {"kind": "none"}}),
            "licence": f"research only, by the authors' terms; holds pictures of {self.title}",
            "sources": [{"file": path.name, "sha256": files.sha256(path)}],
        }

    def hands(self) -> tuple[Hand, Hand]:
        """Right and left model of the meshes; the open hands where there are none."""
        return self.hand_models or (Hand.open("right"), Hand.open("left"))

    def summary(self, columns: Any) -> dict[str, Any]:
        """Measured on the prepared columns: whether calibration says where the cameras stand."""
        differ = cameras_differ_mm(columns)
        if differ > CAMERAS_MM:
            say(
                f"{self.name}/{self.split}: cameras see the same wrist {differ:.0f} mm from each "
                f"other; expected less than {CAMERAS_MM:g}: T_world_camera cannot be trusted"
            )
        return {"cameras_differ_mm": differ} if differ == differ else {}

    def objects(self) -> dict[str, Any]:
        """Name -> source, diameter, hull and symmetries, for models that are there."""
        known = {n: ycb.describe(ycb.model_path(self.models, n)) for n in ycb.NAMES.values()}
        return {
            name: {**info, "turns_deg": list(self.turns_deg.get(int(name[:3]), (0.0,)))}
            for name, info in known.items()
            if info
        }
