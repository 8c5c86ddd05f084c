"""The order of training samples, and batches made ahead of time by a few threads."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from handbench.loading.batch import Batch


class Source(Protocol):
    """What makes batches: Samples, or a Ring of processes that do."""

    def batch(self, indices: Sequence[int] | NDArray, epoch: int = 0) -> Batch: ...


@dataclass(frozen=True)
class Order:
    """Which samples each training step takes: a fresh seeded permutation every epoch.

    The step number alone says where one stands, so a resumed run goes on with the same batches.
    What is left over at the end of an epoch is dropped.
    """

    count: int
    batch: int
    seed: int

    @property
    def per_epoch(self) -> int:
        return max(1, self.count // self.batch)

    def steps(self, start: int, stop: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Yields (epoch, indices (B,)) for steps start to stop - 1."""
        known, permutation = -1, np.empty(0, np.int64)
        for step in range(start, stop):
            epoch, place = divmod(step, self.per_epoch)
            if epoch != known:
                known = epoch
                permutation = np.random.default_rng([self.seed, epoch]).permutation(self.count)
            yield epoch, permutation[place * self.batch : (place + 1) * self.batch]


def once(count: int, batch: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Every sample once, in order."""
    for start in range(0, count, batch):
        yield 0, np.arange(start, min(start + batch, count))


def batches(
    samples: Source,
    order: Iterable[tuple[int, NDArray[np.int64]]],
    threads: int = 1,
    finish: Callable[[Batch], Batch] | None = None,
) -> Generator[Batch, None, None]:
    """Batches in the given order, made ahead by threads (0: made when asked for).

    Decoding and warping release the interpreter lock, so threads do run side by side. samples: also
    a ring.Ring of worker processes, each thread then asks one. finish: what a thread does with its
    batch at last, such as feeding.pin.
    """
    import cv2

    cv2.setNumThreads(1)

    def make(indices: NDArray[np.int64], epoch: int) -> Batch:
        batch = samples.batch(indices, epoch)
        return finish(batch) if finish else batch

    if threads == 0:
        for epoch, indices in order:
            yield make(indices, epoch)
        return
    pool = ThreadPoolExecutor(threads, thread_name_prefix="batches")
    waiting: deque = deque()
    try:
        for epoch, indices in order:
            waiting.append(pool.submit(make, indices, epoch))
            if len(waiting) > threads + 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
