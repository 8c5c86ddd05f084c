"""One run in progress: gradient steps from where it stands to its end, alone or in a team."""

import time
from collections.abc import Generator, Iterator
from contextlib import closing, nullcontext
from dataclasses import asdict
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from handbench import checkpoint
from handbench.console import amount, say
from handbench.errors import HandbenchError
from handbench.loading.batch import Batch, Samples, to_torch
from handbench.loading.feeding import ahead, loading_threads, pin
from handbench.loading.loader import Order, batches
from handbench.loading.ring import workers_for
from handbench.training import norms
from handbench.training.averaging import Average
from handbench.training.display import live
from handbench.training.distributed import spread, team
from handbench.training.logbook import following
from handbench.training.precision import Precision
from handbench.training.recipe import Recipe
from handbench.training.runs import Run
from handbench.training.schedule import learning_rate, make_optimizer
from handbench.training.selection import VALIDATED, mpjpe_mm
from handbench.training.stopping import stop_requests

LOOK_EVERY = 10  # steps
TOO_LARGE = (
    "the GPU's memory is too small for a step: give -o accumulate=2, 4, … or a smaller --batch"
)
ONE_SAMPLE = (
    "one sample at a time has no statistics for batch norm: give a larger --batch, fewer parts "
    "(accumulate), or -o batch_norm=frozen"
)
Unseen = tuple[int, list[torch.Tensor], list[str], torch.Tensor]  # step, indices, terms, values


class Objective(nn.Module):
    """A method's loss terms of a batch as one module, which is what a team shares out."""

    def __init__(self, method: Any, precision: Precision) -> None:
        super().__init__()
        self.method, self.precision = method, precision

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        try:
            with self.precision.autocast():
                out = self.method(batch)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise HandbenchError(ONE_SAMPLE) from error
        if self.precision.half:
            out = {k: v.float() if v.is_floating_point() else v for k, v in out.items()}
        return self.method.losses(out, batch)


