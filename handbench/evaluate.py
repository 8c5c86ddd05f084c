"""Scoring runs and files: what is missing is made, what is up to date is kept."""

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from handbench import files, predictions, result
from handbench.console import amount, say
from handbench.errors import HandbenchError, MissingPackage
from handbench.inference.freshness import is_current
from handbench.official.run import PROTOCOLS as OFFICIAL
from handbench.official.run import Options as Asked
from handbench.official.run import evaluate_official
from handbench.official.suspects import warn
from handbench.protocol import get
from handbench.result import Result
from handbench.scoring.images import shapes_of
from handbench.scoring.score import score
from handbench.scoring.truth import Truth, of_split
from handbench.store import Split, open_split
from handbench.training import runs


def evaluate_run(
    run: runs.Run,
    split_name: str | None = None,
    device: str = "auto",
    on_nan: str = "error",
    force: bool = False,
    boxes: str | None = None,
) -> Result:
    """Predict where predictions are missing or older than the weights, then score.

    boxes: another box source than the recipe's. Results stand beside the predictions. Raises
    MissingPackage when a prediction is needed and torch is not installed.
    """
    name = split_name or runs.data_split(run.recipe().data, runs.TEST)
    path = run.predictions(name, boxes)
    if not is_current(run, name, boxes):
        if find_spec("torch") is None:
            raise MissingPackage("torch", "train", f"predicting {name} with {run.name}")
        from handbench.inference.predict import predict

        predict(run, name, device, force=True, boxes=boxes)
    return evaluate_file(path, open_split(name), "handbench", path.parent, on_nan, force)


def evaluate_file(
    path: Path,
    split: Split,
    protocol_name: str,
    out: Path,
    on_nan: str = "error",
    force: bool = False,
) -> Result:
    """Score a prediction file against a prepared split into out, unless that has been done.

    Done means: result.json there names the same protocol, metrics, predictions and data.
    """
    protocol = get(protocol_name)
    hashes = {
        "predictions": files.sha256(path),
        "data": files.sha256(split.folder / "index.h5"),
        "protocol": protocol.label,
        "metrics": " ".join(protocol.metrics),
        "on_nan": on_nan,
    }
    if not force and (out / "result.json").is_file():
        try:
            found = result.read(out)
        except HandbenchError as error:
            say(f"scoring again: {error}")
        else:
            if found.provenance["hashes"] == hashes:
                return found
    given = predictions.read(path)
    shapes = shapes_of(split, given)
    scored = score(given, of_split(split), protocol, on_nan, hashes, shapes)
    name = predictions.called(path)
    scored = replace(scored, provenance={"name": name, **scored.provenance})
    scored.write(out)
    return replace(scored, folder=out)


def evaluate_anybody(
    path: Path,
    ground_truth: str,
    protocol_name: str,
    out: Path,
    asked: Asked = Asked(),  # noqa: B008 (frozen)
    force: bool = False,
    adapter: str | None = None,
) -> Result:
    """Score a prediction file from elsewhere; result.json, per_sample.npz and report.html in out.

    ground_truth is a prepared split, or for official protocols official files. With an adapter path
    is another project's dump; it becomes out/predictions.h5 first.
    """
    get(protocol_name)
    if adapter is not None:
        path = adapted(path, ground_truth, adapter, out)
    if protocol_name in OFFICIAL:
        found = evaluate_official(path, ground_truth, protocol_name, out, asked)
    else:
        split = open_split(ground_truth)
        warn_of_mistakes(predictions.read(path), of_split(split))
        found = evaluate_file(path, split, protocol_name, out, asked.on_nan, force)
    from handbench.showing.report import write

    write([[found]], out / "report.html")
    return found


def adapted(path: Path, ground_truth: str, adapter: str, out: Path) -> Path:
    """out/predictions.h5 made from a dump. Raises HandbenchError when another file stands there."""
    from handbench.official.adapters import adapt

    made = out / "predictions.h5"
    found = adapt(path, adapter, open_split(ground_truth))
    if made.is_file() and "adapter" not in predictions.attributes(made):
        raise HandbenchError(f"{made} would be overwritten: name another folder with --out")
    found.write(made)
    say(f"{path}: {amount(len(found), 'hand')} read by adapter {adapter}, written to {made}")
    return made


def warn_of_mistakes(given: predictions.Predictions, truth: Truth) -> None:
    """Say on stderr when the hands found in both look like another unit, frame, order or side."""
    place = {key: row for row, key in enumerate(zip(given.id.tolist(), given.is_left.tolist()))}
    keys = zip(truth.id.tolist(), truth.is_left.tolist())
    row = np.array([place.get(key, -1) for key in keys])
    joints, valid, _ = truth.joints_m()
    common = (row >= 0) & valid.all(1)
    warn(given.joints_m[row[common]], joints[common], "ours", truth.is_left[common])


def collect(
    names: Sequence[str], split_name: str | None = None, added: Sequence[str] = ()
) -> list[Result]:
    """Results by run or file; without names those of every run, on all splits they were scored on.

    added: further ones, each once. Raises HandbenchError when there is nothing, or a named run was
    not scored.
    """
    more = [_result(name, split_name) for name in added]
    found = [_result(name, split_name) for name in names]
    for run in () if names else runs.every():
        for path in sorted(run.path.glob("**/result.json")):
            each = result.read(path)
            if split_name in (None, each.protocol["evaluation"]["data"]):
                found.append(each)
    known = {each.folder.resolve() for each in found if each.folder is not None}
    found += [each for each in more if each.folder and each.folder.resolve() not in known]
    if not found:
        raise HandbenchError(
            f"no scored run in {files.runs_dir()}: run  handbench eval --all  first"
        )
    return found


def _result(name: str, split_name: str | None) -> Result:
    path = Path(name)
    if path.is_file() or (path / "result.json").is_file():
        return result.read(path)
    run = runs.find(name)
    folder = run.folder(split_name) if split_name else run.path
    if not (folder / "result.json").is_file():
        chosen = f" --data {split_name}" if split_name else ""
        raise HandbenchError(f"{folder} has no result yet: run  handbench eval {run.name}{chosen}")
    return result.read(folder)
