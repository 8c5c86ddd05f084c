"""The mesh hierarchy of a hand: coarser meshes, the way back up, spirals, finger parts.

Computed from any hand of 778 vertices, or read from the files H2ONet's released weights need.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from handbench.errors import DataError, ShapeError, UnknownName
from handbench.frames import PARTS
from handbench.hand import Hand
from handbench.mesh.decimation import decimate
from handbench.mesh.spirals import spirals
from handbench.mesh.upsampling import FORMS, upsample

SIZES = (778, 389, 195, 98, 49)
LEVELS = range(len(SIZES) - 1)
_built: dict[tuple[str, bool, str], "Topology"] = {}


@dataclass(frozen=True, eq=False)
class Topology:
    """Five meshes of SIZES vertices, finest first; index l of a list is level l.

    faces: five (F,3). keep: four (V_{l+1},), which vertices of level l the next one has.
    up_index, up_weight: four (V_l,3), coarse vertices and weights of each fine vertex.
    spirals: four (V_l,9). vertex_part (778,): 0 palm, 1 thumb … 5 little.
    form: how up_weight was made (upsampling.FORMS).
    """

    faces: Sequence[NDArray]
    keep: Sequence[NDArray]
    up_index: Sequence[NDArray]
    up_weight: Sequence[NDArray]
    spirals: Sequence[NDArray]
    vertex_part: NDArray
    form: str

    def up_matrix(self, level: int) -> NDArray[np.float64]:
        """The up-sampling from level + 1 to level as a dense matrix (V_l, V_{l+1})."""
        matrix = np.zeros((SIZES[level], SIZES[level + 1]))
        rows = np.arange(SIZES[level])[:, None]
        np.add.at(matrix, (rows, self.up_index[level]), self.up_weight[level])
        return matrix


def build(hand: Hand, form: str = "barycentric") -> Topology:
    """The hierarchy of a hand's resting mesh; computed once a process (about half a second)."""
    key = (hand.sha256, hand.is_left, form)
    if key not in _built:
        _built[key] = from_mesh(hand.v_template, hand.faces, hand.vertex_part, form)
    return _built[key]


def from_mesh(verts: ArrayLike, faces: ArrayLike, vertex_part: NDArray, form: str) -> Topology:
    """The hierarchy of a mesh: vertices (778,3) and faces (F,3) in the order of its file.

    float64 throughout and the origin left alone: decimation, spirals and the `authors` form all
    are reproduced exactly by that. Raises UnknownName, ShapeError.
    """
    if form not in FORMS:
        raise UnknownName("form of up-sampling", form, FORMS)
    points, triangles = np.asarray(verts, np.float64), np.asarray(faces, np.int64)
    if points.shape != (SIZES[0], 3) or triangles.ndim != 2 or triangles.shape[1] != 3:
        raise ShapeError(
            f"vertices {points.shape} and faces {triangles.shape} are no hand mesh: "
            f"needs ({SIZES[0]}, 3) and (F, 3)"
        )
    meshes, keeps, ups, rings = [triangles], [], [], []
    for level in LEVELS:
        rings.append(spirals(points, triangles))
        keep, fewer = decimate(points, triangles, SIZES[level + 1])
        ups.append(upsample(points, points[keep], fewer, form))
        points, triangles = points[keep], fewer
        keeps.append(keep)
        meshes.append(triangles)
    index, weight = zip(*ups)
    return Topology(meshes, keeps, index, weight, rings, vertex_part, form)


