"""InterHand2.6M (Moon et al., ECCV 2020): the official download, v1.0 or v0.0, 5 or 30 fps.

World frame in mm, OpenCV camera axes, no distortion; two native hands, 21 joints each.
docs/datasets/interhand26m.md says what to download and where it goes.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbench import files
from handbench.console import say
from handbench.datasets.interhand26m_files import (
    Listing,
    annotation_files,
    human_list,
    image_folder,
    official_name,
    read_camera,
    read_fits,
    read_ids,
    read_joints,
)
from handbench.datasets.interhand26m_hands import Fits, read_hands, unannotated
from handbench.datasets.jpeg import Skip, read_picture
from handbench.datasets.trees import check_root, page
from handbench.errors import DataError, UnknownName
from handbench.hand import Hand
from handbench.records import Frame, Scene, SequencePlan
from handbench.schema import SIDES

NEED = "images/ and annotations/ of InterHand2.6M"
# Official image counts of the 5 fps release (data set page; both releases), by annotation.
OFFICIAL = {
    ("v1.0", "all"): {"train": 1_361_062, "val": 380_125, "test": 849_160},
    ("v1.0", "human"): {"train": 528_482, "test": 121_573},
    ("v1.0", "machine"): {"val": 380_125},
    ("v0.0", "all"): {"train": 738_602, "val": 184_287, "test": 352_897},
    ("v0.0", "human"): {"train": 284_716, "test": 66_722},
    ("v0.0", "machine"): {"train": 497_058, "val": 184_287, "test": 286_175},
}
STEPS = {5: {"train": 18, "val": 6, "test": 6}, 30: {"train": 3, "val": 1, "test": 1}}
ANNOTATIONS = ("all", "human", "machine")
HUMAN, MACHINE = 1, 2  # bits of Frame.subset
FIT_LIMIT_MM = 15.0  # a worse fit says nothing about what is occluded


class InterHand26M:
    """Reader of one split.

    raw: the folder with images/ and annotations/. annotation: "all", "human" or "machine";
    fps: 5 or 30; side: "both", or "right"/"left" to keep one hand's annotation; strict: a frame
    that would be skipped is an error. `skipped` counts reasons of frames that this object left out.
    Raises DataError and UnknownName.
    """

    name = "interhand26m"
    splits = ("train", "val", "test")
    needs_raw = True

    def __init__(
        self,
        split: str,
        raw: str | Path | None = None,
        annotation: str = "all",
        fps: int = 5,
        side: str = "both",
        strict: bool = False,
    ) -> None:
        _check_choice("split of interhand26m", split, self.splits)
        _check_choice("annotation", annotation, ANNOTATIONS)
        _check_choice("side", side, ("both", *SIDES))
        _check_choice("frame rate", str(fps), [str(known) for known in STEPS])
        self.split, self.annotation, self.fps = split, annotation, int(fps)
        self.side, self.strict = side, strict
        root = check_root(raw, self.name, NEED)
        self.images = image_folder(root, split, self.fps)
        self.version, self.files = annotation_files(root, split, annotation, self.fps)
        self.human = human_list(root, split) if self.version == "v1.0" else None
        if split == "val" and annotation == "human":
            raise DataError("val has machine annotation only: leave --annotation at all")
        if (self.version, self.human) == ("v1.0", None) and annotation != "all" and split != "val":
            raise DataError(
                f"--annotation {annotation} of {split} needs {root}/aid_human_annot_{split}.txt, a "
                f"list from the InterWild code ({page('interhand26m')})"
            )
        self.fits = Fits.of_tree(root) if "fits" in self.files else None
        self.no_fits = (
            "set HANDBENCH_MANO to the folder of MANO_RIGHT.pkl and MANO_LEFT.pkl"
            if "fits" in self.files
            else f"{self.files['data'].parent} holds no file of MANO fits"
        )
        self.raw = root
        self.skipped: Counter[str] = Counter()
        self.counts: dict[str, int] = {}
        self._plans: list[SequencePlan] | None = None

    def plan(self) -> list[SequencePlan]:
        """All sequences (one take, one camera) whose images are there, in bytewise order."""
        if self._plans is None:
            self._plans = self._read_plan()
        return self._plans

    def __getstate__(self) -> dict[str, Any]:
        """Without the plan: a worker is given the sequences it needs."""
        return {**self.__dict__, "_plans": None}

    def _read_plan(self) -> list[SequencePlan]:
        listing = Listing(self.files["data"])
        subset = self._subsets(listing)
        selected = _chosen(subset, self.annotation, self.version)
        listing.keep(selected)
        subset = subset[selected]
        self._check_step(listing)
        plans, found = [], 0
        folders: dict[Path, set[str]] = {}
        for rows in listing.groups():
            there = [row for row in rows if self._exists(listing, row, folders)]
            folders.clear()
            found += len(there)
            if there:
                plans.append(_plan(self.split, listing, rows, np.array(there), subset))
        self.counts = {
            "listed": len(selected),
            "selected": len(listing.images),
            "without_annotation": listing.without_annotation,
            "missing": len(listing.images) - found,
        }
        if not len(listing.images):
            raise DataError(
                f"{self.files['data']} lists no image of annotation {self.annotation}; is it whole?"
            )
        if not plans:
            raise DataError(
                f"none of the {len(listing.images)} images of {self.files['data']} is below "
                f"{self.images}: unpack the images there ({page('interhand26m')})"
            )
        if self._official_rows() not in (-1, len(listing.images)):
            say(
                f"{self.files['data']} lists {len(listing.images):,} images; "
                f"expected {self._official_rows():,} of the official {self.split} split"
            )
        if self.fits is None:
            say(f"{self.name}: joints only, no meshes or occlusion labels: {self.no_fits}")
        return plans

    def frames(self, plan: SequencePlan) -> Iterator[Frame]:
        """The frames of one sequence; what cannot be used is skipped and counted."""
        key = plan.key
        camera = read_camera(self.files["camera"], str(key["capture"]), plan.camera)
        skipped = 0
        for i in range(plan.rows):
            usual = official_name(plan.name, plan.camera, key["images"][i]["frame"])
            path = self.images / key["odd_names"].get(i, usual)
            try:
                if camera is None:
                    raise Skip(f"camera {plan.camera} is not in {self.files['camera'].name}")
                frame = self._frame(plan, i, path, *camera, clip=int(key["clip"][i]) + skipped)
            except Skip as reason:
                if self.strict:
                    raise DataError(f"{path}: {reason}") from None
                self.skipped[str(reason)] += 1
                skipped += 1
            else:
                yield frame

    def attributes(self) -> dict[str, Any]:
        """What the prepared file says about its source; counts are there after plan()."""
        return {
            "dataset_version": f"{self.version} {self.fps} fps",
            "split_rule": f"official {self.split}, annotation {self.annotation}, {self.fps} fps",
            "annotation": self.annotation,
            **self.counts,
            "expected": self.counts.get("selected", -1),
            "official_rows": self._official_rows(),
            "mano_missing": int(self.fits is None),
            **({} if self.fits else {"hand_model": {"kind": "none"}}),
            "fit_error_joints": self.fits.joints_kind if self.fits else "none",
            "fit_limit_mm": FIT_LIMIT_MM,
            "licence": "CC BY-NC 4.0; the prepared file holds images of InterHand2.6M",
            "sources": [
                {
                    "file": str(path.relative_to(self.raw)),
                    "size": path.stat().st_size,
                    "sha256": files.sha256(path),
                }
                for path in self.files.values()
            ],
        }

    def hands(self) -> tuple[Hand, Hand]:
        """Right and left model of the meshes; the open hands where there are none."""
        return self.fits.models() if self.fits else (Hand.open("right"), Hand.open("left"))

    def _official_rows(self) -> int:
        """The published count for these choices; -1 where none is published."""
        counts = OFFICIAL.get((self.version, self.annotation), {}) if self.fps == 5 else {}
        return counts.get(self.split, -1)

    def _subsets(self, listing: Listing) -> NDArray[np.uint8]:
        """Bits human, machine of each row; 0 where the release does not tell."""
        count = len(listing.images)
        if self.version == "v0.0" and self.annotation != "all":
            return np.full(count, {"human": HUMAN, "machine": MACHINE}[self.annotation], np.uint8)
        if self.split == "val":
            return np.full(count, MACHINE, np.uint8)
        if self.human is None:
            return np.zeros(count, np.uint8)
        is_human = np.isin(listing.annotations["id"], read_ids(self.human))
        return np.where(is_human, HUMAN, MACHINE).astype(np.uint8)

    def _check_step(self, listing: Listing) -> None:
        """The frame numbers' step tells 5 from 30 fps."""
        steps = Counter[int]()
        for rows in listing.groups():
            steps.update(np.diff(listing.images["frame"][rows]).tolist())
        found = steps.most_common(1)[0][0] if steps else None
        other = {5: 30, 30: 5}[self.fps]
        if found == STEPS[other][self.split]:
            raise DataError(
                f"{self.files['data']}: expected a frame step of {STEPS[self.fps][self.split]} "
                f"at {self.fps} fps, found {found}: this is the {other} fps release (--fps {other})"
            )

    def _exists(self, listing: Listing, row: int, folders: dict[Path, set[str]]) -> bool:
        """One look at each folder instead of one a file."""
        path = self.images / listing.file_name(row)
        if path.parent not in folders:
            there = path.parent.is_dir()
            folders[path.parent] = {p.name for p in path.parent.iterdir()} if there else set()
        return path.name in folders[path.parent]

    def _frame(
        self, plan: SequencePlan, i: int, path: Path, K: NDArray, T: NDArray, clip: int
    ) -> Frame:
        key, image = plan.key, plan.key["images"][i]
        note = key["annotations"][i]
        number, size = int(image["frame"]), tuple(image["size"].tolist())
        data = read_picture(path, size)
        moment = read_joints(self.files["joints"]).get(key["capture"], number)
        if moment is None:
            raise Skip(f"moment not in {self.files['joints'].name}")
        hands = read_hands(moment, note, T, K)
        if not any(hand is not None and hand.present == 1 for hand in hands.values()):
            raise Skip("no valid joint")
        meshes: tuple = ()
        if self.fits is not None:
            row = read_fits(self.files["fits"]).get(key["capture"], number)
            hands, meshes = self.fits.add(hands, row, T, FIT_LIMIT_MM)
        if self.side != "both":
            hands = {
                side: hand if hand is None or side == self.side else unannotated()
                for side, hand in hands.items()
            }
        return Frame(
            id=f"interhand26m/{self.split}/{plan.name}/{plan.camera}/{number}",
            sequence=plan.name,
            camera=plan.camera,
            recording=plan.recording,
            frame_number=number,
            order=i,
            image=data,
            image_path=str(path.relative_to(self.raw)),
            image_size=size,
            K=K,
            right=hands["right"],
            left=hands["left"],
            official_index=int(note["id"]),
            subject=int(image["subject"]),
            clip=clip,
            instant=(self.splits.index(self.split) * 1000 + key["capture"]) * 10**8 + number,
            subset=int(key["subset"][i]),
            T_world_camera=T,
            scene=Scene(meshes, K, size) if meshes else None,
            extra={
                "hand_type_valid": note["hand_type_valid"],
                "box_official_px": note["bbox"].astype(np.float32),
            },
        )


