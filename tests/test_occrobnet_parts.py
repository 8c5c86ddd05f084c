"""The parts of OccRobNet by hand-worked numbers and by their equations."""

import numpy as np
import pytest
import torch

from handbench.hand import Hand
from handbench.methods.parts import keypoints
from handbench.methods.parts.context import TAPS, ContextBlock, local_product
from handbench.methods.parts.lixels import REACH_M, Lixels, from_parents, through
from handbench.methods.parts.pose_losses import corner_distance
from handbench.methods.parts.product_attention import Attention


def test_attention_is_its_equation():
    torch.manual_seed(0)
    x, y = torch.randn(2, 5, 8, dtype=torch.float64), torch.randn(2, 7, 8, dtype=torch.float64)
    allowed = torch.rand(2, 1, 1, 7) < 0.7
    allowed[..., 0] = True
    for form in ("softmax", "sigmoid", "product", "gate"):
        layer = Attention(8, 2, form).double().eval()
        heads = []
        for head in range(2):
            cut = slice(4 * head, 4 * head + 4)
            q, k, v = (
                f(z)[..., cut] for f, z in zip((layer.query, layer.key, layer.value), (x, y, y))
            )
            scores = (q @ k.mT / 2).masked_fill(~allowed[:, 0], -torch.inf)
            weights = scores.softmax(-1) if form != "sigmoid" else scores.sigmoid()
            if form == "product":
                weights = weights * scores.sigmoid()
            if form == "gate":
                more = layer.query2(x)[..., cut] @ layer.key2(y)[..., cut].mT / 2
                weights = weights * (more * allowed[:, 0]).sum(-1, keepdim=True).sigmoid()
            heads.append(weights @ v)
        assert torch.allclose(layer(x, y, y, allowed), layer.out(torch.cat(heads, -1)), atol=1e-12)


def test_local_product_is_its_sum():
    torch.manual_seed(0)
    weights, values = torch.randn(2, 3, 9, 4, 5), torch.randn(2, 6, 4, 5)
    ours = local_product(weights, values)
    for channel, row, column in ((0, 0, 0), (4, 2, 3), (5, 3, 4)):
        total = torch.zeros(2)
        for tap in range(9):
            y, x = row + tap // 3 - 1, column + tap % 3 - 1
            if 0 <= y < 4 and 0 <= x < 5:
                total += weights[:, channel % 3, tap, row, column] * values[:, channel, y, x]
        assert torch.allclose(ours[:, channel, row, column], total, atol=1e-6)


def test_attention_over_the_neighbours_sums_to_one_where_asked():
    torch.manual_seed(0)
    x = torch.randn(2, 16, 4, 4)
    for softmax in (False, True):
        block = ContextBlock(16, softmax)
        weights = block.attention(x, block.static(x))
        assert weights.shape == (2, 2, TAPS, 4, 4)
        whole = torch.allclose(weights.sum(2), torch.ones(2, 2, 4, 4), atol=1e-5)
        assert whole == softmax and bool((weights >= 0).all()) == softmax


def test_points_are_found_told_apart_and_spread():
    places = torch.tensor([[[0.21, 0.33], [0.7, 0.52], [0.72, 0.9]]])
    heat = keypoints.gaussians(places, torch.ones(1, 3), 16)
    found = keypoints.detect(heat.amax(1), 6, 1, 0.1)
    assert found.valid.sum() == 3
    away = torch.cdist(found.place[:, :3], places)
    assert away.amin(2).max() < 0.02  # a third of a cell, where a cell's centre is half of one off
    each = keypoints.strongest(heat, 6, 0.1)
    assert (each.place[:, :3] - places).norm(dim=-1).max() < 0.02
    assert each.valid.tolist() == [[True] * 3 + [False] * 3]
    nothing = keypoints.detect(torch.zeros(2, 16, 16), 4, 1, 0.1)
    assert nothing.valid.sum(1).tolist() == [1, 1]
    joints = torch.tensor([[[0.2, 0.3], [0.205, 0.3], [0.7, 0.52]]])
    depth = torch.tensor([[0.03, -0.02, 0.0]])
    told = keypoints.associate(places, joints, torch.ones(1, 3), depth, 0.06)
    assert told.tolist() == [[2, 3, 0]]  # the nearer of two joints; none within reach
    unknown = keypoints.associate(places, joints, torch.tensor([[1.0, 0, 0]]), depth, 0.06)
    assert unknown.tolist() == [[1, 0, 0]]
    mask = torch.zeros(1, 8, 8)
    mask[0, 2:4, 1:7] = 0.9
    spread = keypoints.spread_points(mask, 4, False)
    assert torch.equal(spread.place, keypoints.spread_points(mask, 4, False).place)
    assert spread.valid.all()
    assert (spread.place[0, :2] - spread.place[0, 0]).norm(dim=-1).max() > 0.6  # the other end
    few = keypoints.spread_points(mask, 20, True)
    assert few.valid.sum() == 12
    assert len({tuple(p) for p in few.place[few.valid].tolist()}) == 12


def test_a_hand_of_mean_size_is_as_far_as_it_looks():
    hand = Hand.open()
    lixels = Lixels(hand, 8, 128, 64, "mean")
    joints = torch.tensor(hand.pose(np.zeros((2, 48)), np.zeros((2, 10)))[1], dtype=torch.float32)
    joints += torch.tensor([[[0.02, 0.01, 0.4]], [[-0.05, 0.0, 0.9]]]) - joints[:, :1]
    camera = torch.tensor([[150.0, 0, 30], [0, 150, 34], [0, 0, 1]]).expand(2, 3, 3)
    pixels = (joints @ camera.mT)[..., :2] / joints[..., 2:]
    rays = through(pixels, camera)
    distance = lixels.distance(rays, joints[..., 2] - joints[:, :1, 2])
    assert distance.tolist() == pytest.approx([0.4, 0.9], rel=1e-4)
    depth = from_parents(joints)[..., 2:] / (2 * REACH_M) + 0.5
    wanted = torch.cat([pixels / 64, depth], -1)
    places = (lixels.targets(pixels / 64, joints).argmax(-1) + 0.5) / 128
    inside = (wanted > 0) & (wanted < 1)
    assert inside.float().mean() > 0.8
    assert (places - wanted)[inside].abs().max() < 0.51 / 128


def test_a_symmetry_of_the_object_costs_nothing():
    torch.manual_seed(0)
    corners = torch.rand(2, 1, 8, 3)
    half = torch.diag(torch.tensor([-1.0, -1.0, 1.0]))
    both = torch.cat([corners, corners @ half.mT], 1)
    true = torch.eye(3).expand(2, 3, 3)
    turned = true @ half
    assert corner_distance(turned, true, both, torch.ones(2), False) == 0
    assert corner_distance(turned, true, corners, torch.ones(2), False) > 0.1
    assert corner_distance(turned, true, corners, torch.tensor([0.0, 0]), True) == 0
