"""The work of preparing: a plan divided into parts, and parts made by one or more processes."""

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import Any

import cv2

from handbench.errors import DataError, HandbenchError
from handbench.hand import Hand, default_hand
from handbench.png import encode_grey
from handbench.preparing.parts import Part
from handbench.preparing.pictures import AS_SHIPPED, Pictures, Stored
from handbench.records import Frame, HandLabels, SequencePlan
from handbench.store import PartBytes, decode, read_text, reading

LEAST_ROWS, USUAL_ROWS, MOST_ROWS = 32, 512, 1024
PARTS = 8  # a small split is cut into about so many, so that a few processes have work
ANEW = "--force without labels makes the split anew"
SINGLE = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
PRELOAD = ["numpy", "numba", "h5py", "cv2", "scipy.spatial"]


@dataclass(frozen=True)
class Task:
    """One part file to make: whole sequences, of each its first `take` rows."""

    number: int
    sequences: tuple[tuple[SequencePlan, int], ...]

    @property
    def name(self) -> str:
        return f"part-{self.number:05d}.h5"

    @property
    def rows(self) -> int:
        return sum(take for _, take in self.sequences)

    def describe(self) -> list[tuple[str, str, int]]:
        return [(plan.name, plan.camera, take) for plan, take in self.sequences]


