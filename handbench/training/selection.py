"""Which hands validate a run, and their error. The test split chooses nothing."""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from handbench import files
from handbench.errors import DataError
from handbench.loading.batch import Samples, to_torch
from handbench.loading.feeding import loading_threads
from handbench.loading.loader import batches
from handbench.training.distributed import team
from handbench.training.recipe import Recipe
from handbench.training.runs import TRAIN, VAL, data_split

VALIDATED = 512  # hands at most, evenly spaced: enough to follow and to choose
EVERY = 20  # of recordings, or of frames
BATCH = 32


def own_split(recipe: Recipe) -> str | None:
    """The data's prepared validation split, where the recipe validates on it.

    None without one. Raises DataError when the best weights are to be chosen by a missing one.
    """
    if recipe.validation != "split":
        return None
    name = data_split(recipe.data, VAL)
    if (files.data_dir() / name / "index.h5").is_file():
        return name
    if recipe.checkpoint == "best":
        raise DataError(
            f"checkpoint=best needs {name}, which is not prepared; -o validation=recordings "
            "holds some recordings of the training split out instead"
        )
    return None


def held_out(samples: Samples, validation: str) -> NDArray[np.bool_]:
    """Which samples (M,) of the training split are held out of training to validate.

    recordings: all hands of every 20th recording, so that no view of a validation hand is trained
    on. released: those of every 20th image in the order of ids, as H2ONet's released loader
    does for HO-3D; neighbours of theirs a thirtieth of a second away are trained on. Raises
    DataError when a recording would leave nothing to train on.
    """
    if validation == "recordings":
        of_hand = np.asarray(samples.split.columns["recording"])[samples.rows]
        known = np.unique(of_hand)
        if len(known) < 2:
            raise DataError(f"{samples.split.name} has one recording: none can be held out")
        return np.isin(of_hand, known[::EVERY])
    if validation == "released":
        place = np.argsort(np.argsort(samples.ids, kind="stable"))
        return place[samples.rows] % EVERY == 0
    return np.zeros(len(samples), bool)


def described(recipe: Recipe) -> str:
    """How the weights that predict were chosen, for protocols."""
    if recipe.checkpoint == "last":
        return "last"
    if recipe.validation == "split":
        return f"best on {data_split(recipe.data, VAL)}"
    kind = {"recordings": "recordings", "released": "images (released rule)"}[recipe.validation]
    return f"best on every {EVERY}th of the {kind} of {data_split(recipe.data, TRAIN)}, held out"


@torch.no_grad()
def mpjpe_mm(
    method: Any, samples: Samples, chosen: NDArray, device: torch.device, most: int = VALIDATED
) -> float:
    """Mean wrist-relative joint error in mm of up to `most` of the chosen samples (K,).

    In float32. Every process takes a part of the batches; each hand counts once. NaN where no
    joint of theirs is annotated.
    """
    places = np.linspace(0, len(chosen) - 1, min(len(chosen), most)).astype(np.int64)
    parts = np.array_split(chosen[places], -(-len(places) // BATCH))
    mine = parts[team().rank :: team().size]
    sums = torch.zeros(2, dtype=torch.float64, device=device)
    method.eval()
    for arrays in batches(samples, ((0, part) for part in mine), loading_threads(device)):
        batch = to_torch(arrays, device)
        errors = (method(batch)["joints_m"] - batch["joints_m"]).norm(dim=-1)
        sums[0] += (errors * batch["valid_joints"]).sum()
        sums[1] += batch["valid_joints"].sum()
    total, count = team().total(sums).tolist()
    return 1000 * total / count if count else math.nan
