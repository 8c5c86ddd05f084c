"""What of a frame's picture is stored: as shipped, the margin about its hands, or encoded anew.

The margin crop holds all that the released augmentations can show of a hand: its box widened by
1.5 and made square as loaders do, times 1.25 (their greatest scale) and the square root of 2 (any
rotation). image/window says where it lies, so every pixel and K stay those of the whole picture.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handbench.console import say
from handbench.errors import DataError
from handbench.loading import crop
from handbench.preparing import turbo
from handbench.records import SHIPPED, Frame, HandLabels
from handbench.schema import SIDES
from handbench.store import decode

MARGIN = 1.25 * 2**0.5
JPEG = b"\xff\xd8"
WHOLE, CROPS, NO_LIBRARY = "whole", "margin crops", "whole: no libturbojpeg to cut them"
Stored = tuple[bytes, turbo.Window]


@dataclass(frozen=True)
class Pictures:
    """How the pictures of a split are stored. quality: JPEG quality to encode with, 0 keeps."""

    crop: bool = False
    quality: int = 0

    @classmethod
    def choose(cls, cropped: bool, quality: int | None) -> "Pictures":
        """Crops need libturbojpeg, unless encoded anew; without it whole pictures, and a line."""
        if cropped and not quality and not turbo.available():
            say(
                "--crop: libturbojpeg is not installed, so JPEG pictures stay whole; install it "
                "(Debian: libturbojpeg0), or add --reencode 95"
            )
        return cls(cropped, quality or 0)

    @property
    def kind(self) -> str:
        """For the attribute `pictures`: it decides the bytes, so it belongs to the plan."""
        lacking = self.crop and not self.quality and not turbo.available()
        text = NO_LIBRARY if lacking else CROPS if self.crop else WHOLE
        return f"{text}, JPEG quality {self.quality}" if self.quality else text

    def keep(self, frame: Frame, labels: Mapping[str, HandLabels]) -> Stored:
        """The bytes to store and their window (x0, y0, x1, y1) in the whole picture."""
        whole = 0, 0, *frame.image_size
        window = margin(frame, labels) if self.crop else whole
        if not frame.image or (window == whole and not self.quality):
            return frame.image, whole
        is_jpeg = frame.image.startswith(JPEG)
        if is_jpeg and not self.quality:
            if not turbo.available():
                return frame.image, whole
            try:
                return turbo.cut(frame.image, window)
            except DataError as error:
                raise DataError(f"{frame.id}: {error}") from None
        return self._encode(frame, window, ".jpg" if is_jpeg or self.quality else ".png")

    def _encode(self, frame: Frame, window: turbo.Window, ending: str) -> Stored:
        picture = decode(frame.image, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if picture is None:
            raise DataError(f"{frame.id}: its picture cannot be decoded")
        x0, y0, x1, y1 = window
        options = [cv2.IMWRITE_JPEG_QUALITY, self.quality] if ending == ".jpg" else []
        return cv2.imencode(ending, picture[y0:y1, x0:x1], options)[1].tobytes(), window


AS_SHIPPED = Pictures()


def margin(frame: Frame, labels: Mapping[str, HandLabels]) -> turbo.Window:
    """The window that the crops of all hands of a frame need; all of it where no box is known."""
    found = list(_boxes(frame, labels))
    boxes = np.array([box for box, _ in found], np.float64).reshape(-1, 4)
    shipped = np.array([late for _, late in found], bool)
    known = np.isfinite(boxes).all(1)
    boxes, shipped = boxes[known], shipped[known]
    size = np.array(frame.image_size)
    if not len(boxes):
        return 0, 0, *frame.image_size
    sizes = np.broadcast_to(size, (len(boxes), 2))
    centre, side, _ = crop.square(boxes, sizes, shipped=shipped)
    half = (side * MARGIN / 2)[:, None]
    low = np.maximum(np.floor((centre - half).min(0)), 0)
    high = np.minimum(np.ceil((centre + half).max(0)) + 1, size)
    x0, y0, x1, y1 = (int(value) for value in (*low, *high))
    return x0, y0, x1, y1


def _boxes(frame: Frame, labels: Mapping[str, HandLabels]) -> Iterator[tuple[NDArray[Any], bool]]:
    """Every box (4,) that training may cut a hand by, and whether the data set ships it."""
    for side in SIDES:
        hand = getattr(frame, side)
        if hand is None:
            continue
        yield crop.extent(np.asarray(hand.joints_px, np.float64)[None])[0], False
        if hand.box_px is not None:
            yield hand.box_px, hand.box_source == SHIPPED
        if side in labels:
            yield labels[side].box_visible_px, False
