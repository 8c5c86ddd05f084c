"""One of our files, or a run's folder: is it whole, of which version, does it fit its company."""

import zipfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from handbench import files, predictions, result
from handbench.checking.check import FAIL, NONE, OK, WARN, Check
from handbench.console import amount
from handbench.errors import DataError, HandbenchError
from handbench.schema import FORMAT, FORMAT_VERSION
from handbench.store import prepared, read_attributes, reading

RUN_FILES = ("checkpoint.pt", "predictions.h5", "result.json")


def check_file(path: Path) -> Iterator[Check]:
    """Rows about a part, index, predictions.h5, result.json, per_sample.npz or checkpoint.pt.

    A run's folder: about all of its files. Raises DataError for what is none of these.
    """
    if path.is_dir():
        yield from _run(path)
        return
    if not path.is_file():
        raise DataError(f"{path} is neither a file nor a run's folder")
    kinds: dict[str, Callable[[Path], Iterator[Check]]] = {
        ".h5": _hdf5,
        ".json": _json,
        ".npz": _arrays,
        ".pt": _checkpoint,
        ".zip": _archive,
    }
    if path.suffix not in kinds:
        raise DataError(
            f"{path}: doctor looks into .h5, .json, .npz, .pt and .zip files, and run folders"
        )
    try:
        yield from kinds[path.suffix](path)
    except HandbenchError as error:
        yield Check(path.name, FAIL, str(error), "readable")


def _run(folder: Path) -> Iterator[Check]:
    recipe = folder / "recipe.toml"
    if not recipe.is_file():
        raise DataError(f"{folder} has no recipe.toml: it is no run's folder")
    yield Check("recipe", OK, f"{recipe.stat().st_size:,} bytes")
    for name in RUN_FILES:
        found = [*folder.glob(name), *sorted(folder.glob(f"*/{name}"))]
        if not found:
            yield Check(name, NONE, "not there")
        for path in found:
            place = str(path.relative_to(folder))
            for check in check_file(path):
                label = place if check.name == name else f"{place}: {check.name}"
                yield Check(label, check.verdict, check.measured, check.expected)


def _hdf5(path: Path) -> Iterator[Check]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            kind = file.attrs.get("format")
    except OSError as error:
        raise DataError(f"{path} is no whole HDF5 file: cut short, or something else") from error
    if kind == FORMAT:
        yield from _frames(path)
    elif kind == predictions.FORMAT:
        yield from _predictions(path)
    else:
        yield Check(path.name, FAIL, f"format {kind!r}", "a file of handbench")


def _frames(path: Path) -> Iterator[Check]:
    """A part or an index of a prepared split."""
    with reading(path, "handbench prepare") as file:
        found = read_attributes(file)
        rows = len(file["index/part"] if "index" in file else file["id"])
        # every column is read: a damaged block shows only then
        file.visititems(lambda _, item: item[()] if hasattr(item, "shape") else None)
        kind = "index" if "index" in file else "part"
    told = f"{kind} of {found['dataset']}/{found['split']}, {amount(rows, 'row')}, handbench "
    told += f"{found.get('handbench', 'unknown')}"
    yield Check(path.name, OK, told, f"{FORMAT} version {FORMAT_VERSION}")
    whole = found.get("complete") == 1
    yield Check("complete", OK if whole else FAIL, "yes" if whole else "no", "yes")


def _predictions(path: Path) -> Iterator[Check]:
    given = predictions.read(path)
    told = f"{amount(len(given), 'hand')}, {given.attributes.get('method', 'unknown method')} "
    told += f"{given.attributes.get('variant', '')}".rstrip()
    version = given.attributes.get("format_version")
    yield Check(path.name, OK, told, f"{predictions.FORMAT} version {version}")
    bad = ~np.isfinite(given.joints_m).all((1, 2))
    told = f"not in {amount(int(bad.sum()), 'hand')}"
    told += f", first {given.id[bad][0]}" if bad.any() else ""
    yield Check("finite", FAIL if bad.any() else OK, told)
    away = float(np.abs(given.joints_m[:, 0]).max()) if len(given) else 0.0
    told = f"wrists at most {1000 * away:.3g} mm from 0"
    yield Check("wrist-relative", OK if away < 1e-4 else WARN, told, "0")
    reach = np.linalg.norm(given.joints_m - given.joints_m[:, :1], axis=-1).max(1)
    middle = float(np.nanmedian(reach)) if len(given) else 0.0
    unit = "" if 0.05 <= middle <= 0.3 else "; metres are wanted"
    told = f"farthest joint {middle:.3g} m from the wrist (median){unit}"
    yield Check("unit", WARN if unit else OK, told, "0.05 to 0.3 m")
    yield from _of_split(given)
    yield from _of_weights(path, given)


