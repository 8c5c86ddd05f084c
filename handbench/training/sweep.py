"""Several runs as one piece of work: variants and settings, resumed as a whole, shared out."""

import csv
import itertools
import math
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from handbench.console import say
from handbench.errors import HandbenchError
from handbench.training.distributed import team
from handbench.training.recipe import Recipe
from handbench.training.runs import Run, run_of
from handbench.training.stopping import Occupied


@dataclass(frozen=True)
class Setting:
    """One run of a sweep: recipe overrides `key=value`, seed (None: not swept), label."""

    overrides: tuple[str, ...] = ()
    seed: int | None = None
    label: str | None = None

    def flags(self, given: dict[str, Any]) -> dict[str, Any]:
        """Flags of recipe.make with this setting's seed and label over the given ones."""
        labels = [text for text in (given["label"], self.label) if text]
        seed = given["seed"] if self.seed is None else self.seed
        return {**given, "seed": seed, "label": "-".join(labels) or None}


def settings(sweeps: Sequence[str]) -> list[Setting]:
    """All combinations of `key=A,B,C`; the label is what ends a run's folder: lr=0.01-width=8.

    `seed` is swept by its own place in folders' names. Values with commas stand in brackets as
    TOML has them: milestones=[0.5],[0.7]. Raises HandbenchError.
    """
    axes = [_axis(text) for text in sweeps]
    names = [key for key, _ in axes]
    if len(set(names)) < len(names):
        raise HandbenchError("--sweep names a key twice: give its values in one, KEY=A,B,C")
    found = []
    for combination in itertools.product(*(values for _, values in axes)):
        chosen = dict(zip(names, combination))
        seed = chosen.pop("seed", None)
        if seed is not None and not seed.isdigit():
            raise HandbenchError(f"--sweep seed={seed}: a seed is a whole number")
        overrides = tuple(f"{key}={value}" for key, value in chosen.items())
        label = "-".join(overrides).replace("/", "_").replace(" ", "") or None
        found.append(Setting(overrides, None if seed is None else int(seed), label))
    return found


def _axis(text: str) -> tuple[str, list[str]]:
    key, equals, values = text.partition("=")
    if not equals or not key.strip() or not values.strip():
        raise HandbenchError(f"--sweep {text}: write it as KEY=A,B,C, as in --sweep lr=0.01,0.003")
    try:
        items = [str(item) for item in tomllib.loads(f"x = [{values}]")["x"]]
    except tomllib.TOMLDecodeError:
        items = values.split(",")
    return key.strip(), list(dict.fromkeys(item.strip() for item in items))


def train_all(
    recipes: Sequence[Recipe], train: Callable[[Recipe], Run], shard: tuple[int, int] = (1, 1)
) -> list[Run]:
    """Trains recipes one after another; returns the runs that are trained.

    shard (i, n): every n-th recipe from the i-th. A run that another process has is left to it,
    and one that fails does not keep the others from being trained. Raises HandbenchError at the
    end when some failed; the same call again goes on with what is left.
    """
    done: list[Run] = []
    failed: list[str] = []
    mine = recipes[shard[0] - 1 :: shard[1]]
    for recipe in mine:
        try:
            done.append(train(recipe))
        except HandbenchError as error:
            if len(recipes) == 1 or team().size > 1:
                raise
            name = run_of(recipe).name
            say(f"{name}: {error}")
            if not isinstance(error, Occupied):
                failed.append(name)
    if failed:
        raise HandbenchError(f"{len(failed)} of {len(mine)} runs failed: {', '.join(failed)}")
    return done


def ranking(runs: Sequence[Run]) -> list[tuple[float, str]]:
    """(validation MPJPE in mm of the weights that predict, name) of runs that validated, the best
    first."""
    scores = []
    for run in runs:
        known = _validated(run)
        if known:
            chosen = min(known) if run.recipe().checkpoint == "best" else known[-1]
            scores.append((chosen, run.name))
    return sorted(scores)


def _validated(run: Run) -> list[float]:
    if not run.log.is_file():
        return []
    with open(run.log, newline="", encoding="utf-8") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    known = [float(row.get("val_mpjpe_mm") or "nan") for row in rows]
    return [score for score in known if math.isfinite(score)]
