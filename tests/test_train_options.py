"""What changes how a run is trained: precision, averaging, parts, validation, sweeps, tracking."""

import sys
import types

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from toy_runs import SETTINGS, assert_same, elsewhere, log_steps, make, weights

from handbench import checkpoint
from handbench.cli.train import train as train_command
from handbench.errors import DataError, HandbenchError, MissingPackage
from handbench.hand import Hand
from handbench.store import open_split
from handbench.training import precision, recipe, runs, selection, stopping, sweep
from handbench.training.averaging import Average
from handbench.training.display import live, sentence
from handbench.training.distributed import Team
from handbench.training.train import _shared_out, method_for, samples_for, train
from handbench.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("toy_places")


@pytest.fixture
def steady(monkeypatch) -> None:
    import handbench.methods

    monkeypatch.setitem(handbench.methods.TABLE, "steady", "toy_method:Steady")


@pytest.fixture
def any_cpu(monkeypatch) -> None:
    """Half precision on CPUs without its arithmetic too: slow, and good enough for toys."""
    monkeypatch.setattr(precision, "supported", lambda name, device: True)


def stop_at(monkeypatch, step: int) -> None:
    """The run in progress is asked to stop in the step after `step`."""
    whole = Trainer.one_step

    def one_step(self, parts):
        if self.step == step:
            import signal

            signal.raise_signal(signal.SIGTERM)
        return whole(self, parts)

    monkeypatch.setattr(Trainer, "one_step", one_step)


@pytest.mark.parametrize("kind", ["fp32", "bf16", "fp16"])
def test_averages_scalers_and_parts_survive_a_stop(kind, any_cpu, monkeypatch, tmp_path):
    chosen = make("ema=0.8", "accumulate=2", "clip=0.5", f"precision={kind}")
    elsewhere(monkeypatch, tmp_path, "whole")
    whole = checkpoint.read(train(chosen, "cpu").checkpoint)
    elsewhere(monkeypatch, tmp_path, "stopped")
    with monkeypatch.context() as patch:
        stop_at(patch, 6)
        with pytest.raises(KeyboardInterrupt):
            train(chosen, "cpu")
    assert checkpoint.newest(runs.run_of(chosen))["step"] == 7
    stopped = checkpoint.read(train(chosen, "cpu").checkpoint)
    for name in ("model", "average"):
        assert_same(whole[name], stopped[name])
    assert whole["scaler"] == stopped["scaler"]
    assert bool(whole["scaler"]) == (kind == "fp16")
    method, _, _ = checkpoint.trained(runs.run_of(chosen))
    assert torch.equal(method.head[2].weight, whole["average"]["head.2.weight"])
    assert not torch.equal(method.head[2].weight, whole["model"]["head.2.weight"])


def test_half_precision_learns_and_is_refused_where_it_is_slow(any_cpu, monkeypatch):
    run = train(make("precision=bf16", steps=40), "cpu")
    losses = np.genfromtxt(run.log, delimiter=",", names=True)["loss"]
    assert losses[-5:].mean() < 0.8 * losses[0]
    assert weights(run)["head.2.weight"].dtype == torch.float32
    monkeypatch.setattr(precision, "supported", lambda name, device: False)
    with pytest.raises(HandbenchError, match="this CPU does not compute in fp16: give --precision"):
        train(make("precision=fp16", seed=1), "cpu")


def test_too_large_losses_lower_the_scale_instead_of_stopping():
    overflowed = precision.Precision.overflowed
    assert overflowed(1.0, np.inf, 2.0)
    assert not overflowed(np.nan, np.inf, 2.0)
    assert not overflowed(1.0, 1.0, 2.0)
    assert not overflowed(1.0, np.inf, 1.0)  # it is not the scale


def test_parts_of_a_batch_are_the_batch(steady, monkeypatch, tmp_path):
    settings = "batch_norm=frozen", "lr=0.001", "clip=0.5"
    elsewhere(monkeypatch, tmp_path, "whole")
    whole = train(make(*settings, method="steady"), "cpu")
    elsewhere(monkeypatch, tmp_path, "parts")
    parts = train(make(*settings, "accumulate=3", method="steady"), "cpu")
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(parts)[name], value, rtol=0, atol=1e-5)
    with pytest.raises(HandbenchError, match="to 4 parts: give --batch a multiple of 4"):
        train(make("accumulate=4", seed=1), "cpu")


