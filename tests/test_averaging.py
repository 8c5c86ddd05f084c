"""Averaged weights against their definition."""

import pytest
import torch

from handbench.training.averaging import Average


def test_weights_are_averaged_with_a_decay_that_grows():
    method = torch.nn.Linear(1, 1, bias=False)
    weight = method.weight.data
    weight.fill_(0.0)
    average, expected = Average(method, 0.5), 0.0
    for step in range(20):
        weight.fill_(float(step + 1))
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * (step + 1)
    with average.applied():
        assert method.weight.item() == pytest.approx(expected)
    assert method.weight.item() == 20  # the method's own again
