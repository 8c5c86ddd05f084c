"""Frames in batches, and H2ONet's recipes: stage after stage, each from the weights before."""

from dataclasses import replace

import numpy as np
import pytest

from handbench.errors import UnknownName
from handbench.frames import mirror_points
from handbench.hand import default_hand
from handbench.inference.predict import predict
from handbench.loading.augment import Augmentation
from handbench.loading.batch import Samples
from handbench.loading.neighbours import Neighbours
from handbench.methods.h2onet import H2ONet
from handbench.predictions import attributes
from handbench.store import open_split
from handbench.training import recipe
from handbench.training.train import train

SIZES = {"width": 8, "hidden": 16, "decoder": [8, 8, 8, 8, 8], "classifier": 16}


@pytest.fixture(scope="module")
def split(small_data):
    return open_split("small/train", small_data)


def samples(split, **options) -> Samples:
    options = {"box_source": "gt_joints", "images": False, **options}
    return Samples(split, 64, default_hand("right"), **options)


def test_labels_of_every_frame_are_those_of_its_own_sample(split):
    three, one = samples(split, frames=3), samples(split)
    index = np.arange(len(three))
    batch, alone = three[index], one[index]
    hands = three.neighbours.of(index)[2]
    assert (hands >= 0).all()
    names = [name for name in batch if name.startswith("frame_")]
    assert {"frame_verts_m", "frame_visibility", "frame_valid_mano", "frame_pose"} <= {*names}
    for name in names:
        known = alone[name.removeprefix("frame_")]
        np.testing.assert_allclose(batch[name], known[hands], atol=1e-6, err_msg=name)
        np.testing.assert_array_equal(batch[name][:, 0], batch[name.removeprefix("frame_")])
    assert not any(name.startswith("frame_") for name in alone)
    left = batch["is_left"]
    native = split.hand_column("joints_m")[hands]
    native = native - native[:, :, :1]
    np.testing.assert_allclose(
        mirror_points(batch["frame_joints_m"][left]), native[left], atol=1e-6
    )


def test_one_draw_turns_all_frames_and_an_unannotated_frame_counts_nowhere(split):
    rules = Augmentation(rotation_share=1.0, occluders=1.0)
    three = samples(split, frames=3, augment=rules)
    three.labels["valid_visibility"] = np.ones(len(three), np.float32)
    three.neighbours.hand[:, three.rows[4]] = -1  # the hand of this picture is not annotated
    batch, plain = three[[5, 6]], samples(split, frames=3)[[5, 6]]
    turned = np.einsum("btji,btki->btjk", batch["frame_joints_m"], plain["frame_joints_m"])
    still = np.einsum("btji,btki->btjk", plain["frame_joints_m"], plain["frame_joints_m"])
    angle = np.abs(turned - still).max((2, 3))
    assert (angle[1, :2] > 1e-5).all()  # shared by the frames that are annotated
    for name in ("valid_joints", "valid_mano", "valid_verts", "valid_visibility"):
        assert not batch[f"frame_{name}"][0, 1].any()
    np.testing.assert_array_equal(batch["frame_valid_visibility"][1], [0, 1, 0])
    np.testing.assert_array_equal(batch["frame_joints_m"][0, 1], 0)


def listed(length: int = 40) -> dict[str, np.ndarray]:
    """Two videos in one list; the second begins at frame 6."""
    order = np.r_[np.arange(20), np.arange(20)]
    return {
        "sequence": np.repeat([0, 1], 20),
        "camera": np.zeros(length, int),
        "clip": np.zeros(length, int),
        "order": order,
        "frame_number": np.r_[np.arange(20), 6 + np.arange(20)],
        "id": np.arange(length),
    }


def test_the_released_rule_takes_list_places_and_crosses_videos():
    rows, right = np.arange(40), np.zeros(40, bool)
    found = Neighbours(listed(), rows, right, 3, 5, "released")
    assert found.told() == "3 (released: 0, -5, -10)"
    index = np.array([15, 7, 22, 30])
    rows = found.of(index)[0].tolist()
    # frame 7: half way and frame 0; number 8 of the second video: 4 and 8 places back
    assert rows == [[15, 10, 5], [7, 4, 0], [22, 18, 14], [30, 25, 20]]
    clean = Neighbours(listed(), np.arange(40), right, 3, 5).of(index)[0].tolist()
    assert clean == [[15, 10, 5], [7, 2, 0], [22, 20, 20], [30, 25, 20]]
    with pytest.raises(UnknownName, match="no frame rule 'clear'; did you mean 'clean'"):
        Neighbours(listed(), np.arange(40), right, 3, 5, "clear")


