"""A trained run's predictions for a prepared split, written batch by batch."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from handbench import checkpoint, files, hand_layer, predictions
from handbench.console import amount, progress, say
from handbench.errors import HandbenchError
from handbench.inference.freshness import is_current
from handbench.inference.joints import check_truth, stem_of, use
from handbench.loading.batch import Samples, to_torch
from handbench.loading.feeding import loading_threads
from handbench.loading.loader import batches, once
from handbench.loading.pairs import counts, rows_of
from handbench.training.distributed import team
from handbench.training.recipe import Recipe
from handbench.training.runs import TEST, TRAIN, Run, data_split, find
from handbench.training.selection import described
from handbench.training.train import pick_device, samples_for

BATCH = 64


def predict(
    run: Run,
    split: str | None = None,
    device: str = "auto",
    threads: int = 1,
    force: bool = False,
    boxes: str | None = None,
    joints: Path | None = None,
) -> Path:
    """Predict a split (default: the test split of the run's data) with a run's weights.

    Only the batch keys that the method declares in `inputs` reach it. Left hands are un-mirrored.
    boxes: another box source than the recipe's (crop.SOURCES). joints: a source of 2D joints
    (joints.py), whose predictions stand in a folder of its own. A file that is up to date is left
    alone. Returns its path.
    """
    name = split or data_split(run.recipe().data, TEST)
    path = run.predictions(name, boxes)
    if joints:
        path = path.parent / f"joints-{stem_of(joints)}" / path.name
    elif not force and is_current(run, name, boxes):
        say(f"{path} is up to date; --force predicts again")
        return path
    torch.set_num_threads(threads)
    where = pick_device(device)
    method, recipe, state = checkpoint.trained(run)
    recipe = replace(recipe, box_source=boxes or recipe.box_source)
    method.to(where)
    samples = samples_for(recipe, method, name, False)
    if not len(samples):
        raise HandbenchError(f"{name} holds no annotated hand: nothing to predict")
    if samples.whole_images:
        say(
            f"{samples.whole_images} of {len(samples):,} hands have no box and show the whole image"
        )
    if joints:
        use(method, samples, joints)
    else:
        check_truth(method, samples)
    attributes = conditions(method, recipe, state, samples)
    # the same network, faster; outputs differ by rounding
    asked = method.for_inference() if hasattr(method, "for_inference") else method
    with progress(f"predict {recipe.method}/{recipe.variant}", len(samples), "hands") as advance:
        write(path, asked, samples, where, attributes, advance)
    team().wait()
    say(f"{path}: {amount(len(samples), 'hand')}")
    return path


def joints_file(source: str, split: str, device: str = "auto", threads: int = 1) -> Path:
    """The file of a source of 2D joints: itself, or a RUN's predictions, made where missing."""
    if Path(source).is_file():
        return Path(source)
    return predict(find(source), split, device, threads)


@torch.inference_mode()
def write(
    path: Path,
    method: Any,
    samples: Samples,
    device: torch.device,
    attributes: dict[str, Any],
    advance: Any = lambda steps: None,
) -> None:
    """Runs the method over all samples in order into a prediction file, never all in memory.

    In a team every process predicts each size-th batch, and the first one writes them all.
    """
    stream = made(method, samples, device)
    if not team().first:
        for _ in stream:
            pass
        return
    first = next(stream)
    known = predictions.HAND_ARRAYS | predictions.IMAGE_ARRAYS
    kept = [name for name in first[1] if name in known]
    rows, images = counts(samples)
    with predictions.writing(path, rows, kept, attributes, images) as add:
        for index, found in chain([first], stream):
            add(**found)
            advance(len(index))


def made(
    method: Any, samples: Samples, device: torch.device
) -> Iterator[tuple[NDArray, dict[str, NDArray]]]:
    """Yields (index (B,), pairs.rows_of) batch by batch in the order of the samples.

    In a team the first process gets all batches, the others their own.
    """
    parts = [*once(len(samples), BATCH)]
    mine = batches(samples, parts[team().rank :: team().size], loading_threads(device))
    for _ in range(-(-len(parts) // team().size)):
        done = None
        for arrays in islice(mine, 1):
            batch = to_torch({key: arrays[key] for key in method.inputs}, device)
            batch.setdefault("is_left", torch.from_numpy(arrays["is_left"]))
            done = arrays["index"], rows_of(samples, arrays, method(batch))
        yield from (each for each in team().collect(done) if each is not None)


def conditions(
    method: Any, recipe: Recipe, state: checkpoint.State, samples: Samples
) -> dict[str, Any]:
    """How these predictions came about: what a protocol prints beside the numbers.

    A method with `conditions()` adds its own, or says more of one, as of an input's source.
    """
    rule = "closed form" if hasattr(method, "fit") else described(recipe)
    return {
        "root_source": "none",
        "method": recipe.method,
        "variant": recipe.variant,
        "preset": recipe.preset,
        "seed": recipe.seed,
        "data": samples.split.name,
        "inputs": ", ".join(method.inputs) or "none",
        "frames": samples.neighbours.told() if method.frames > 1 else 1,
        "crop_px": method.crop_px,
        "box_source": f"{samples.box_source} x {samples.box_factor:g}",
        "whole_images": samples.whole_images,
        "initialisation": initialisation(recipe),
        "training_data": " + ".join(
            data_split(data, TRAIN) for data in (recipe.data, *recipe.more_data.split())
        ),
        "steps": state["step"],
        "checkpoint_rule": rule + (f", averaged (decay {recipe.ema:g})" if recipe.ema else ""),
        "trained_in": trained_in(recipe, state.get("processes", 1)),
        "checkpoint_sha256": files.sha256(state["path"]),
        "parameters": sum(p.numel() for p in method.parameters()),
        "hand_model": f"{samples.hand.kind} {samples.hand.sha256}",
        "hand_layer": hand_layer.chosen(),
        **(method.conditions() if hasattr(method, "conditions") else {}),
    }


def trained_in(recipe: Recipe, processes: int) -> str:
    """Numbers and batches of training, as `fp32, batch 32` with what batch norm saw of it."""
    parts = processes * recipe.accumulate
    told = f"{recipe.precision}, batch {recipe.batch}"
    norm = {
        "local": f"batch norm un-synchronised over {parts} parts" if parts > 1 else "",
        "sync": "batch norm synchronised over processes" if processes > 1 else "",
        "frozen": "batch norm frozen",
    }[recipe.batch_norm]
    return f"{told}, {norm}" if norm else told


def initialisation(recipe: Recipe) -> str:
    """What the weights were before the first step."""
    if recipe.start:
        return f"weights of {recipe.start}"
    return f"backbone {recipe.backbone[:12]}" if recipe.backbone else "random"
