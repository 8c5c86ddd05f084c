"""Several processes that train or predict as one, as torchrun starts them."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed, nn

from handbench.errors import HandbenchError


@dataclass(frozen=True)
class Team:
    """The processes at work; alone, every method gives its argument back."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and speaks."""
        return self.rank == 0

    def share(self, values: NDArray) -> NDArray:
        """This process's run of values; all runs together are the whole, without duplicates."""
        return np.array_split(values, self.size)[self.rank]

    def total(self, value: torch.Tensor) -> torch.Tensor:
        """The sum over processes, the same to the last bit in each."""
        if self.size > 1:
            distributed.all_reduce(value)
        return value

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        return self.total(value) / self.size

    def any(self, *flags: bool) -> list[bool]:
        """For each flag whether any process has it set."""
        if self.size == 1:
            return list(flags)
        return (self.total(torch.tensor(flags, dtype=torch.int32)) > 0).tolist()

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, by rank; plain values, arrays and CPU tensors."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        distributed.all_gather_object(found, value)
        return found

    def collect(self, value: Any) -> list[Any]:
        """In the first process what `gather` gives, in the others their own value alone."""
        if self.size == 1:
            return [value]
        found: list[Any] | None = [None] * self.size if self.first else None
        distributed.gather_object(value, found)
        return [value] if found is None else found

    def take_first(self, values: Sequence[torch.Tensor]) -> None:
        """Gives all processes the first one's values, in place."""
        for value in values if self.size > 1 else ():
            distributed.broadcast(value, 0)

    def wait(self) -> None:
        """Until all processes have come here."""
        if self.size > 1:
            distributed.barrier()


def team() -> Team:
    """The processes that `joined` has joined, else this one alone."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return Team()
    return Team(distributed.get_rank(), distributed.get_world_size())


@contextmanager
def joined(device: str = "auto") -> Iterator[Team]:
    """Joins the processes torchrun started, if it did; all but the first are silent.

    Raises HandbenchError when what torchrun says is incomplete, a process has no GPU of its own or
    another process of the team has ended before its time.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Team()
        return
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        if name not in os.environ:
            raise HandbenchError(f"WORLD_SIZE is set but not {name}: start it with torchrun")
    on_gpu = device != "cpu" and torch.cuda.is_available()
    if on_gpu:
        local, found = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= found:
            raise HandbenchError(f"process {local} of this machine has no GPU: there are {found}")
        torch.cuda.set_device(local)
    distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
    try:
        with open(os.devnull, "w") as nowhere:
            silent = not team().first
            with (
                redirect_stdout(nowhere if silent else sys.stdout),
                redirect_stderr(nowhere if silent else sys.stderr),
            ):
                yield team()
    except RuntimeError as error:
        if not (isinstance(error, distributed.DistError) or "gloo" in str(error)):
            raise
        raise HandbenchError(
            "another process of the team does not answer: has it ended? Its own message tells why"
        ) from error
    finally:
        distributed.destroy_process_group()


def spread(objective: nn.Module, batch: dict[str, Any], device: torch.device) -> nn.Module:
    """The objective with gradients averaged over the team while they are computed.

    Parameters that the loss does not depend on would be waited for; a trial on batch finds them,
    and they are frozen, which changes nothing: without a gradient no optimizer moves them.
    """
    if team().size == 1:
        return objective
    kept = [(buffer, buffer.clone()) for buffer in objective.buffers()]
    states = torch.get_rng_state(), _cuda_state(device)
    parameters = [p for p in objective.parameters() if p.requires_grad]
    loss = torch.stack([value.float() for value in objective(batch).values()]).sum()
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, found):
        parameter.requires_grad_(gradient is not None)
    for buffer, value in kept:
        buffer.copy_(value)
    torch.set_rng_state(states[0])
    if states[1] is not None:
        torch.cuda.set_rng_state(states[1], device)
    wrapped = nn.parallel.DistributedDataParallel(
        objective,
        device_ids=[device] if device.type == "cuda" else None,
        gradient_as_bucket_view=True,
    )
    return wrapped


def _cuda_state(device: torch.device) -> torch.Tensor | None:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else None
