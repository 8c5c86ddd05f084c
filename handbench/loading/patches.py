"""Encoded picture -> the crop a network sees: decoded to RGB at once, warped once, finished once.

Two ways. `exact` interpolates in float32, as HandOccNet's and H2ONet's loaders do (HandOccNet,
data loading code): within 0.01 of 255 levels of their patch. `fast` interpolates bytes (half a
level at most) and leaves gain and scaling to the device that trains.
"""

import threading
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from handbench.errors import DataError, UnknownName
from handbench.loading.augment import Draw, paint_occluder
from handbench.loading.crop import WAYS
from handbench.store import Split

JPEG = b"\xff\xd8"
REACH = 2  # pixels about the corners that interpolation touches

# of a thread: its decoding buffer, since fresh pages cost as much as the decoding, and what gives
# memory for crops, in place of np.empty
_kept = threading.local()


class Cutter:
    """Crops of a split's pictures, S pixels wide; way: one of crop.WAYS. Raises UnknownName."""

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
        if self.split.windows is not None:  # pictures begin at their window's corner
            matrices = matrices.copy()
            corner = self.split.windows[rows][..., :2, None].astype(np.float64)
            matrices[..., 2:] += matrices[..., :2] @ corner
        made = (self._exact if self.way == "exact" else self._fast)(rows, matrices, drawn)
        single = rows.shape[1] == 1
        return {
            name: array[:, 0] if single and name != "gain" else array
            for name, array in made.items()
        }

    def _exact(self, rows: NDArray, matrices: NDArray, drawn: Draw) -> dict[str, NDArray]:
        size, gain = self.crop_px, drawn.gain.astype(np.float32)
        seen = seen_by(matrices, size)
        image = _empty((*rows.shape, 3, size, size), np.float32)
        for b, t in np.ndindex(*rows.shape):
            patch = warp_exact(self._picture(int(rows[b, t])), matrices[b, t], size, seen[b, t])
            _hide(patch, t, drawn.occluder[b])
            finish(patch, gain[b], image[b, t])
        return {"image": image}

    def _fast(self, rows: NDArray, matrices: NDArray, drawn: Draw) -> dict[str, NDArray]:
        size, patches = self.crop_px, np.empty(0, np.uint8)
        for b, t in np.ndindex(*rows.shape):
            picture = self._picture(int(rows[b, t]))
            if not patches.size:  # the decoder decides between three and four bytes a pixel
                patches = _empty((*rows.shape, size, size, picture.shape[2]), np.uint8)
            if picture.shape[2] != patches.shape[-1]:  # JPEG and PNG in one batch
                more = patches.shape[-1] == 4
                picture = cv2.cvtColor(picture, cv2.COLOR_RGB2RGBA if more else cv2.COLOR_RGBA2RGB)
            warp_fast(picture, matrices[b, t], size, patches[b, t])
            _hide(patches[b, t], t, drawn.occluder[b])
        return {"image_bytes": patches, "gain": drawn.gain.astype(np.float32)}

    def _picture(self, row: int) -> NDArray:
        try:
            return decode(self.split.image_bytes(row))
        except DataError as error:
            name = self.split.columns["id"][row]
            raise DataError(f"{self.split.name}: the image of {name} is {error}") from error


def _hide(patch: NDArray, frame: int, occluder: NDArray) -> None:
    if frame == 0 and occluder[0] >= 0:
        paint_occluder(patch, occluder)


def decode(encoded: bytes) -> NDArray:
    """RGB or RGBX picture (h,w,3 or 4) u1, not turned by EXIF; the next call may overwrite it.

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


def warp_exact(
    picture: NDArray, matrix: NDArray, crop_px: int, seen: NDArray | None = None
) -> NDArray:
    """The crop (S,S,C) f4 of a picture (h,w,C) under matrix (2,3), in levels; black outside.

    Only the pixels under the crop, seen (x0, y0, x1, y1) as seen_by gives it, are turned to float.
    """
    left, top, right, bottom = (seen_by(matrix, crop_px) if seen is None else seen).tolist()
    height, width = picture.shape[:2]
    left, top = min(max(left, 0), width - 1), min(max(top, 0), height - 1)
    window = picture[top : max(bottom, top + 1), left : max(right, left + 1)]
    moved = np.array(matrix, np.float64)
    moved[:, 2] += moved[:, :2] @ (left, top)
    return cv2.warpAffine(window.astype(np.float32), moved, (crop_px, crop_px))


def seen_by(matrices: NDArray, crop_px: int) -> NDArray[np.int64]:
    """Pixels (…,4) x0 y0 x1 y1 of the picture that crops under matrices (…,2,3) need."""
    corners = np.array([[0, 0, crop_px, crop_px], [0, crop_px, 0, crop_px]], np.float64)
    found = np.linalg.inv(matrices[..., :2]) @ (corners - matrices[..., 2:])
    low, high = np.floor(found.min(-1)) - REACH, np.ceil(found.max(-1)) + REACH
    return np.concatenate([low, high], -1).astype(np.int64)


def warp_fast(
    picture: NDArray, matrix: NDArray, crop_px: int, out: NDArray | None = None
) -> NDArray:
    """The same in bytes, of the whole picture; written into out (S,S,C) where that is given."""
    return cv2.warpAffine(picture, matrix, (crop_px, crop_px), out)


def finish_on_device(patches: Any, gain: Any) -> Any:
    """Byte crops (…,S,S,C) and gains (B,3), tensors on one device -> images (…,3,S,S) f4 0..1."""
    planes = patches[..., :3].movedim(-1, -3).float()
    gain = gain.reshape(len(gain), *[1] * (planes.ndim - 4), 3, 1, 1)
    return (planes * gain).clamp_(max=255).div_(255)


@njit(nogil=True, cache=True)
def finish(patch, gain, out):
    """Levels (S,S,C) times gain (3,), clipped at 255, to planes (3,S,S) 0..1."""
    red, green, blue = gain / np.float32(255)
    one = np.float32(1)
    for y in range(patch.shape[0]):  # one pass of the row for all planes: it then vectorises
        row, r, g, b = patch[y], out[0, y], out[1, y], out[2, y]
        for x in range(row.shape[0]):
            r[x] = min(row[x, 0] * red, one)
            g[x] = min(row[x, 1] * green, one)
            b[x] = min(row[x, 2] * blue, one)


def crops_into(empty: Callable[..., NDArray]) -> None:
    """Has the crops that this thread cuts from now on made in arrays of empty(shape, dtype)."""
    _kept.empty = empty


def _empty(shape: tuple[int, ...], dtype: type) -> NDArray:
    return getattr(_kept, "empty", np.empty)(shape, dtype)


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
