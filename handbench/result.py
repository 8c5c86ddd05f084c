"""A Result: numbers with their protocol, interval, levels, per-hand values and provenance."""

import math
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbench import __version__
from handbench.errors import DataError
from handbench.files import read_json, read_npz, replacing, write_json
from handbench.scoring.aggregate import unit_of
from handbench.scoring.stats import Estimate

FORMAT = "handbench-result"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Result:
    """Scores of one set of predictions.

    protocol: {name, version, label, evaluation: {...}, method: {...}}; metrics: name -> Estimate;
    levels: level or other part of the data (single, interacting) -> name -> Estimate; per_sample:
    name -> (N,), with id, is_left, sequence, recording, level and the per-joint errors beside the
    metrics; provenance: versions and hashes; clusters: "recording" or "subject" -> the values of
    each, or from 10 on intervals over them (aggregate.by_cluster).
    """

    protocol: Mapping[str, Any]
    metrics: Mapping[str, Estimate]
    levels: Mapping[str, Mapping[str, Estimate]]
    per_sample: Mapping[str, NDArray] = field(repr=False)
    provenance: Mapping[str, Any]
    clusters: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None  # where it was read from; predictions.h5 may stand beside it

    def write(self, folder: str | Path) -> None:
        """result.json and per_sample.npz in folder, the JSON last."""
        folder = Path(folder)
        with replacing(folder / "per_sample.npz") as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, allow_pickle=False, **dict(self.per_sample))
        write_json(folder / "result.json", self.as_json())

    def as_json(self) -> dict[str, Any]:
        """All but the per-hand values and the folder."""
        return {
            "format": f"{FORMAT}@{FORMAT_VERSION}",
            "protocol": dict(self.protocol),
            "metrics": {name: _row(name, value) for name, value in self.metrics.items()},
            "levels": {
                level: {name: _row(name, value) for name, value in rows.items()}
                for level, rows in self.levels.items()
            },
            "clusters": dict(self.clusters),
            "provenance": dict(self.provenance),
        }


def read(path: str | Path) -> Result:
    """Read result.json (or its folder) and the per_sample.npz beside it.

    Raises DataError naming the file when it is missing, of another format, or cut short.
    """
    path = Path(path)
    path = path / "result.json" if path.is_dir() else path
    data = read_json(path)
    if not isinstance(data, dict) or data.get("format") != f"{FORMAT}@{FORMAT_VERSION}":
        raise DataError(f"{path} is not a result of this version: score again with handbench eval")
    try:
        return Result(
            protocol=data["protocol"],
            metrics={name: _estimate(row) for name, row in data["metrics"].items()},
            levels={
                level: {name: _estimate(row) for name, row in rows.items()}
                for level, rows in data["levels"].items()
            },
            per_sample=read_npz(path.parent / "per_sample.npz"),
            provenance=data["provenance"],
            clusters=data.get("clusters", {}),
            folder=path.parent,
        )
    except DataError as error:
        raise DataError(f"{error}: score again with handbench eval --force") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path} is no whole result ({error!r}): score again") from error


def versions() -> dict[str, str]:
    """What computed a result: package versions, and the commit when run from a checkout."""
    found = {"handbench": __version__, "python": platform.python_version()}
    for name in ("numpy", "scipy", "numba", "torch"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    checkout = Path(__file__).resolve().parent.parent
    if (checkout / ".git").exists():
        answer = subprocess.run(
            ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode == 0:
            found["git"] = answer.stdout.strip()
    return found


def _row(name: str, value: Estimate) -> dict[str, Any]:
    return {
        "value": _number(value.value),
        "unit": unit_of(name),
        "low": _number(value.low),
        "high": _number(value.high),
        "n": value.n,
        "clusters": value.clusters,
    }


def _estimate(row: Mapping[str, Any]) -> Estimate:
    number = {
        key: float("nan") if row[key] is None else float(row[key])
        for key in ("value", "low", "high")
    }
    return Estimate(**number, n=row["n"], clusters=row.get("clusters", 0))


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
