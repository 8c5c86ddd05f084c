"""Training through faults: kills, broken files, a full disk, losses that are not numbers."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from toy_runs import assert_same, elsewhere, log_steps, make, weights

from handbench import checkpoint
from handbench.errors import DataError, HandbenchError
from handbench.training import recipe, runs
from handbench.training.logbook import Logbook
from handbench.training.train import train
from handbench.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("toy_places")

KILLED = """
import sys, handbench.methods
from handbench.training import recipe
from handbench.training.train import train
handbench.methods.TABLE.update(toy="toy_method:Toy")
train(recipe.from_toml(sys.argv[1]), device="cpu", save_seconds=0)
"""


def start(chosen: recipe.Recipe) -> subprocess.Popen:
    """Trains in a process of its own, with a checkpoint after every step."""
    search = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-P", "-c", KILLED, recipe.to_toml(chosen)],
        env={**os.environ, "PYTHONPATH": search},
        stderr=subprocess.DEVNULL,
    )


def wait_for_progress(process: subprocess.Popen, run: runs.Run, step: int) -> None:
    """Waits until the run has gone two steps beyond `step`, by its log, or has ended."""
    deadline = time.monotonic() + 60
    while process.poll() is None and not any(s > step + 1 for s in log_steps(run)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_resumes_to_the_same_weights(number, monkeypatch, tmp_path):
    chosen = make("validate_every=7", steps=200)
    elsewhere(monkeypatch, tmp_path, "whole")
    whole = train(chosen, device="cpu")
    elsewhere(monkeypatch, tmp_path, "killed")
    killed = runs.run_of(chosen)
    process = start(chosen)
    wait_for_progress(process, killed, 0)
    process.send_signal(number)
    assert process.wait(30) != 0
    assert 0 < checkpoint.newest(killed)["step"] < 200
    train(chosen, device="cpu")
    assert_same(weights(whole), weights(killed))
    assert log_steps(whole) == log_steps(killed)


def test_a_broken_checkpoint_falls_back_to_the_one_before(monkeypatch, tmp_path, capsys):
    chosen = make()
    elsewhere(monkeypatch, tmp_path, "whole")
    whole = train(chosen, device="cpu", save_seconds=0)
    elsewhere(monkeypatch, tmp_path, "broken")
    broken = train(chosen, device="cpu", save_seconds=0)
    damaged = bytearray(broken.checkpoint.read_bytes())
    damaged[len(damaged) // 2] ^= 255  # one byte is enough
    broken.checkpoint.write_bytes(damaged)
    train(chosen, device="cpu")
    said = capsys.readouterr().err
    assert "going on from checkpoint.prev.pt (step 11)" in said
    assert_same(weights(whole), weights(broken))
    assert checkpoint.read(broken.previous_checkpoint)["step"] == 11  # the broken one is gone
    damaged = bytearray(broken.checkpoint.read_bytes())
    damaged[-48] ^= 255  # where the table of contents begins
    broken.checkpoint.write_bytes(damaged)
    assert checkpoint.newest(broken)["step"] == 11
    for path in (broken.checkpoint, broken.previous_checkpoint):
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match="cut short.*no earlier one.*--force"):
        train(chosen, device="cpu")
    train(chosen, device="cpu", force=True)
    assert_same(weights(whole), weights(broken))


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, ("false",)

    torch.save({"format": checkpoint.FORMAT, "x": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(DataError, match="evil.pt holds more than weights"):
        checkpoint.read(tmp_path / "evil.pt")
    torch.save({"a": torch.zeros(1)}, tmp_path / "foreign.pt")
    with pytest.raises(DataError, match="is no checkpoint of handbench"):
        checkpoint.read(tmp_path / "foreign.pt")


def test_a_loss_that_is_not_finite_names_its_samples(capsys):
    with pytest.raises(HandbenchError) as caught:
        train(make("poison=13"), device="cpu")
    text = str(caught.value)
    assert "small/train/s003/cam/1:left" in text
    assert "\n" not in text
    run = train(make("poison=13", "on_nonfinite=skip"), device="cpu", force=True)
    assert "step skipped" in capsys.readouterr().err
    assert all(torch.isfinite(value).all() for value in weights(run).values())


def test_a_run_that_a_bad_step_stopped_goes_on_as_if_it_had_always_skipped(monkeypatch, tmp_path):
    """Neither running statistics nor random numbers have seen the bad step; the log has it."""
    skipping = make("poison=13", "on_nonfinite=skip", "validate_every=1")
    elsewhere(monkeypatch, tmp_path, "whole")
    whole = train(skipping, device="cpu")
    elsewhere(monkeypatch, tmp_path, "stopped")
    with pytest.raises(HandbenchError, match="not finite at step"):
        train(make("poison=13", "validate_every=1"), device="cpu", save_seconds=0)
    assert_same(weights(whole), weights(train(skipping, device="cpu")))
    assert log_steps(whole) == list(range(1, 13))
    assert ",nan," in whole.log.read_text()


def test_a_damaged_log_is_cut_back_to_its_whole_lines(tmp_path):
    path = tmp_path / "log.csv"
    for text in (b"ste", b"step,los", b"st,loss\n1,2\n", b"step,loss\n\xff\xfe,\x00\n1,0.25\n2,0"):
        path.write_bytes(text)
        with Logbook(path, 5) as log:
            log.add({"step": 6, "loss": 0.125})
        kept = "1,0.25\n" if b"0.25" in text else ""
        assert path.read_text() == f"step,loss\n{kept}6,0.125\n"


def test_looking_at_losses_now_and_then_changes_nothing_but_when_it_is_said(
    monkeypatch, tmp_path, capsys
):
    """As on a GPU: bad steps are left out on the device, and named some steps later."""
    skipping = make("poison=13", "on_nonfinite=skip", "ema=0.9", steps=300)
    elsewhere(monkeypatch, tmp_path, "each")
    each = train(skipping, device="cpu")
    said = capsys.readouterr().err.splitlines()[:-1]
    assert len(said) > 50 and all("step skipped" in line for line in said)
    whole = Trainer.descend

    def descend(self):
        self.look_every = 10
        whole(self)

    monkeypatch.setattr(Trainer, "descend", descend)
    elsewhere(monkeypatch, tmp_path, "rarely")
    rarely = train(skipping, device="cpu")
    assert capsys.readouterr().err.splitlines()[:-1] == said
    assert_same(weights(each), weights(rarely))
    stopping = make("poison=13", "validate_every=1000", seed=5, steps=2000)
    with pytest.raises(HandbenchError, match="small/train/s003/cam/1:left"):
        train(stopping, device="cpu")
    assert not runs.run_of(stopping).checkpoint.exists()  # none from behind the bad step


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("way", ["exact", "fast"])
def test_a_gpu_is_fed_ahead_and_names_bad_samples(way, monkeypatch, tmp_path, capsys):
    """Without dropout a GPU's weights are those of the CPU but for rounding."""
    monkeypatch.setattr("toy_method.nn.Dropout", lambda share: torch.nn.Identity())
    chosen = make("poison=13", "on_nonfinite=skip", f"pictures={way}", "lr=0.001", steps=30)
    found = []
    for device in ("cpu", "cuda"):
        elsewhere(monkeypatch, tmp_path, device)
        found.append(weights(train(chosen, device=device)))
        assert "small/train/s003/cam/1:left" in capsys.readouterr().err
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name].cpu(), value, rtol=0, atol=2e-3)


