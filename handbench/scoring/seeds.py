"""Several trainings of one method that differ in their seed alone, as one result."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from handbench.protocol import INTERACTION, PROTOCOLS
from handbench.result import Result
from handbench.rules import LEVELS
from handbench.scoring.aggregate import BY_JOINT
from handbench.scoring.metrics import METRICS
from handbench.scoring.stats import Estimate, over_seeds

SAME = ("method", "variant", "preset", "training_data", "initialisation", "box_source")


def pooled(results: Sequence[Result]) -> list[Result]:
    """Results in their order, those that differ in the seed alone joined into one.

    A joined result has each hand's mean over the seeds, intervals over recordings and seeds
    (nested bootstrap), and provenance "seeds": how many, "seed_values": the MPJPE of each.
    """
    groups: dict[tuple, list[Result]] = {}
    for k, each in enumerate(results):
        made = each.provenance["predictions"]
        known = "seed" in made and "method" in made
        key = (
            (str(each.protocol["label"]), str(each.protocol["evaluation"]))
            + tuple(str(made.get(name)) for name in SAME)
            if known
            else (k,)
        )
        groups.setdefault(key, []).append(each)
    found = []
    for group in groups.values():
        found += [join(group)] if _distinct(group) else group
    return found


def join(results: Sequence[Result]) -> Result:
    """One result of several on the same hands (see pooled)."""
    first = results[0]
    per_sample = dict(first.per_sample)
    for name in (*METRICS, *BY_JOINT.values()):
        if all(name in each.per_sample for each in results):
            per_sample[name] = np.mean([each.per_sample[name] for each in results], axis=0)
    protocol = PROTOCOLS.get(first.protocol["name"])
    by_joint = BY_JOINT if protocol is not None and protocol.average == "joint" else {}

    def over(names: Sequence[str], part: str) -> dict[str, Estimate]:
        chosen = _chosen(first.per_sample, part)
        clusters = first.per_sample["recording"][chosen]
        found = {}
        for name in names:
            parts = [each.levels[part] if part else each.metrics for each in results]
            if name in first.per_sample and name not in by_joint:
                values = [each.per_sample[name][chosen] for each in results]
                found[name] = over_seeds(values, clusters)
            else:  # no mean over hands: no nested bootstrap either
                e = parts[0][name]
                mean = float(np.mean([part[name].value for part in parts]))
                found[name] = Estimate(mean, float("nan"), float("nan"), e.n, e.clusters)
        return found

    def shared(rows: Sequence[Mapping[str, Estimate]]) -> list[str]:
        return [name for name in rows[0] if all(name in row for row in rows)]

    made = {k: v for k, v in first.provenance["predictions"].items() if k != "seed"}
    made["seeds"] = len(results)
    made["seed_values"] = ", ".join(f"{each.metrics['mpjpe_mm'].value:.2f}" for each in results)
    return replace(
        first,
        metrics=over(shared([each.metrics for each in results]), ""),
        levels={
            part: over(shared([each.levels[part] for each in results]), part)
            for part in first.levels
        },
        per_sample=per_sample,
        provenance={**first.provenance, "predictions": made},
        clusters={},
    )


def _distinct(group: Sequence[Result]) -> bool:
    """Whether these are several seeds on the same hands, not one run read twice."""
    seeds = {each.provenance["predictions"].get("seed") for each in group}
    first = group[0].per_sample
    return 1 < len(group) == len(seeds) and all(
        np.array_equal(first[name], each.per_sample[name])
        for each in group
        for name in ("id", "is_left")
    )


def _chosen(per_sample: Mapping[str, NDArray], part: str) -> NDArray:
    if part in LEVELS:
        return per_sample["level"] == LEVELS.index(part)
    if part in INTERACTION:
        return per_sample["interacting"] == INTERACTION.index(part)
    return np.ones(len(per_sample["level"]), bool)
