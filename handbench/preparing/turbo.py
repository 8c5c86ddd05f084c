"""Cutting a JPEG without decoding it, by the system's libturbojpeg where it is installed."""

import ctypes
from ctypes.util import find_library
from functools import lru_cache
from typing import Any

from handbench.errors import DataError

# width and height of a block by chroma subsampling: 4:4:4, 4:2:2, 4:2:0, grey, 4:4:0, 4:1:1
BLOCKS = ((8, 8), (16, 8), (16, 16), (8, 8), (8, 16), (32, 8))
CROP, NO_EXTRAS = 4, 64  # TJXOPT_CROP, TJXOPT_COPYNONE
Window = tuple[int, int, int, int]


class _Region(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int) for name in ("x", "y", "w", "h")]


class _Transform(ctypes.Structure):
    _fields_ = [
        ("region", _Region),
        ("op", ctypes.c_int),
        ("options", ctypes.c_int),
        ("data", ctypes.c_void_p),
        ("filter", ctypes.c_void_p),
    ]


def available() -> bool:
    """Whether JPEGs can be cut without loss here."""
    return _library() is not None


def cut(jpeg: bytes, window: Window) -> tuple[bytes, Window]:
    """The part of a JPEG that holds window (x0, y0, x1, y1), widened to its blocks.

    Pixels are those of the whole picture, but for two at the new border where chroma is
    interpolated. Returns the new JPEG, without its extra markers, and the window that it shows.
    Raises DataError for what is no JPEG (the caller knows which).
    """
    library = _library()
    assert library is not None
    handle = library.tjInitTransform()
    try:
        width, height, block = _header(library, handle, jpeg)
        x0, y0 = (max(window[k], 0) // block[k] * block[k] for k in (0, 1))
        x1, y1 = min(window[2], width), min(window[3], height)
        transform = _Transform(_Region(x0, y0, x1 - x0, y1 - y0), 0, CROP | NO_EXTRAS, None, None)
        out, size = ctypes.POINTER(ctypes.c_ubyte)(), ctypes.c_ulong(0)
        failed = library.tjTransform(
            handle, jpeg, len(jpeg), 1, ctypes.byref(out), ctypes.byref(size),
            ctypes.byref(transform), 0,
        )  # fmt: skip
        try:
            if failed:
                raise DataError(f"JPEG that cannot be cut ({_reason(library, handle)})")
            return ctypes.string_at(out, size.value), (x0, y0, x1, y1)
        finally:
            library.tjFree(out)
    finally:
        library.tjDestroy(handle)


def _header(library: Any, handle: Any, jpeg: bytes) -> tuple[int, int, tuple[int, int]]:
    numbers = [ctypes.c_int() for _ in range(4)]
    pointers = [ctypes.byref(number) for number in numbers]
    if library.tjDecompressHeader3(handle, jpeg, len(jpeg), *pointers):
        raise DataError(f"JPEG that cannot be read ({_reason(library, handle)})")
    width, height, sampling, _ = (number.value for number in numbers)
    if not 0 <= sampling < len(BLOCKS):
        raise DataError("JPEG of an unknown chroma subsampling")
    return width, height, BLOCKS[sampling]


def _reason(library: Any, handle: Any) -> str:
    return library.tjGetErrorStr2(handle).decode(errors="replace")


@lru_cache(maxsize=1)
def _library() -> Any:
    name = find_library("turbojpeg")
    if name is None:
        return None
    library = ctypes.CDLL(name)
    pointer, number = ctypes.c_void_p, ctypes.c_ulong
    library.tjInitTransform.restype = pointer
    library.tjDecompressHeader3.argtypes = [pointer, ctypes.c_char_p, number, *[pointer] * 4]
    library.tjTransform.argtypes = [
        pointer, ctypes.c_char_p, number, ctypes.c_int, pointer, pointer, pointer, ctypes.c_int,
    ]  # fmt: skip
    library.tjFree.argtypes = library.tjDestroy.argtypes = [pointer]
    library.tjFree.restype = None
    library.tjGetErrorStr2.argtypes = [pointer]
    library.tjGetErrorStr2.restype = ctypes.c_char_p
    return library
