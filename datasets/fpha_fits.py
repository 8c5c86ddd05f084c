"""MANO fits to FPHA by Hasson et al. (a side download): meshes, and with them occlusion labels."""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbench.console import say
from handbench.datasets.jpeg import Skip
from handbench.datasets.trees import hands_of_tree
from handbench.errors import DataError
from handbench.hand import Hand
from handbench.pickles import load_pickle
from handbench.records import HandRecord, Mesh

FOLDER = "fhbhands_fits"
FILE = "pkls.pkl"
LENGTHS = {"fullpose": 48, "shape": 10, "trans": 3}
FIT_LIMIT_MM = 20.0  # mo-cap joints are not MANO's: a good fit is off by some 10 mm


@dataclass(frozen=True)
class Fits:
    """Where the fits lie, and whose hands they pose."""

    folder: Path
    root: Path

    @classmethod
    def find(cls, root: Path, given: str) -> "Fits | None":
        """None without fits, or without the MANO files that turn them into meshes (said so).

        given: the folder, or empty for root/fhbhands_fits. Raises DataError.
        """
        folder = Path(given).expanduser() if given else root / FOLDER
        if not folder.is_dir():
            if given:
                raise DataError(f"-o fits={folder} is not a folder: unpack fhbhands_fits.tgz there")
            say(f"fpha: joints only, no meshes or occlusion labels: no MANO fits in {folder}")
            return None
        if hands_of_tree(root) is None:
            say(
                "fpha: joints only, no meshes or occlusion labels: set HANDBENCH_MANO to the "
                "folder of MANO_RIGHT.pkl and MANO_LEFT.pkl"
            )
            return None
        return cls(folder, root)

    @property
    def hands(self) -> tuple[Hand, Hand]:
        """Right and left hand."""
        return _hands(self.root)

    def read(self, name: str) -> dict[int, dict[str, NDArray]]:
        """Frame number -> fit of a sequence `Subject_1/put_salt/1`; empty where there is none."""
        path = self.folder / name / FILE
        if not path.is_file():
            return {}
        content = load_pickle(path)
        try:
            return {int(key.partition(".")[0]): _fit(value) for key, value in content.items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"{path}: expected '000000.pkl' -> fullpose, shape, trans; found otherwise "
                f"({error}): unpack the fits again"
            ) from error

    def add(self, hand: HandRecord, fit: dict[str, NDArray]) -> tuple[HandRecord, Mesh | None]:
        """The hand with its MANO parameters, and its mesh (m, colour camera) unless it fits badly.

        fullpose holds the mean pose; verts = layer(pose, shape) + trans (meshreg, fhbhands.py).
        """
        if not all(np.isfinite(values).all() for values in fit.values()):
            raise Skip("MANO fit not finite")
        model = self.hands[0]
        verts, joints = model.pose(fit["fullpose"][None], fit["shape"][None])
        error = np.linalg.norm(joints[0] + fit["trans"] - hand.joints_m, axis=-1).mean() * 1000
        record = replace(
            hand,
            mano_pose=fit["fullpose"],
            mano_shape=fit["shape"],
            mano_trans_m=fit["trans"],
            mano_valid=2,
            fit_error_mm=float(error),
        )
        good = error < FIT_LIMIT_MM
        return record, Mesh(verts[0] + fit["trans"], model.faces, "right") if good else None


def _fit(value: Any) -> dict[str, NDArray]:
    return {
        name: np.asarray(value[name], np.float64).reshape(length)
        for name, length in LENGTHS.items()
    }


@lru_cache(maxsize=2)
def _hands(root: Path) -> tuple[Hand, Hand]:
    found = hands_of_tree(root)
    assert found is not None
    return found
