"""Training steps: what a second process brings, what waits for data, and how much memory it takes.

Every measurement is a process of its own, held to a core of its own (loading included, so that a
process alone does not load on the other's core), on a small synthetic split. Two processes train
one run in a team (gloo); the reference is one process with the same whole batch. Where other work
shares the cores, the clock says little: the ratio is then that of CPU seconds a sample, twice that
of one process over that of each of the two, which holds the exchange of gradients but not the
waiting for each other. Both are printed.
"""

import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from report import Row, main

CASES = {"plain tiny": ("plain", 256), "handgcat tiny": ("handgcat", 128)}  # method, batch
STEPS, WARM = 14, 3
ROUNDS = 3
ALONE, TEAM = 1, 2
TARGET = 1.7
WAITING = 20.0  # step time over time waited: at most 5 %


def measure(name: str) -> dict[str, float]:
    """In a process of its own: CPU and clock seconds a step, the share waited, peak memory."""
    from handbench.training import recipe
    from handbench.training.distributed import joined
    from handbench.training.train import train
    from handbench.training.trainer import Trainer

    method, batch = CASES[name]
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(os.environ["RANK"]) % len(cores)]})
    steps: list[tuple[float, float, float]] = []
    whole = Trainer.one_step

    def one_step(self, parts):  # type: ignore[no-untyped-def]
        steps.append((time.process_time(), time.monotonic(), self.waited))
        return whole(self, parts)

    Trainer.one_step = one_step  # type: ignore[method-assign]
    chosen = recipe.make(
        method, overrides=["lr=0.001", "validate_every=1000"], steps=STEPS, batch=batch
    )
    with joined("cpu"):
        train(chosen, "cpu")
    # waited is set back with every row of the log, here after every step
    span = len(steps) - 1 - WARM
    waited = sum(entry[2] for entry in steps[WARM + 1 :])
    cpu, clock = (steps[-1][k] - steps[WARM][k] for k in (0, 1))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"cpu": cpu / span, "clock": clock / span, "waited": waited / clock, "peak_mib": peak}


def together(name: str, data: Path, processes: int) -> list[dict[str, float]]:
    """`measure` in so many processes at once."""
    with socket.socket() as free, tempfile.TemporaryDirectory() as runs:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        shared = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "HANDBENCH_DATA": str(data),
            "HANDBENCH_RUNS": runs,
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "WORLD_SIZE": str(processes),
        }
        started = [
            subprocess.Popen(
                [sys.executable, __file__, "--measure", name],
                env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            for rank in range(processes)
        ]
        return [json.loads(process.communicate()[0]) for process in started]


def run() -> list[Row]:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        prepare = [sys.executable, "-P", "-m", "handbench", "prepare", "synthetic"]
        limits = ["--split", "train", "--limit", "512", "--out", folder]
        subprocess.run([*prepare, *limits], check=True, stderr=subprocess.DEVNULL)
        for name, (_, batch) in CASES.items():
            split = Path(folder)
            rounds = [[together(name, split, n) for n in (ALONE, TEAM)] for _ in range(ROUNDS)]
            cpu = [(one[0]["cpu"], max(each["cpu"] for each in two)) for one, two in rounds]
            clock = [(one[0]["clock"], max(each["clock"] for each in two)) for one, two in rounds]
            for title, times in (("CPU", cpu), ("clock", clock)):
                # a step of two processes is as many samples as one of one process
                alone, shared = (statistics.median(column) * 1000 for column in zip(*times))
                ratio = statistics.median(a / b for a, b in times)
                rows.append(
                    {
                        "name": f"{name}, two processes",
                        "reference": f"one process, {title}",
                        "unit": "ms/step",
                        "value": shared,
                        "reference_value": alone,
                        "ratio": ratio,
                        "target": TARGET,
                    }
                )
            ones = [one[0] for one, _ in rounds]
            waited = statistics.median(one["waited"] for one in ones)
            step = statistics.median(one["clock"] for one in ones) * 1000
            rows.append(
                {
                    "name": f"{name}, waiting for data",
                    "reference": "whole step",
                    "unit": "ms/step",
                    "value": waited * step,
                    "reference_value": step,
                    "ratio": 1 / max(waited, 1e-6),
                    "target": WAITING,
                }
            )
            peak = max(one["peak_mib"] for one in ones)
            rate = f"{1000 * batch / step:,.0f} samples/s at batch {batch}"
            print(f"{name}: {rate}, peak {peak:,.0f} MiB")
    return rows


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        # only the numbers go to stdout; the second process of a team has none while joined
        print(json.dumps(measure(sys.argv[2])))
    else:
        main(run)