def test_averages_by_hand():
    layer = torch.nn.Linear(1, 1, bias=False)
    layer.weight.data.fill_(0)
    average = Average(layer, 0.5)
    for step, value in ((1, 1.0), (100, 2.0)):  # decays 2/11, then 1/2
        layer.weight.data.fill_(value)
        average.update(step)
    assert float(average.values["weight"]) == pytest.approx(0.5 * 9 / 11 + 1.0)
    with average.applied():
        assert layer.weight.item() == pytest.approx(0.5 * 9 / 11 + 1.0)
    assert layer.weight.item() == 2


def test_the_rate_follows_the_batch_and_says_so(capsys):
    given = {"method": "toy", "data": "small", "preset": "tiny"}
    assert recipe.make(**given).lr == 1e-3
    assert recipe.make(**given, batch=64).lr == pytest.approx(2e-3)
    assert "0.001 is for batches of 32: 0.002 for 64 (-o scale_lr=linear" in capsys.readouterr().err
    assert recipe.make(**given, overrides=["scale_lr=sqrt"], batch=128).lr == pytest.approx(2e-3)
    capsys.readouterr()
    assert recipe.make(**given, overrides=["scale_lr=none"], batch=128).lr == 1e-3
    assert recipe.make(**given, overrides=["lr=0.5", "batch=8"]).lr == 0.5
    assert not capsys.readouterr().err


def test_validation_is_held_out_by_recording_or_as_released(capsys):
    chosen = make("validation=recordings", "checkpoint=best", "validate_every=6")
    method = checkpoint.build(chosen, Hand.open())
    samples = samples_for(chosen, method, "small/train", False)
    held = selection.held_out(samples, "recordings")
    recording = np.asarray(open_split("small/train").columns["recording"])[samples.rows]
    assert 0 < held.sum() < len(held)
    assert not set(recording[held]) & set(recording[~held])
    released = selection.held_out(samples, "released")
    in_order = np.argsort(samples.ids[samples.rows], kind="stable")
    assert released.sum() == -(-len(samples) // 20)
    assert released[in_order[::20]].all()
    run = train(chosen, "cpu")
    assert "4 of 32 hands of small/train validate (recordings rule)" in capsys.readouterr().err
    state = checkpoint.read(run.checkpoint)
    assert state["best"]["step"] in (6, 12)
    assert "every 20th of the recordings of small/train, held out" in selection.described(chosen)
    assert selection.described(make("checkpoint=best")) == "best on small/val"


def test_recordings_are_held_out_of_the_first_of_joined_data():
    chosen = make("validation=recordings", "more_data=small")
    method, joined = method_for(chosen, torch.device("cpu"))
    (samples, members), (_, held) = _shared_out(chosen, method, joined)
    assert (len(samples), len(members), len(held)) == (64, 60, 4)
    assert not set(members) & set(held) and set(range(32, 64)) <= set(members)


def test_hands_without_joints_give_no_error_to_choose_by():
    chosen = make()
    method = checkpoint.build(chosen, Hand.open())
    samples = samples_for(chosen, method, "small/val", False)
    batch = samples.batch

    def bare(indices, epoch=0):
        return {**batch(indices, epoch), "valid_joints": np.zeros((len(indices), 21), np.float32)}

    samples.batch = bare
    score = selection.mpjpe_mm(method, samples, np.arange(4), torch.device("cpu"))
    assert np.isnan(score)


def test_a_batch_of_more_samples_than_there_are_says_so(capsys):
    run = train(make("validate_every=99", batch=10**6, steps=2), "cpu")
    assert "a batch of 1,000,000 is all of the 32 samples in every step" in capsys.readouterr().err
    rates = np.genfromtxt(run.log, delimiter=",", names=True)["samples_per_s"]
    assert rates.max() < 1e6  # of those that there are
    with pytest.raises(HandbenchError, match="of 32 samples.*multiple of 3, such as 30"):
        train(make("accumulate=3", batch=60, seed=1), "cpu")


def test_without_a_validation_split_best_needs_another_rule(monkeypatch, small_data, tmp_path):
    (tmp_path / "data" / "small").mkdir(parents=True)
    (tmp_path / "data" / "small" / "train").symlink_to(small_data / "small" / "train")
    monkeypatch.setenv("HANDBENCH_DATA", str(tmp_path / "data"))
    with pytest.raises(DataError, match="not prepared; -o validation=recordings"):
        train(make("checkpoint=best"), "cpu")


def test_sweeps_name_their_runs():
    found = sweep.settings(["lr=0.01,0.1", "seed=0,1"])
    assert [each.label for each in found] == ["lr=0.01", "lr=0.01", "lr=0.1", "lr=0.1"]
    assert [each.seed for each in found] == [0, 1, 0, 1]
    assert found[0].flags({"seed": None, "label": "x"}) == {"seed": 0, "label": "x-lr=0.01"}
    assert sweep.settings([]) == [sweep.Setting()]
    assert sweep.settings(["milestones=[0.5],[0.5, 0.7]"])[1].label == "milestones=[0.5,0.7]"
    assert sweep.settings(["schedule=cosine,constant"])[1].overrides == ("schedule=constant",)
    assert [each.label for each in sweep.settings(["lr=0.1,1e-1,0.2"])] == ["lr=0.1", "lr=0.2"]
    for wrong in (["lr"], ["lr="], ["seed=a"], ["lr=1", "lr=2"]):
        with pytest.raises(HandbenchError, match="--sweep"):
            sweep.settings(wrong)


def test_a_sweep_resumes_is_shared_out_and_survives_a_failure():
    words = ["toy", "--data", "small", "--preset", "tiny", "--steps", "4", "--batch", "6"]
    words += ["--device", "cpu", *(text for setting in SETTINGS for text in ("-o", setting))]
    words += ["--sweep", "clip=0.5,1", "--sweep", "seed=0,1", "-o", "validate_every=2"]
    first = CliRunner().invoke(train_command, [*words, "--shard", "1/2"])
    assert first.exit_code == 0, first.output
    names = [f"small-tiny-s0-clip={clip}" for clip in ("0.5", "1")]
    assert [run.path.name for run in runs.every()] == names
    assert (runs.every()[0].path / "curves.png").stat().st_size > 10_000
    assert first.stderr.count("validation MPJPE") >= 4
    chosen = runs.every()[0]
    chosen.log.write_text("step,val_mpjpe_mm\n1,20\n2,30\n3,nan\n4,40\n")
    assert sweep.ranking([chosen])[0][0] == 40
    best = chosen.recipe_file.read_text().replace('"last"', '"best"')
    chosen.recipe_file.write_text(best)
    assert sweep.ranking([chosen])[0][0] == 20
    busy = runs.Run(runs.every()[0].path.with_name("small-tiny-s1-clip=0.5"))
    with stopping.alone(busy, Team()):
        rest = CliRunner().invoke(train_command, words)
    assert rest.exit_code == 0, rest.output
    assert rest.stderr.count("is trained (4 steps)") == 2
    assert f"another process is training in {busy.path}" in rest.stderr
    assert len(runs.every()) == 3
    failing = CliRunner().invoke(train_command, [*words[:-6], "--sweep", "poison=-1,3"])
    assert "1 of 2 runs failed: toy/full/small-tiny-s0-poison=3" in str(failing.exception)
    assert runs.find("toy/full/small-tiny-s0-poison=-1").recipe().label == "poison=-1"


def test_tensorboard_files_are_optional(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingPackage, match="tensorboard, which is not installed: pip install"):
        train(make(), "cpu", tensorboard=True)
    written = []

    class Writer:
        def __init__(self, folder, purge_step):
            written.append((folder, purge_step))

        def add_scalar(self, name, value, step):
            written.append((name, step, float(value)))

        def close(self):
            written.append("closed")

    fake = types.SimpleNamespace(SummaryWriter=Writer)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)
    run = train(make(), "cpu", tensorboard=True, force=True)
    assert written[0] == (str(run.path / "tensorboard"), 1)
    assert written[-1] == "closed"
    steps = [entry[1] for entry in written[1:-1] if entry[0] == "joints"]
    assert steps == log_steps(run)


