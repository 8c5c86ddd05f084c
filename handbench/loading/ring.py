"""Batches from worker processes, in memory that is shared with them and allocated once.

Threads (loader.batches) are the default: they cost nothing to start and copy nothing. Beyond some
eight of them the interpreter lock is in the way; each of these processes has its own. Slots are
anonymous shared pages, so a small /dev/shm is no limit.
"""

import ctypes
import mmap
import multiprocessing
import signal
import traceback
import warnings
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbench.errors import DataError, HandbenchError
from handbench.loading.batch import Batch, Samples
from handbench.loading.loader import Source
from handbench.loading.patches import crops_into

SPARE = 5  # slots beyond one a worker: batches that wait, that is computed on, that is copied
ALIGN = 64  # bytes
Place = tuple[str, str, tuple[int, ...], int]  # name, dtype, shape and first byte of an array


class Ring:
    """Samples whose batches worker processes make; ring.batch may be called by several threads.

    samples: what the workers inherit, labels and all, without a copy. workers: how many. most:
    samples of the largest batch. An array's slot is used again when nothing refers to it any more.
    Raises HandbenchError where processes cannot be forked.
    """

    def __init__(self, samples: Samples, workers: int, most: int) -> None:
        size = _room(samples.batch(np.arange(1))) * most
        self.slots = [mmap.mmap(-1, size) for _ in range(workers + SPARE)]
        self.free: SimpleQueue[int] = SimpleQueue()
        self.idle: SimpleQueue[Connection] = SimpleQueue()
        for number in range(len(self.slots)):
            self.free.put(number)
        if "fork" not in multiprocessing.get_all_start_methods():
            raise HandbenchError("--workers needs a system that forks processes: use threads, 0")
        context = multiprocessing.get_context("fork")
        pipes = [context.Pipe() for _ in range(workers)]
        self.ours = [ours for ours, _ in pipes]
        self.processes = []
        for number, (_, theirs) in enumerate(pipes):
            # with every other end closed, a worker reads end-of-file when this process is gone
            others = [*self.ours, *(each for _, each in pipes[number + 1 :])]
            process = context.Process(
                target=_serve, args=(samples, self.slots, theirs, others), daemon=True
            )
            with _deaf(), warnings.catch_warnings():
                # forking beside threads is safe for what a worker does: no torch, no console
                warnings.simplefilter("ignore", DeprecationWarning)
                process.start()
            theirs.close()
            self.processes.append(process)
            self.idle.put(self.ours[number])

    def batch(self, indices: Sequence[int] | NDArray, epoch: int = 0) -> Batch:
        """As Samples.batch. Raises what a worker raised, HandbenchError when it is gone."""
        slot, worker = self.free.get(), self.idle.get()
        try:
            worker.send((np.asarray(indices), epoch, slot))
            answer = worker.recv()
        except (EOFError, OSError) as error:
            self.free.put(slot)
            raise HandbenchError(
                "a loading process has ended (killed, or out of memory?): give fewer --workers"
            ) from error
        finally:
            self.idle.put(worker)  # one that is gone too: whoever asks it next need not wait
        if not isinstance(answer, list):
            self.free.put(slot)
            if isinstance(answer, Exception):
                raise answer
            return answer
        return self._taken(slot, answer)

    def _taken(self, slot: int, places: list[Place]) -> Batch:
        """The arrays in a slot, which is free again once they are gone."""
        memory = (ctypes.c_byte * len(self.slots[slot])).from_buffer(self.slots[slot])
        batch = {name: _array(memory, dtype, shape, begin) for name, dtype, shape, begin in places}
        if self.free.empty():  # whoever keeps many batches gets copies, and nobody waits for ever
            batch = {name: array.copy() for name, array in batch.items()}
            self.free.put(slot)
        else:
            weakref.finalize(memory, self.free.put, slot).atexit = False
        return batch

    def close(self) -> None:
        """Ends the workers; batches that are still referred to stay as they are."""
        for connection in self.ours:
            connection.close()
        for process in self.processes:
            process.join(5)
            process.kill()


@contextmanager
def workers_for(samples: Samples, workers: int, most: int) -> Iterator[Source]:
    """The samples themselves where workers is 0, else a Ring of them as long as the block lasts."""
    if not workers:
        yield samples
        return
    ring = Ring(samples, workers, most)
    try:
        yield ring
    finally:
        ring.close()


@contextmanager
def _deaf() -> Iterator[None]:
    """Ctrl-C and SIGTERM do not reach processes started here: who asks decides when to end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(
    samples: Samples, slots: list[mmap.mmap], requests: Connection, others: list[Connection]
) -> None:
    """A worker: batches into slots until the other end is closed."""
    for other in others:
        other.close()
    while True:
        try:
            indices, epoch, number = requests.recv()
        except EOFError:
            return
        answer: Any
        slot = Slot(slots[number])
        crops_into(slot.empty)
        try:
            answer = slot.keep(samples.batch(indices, epoch))
        except HandbenchError as error:
            answer = DataError(str(error))
        except Exception:
            answer = RuntimeError(f"in a loading process:\n{traceback.format_exc()}")
        try:
            requests.send(answer)
        except OSError:
            return


class Slot:
    """Shared memory for one batch, on a worker's side: crops are cut in it, the rest is copied."""

    def __init__(self, memory: mmap.mmap) -> None:
        self.memory, self.end = memory, 0
        self.address = np.frombuffer(memory, np.uint8).ctypes.data

    def empty(self, shape: tuple[int, ...], dtype: Any) -> NDArray:
        """An array in the slot, as np.empty where there is no room."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if self.end + size > len(self.memory):
            return np.empty(shape, dtype)
        begin, self.end = self.end, self.end + _aligned(size)
        return _array(self.memory, np.dtype(dtype).str, shape, begin)

    def keep(self, batch: Batch) -> list[Place] | Batch:
        """Where the batch's arrays lie in the slot now; the batch itself when it has no room."""
        inside = {name: self._place(array) for name, array in batch.items()}
        if all(begin is None for begin in inside.values()):
            self.end = 0  # crops that were cut here have been copied since
        places = []
        for name, array in batch.items():
            begin = inside[name]
            if begin is None:
                begin, self.end = self.end, self.end + _aligned(array.nbytes)
                if self.end > len(self.memory):
                    return batch
                _array(self.memory, array.dtype.str, array.shape, begin)[...] = array
            places.append((name, array.dtype.str, array.shape, begin))
        return places

    def _place(self, array: NDArray) -> int | None:
        """The first byte of an array that lies in the slot as it is."""
        begin = array.ctypes.data - self.address
        lies = 0 <= begin < len(self.memory) and array.flags.c_contiguous
        return begin if lies else None


def _array(memory: Any, dtype: str, shape: tuple[int, ...], begin: int) -> NDArray:
    return np.ndarray(shape, dtype, buffer=memory, offset=begin)


def _room(batch: Batch) -> int:
    """Bytes a batch takes; pictures in bytes may have a fourth channel in another batch."""
    sizes = {name: array.nbytes for name, array in batch.items()}
    if "image_bytes" in batch:
        sizes["image_bytes"] = sizes["image_bytes"] // batch["image_bytes"].shape[-1] * 4
    return sum(_aligned(size) for size in sizes.values())


def _aligned(size: int) -> int:
    return -(-size // ALIGN) * ALIGN
