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

SCORED = ("test", "controlled", "onset")


@dataclass(frozen=True)
class Job:
    """One command in a process and on a thread of its own; run: the folder it trains into."""

    title: str
    command: tuple[str, ...]
    run: Path | None = None

    def state(self) -> str:
        """Where a run stands, from the last line of its log."""
        try:
            with open((self.run or Path()) / "log.csv", newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
        except FileNotFoundError:
            rows = []
        if not rows:
            return self.title
        told = f"{self.title} step {rows[-1]['step']} loss {float(rows[-1]['loss']):.3f}"
        errors = [row["val_mpjpe_mm"] for row in rows if row.get("val_mpjpe_mm")]
        return f"{told} val MPJPE {float(errors[-1]):.1f} mm" if errors else told


def training(method: str, variant: str = "full") -> Job:
    run = files.runs_dir() / method / variant / "synthetic-tiny-s0"
    title = method if variant == "full" else f"{method} {variant}"
    return Job(title, ("train", method, "-v", variant, "--device", "cpu"), run)


def preparing(splits: Sequence[str], workers: int) -> Job:
    chosen = [word for split in splits for word in ("--split", split)]
    command = ("prepare", "synthetic", "--workers", str(workers), *chosen)
    return Job(f"prepare {', '.join(splits)}", command)


def demo(out: Path, workers: int) -> None:
    """Run every step; a second call goes on where the first stopped.

    Two jobs run side by side, one thread each: the longest training beside all else.
    """
    started = time.monotonic()
    say(f"handbench {__version__} · synthetic grasps, open hand · {workers} CPU cores")
    learning = preparing(("train", "val"), workers)
    if subprocess.run([*handbench(), *learning.command], env=environment(), check=False).returncode:
        raise HandbenchError("preparing the synthetic data stopped (see above); run it again")
    runs = [training("h2onet"), training("plain"), training("mean_pose")]
    runs.append(training("mean_pose", "posed"))
    work([runs[0], preparing(SCORED, max(1, workers - 1)), *runs[1:]], min(workers, 2))
    score_and_show(runs, out)
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    say(f"\n{minutes} min {seconds:02d} s")
    say(f"Look at:  {out / 'report.html'}   (tables, curves, worst cases)")
    say("Next:     handbench show synthetic/test --index 12 · handbench prepare --help · README.md")


def work(jobs: Sequence[Job], at_once: int) -> None:
    """Do jobs in order, some side by side, and say of each when it is done how it went."""
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
                advance(0, "  ".join(job.state() for job, _, _ in running))
        finally:
            for _, process, _ in running:
                process.terminate()
            for _, process, log in running:
                process.wait()
                log.close()


def score_and_show(jobs: Sequence[Job], out: Path) -> None:
    from handbench.evaluate import evaluate_run
    from handbench.showing import report, tables
    from handbench.showing.formats import FORMATS, plain
    from handbench.training.runs import Run

    runs = [Run(job.run) for job in jobs if job.run is not None]
    results = {
        split: [evaluate_run(run, f"synthetic/{split}", "cpu") for run in runs] for split in SCORED
    }
    # the published rule for boxes, which tells where hidden fingers are, beside our own
    results["test"] += [
        evaluate_run(run, "synthetic/test", "cpu", boxes="gt_joints") for run in runs
    ]
    made = {split: tables.all_of(group) for split, group in results.items()}
    tables.write([table for group in made.values() for table in group], out / "tables", [*FORMATS])
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
    process = subprocess.Popen(
        [*handbench(), *job.command],
        stdout=subprocess.DEVNULL,
        stderr=log,
        env=environment(),
        text=True,
    )
    return job, process, log


def _finish(job: Job, process: subprocess.Popen, log: IO[str]) -> None:
    with log:
        log.seek(0)
        told = log.read().rstrip().splitlines()
    if process.returncode:
        raise HandbenchError(f"{job.title} stopped: {told[-1] if told else 'no word'}")
    for line in [f"train     {job.state()}"] if job.run else told:
        say(line)
