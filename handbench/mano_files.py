"""The user's MANO files: where they lie, what is in them, and whether that can be true."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbench import files
from handbench.errors import DataError

FILES = {"right": "MANO_RIGHT.pkl", "left": "MANO_LEFT.pkl"}
# below the folder that the user names: as MANO's own archive and others' code lay them
PLACES = ("", "models", "mano", "mano_v1_2/models")
PALM_M = (0.04, 0.16)  # wrist to middle finger of a hand in metres, with room
# the arrays of a hand by their name here and in the file
NAMES = {
    name: name
    for name in ("v_template", "weights", "J_regressor", "shapedirs", "posedirs")
    + ("hands_mean", "hands_components")
} | {"faces": "f"}


def find_mano(side: str) -> Path | None:
    """The user's file of that side; None when $HANDBENCH_MANO is not set.

    Raises DataError when it is set and the file is not there.
    """
    folder = files.mano_dir()
    if folder is None:
        return None
    for place in PLACES:
        if (folder / place / FILES[side]).is_file():
            return folder / place / FILES[side]
    there = "is no folder" if not folder.is_dir() else f"holds no {FILES[side]}"
    raise DataError(
        f"HANDBENCH_MANO is {folder}, which {there}: "
        "point it at MANO's models folder, or unset it to do without MANO"
    )


def read_mano(path: Path) -> dict[str, Any]:
    """The arrays of a MANO file under the names of Hand.from_arrays. Raises DataError."""
    from handbench.pickles import load_pickle

    content = load_pickle(path, allow_chumpy=True)
    lost = [key for key in NAMES.values() if not isinstance(content, dict) or key not in content]
    if lost:
        what = f"it lacks {', '.join(lost)}" if isinstance(content, dict) else "no dict inside"
        raise DataError(f"{path} is not a MANO hand model ({what})")
    arrays = {name: content[key] for name, key in NAMES.items()}
    return {**arrays, "kintree_table": content.get("kintree_table")}


def check_mano(path: Path, palm_m: NDArray, is_left: bool) -> None:
    """Whether a hand's unit and side are those of its file; palm_m (3,): wrist to middle finger.

    MANO's right fingers point along -x and its left ones along +x. Raises DataError.
    """
    length = float(np.linalg.norm(palm_m))
    if not PALM_M[0] < length < PALM_M[1]:
        raise DataError(
            f"{path}: expected a hand in metres, found {length:.3g} from wrist to middle finger: "
            "fetch MANO's own file again"
        )
    if (palm_m[0] > 0) != is_left:
        named, found = ("left", "right") if is_left else ("right", "left")
        raise DataError(
            f"{path} holds a {found} hand under the name of a {named} one: are MANO_RIGHT.pkl and "
            "MANO_LEFT.pkl swapped?"
        )
