"""Options of methods as users give them: of the right kind, and such that the network runs."""

import pytest
import torch

from handbench import checkpoint
from handbench.errors import HandbenchError
from handbench.hand import Hand
from handbench.training import recipe
from handbench.training.options import built


def make(method: str, *options: str) -> torch.nn.Module:
    return checkpoint.build(recipe.make(method, preset="tiny", overrides=options), Hand.open())


@pytest.mark.parametrize(
    ("method", "option", "message"),
    [
        ("h2onet", "smooth=maybe", "smooth takes true or false, not 'maybe'"),
        ("h2onet", "decoder=8", r"decoder takes tuple\[int, ...\], not 8"),
        ("h2onet", "weight_2d=nan", "weight_2d takes a number, not nan"),
        ("h2onet", "frames=1.5", "frames takes a whole number, not 1.5"),
        ("h2onet", "width=33", "H2ONet does not work with width = 33: "),
        ("h2onet", "units=0", "does not work with units = 0: ZeroDivisionError"),
        ("h2onet", "crop_px=-64", "does not work with crop_px = -64"),
        ("h2onet", "stage=3", "no stage '3'; known: 1, 2"),
        ("handoccnet", "hidden=[256]", r"hidden takes tuple\[int, int\], not \[256\]"),
        ("handoccnet", "laterals=9", "does not work with laterals = 9"),
        ("handgcat", "train_noise=abc", "train_noise takes a number, not 'abc'"),
        ("handgcat", "heads=3", "does not work with heads = 3"),
        ("occrobnet", "weights=1", "weights takes .*dict.* not 1"),
        ("occrobnet", "encoders=0", "encoders = 0, decoders = 1: give 1 or more"),
        ("plain", "width=0", "Plain does not work with width = 0"),
    ],
)
def test_options_that_do_not_work_are_one_line(method, option, message):
    with pytest.raises(HandbenchError, match=message) as caught:
        make(method, option)
    assert "\n" not in str(caught.value)


def test_trying_a_network_leaves_it_as_it_was():
    tried, plain = make("plain", "hidden=64"), recipe.make("plain", preset="tiny")
    torch.manual_seed(plain.seed)
    fresh = type(tried)(Hand.open(), **{**recipe.method_options(plain), "hidden": 64})
    assert tried.training
    known = fresh.state_dict()
    assert all(torch.equal(value, known[name]) for name, value in tried.state_dict().items())


def test_inputs_of_a_plug_in_are_its_own_affair():
    class Foreign(torch.nn.Module):
        inputs, crop_px, frames = ("thermal",), 8, 1

        def __init__(self, hand, depth: int | None = None, more=None) -> None:
            super().__init__()

    options = {"depth": 3, "more": "anything"}
    assert built(Foreign, None, options, options).training
    with pytest.raises(HandbenchError, match="depth takes int | None, not 'x'"):
        built(Foreign, None, {"depth": "x"}, {"depth": "x"})