def test_the_released_list_is_the_official_one_where_every_hand_has_a_place_in_it():
    columns, rows, right = listed(), np.arange(40), np.zeros(40, bool)
    columns["frame_number"] = np.full(40, 30)  # no hand is too near to the start of its video
    ways = {"backwards": rows[::-1], "incomplete": np.where(rows == 7, -1, rows[::-1])}
    found = {}
    for name, official in ways.items():
        columns["official_index"] = official
        neighbours = Neighbours(columns, rows, right, 3, 5, "released")
        found[name] = neighbours.of(np.array([22, 38]))[0].tolist()
    # what stands earlier in the list stands later in ours; before its begin is its end
    assert found["backwards"] == [[22, 27, 32], [38, 3, 8]]
    assert found["incomplete"] == [[22, 17, 12], [38, 33, 28]]


def test_jitter_is_the_released_one_and_follows_from_the_sample_alone():
    right = np.zeros(40, bool)
    for rule in ("clean", "released"):
        found = Neighbours(listed(), np.arange(40), right, 3, 5, rule, jitter=2)
        index = np.full(4000, 19)
        drawn = np.stack([found.of(index[:1], 0, epoch)[0][0] for epoch in range(2000)])
        back = 19 - drawn
        first, second = (np.unique(back[:, t], return_counts=True) for t in (1, 2))
        assert first[0].tolist() == [4, 5, 6]
        assert first[1] / 2000 == pytest.approx([0.25, 0.5, 0.25], abs=0.05)
        assert second[0].tolist() == [9, 10]
        again = found.of(np.array([3, 19]), 0, 7)[0][1]
        assert again.tolist() == drawn[7].tolist()


EXPECTED = {
    ("dexycb/s0", "stage_1"): (32, 38, 1e-3, 1),
    ("dexycb/s0", "full"): (32, 38, 1e-4, 1),
    ("dexycb/s0", "baseline_learnable"): (32, 38, 1e-3, 1),
    ("dexycb/s0", "multi_frame_stage_1"): (32, 25, 1e-4, 5),
    ("dexycb/s0", "multi_frame"): (32, 25, 1e-4, 5),
    ("ho3d_v2", "stage_1"): (128, 90, 1e-3, 1),
    ("ho3d_v2", "full"): (128, 90, 1e-3, 1),
    ("ho3d_v2", "multi_frame_finger"): (32, 90, 1e-3, 30),
}


def test_recipes_are_the_released_schedules():
    for (data, variant), known in EXPECTED.items():
        made = recipe.make("h2onet", variant, data=data)
        assert (made.batch, made.epochs, made.lr, made.frame_step) == known, (data, variant)
        assert (made.preset, made.optimizer, made.clip, made.weight_decay) == (
            "paper",
            "adam",
            0.1,
            0,
        )
        assert max(made.milestones) < 1
        assert made.frame_jitter == {1: 0, 5: 2, 30: 5}[made.frame_step]
    assert {*H2ONet.CELLS} == {*H2ONet.VARIANTS}


def chain(data: str, variant: str, start=None, **changed):
    """Two steps of a published recipe with a tiny network on the small data."""
    made = recipe.make("h2onet", variant, "tiny", data, [f"{k}={v}" for k, v in SIZES.items()])
    told = f"{start.name} 0" if start else ""
    made = replace(made, data="small", batch=4, steps=2, start=told, **changed)
    return train(made, device="cpu", start=start)


def test_a_recipe_trains_stage_after_stage(toy_places):
    first = chain("dexycb/s0", "stage_1")
    last = chain("ho3d_v2", "multi_frame", start=first, frame_rule="released")
    made = attributes(predict(last, "small/test", device="cpu"))
    assert made["frames"] == "3 (released: 0, -30, -60)"
    assert made["initialisation"].startswith("weights of ")
    log = last.log.read_text().splitlines()
    assert "occlusion" in log[0]
    assert "edge_turned" not in log[0]  # the tiny preset leaves the surface terms out


@pytest.mark.slow
@pytest.mark.parametrize("data", ["dexycb/s0", "ho3d_v2"])
@pytest.mark.parametrize("variant", [*H2ONet.VARIANTS])
def test_every_variant_trains_by_every_recipe(toy_places, data, variant):
    start = chain(data, "full", seed=1) if variant == "multi_frame_select" else None
    run = chain(data, variant, start=start)
    assert run.checkpoint.exists()
