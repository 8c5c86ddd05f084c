"""The whole chain on synthetic data: prepare, train, predict, score, tables, figures, report."""

import csv
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import click

from handbench import __version__, files
from handbench.console import amount, progress, say
from handbench.errors import HandbenchError

SCORED = ("test", "controlled", "onset")
# The published rule for boxes, which tells where hidden fingers are, stands beside our own.
BOXES = "visible_mask,gt_joints"
FROM_PLAIN = ("--steps", "400", "-o", "lr=0.0015")  # of a network whose backbone plain has trained


@dataclass(frozen=True)
class Job:
    """One command in a process and on a thread of its own.

    run: the folder it trains into; after: the title of a job that must be done before; scored:
    how many runs it scores.
    """

    title: str
    command: tuple[str, ...]
    run: Path | None = None
    after: str = ""
    scored: int = 0

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


def training(method: str, variant: str = "full", *options: str, after: str = "") -> Job:
    run = files.runs_dir() / method / variant / "synthetic-tiny-s0"
    title = method if variant == "full" else f"{method} {variant}"
    command = ("train", method, "-v", variant, "--device", "cpu", *options)
    return Job(title, command, run, after)


def trainings() -> list[Job]:
    """All that is trained, in an order that keeps two cores busy.

    What plain has learnt stands in for the pretrained backbone that the papers start from.
    """
    plain = training("plain")
    started = ("--backbone", str((plain.run or Path()) / "checkpoint.pt"), *FROM_PLAIN)
    return [
        training("h2onet"),
        plain,
        training("handoccnet", "full", *started, after=plain.title),
        training("handgcat"),
        training("occrobnet", "full", *started, after=plain.title),
        training("mean_pose"),
        training("mean_pose", "posed"),
    ]


def scoring(split: str, runs: Sequence[Path], *options: str) -> Job:
    command = ("eval", *map(str, runs), "--data", f"synthetic/{split}", "--device", "cpu", *options)
    return Job(f"score {split}", command, scored=len(runs))


def preparing(splits: Sequence[str], workers: int) -> Job:
    chosen = [word for split in splits for word in ("--split", split)]
    command = ("prepare", "synthetic", "--workers", str(workers), *chosen)
    return Job(f"prepare {', '.join(splits)}", command)


def demo(out: Path, workers: int) -> None:
    """Run every step; a second call goes on where the first stopped.

    Two jobs run side by side, one thread each.
    """
    started = time.monotonic()
    say(f"handbench {__version__} · synthetic grasps, open hand · {workers} CPU cores")
    learning = preparing(("train", "val"), workers)
    if subprocess.run([*handbench(), *learning.command], env=environment(), check=False).returncode:
        raise HandbenchError("preparing the synthetic data stopped (see above); run it again")
    jobs = trainings()
    at_once = min(workers, 2)
    work("train", [*jobs[:-2], preparing(SCORED, max(1, workers - 1)), *jobs[-2:]], at_once)
    runs = [job.run for job in jobs if job.run is not None]
    first, *others = (scoring(split, runs) for split in SCORED)
    work("score", [replace(first, command=(*first.command, "--boxes", BOXES)), *others], at_once)
    show(runs, out)
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    say(f"\n{minutes} min {seconds:02d} s")
    say(f"Look at:  {out / 'report.html'}   (tables, curves, worst cases)")
    then = files.document("tutorial.md")
    say(f"Next:     {called()} show synthetic/test --index 12   (then {then})")


def work(title: str, jobs: Sequence[Job], at_once: int) -> None:
    """Do jobs in order, some side by side, and say of each when it is done how it went."""
    waiting = list(jobs)
    running: list[tuple[Job, subprocess.Popen, IO[str]]] = []
    with progress(title, len(jobs), "") as advance:
        try:
            while waiting or running:
                undone = {job.title for job in waiting} | {job.title for job, _, _ in running}
                for job in [job for job in waiting if job.after not in undone]:
                    if len(running) < at_once:
                        waiting.remove(job)
                        running.append(_start(job))
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


def show(folders: Sequence[Path], out: Path) -> None:
    """Tables and report of what has been scored; prints the table of the test split."""
    from handbench.evaluate import evaluate_run
    from handbench.showing import report, tables
    from handbench.showing.formats import FORMATS, plain
    from handbench.training.runs import Run

    runs = [Run(folder) for folder in folders]
    results = {
        split: [evaluate_run(run, f"synthetic/{split}", "cpu") for run in runs] for split in SCORED
    }
    for source in BOXES.split(",")[1:]:
        results["test"] += [
            evaluate_run(run, "synthetic/test", "cpu", boxes=source) for run in runs
        ]
    made = {split: tables.all_of(group) for split, group in results.items()}
    tables.write([table for group in made.values() for table in group], out / "tables", [*FORMATS])
    report.write([*results.values()], out / "report.html")
    click.echo(plain(made["test"][0]))


def handbench() -> list[str]:
    """This interpreter running this package, kept off the current folder."""
    return [sys.executable, "-P", "-m", "handbench"]


def called() -> str:
    """What to type for this program: its name, or where it lies when the shell does not know it."""
    if shutil.which("handbench"):
        return "handbench"
    beside = Path(sys.executable).parent / "handbench"
    if beside.is_file():
        return min(str(beside), os.path.relpath(beside), key=len)
    return f"{sys.executable} -m handbench"


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
    if job.run:
        told = [f"train     {job.state()}"]
    elif job.scored:
        # what is said of every run is said once, and where each file lies not at all
        told = list(dict.fromkeys(line for line in told if "predictions.h5" not in line))
        told = [
            f"score     synthetic/{job.title.split()[1]:<12} {amount(job.scored, 'run')}",
            *told,
        ]
    for line in told:
        say(line)
