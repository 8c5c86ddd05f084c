"""Encoded picture -> the crop a network sees: decoded to RGB at once, warped once, finished once.

Two ways. `exact` interpolates in float32, as HandOccNet's and H2ONet's loaders do (HandOccNet,
data loading code): within 0.01 of 255 levels of their patch. `fast` interpolates bytes (half a
level at most) and leaves gain and scaling to the device that trains.
"""

import threading
from typing import Any

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from handbench.errors import DataError, UnknownName
from handbench.store import Split
from handbench.training.augment import Draw, paint_occluder
from handbench.training.recipe import WAYS

JPEG = b"\xff\xd8"
REACH = 2  # pixels about the corners that interpolation touches

_kept = threading.local()  # a decoding buffer a thread: fresh pages cost as much as the decoding


class Cutter:
    """Crops of a split's pictures, S pixels wide; way: one of recipe.WAYS. Raises UnknownName."""

    def __init__(self, split: Split, crop_px: int, way: str = "exact") -> None:
        if way not in WAYS:
            raise UnknownName("way of cutting pictures", way, WAYS)
        self.split, self.crop_px, self.way = split, crop_px, way

    def cut(self, rows: NDArray, matrices: NDArray, drawn: Draw) -> dict[str, NDArray]:
        """Pictures of rows (B,T) under matrices (B,T,2,3), with a draw's gain and occluders.

        exact: image (B,[T,]3,S,S) f4 0..1; fast: image_bytes (B,[T,]S,S,C) u8 and gain (B,3) f4,
        which finish_on_device makes an image of. An occluder hides the current frame alone.
        Raises DataError naming the picture that cannot be read.
        """
        (count, frames), size = rows.shape, self.crop_px
        made: list[NDArray] = []
        image = np.empty((count, frames, 3, size, size), np.float32)
        for b, t in np.ndindex(count, frames):
            picture, matrix = self._picture(rows[b, t]), matrices[b, t]
            patch = (warp_exact if self.way == "exact" else warp_fast)(picture, matrix, size)
            if t == 0 and drawn.occluder[b, 0] >= 0:
                paint_occluder(patch, drawn.occluder[b])
            if self.way == "exact":
                finish(patch, drawn.gain[b].astype(np.float32), image[b, t])
            else:
                made.append(patch)
        if self.way == "exact":
            return {"image": image[:, 0] if frames == 1 else image}
        patches = np.stack(made)
        if frames > 1:
            patches = patches.reshape(count, frames, *patches.shape[1:])
        return {"image_bytes": patches, "gain": drawn.gain.astype(np.float32)}

    def _picture(self, row: int) -> NDArray[np.uint8]:
        try:
            return decode(self.split.image_bytes(row))
        except DataError as error:
            name = self.split.columns["id"][row]
            raise DataError(f"{self.split.name}: the image of {name} is {error}") from error


def decode(encoded: bytes) -> NDArray[np.uint8]:
    """RGB or RGBX picture (h,w,3 or 4), not turned by EXIF; the next call may overwrite it.

    JPEG goes through simplejpeg where it is installed: it writes the four-byte pixels that warp
    fastest. Raises DataError (the caller knows which picture it is).
    """
    decoder = _simplejpeg() if encoded.startswith(JPEG) else None
    if decoder is not None:
        try:
            height, width, _, _ = decoder.decode_jpeg_header(encoded)
            buffer = _buffer(height * width * 4)
            return decoder.decode_jpeg(encoded, "RGBX", buffer=buffer, strict=False)
        except ValueError as error:
            raise DataError(f"not readable: {error}") from error
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    picture = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags) if encoded else None
    if picture is None:
        raise DataError("not readable" if encoded else "not stored")
    return picture


def warp_exact(picture: NDArray[np.uint8], matrix: NDArray, crop_px: int) -> NDArray[np.float32]:
    """The crop (S,S,C) of a picture (h,w,C) under matrix (2,3), in levels; black outside.

    Only the pixels under the crop are turned to float.
    """
    window, moved = _window(picture, matrix, crop_px)
    return cv2.warpAffine(window.astype(np.float32), moved, (crop_px, crop_px))


def warp_fast(picture: NDArray[np.uint8], matrix: NDArray, crop_px: int) -> NDArray[np.uint8]:
    """The same in bytes."""
    return cv2.warpAffine(picture, matrix, (crop_px, crop_px))


def finish_on_device(patches: Any, gain: Any) -> Any:
    """Byte crops (…,S,S,C) and gains (B,3), tensors on one device -> images (…,3,S,S) f4 0..1."""
    planes = patches[..., :3].movedim(-1, -3).float()
    gain = gain.reshape(len(gain), *[1] * (planes.ndim - 4), 3, 1, 1)
    return (planes * gain).clamp_(max=255).div_(255)


def _window(picture: NDArray, matrix: NDArray, crop_px: int) -> tuple[NDArray, NDArray[np.float64]]:
    """The part of a picture that a crop shows, and the matrix from that part."""
    corners = np.array([[0, 0, crop_px, crop_px], [0, crop_px, 0, crop_px]], np.float64)
    seen = np.linalg.solve(matrix[:, :2], corners - matrix[:, 2:])
    size = np.array(picture.shape[1::-1])
    low = np.clip(np.floor(seen.min(1)).astype(int) - REACH, 0, size - 1)
    high = np.clip(np.ceil(seen.max(1)).astype(int) + REACH, low + 1, size)
    moved = np.array(matrix, np.float64)
    moved[:, 2] += moved[:, :2] @ low
    return picture[low[1] : high[1], low[0] : high[0]], moved


@njit(nogil=True, cache=True)
def finish(patch, gain, out):
    """Levels (S,S,C) times gain (3,), clipped at 255, to planes (3,S,S) 0..1."""
    full = np.float32(255)
    for y in range(patch.shape[0]):
        for x in range(patch.shape[1]):
            for channel in range(3):
                level = min(patch[y, x, channel] * gain[channel], full)
                out[channel, y, x] = level / full


def _buffer(size: int) -> NDArray[np.uint8]:
    if len(getattr(_kept, "buffer", ())) < size:
        _kept.buffer = np.empty(size, np.uint8)
    return _kept.buffer


def _simplejpeg() -> Any:
    """The module, or None where it is not installed."""
    try:
        import simplejpeg
    except ImportError:
        return None
    return simplejpeg
