"""Painted occluders as an augmentation that any method can switch on."""

import numpy as np
import pytest

from handbench.errors import HandbenchError
from handbench.hand import Hand
from handbench.loading.batch import Samples
from handbench.store import open_split
from handbench.training import recipe
from handbench.training.recipe import OCCLUDED


@pytest.mark.parametrize("method", ["plain", "handoccnet", "occrobnet", "mean_pose"])
def test_one_key_switches_occluders_on_and_off(method):
    before = recipe.make(method).augmentation
    on = recipe.make(method, overrides=["occlusion_augment=true"])
    off = recipe.make(method, overrides=["occlusion_augment=false", "augmentation.occluders=0.9"])
    assert on.augmentation.pop("occluders") == OCCLUDED
    assert off.augmentation.pop("occluders") == 0
    assert before == {k: v for k, v in on.augmentation.items() if k in before} or not before
    assert all(on.augmentation[k] == 0 for k in on.augmentation.keys() - before.keys())
    with pytest.raises(HandbenchError, match="occlusion_augment takes true or false, not 'often'"):
        recipe.make(method, overrides=["occlusion_augment=often"])


def test_the_variant_of_plain_paints_on_all_data():
    for data in ("synthetic", "ho3d_v2"):
        made = recipe.make("plain", "occlusion_augment", data=data)
        assert made.augmentation["occluders"] == OCCLUDED
        assert recipe.make("plain", data=data).augmentation.get("occluders", 0) == 0
    made = recipe.make("plain", "occlusion_augment", overrides=["occlusion_augment=false"])
    assert made.augmentation["occluders"] == 0
    assert recipe.from_toml(recipe.to_toml(made)) == made


def test_half_of_the_pictures_are_painted(small_data):
    split, hand = open_split("small/train", small_data), Hand.open()
    asked = {"box_source": "gt_joints"}
    made = recipe.make("plain", "occlusion_augment", data="small")
    painted = Samples(split, 32, hand, augment=made.augment, **asked)
    bare = Samples(split, 32, hand, **asked)
    index, differs = np.arange(len(bare)), []
    for epoch in range(4):
        one, other = painted.batch(index, epoch), bare.batch(index, epoch)
        away = np.abs(one["image"] - other["image"]).max((1, 2, 3)) > 0.05
        differs += away.tolist()
        np.testing.assert_array_equal(one["joints_crop"], other["joints_crop"])
    assert np.mean(differs) == pytest.approx(OCCLUDED, abs=0.15)
