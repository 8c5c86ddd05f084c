"""An official prediction file and ground truth -> the official numbers and a Result."""

import csv
import re
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbench import files
from handbench.console import say
from handbench.errors import DataError, HandbenchError
from handbench.metrics import auc
from handbench.official import dexycb, ho3d
from handbench.official.jsonpoints import index
from handbench.official.suspects import suspicions
from handbench.protocol import METHOD_CONDITIONS, get
from handbench.result import Result, versions
from handbench.rules import LEVELS
from handbench.stats import estimate

OPENGL = (1.0, -1.0, -1.0)
JSON_PROTOCOLS = tuple(ho3d.OFFICIAL_SAMPLES)
PROTOCOLS = (*JSON_PROTOCOLS, "dexycb_hpe")


@dataclass(frozen=True)
class Options:
    """What a user may ask for; see handbench eval --help."""

    subset: bool = False
    on_nan: str = "error"
    assume_frame: str | None = None
    levels: Path | None = None


def evaluate_official(
    path: Path, ground_truth: Path, protocol_name: str, out: Path, options: Options
) -> Result:
    """Score path into out: scores.txt where the official tool writes one, and a Result.

    Warns on stderr when the predictions look like another unit, frame, order or side.
    """
    if protocol_name == "dexycb_hpe":
        per_sample, number, text = _dexycb(path, ground_truth)
    else:
        per_sample, number, text = _json(path, ground_truth, protocol_name, options)
    who = {
        "id": number.astype(str),
        "is_left": np.zeros(len(number), bool),
        "level": read_levels(options.levels, number),
        **_takes(ground_truth, number),
    }
    protocol = get(protocol_name)
    names = [name for name in protocol.metrics if name in per_sample]
    clusters = who["recording"]
    levels = {
        title: {
            name: estimate(per_sample[name][chosen], clusters[chosen])
            for name in names
            for chosen in (who["level"] == k,)
        }
        for k, title in enumerate(LEVELS)
    }
    result = Result(
        protocol={
            "name": protocol.name,
            "version": protocol.version,
            "label": protocol.label,
            "about": protocol.about,
            "evaluation": {
                "data": f"{protocol.name.partition('_hpe')[0]}"
                + (" (a part of it)" if options.subset else ""),
                "dataset_version": "",
                "hands": len(number),
                "box_source": "unknown",
                "root_source": "as in the file",
                "left_hands": "as in the file",
                "label_rule": "from --levels" if options.levels else "none",
            },
            "method": dict.fromkeys(METHOD_CONDITIONS, "unknown"),
        },
        metrics={name: estimate(per_sample[name], clusters) for name in names},
        levels=levels,
        per_sample={**per_sample, **who},
        provenance={
            "versions": versions(),
            "hashes": {"predictions": files.sha256(path)},
            "on_nan": options.on_nan,
            "assume_frame": options.assume_frame or "as in the file",
            "predictions": {"method": path.stem},
        },
    )
    if text:
        files.write_text(out / "scores.txt", text)
    result.write(out)
    return replace(result, folder=out)


def _json(
    path: Path, ground_truth: Path, protocol: str, options: Options
) -> tuple[dict[str, NDArray], NDArray, str]:
    with _unpacked(path) as plain:
        pred, true = index(plain, 2), ho3d.read_truth(ground_truth)
        ho3d.check_counts(protocol, pred, true, options.subset)
        wanted = "opencv" if protocol == "freihand" else "opengl"
        if options.assume_frame not in (None, wanted):
            pred = [replace(each, factor=OPENGL) for each in pred]
        _warn(
            pred[0].read(0, len(pred[0])),
            true[0].read(0, len(true[0])),
            "ours" if protocol == "freihand" else "ho3d",
        )
        scores = ho3d.evaluate(pred, true, protocol, options.on_nan)
    return dict(scores.per_sample), np.arange(len(pred[0])), scores.text()


