"""Samples of both hands and the held object, their predictions and scores."""

from dataclasses import replace

import numpy as np
import pytest
from pair_split import CORNERS, Pairs

import handbench.datasets
import handbench.methods
from handbench import checkpoint, predictions
from handbench.errors import DataError
from handbench.evaluate import evaluate_run
from handbench.frames import project
from handbench.hand import Hand, default_hand
from handbench.loading.augment import Augmentation
from handbench.loading.joined import Joined
from handbench.loading.pairs import HandsWithObjects, PairSamples, PairsWithObjects, kind_of
from handbench.methods.occrobnet import OccRobNet
from handbench.preparing.prepare import prepare
from handbench.protocol import get
from handbench.scoring.images import object_shapes
from handbench.scoring.score import score
from handbench.scoring.truth import of_split
from handbench.showing.rows import label
from handbench.store import open_split
from handbench.training import recipe
from handbench.training.train import train

TURNED = Augmentation(scale=0.2, rotation_deg=60, rotation_share=1, colour=0)
SMALL = ("box_source=gt_joints", "width=4", "channels=8", "model_width=16", "heads=2", "feed=16")


@pytest.fixture(scope="module")
def pair_data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair-data")
    for split in Pairs.splits:
        prepare(Pairs(split), folder)
    return folder


@pytest.fixture
def places(monkeypatch, pair_data, tmp_path):
    monkeypatch.setenv("HANDBENCH_DATA", str(pair_data))
    monkeypatch.setenv("HANDBENCH_RUNS", str(tmp_path / "runs"))
    monkeypatch.setitem(handbench.datasets.TABLE, "pairs", "pair_split:Pairs")
    for name, kind in {"pair_oracle": "PairOracle", "object_oracle": "ObjectOracle"}.items():
        monkeypatch.setitem(handbench.methods.TABLE, name, f"pair_oracles:{kind}")


@pytest.fixture
def split(places):
    return open_split("pairs/train")


def samples(kind, split, augment=None):
    return kind(split, 64, Hand.open(), box_source="gt_joints", augment=augment)


@pytest.mark.parametrize("augment", [None, TURNED])
def test_both_hands_stand_as_they_are(split, augment):
    taken = samples(PairSamples, split, augment)
    batch = taken[range(len(taken))]
    present = batch["present"]
    assert len(taken) == len(split)
    assert present.sum(0).tolist() == [15, 12]
    points = batch["joints_m"] + batch["root_m"][:, :, None]
    seen = project(points.reshape(-1, 42, 3), batch["K_crop"]).reshape(-1, 2, 21, 2) / 64
    assert np.abs(seen - batch["joints_crop"])[present > 0].max() < 1e-4
    away = batch["root_m"][:, 1] - batch["root_m"][:, 0]
    both = batch["valid_relative"] > 0
    assert (both == present.all(1)).all()
    assert np.abs(away - batch["left_minus_right_m"])[both].max() < 1e-6
    for side, name in enumerate(("right", "left")):
        known = present[:, side] > 0
        verts, joints = default_hand(name).pose(
            batch["pose"][known, side], batch["shape"][known, side]
        )
        for made, kept in ((joints, "joints_m"), (verts, "verts_m")):
            assert np.abs(made - joints[:, :1] - batch[kept][known, side]).max() < 1e-5
    for name in ("valid_joints", "valid_mano", "valid_verts"):
        assert ((batch[name].reshape(len(taken), 2, -1) > 0).all(2) == (present > 0)).all()
    inside = (batch["joints_crop"] > -0.01) & (batch["joints_crop"] < 1.01)
    assert augment or inside[present > 0].mean() > 0.99