def _plan(
    split: str,
    listing: Listing,
    listed: NDArray[np.int64],
    rows: NDArray[np.int64],
    subset: NDArray[np.uint8],
) -> SequencePlan:
    """A sequence of which `rows` of the `listed` rows have a picture.

    All that frames() needs of data.json goes along in the key, so that workers never read it. The
    usual step is that of the listed rows: a missing picture ends a clip.
    """
    images = listing.images[rows]
    name = listing.sequences[images["sequence"][0]]
    steps, counts = np.unique(np.diff(listing.images["frame"][listed]), return_counts=True)
    usual = steps[counts.argmax()] if len(steps) else 0
    key = {
        "capture": int(images["capture"][0]),
        "images": images,
        "annotations": listing.annotations[rows],
        "subset": subset[rows],
        "clip": np.concatenate([[0], np.cumsum(np.diff(images["frame"]) > usual)]),
        "odd_names": {i: odd for i, row in enumerate(rows) if (odd := listing.odd_name(row))},
    }
    camera = listing.cameras[images["camera"][0]]
    return SequencePlan(name, camera, f"{split}/{name}", len(rows), key)


def _chosen(subset: NDArray[np.uint8], annotation: str, version: str) -> NDArray[np.bool_]:
    """v0.0 has one file for each choice. v1.0 machine is what the human list does not name."""
    if annotation == "all" or version == "v0.0":
        return np.ones(len(subset), bool)
    return subset == {"human": HUMAN, "machine": MACHINE}[annotation]


def _check_choice(kind: str, given: str, known: Any) -> None:
    if given not in known:
        raise UnknownName(kind, given, known)
