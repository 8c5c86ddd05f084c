"""Training runs, recipes, the names of runs, and prediction."""

import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from toy_runs import SETTINGS, assert_same, elsewhere, make, weights

from handbench import checkpoint, predictions
from handbench.cli.predict import predict as predict_command
from handbench.cli.train import train as train_command
from handbench.errors import HandbenchError, UnknownName
from handbench.hand import Hand
from handbench.inference.freshness import is_current
from handbench.inference.predict import predict
from handbench.store import open_split
from handbench.training import recipe, runs
from handbench.training.schedule import learning_rate
from handbench.training.train import train

pytestmark = pytest.mark.usefixtures("toy_places")


def test_a_run_learns_logs_and_says_when_it_is_done(capsys):
    run = train(make("validate_every=6", steps=60), device="cpu")
    assert run.name == "toy/full/small-tiny-s0"
    header, *rows = run.log.read_text().splitlines()
    assert header == "step,epoch,lr,loss,joints,grad_norm,samples_per_s,waiting,val_mpjpe_mm"
    losses = [float(row.split(",")[3]) for row in rows]
    assert losses[-1] < 0.7 * losses[0]
    assert rows[-1].split(",")[-1] != ""
    before = run.checkpoint.stat().st_mtime_ns
    train(make("validate_every=6", steps=60), device="cpu")
    assert "is trained (60 steps); --force" in capsys.readouterr().err
    assert run.checkpoint.stat().st_mtime_ns == before


def test_a_lost_recipe_is_written_again():
    run = train(make(), "cpu")
    text = run.recipe_file.read_text()
    run.recipe_file.unlink()
    assert train(make(), "cpu") == run
    assert run.recipe_file.read_text() == text


def test_another_recipe_in_the_same_folder_is_refused():
    train(make(), device="cpu")
    with pytest.raises(HandbenchError, match="lr: 0.01 -> 0.02.*--force"):
        train(make("lr=0.02"), device="cpu")


def test_the_best_checkpoint_is_the_one_predicted_with():
    run = train(make("checkpoint=best", "validate_every=3", "lr=0.3", steps=15), device="cpu")
    state = checkpoint.read(run.checkpoint)
    column = [row.split(",")[-1] for row in run.log.read_text().splitlines()[1:]]
    assert state["best"]["val_mpjpe_mm"] == pytest.approx(min(float(v) for v in column if v))
    method, _, _ = checkpoint.trained(run)
    assert_same(method.state_dict(), state["best"]["model"])


def test_a_backbone_can_be_taken_from_another_run(monkeypatch, tmp_path):
    first = train(make(), device="cpu")
    second = make(seed=5, backbone="0123", steps=1)
    elsewhere(monkeypatch, tmp_path, "second")
    method = checkpoint.build(second, Hand.open())
    assert checkpoint.load_backbone(method, first.checkpoint) == 7
    assert torch.equal(method.backbone[0].weight, weights(first)["backbone.0.weight"])
    wide = checkpoint.build(recipe.make("toy", "wide", "tiny", "small"), Hand.open())
    with pytest.raises(HandbenchError, match="does not fit the backbone of Toy"):
        checkpoint.load_backbone(wide, first.checkpoint)


def test_all_weights_can_start_from_another_run(monkeypatch):
    first = train(make(), device="cpu")
    train(make(seed=5, start="first", steps=1, batch=1, method="toy"), device="cpu", start=first)
    moved = weights(runs.find("toy/full/small-tiny-s5"))
    for name, value in weights(first).items():
        if value.is_floating_point() and "running" not in name:
            assert (moved[name] - value).abs().max() < 0.05, name  # one step of 0.01 away
    wide = checkpoint.build(recipe.make("toy", "wide", "tiny", "small"), Hand.open())
    with pytest.raises(HandbenchError, match="does not fit Toy"):
        checkpoint.start_from(wide, first)


