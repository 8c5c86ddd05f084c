"""Synthetic hands holding things: composed, animated and rendered here; no download.

docs/datasets/synthetic.md describes the splits. train, val and test hold takes of a few frames with
disjoint grasps, hand shapes, objects and surroundings; `controlled` shows each grasp behind an
occluder that covers 0, 25, 50, 75 and 90 % of it; `onset` pairs a covered with an uncovered take.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from handbench import files
from handbench._version import VERSION
from handbench.errors import DataError, UnknownName
from handbench.hand import Hand
from handbench.records import Frame, SequencePlan
from handbench.synthesis import covering, shots, variety
from handbench.synthesis.compose import Shares, draw_take
from handbench.synthesis.library import library_path, load_grasps
from handbench.synthesis.objects import make
from handbench.synthesis.scene import Take, object_name, seeded
from handbench.synthesis.symmetry import object_shape

SIZES = {"train": 312, "val": 42, "test": 75, "controlled": 60, "onset": 12}
# what the special splits show is as new to a trained method as test is
SOURCES = {"controlled": "test", "onset": "test"}
PLAIN = Shares(two_hands=0.1, occluder=0.0, second_camera=0.0)
SECOND_CAMERA = 0.2


class Synthetic:
    """Reader of one split.

    seed: another seed, other takes; sequences: how many takes (in `controlled` groups of five
    pictures, in `onset` pairs), default SIZES; image_px: side of the square pictures; frames:
    pictures a take and camera; backgrounds: a folder of photographs to use instead of drawn rooms.
    Raises UnknownName and DataError.
    """

    name = "synthetic"
    splits = ("train", "val", "test", "controlled", "onset")
    needs_raw = False
    label_source = 3  # labels of made-up scenes are exact
    recordings_across_splits = False  # every split numbers its takes from 0
    object_shape = staticmethod(object_shape)  # of a name in object/name, for errors of its pose

    def __init__(
        self,
        split: str,
        raw: str | Path | None = None,
        seed: int = 0,
        sequences: int | None = None,
        image_px: int = 256,
        frames: int = 8,
        backgrounds: str | Path | None = None,
    ) -> None:
        if split not in self.splits:
            raise UnknownName("split of synthetic", split, self.splits)
        if raw is not None:
            raise DataError(
                "synthetic is made by handbench and reads no --raw folder: leave it out"
            )
        self.split, self.source, self.seed = split, SOURCES.get(split, split), int(seed)
        self.sequences = SIZES[split] if sequences is None else int(sequences)
        self.image_px, self.frames_each = int(image_px), int(frames)
        for what, value, least in (
            ("seed", self.seed, 0),
            ("sequences", self.sequences, 1),
            ("image_px", self.image_px, 64),
            ("frames", self.frames_each, 1),
        ):
            if value < least:
                raise DataError(f"synthetic needs {what} of at least {least}, not {value}")
        if self.image_px % 4:
            raise DataError(f"image_px must be a multiple of 4, not {self.image_px}")
        self.backgrounds = None if backgrounds is None else Path(backgrounds)
        if self.backgrounds is not None and not self.backgrounds.is_dir():
            raise DataError(f"the backgrounds folder {self.backgrounds} does not exist")

    def plan(self) -> list[SequencePlan]:
        """All takes and cameras, in bytewise order of their names."""
        plans = []
        for number in range(self.sequences):
            take = f"{number:06d}"
            if self.split == "controlled":
                rows = len(covering.TARGETS)
                plans.append(SequencePlan(take, "0", take, rows, (number, 0)))
            elif self.split == "onset":
                rows = covering.MARGIN * 2 + covering.spells(self.sequences)[number]
                for version, name in enumerate(("clear", "covered")):
                    plans.append(SequencePlan(f"{take}-{name}", "0", take, rows, (number, version)))
            else:
                for camera in range(1 + self._has_second_camera(number)):
                    key = (number, camera)
                    plans.append(SequencePlan(take, str(camera), take, self.frames_each, key))
        return plans

    def frames(self, plan: SequencePlan) -> Iterator[Frame]:
        """The pictures of one take and camera; the same bytes whatever was read before."""
        number, which = plan.key
        rng = seeded(self.seed, self.split, number)
        photographer = shots.Photographer(
            f"{self.name}/{self.split}", plan, self.source, self.backgrounds
        )
        if self.split == "controlled":
            draw = partial(self._draw, rng, 1, PLAIN)
            yield from covering.controlled(draw, photographer, number, rng)
        elif self.split == "onset":
            draw = partial(self._draw, rng, plan.rows, PLAIN)
            yield from covering.onset(draw, photographer, number, which == 1, rng)
        else:
            shares = Shares(second_camera=float(self._has_second_camera(number)))
            take = self._draw(rng, self.frames_each, shares)
            yield from photographer.shoot(take, which, seeded(self.seed, self.split, number, which))

    def hands(self) -> tuple[Hand, Hand]:
        """The models that pose and label the hands: always the open hand."""
        return Hand.open("right"), Hand.open("left")

    def attributes(self) -> dict[str, Any]:
        """What the prepared file says about how it was made."""
        grasps = load_grasps(self.source)
        return {
            "dataset_version": f"handbench {VERSION} seed {self.seed}",
            "split_rule": "by take; grasps, hand shapes, objects, occluders and surroundings of "
            f"{self.source} appear in no other of train, val and test",
            "seed": self.seed,
            "takes": self.sequences,
            "image_px": self.image_px,
            "grasps": len(grasps),
            "objects": sorted({grasp.object_name for grasp in grasps}),
            "sources": [{"file": library_path().name, "sha256": files.sha256(library_path())}],
            "licence": "made by handbench from CC0 and own sources; free to use",
        }

    def objects(self) -> dict[str, Any]:
        """Name -> size and symmetries of every object, and of its mirror image for left hands."""
        found = {}
        used = {(grasp.object_name, grasp.object_seed) for grasp in load_grasps(self.source)}
        for name, seed in sorted(used):
            mesh = make(name, seed)
            known = {
                "diameter_m": mesh.diameter_m,
                "symmetries": [list(pair) for pair in mesh.symmetries],
            }
            for mirrored in (False, True):
                found[object_name(mesh, mirrored)] = {**known, "mirrored": mirrored}
        return found

    def summary(self, columns: Any) -> dict[str, Any]:
        """Measured variety of the prepared columns (synthesis/variety.py)."""
        return variety.variety(columns, unseen=self.source != "train")

    def _has_second_camera(self, number: int) -> bool:
        return bool(seeded(self.seed, self.split, number, "camera").random() < SECOND_CAMERA)

    def _draw(self, rng: np.random.Generator, count: int, shares: Shares) -> Take:
        grasps = load_grasps(self.source)
        grasp = grasps[rng.integers(len(grasps))]
        return draw_take(self.source, grasp, count, self.image_px, rng, shares)
