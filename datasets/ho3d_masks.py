"""HO-3D's and H2O-3D's masks: small colour pictures of hand and object, rendered by the authors.

Colours differ between versions and blue changes its meaning, so every mask is compared with what is
expected of it, and the annotated joints have to lie on the hand's colour.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from handbench.datasets import dexycb_hands
from handbench.datasets.dexycb_files import HAND
from handbench.datasets.ho3d_files import SIZE
from handbench.datasets.jpeg import Skip, jpeg_size
from handbench.datasets.png import png_size
from handbench.errors import DataError

BACKGROUND, RIGHT, LEFT, OBJECT, ANY_HAND = range(5)  # of a segmentation as prepared
NONE = -1  # a colour that no mask should have
# by which of red (1), green (2), blue (4) is bright
COLOURS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
# The released loaders ask for more than 200, which takes a pixel off every border that JPEG blurred
# in v2's masks, and with it four times as much of the hand as the low resolution does.
BRIGHT = 127
FEW = 0.002  # share of pixels that blur may give another colour
ENOUGH = 200  # joints, before a palette is judged by them
SOME = 20  # joints, before they say whose hand a colour is
CLEAR = 0.8  # share of joints on a colour that are one hand's


@dataclass(frozen=True)
class Palette:
    """What each of COLOURS means: BACKGROUND … ANY_HAND, or NONE."""

    codes: tuple[int, ...]

    @classmethod
    def of(cls, **colours: int) -> "Palette":
        """Palette.of(red=RIGHT, blue=OBJECT); black is background, the others are not expected."""
        return cls(tuple({"black": BACKGROUND, **colours}.get(name, NONE) for name in COLOURS))

    def told(self) -> str:
        names = ("background", "right hand", "left hand", "object", "hand")
        pairs = zip(COLOURS, self.codes)
        return ", ".join(
            f"{names[code]} in {colour}" for colour, code in pairs if code > BACKGROUND
        )


PALETTES = {
    "ho3d_v2": Palette.of(red=RIGHT, blue=OBJECT),
    "ho3d_v3": Palette.of(blue=RIGHT, green=OBJECT),
}
# of H2O-3D before its hands are told apart
HANDS_UNKNOWN = Palette.of(
    green=OBJECT, **dict.fromkeys(("red", "yellow", "blue", "magenta", "cyan", "white"), ANY_HAND)
)


@dataclass
class Masks:
    """The masks of a split: below `folder`, in `name`, as files with `suffix`."""

    folder: Path
    name: str
    suffix: str
    palette: Palette
    on: Counter[int] = field(default_factory=Counter)  # what joints have been found on

    def path(self, sequence: str, frame: int) -> Path:
        return self.folder / sequence / self.name / f"{frame:04d}{self.suffix}"

    def read(self, sequence: str, frame: int) -> NDArray[np.uint8] | None:
        """Codes (480,640) of a frame; None where it has no mask.

        Raises Skip for a mask that cannot be read, DataError for one of other colours.
        """
        path = self.path(sequence, frame)
        if not path.is_file():
            return None
        colour = read_colours(path)
        share = np.bincount(colour.ravel(), minlength=8) / colour.size
        if odd := [c for c in range(8) if self.palette.codes[c] == NONE and share[c] > FEW]:
            raise DataError(
                f"{path}: expected {self.palette.told()}; found {share[odd[0]]:.1%} of the pixels "
                f"{COLOURS[odd[0]]}: is the mask of another version? -o masks=none does without"
            )
        codes = np.maximum(np.array(self.palette.codes), BACKGROUND).astype(np.uint8)[colour]
        # nearest: each mask pixel is a block of the picture's
        return cv2.resize(codes, SIZE, interpolation=cv2.INTER_NEAREST)

    def check(self, codes: NDArray[np.uint8], pixels: NDArray, where: str) -> None:
        """Raises DataError when joints (J,2) of right hands tend to lie on the object's colour."""
        self.on.update(_under(codes, pixels).tolist())
        if self.on.total() >= ENOUGH and self.on[RIGHT] < self.on[OBJECT]:
            total = self.on.total()
            raise DataError(
                f"{where}: expected most joints on the hand's colour ({self.palette.told()}); "
                f"found {self.on[RIGHT] / total:.0%} there and {self.on[OBJECT] / total:.0%} on "
                "the object's: are the masks of another version? -o masks=none does without"
            )


def read_colours(path: Path) -> NDArray[np.uint8]:
    """Which of COLOURS each pixel of a mask has (h,w). Raises Skip for what is no mask."""
    data = path.read_bytes()
    try:
        png_size(data) if path.suffix == ".png" else jpeg_size(data)
    except DataError as error:
        raise Skip(f"mask cannot be decoded ({error})") from None
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise Skip("mask cannot be decoded")
    height, width = image.shape[:2]
    if width * SIZE[1] != height * SIZE[0]:
        raise Skip(f"mask is {width} x {height}, of another shape than the picture")
    blue, green, red = cv2.split(image)
    most = np.maximum(np.maximum(np.maximum(blue, green), red), BRIGHT + 1)
    red_bit, green_bit, blue_bit = ((one == most).astype(np.uint8) for one in (red, green, blue))
    return red_bit | green_bit << 1 | blue_bit << 2


def learn_sides(samples: Iterable[tuple[NDArray, NDArray, NDArray]]) -> Palette:
    """H2O-3D's palette: green is the object, other colours are the hand whose joints lie on them.

    samples: colours (h,w) of a mask, joints (J,2) px of the right and of the left hand. A colour
    on which neither hand's joints are clearly more is a hand of unknown side; one without any
    joint is background.
    """
    votes = np.zeros((2, 8), np.int64)
    for colour, *hands in samples:
        whole = cv2.resize(colour, SIZE, interpolation=cv2.INTER_NEAREST)
        for side, pixels in enumerate(hands):
            votes[side] += np.bincount(_under(whole, pixels), minlength=8)
    total = votes.sum(0)
    codes = []
    for name, right, both in zip(COLOURS, votes[0], total):
        clear = both >= SOME and max(right, both - right) >= CLEAR * both
        unclear = ANY_HAND if both else BACKGROUND
        codes.append((RIGHT if 2 * right > both else LEFT) if clear else unclear)
        if name in ("black", "green"):
            codes[-1] = BACKGROUND if name == "black" else OBJECT
    return Palette(tuple(codes))


def visible_box(codes: NDArray[np.uint8], code: int) -> NDArray[np.float32] | None:
    """x y w h around the pixels that show a hand, pixel areas included; None without any."""
    return dexycb_hands.visible_box(np.where(codes == code, HAND, 0).astype(np.uint8))


def _under(values: NDArray, pixels: NDArray) -> NDArray:
    """Values (h,w) at the nearest pixels of points (J,2) that lie inside."""
    inside = ((pixels >= -0.5) & (pixels < np.array(SIZE) - 0.5)).all(1)
    at = np.floor(pixels[inside] + 0.5).astype(int)
    return values[at[:, 1], at[:, 0]]
