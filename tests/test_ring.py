"""Batches from worker processes: the same ones, safe to keep, and no worker outlives its asker."""

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from test_batch import samples
from toy_runs import assert_same, elsewhere, make, weights

from handbench.errors import DataError, HandbenchError
from handbench.loading.augment import Augmentation
from handbench.loading.loader import Order, batches
from handbench.loading.ring import SPARE, Ring, workers_for
from handbench.store import open_split
from handbench.training.train import train

pytestmark = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="processes cannot be forked here"
)
HOLDS = """
import sys, time
from handbench.hand import default_hand
from handbench.loading.batch import Samples
from handbench.loading.ring import Ring
from handbench.store import open_split
split = open_split("small/train", sys.argv[1])
ring = Ring(Samples(split, 16, default_hand("right"), box_source="gt_joints"), 2, 4)
print(*[process.pid for process in ring.processes], flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def split(small_data):
    return open_split("small/train", small_data)


@pytest.mark.parametrize("options", [{}, {"pictures": "fast", "frames": 2}], ids=["exact", "fast"])
def test_workers_make_the_batches_that_threads_make(split, options):
    whole = samples(split, augment=Augmentation(occluders=0.5), seed=3, **options)
    order = list(Order(len(whole), 5, 1).steps(0, 24))
    with workers_for(whole, 2, 5) as ring:
        found = list(batches(ring, order, threads=2))  # more than there are slots, all kept
        assert ring.free.qsize() >= 1
        for one, other in zip(batches(whole, order, threads=0), found, strict=True):
            assert one.keys() == other.keys()
            for name in one:
                np.testing.assert_array_equal(one[name], other[name])
                assert one[name].dtype == other[name].dtype
        one = other = found = None
        gc.collect()
        assert ring.free.qsize() == 2 + SPARE  # and every slot is free again
    assert not multiprocessing.active_children()


def test_a_batch_larger_than_its_slot_and_what_workers_raise(split, monkeypatch):
    whole = samples(split)
    with workers_for(whole, 1, 2) as ring:
        many = np.arange(len(whole))
        np.testing.assert_array_equal(ring.batch(many)["image"], whole.batch(many)["image"])
        with pytest.raises(RuntimeError, match="(?s)in a loading process:.*IndexError"):
            ring.batch([10**6])
        assert len(ring.batch([1, 2])["image"]) == 2
    taken = type(split).image_bytes
    monkeypatch.setattr(
        type(split), "image_bytes", lambda self, row: b"" if row == 3 else taken(self, row)
    )
    named = pytest.raises(DataError, match="image of small/train/s000/cam/3 is not stored")
    with workers_for(whole, 1, 2) as ring, named:
        ring.batch([3])


def test_a_killed_worker_is_one_line(split):
    ring = Ring(samples(split), 1, 2)
    try:
        for number in (signal.SIGTERM, signal.SIGINT):  # sent to all processes when a job ends
            os.kill(ring.processes[0].pid, number)
        assert len(ring.batch([0])["index"]) == 1  # the run itself decides when to stop
        ring.processes[0].kill()
        for _ in range(1 + 1 + SPARE):  # nor does anybody wait for it later
            with pytest.raises(HandbenchError, match="a loading process has ended.*fewer --worke"):
                ring.batch([0])
    finally:
        ring.close()


@pytest.mark.usefixtures("toy_places")
def test_a_run_fed_by_workers_is_the_run_fed_by_threads(monkeypatch, tmp_path):
    chosen = make("accumulate=2")
    elsewhere(monkeypatch, tmp_path, "threads")
    threads = train(chosen, device="cpu")
    elsewhere(monkeypatch, tmp_path, "workers")
    assert_same(weights(threads), weights(train(chosen, device="cpu", workers=2)))
    with pytest.raises(HandbenchError, match="small/train/s003/cam/1:left"):
        train(make("poison=13", seed=1), device="cpu", workers=2)
    assert not multiprocessing.active_children()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_workers_do_not_outlive_a_killed_process(small_data):
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", HOLDS, str(small_data)], stdout=subprocess.PIPE, text=True
    )
    workers = [int(word) for word in process.stdout.readline().split()]
    assert len(workers) == 2 and all(alive(worker) for worker in workers)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 30
    while any(alive(worker) for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(process: int) -> bool:
    """Whether a process runs; one that has ended and whose end nobody has asked for does not."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
