"""FreiHAND v2 (Zimmermann et al., ICCV 2019): the official download; single right hands, 224 px.

Every training sample comes in four versions of its background: one recording, four pictures.
docs/datasets/freihand.md says what to download and where it goes.
"""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbench import files
from handbench.console import say
from handbench.datasets.freihand_files import (
    COUNTS,
    SIZE,
    UNIQUE,
    VERSIONS,
    Entries,
    check_evaluation,
    read_keypoints,
    read_mask,
    read_scales,
)
from handbench.datasets.freihand_hands import Models, check_sample, read_hand, unknown_hand
from handbench.datasets.jpeg import Skip, read_picture
from handbench.datasets.trees import check_root, page
from handbench.errors import DataError, UnknownName
from handbench.hand import Hand
from handbench.png import encode_grey
from handbench.records import Frame, HandRecord, Scene, SequencePlan

NEED = "training/, evaluation/ and the JSON files of FreiHAND v2"
INNER, TRUTH = "FreiHAND_pub_v2", "FreiHAND_pub_v2_eval"  # the archives' folders
SCENES = ("mask", "none")
CAMERA = "0"
NO_VARIANT = 255


class FreiHAND:
    """Reader of one split.

    raw: the folder of training/ and training_K.json, or the one that the archive is in. The truth
    of evaluation is a second archive, found in raw or beside it. versions: "all", or some of
    gs,hom,sample,auto. scene: "mask", hidden is what the training mask leaves out, or "none", no
    labels of the whole scene. keypoints: a COCO file; then 2D joints from it are all, and K, 3D
    and masks are not asked for; raw may be a plain folder of training pictures. strict: a frame
    that would be skipped is an error. `skipped` counts reasons of frames that this object left out.
    Raises DataError and UnknownName.
    """

    name = "freihand"
    splits = ("training", "evaluation")
    needs_raw = True
    ships_verts = True
    label_source = 4

    def __init__(
        self,
        split: str,
        raw: str | Path | None = None,
        versions: str = "all",
        scene: str = "mask",
        keypoints: str = "",
        strict: bool = False,
    ) -> None:
        chosen = VERSIONS if versions == "all" else tuple(versions.split(","))
        for what, value, known in (
            ("split of freihand", split, self.splits),
            ("scene", scene, SCENES),
            *(("version of freihand", version, VERSIONS) for version in chosen),
        ):
            if value not in known:
                raise UnknownName(what, value, known)
        self.split, self.strict = split, strict
        self.given = check_root(raw, self.name, NEED, anywhere=bool(keypoints))
        self.raw = self.given / INNER if (self.given / INNER).is_dir() else self.given
        self.versions = [VERSIONS.index(each) for each in chosen] if split == "training" else [0]
        self.masked = scene == "mask" and split == "training"
        self.keypoints = Path(keypoints).expanduser() if keypoints else None
        self.pictures, self.masks = self.raw / split / "rgb", self.raw / split / "mask"
        if not self.pictures.is_dir():
            if self.keypoints is None or split != "training":
                raise DataError(
                    f"{self.pictures} does not exist; unpack FreiHAND_pub_v2 there "
                    f"({page('freihand')})"
                )
            self.pictures = self.raw
        if self.keypoints is not None and split != "training":
            check_evaluation(self.keypoints)
        self.models = Models.find(self.given)
        self.lists: dict[str, Entries] = {}
        self.scales = np.zeros(0)
        self.skipped: Counter[str] = Counter()
        self.counts: dict[str, int] = {}
        self._plans: list[SequencePlan] | None = None

    def plan(self) -> list[SequencePlan]:
        """All samples of which a picture is there, in order; their versions are the rows."""
        if self._plans is None:
            self._plans = self._read_plan() if self.keypoints is None else self._read_points()
        return self._plans

    def __getstate__(self) -> dict[str, Any]:
        """Without the plan: a worker is given the sequences it needs."""
        return {**self.__dict__, "_plans": None}

    def _read_plan(self) -> list[SequencePlan]:
        self._open_lists()
        count, here = len(self.lists["K"]), f"{self.name}/{self.split}"
        names = set(os.listdir(self.pictures))
        plans = []
        for i in range(count):
            there = [v for v in self.versions if f"{i + v * UNIQUE:08d}.jpg" in names]
            if there:
                name = f"{i:08d}"
                key = {"index": i, "versions": there}
                plans.append(SequencePlan(name, CAMERA, f"{self.split}/{name}", len(there), key))
        rows = sum(plan.rows for plan in plans)
        wanted = count * len(self.versions)
        self.counts = {
            "expected": wanted,
            "missing": wanted - rows,
            "samples": count,
            "official_rows": COUNTS[self.split] * len(self.versions),
            "masks_missing": self._masks_missing(plans),
        }
        if not plans:
            raise DataError(
                f"none of the {wanted} pictures of {here} is in {self.pictures}: unpack "
                f"FreiHAND_pub_v2 there ({page('freihand')})"
            )
        if count != COUNTS[self.split]:
            say(f"{here}: the lists hold {count:,} samples; expected {COUNTS[self.split]:,}")
        if "xyz" not in self.lists:
            say(
                f"{here}: pictures and intrinsics only: the truth is a second archive, unpack it "
                f"to {self.given / TRUTH}"
            )
        elif self.models is None:
            say(
                f"{here}: joints and vertices as shipped, no MANO parameters or occlusion labels: "
                "set HANDBENCH_MANO to the folder of MANO_RIGHT.pkl and MANO_LEFT.pkl"
            )
        if self.counts["masks_missing"]:
            say(
                f"{here}: {self.counts['masks_missing']:,} of {len(plans):,} masks are not in "
                f"{self.masks}: no segmentation and no scene labels for these"
            )
        for i in sorted({0, count // 2, count - 1}) if "xyz" in self.lists else ():
            for line in check_sample(self._sample(i), self.models):
                say(f"{here}, sample {i}: {line}")
        return plans

    def _masks_missing(self, plans: list[SequencePlan]) -> int:
        if not self.masked:
            return 0
        names = set(os.listdir(self.masks)) if self.masks.is_dir() else set()
        return sum(f"{plan.name}.jpg" not in names for plan in plans)

    def _open_lists(self) -> None:
        """Find the entries of all lists; they must be equally long."""
        places = {"K": self.raw}
        truth = self._truth()
        places |= dict.fromkeys(("xyz", "verts", "mano"), truth) if truth else {}
        self.lists = {
            kind: Entries.find(place / f"{self.split}_{kind}.json", kind)
            for kind, place in places.items()
        }
        scales = self.raw / f"{self.split}_scale.json"
        self.scales = read_scales(scales)
        lengths = {str(each.path): len(each) for each in self.lists.values()}
        lengths[str(scales)] = len(self.scales)
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{Path(path).name} {count}" for path, count in lengths.items())
            raise DataError(
                f"{self.raw}: lists of one split must be equally long; found {told}: "
                "unpack the annotations again"
            )

    def _truth(self) -> Path | None:
        """Where the lists of joints and meshes lie; None for an evaluation without them."""
        if self.split == "training":
            return self.raw
        places = (self.raw, self.given / TRUTH, self.given.parent / TRUTH)
        return next((each for each in places if (each / "evaluation_xyz.json").is_file()), None)

    def _read_points(self) -> list[SequencePlan]:
        """Samples of a COCO file, of which pictures are there."""
        assert self.keypoints is not None
        found = read_keypoints(self.keypoints)
        samples: dict[int, list[tuple[int, Any]]] = {}
        for number, points in sorted(found.items()):
            if (self.pictures / points.name).is_file():
                samples.setdefault(number % UNIQUE, []).append((number // UNIQUE, points))
        rows = sum(len(each) for each in samples.values())
        self.counts = {
            "expected": len(found),
            "missing": len(found) - rows,
            "official_rows": -1,  # of somebody's own file
        }
        if not rows:
            raise DataError(
                f"none of the {len(found)} pictures of {self.keypoints} is in {self.pictures}"
            )
        return [
            SequencePlan(
                f"{i:08d}", CAMERA, f"{self.split}/{i:08d}", len(each),
                {"index": i, "versions": [v for v, _ in each], "points": [p for _, p in each]},
            )
            for i, each in sorted(samples.items())
        ]  # fmt: skip

    def frames(self, plan: SequencePlan) -> Iterator[Frame]:
        """The versions of one sample; what cannot be used is skipped and counted."""
        key = plan.key
        for at, version in enumerate(key["versions"]):
            number = key["index"] + version * UNIQUE
            name = key["points"][at].name if "points" in key else f"{number:08d}.jpg"
            path = self.pictures / name
            try:
                image = read_picture(path, SIZE)
                known = self._points(key["points"][at]) if "points" in key else self._known(key)
            except Skip as reason:
                if self.strict:
                    raise DataError(f"{path}: {reason}") from None
                self.skipped[str(reason)] += 1
                continue
            variant = version if self.split == "training" else NO_VARIANT
            ending = f"/{version}" if variant != NO_VARIANT else ""
            yield Frame(
                id=f"freihand/{self.split}/{plan.name}/{CAMERA}/{key['index']}{ending}",
                sequence=plan.name,
                camera=CAMERA,
                recording=plan.recording,
                frame_number=key["index"],
                order=0,
                image=image,
                image_path=str(path.relative_to(self.raw)),
                image_size=SIZE,
                official_index=number,
                clip=version,  # a version never precedes another in time
                variant=variant,
                left=None,
                **known,
            )

    def _sample(self, i: int) -> dict[str, NDArray]:
        sample = {kind: entries.read(i) for kind, entries in self.lists.items()}
        return {**sample, "scale": self.scales[i]}

    def _known(self, key: dict[str, Any]) -> dict[str, Any]:
        """What all versions of a sample share; read once for them."""
        if "known" not in key:
            key["known"] = self._read_sample(key["index"])
        return key["known"]

    def _read_sample(self, i: int) -> dict[str, Any]:
        sample = self._sample(i)
        K = sample["K"]
        found: dict[str, Any] = {"K": K, "extra": {"bone_m": np.float32(sample["scale"])}}
        if "xyz" not in sample:
            return {**found, "right": unknown_hand()}
        hand, mesh = read_hand(sample, self.models)
        mask = read_mask(self.masks / f"{i:08d}.jpg") if self.masked else None
        if mask is not None:
            found["segmentation"] = encode_grey(mask)
        scene = Scene((mesh,), K, SIZE, whole=False) if mesh is not None else None
        return {**found, "right": hand, "scene": scene}

    def _points(self, points: Any) -> dict[str, Any]:
        """2D joints alone: the picture's K is not known."""
        inside = ((points.joints_px >= -0.5) & (points.joints_px < np.array(SIZE) - 0.5)).all(1)
        valid = np.where(points.given & inside, 2, 0).astype(np.uint8)
        joints_px = np.where(points.given[:, None], points.joints_px, np.nan)
        if not points.given.any():
            raise Skip("no keypoint given")
        low, high = np.nanmin(joints_px, 0), np.nanmax(joints_px, 0)
        box = np.concatenate([low, high - low])
        nowhere = np.full((21, 3), np.nan)
        hand = HandRecord(nowhere, valid, joints_px, box_px=box, box_source=1)
        return {"K": np.full((3, 3), np.nan), "right": hand}

    def attributes(self) -> dict[str, Any]:
        """What the prepared file says about its source; counts are there after plan()."""
        versions = ",".join(VERSIONS[v] for v in self.versions)
        rule = f"official {self.split}"
        rule += f", versions {versions}" if self.split == "training" else ""
        sources = [self.keypoints] if self.keypoints else [e.path for e in self.lists.values()]
        return {
            "dataset_version": "FreiHAND v2",
            "split_rule": rule + (", 2D keypoints only" if self.keypoints else ""),
            **self.counts,
            "mano_missing": int(self.models is None),
            "scene_labels": "training mask" if self.masked else "none",
            **({} if self.models else {"hand_model": {"kind": "none"}}),
            "licence": "research only, by the data set's page; holds pictures of FreiHAND",
            "sources": [
                {"file": path.name, "size": path.stat().st_size, "sha256": files.sha256(path)}
                for path in sources
            ],
        }

    def hands(self) -> tuple[Hand, Hand]:
        """Right and left model of the meshes; the open hands where there are none."""
        return self.models.hands if self.models else (Hand.open("right"), Hand.open("left"))