class Trainer:
    """A run with its method, optimizer and data, and where it stands.

    training, validation: the samples of each and which of them (K,) are used; validation may be
    None. save_seconds: time between checkpoints. tensorboard: also write its event files.
    workers: processes that make batches, in place of threads where more than 0.
    """

    def __init__(
        self,
        recipe: Recipe,
        run: Run,
        method: Any,
        device: torch.device,
        training: tuple[Samples, NDArray],
        validation: tuple[Samples, NDArray] | None,
        save_seconds: float,
        tensorboard: bool = False,
        workers: int = 0,
    ) -> None:
        self.recipe, self.run, self.method, self.device = recipe, run, method, device
        (self.samples, self.members), self.validation = training, validation
        self.save_seconds, self.tensorboard, self.workers = save_seconds, tensorboard, workers
        self.team, self.precision = team(), Precision(recipe.precision, device)
        self.share = share_of(recipe, len(self.members), self.team.size)
        self.batch = min(recipe.batch, len(self.members))
        self.order = Order(len(self.members), recipe.batch, recipe.seed)
        self.total = recipe.total_steps(self.order.per_epoch)
        self.step, self.waited = 0, 0.0
        # on a GPU the host looks at results only now and then, or it could not run ahead of it
        self.look_every = 1 if device.type == "cpu" else LOOK_EVERY
        self.unseen: list[Unseen] = []
        self.best: dict[str, Any] | None = None  # step, val_mpjpe_mm, model
        self.optimizer = make_optimizer(method, recipe)
        self.parameters = [p for p in method.parameters() if p.requires_grad]
        self.average = Average(method, recipe.ema) if recipe.ema else None
        if recipe.batch_norm == "sync":
            norms.synchronise(method)
        if self.team.rank:  # noise inside a method differs between processes, its weights do not
            torch.manual_seed(recipe.seed + 1_000_003 * self.team.rank)
        stored = method.state_dict()
        # running statistics and the like, which a forward pass in training moves
        self.buffers = [stored[name] for name, _ in method.named_buffers() if name in stored]

    def state(self, finished: bool) -> checkpoint.State:
        """Everything that going on needs; plain values and tensors only."""
        on_gpu = self.device.type == "cuda"
        rng = torch.get_rng_state(), torch.cuda.get_rng_state(self.device) if on_gpu else None
        return {
            "recipe": asdict(self.recipe),
            "hand_model": self.samples.hand.sha256,
            "step": self.step,
            "finished": finished,
            "model": self.method.state_dict(),
            "average": self.average.values if self.average else {},
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.precision.scaler.state_dict(),
            "best": self.best,
            "processes": self.team.size,
            "rng": self.team.gather(rng),
        }

    def restore(self, state: checkpoint.State) -> None:
        if "scaler" not in state:
            raise HandbenchError(f"{self.run.path} was begun by an earlier version: give --force")
        self.method.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average:
            self.average.load(state["average"])
        self.precision.scaler.load_state_dict(state["scaler"])
        self.step, self.best = state["step"], state["best"]
        if state["processes"] == self.team.size:
            of_cpu, of_gpu = state["rng"][self.team.rank]
            torch.set_rng_state(of_cpu)
            if of_gpu is not None and self.device.type == "cuda":
                torch.cuda.set_rng_state(of_gpu, self.device)
        else:
            say(f"{self.run.name}: begun by {state['processes']} processes: other random numbers")
        say(f"{self.run.name}: going on from step {self.step} of {self.total}")

    def save(self, finished: bool = False) -> None:
        self.look()
        state = self.state(finished)
        if self.team.first:
            checkpoint.save(self.run, state)
        self.team.wait()  # whoever goes on finds it

    def descend(self) -> None:
        """Gradient steps from where the run stands to its end."""
        every = self.recipe.validate_every or max(1, self.total // 4)
        note_every = max(1, min(50, self.total // 100))
        began = noted = saved = time.monotonic()
        noted_step, told = self.step, ""
        self.make_ready()
        with (
            stop_requests() as asked,
            following(self.run, self.step, self.tensorboard, self.team.first) as note,
            live(self.run.name, self.step, self.total) as show,
            closing(self.feed()) as feed,
        ):
            for parts in feed:
                try:
                    self.one_step(parts)
                except torch.OutOfMemoryError as error:
                    raise HandbenchError(f"{TOO_LARGE} ({self.share} samples at a time)") from error
                self.step += 1
                last = self.step == self.total
                validated = self.validation is not None and (self.step % every == 0 or last)
                noting = self.step % note_every == 0 or validated or last
                terms = self.look() if noting or len(self.unseen) >= self.look_every else {}
                row: dict[str, Any] = {}
                if noting:
                    span, steps = time.monotonic() - noted, self.step - noted_step
                    row = {"step": self.step, "epoch": self.epoch, **terms}
                    row["samples_per_s"] = steps * self.batch / span
                    row |= {"waiting": self.waited / span, "val_mpjpe_mm": ""}
                    told = f"loss {row['loss']:.3g}"
                    if validated:
                        row["val_mpjpe_mm"] = self.validate()
                        told += f", validation MPJPE {row['val_mpjpe_mm']:.1f} mm"
                    note(row)
                    noted, noted_step, self.waited = time.monotonic(), self.step, 0.0
                show(row)
                due = time.monotonic() - saved > self.save_seconds
                due, stop = self.team.any(due, asked.is_set())
                if last or stop or due:
                    self.save(finished=last)
                    saved = time.monotonic()
                if stop and not last:
                    raise KeyboardInterrupt
        taken = f"{time.monotonic() - began:.0f} s"
        say(f"{self.run.name}: {amount(self.total, 'step')}, {told}, {taken}")

    def make_ready(self) -> None:
        """Before the first step: the loss shared out to the team, the method in training mode."""
        self.objective = self._spread()
        norms.hold(self.method, self.recipe.batch_norm)

    @property
    def epoch(self) -> int:
        return (self.step - 1) // self.order.per_epoch

    def _spread(self) -> nn.Module:
        objective = Objective(self.method, self.precision)
        if self.team.size == 1:
            return objective
        norms.hold(self.method, self.recipe.batch_norm)
        epoch, part = next(self._parts())
        batch = to_torch(self.samples.batch(part, epoch), self.device)
        return spread(objective, batch, self.device)

    def _parts(self) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """This process's samples of each step, in `accumulate` parts."""
        for epoch, indices in self.order.steps(self.step, self.total):
            mine = self.team.share(self.members[indices])
            for part in np.array_split(mine, self.recipe.accumulate):
                yield epoch, part

    def feed(self) -> Generator[list[Batch], None, None]:
        """The batches of each step on the device; counts the time spent waiting for them."""
        return ahead(self._loaded(), self.device)

    def _loaded(self) -> Iterator[list[Batch]]:
        finish = partial(pin, device=self.device) if self.device.type == "cuda" else None
        threads = self.workers or loading_threads(self.device)  # with workers each thread asks one
        with (
            workers_for(self.samples, self.workers, self.share) as source,
            closing(batches(source, self._parts(), threads, finish)) as stream,
        ):
            while True:
                began = time.monotonic()
                parts = list(islice(stream, self.recipe.accumulate))
                self.waited += time.monotonic() - began
                if not parts:
                    return
                yield parts

    def one_step(self, parts: list[Batch]) -> None:
        """One gradient step over all parts; none, in effect, where it would not be finite.

        Its terms, means over the parts and the team, are kept for `look`.
        """
        rate = learning_rate(self.recipe, self.step, self.total)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("factor", 1.0)
        skips = self.recipe.on_nonfinite == "skip"
        kept = [buffer.clone() for buffer in self.buffers] if skips else []
        self.optimizer.zero_grad(set_to_none=True)
        sums: Any = 0.0
        for number, batch in enumerate(parts, 1):
            losses = self._backward(batch, len(parts), last=number == len(parts))
            sums = sums + torch.stack([value.detach().float() for value in losses.values()])
        means = self.team.mean(sums / len(parts))
        norm = self.precision.gradient_norm(self.optimizer, self.parameters, self.recipe.clip)
        values = torch.stack([*means, norm.float()])
        fine = values.isfinite().all()
        for buffer, value in zip(self.buffers, kept):
            buffer.copy_(torch.where(fine, buffer, value))
        values = torch.stack([*values, self.precision.scale])
        self.precision.step(self.optimizer, fine)
        if self.average:
            self.average.update(self.step + 1)
        indices = [batch["index"] for batch in parts]
        self.unseen.append((self.step, indices, [*losses], values))

    def _backward(self, batch: Batch, parts: int, last: bool) -> dict[str, torch.Tensor]:
        """Adds a part's gradients; a team exchanges them with the last part."""
        alone = self.team.size == 1 or last
        with nullcontext() if alone else self.objective.no_sync():  # type: ignore[operator]
            losses = self.objective(batch)
            loss = torch.stack([value.float() for value in losses.values()]).sum()
            self.precision.backward(loss / parts)
        return losses

    def look(self) -> dict[str, Any]:
        """Waits for the steps not yet looked at; rate, loss terms and gradient norm of the last,
        finite or not. Raises HandbenchError as _not_finite does."""
        unseen, self.unseen = self.unseen, []
        terms: dict[str, Any] = {}
        for step, indices, names, found in unseen:
            *values, norm, scale = found.tolist()
            total = sum(values)
            terms = {"lr": learning_rate(self.recipe, step, self.total), "loss": total}
            terms |= {**dict(zip(names, values)), "grad_norm": norm}
            if not np.isfinite([total, norm]).all() and not self.precision.overflowed(
                total, norm, scale
            ):
                bad = [name for name, value in zip(names, values) if not np.isfinite(value)]
                self._not_finite(step, indices, bad)
        return terms

    def _not_finite(self, step: int, indices: list[torch.Tensor], bad: list[str]) -> None:
        """Says which samples did it; raises HandbenchError where the recipe says stop."""
        what = f"loss {', '.join(bad)}" if bad else "the gradient"
        mine = [name for index in indices for name in self.samples.names(index.cpu().numpy())]
        ids = [name for names in self.team.gather(mine) for name in names]
        more = f" and {len(ids) - 8} more" if len(ids) > 8 else ""
        text = f"{what} is not finite at step {step + 1}; samples: {', '.join(ids[:8])}{more}"
        if self.recipe.on_nonfinite == "skip":
            say(f"{text}; step skipped")
            return
        # the last checkpoint stands: running statistics have seen this step since
        raise HandbenchError(f"{text}; -o on_nonfinite=skip leaves such steps out")

    def validate(self) -> float:
        """Error on the validation hands, of the average where there is one; keeps the best."""
        assert self.validation is not None
        self.team.take_first(self.buffers)  # whose running statistics are those that are kept
        with self.average.applied() if self.average else nullcontext():
            # a run of a few steps is not validated for longer than it is trained
            most = min(VALIDATED, self.total * self.batch)
            score = mpjpe_mm(self.method, *self.validation, self.device, most)
            least = self.best["val_mpjpe_mm"] if self.best else np.inf
            if self.recipe.checkpoint == "best" and score < least:
                weights = {k: v.detach().clone() for k, v in self.method.state_dict().items()}
                self.best = {"step": self.step, "val_mpjpe_mm": score, "model": weights}
        norms.hold(self.method, self.recipe.batch_norm)
        return score


def share_of(recipe: Recipe, count: int, processes: int) -> int:
    """Samples of a step that go through the network at once. Raises HandbenchError.

    The batch is the whole one of a step: of all processes and parts together.
    """
    parts = processes * recipe.accumulate
    if parts > 1 and (recipe.batch % parts or recipe.batch > count):
        fits = max(1, min(recipe.batch, count) // parts) * parts
        what = f"{processes} processes" if processes > 1 else ""
        what += " x " if processes > 1 and recipe.accumulate > 1 else ""
        what += f"{recipe.accumulate} parts" if recipe.accumulate > 1 else ""
        raise HandbenchError(
            f"a batch of {recipe.batch} of {count:,} samples cannot be shared out evenly to "
            f"{what}: give --batch a multiple of {parts}, such as {fits}"
        )
    return recipe.batch // parts
