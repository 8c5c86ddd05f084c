"""Predictions + truth + protocol -> Result."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbench.console import progress
from handbench.errors import DataError
from handbench.metrics import measure
from handbench.pairs import Pairs
from handbench.predictions import Predictions
from handbench.protocol import EVALUATION_CONDITIONS, METHOD_CONDITIONS, Protocol
from handbench.result import Result, versions
from handbench.rules import LEVELS
from handbench.schema import COLUMNS
from handbench.stats import Estimate, estimate
from handbench.truth import Truth

CHUNK = 1000
ON_NAN = ("error", "drop", "worst")
WORST_MM = 1000.0


def score(
    predictions: Predictions,
    truth: Truth,
    protocol: Protocol,
    on_nan: str = "error",
    hashes: Mapping[str, str] | None = None,
) -> Result:
    """Score predictions against a prepared split.

    Every hand of the truth must have its prediction, found by id and side; further predictions are
    ignored. on_nan says what a non-finite prediction does: stop with its name, drop the hand, or
    count every point of it as 1,000 mm away.
    """
    order = match(predictions, truth, protocol)
    broken = ~np.isfinite(predictions.joints_m[order]).all((1, 2))
    if predictions.verts_m is not None:
        for part in chunks(len(order)):
            broken[part] |= ~np.isfinite(predictions.verts_m[order[part]]).all((1, 2))
    if broken.any() and on_nan == "error":
        first = int(np.flatnonzero(broken)[0])
        raise DataError(
            f"{int(broken.sum())} of {len(order)} predictions are not finite, the first is "
            f"'{truth.id[first]}': mend them, or choose --on-nan drop or --on-nan worst"
        )
    per_sample = measure_all(predictions, truth, protocol, order, broken, on_nan)
    per_sample |= labels_of(truth)
    names = [name for name in protocol.metrics if name in per_sample]
    clusters = per_sample["recording"]
    metrics = {name: estimate(per_sample[name], clusters) for name in names}
    levels = {}
    for index, title in enumerate(LEVELS):
        chosen = per_sample["level"] == index
        levels[title] = _estimates(per_sample, names, chosen, clusters)
    return Result(
        protocol=conditions(predictions, truth, protocol),
        metrics=metrics,
        levels=levels,
        per_sample=per_sample,
        provenance={
            "versions": versions(),
            "hashes": dict(hashes or {}),
            "non_finite": int(broken.sum()),
            "on_nan": on_nan,
            "predictions": {
                name: value for name, value in predictions.attributes.items() if _simple(value)
            },
        },
    )


def match(predictions: Predictions, truth: Truth, protocol: Protocol) -> NDArray[np.int64]:
    """Row in the predictions of each true hand, (M,). Raises DataError when some are missing."""
    rows = {
        (name, bool(left)): row
        for row, (name, left) in enumerate(zip(predictions.id.tolist(), predictions.is_left))
    }
    if len(rows) != len(predictions):
        raise DataError(
            f"{len(predictions) - len(rows)} hands are predicted twice (same id and side): "
            "keep one prediction of each"
        )
    wanted = list(zip(truth.id.tolist(), truth.is_left.tolist()))
    missing = [key for key in wanted if key not in rows]
    if missing:
        name, left = missing[0]
        raise DataError(
            f"predictions cover {len(wanted) - len(missing)} of the {len(wanted)} hands of "
            f"{truth.split.name}; the first missing is the {'left' if left else 'right'} hand of "
            f"'{name}'"
        )
    return np.array([rows[key] for key in wanted])


def measure_all(
    predictions: Predictions,
    truth: Truth,
    protocol: Protocol,
    order: NDArray,
    broken: NDArray,
    on_nan: str,
) -> dict[str, NDArray]:
    """Every metric of the protocol for every hand, and the joint errors behind the curves."""
    joints_true, valid, wrist = truth.joints_m()
    seen, fingers = truth.joint_visible(), truth.finger_visible()
    has_root = predictions.root_m is not None and np.isfinite(predictions.root_m).all()
    parts: list[dict[str, NDArray]] = []
    with progress("score", len(order), "hands") as advance:
        for part in chunks(len(order)):
            rows = order[part]
            visible = predictions.visibility
            verts_true = None if predictions.verts_m is None else truth.verts_m(part)
            joints = predictions.joints_m[rows].astype(np.float64)
            verts = None if predictions.verts_m is None else predictions.verts_m[rows]
            pairs = Pairs(
                joints_pred_m=joints - joints[:, :1],
                joints_true_m=joints_true[part],
                joints_valid=valid[part],
                verts_pred_m=None if verts is None else verts - joints[:, :1],
                verts_true_m=verts_true,
                root_pred_m=predictions.root_m[rows] + joints[:, 0] if has_root else None,
                root_true_m=wrist[part],
                joint_visible=None if seen is None else seen[part],
                finger_visible=fingers[part],
                visibility_pred=None if visible is None else visible[rows],
                reflection=protocol.reflection,
            )
            found = measure(pairs, protocol.metrics)
            found["joint_errors_mm"] = pairs.joint_errors_mm
            found["pa_joint_errors_mm"] = pairs.pa_joint_errors_mm
            parts.append(found)
            advance(len(rows))
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if broken.any():
        for name, values in whole.items():
            worst = WORST_MM if name.endswith("mm") else 0.0
            values[broken] = worst if on_nan == "worst" else np.nan
    for name in ("joint_errors_mm", "pa_joint_errors_mm"):
        whole[name] = whole[name].astype(np.float32)
    return whole


def labels_of(truth: Truth) -> dict[str, NDArray]:
    """Who each hand is: id, side, sequence, recording, level, and the split's own extra columns."""
    found = {
        "id": truth.id,
        "is_left": truth.is_left,
        "sequence": truth.per_row("sequence"),
        "recording": truth.per_row("recording"),
        "level": truth.level(),
        "share_visible": truth.split.hand_column("visibility/scene/hand"),
    }
    for name in truth.split.columns:
        if name not in COLUMNS:  # a data set's own, such as controlled_target
            found[name] = truth.per_row(name)
    return found


def conditions(predictions: Predictions, truth: Truth, protocol: Protocol) -> dict[str, Any]:
    """The protocol with its evaluation and method conditions filled in, JSON-able."""
    made = predictions.attributes
    split = truth.split
    evaluation = {
        "data": split.name,
        "dataset_version": str(split.attributes.get("dataset_version", "")),
        "hands": len(truth),
        "box_source": str(made.get("box_source", "unknown")),
        "root_source": f"{protocol.root}, camera position: {made.get('root_source', 'none')}",
        "left_hands": "scored un-mirrored",
        "label_rule": truth.rule,
    }
    assert set(evaluation) == set(EVALUATION_CONDITIONS)
    return {
        "name": protocol.name,
        "version": protocol.version,
        "label": protocol.label,
        "about": protocol.about,
        "evaluation": evaluation,
        "method": {
            name: made[name] if _simple(made.get(name)) else "unknown" for name in METHOD_CONDITIONS
        },
    }


def chunks(total: int) -> list[slice]:
    return [slice(start, min(start + CHUNK, total)) for start in range(0, total, CHUNK)]


def _estimates(
    per_sample: Mapping[str, NDArray], names: list[str], chosen: NDArray, clusters: NDArray
) -> dict[str, Estimate]:
    return {name: estimate(per_sample[name][chosen], clusters[chosen]) for name in names}


def _simple(value: Any) -> bool:
    return isinstance(value, (str, int, float, bool))
