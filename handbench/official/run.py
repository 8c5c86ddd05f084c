"""An official prediction file and ground truth -> the official numbers and a Result."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbench import files
from handbench.console import amount, say
from handbench.official import dexycb, ho3d
from handbench.official.hands import CONVENTIONS, kind_of
from handbench.official.inputs import Case, Options, dexycb_case, json_case
from handbench.official.suspects import warn
from handbench.predictions import called
from handbench.protocol import EVALUATION_CONDITIONS, METHOD_CONDITIONS, get
from handbench.result import Result, versions
from handbench.rules import LEVELS
from handbench.scoring.curves import auc
from handbench.scoring.held import GROUPS
from handbench.scoring.stats import estimate

JSON_PROTOCOLS = tuple(ho3d.OFFICIAL_SAMPLES)
PROTOCOLS = (*JSON_PROTOCOLS, "dexycb_hpe")


def evaluate_official(
    path: Path, ground_truth: str | Path, protocol_name: str, out: Path, options: Options
) -> Result:
    """Score path into out: scores.txt where the official tool writes one, and a Result.

    path: the official prediction file or a predictions.h5; ground_truth: official files or a
    prepared split. Warns on stderr when the predictions look like another unit, frame, order or
    side.
    """
    if protocol_name == "dexycb_hpe":
        case = dexycb_case(path, str(ground_truth), options)
        per_sample, text = _dexycb(case, options.on_nan), ""
    else:
        with json_case(path, str(ground_truth), protocol_name, options) as case:
            per_sample, text = _json(case, protocol_name, options)
    result = _result(path, case, per_sample, protocol_name, options)
    if text:
        files.write_text(out / "scores.txt", text)
    result.write(out)
    for title in GROUPS:
        if title in result.levels and result.levels[title]["mpjpe_mm"].n:
            found = result.levels[title]["mpjpe_mm"]
            say(f"{title}: {amount(found.n, 'hand')}, MPJPE {found.value:.2f} mm")
    return replace(result, folder=out)


def _json(case: Case, protocol: str, options: Options) -> tuple[dict[str, NDArray], str]:
    assert case.pred is not None and case.true is not None
    ho3d.check_counts(protocol, case.pred, case.true, options.subset)
    kind = kind_of(protocol)
    joints = case.pred[0].read(0, len(case.pred[0]))
    target = case.true[0].read(0, len(case.true[0]))
    order = "ours" if kind == "freihand" else "ho3d"
    advice = "" if case.made else "; --assume-frame converts"
    warn(joints, target, order, advice=advice, ahead=CONVENTIONS[kind].axes[2])
    scores = ho3d.evaluate(case.pred, case.true, protocol, options.on_nan)
    per_sample = dict(scores.per_sample)
    for name in ("joint_errors_mm", "pa_joint_errors_mm"):
        per_sample[name] = CONVENTIONS[kind].ours(per_sample[name])
    return per_sample, scores.text()


def _dexycb(case: Case, on_nan: str) -> dict[str, NDArray]:
    assert case.joint_3d is not None
    scores = dexycb.evaluate(case.results, case.joint_3d, on_nan)
    pred = np.stack([case.results[int(i)] for i in scores.index]) / 1000
    target = case.joint_3d[scores.index].astype(float)
    warn(pred, target, "ours", case.who["is_left"], ahead=CONVENTIONS["dexycb"].axes[2])
    rows: dict[str, NDArray] = {}
    for row, name in zip(dexycb.ROWS, ("raw_", "", "pa_")):
        # a wrist put on the true one leaves no error in the camera frame to measure
        if name == "raw_" and "true wrist" in case.evaluation["root_source"]:
            continue
        rows[f"{name}mpjpe_mm"] = scores.errors_mm[row].mean(1)
        rows[f"{name}auc50_joints"] = auc(scores.errors_mm[row])
        rows[f"{name}joint_errors_mm"] = scores.errors_mm[row].astype(np.float32)
    return rows


def _result(
    path: Path, case: Case, per_sample: Mapping[str, NDArray], protocol_name: str, options: Options
) -> Result:
    protocol = get(protocol_name)
    names = [name for name in protocol.metrics if name in per_sample]
    clusters = case.who["recording"]
    groups = {title: case.who["level"] == k for k, title in enumerate(LEVELS)}
    if protocol_name == "dexycb_hpe" and "held" in case.who:
        groups |= {title: case.who["held"] == k for title, k in GROUPS.items()}
    evaluation: dict[str, Any] = dict.fromkeys(EVALUATION_CONDITIONS, "unknown")
    evaluation |= {
        "dataset_version": "",
        "left_hands": "as in the file",
        "hands": len(case.number),
        **case.evaluation,
    }
    made = {name: v for name, v in case.made.items() if isinstance(v, (str, int, float, bool))}
    return Result(
        protocol={
            "name": protocol.name,
            "version": protocol.version,
            "label": protocol.label,
            "about": protocol.about,
            "evaluation": evaluation,
            "method": {name: made.get(name, "unknown") for name in METHOD_CONDITIONS},
        },
        metrics={name: estimate(per_sample[name], clusters) for name in names},
        levels={
            title: {name: estimate(per_sample[name][part], clusters[part]) for name in names}
            for title, part in groups.items()
        },
        per_sample={**per_sample, **case.who},
        provenance={
            **_provenance(path, made, options),
            # dropped ones; --on-nan worst has put numbers into the others
            "non_finite": int(np.any([np.isnan(per_sample[name]) for name in names], axis=0).sum()),
        },
    )


def _provenance(path: Path, made: Mapping[str, Any], options: Options) -> dict[str, Any]:
    return {
        "versions": versions(),
        "hashes": {"predictions": files.sha256(path)},
        "on_nan": options.on_nan,
        "assume_frame": options.assume_frame or "as in the file",
        "predictions": {"method": called(path), **made},
    }
