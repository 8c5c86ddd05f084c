"""The whole chain on synthetic data: prepare, train, predict, score, tables, figures, report."""

import csv
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import click

from handbench import __version__, files
from handbench.console import progress, say
from handbench.errors import HandbenchError

SPLITS = ("train", "val", "test", "controlled", "onset")
SCORED = ("test", "controlled")


@dataclass(frozen=True)
class Job:
    """One variant to train, in a process and on a thread of its own."""

    method: str
    variant: str = "full"

    @property
    def run(self) -> Path:
        return files.runs_dir() / self.method / self.variant / "synthetic-tiny-s0"

    @property
    def title(self) -> str:
        return self.method if self.variant == "full" else f"{self.method} {self.variant}"


# Longest first: two run side by side, one thread each.
JOBS = (Job("h2onet"), Job("plain"), Job("mean_pose"), Job("mean_pose", "posed"))


def demo(out: Path, workers: int) -> None:
    """Run every step; a second call goes on where the first stopped."""
    started = time.monotonic()
    say(f"handbench {__version__} · synthetic grasps, open hand · {workers} CPU cores")
    prepare(workers)
    train(JOBS, min(workers, 2))
    score_and_show(JOBS, out)
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    say(f"\n{minutes} min {seconds:02d} s")
    say(f"Look at:  {out / 'report.html'}   (tables, curves, worst cases)")
    say("Next:     handbench show synthetic/test --index 12 · handbench prepare --help · README.md")


def prepare(workers: int) -> None:
    command = ["prepare", "synthetic", "--workers", str(workers)]
    for split in SPLITS:
        command += ["--split", split]
    code = subprocess.run([*handbench(), *command], env=environment(), check=False).returncode
    if code:
        raise HandbenchError("preparing the synthetic data stopped (see above); run it again")


def train(jobs: Sequence[Job], at_once: int) -> None:
    """Train jobs, some side by side, and show each one's loss and validation error when done."""
    waiting = list(jobs)
    running: list[tuple[Job, subprocess.Popen, IO[str]]] = []
    with progress("train", len(jobs), "") as advance:
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    running.append(_start(waiting.pop(0)))
                time.sleep(0.2)
                for each in [one for one in running if one[1].poll() is not None]:
                    running.remove(each)
                    _finish(*each)
                    advance(1)
                advance(0, "  ".join(_state(job) for job, _, _ in running))
        finally:
            for _, process, _ in running:
                process.terminate()
            for _, process, log in running:
                process.wait()
                log.close()


def score_and_show(jobs: Sequence[Job], out: Path) -> None:
    from handbench import plots, report, tables
    from handbench.evaluate import evaluate_run
    from handbench.formats import FORMATS, plain
    from handbench.runs import Run

    results = {
        split: [evaluate_run(Run(job.run), f"synthetic/{split}", "cpu") for job in jobs]
        for split in SCORED
    }
    made = {split: tables.all_of(group) for split, group in results.items()}
    tables.write([table for group in made.values() for table in group], out / "tables", [*FORMATS])
    for group in results.values():
        plots.all_of(group, out / "plots")
    for job in jobs:
        if (job.run / "log.csv").is_file():
            plots.training_curve(job.run / "log.csv", out / "plots", job.title.replace(" ", "_"))
    report.write([*results.values()], out / "report.html")
    click.echo(plain(made["test"][0]))


def handbench() -> list[str]:
    """This interpreter running this package, kept off the current folder."""
    return [sys.executable, "-P", "-m", "handbench"]


def environment() -> dict[str, str]:
    """One thread a process: more threads than cores make a step many times slower."""
    single = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    return {**os.environ, **single}


def _start(job: Job) -> tuple[Job, subprocess.Popen, IO[str]]:
    log = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 (closed by _finish)
    command = [*handbench(), "train", job.method, "-v", job.variant, "--device", "cpu"]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=log, env=environment(), text=True
    )
    return job, process, log


def _finish(job: Job, process: subprocess.Popen, log: IO[str]) -> None:
    with log:
        if process.returncode:
            log.seek(0)
            told = log.read().strip().splitlines()
            raise HandbenchError(f"training {job.title} stopped: {told[-1] if told else 'no word'}")
    say(f"train     {_state(job)}")


def _state(job: Job) -> str:
    """Where a run stands, from the last line of its log."""
    try:
        with open(job.run / "log.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        rows = []
    if not rows:
        return job.title
    told = f"{job.title} step {rows[-1]['step']} loss {float(rows[-1]['loss']):.3f}"
    errors = [row["val_mpjpe_mm"] for row in rows if row.get("val_mpjpe_mm")]
    return f"{told} val MPJPE {float(errors[-1]):.1f} mm" if errors else told
