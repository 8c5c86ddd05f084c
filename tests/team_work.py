"""What each process of a team does in test_distributed: the same, in the same order."""

import os
import signal
import sys
from pathlib import Path

from toy_runs import make

import handbench.methods
from handbench.errors import HandbenchError
from handbench.inference.predict import predict
from handbench.training import trainer
from handbench.training.distributed import Team, joined
from handbench.training.train import train

NORMS = ("frozen", "sync")
METHODS = {"toy": "toy_method:Toy", "steady": "toy_method:Steady"}


def steady(norm: str, *more: str):
    settings = f"batch_norm={norm}", "validate_every=10", "lr=0.001", *more
    return make(*settings, method="steady", steps=20, batch=8)


def noisy():
    return make("checkpoint=best", "validate_every=4", steps=9, batch=8, seed=3)


def work(folder: Path) -> list[str]:
    """Trains and predicts in a team, until one of it is gone; returns what went wrong."""
    wrong: list[str] = []
    try:
        with joined("cpu") as team:
            work_together(team, folder, wrong)
            if team.rank:
                os._exit(0)  # as if killed
            team.wait()
    except HandbenchError as error:
        wrong.append(str(error))
    return wrong


def work_together(team: Team, folder: Path, wrong: list[str]) -> None:
    handbench.methods.TABLE.update(METHODS)
    for norm in NORMS:
        os.environ["HANDBENCH_RUNS"] = str(folder / norm)
        predict(train(steady(norm), "cpu"), device="cpu")
    os.environ["HANDBENCH_RUNS"] = str(folder / "whole")
    train(noisy(), "cpu")
    os.environ["HANDBENCH_RUNS"] = str(folder / "stopped")
    whole_step = trainer.Trainer.one_step

    def one_step(self, parts):
        if team.rank == 1 and self.step == 5:
            signal.raise_signal(signal.SIGTERM)
        return whole_step(self, parts)

    trainer.Trainer.one_step = one_step
    try:
        train(noisy(), "cpu")
    except KeyboardInterrupt:
        wrong.append("stopped")
    trainer.Trainer.one_step = whole_step
    train(noisy(), "cpu")


if __name__ == "__main__":
    work(Path(sys.argv[1]))