def test_recipe_precedence_and_errors():
    chosen = make("width=9", "augmentation.rotation_deg=10", steps=7)
    assert (chosen.lr, chosen.steps, chosen.seed) == (0.01, 7, 0)
    assert chosen.augment.rotation_deg == 10
    assert recipe.method_options(chosen) == {"width": 9}
    assert recipe.method_options(make()) == {"width": 6}
    assert recipe.from_toml(recipe.to_toml(chosen)) == chosen
    for override, message in {
        "learning_rat=1": "no recipe key 'learning_rat'",
        "wdth=3": "did you mean 'width'",
        "lr=fast": "lr takes a number, not 'fast'",
        "steps=1.5": "steps takes a whole number",
        "optimizer=sgd": "no optimizer 'sgd'",
        "augmentation.color=1": "did you mean 'colour'",
        "seed=3": "given by --seed",
        "lr": "write it as key=value",
        "steps=-1": "give a number of at least 0",
        "lr=nan": "give a number above 0",
        "ema=1": "ema = 1.0: give a number of at least 0, below 1",
        "augmentation.occluders=2": "at most 1",
        "milestones=[2]": "shares of the run",
    }.items():
        with pytest.raises(HandbenchError, match=message):
            make(override, steps=None)
    with pytest.raises(HandbenchError, match="names one split: give --data small"):
        recipe.make("toy", data="small/train")
    with pytest.raises(UnknownName, match="no variant of toy 'wid'; did you mean 'wide'"):
        recipe.make("toy", "wid")
    with pytest.raises(UnknownName, match="no preset of toy 'papr'; did you mean 'paper'"):
        recipe.make("toy", preset="papr")
    with pytest.raises(UnknownName, match="no method 'ty'"):
        recipe.make("ty")


def test_learning_rates():
    chosen = make("warmup=4", "schedule=cosine", "lr=1.0")
    rates = [learning_rate(chosen, step, 104) for step in range(104)]
    np.testing.assert_allclose(rates[:4], [0.25, 0.5, 0.75, 1])
    assert rates[54] == pytest.approx(0.5)
    assert rates[-1] < 1e-3
    steps = make("schedule=multistep", "milestones=[0.5, 0.75]", "lr=1.0")
    found = [learning_rate(steps, step, 100) for step in (0, 49, 50, 75, 99)]
    np.testing.assert_allclose(found, [1, 1, 0.1, 0.01, 0.01])


def test_runs_are_found_by_name():
    for seed in (0, 1):
        train(make(seed=seed, steps=1), device="cpu")
    assert runs.find("toy/full/small-tiny-s1").name == "toy/full/small-tiny-s1"
    with pytest.raises(HandbenchError, match="2 runs, give one of: toy/full/small-tiny-s0"):
        runs.find("toy/full")
    with pytest.raises(HandbenchError, match="no run 'plain' in .*: handbench train plain makes"):
        runs.find("plain")
    for slip, meant in {"toi": "toy", "toy/fill": "toy/full"}.items():
        with pytest.raises(UnknownName, match=f"no run '{slip}'; did you mean '{meant}'"):
            runs.find(slip)
    assert len(runs.every()) == 2


def test_an_oracle_predicts_the_truth_of_both_sides(small_data):
    run = train(make(method="oracle"), device="cpu")
    path = predict(run, device="cpu")
    assert path == run.path / "predictions.h5"
    made, split = predictions.read(path), open_split("small/test", small_data)
    truth = split.hand_column("joints_m")
    np.testing.assert_allclose(made.joints_m, truth - truth[:, :1], atol=1e-6)
    np.testing.assert_array_equal(made.is_left, split.hands.is_left)
    assert made.is_left.any()
    assert made.verts_m.shape == (len(truth), 778, 3)
    assert made.root_m is None
    wanted = {
        "root_source": "none",
        "inputs": "joints_m, verts_m",
        "checkpoint_rule": "closed form",
    }
    assert wanted.items() <= made.attributes.items()
    assert is_current(run, "small/test")
    train(make(method="oracle", steps=13), device="cpu", force=True)
    assert not is_current(run, "small/test")


