"""2D joints from a declared source, for methods that take them at test time.

A source is a predictions.h5 with joints_px (any run's, so a trained keypoint head's too), or JSON:
{id or id:side: 21 points in pixels of the picture}, or the list that HandGCAT's code reads: for
each hand in the split's order 21 points in 0..1 of its test crop, mirrored for left hands.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbench import files, predictions
from handbench.console import amount
from handbench.errors import DataError, HandbenchError
from handbench.inference.outputs import to_image
from handbench.loading.batch import Samples
from handbench.schema import SIDES


def use(method: Any, samples: Samples, source: Path) -> None:
    """The samples' 2D joints become the source's, and the method says so in its conditions.

    No noise is added to them. Raises HandbenchError for a method that takes no 2D joints,
    DataError when the source lacks a hand or is none of the above.
    """
    if "joints_crop" not in method.inputs:
        raise HandbenchError(f"{type(method).__name__} takes no 2D joints: leave --joints out")
    found, told = read(source, samples)
    lacking = ~np.isfinite(found).all((1, 2))
    if lacking.any():
        first = samples.names(np.flatnonzero(lacking)[:1])[0]
        raise DataError(
            f"{source} has no 2D joints for {amount(lacking.sum(), 'hand')}, first {first}"
        )
    samples.labels["joints_px"] = found
    method.joints_source, method.test_noise = told, 0.0


def check_truth(method: Any, samples: Samples) -> None:
    """Raises DataError when a method is to be given true 2D joints that a hand does not have.

    Evaluation splits whose truth is kept back may know the wrist alone.
    """
    if "joints_crop" not in method.inputs:
        return
    known = np.isfinite(samples.split.hand_column("joints_px")).all(-1).sum(1)
    lacking = int((known < 2).sum())
    if lacking:
        raise DataError(
            f"{lacking:,} of {len(samples):,} hands of {samples.split.name} have no true 2D joints "
            "to give to the method: handbench predict --joints FILE|RUN gives it others"
        )


def stem_of(source: Path) -> str:
    """How a source is called in the name of a folder: a file's name, or METHOD-VARIANT of a run."""
    if source.name == "predictions.h5":
        made = predictions.attributes(source)
        return "-".join(str(made.get(name, source.stem)) for name in ("method", "variant"))
    return source.stem


def read(source: Path, samples: Samples) -> tuple[NDArray[np.float32], str]:
    """joints_px (M,21,2) of all samples, NaN where the source has none, and what it is."""
    if source.suffix in (".h5", ".hdf5"):
        made = predictions.read(source)
        if made.joints_px is None:
            raise DataError(f"{source} holds no joints_px: its method gives no 2D joints")
        keys = zip(made.id.tolist(), made.is_left.tolist())
        rows = {
            f"{each}:{SIDES[left]}": points for (each, left), points in zip(keys, made.joints_px)
        }
        by = "/".join(
            str(made.attributes.get(name, "?")) for name in ("method", "variant", "preset")
        )
        return _gathered(rows, samples), f"2D joints predicted by {by}"
    content = files.read_json(source)
    told = f"2D joints from {source.name} ({files.sha256(source)[:12]})"
    if isinstance(content, dict):
        return _gathered({name: _points(source, p) for name, p in content.items()}, samples), told
    flat = [_points(source, points) for points in content] if isinstance(content, list) else []
    if len(flat) != len(samples):
        raise DataError(
            f"{source} lists {amount(len(flat), 'hand')}, {samples.split.name} has {len(samples):,}"
        )
    return to_image(np.array(flat), crops(samples), samples.crop_px), told


def crops(samples: Samples) -> NDArray[np.float32]:
    """The matrices (M,2,3) from pixels of each picture to pixels of its test crop."""
    kept = samples.images, samples.labels
    samples.images, samples.labels = False, {}
    try:
        return samples.batch(np.arange(len(samples)))["crop_matrix"]
    finally:
        samples.images, samples.labels = kept


def _gathered(rows: dict[str, NDArray], samples: Samples) -> NDArray[np.float32]:
    found = np.full((len(samples), 21, 2), np.nan, np.float32)
    for place, name in enumerate(samples.names(np.arange(len(samples)))):
        points = rows.get(name, rows.get(name.rpartition(":")[0]))
        if points is not None:
            found[place] = points
    return found


def _points(source: Path, points: Any) -> NDArray[np.float64]:
    try:
        values = np.array(points, np.float64)
    except (ValueError, TypeError):
        values = np.empty(0)
    if values.shape != (21, 2):
        raise DataError(f"{source}: an entry is not 21 points [x, y]")
    return values
