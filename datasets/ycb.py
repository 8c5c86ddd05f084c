"""The YCB objects of DexYCB, HO-3D and H2O-3D: names by number, and models from a user's folder."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbench import files
from handbench.datasets.ply import read_ply
from handbench.errors import DataError

# Number in the YCB-Video order (also DexYCB's segmentation value) -> name of the model's folder.
NAMES = {
    1: "002_master_chef_can", 2: "003_cracker_box", 3: "004_sugar_box", 4: "005_tomato_soup_can",
    5: "006_mustard_bottle", 6: "007_tuna_fish_can", 7: "008_pudding_box", 8: "009_gelatin_box",
    9: "010_potted_meat_can", 10: "011_banana", 11: "019_pitcher_base", 12: "021_bleach_cleanser",
    13: "024_bowl", 14: "025_mug", 15: "035_power_drill", 16: "036_wood_block", 17: "037_scissors",
    18: "040_large_marker", 19: "051_large_clamp", 20: "052_extra_large_clamp",
    21: "061_foam_brick",
}  # fmt: skip
MODEL = "textured_simple.obj"


def model_path(folder: Path, name: str) -> Path:
    """Where a model lies below a folder of models."""
    return folder / name / MODEL


@lru_cache(maxsize=64)
def load_model(path: Path) -> tuple[NDArray[np.float64], NDArray[np.int32]] | None:
    """Vertices (V,3) m and triangles (F,3) of a model, None when the file is not there.

    Kept; not to be written to. Raises DataError for a file that is no triangle mesh.
    """
    read = read_ply if path.suffix == ".ply" else read_obj
    return read(path) if path.is_file() else None


@lru_cache(maxsize=64)
def load_hull(path: Path) -> NDArray[np.float64] | None:
    """The vertices (P,3) m of a model's convex hull, None when the file is not there."""
    from scipy.spatial import ConvexHull, QhullError

    found = load_model(path)
    if found is None:
        return None
    try:
        return found[0][ConvexHull(found[0]).vertices]
    except QhullError:  # flat, or a single point: its own hull
        return found[0]


def read_obj(path: Path) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Vertices (V,3) and faces (F,3), from 0, of a Wavefront OBJ; polygons become fans.

    Texture and normals are left out. Raises DataError with the line that cannot be read.
    """
    verts: list[list[float]] = []
    faces: list[tuple[int, int, int]] = []
    line = ""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                kind, *fields = line.split() or [""]
                if kind == "v":
                    verts.append([float(field) for field in fields[:3]])
                elif kind == "f":
                    corner = [_index(field, len(verts)) for field in fields]
                    faces += [(corner[0], *pair) for pair in zip(corner[1:], corner[2:])]
    except (ValueError, IndexError) as error:
        raise DataError(f"{path}: '{line.strip()[:40]}' is not as in an OBJ file") from error
    points, triangles = np.array(verts, np.float64), np.array(faces, np.int32)
    if points.ndim != 2 or points.shape[1:] != (3,) or not np.isfinite(points).all():
        raise DataError(f"{path} holds no vertices of three finite numbers: fetch it again")
    if not len(triangles) or triangles.min() < 0 or triangles.max() >= len(points):
        raise DataError(f"{path}: faces and vertices do not fit each other: was it cut short?")
    return points, triangles


def _index(field: str, known: int) -> int:
    """OBJ counts from 1, or backwards from the newest vertex."""
    number = int(field.partition("/")[0])
    return number - 1 if number > 0 else known + number


def describe(path: Path) -> dict[str, Any]:
    """What the index of a split keeps of a model: where it came from and its convex hull.

    hull_m (P,3) suffices for the greatest distance between two poses (scoring/mssd.py), so errors
    of object poses can be measured where the models are not.
    """
    from scipy.spatial.distance import cdist

    hull = load_hull(path)
    if hull is None:
        return {}
    blocks = np.array_split(hull, len(hull) // 1024 + 1)  # the hull of a fine scan has thousands
    return {
        "mesh": "/".join(path.parts[-3:]),
        "sha256": files.sha256(path),
        "diameter_m": float(max(cdist(rows, hull).max() for rows in blocks)),
        "hull_m": np.round(hull, 7).tolist(),
    }