def _of_split(given: predictions.Predictions) -> Iterator[Check]:
    """Whether the split that was predicted has the same hands, where it is prepared."""
    name = str(given.attributes.get("data", ""))
    if name not in prepared():
        yield Check("hands of the split", NONE, f"{name or 'unknown'} is not prepared here")
        return
    from handbench.store import open_split

    split = open_split(name)
    keys = set(zip(split.columns["id"][split.hands.row].tolist(), split.hands.is_left.tolist()))
    mine = list(zip(given.id.tolist(), given.is_left.tolist()))
    missing, foreign = len(keys - set(mine)), len(set(mine) - keys)
    told = f"{missing:,} missing, {foreign:,} foreign, {len(mine) - len(set(mine)):,} repeated"
    fine = not missing and not foreign and len(mine) == len(keys)
    yield Check("hands of the split", OK if fine else FAIL, told, f"all {len(keys):,} of {name}")


def _of_weights(path: Path, given: predictions.Predictions) -> Iterator[Check]:
    """Whether the weights beside (or above) the predictions are those that made them."""
    made = given.attributes.get("checkpoint_sha256")
    for folder in (path.parent, path.parent.parent):
        weights = folder / "checkpoint.pt"
        if made and weights.is_file():
            same = files.sha256(weights) == made
            told = "those of checkpoint.pt" if same else "of other weights: handbench predict again"
            yield Check("weights", OK if same else WARN, told, f"sha256 {str(made)[:12]}…")
            return


def _json(path: Path) -> Iterator[Check]:
    if path.name != "result.json":
        content = files.read_json(path)
        size = (
            f"{type(content).__name__} of {len(content):,}" if hasattr(content, "__len__") else ""
        )
        yield Check(path.name, OK, f"JSON, {size}")
        return
    found = result.read(path)
    told = f"{found.protocol['label']}, {len(found.metrics)} metrics, "
    told += (
        f"{amount(len(found.per_sample['id']), 'hand')} of {found.protocol['evaluation']['data']}"
    )
    yield Check(path.name, OK, told, f"{result.FORMAT}@{result.FORMAT_VERSION}")
    made = found.provenance.get("hashes", {}).get("predictions")
    beside = path.parent / "predictions.h5"
    if made and beside.is_file():
        same = files.sha256(beside) == made
        told = "of the predictions beside it" if same else "of other ones: handbench eval again"
        yield Check("scored", OK if same else WARN, told, "the predictions beside it")


def _arrays(path: Path) -> Iterator[Check]:
    from handbench.showing.contents import describe

    found = describe(path)["datasets"]
    yield Check(path.name, OK, f"{len(found)} arrays", "readable without pickles")


def _archive(path: Path) -> Iterator[Check]:
    """A submission: whole, and what is in it."""
    try:
        with zipfile.ZipFile(path) as archive:
            broken, names = archive.testzip(), archive.namelist()
    except zipfile.BadZipFile as error:
        raise DataError(f"{path} is no whole zip archive") from error
    told = f"{broken} is broken" if broken else ", ".join(names[:4])
    yield Check(path.name, FAIL if broken else OK, told, "whole")


def _checkpoint(path: Path) -> Iterator[Check]:
    if find_spec("torch") is None:
        yield from _archive(path)
        yield Check("weights", NONE, "torch is not installed: only the archive was tested")
        return
    from handbench import checkpoint

    state = checkpoint.read(path)
    recipe = state.get("recipe", {})
    weights = sum(tensor.numel() for tensor in state.get("model", {}).values())
    told = f"{recipe.get('method', '?')}/{recipe.get('variant', '?')}, step {state.get('step')}, "
    yield Check(path.name, OK, told + f"{weights:,} numbers", checkpoint.FORMAT)
    bad = [
        name for name, tensor in state.get("model", {}).items() if not bool(tensor.isfinite().all())
    ]
    yield Check("finite", FAIL if bad else OK, f"not finite: {bad[0]}" if bad else "all weights")
