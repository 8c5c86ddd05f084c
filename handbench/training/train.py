"""The training loop: from a recipe and a prepared split to a run that survives interruption.

On the CPU a run that was killed and resumed ends with the same weights, bit for bit, as one that
was not: batches, augmentation and learning rate follow from the step number alone, and all else
that decides weights is in the checkpoint.
"""

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from handbench import checkpoint, files
from handbench.console import progress, say
from handbench.errors import DataError, HandbenchError
from handbench.hand import Hand, default_hand, models_of
from handbench.store import Split, open_split
from handbench.training.batch import Batch, Samples, to_torch
from handbench.training.loader import Order, batches, once
from handbench.training.logbook import Logbook
from handbench.training.recipe import Recipe, differences, from_dict, to_toml
from handbench.training.runs import TRAIN, VAL, Run, data_split, run_of
from handbench.training.schedule import learning_rate, make_optimizer

VALIDATED = 512  # samples of the validation split, evenly spaced: enough to follow and to choose


def train(
    recipe: Recipe,
    device: str = "auto",
    threads: int = 1,
    force: bool = False,
    backbone: str | None = None,
    start: Run | None = None,
    save_seconds: float = 30.0,
) -> Run:
    """Train a recipe to its end, from where its run folder stands; returns the run.

    threads: of torch on the CPU (one: several processes side by side then run at full speed).
    force: start over. backbone: a file to start the backbone from; start: a run of the same method
    to start all weights from. save_seconds: time between checkpoints.
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
            say(f"{run.name} is trained ({state['step']} steps); --force trains it again")
            return run
    # built first: what cannot be trained leaves no run behind, and an old one as it was
    trainer = Trainer(recipe, run, where, save_seconds)
    with alone(run):
        if force:
            clear(run)
        files.write_text(run.recipe_file, to_toml(recipe))
        if state:
            trainer.restore(state)
        elif start:
            checkpoint.start_from(trainer.method, start)
        elif backbone:
            checkpoint.load_backbone(trainer.method, backbone)
        trainer.fit() if hasattr(trainer.method, "fit") else trainer.descend()
    return run


def pick_device(name: str) -> torch.device:
    """cpu, cuda, cuda:N; auto is cuda where there is one. Raises HandbenchError."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.split(":")[0] not in ("cpu", "cuda"):
        raise HandbenchError(f"no device '{name}': give cpu, cuda or auto")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise HandbenchError("torch sees no CUDA device here: give --device cpu")
    return torch.device(name)


def clear(run: Run) -> None:
    """Remove what training and everything after it wrote into the run's folder."""
    for name in ("checkpoint.pt", "checkpoint.prev.pt", "log.csv", "predictions.h5"):
        (run.path / name).unlink(missing_ok=True)