def load(path: str | Path, hand: Hand) -> Topology:
    """A hierarchy from a file of H2ONet's or MobRecon's authors, or arrays `topo/*` of an .npz.

    template.ply: the mesh itself, everything is computed from it. transform.pkl: meshes and
    up-sampling as the authors computed them (nothing in it is executed). Finger parts come from
    `parts/verts_*` of an .npz, else from the hand. Raises DataError.
    """
    path = Path(path)
    readers: dict[str, Callable[[Path, Hand], Topology]] = {
        ".ply": _from_ply,
        ".pkl": _from_pickle,
        ".npz": _from_npz,
    }
    if path.suffix not in readers:
        raise DataError(f"{path}: a mesh hierarchy is read from {', '.join(readers)}")
    if not path.is_file():
        raise DataError(f"{path} does not exist")
    try:
        return readers[path.suffix](path, hand)
    except (KeyError, ValueError, IndexError, TypeError, AttributeError, ShapeError) as error:
        raise DataError(f"{path} holds no mesh hierarchy of a hand ({error})") from error


def _from_ply(path: Path, hand: Hand) -> Topology:
    lines = path.read_text(encoding="ascii").split("\n")
    if lines[0].strip() != "ply" or "ascii" not in lines[1]:
        raise DataError(f"{path} is not a PLY file in text form")
    counts = {
        words[1]: int(words[2]) for line in lines if (words := line.split())[:1] == ["element"]
    }
    first = [line.strip() for line in lines].index("end_header") + 1
    middle = first + counts["vertex"]
    verts = [[float(word) for word in line.split()[:3]] for line in lines[first:middle]]
    rows = [line.split() for line in lines[middle : middle + counts["face"]]]
    faces = [[int(word) for word in row[1:4]] for row in rows]
    return from_mesh(verts, faces, hand.vertex_part, "authors")


def _from_pickle(path: Path, hand: Hand) -> Topology:
    from handbench.pickles import load_pickle

    content = load_pickle(path)
    faces = [np.asarray(level, np.int64) for level in content["face"]]
    keep = [matrix.tocsr().indices.astype(np.int64) for matrix in content["down_transform"]]
    ups = [matrix.tocoo() for matrix in content["up_transform"]]
    entries = [(up.row, up.col, up.data) for up in ups]
    verts = [np.asarray(level, np.float64) for level in content["vertices"]]
    return _assemble(faces, keep, entries, verts, hand.vertex_part)


def _from_npz(path: Path, hand: Hand) -> Topology:
    with np.load(path, allow_pickle=False) as data:
        faces = [data[f"topo/faces_{level}"].astype(np.int64) for level in range(len(SIZES))]
        keep = [data[f"topo/keep_{level}"].astype(np.int64) for level in LEVELS]
        names = ("row", "col", "val")
        entries = [tuple(data[f"topo/up_{n}_{level}"] for n in names) for level in LEVELS]
        part = hand.vertex_part.copy()
        for number, name in enumerate(PARTS):
            if f"parts/verts_{name}" in data:
                part[data[f"parts/verts_{name}"]] = number
    # vertices only stand in where a mesh falls apart into pieces smaller than a spiral
    return _assemble(faces, keep, entries, [np.zeros((size, 3)) for size in SIZES], part)


def _assemble(
    faces: list[NDArray],
    keep: list[NDArray],
    entries: list[Any],
    verts: list[NDArray],
    vertex_part: NDArray,
) -> Topology:
    sizes = [len(level) for level in verts]
    if sizes != list(SIZES) or [len(level) for level in keep] != list(SIZES[1:]):
        raise ValueError(f"levels of {sizes} vertices instead of {list(SIZES)}")
    up_index, up_weight = zip(*(_three_a_row(entries[i], SIZES[i]) for i in LEVELS))
    rings = [spirals(verts[level], faces[level]) for level in LEVELS]
    return Topology(faces, keep, up_index, up_weight, rings, vertex_part, "authors")


def _three_a_row(
    entries: tuple[NDArray, NDArray, NDArray], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Entries of a sparse matrix with three stored in each of its rows, as (count,3) arrays."""
    row, col, value = entries
    if not np.array_equal(np.bincount(row, minlength=count), np.full(count, 3)):
        raise ValueError("up-sampling needs three entries for each vertex")
    order = np.argsort(row, kind="stable")
    return (
        col[order].reshape(-1, 3).astype(np.int64),
        value[order].reshape(-1, 3).astype(np.float64),
    )