def test_other_splits_stand_in_their_own_folder(capsys):
    run = train(make(steps=2), device="cpu")
    path = predict(run, "small/val", device="cpu")
    assert path == run.path / "val" / "predictions.h5"
    predict(run, "small/val", device="cpu")
    assert "is up to date" in capsys.readouterr().err
    first = predictions.read(path).joints_m
    predict(run, "small/val", device="cpu", force=True)
    np.testing.assert_array_equal(predictions.read(path).joints_m, first)


def test_missing_data_is_one_line():
    with pytest.raises(HandbenchError) as caught:
        train(recipe.make("toy", data="synthetic"), device="cpu")
    assert "handbench prepare synthetic --split train" in str(caught.value)
    assert not runs.every()
    assert "\n" not in str(caught.value)
    with pytest.raises(HandbenchError, match="no device 'gpu'"):
        train(make(), device="gpu")


def test_commands(monkeypatch):
    arguments = ["toy", "--data", "small", "--preset", "tiny", "--steps", "3", "--device", "cpu"]
    arguments += [text for setting in SETTINGS for text in ("-o", setting)]
    ran = CliRunner().invoke(train_command, [*arguments, "--all-variants"])
    assert ran.exit_code == 0, ran.output
    assert [run.name for run in runs.every()] == [
        "toy/full/small-tiny-s0",
        "toy/wide/small-tiny-s0",
    ]
    for idle in (
        ["--compile-mode", "reduce-overhead"],
        ["--shard", "2/2"],
        ["--all-variants", "-v", "wide"],
    ):
        ran = CliRunner().invoke(train_command, [*arguments, *idle])
        assert ran.exit_code == 2 and "goes with" in ran.output
    ran = CliRunner().invoke(predict_command, ["toy/wide", "--device", "cpu"])
    assert ran.exit_code == 0, ran.output
    assert ran.stdout.strip().endswith("toy/wide/small-tiny-s0/predictions.h5")
    monkeypatch.setitem(sys.modules, "torch", None)
    for command in (train_command, predict_command):
        ran = CliRunner().invoke(command, ["toy"])
        assert "needs torch, which is not installed: pip install" in str(ran.exception)


def test_the_hand_follows_the_data_and_not_the_environment(monkeypatch, tmp_path):
    """Runs on open-hand data train and predict alike whatever MANO folder is set."""
    run = train(make(), "cpu")
    first = predictions.read(predict(run)).joints_m
    monkeypatch.setenv("HANDBENCH_MANO", str(tmp_path / "nowhere"))
    again = predictions.read(predict(run, force=True)).joints_m
    assert np.array_equal(first, again)


def test_force_loses_nothing_when_the_new_run_cannot_start(monkeypatch):
    run = train(make(), "cpu")
    weights = run.checkpoint.read_bytes()
    broken = make("box_source=visible_mask", method="toy")
    monkeypatch.setenv("HANDBENCH_DATA", str(run.path))
    with pytest.raises(HandbenchError):
        train(broken, "cpu", force=True)
    assert run.checkpoint.read_bytes() == weights
    assert run.log.is_file()


@pytest.mark.parametrize("force", [True, False])
def test_weights_that_cannot_be_started_from_leave_runs_as_they_are(force, tmp_path):
    run, other = train(make(), "cpu"), make(seed=7)
    weights = run.checkpoint.read_bytes()
    (tmp_path / "odd.pt").write_bytes(b"no weights")
    with pytest.raises(HandbenchError, match="odd.pt cannot be read"):
        train(make() if force else other, "cpu", force=force, backbone=tmp_path / "odd.pt")
    assert run.checkpoint.read_bytes() == weights
    assert runs.every() == [run]


def test_batch_norm_of_a_single_sample_is_one_line():
    with pytest.raises(HandbenchError, match="one sample at a time.*batch_norm=frozen"):
        train(make(method="h2onet", batch=1, steps=1), device="cpu")