def _dexycb(path: Path, ground_truth: Path) -> tuple[dict[str, NDArray], NDArray, str]:
    if ground_truth.suffix != ".npz":
        raise HandbenchError(
            "--ground-truth for dexycb_hpe: an .npz with joint_3d (N,21,3) in metres, row = index"
        )
    try:
        with np.load(ground_truth, allow_pickle=False) as arrays:
            joint_3d = arrays["joint_3d"]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{ground_truth}: no array joint_3d can be read ({error})") from error
    if joint_3d.ndim != 3 or joint_3d.shape[1:] != (21, 3):
        raise DataError(f"{ground_truth}: joint_3d is {joint_3d.shape}, expected (N, 21, 3)")
    results = dexycb.read_results(path)
    scores = dexycb.evaluate(results, joint_3d)
    pred = np.stack([results[int(i)] for i in scores.index]) / 1000
    _warn(pred, joint_3d[scores.index].astype(float), "ours")
    rows: dict[str, NDArray] = {}
    for row, name in zip(dexycb.ROWS, ("raw_", "", "pa_")):
        rows[f"{name}mpjpe_mm"] = scores.errors_mm[row].mean(1)
        rows[f"{name}auc50_joints"] = auc(scores.errors_mm[row])
        rows[f"{name}joint_errors_mm"] = scores.errors_mm[row].astype(np.float32)
    return rows, scores.index, ""


def _warn(joints_m: NDArray, target_m: NDArray, order: str) -> None:
    for each in suspicions(joints_m, target_m, order)[:2]:
        advice = "; --assume-frame converts" if each.change == "frame" else ""
        say(
            f"warning: the predictions fit {each.times:.0f} times better when changed: "
            f"{each.told}. Scores below are for the file as it is{advice}"
        )


@contextmanager
def _unpacked(path: Path) -> Iterator[Path]:
    """pred.json itself, or the one inside a zip."""
    if not path.is_file():
        raise DataError(f"{path} does not exist")
    if path.suffix != ".zip":
        yield path
        return
    try:
        with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
            names = [name for name in archive.namelist() if Path(name).name == "pred.json"]
            if len(names) != 1:
                raise DataError(f"{path} holds {len(names)} files named pred.json, expected one")
            yield Path(archive.extract(names[0], folder))
    except zipfile.BadZipFile as error:
        raise DataError(f"{path} is no whole zip file: {error}") from error


def read_levels(path: Path | None, number: NDArray) -> NDArray[np.int64]:
    """Occlusion level (index into LEVELS, -1 unknown) of official indices, from `show --levels`."""
    found = np.full(len(number), -1)
    if path is None:
        return found
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        known = {int(row["official_index"]): LEVELS.index(row["level"]) for row in rows}
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except (KeyError, ValueError) as error:
        raise DataError(
            f"{path} is no level list ({error}): it needs official_index and level as "
            "handbench show NAME/SPLIT --levels writes them"
        ) from error
    for k, each in enumerate(number):
        found[k] = known.get(int(each), -1)
    if (found < 0).all():
        raise DataError(f"{path}: no official_index of it is among the scored samples")
    return found


def _takes(ground_truth: Path, number: NDArray) -> dict[str, NDArray]:
    """Sequence and recording of each sample from evaluation.txt, where it stands by the truth.

    A recording is a HO-3D sequence without its last digit, the camera. Without the list all
    samples count as one recording, so no interval is given.
    """
    lone = {name: np.zeros(len(number), np.int64) for name in ("sequence", "recording")}
    for folder in (ground_truth, ground_truth.parent):
        listed = folder / "evaluation.txt"
        if listed.is_file():
            lines = [line.split("/")[0] for line in listed.read_text().split()]
            if len(lines) > int(number.max()):
                names = np.array(lines)[number]
                takes: Any = [re.sub(r"\d$", "", name) for name in names]
                return {
                    "sequence": np.unique(names, return_inverse=True)[1],
                    "recording": np.unique(takes, return_inverse=True)[1],
                }
    return lone