@pytest.mark.parametrize("augment", [None, TURNED])
@pytest.mark.parametrize("kind", [PairsWithObjects, HandsWithObjects])
def test_the_object_stands_where_it_is_seen(split, kind, augment):
    taken = samples(kind, split, augment)
    batch = taken[range(len(taken))]
    lead = batch["valid_object"].shape
    pose, roots = batch["object_T"].reshape(-1, 4, 4), batch["root_m"].reshape(-1, 3)
    corners = batch["object_corners"].repeat(len(pose) // len(batch["index"]), 0)[:, 0]
    points = corners @ pose[:, :3, :3].transpose(0, 2, 1) + (pose[:, :3, 3] + roots)[:, None]
    cameras = batch["K_crop"].repeat(len(pose) // len(batch["index"]), 0)
    middle = project(points, cameras).mean(1).reshape(*lead, 2) / 4
    mask, cells = batch["object_mask"], np.arange(16)
    mass = mask.sum((1, 2))
    x, y = (mask.sum(1) * cells).sum(1) / mass, (mask.sum(2) * cells).sum(1) / mass
    at = np.stack([x, y], -1)
    known = batch["valid_object"] > 0
    difference = (middle - 0.5) - (at[:, None] if middle.ndim == 3 else at)
    whole = (mass > 3) & (np.abs(at - 8) < 5).all(1)
    chosen = known & (whole[:, None] if known.ndim == 2 else whole)
    assert chosen.sum() > 6
    assert np.abs(difference[chosen]).max() < 1.0
    assert np.linalg.det(pose[known.ravel(), :3, :3]) == pytest.approx(1)
    turned = batch["object_corners"][:, 1]
    assert np.sort(np.abs(turned).ravel()) == pytest.approx(
        np.sort(np.abs(np.broadcast_to(CORNERS, turned.shape)).ravel())
    )


def test_oracles_score_nothing_wrong(places):
    pair, one = (
        evaluate_run(
            train(
                recipe.make(name, preset="tiny", data="pairs", overrides=["box_source=gt_joints"]),
                "cpu",
            )
        )
        for name in ("pair_oracle", "object_oracle")
    )
    for found in (pair, one):
        for name in ("mpjpe_mm", "mpvpe_mm", "mssd_mm"):
            assert found.metrics[name].value == pytest.approx(0, abs=1e-3), name
    assert pair.metrics["mrrpe_mm"].value == pytest.approx(0, abs=1e-3)
    assert pair.metrics["handedness_acc"].value == 1
    assert "mrrpe_mm" not in one.metrics
    assert one.metrics["mssd_mm"].n == pair.metrics["mssd_mm"].n == 18


def test_what_is_not_finite_is_counted_aloud(split, capsys):
    truth, columns = of_split(split), split.columns
    away = columns["left/joints_m"][:, 0] - columns["right/joints_m"][:, 0]
    images = {"left_minus_right_m": away, "object/T_camera": columns["object/T_camera"]}
    images = {name: values.copy() for name, values in images.items()}
    joints, _, _ = truth.joints_m()
    pixels = split.hand_column("joints_px").copy()
    made = predictions.Predictions(
        truth.id,
        truth.is_left,
        joints,
        joints_px=pixels,
        per_image=images | {"image_id": columns["id"]},
    )
    whole = score(made, truth, get("handbench"), shapes=object_shapes(split))
    assert capsys.readouterr().err == ""  # pictures of one hand need no left_minus_right_m
    pixels[:2, 4] = np.nan
    both = np.flatnonzero(np.isfinite(away).all(1))
    images["left_minus_right_m"][both[:3]] = np.nan
    images["object/T_camera"][5, 0, 0] = np.inf
    part = score(made, truth, get("handbench"), shapes=object_shapes(split))
    told = capsys.readouterr().err
    assert "left_minus_right_m is missing or not finite for 3 of 9 images" in told
    assert "object/T_camera is missing or not finite for 1 of 18 images" in told
    assert "joints_px is missing or not finite for 2 of 27 hands" in told
    assert part.metrics["mrrpe_mm"].n == whole.metrics["mrrpe_mm"].n - 3 == 6
    assert part.metrics["mssd_mm"].n == whole.metrics["mssd_mm"].n - 1 == 17


@pytest.mark.parametrize("variant", ["two_hands_object", "hand_object"])
def test_train_predict_score(places, variant):
    options = [*SMALL, "positions=4", "tokens=21"]
    chosen = recipe.make("occrobnet", variant, "tiny", "pairs", options, steps=3, batch=4)
    run = train(chosen, "cpu")
    found = evaluate_run(run)
    made = predictions.read(run.predictions("pairs/test"))
    rows = 36 if variant == "two_hands_object" else 27
    assert len(made) == rows
    assert len(made.per_image["image_id"]) == 18
    assert made.attributes["object_frame"] == "hand"
    assert np.isfinite(found.metrics["mssd_mm"].value)
    assert ("mrrpe_mm" in found.metrics) == (variant == "two_hands_object")
    name = f"occrobnet {variant} (our reconstruction)"
    assert label(found) == name


def test_kinds(split):
    hand, tiny = Hand.open(), OccRobNet.PRESETS["tiny"]
    kinds = {
        v: kind_of(OccRobNet(hand, **{**tiny, **OccRobNet.VARIANTS[v]})).__name__
        for v in ("full", "two_hands", "hand_object", "two_hands_object")
    }
    assert list(kinds.values()) == [
        "Samples",
        "PairSamples",
        "HandsWithObjects",
        "PairsWithObjects",
    ]
    names = samples(PairSamples, split).names(np.arange(2))
    assert names == ["pairs/train/s000/cam/0", "pairs/train/s000/cam/1"]


@pytest.mark.parametrize("data", ["interhand26m", "ho3d_v3", "h2o3d", "h2o3d alone"])
def test_recipes_take_two_steps(monkeypatch, tmp_path, data):
    data, _, alone = data.partition(" ")
    monkeypatch.setenv("HANDBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HANDBENCH_RUNS", str(tmp_path / "runs"))
    joined = [data, "ho3d_v3"] if data == "h2o3d" and not alone else [data]
    for name in joined:
        monkeypatch.setitem(handbench.datasets.TABLE, name, "pair_split:Pairs")
        reader = Pairs("train", count=4, length=1)
        monkeypatch.setattr(reader, "name", name, raising=False)
        prepare(reader, tmp_path / "data")
    options = [*SMALL, "small=true", "crop_px=32", "positions=4", "decoders=2", "bins=16"]
    options += ["more_data="] if alone else []
    chosen = recipe.make("occrobnet", data=data, overrides=options, steps=2, batch=4)
    assert (chosen.preset, chosen.optimizer, chosen.backbone_rate) == ("paper", "adamw", 0.1)
    assert chosen.more_data == ("ho3d_v3" if len(joined) == 2 else "")
    run = train(chosen, "cpu")
    last = run.log.read_text().splitlines()[-1]
    assert last.startswith("2,")
    state = checkpoint.read(run.checkpoint)
    assert {group["factor"] for group in state["optimizer"]["param_groups"]} == {0.1, 1.0}
    assert state["model"]["heat.weight"].shape[0] == (21 if data == "ho3d_v3" else 42)


@pytest.mark.parametrize("kind", [PairSamples, PairsWithObjects, HandsWithObjects])
def test_margins_of_single_hands_are_refused(split, kind, monkeypatch):
    monkeypatch.setattr(type(split), "windows", np.zeros((len(split), 4), int))
    with pytest.raises(DataError, match="keeps the margins of single hands.*without --crop"):
        kind(split, 64, default_hand("right"))


def test_joined_splits_are_taken_by_turns(split):
    one, two = (samples(PairsWithObjects, split) for _ in range(2))
    two.held = replace(two.held, corners=two.held.corners[:, :1])
    both = Joined([one, two])
    index = np.array([20, 3, 35, 0])
    batch = both[index]
    assert len(both) == 36
    assert batch["index"].tolist() == index.tolist()
    alone = one[np.array([2, 3, 17, 0])]
    for name in alone.keys() - {"index", "object_corners"}:
        np.testing.assert_array_equal(batch[name], alone[name], name)
    assert (batch["object_corners"][[0, 2], 1] == batch["object_corners"][[0, 2], 0]).all()
    assert both.names(index) == one.names([2, 3, 17, 0])