def divide(plan: Sequence[SequencePlan], limit: int | None = None) -> list[Task]:
    """The parts of a split: whole sequences in bytewise order, about 512 rows, at most 1,024.

    A longer sequence is a part of its own. Depends on the plan (and limit, the first so many rows)
    only, never on the number of workers.
    """
    ordered = sorted(plan, key=lambda each: (each.name.encode(), each.camera.encode()))
    cut = list(_first(ordered, limit))
    total = sum(take for _, take in cut)
    wanted = min(USUAL_ROWS, max(LEAST_ROWS, -(-total // PARTS)))
    groups: list[list[tuple[SequencePlan, int]]] = []
    rows = MOST_ROWS
    for each, take in cut:
        if rows >= wanted or rows + take > MOST_ROWS:
            groups.append([])
            rows = 0
        groups[-1].append((each, take))
        rows += take
    return [Task(number, tuple(group)) for number, group in enumerate(groups)]


def _first(plan: Sequence[SequencePlan], limit: int | None) -> Iterator[tuple[SequencePlan, int]]:
    left = limit if limit is not None else sum(each.rows for each in plan)
    for each in plan:
        take = min(each.rows, left)
        if take > 0:
            yield each, take
        left -= take


def hands_of(reader: Any) -> tuple[Hand, Hand]:
    """Right and left hand model: the reader's own, else the ones in use here."""
    own = getattr(reader, "hands", None)
    return own() if own else (default_hand("right"), default_hand("left"))


@dataclass(frozen=True)
class Job:
    """What a process needs to make parts of one split: the reader, where to write, and what.

    keep: the parts are there, and their pictures stay as they are (new labels for old pictures).
    """

    reader: Any
    folder: Path
    attributes: Mapping[str, Any]
    store_verts: bool = False
    pictures: Pictures = AS_SHIPPED
    keep: bool = False

    @cached_property
    def hands(self) -> tuple[Hand, Hand]:
        return hands_of(self.reader)

    def __reduce__(self) -> tuple:
        # without the hand models, megabytes which each process opens for itself
        rest = self.store_verts, self.pictures, self.keep
        return Job, (self.reader, self.folder, self.attributes, *rest)

    def make(self, task: Task, advance: Callable[[], None]) -> None:
        """Read, label and write one part; the same bytes whoever makes it."""
        part = Part(task.rows, self.store_verts)
        before = Counter(getattr(self.reader, "skipped", {}))
        kept = _kept(self.folder / task.name) if self.keep else None
        for frame in self.frames(task):
            labels, segmentation = self.label(frame)
            if kept is None:
                stored = self.pictures.keep(frame, labels)
            elif frame.id in kept:
                stored = kept.pop(frame.id)
            else:
                raise DataError(f"{self.folder / task.name} has no picture of {frame.id}: {ANEW}")
            part.add(frame, labels, segmentation, stored)
            advance()
        if kept:
            raise DataError(f"the raw folder has no longer {next(iter(kept))}: {ANEW}")
        skipped = Counter(getattr(self.reader, "skipped", {})) - before
        own = {"part": task.number, "skipped": dict(skipped)}
        part.write(self.folder / task.name, {**self.attributes, **own})

    def frames(self, task: Task) -> Iterator[Frame]:
        """The frames of a part, sequence by sequence."""
        for plan, take in task.sequences:
            yield from islice(self.reader.frames(plan), take)

    def label(self, frame: Frame) -> tuple[Mapping[str, HandLabels], bytes | None]:
        """Occlusion labels by side and a segmentation (PNG), of a frame whose geometry is known."""
        if frame.scene is None:
            return {}, None
        from handbench.visibility import label_scene

        mask = None
        if frame.segmentation:
            mask = decode(frame.segmentation, cv2.IMREAD_UNCHANGED)
            if mask is None:
                raise DataError(f"{frame.id}: its segmentation cannot be decoded")
        fitted = any(hand and hand.mano_valid == 2 for hand in (frame.right, frame.left))
        source = getattr(self.reader, "label_source", 2 if fitted else 1)
        known = frame.scene.whole or mask is not None
        source = source if known else 0
        found, drawn = label_scene(frame.scene, *self.hands, mask=mask, source=source)
        # a mesh without a record hides others, but is no hand of this split
        labels = {side: label for side, label in found.items() if getattr(frame, side) is not None}
        if mask is not None or not known:
            return labels, None
        return labels, encode_grey(drawn)


def _kept(path: Path) -> dict[str, Stored]:
    """Row id -> picture and window of a part that is there."""
    old = PartBytes(path, "handbench prepare")
    with reading(path, "handbench prepare") as file:
        ids, windows = read_text(file["id"]), file["image/window"][()]
    return {
        str(name): (old.read("image", row), tuple(int(x) for x in windows[row]))  # type: ignore
        for row, name in enumerate(ids)
    }


def run(job: Job, tasks: Sequence[Task], workers: int, advance: Callable[..., None]) -> None:
    """Make the parts, with workers > 1 in that many processes; advance(steps) reports rows.

    Raises what the reader or the disk raises; parts that were finished before stay.
    """
    if min(workers, len(tasks)) <= 1:
        with _one_thread():
            for task in tasks:
                job.make(task, advance)
        return
    # a server that is forked from before any thread or library state exists, yet starts fast
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    count, stop = context.Value("q", 0), context.Event()
    shown = 0
    with _one_thread():
        pool = ProcessPoolExecutor(
            min(workers, len(tasks)), context, initializer=_begin, initargs=(job, count, stop)
        )
        try:
            with _interrupted_later():
                waiting = {pool.submit(_make, task) for task in tasks}
            while waiting:
                done, waiting = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                advance(count.value - shown)
                shown += count.value - shown
        except BrokenProcessPool:
            raise DataError(
                "a worker process was stopped from outside (out of memory?): the same command "
                "goes on from here, try fewer --workers"
            ) from None
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _interrupted_later() -> Iterator[None]:
    """Ctrl-C waits until this ends, and processes started meanwhile never hear it.

    A process that is stopped while it starts would print a traceback; to answer is for this one.
    """
    came: list[int] = []
    main = threading.current_thread() is threading.main_thread()  # others may set no handler
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # what children inherit
    # another thread, that of a progress bar, may still take the signal
    before = signal.signal(signal.SIGINT, lambda number, _: came.append(number)) if main else None
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if main:
            signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread a process, in this one and in those started here: more make each slower."""
    before, threads = {name: os.environ.get(name) for name in SINGLE}, cv2.getNumThreads()
    os.environ.update(SINGLE)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class _Stopped(Exception):
    """Another worker failed, or the user stopped the run."""


_state: dict[str, Any] = {}


def _begin(job: Job, count: Any, stop: Any) -> None:
    """Set up a worker process; it ends with its parent, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    parent = parent_process()
    assert parent is not None
    watch = threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True)
    watch.start()
    _state.update(job=job, count=count, stop=stop)


def _follow(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


def _make(task: Task) -> None:
    try:
        _state["job"].make(task, _step)
    except HandbenchError as error:
        # its kinds do not all survive the way between processes
        raise DataError(str(error)) from None


def _step() -> None:
    with _state["count"].get_lock():
        _state["count"].value += 1
    if _state["stop"].is_set():
        raise _Stopped
