"""FreiHAND's files: lists of which single entries are read, masks, and 2D keypoints."""

import json
import mmap
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handbench import files
from handbench.datasets.jpeg import Skip, jpeg_size
from handbench.datasets.trees import page
from handbench.errors import DataError

UNIQUE = 32_560  # samples of training; version v of sample i is picture i + v * UNIQUE
COUNTS = {"training": UNIQUE, "evaluation": 3960}
VERSIONS = ("gs", "hom", "sample", "auto")
SIZE = (224, 224)
SHAPES = {"K": (3, 3), "xyz": (21, 3), "verts": (778, 3), "mano": (61,)}
# tips of the released joints, thumb first; the others are regressed from the posed vertices
TIP_IDS = (744, 320, 443, 555, 672)
LEVEL = 128  # masks are JPEG: from this level on a pixel counts
BETWEEN = re.compile(rb"\]\s*\]\s*,\s*(?=\[)")  # the end of an entry that another follows


@dataclass(frozen=True)
class Entries:
    """A JSON list whose entries are lists of lists; spans (N,2) are the bytes of each.

    Files of 1.5 GB are searched once for where entries end; after that one is one small read.
    """

    path: Path
    kind: str
    spans: NDArray[np.int64]

    @classmethod
    def find(cls, path: Path, kind: str) -> "Entries":
        """Raises DataError when the file is no whole list of that form."""
        try:
            with open(path, "rb") as file:
                spans = _spans(file) if os.fstat(file.fileno()).st_size else None
        except FileNotFoundError:
            raise _lost(path) from None
        if spans is None:
            raise DataError(f"{path} is no whole JSON list: was it cut short? Unpack it again")
        return cls(path, kind, spans)

    def __len__(self) -> int:
        return len(self.spans)

    def read(self, i: int) -> NDArray[np.float64]:
        """Entry i in the shape of its kind. Raises DataError naming file and entry."""
        first, end = self.spans[i].tolist()
        with open(self.path, "rb") as file:
            file.seek(first)
            text = file.read(end - first)
        try:
            values = np.array(json.loads(text), np.float64)
        except ValueError as error:
            raise DataError(
                f"{self.path}, entry {i}: not as expected ({error}): unpack it again"
            ) from error
        wanted = SHAPES[self.kind]
        if values.size != np.prod(wanted):
            raise DataError(f"{self.path}, entry {i}: expected {wanted}, found {values.shape}")
        return values.reshape(wanted)


def _lost(path: Path) -> DataError:
    return DataError(f"{path} is missing: unpack FreiHAND's annotations there ({page('freihand')})")


def _spans(file: Any) -> NDArray[np.int64] | None:
    """First byte and end of each entry; None when the outermost brackets are not there."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        last = len(text)
        while last and text[last - 1 : last].isspace():
            last -= 1
        cuts = [(match.start(), match.end()) for match in BETWEEN.finditer(text)]
        tail = b"".join(text[max(last - 9, 0) : last].split())
        if text[:1] != b"[" or not tail.endswith(b"]]]"):
            return None
        ends = [text.rfind(b"]", *cut) + 1 for cut in cuts]
    return np.array([[1, *(end for _, end in cuts)], [*ends, last - 1]], np.int64).T


def read_scales(path: Path) -> NDArray[np.float64]:
    """*_scale.json (N,): length of the middle finger's first bone, m. Raises DataError."""
    if not path.is_file():
        raise _lost(path)
    try:
        return np.array(files.read_json(path), np.float64).reshape(-1)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path} should be a list of numbers: {error}") from error


def read_mask(path: Path) -> NDArray[np.uint8] | None:
    """(224,224): 1 the hand, 0 not; None when there is no file. Raises Skip."""
    try:
        data = path.read_bytes()
        if jpeg_size(data) != SIZE:
            raise Skip("mask is not 224 x 224")
    except FileNotFoundError:
        return None
    except DataError as error:
        raise Skip(f"mask: {error}") from None
    grey = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise Skip("mask cannot be decoded")
    return (grey >= LEVEL).astype(np.uint8)


@dataclass(frozen=True)
class Keypoints:
    """2D joints of one picture: file name, (21,2) px, (21,) whether given."""

    name: str
    joints_px: NDArray[np.float64]
    given: NDArray[np.bool_]


def read_keypoints(path: Path) -> dict[int, Keypoints]:
    """Picture number -> its 2D joints, from a COCO file of single hands (as mmpose has them)."""
    content = files.read_json(path)
    try:
        names = {int(image["id"]): str(image["file_name"]) for image in content["images"]}
        found = {}
        for note in content["annotations"]:
            points = np.array(note["keypoints"], np.float64).reshape(21, 3)
            number = int(note["image_id"])
            found[number] = Keypoints(names[number], points[:, :2], points[:, 2] > 0)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} should be a COCO file with 21 keypoints a hand; found otherwise ({error})"
        ) from error
    return found


def check_evaluation(path: Path) -> None:
    """Whether a file of 2D keypoints can be of evaluation: its pictures are numbered as others of
    training are, and are others. Raises DataError.
    """
    last = max(read_keypoints(path), default=0)
    if last >= COUNTS["evaluation"]:
        raise DataError(
            f"{path} names picture {last:,}, and evaluation has {COUNTS['evaluation']:,}: is it "
            "of training? Then give --split training"
        )
