import numpy as np
import pytest
import torch
from click.testing import CliRunner

from handbench import checkpoint, files, predictions
from handbench.cli import group
from handbench.errors import DataError, HandbenchError
from handbench.hand import Hand
from handbench.inference import joints
from handbench.inference.inspected import inspect
from handbench.inference.speed import Subject
from handbench.methods.handgcat import FOREIGN, HandGCAT
from handbench.store import open_split
from handbench.training import recipe, runs
from handbench.training.train import samples_for, train


class Little(HandGCAT):
    """HandGCAT whose full size is the tiny one."""

    PRESETS = {"paper": {}, "tiny": {}}

    def __init__(self, hand: Hand, **options) -> None:
        tiny = {**HandGCAT.PRESETS["tiny"], "test_noise": 0.0}
        super().__init__(hand, **{**tiny, **options})


@pytest.fixture
def places(toy_places, monkeypatch):
    import handbench.methods

    monkeypatch.setitem(handbench.methods.TABLE, "little", "test_handgcat_joints:Little")


def released_file(path, prefix: str = "module.") -> Little:
    torch.manual_seed(1)
    network = Little(Hand.open())
    state = {prefix + k: v for k, v in network.state_dict().items()}
    state[f"{prefix}{FOREIGN}th_betas"] = torch.zeros(1, 10)
    torch.save({"epoch": 69, "network": state, "optimizer": {}}, path)
    return network.eval()


def test_released_weights_become_a_run(places, tmp_path):
    path = tmp_path / "snapshot_69.pth.tar"
    network = released_file(path)
    command = ["import", "little", str(path), "--data", "small"]
    done = CliRunner().invoke(group, command)
    assert done.exit_code == 0, done.output
    run = runs.Run(files.runs_dir() / "little/full/small-paper-s0-released")
    assert done.stdout.strip() == str(run.path)
    made, chosen, state = checkpoint.trained(run)
    assert all(torch.equal(v, network.state_dict()[k]) for k, v in made.state_dict().items())
    assert chosen.start == f"the authors' snapshot_69.pth.tar {files.sha256(path)[:12]}"
    with pytest.raises(HandbenchError, match="holds a run already: give --force"):
        CliRunner().invoke(group, command, catch_exceptions=False)
    # and predict takes it like any run
    assert CliRunner().invoke(group, ["predict", str(run.path), "--device", "cpu"]).exit_code == 0
    told = predictions.attributes(run.predictions("small/test"))
    assert told["initialisation"].startswith("weights of the authors' snapshot_69")
    assert told["steps"] == 0 and told["oracle"]
    with pytest.raises(DataError, match=r"does not fit handoccnet: .{0,200}$"):
        CliRunner().invoke(
            group, ["import", "handoccnet", str(path), "--data", "small"], catch_exceptions=False
        )


@pytest.fixture
def little(places, tmp_path) -> Subject:
    chosen = recipe.make("little", data="small", overrides=["box_source=gt_joints"])
    torch.manual_seed(0)
    return Subject(Little(Hand.open(), test_noise=0.01).eval(), chosen)


def test_joints_come_from_a_declared_source(little, tmp_path):
    method = little.method
    samples = samples_for(little.recipe, method, "small/test", False)
    true = samples.labels["joints_px"].copy()
    ids = [str(samples.ids[row]) for row in samples.rows]
    # JSON by picture, in its pixels
    table = {name: (points + 1).tolist() for name, points in zip(ids, true)}
    files.write_json(tmp_path / "found.json", table)
    joints.use(method, samples, tmp_path / "found.json")
    assert samples.labels["joints_px"] == pytest.approx(true + 1)
    assert method.conditions()["inputs"].startswith("image, joints_crop: 2D joints from found.json")
    assert "oracle" not in method.conditions() and method.test_noise == 0
    # the list of HandGCAT's code, in 0..1 of the crop, mirrored for left hands
    samples.labels["joints_px"] = true
    listed = samples.batch(np.arange(len(samples)))["joints_crop"]
    files.write_json(tmp_path / "kypt_eval.json", listed.tolist())
    joints.use(method, samples, tmp_path / "kypt_eval.json")
    assert samples.labels["joints_px"] == pytest.approx(true, abs=1e-3)
    # what is missing or broken is one line
    del table[ids[3]]
    files.write_json(tmp_path / "found.json", table)
    with pytest.raises(DataError, match="no 2D joints for 1 hand, first small/test"):
        joints.use(method, samples, tmp_path / "found.json")
    files.write_json(tmp_path / "short.json", listed.tolist()[:4])
    with pytest.raises(DataError, match=f"lists 4 hands, small/test has {len(ids)}"):
        joints.use(method, samples, tmp_path / "short.json")
    files.write_json(tmp_path / "wrong.json", {ids[0]: [[1, 2]]})
    with pytest.raises(DataError, match="an entry is not 21 points"):
        joints.use(method, samples, tmp_path / "wrong.json")


def test_joints_of_another_run(places, tmp_path):
    origin = train(recipe.make("plain", data="small", preset="tiny", steps=2, batch=8))
    path = tmp_path / "snapshot.pth"
    released_file(path, prefix="")
    CliRunner().invoke(group, ["import", "little", str(path), "--data", "small"])
    done = CliRunner().invoke(
        group, ["predict", "little/full", "--joints", "plain/full", "--device", "cpu"]
    )
    assert done.exit_code == 0, done.output
    assert done.stdout.strip().endswith("joints-plain-full/predictions.h5")
    told = predictions.attributes(done.stdout.strip().splitlines()[-1])
    assert told["inputs"] == "image, joints_crop: 2D joints predicted by plain/full/tiny"
    assert "oracle" not in told and origin.predictions("small/test").is_file()
    with pytest.raises(HandbenchError, match="Plain takes no 2D joints: leave --joints out"):
        CliRunner().invoke(
            group, ["predict", "plain/full", "--joints", "plain/full"], catch_exceptions=False
        )


def test_looking_inside(little, tmp_path):
    seen = inspect(little, "small/test", 5)  # a left hand, seen mirrored
    split = open_split("small/test")
    assert seen.name.endswith(":left") and seen.crop.shape == (64, 64, 3)
    assert split.hands.is_left[5]
    with pytest.raises(HandbenchError, match="has hands 0 to 31, not 99"):
        inspect(little, "small/test", 99)
    run = train(recipe.make("little", data="small", preset="tiny", steps=1, batch=8))
    for what, more in (("features", []), ("attention", ["--query", "12,40"])):
        command = ["plots", what, str(run.path), "--index", "5", "--out", str(tmp_path), *more]
        done = CliRunner().invoke(group, command)
        assert done.exit_code == 0, done.output
        stem = tmp_path / "plots" / f"{what}_little_full_5"
        assert stem.with_suffix(".png").stat().st_size > 5000
    rows = stem.with_suffix(".csv").read_text().splitlines()
    weights = [float(row.split(",")[2]) for row in rows if row.startswith("image_asks_0,")]
    assert len(weights) == 21 and sum(weights) == pytest.approx(1)
    for query, problem in (("70,3", "outside the crop of 64 px"), ("left", "write it as X,Y")):
        with pytest.raises(HandbenchError, match=problem):
            CliRunner().invoke(
                group,
                ["plots", "attention", str(run.path), "--query", query, "--out", str(tmp_path)],
                catch_exceptions=False,
            )
