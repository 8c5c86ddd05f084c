"""DexYCB's hand pose evaluation (HPE) of a results text file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handbench.errors import DataError
from handbench.official.curves import Curves
from handbench.scoring.align import procrustes

THRESHOLDS_MM = np.linspace(0.0, 50.0, 100)
ROWS = ("absolute", "root-relative", "procrustes")


@dataclass(frozen=True)
class HpeScores:
    """mpjpe_mm, auc, curves and errors_mm (N,21) by row of the official table; index (N,)."""

    mpjpe_mm: Mapping[str, float]
    auc: Mapping[str, float]
    curves: Mapping[str, NDArray]
    errors_mm: Mapping[str, NDArray]
    index: NDArray[np.int64]


def read_results(path: str | Path) -> dict[int, NDArray]:
    """index -> (21,3) mm from lines `index,x0,y0,z0,…`; a repeated index overwrites, as officially.

    Raises DataError naming the line that has not a whole number and 63 numbers.
    """
    found: dict[int, NDArray] = {}
    try:
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    values = np.array(line.split(","), dtype=np.float64)
                    if len(values) != 64 or not values[0].is_integer():
                        raise ValueError
                except ValueError as error:
                    raise DataError(
                        f"{path}, line {number}: expected index and 63 numbers (mm) "
                        f"separated by commas"
                    ) from error
                found[int(values[0])] = values[1:].reshape(21, 3)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text file: expected a dex-ycb results .txt") from error
    return found


def evaluate(results: Mapping[int, NDArray], joint_3d: NDArray, on_nan: str = "error") -> HpeScores:
    """Scores against joint_3d (N,21,3) m, row = index; samples of all -1 are skipped.

    The truth is multiplied by 1000 in float32 before it becomes float64, as the toolkit does.
    Left hands are compared as they are. on_nan: what a non-finite result does: "error" stops,
    "drop" leaves NaN, "worst" counts every joint as 1 m away. Raises DataError naming the first
    index without a result, or without a finite one.
    """
    valid = np.flatnonzero(~(joint_3d == -1).all((1, 2)))
    missing = [int(i) for i in valid if int(i) not in results]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(valid)} samples have no result, the first is index "
            f"{missing[0]}: every index with a visible hand needs one line"
        )
    target = (joint_3d[valid].astype(np.float32) * np.float32(1000)).astype(np.float64)
    points = np.stack([results[int(i)] for i in valid])
    broken = ~np.isfinite(points).all((1, 2))
    if broken.any() and (on_nan == "error" or (on_nan == "drop" and broken.all())):
        raise DataError(
            f"{broken.sum()} of {len(valid)} results are not finite, the first is index "
            f"{valid[broken][0]}: mend them, or choose --on-nan drop or --on-nan worst"
        )
    points[broken] = target[broken]  # measured as nothing here, dropped or made the worst below
    versions = {
        "absolute": (target, points),
        "root-relative": (target - target[:, :1], points - points[:, :1]),
        "procrustes": (target, procrustes(points, target)),
    }
    curves, measured = {}, {}
    for row, (true, pred) in versions.items():
        errors = np.linalg.norm(true - pred, axis=-1)
        errors[broken] = 1000.0 if on_nan == "worst" else np.nan
        curves[row] = Curves(21, THRESHOLDS_MM)
        curves[row].add(errors[np.isfinite(errors).all(1)])
        measured[row] = errors
    return HpeScores(
        {row: curve.mean for row, curve in curves.items()},
        {row: curve.auc for row, curve in curves.items()},
        {row: curve.pck for row, curve in curves.items()},
        measured,
        valid,
    )
