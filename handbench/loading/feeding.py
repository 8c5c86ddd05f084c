"""Batches on their way to the device: pinned by the loading threads, copied one step ahead."""

import os
from collections.abc import Generator, Iterator
from typing import Any

import torch

from handbench.loading.batch import Batch, to_torch
from handbench.machine import usable_cores

MOST_THREADS = 8  # beyond that the interpreter lock costs more than a thread brings


def pin(batch: Batch, device: torch.device) -> Batch:
    """The batch as tensors in pinned memory, from which a GPU copies while the host goes on."""
    with torch.cuda.device(device):  # each thread has a current one of its own
        return {name: torch.from_numpy(value).pin_memory() for name, value in batch.items()}


def loading_threads(device: torch.device) -> int:
    """One beside a network on the CPU; for a GPU this process's share of the cores, at most 8."""
    if device.type == "cpu":
        return 1
    cores = usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(MOST_THREADS, cores))


def ahead(steps: Iterator[list[Batch]], device: torch.device) -> Generator[list[Batch], None, None]:
    """The parts of each step as tensors on the device.

    On a GPU the next step's are copied, and finished where `pictures` is fast, by a stream of
    their own while this step computes.
    """
    if device.type == "cpu":
        for parts in steps:
            yield [to_torch(part) for part in parts]
        return
    side = torch.cuda.Stream(device)
    waiting: tuple[list[Batch], Any] | None = None
    for parts in steps:
        with torch.cuda.stream(side):
            moved = [to_torch(part, device) for part in parts]
            arrived = side.record_event()
        if waiting:
            yield _received(*waiting, device)
        waiting = moved, arrived
    if waiting:
        yield _received(*waiting, device)


def _received(parts: list[Batch], arrived: Any, device: torch.device) -> list[Batch]:
    """What the other stream made, for the one that computes."""
    computing = torch.cuda.current_stream(device)
    computing.wait_event(arrived)
    for part in parts:
        for value in part.values():
            value.record_stream(computing)  # not to be reused before the step is through
    return parts
