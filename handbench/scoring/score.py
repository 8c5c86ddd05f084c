"""Predictions + truth + protocol -> Result."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbench.console import amount
from handbench.errors import DataError, UnknownName
from handbench.predictions import Predictions
from handbench.protocol import EVALUATION_CONDITIONS, INTERACTION, METHOD_CONDITIONS, Protocol
from handbench.result import Result, versions
from handbench.rules import LEVELS
from handbench.scoring.aggregate import by_cluster, means, occlusion, spread
from handbench.scoring.mssd import Shape
from handbench.scoring.perhand import chunks, labels_of, measure_all
from handbench.scoring.truth import Truth

ON_NAN = ("error", "drop", "worst")


def score(
    predictions: Predictions,
    truth: Truth,
    protocol: Protocol,
    on_nan: str = "error",
    hashes: Mapping[str, str] | None = None,
    shapes: Mapping[str, Shape] | None = None,
) -> Result:
    """Score predictions against a prepared split.

    Every hand of the truth must have its prediction, found by id and side; further predictions are
    ignored. on_nan says what a non-finite prediction does: stop with its name, drop the hand, or
    count every point of it as 1,000 mm away. shapes: object name -> Shape, which MSSD needs.
    Raises DataError for predictions that lack a hand or are not finite, UnknownName for on_nan.
    """
    if on_nan not in ON_NAN:
        raise UnknownName("answer to predictions that are not finite", on_nan, ON_NAN)
    order = match(predictions, truth, protocol)
    broken = np.asarray(~np.isfinite(predictions.joints_m[order]).all((1, 2)))
    if predictions.verts_m is not None:
        for part in chunks(len(order)):
            broken[part] |= ~np.isfinite(predictions.verts_m[order[part]]).all((1, 2))
    if broken.any() and on_nan == "error":
        first = int(np.flatnonzero(broken)[0])
        raise DataError(
            f"{int(broken.sum())} of {len(order)} predictions are not finite, the first is "
            f"'{truth.id[first]}': mend them, or choose --on-nan drop or --on-nan worst"
        )
    per_sample = measure_all(predictions, truth, protocol, order, broken, on_nan, shapes or {})
    per_sample |= labels_of(truth)
    names = [name for name in protocol.metrics if name in per_sample]
    parts = {"": np.ones(len(truth), bool), **groups(per_sample, protocol)}
    told = {
        title: means(per_sample, names, chosen, protocol.average) for title, chosen in parts.items()
    }
    metrics = told.pop("") | spread(per_sample, names, per_sample["recording"])
    if "occlusion_acc" in names:
        metrics |= occlusion(per_sample)
    return Result(
        protocol=conditions(predictions, truth, protocol),
        metrics=metrics,
        levels=told,
        clusters={
            key: by_cluster(per_sample, names, key, titles)
            for key, titles in truth.clusters().items()
        },
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


def groups(per_sample: Mapping[str, NDArray], protocol: Protocol) -> dict[str, NDArray]:
    """Name -> which hands (M,) bool: the occlusion levels, and the protocol's own groups."""
    found = {title: per_sample["level"] == k for k, title in enumerate(LEVELS)}
    for title in protocol.groups:
        found[title] = per_sample["interacting"] == INTERACTION.index(title)
    return found


def match(predictions: Predictions, truth: Truth, protocol: Protocol) -> NDArray[np.int64]:
    """Row in the predictions of each true hand, (M,). Raises DataError when some are missing."""
    rows = {
        (name, bool(left)): row
        for row, (name, left) in enumerate(zip(predictions.id.tolist(), predictions.is_left))
    }
    if len(rows) != len(predictions):
        raise DataError(
            f"{amount(len(predictions) - len(rows), 'hand')} predicted twice (same id and side): "
            "keep one prediction of each"
        )
    wanted = list(zip(truth.id.tolist(), truth.is_left.tolist()))
    missing = [key for key in wanted if key not in rows]
    if missing:
        name, left = missing[0]
        known = set(wanted)
        turned = sum(key in rows and key not in known for key in ((n, not s) for n, s in missing))
        swapped = ": images have the other side's prediction, so is_left seems to be turned round"
        raise DataError(
            f"predictions cover {len(wanted) - len(missing)} of the {len(wanted)} hands of "
            f"{truth.split.name}; the first missing is the {'left' if left else 'right'} hand of "
            f"'{name}'{swapped if 2 * turned > len(missing) else ''}"
        )
    return np.array([rows[key] for key in wanted])


def conditions(predictions: Predictions, truth: Truth, protocol: Protocol) -> dict[str, Any]:
    """The protocol with its evaluation and method conditions filled in, JSON-able."""
    made = predictions.attributes
    split = truth.split
    untold = "none" if predictions.root_m is None else "not stated"
    evaluation = {
        "data": split.name,
        "dataset_version": str(split.attributes.get("dataset_version", "")),
        "hands": len(truth),
        "box_source": str(made.get("box_source", "unknown")),
        "root_source": f"{protocol.root}, camera position: {made.get('root_source', untold)}",
        "left_hands": protocol.left_hands,
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


def _simple(value: Any) -> bool:
    return isinstance(value, (str, int, float, bool))
