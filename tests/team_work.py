"""What each process of a team does in test_distributed: the same, in the same order."""

import os
import signal
import sys
from pathlib import Path

from toy_runs import make

import handbench.methods
from handbench.inference.predict import predict
from handbench.training import trainer
from handbench.training.distributed import joined
from handbench.training.train import train

NORMS = ("frozen", "sync")
METHODS = {"toy": "toy_method:Toy", "steady": "toy_method:Steady"}


def steady(norm: str, *more: str):
    settings = f"batch_norm={norm}", "validate_every=10", "lr=0.001", *more
    return make(*settings, method="steady", steps=20, batch=8)


def noisy():
    return make("checkpoint=best", "validate_every=4", steps=9, batch=8, seed=3)


def work(folder: Path) -> list[str]:
    """Trains and predicts in a team; returns what went wrong with the interrupted run."""
    handbench.methods.TABLE.update(METHODS)
    stopped = []
    with joined("cpu") as team:
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
            stopped.append("stopped")
        trainer.Trainer.one_step = whole_step
        train(noisy(), "cpu")
    return stopped


if __name__ == "__main__":
    work(Path(sys.argv[1]))