def test_the_display_shows_terms_rate_and_time(monkeypatch):
    row = {"step": 3, "lr": 0.0012, "loss": 0.71, "joints": 0.31, "verts": 0.4, "grad_norm": 1.0}
    row |= {"epoch": 0, "samples_per_s": 310.0, "waiting": 0.03, "val_mpjpe_mm": 51.2}
    told = "loss 0.71 = joints 0.31 + verts 0.4   lr 0.0012   waiting for data 3%"
    assert sentence(row) == told

    class Terminal(types.SimpleNamespace):
        text = ""

        def write(self, text):
            Terminal.text += text

    monkeypatch.setattr(sys, "stderr", Terminal(isatty=lambda: True, flush=lambda: None))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")
    with live("toy/full", 2, 4) as show:
        show(row)
        show({})
    for part in ("toy/full", "4/4", "310 samples/s", "joints 0.31", "validation MPJPE 51.2 mm"):
        assert part in Terminal.text, part


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch, about itself
def test_a_compiled_method_trains_to_the_same_names(steady):
    run = train(make("lr=0.001", method="steady"), "cpu", compiled=True)
    plain = train(make("lr=0.001", method="steady"), "cpu", force=True)
    for name, value in weights(plain).items():
        torch.testing.assert_close(weights(run)[name], value, rtol=0, atol=1e-4)
