"""A trained run's predictions for a prepared split, written batch by batch."""

from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from handbench import checkpoint, files, hand_layer, predictions
from handbench.console import progress, say
from handbench.errors import HandbenchError
from handbench.training.batch import Batch, Samples, to_torch, unmirror
from handbench.training.loader import batches, once
from handbench.training.recipe import Recipe
from handbench.training.runs import TEST, TRAIN, VAL, Run, data_split
from handbench.training.train import pick_device, samples_for

BATCH = 64
PICTURE_KEYS = ("image", "K_crop", "is_left")  # a batch has these without any ground truth
OPTIONAL = ("verts_m", "visibility", "hand_score")  # outputs kept when a method gives them


def predict(
    run: Run,
    split: str | None = None,
    device: str = "auto",
    threads: int = 1,
    force: bool = False,
) -> Path:
    """Predict a split (default: the test split of the run's data) with a run's weights.

    Only the batch keys that the method declares in `inputs` reach it. Left hands are un-mirrored.
    A file that is up to date is left alone. Returns its path.
    """
    name = split or data_split(run.recipe().data, TEST)
    from handbench.evaluate import is_current  # which in turn calls predict

    path = run.predictions(name)
    if not force and is_current(run, name):
        say(f"{path} is up to date; --force predicts again")
        return path
    torch.set_num_threads(threads)
    where = pick_device(device)
    method, recipe, state = checkpoint.trained(run)
    method.to(where)
    samples = samples_for(recipe, method, name, False)
    if not len(samples):
        raise HandbenchError(f"{name} holds no annotated hand: nothing to predict")
    if samples.whole_images:
        say(
            f"{samples.whole_images} of {len(samples):,} hands have no box and show the whole image"
        )
    attributes = conditions(method, recipe, state, samples)
    with progress(f"predict {recipe.method}/{recipe.variant}", len(samples), "hands") as advance:
        write(path, method, samples, where, attributes, advance)
    say(f"{path}: {len(samples):,} hands")
    return path


@torch.inference_mode()
def write(
    path: Path,
    method: Any,
    samples: Samples,
    device: torch.device,
    attributes: dict[str, Any],
    advance: Any = lambda steps: None,
) -> None:
    """Runs the method over all samples in order into a prediction file, never all in memory."""

    def made() -> Any:
        for arrays in batches(samples, once(len(samples), BATCH)):
            batch = to_torch({key: arrays[key] for key in method.inputs}, device)
            batch.setdefault("is_left", torch.from_numpy(arrays["is_left"]))
            yield arrays, method(batch)

    stream = made()
    first = next(stream)
    kept = [name for name in OPTIONAL if first[1].get(name) is not None]
    with predictions.writing(path, len(samples), kept, attributes) as add:
        for arrays, out in _chain(first, stream):
            add(samples.ids[samples.rows[arrays["index"]]], **native(arrays, out, kept))
            advance(len(arrays["index"]))


def _chain(first: Any, rest: Any) -> Any:
    yield first
    yield from rest


def native(arrays: Batch, out: dict[str, torch.Tensor], kept: list[str]) -> dict[str, NDArray]:
    """A method's outputs as the file has them: wrist-relative, un-mirrored."""
    left = arrays["is_left"]
    joints = out["joints_m"].float().cpu().numpy()
    values = {"is_left": left, "joints_m": unmirror(joints - joints[:, :1], left)}
    for name in kept:
        value = out[name].float().cpu().numpy()
        # the mesh belongs to the same wrist as the joints
        values[name] = unmirror(value - joints[:, :1], left) if name == "verts_m" else value
    return values


def conditions(
    method: Any, recipe: Recipe, state: checkpoint.State, samples: Samples
) -> dict[str, Any]:
    """How these predictions came about: what a protocol prints beside the numbers.

    A method with `conditions()` adds its own, or says more of one, as of an input's source.
    """
    rule = "last" if recipe.checkpoint == "last" else f"best on {data_split(recipe.data, VAL)}"
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
        "training_data": data_split(recipe.data, TRAIN),
        "steps": state["step"],
        "checkpoint_rule": "closed form" if hasattr(method, "fit") else rule,
        "checkpoint_sha256": files.sha256(state["path"]),
        "parameters": sum(p.numel() for p in method.parameters()),
        "hand_model": f"{samples.hand.kind} {samples.hand.sha256}",
        "hand_layer": hand_layer.chosen(),
        **(method.conditions() if hasattr(method, "conditions") else {}),
    }


def initialisation(recipe: Recipe) -> str:
    """What the weights were before the first step."""
    if recipe.start:
        return f"weights of {recipe.start}"
    return f"backbone {recipe.backbone[:12]}" if recipe.backbone else "random"