@contextmanager
def alone(run: Run) -> Iterator[None]:
    """Hold the run's folder for this process. Raises HandbenchError when another one has it."""
    import fcntl

    run.path.mkdir(parents=True, exist_ok=True)
    with open(run.path / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise HandbenchError(f"another process is training in {run.path}") from error
        yield


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets, instead of ending the process at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {s: signal.signal(s, lambda *_: asked.set()) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def samples_for(recipe: Recipe, method: Any, split: str, training: bool) -> Samples:
    """A split's samples as the recipe and the method want them."""
    opened = open_split(split)
    return Samples(
        opened,
        method.crop_px,
        hand_of(opened),
        frames=method.frames,
        frame_step=recipe.frame_step,
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


def plain(terms: dict[str, Any]) -> dict[str, int | float]:
    """Numbers of a step's terms, fetched from the device."""
    return {k: float(v.detach()) if torch.is_tensor(v) else v for k, v in terms.items()}


class Trainer:
    """One run in progress: method, optimizer, data and where it stands."""

    def __init__(self, recipe: Recipe, run: Run, device: torch.device, save_seconds: float) -> None:
        self.recipe, self.run, self.device = recipe, run, device
        self.save_seconds = save_seconds
        # channels last: a fifth less CPU time a step for small residual networks
        hand = hand_of(open_split(data_split(recipe.data, TRAIN)))
        method = checkpoint.build(recipe, hand)
        self.method = method.to(device, memory_format=torch.channels_last)
        self.samples = samples_for(recipe, self.method, data_split(recipe.data, TRAIN), True)
        if not len(self.samples):
            raise DataError(f"{data_split(recipe.data, TRAIN)} holds no annotated hand")
        self.order = Order(len(self.samples), recipe.batch, recipe.seed)
        self.total = recipe.total_steps(self.order.per_epoch)
        self.step = 0
        self.best: dict[str, Any] | None = None  # step, val_mpjpe_mm, model
        self.optimizer = (
            None if hasattr(self.method, "fit") else make_optimizer(self.method, recipe)
        )
        self.validation = self._validation()
        stored = self.method.state_dict()
        # running statistics and the like, which a forward pass in training moves
        self.buffers = [stored[name] for name, _ in self.method.named_buffers() if name in stored]

    def _validation(self) -> Samples | None:
        name = data_split(self.recipe.data, VAL)
        if not (files.data_dir() / name / "index.h5").is_file():
            if self.recipe.checkpoint == "best":
                raise DataError(f"checkpoint=best needs {name}, which is not prepared")
            return None
        return samples_for(self.recipe, self.method, name, False)

    def state(self, finished: bool) -> checkpoint.State:
        """Everything that going on needs; plain values and tensors only."""
        return {
            "recipe": asdict(self.recipe),
            "hand_model": self.samples.hand.sha256,
            "step": self.step,
            "finished": finished,
            "model": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict() if self.optimizer else None,
            "best": self.best,
            "rng": torch.get_rng_state(),
            "rng_cuda": torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
        }

    def restore(self, state: checkpoint.State) -> None:
        self.method.load_state_dict(state["model"])
        if self.optimizer:
            self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.best = state["step"], state["best"]
        torch.set_rng_state(state["rng"])
        if state["rng_cuda"] and self.device.type == "cuda":
            torch.cuda.set_rng_state_all(state["rng_cuda"])
        say(f"{self.run.name}: going on from step {self.step} of {self.total}")

    def save(self, finished: bool = False) -> None:
        checkpoint.save(self.run, self.state(finished))

    def fit(self) -> None:
        """A closed-form method: one pass over the data as it is, no gradient steps."""
        self.samples.augment = None
        order = once(len(self.samples), self.recipe.batch)
        self.method.fit(to_torch(batch, self.device) for batch in batches(self.samples, order))
        self.save(finished=True)
        say(f"{self.run.name}: fitted to {len(self.samples):,} hands")

    def descend(self) -> None:
        """Gradient steps from where the run stands to its end."""
        every = self.recipe.validate_every or max(1, self.total // 4)
        note_every = max(1, min(50, self.total // 100))
        began = noted = saved = time.monotonic()
        noted_step, told = self.step, ""
        self.method.train()
        name = f"train {self.recipe.method}/{self.recipe.variant} {self.recipe.preset}"
        with (
            stop_requests() as asked,
            Logbook(self.run.log, self.step) as log,
            progress(name, self.total, "steps") as advance,
        ):
            advance(self.step)
            order = self.order.steps(self.step, self.total)
            for batch in batches(self.samples, order):
                terms = self.one_step(batch)
                self.step += 1
                last = self.step == self.total
                validated = self.validation is not None and (self.step % every == 0 or last)
                if terms and (self.step % note_every == 0 or validated or last):
                    now = time.monotonic()
                    speed = (self.step - noted_step) * self.recipe.batch / (now - noted)
                    noted, noted_step = now, self.step
                    row: dict[str, Any] = {"step": self.step, **plain(terms)}
                    row |= {"samples_per_s": speed, "val_mpjpe_mm": ""}
                    told = f"loss {row['loss']:.3g}"
                    if validated:
                        row["val_mpjpe_mm"] = self.validate()
                        told += f", validation MPJPE {row['val_mpjpe_mm']:.1f} mm"
                    log.add(row)
                advance(1, told)
                if last or asked.is_set() or time.monotonic() - saved > self.save_seconds:
                    self.save(finished=last)
                    saved = time.monotonic()
                if asked.is_set() and not last:
                    raise KeyboardInterrupt
        say(f"{self.run.name}: {self.total} steps, {told}, {time.monotonic() - began:.0f} s")

    def one_step(self, arrays: Batch) -> dict[str, Any]:
        """One gradient step; returns loss terms, rate and gradient norm, {} when it was skipped.

        Values stay on the device: only rows of the log fetch them.
        """
        assert self.optimizer is not None
        rate = learning_rate(self.recipe, self.step, self.total)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        skips = self.recipe.on_nonfinite == "skip"
        kept = [buffer.clone() for buffer in self.buffers] if skips else []
        batch = to_torch(arrays, self.device)
        losses = self.method.losses(self.method(batch), batch)
        loss = torch.stack([value.float() for value in losses.values()]).sum()
        self.optimizer.zero_grad(set_to_none=True)
        norm = torch.zeros(())
        if torch.isfinite(loss):
            loss.backward()
            limit = self.recipe.clip or math.inf
            norm = torch.nn.utils.clip_grad_norm_(self.method.parameters(), limit)
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            self._not_finite(arrays, losses)
            for buffer, value in zip(self.buffers, kept):
                buffer.copy_(value)
            return {}
        self.optimizer.step()
        epoch = self.step // self.order.per_epoch
        return {"epoch": epoch, "lr": rate, "loss": loss, **losses, "grad_norm": norm}

    def _not_finite(self, arrays: Batch, losses: dict[str, torch.Tensor]) -> None:
        """Says which samples did it; raises HandbenchError where the recipe says stop."""
        bad = [name for name, value in losses.items() if not torch.isfinite(value)]
        what = f"loss {', '.join(bad)}" if bad else "the gradient"
        ids = self.samples.names(arrays["index"])
        more = f" and {len(ids) - 8} more" if len(ids) > 8 else ""
        text = f"{what} is not finite at step {self.step + 1}; samples: {', '.join(ids[:8])}{more}"
        if self.recipe.on_nonfinite == "skip":
            say(f"{text}; step skipped")
            return
        self.save()
        raise HandbenchError(f"{text}; -o on_nonfinite=skip leaves such steps out")

    @torch.no_grad()
    def validate(self) -> float:
        """Mean wrist-relative joint error in mm on the validation split; keeps the best weights."""
        assert self.validation is not None
        count = len(self.validation)
        chosen = np.linspace(0, count - 1, min(count, VALIDATED)).astype(np.int64)
        order = ((0, part) for part in np.array_split(chosen, -(-len(chosen) // 32)))
        self.method.eval()
        total = weight = 0.0
        for arrays in batches(self.validation, order):
            batch = to_torch(arrays, self.device)
            errors = (self.method(batch)["joints_m"] - batch["joints_m"]).norm(dim=-1)
            total += float((errors * batch["valid_joints"]).sum())
            weight += float(batch["valid_joints"].sum())
        self.method.train()
        score = 1000 * total / max(1.0, weight)
        if self.recipe.checkpoint == "best" and (
            self.best is None or score < self.best["val_mpjpe_mm"]
        ):
            weights = {k: v.detach().clone() for k, v in self.method.state_dict().items()}
            self.best = {"step": self.step, "val_mpjpe_mm": score, "model": weights}
        return score
