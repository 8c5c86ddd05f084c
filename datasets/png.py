"""A check of PNG bytes without decoding them: every chunk whole, its checksum right."""

import zlib

from handbench.errors import DataError

START = b"\x89PNG\r\n\x1a\n"


def png_size(data: bytes) -> tuple[int, int]:
    """Width and height. Raises DataError (without a file name) for bytes that are no whole PNG."""
    if not data.startswith(START):
        raise DataError("no PNG" if data else "empty file")
    place, size, kind = len(START), (0, 0), b""
    while kind != b"IEND":
        length = int.from_bytes(data[place : place + 4])
        kind, end = data[place + 4 : place + 8], place + 8 + length
        if len(data) < end + 4:
            raise DataError("PNG cut short")
        if zlib.crc32(data[place + 4 : end]) != int.from_bytes(data[end : end + 4]):
            raise DataError("PNG with a wrong checksum")
        if kind == b"IHDR":
            size = int.from_bytes(data[place + 8 :][:4]), int.from_bytes(data[place + 12 :][:4])
        place = end + 4
    return size
