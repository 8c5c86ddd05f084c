"""What is inside one of this project's files, as rows of text."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from handbench import files
from handbench.errors import DataError

LONGEST = 300


def describe(path: Path) -> dict[str, Any]:
    """{"file", "attributes": {name: value}, "datasets": {name: "shape dtype unit"}}.

    For HDF5 (part, index, predictions), .npz and .json files. Raises DataError for anything else,
    and for files cut short.
    """
    if not path.is_file():
        raise DataError(f"there is no file {path}; for a prepared split give NAME/SPLIT")
    if path.suffix == ".json":
        content = files.read_json(path)
        plain = content if isinstance(content, dict) else {"list": content}
        return {"file": str(path), "attributes": _shortened(plain), "datasets": {}}
    if path.suffix == ".npz":
        return _npz(path)
    try:
        with h5py.File(path, "r") as file:
            attributes = {name: _plain(value) for name, value in sorted(file.attrs.items())}
            datasets: dict[str, str] = {}
            file.visititems(lambda name, item: _note(datasets, name, item))
    except OSError as error:
        raise DataError(f"{path} is neither HDF5, .npz nor .json, or is cut short") from error
    return {"file": str(path), "attributes": attributes, "datasets": datasets}


def _npz(path: Path) -> dict[str, Any]:
    datasets = {
        name: f"{found.shape} {found.dtype}" for name, found in files.read_npz(path).items()
    }
    return {"file": str(path), "attributes": {}, "datasets": datasets}


def _note(datasets: dict[str, str], name: str, item: Any) -> None:
    if isinstance(item, h5py.Dataset):
        unit = str(item.attrs.get("unit", ""))
        kind = "text" if h5py.check_string_dtype(item.dtype) else str(item.dtype)
        datasets[name] = f"{item.shape} {kind} {unit}".rstrip()


def _plain(value: Any) -> Any:
    """Attributes that hold JSON are shown as what they say."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, str) and value[:1] in "{[":
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            return value
    return value


def _shortened(content: dict[str, Any]) -> dict[str, Any]:
    """Long lists of a JSON file by their length alone."""
    return {
        name: f"{len(value)} entries"
        if isinstance(value, list) and len(str(value)) > LONGEST
        else value
        for name, value in content.items()
    }
