"""Triangle meshes in PLY files, as text or little-endian binary."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handbench.errors import DataError

TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"), **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "<i2"), **dict.fromkeys(("ushort", "uint16"), "<u2"),
    **dict.fromkeys(("int", "int32"), "<i4"), **dict.fromkeys(("uint", "uint32"), "<u4"),
    **dict.fromkeys(("float", "float32"), "<f4"), **dict.fromkeys(("double", "float64"), "<f8"),
}  # fmt: skip
FORMATS = ("ascii", "binary_little_endian")


def read_ply(path: Path) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Vertices (V,3) and triangles (F,3); other properties are passed over.

    Raises DataError when the file is missing, of another kind, cut short, or not of triangles.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    head, end, body = data.partition(b"end_header\n")
    lines = [line.split() for line in head.decode("ascii", "replace").split("\n")]
    if lines[0] != ["ply"] or not end or (kind := lines[1][1]) not in FORMATS:
        raise DataError(f"{path} is no PLY file of a known kind ({', '.join(FORMATS)})")
    try:
        elements = _elements(lines)
        read = _text if kind == "ascii" else _binary
        verts, faces = read(body, elements)
    except (ValueError, KeyError, IndexError) as error:
        raise DataError(
            f"{path} is not a whole triangle mesh ({error}): unpack it again"
        ) from error
    if len(faces) and not 0 <= faces.min() <= faces.max() < len(verts):
        raise DataError(f"{path} has faces with vertices that it lacks: unpack it again")
    return verts, faces


def write_ply(path: Path, verts: NDArray, faces: NDArray) -> None:
    """The same as text, with seven digits."""
    head = (
        f"ply\nformat ascii 1.0\nelement vertex {len(verts)}\nproperty float x\nproperty float y\n"
        f"property float z\nelement face {len(faces)}\n"
        "property list uchar int vertex_indices\nend_header\n"
    )
    points = "".join(f"{x:.7g} {y:.7g} {z:.7g}\n" for x, y, z in verts)
    triangles = "".join(f"3 {a} {b} {c}\n" for a, b, c in faces)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(head + points + triangles, encoding="ascii")


def _elements(lines: list[list[str]]) -> dict[str, tuple[int, list[list[str]]]]:
    """Element name -> how many, and its properties as words."""
    found: dict[str, tuple[int, list[list[str]]]] = {}
    current = ""
    for words in lines:
        if words[:1] == ["element"]:
            current = words[1]
            found[current] = int(words[2]), []
        elif words[:1] == ["property"]:
            found[current][1].append(words[1:])
    return found


def _row(properties: list[list[str]], corners: int = 3) -> np.dtype:
    """A row of an element as it lies in a binary file; lists have `corners` entries."""
    fields: list[tuple] = []
    for words in properties:
        if words[0] == "list":
            fields += [(f"{words[3]}_n", TYPES[words[1]]), (words[3], TYPES[words[2]], (corners,))]
        else:
            fields.append((words[1], TYPES[words[0]]))
    return np.dtype(fields)


def _binary(body: bytes, elements: dict) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    at = 0
    rows = {}
    for name, (count, properties) in elements.items():
        dtype = _row(properties)
        rows[name] = np.frombuffer(body, dtype, count, at)
        at += count * dtype.itemsize
    verts = np.stack([rows["vertex"][axis] for axis in "xyz"], 1).astype(np.float64)
    name = _corners(elements)
    if (rows["face"][f"{name}_n"] != 3).any():
        raise ValueError("a face that is no triangle")
    return verts, np.array(rows["face"][name], np.int32)


def _text(body: bytes, elements: dict) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    lines = body.split(b"\n")
    at = 0
    rows = {}
    for name, (count, _) in elements.items():
        rows[name] = [line.split() for line in lines[at : at + count]]
        at += count
    names = [words[-1] for words in elements["vertex"][1]]
    places = [names.index(axis) for axis in "xyz"]
    verts = np.array([[row[i] for i in places] for row in rows["vertex"]], np.float64)
    _corners(elements)
    faces = [row[1:4] for row in rows["face"]]
    if len(faces) != elements["face"][0] or any(row[0] != b"3" for row in rows["face"]):
        raise ValueError("a face that is no triangle, or lacking")
    return verts.reshape(-1, 3), np.array(faces, np.int32).reshape(-1, 3)


def _corners(elements: dict) -> str:
    """The list of vertices must come first among a face's properties."""
    words = elements["face"][1][0]
    if words[0] != "list":
        raise ValueError("faces without a list of vertices")
    return words[3]
