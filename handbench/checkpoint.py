"""Checkpoints: written whole, the one before kept, read without running code from them."""

import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from handbench.console import say
from handbench.errors import DataError, HandbenchError
from handbench.files import replacing
from handbench.hand import Hand, models_of
from handbench.inference.released import import_released, read_weights
from handbench.registry import load as load_name
from handbench.training.options import built
from handbench.training.recipe import Recipe, from_dict, method_options
from handbench.training.runs import Run

__all__ = [
    "build",
    "import_released",
    "load_backbone",
    "newest",
    "read",
    "save",
    "settle",
    "start_from",
    "trained",
]

FORMAT = "handbench-checkpoint"
State = dict[str, Any]


def save(run: Run, state: State) -> None:
    """Write checkpoint.pt; the one before becomes checkpoint.prev.pt.

    There is a whole checkpoint under its name at every moment, whenever the process ends.
    Raises OSError naming the file, when the disk is full for example; the last one then stands.
    """
    try:
        with replacing(run.checkpoint) as temporary:
            with open(temporary, "wb") as file:
                torch.save({"format": FORMAT, **state}, file)
                file.flush()
                os.fsync(file.fileno())
            if run.checkpoint.exists():
                _keep(run)
    except (OSError, RuntimeError) as error:
        # torch reports a file that it could not end, on top of what the system said
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError):
            raise
        raise OSError(cause.errno, cause.strerror, str(run.checkpoint)) from error


def _keep(run: Run) -> None:
    with replacing(run.previous_checkpoint) as second:
        second.unlink()
        try:
            os.link(run.checkpoint, second)
        except OSError:  # a file system without hard links
            shutil.copyfile(run.checkpoint, second)


def read(path: str | Path) -> State:
    """A checkpoint's content on the CPU. Raises DataError when it is missing, broken or foreign."""
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
        if broken:
            raise DataError(f"{path} is broken: {broken} has changed since it was written")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist: handbench train makes it") from error
    except (zipfile.BadZipFile, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        if getattr(error, "filename", None):  # not what is in the file, but the file itself
            raise
        raise DataError(f"{path} is no whole checkpoint: was it cut short?") from error
    except Exception as error:
        if type(error).__name__ != "UnpicklingError":
            raise
        raise DataError(f"{path} holds more than weights and plain values; not opened") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise DataError(f"{path} is no checkpoint of handbench")
    return state


def newest(run: Run) -> State | None:
    """The run's last whole checkpoint and its `path`, or None.

    Says so when it had to take the one before; raises DataError when that is broken too.
    """
    problem = None
    for path in (run.checkpoint, run.previous_checkpoint):
        if not path.exists():
            continue
        try:
            state = read(path)
        except DataError as error:
            problem = problem or error
            continue
        if problem:
            say(f"{problem}; going on from {path.name} (step {state['step']})")
        return {**state, "path": str(path)}
    if problem:
        raise DataError(f"{problem}, and there is no earlier one: train again with --force")
    return None


def settle(run: Run, state: State | None) -> None:
    """Puts the checkpoint that a run goes on from in the last one's place, where it was the one
    before: the next one would push it out and keep the broken one."""
    if state and state["path"] != str(run.checkpoint):
        os.replace(state["path"], run.checkpoint)


def build(recipe: Recipe, hand: Hand, tried: bool = False) -> Any:
    """The method of a recipe for a right hand, freshly initialised from the recipe's seed.

    tried: its options have worked before. Raises HandbenchError for options that do not.
    """
    torch.manual_seed(recipe.seed)
    cls = load_name("method", recipe.method)
    return built(cls, hand, method_options(recipe), {} if tried else recipe.options)


def trained(run: Run) -> tuple[Any, Recipe, State]:
    """A run's method with its weights, in test mode: the last, or the best on validation data.

    Raises HandbenchError when there is no checkpoint or its weights do not fit.
    """
    state = newest(run)
    if state is None:
        raise HandbenchError(f"{run.path} has no checkpoint: run  handbench train  first")
    recipe = from_dict(state["recipe"])
    models = models_of(state["hand_model"])
    if models is None:
        raise HandbenchError(
            f"{run.path} was trained with another hand model than there is here: point "
            "HANDBENCH_MANO at the MANO files it was trained with"
        )
    method = build(_anchored(recipe, run), models[0], tried=True)
    _fill(method, state, run)
    return method.eval(), recipe, state


def _anchored(recipe: Recipe, run: Run) -> Recipe:
    """Options that name files in the run's own folder (./NAME) as whole paths."""
    options = {
        name: str(run.path / value[2:]) if isinstance(value, str) and value[:2] == "./" else value
        for name, value in recipe.options.items()
    }
    return replace(recipe, options=options)


def start_from(method: torch.nn.Module, run: Run) -> None:
    """Give a method the weights of a run of the same method, of another variant where the method
    knows how to take them (`adopt`). Raises HandbenchError."""
    state = newest(run)
    if state is None:
        raise HandbenchError(f"{run.path} has no checkpoint to start from")
    _fill(method, state, run, getattr(method, "adopt", None))


def _fill(method: torch.nn.Module, state: State, run: Run, take: Any = None) -> None:
    """The run's best weights where it kept them, else the average of its last, else its last."""
    try:
        averaged = {**state["model"], **state.get("average", {})}
        take = take or method.load_state_dict
        take(state["best"]["model"] if state["best"] else averaged)
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise HandbenchError(
            f"{run.checkpoint} does not fit {type(method).__name__}: {first}"
        ) from error


def load_backbone(method: Any, path: str | Path) -> int:
    """Start method.backbone from a file: a checkpoint of any method, or bare weights.

    Of a checkpoint the entries `backbone.*` are taken; a classifier's last layer (`fc.*`) is left
    out, and a backbone around a trunk (`load_trunk`) takes a bare one. A backbone that names parts
    its file MAY_LACK keeps those as they are, and leaves out what it does not know. Returns how
    many tensors. Raises HandbenchError when the method has no backbone or a shape differs.
    """
    if not hasattr(method, "backbone"):
        raise HandbenchError(f"{type(method).__name__} has no backbone to start from {path}")
    weights = read_weights(path)
    inside = {
        k.removeprefix("backbone."): v for k, v in weights.items() if k.startswith("backbone.")
    }
    found = inside or {k: v for k, v in weights.items() if not k.startswith("fc.")}
    try:
        if "conv1.weight" in found and hasattr(method.backbone, "load_trunk"):
            return method.backbone.load_trunk(found)
        if lacking := getattr(method.backbone, "MAY_LACK", ()):
            own = method.backbone.state_dict()
            kept = {k: v for k, v in own.items() if k.startswith(lacking) and k not in found}
            found = {k: v for k, v in found.items() if k in own}
            method.backbone.load_state_dict({**kept, **found})
            return len(found)
        method.backbone.load_state_dict(found)
    except RuntimeError as error:
        first = str(error).splitlines()[:2][-1].strip()
        raise HandbenchError(
            f"{path} does not fit the backbone of {type(method).__name__}: {first}"
        ) from error
    return len(found)
