"""Two processes over gloo train and predict as one does."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from team_work import METHODS, NORMS, noisy, steady, work
from toy_runs import assert_same, elsewhere, log_steps, weights

from handbench import checkpoint
from handbench.errors import HandbenchError
from handbench.inference.predict import predict
from handbench.training import runs
from handbench.training.selection import mpjpe_mm
from handbench.training.train import samples_for, train
from handbench.training.trainer import share_of


@pytest.fixture(scope="module")
def team(small_data, tmp_path_factory) -> Path:
    """The runs of a team: this process and another one."""
    folder = tmp_path_factory.mktemp("team")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    here = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    here["HANDBENCH_DATA"] = str(small_data)
    search = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    there = {**os.environ, **here, "RANK": "1", "LOCAL_RANK": "1", "PYTHONPATH": search}
    code = Path(__file__).with_name("team_work.py")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**here, "RANK": "0", "LOCAL_RANK": "0"}.items():
            patch.setenv(name, value)
        patch.setenv("HANDBENCH_RUNS", "")
        other = subprocess.Popen([sys.executable, "-P", str(code), str(folder)], env=there)
        try:
            stopped, left = work(folder)
            assert stopped == "stopped" and left.startswith("another process of the team does")
            assert other.wait(60) == 0
        finally:
            other.kill()
            other.wait()
    return folder


@pytest.fixture(autouse=True)
def methods(toy_places, monkeypatch) -> None:
    import handbench.methods

    for name, address in METHODS.items():
        monkeypatch.setitem(handbench.methods.TABLE, name, address)


def losses(run: runs.Run) -> np.ndarray:
    table = np.genfromtxt(run.log, delimiter=",", names=True)
    return np.stack([table["loss"], table["joints"]])


@pytest.mark.parametrize("norm", NORMS)
def test_two_processes_are_one(norm, team, monkeypatch, tmp_path):
    elsewhere(monkeypatch, team, norm)
    together = runs.run_of(steady(norm))
    elsewhere(monkeypatch, tmp_path, "alone")
    alone = train(steady(norm), "cpu")
    assert len(log_steps(alone)) == 20
    np.testing.assert_allclose(losses(together), losses(alone), rtol=1e-5)
    assert losses(alone)[0, -1] < 0.9 * losses(alone)[0, 0]
    mine, theirs = weights(together), weights(alone)
    for name, value in theirs.items():
        torch.testing.assert_close(mine[name], value, rtol=0, atol=1e-5)
    moved = theirs["body.1.running_mean"].abs().max()
    assert (moved > 0) == (norm == "sync")
    assert torch.equal(mine["unused.weight"], theirs["unused.weight"])
    known = np.genfromtxt(together.log, delimiter=",", names=True)["val_mpjpe_mm"]
    wanted = np.genfromtxt(alone.log, delimiter=",", names=True)["val_mpjpe_mm"]
    assert np.isfinite(known[-1])
    np.testing.assert_allclose(known, wanted, rtol=1e-4)


def test_a_team_predicts_what_one_process_does(team, monkeypatch):
    elsewhere(monkeypatch, team, "sync")
    run = runs.run_of(steady("sync"))
    with h5py.File(run.predictions("small/test")) as file:
        before = {name: file[name][()] for name in file}
        told = file.attrs["trained_in"]
    assert told == "fp32, batch 8, batch norm synchronised over processes"
    with h5py.File(predict(run, device="cpu", force=True)) as file:
        assert sorted(file) == sorted(before)
        for name, value in before.items():
            np.testing.assert_array_equal(file[name][()], value)


def test_a_stopped_team_resumes_to_the_same_weights(team, monkeypatch):
    """The second process was asked to stop; dropout makes its random numbers matter."""
    elsewhere(monkeypatch, team, "whole")
    whole = checkpoint.read(runs.run_of(noisy()).checkpoint)
    elsewhere(monkeypatch, team, "stopped")
    stopped = checkpoint.read(runs.run_of(noisy()).checkpoint)
    assert_same(whole["model"], stopped["model"])
    assert_same(whole["best"]["model"], stopped["best"]["model"])
    best = whole["best"]  # was chosen by the error of the very weights that are kept
    method, chosen, _ = checkpoint.trained(runs.run_of(noisy()))
    samples = samples_for(chosen, method, "small/val", False)
    again = mpjpe_mm(method, samples, np.arange(len(samples)), torch.device("cpu"))
    np.testing.assert_allclose(best["val_mpjpe_mm"], again, rtol=1e-6)
    first, second = (state[0] for state in whole["rng"])
    assert not torch.equal(first, second)


@pytest.mark.slow
def test_torchrun_trains_and_predicts_from_the_command_line(tmp_path, small_data, monkeypatch):
    command = [sys.executable, "-P", "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--standalone", "-m", "handbench"]
    places = {"HANDBENCH_DATA": str(small_data), "HANDBENCH_RUNS": str(tmp_path / "runs")}
    options = ["--data", "small", "--device", "cpu", "-o", "box_source=gt_joints"]
    options += ["--steps", "6", "--batch", "8", "--preset", "tiny"]
    for words in (["train", "plain", *options], ["predict", "plain", "--device", "cpu"]):
        done = subprocess.run(
            [*command, *words],
            env={**os.environ, **places},
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("predictions.h5")
    assert done.stdout.count("predictions.h5") == 1  # the second process is silent
    elsewhere(monkeypatch, tmp_path, "runs")
    run = runs.find("plain")
    assert checkpoint.read(run.checkpoint)["processes"] == 2
    assert (run.path / "curves.png").is_file()


def test_batches_that_cannot_be_shared_are_one_line(monkeypatch):
    assert share_of(steady("sync", "accumulate=2"), 32, 2) == 2
    with pytest.raises(HandbenchError, match="2 processes x 3 parts: give --batch a multiple of 6"):
        share_of(steady("sync", "accumulate=3"), 32, 2)
    monkeypatch.setenv("WORLD_SIZE", "2")
    from handbench.training.distributed import joined

    with pytest.raises(HandbenchError, match="but not RANK: start it with torchrun"), joined("cpu"):
        pass
