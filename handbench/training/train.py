"""From a recipe to a trained run that survives interruption.

On the CPU a run that was killed and resumed ends with the same weights, bit for bit, as one that
was not: batches, augmentation and learning rate follow from the step number alone, and all else
that decides weights is in the checkpoint.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from handbench import checkpoint, files
from handbench.console import amount, say
from handbench.errors import DataError, HandbenchError
from handbench.hand import Hand, default_hand, models_of
from handbench.loading.batch import Samples, to_torch
from handbench.loading.joined import Joined
from handbench.loading.loader import batches, once
from handbench.loading.pairs import kind_of
from handbench.store import Split, open_split
from handbench.training.distributed import team
from handbench.training.recipe import Recipe, differences, from_dict, to_toml
from handbench.training.runs import TRAIN, Run, data_split, run_of
from handbench.training.selection import held_out, own_split
from handbench.training.stopping import alone
from handbench.training.trainer import Trainer, share_of

COMPILE_MODES = ("default", "reduce-overhead")


def train(
    recipe: Recipe,
    device: str = "auto",
    threads: int = 1,
    force: bool = False,
    backbone: str | Path | None = None,
    start: Run | None = None,
    save_seconds: float = 30.0,
    compiled: bool = False,
    tensorboard: bool = False,
    compile_mode: str = "default",
    workers: int = 0,
) -> Run:
    """Train a recipe to its end, from where its run folder stands; returns the run.

    threads: of torch on the CPU (one: several processes side by side then run at full speed).
    force: start over. backbone: a file to start the backbone from; start: a run of the same method
    to start all weights from. save_seconds: time between checkpoints. compiled: by torch.compile,
    which moves results by rounding, in a compile_mode of COMPILE_MODES. workers: processes that
    make batches, in place of threads. In a team (distributed.joined) every process calls this.
    Raises HandbenchError for a run of another recipe, a loss that is not finite (policy `stop`)
    or bad data; KeyboardInterrupt after saving when asked to stop.
    """
    run, where = run_of(recipe), pick_device(device)
    torch.set_num_threads(threads)
    state = None if force else checkpoint.newest(run)
    if state:
        changed = differences(from_dict(state["recipe"]), recipe)
        if changed:
            raise HandbenchError(
                f"{run.path} was trained otherwise ({'; '.join(changed)}): "
                "give --force to start over, or another --seed"
            )
        if state["finished"]:
            if team().first and not run.recipe_file.is_file():  # by which runs are found
                files.write_text(run.recipe_file, to_toml(recipe))
            say(f"{run.name} is trained ({amount(state['step'], 'step')}); --force trains it again")
            return run
    # built first: what cannot be trained leaves no run behind, and an old one as it was
    method, samples = method_for(recipe, where)
    if start and not state:
        checkpoint.start_from(method, start)
    elif backbone and not state:
        checkpoint.load_backbone(method, backbone)
    closed_form = hasattr(method, "fit")
    trainer = None
    if not closed_form:
        if compiled:
            compile_network(method, recipe, compile_mode)
        data = _shared_out(recipe, method, samples)
        trainer = Trainer(recipe, run, method, where, *data, save_seconds, tensorboard, workers)
    with alone(run, team()):
        team().wait()  # until all have read what stands there
        if team().first:
            if force:
                clear(run)
            checkpoint.settle(run, state)
            files.write_text(run.recipe_file, to_toml(recipe))
        team().wait()
        if trainer and state:
            trainer.restore(state)
        if trainer:
            speak_of_batch(recipe, len(trainer.members))
            trainer.descend()
        else:
            if team().first:
                fit(recipe, run, method, samples, where)
            team().wait()
    return run


def compile_network(method: Any, recipe: Recipe, mode: str = "default") -> None:
    """Compiles what the method computes, when first asked; "reduce-overhead" by CUDA graphs.

    Graphs hold gradients in memory of their own, which the next part of a batch would overwrite:
    raises HandbenchError for a batch in parts.
    """
    if mode == "default":
        method.compile()
        return
    if recipe.accumulate > 1:
        raise HandbenchError("CUDA graphs (--compile-mode) take a batch in one part: accumulate=1")
    method.compile(mode=mode, dynamic=False)


def method_for(recipe: Recipe, device: torch.device) -> tuple[Any, Samples]:
    """The recipe's method on a device, freshly initialised, and its training split's samples."""
    name = data_split(recipe.data, TRAIN)
    method = checkpoint.build(recipe, hand_of(open_split(name)))
    # channels last: a fifth less CPU time a step for small residual networks
    method = method.to(device, memory_format=torch.channels_last)
    samples = samples_for(recipe, method, name, True)
    if not len(samples):
        raise DataError(f"{name} holds no annotated hand")
    if recipe.more_data:
        others = [data_split(data, TRAIN) for data in recipe.more_data.split()]
        samples = Joined([samples, *(samples_for(recipe, method, o, True) for o in others)])
    return method, samples


def _shared_out(recipe: Recipe, method: Any, samples: Samples) -> tuple[Any, Any]:
    """Samples and which of them to train on; the same to validate with, or None."""
    of_first = held_out(samples, recipe.validation)
    held = np.pad(of_first, (0, len(samples) - len(of_first)))  # none of the data sets that join
    training = samples, np.flatnonzero(~held)
    name = own_split(recipe)
    if name:
        validation = samples_for(recipe, method, name, False)
        if len(validation):
            return training, (validation, np.arange(len(validation)))
        if recipe.checkpoint == "best":
            raise DataError(f"checkpoint=best needs annotated hands, and {name} holds none")
        say(f"{name} holds no annotated hand: nothing validates")
        return training, None
    if held.any():
        told = data_split(recipe.data, TRAIN)
        count = f"{held.sum():,} of {len(of_first):,} hands"
        say(f"{count} of {told} validate ({recipe.validation} rule)")
        return training, (samples_for(recipe, method, told, False), np.flatnonzero(held))
    return training, None


def speak_of_batch(recipe: Recipe, count: int) -> None:
    """Says how a batch of `count` samples is shared out, and how batch norm sees it, where it is;
    and where it asks for more samples than there are."""
    if recipe.batch > count:
        say(f"a batch of {recipe.batch:,} is all of the {count:,} samples in every step")
    part = share_of(recipe, recipe.batch, team().size)
    if part == recipe.batch:
        return
    size = team().size
    factors = [f"{size} processes"] if size > 1 else []
    factors += [f"{recipe.accumulate} parts"] if recipe.accumulate > 1 else []
    kind = {"local": "of each part", "sync": "of all processes", "frozen": "fixed"}
    norm = f"batch norm: statistics {kind[recipe.batch_norm]}"
    say(f"batch {recipe.batch} = {' x '.join(factors)} x {amount(part, 'sample')}; {norm}")


def fit(recipe: Recipe, run: Run, method: Any, samples: Samples, device: torch.device) -> None:
    """A closed-form method: one pass over the data as it is, no gradient steps."""
    samples.augment = None
    order = once(len(samples), recipe.batch)
    method.fit(to_torch(batch, device) for batch in batches(samples, order))
    state = {"recipe": asdict(recipe), "hand_model": samples.hand.sha256, "step": 0}
    state |= {"finished": True, "model": method.state_dict(), "best": None}
    checkpoint.save(run, state)
    say(f"{run.name}: fitted to {amount(len(samples), 'hand')}")


def pick_device(name: str) -> torch.device:
    """cpu, cuda, cuda:N; auto is cuda where there is one. In a team each process has its own GPU.

    Raises HandbenchError.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.split(":")[0] not in ("cpu", "cuda"):
        raise HandbenchError(f"no device '{name}': give cpu, cuda or auto")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise HandbenchError("torch sees no CUDA device here: give --device cpu")
    if name.startswith("cuda") and team().size > 1:
        name = f"cuda:{torch.cuda.current_device()}"
    return torch.device(name)


