"""Cheap checks of JPEG bytes, so that a broken download is found without decoding every picture."""

from pathlib import Path

import cv2
import numpy as np

from handbench.errors import DataError

START, END = b"\xff\xd8", b"\xff\xd9"
# Markers that begin a frame and carry its size (C4, C8 and CC are tables, not frames).
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
STANDALONE = frozenset(range(0xD0, 0xD9)) | {0x01}
BLACK_BYTES = 8192  # an all-black 512 x 334 picture takes about 3 kB, a photograph 10 kB and more


class Skip(Exception):
    """Why a reader leaves one frame out; counted, or with --strict an error."""


class LeftOut(Skip):
    """A frame that annotation or list leave out on purpose: counted, but no fault in any case."""


def read_picture(path: Path, size: tuple[int, int]) -> bytes:
    """The bytes of a JPEG of that size (w, h), as shipped. Raises Skip for what cannot be used."""
    try:
        data = path.read_bytes()
        found = jpeg_size(data)
        if found != size:
            raise Skip("picture is {} x {}, expected {} x {}".format(*found, *size))
        if is_black(data):
            raise Skip("picture all black")
    except FileNotFoundError:
        raise Skip("picture missing") from None
    except DataError as error:
        raise Skip(str(error)) from None
    return data


def jpeg_size(data: bytes) -> tuple[int, int]:
    """Width and height as stored, without EXIF rotation.

    Raises DataError (without a file name: the caller knows it) when the bytes are no JPEG, break
    off before the frame header, or lack the end marker.
    """
    if not data.startswith(START):
        raise DataError("no JPEG" if data else "empty file")
    if END not in data[-64:]:
        raise DataError("JPEG cut short")
    place = 2
    while place + 9 < len(data):
        if data[place] != 0xFF:
            break
        marker = data[place + 1]
        if marker == 0xFF:  # fill byte
            place += 1
        elif marker in STANDALONE:
            place += 2
        elif marker in FRAMES:
            height = int.from_bytes(data[place + 5 : place + 7])
            width = int.from_bytes(data[place + 7 : place + 9])
            return width, height
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4])
    raise DataError("JPEG with a broken header")


def is_black(data: bytes) -> bool:
    """Whether nothing can be seen. Decodes only files so small that it may be so."""
    if len(data) > BLACK_BYTES:
        return False
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
    if image is None:
        raise DataError("JPEG that cannot be decoded")
    return int(image.max()) < 8