def test_a_full_disk_keeps_the_last_checkpoint(monkeypatch, tmp_path):
    chosen = make()
    elsewhere(monkeypatch, tmp_path, "whole")
    whole = train(chosen, device="cpu")
    elsewhere(monkeypatch, tmp_path, "full")
    calls = iter(range(100))

    def fsync(descriptor: int) -> None:
        if next(calls) == 5:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint.os, "fsync", fsync)
    full = runs.run_of(chosen)
    with pytest.raises(OSError, match="checkpoint.pt") as caught:
        train(chosen, device="cpu", save_seconds=0)
    assert caught.value.errno == errno.ENOSPC
    assert checkpoint.read(full.checkpoint)["step"] == 5
    assert not list(full.path.glob(".*.partial"))
    train(chosen, device="cpu")
    assert_same(weights(whole), weights(full))


def test_a_disk_that_fills_up_within_a_checkpoint_is_named(tmp_path):
    """The system refuses bytes in the middle of the file; torch then says something else."""
    resource = pytest.importorskip("resource")
    run, state = runs.Run(tmp_path), {"step": 1, "model": {"w": torch.zeros(100_000)}}
    checkpoint.save(run, state)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OSError, match="checkpoint.pt"):
            checkpoint.save(run, {**state, "step": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert checkpoint.newest(run)["step"] == 1
    assert not list(tmp_path.glob(".*.partial"))


@pytest.mark.slow
def test_many_kills_end_with_the_same_weights(monkeypatch, tmp_path):
    chosen = make("validate_every=7", steps=200)
    elsewhere(monkeypatch, tmp_path, "whole")
    whole = train(chosen, device="cpu")
    elsewhere(monkeypatch, tmp_path, "killed")
    killed = runs.run_of(chosen)
    reached, rng = 0, random.Random(1)
    for _ in range(10):
        process = start(chosen)
        wait_for_progress(process, killed, reached)
        time.sleep(rng.uniform(0, 0.15))
        process.kill()
        if process.wait() == 0:
            break
        reached = checkpoint.newest(killed)["step"]
    assert reached > 10
    train(chosen, device="cpu")
    assert_same(weights(whole), weights(killed))


def test_too_little_memory_of_a_gpu_is_one_line(monkeypatch):
    def one_step(self, parts):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    monkeypatch.setattr(Trainer, "one_step", one_step)
    with pytest.raises(HandbenchError, match="memory is too small.*accumulate=2.*6 samples"):
        train(make(), device="cpu")