def clear(run: Run) -> None:
    """Remove what training and everything after it wrote into the run's folder."""
    for name in ("checkpoint.pt", "checkpoint.prev.pt", "log.csv", "predictions.h5"):
        (run.path / name).unlink(missing_ok=True)


def samples_for(recipe: Recipe, method: Any, split: str, training: bool) -> Samples:
    """A split's samples as the recipe and the method want them."""
    opened = open_split(split)
    return kind_of(method)(
        opened,
        method.crop_px,
        hand_of(opened),
        frames=method.frames,
        frame_step=recipe.frame_step,
        frame_rule=recipe.frame_rule,
        frame_jitter=recipe.frame_jitter if training else 0,
        box_source=recipe.box_source,
        box_factor=recipe.box_factor,
        augment=recipe.augment if training else None,
        visibility_rule=recipe.visibility_rule,
        seed=recipe.seed,
        images="image" in method.inputs,
        pictures=recipe.pictures if training else "exact",
    )


def hand_of(split: Split) -> Hand:
    """The right hand a split was made with; without meshes, the one in use here.

    Raises DataError when the split has meshes of a hand that is not here.
    """
    models = models_of(str(split.attributes.get("hand_model", "")))
    if models is not None:
        return models[0]
    if (split.hand_column("mano_valid") > 0).any():
        raise DataError(
            f"{split.name} was prepared with another hand model than there is here: point "
            "HANDBENCH_MANO at the MANO files it was prepared with"
        )
    return default_hand("right")
