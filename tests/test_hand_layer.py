import sys
import types
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from handbench import hand_layer
from handbench.errors import DataError, HandbenchError, ShapeError, UnknownName
from handbench.hand import Hand
from handbench.hand_layer import HandLayer, load_manopth_layer
from handbench.rotations import axis_angle_to_matrix, matrix_to_six_d


def random_inputs(count: int, dtype=torch.float64):
    source = torch.Generator().manual_seed(3)
    pose = torch.randn(count, 48, generator=source, dtype=torch.float64) * 0.7
    return pose.to(dtype), torch.randn(count, 10, generator=source, dtype=torch.float64).to(dtype)


def dense_hand() -> Hand:
    """Weights of every joint on every vertex, as no sparse shortcut expects."""
    hand = Hand.open()
    names = ["v_template", "shapedirs", "posedirs", "J_regressor"]
    names += ["faces", "hands_mean", "hands_components"]
    weights = np.random.default_rng(0).random((778, 16))
    arrays = {name: getattr(hand, name) for name in names}
    return Hand.from_arrays(**arrays, weights=weights / weights.sum(1, keepdims=True))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("make", [Hand.open, lambda: Hand.open("left"), dense_hand])
def test_layer_agrees_with_the_numpy_hand(make, dtype):
    # whose agreement with the definition is tested in test_hand.py
    hand, (pose, shape) = make(), random_inputs(5)
    verts, joints = hand.pose(pose.numpy(), shape.numpy())
    out = HandLayer(hand, dtype)(pose, shape)
    assert out.verts_m.dtype == out.joints_m.dtype == dtype
    np.testing.assert_allclose(out.verts_m, verts, atol=1e-6 if dtype == torch.float32 else 1e-12)
    np.testing.assert_allclose(out.joints_m, joints, atol=1e-6 if dtype == torch.float32 else 1e-12)
    turns = Rotation.from_rotvec(pose.reshape(-1, 3).numpy()).as_matrix().reshape(-1, 16, 3, 3)
    np.testing.assert_allclose(out.rotations, turns, atol=1e-6)


def losses(layer: HandLayer, skin, pose, shape):
    source = torch.Generator().manual_seed(1)
    rotations = axis_angle_to_matrix(pose.view(-1, 16, 3))
    rest = torch.addmm(
        layer.fold[0], torch.cat([shape, rotations[:, 1:].flatten(1)], 1), layer.fold[1:]
    )
    starts = torch.addmm(layer.joint_fold[0], shape, layer.joint_fold[1:]).view(-1, 16, 3)
    outputs = skin(rest.view(-1, 778, 3), starts, rotations)
    weights = [torch.randn(o.shape, generator=source, dtype=o.dtype) for o in outputs]
    return sum((o * w).sum() for o, w in zip(outputs, weights))


@pytest.mark.parametrize("make", [Hand.open, dense_hand])
def test_compiled_and_plain_skinning_agree_in_value_and_gradient(make):
    from handbench.hand_layer import _CompiledSkin

    layer = HandLayer(make(), torch.float64)
    sparse = layer.first, layer.joint, layer.weight
    results = []
    for skin in (
        layer.skin_plainly,
        lambda rest, *others: _CompiledSkin.apply(rest.flatten(1), *others, *sparse),
    ):
        pose, shape = (t.requires_grad_() for t in random_inputs(3))
        loss = losses(layer, skin, pose, shape)
        results.append([loss, *torch.autograd.grad(loss, (pose, shape))])
    for plain, compiled in zip(*results):
        np.testing.assert_allclose(compiled.detach(), plain.detach(), rtol=1e-9, atol=1e-10)


def test_gradients_against_finite_differences():
    layer = HandLayer(Hand.open(), torch.float64)
    pose, shape = random_inputs(1)
    pose[:, 6:9] = 0  # where naive formulas have no derivative
    shift = torch.zeros(1, 3, dtype=torch.float64)
    vertices = torch.arange(0, 778, 97)

    def some(pose, shape, shift):
        out = layer(pose, shape, shift)
        return out.verts_m[:, vertices], out.joints_m

    inputs = tuple(t.requires_grad_() for t in (pose, shape, shift))
    assert torch.autograd.gradcheck(some, inputs)


def test_forms_of_pose_agree():
    hand = Hand.open()
    layer = HandLayer(hand, torch.float64)
    pose, shape = random_inputs(4)
    matrix = axis_angle_to_matrix(pose.view(-1, 16, 3))
    truth = layer(pose, shape).verts_m
    assert torch.allclose(layer(pose.view(-1, 16, 3), shape).verts_m, truth)
    assert torch.allclose(layer(matrix, shape, representation="matrix").verts_m, truth)
    assert torch.allclose(
        layer(matrix_to_six_d(matrix), shape, representation="six_d").verts_m, truth
    )
    six_d = matrix_to_six_d(matrix).flatten(1)
    assert torch.allclose(layer(six_d, shape, representation="six_d").verts_m, truth)

    wrist, fingers = pose[:, :3], pose[:, 3:]
    mean = torch.tensor(hand.hands_mean)
    relative = torch.cat([wrist, fingers - mean], 1)
    assert torch.allclose(layer(relative, shape, flat_hand_mean=False).verts_m, truth)
    components = torch.tensor(hand.hands_components)  # orthonormal rows
    coefficients = torch.cat([wrist, (fingers - mean) @ components.T], 1)
    out = layer(coefficients, shape, representation="pca", flat_hand_mean=False)
    assert torch.allclose(out.verts_m, truth, atol=1e-6)
    few = torch.cat([wrist, coefficients[:, 3:9]], 1)
    full = torch.cat([wrist, few[:, 3:] @ components[:6]], 1)
    assert torch.allclose(
        layer(few, shape, representation="pca").verts_m, layer(full, shape).verts_m
    )


def test_translation_moves_everything():
    layer = HandLayer(Hand.open())
    pose, shape = random_inputs(2, torch.float32)
    shift = torch.tensor([[0.1, 0.2, 0.3], [0.0, 0.0, 1.0]])
    here, there = layer(pose, shape), layer(pose, shape, shift)
    assert torch.allclose(
        there.verts_m - here.verts_m, shift[:, None].expand(-1, 778, 3), atol=1e-6
    )
    assert torch.allclose(
        there.joints_m - here.joints_m, shift[:, None].expand(-1, 21, 3), atol=1e-6
    )


def test_layer_leaves_no_model_in_a_checkpoint():
    layer = HandLayer(Hand.open())
    assert not layer.state_dict()
    assert not list(layer.parameters())
    assert layer.double()(*random_inputs(1)).verts_m.dtype == torch.float64


def test_layer_keeps_its_precision_under_autocast():
    layer = HandLayer(Hand.open())
    pose, shape = random_inputs(2, torch.float32)
    truth = layer(pose, shape)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(pose, shape).verts_m, truth.verts_m)


def test_layer_can_be_exported():
    layer = HandLayer(Hand.open())
    some = {0: torch.export.Dim("batch", min=2, max=4096)}
    inputs = random_inputs(3, torch.float32)
    program = torch.export.export(layer, inputs, dynamic_shapes=(some, some)).module()
    other = random_inputs(7, torch.float32)
    assert torch.allclose(program(*other).verts_m, layer(*other).verts_m, atol=1e-6)


def test_wrong_inputs_are_named():
    layer = HandLayer(Hand.open())
    pose, shape = random_inputs(2, torch.float32)
    with pytest.raises(ShapeError, match=r"axis_angle pose is \(2, 45\)"):
        layer(pose[:, 3:], shape)
    with pytest.raises(ShapeError, match=r"shape is \(1, 10\), needs \(2, 10\)"):
        layer(pose, shape[:1])
    with pytest.raises(ShapeError, match="pca pose"):
        layer(torch.zeros(2, 60), shape, representation="pca")
    with pytest.raises(UnknownName, match="did you mean 'matrix'"):
        layer(pose, shape, representation="matrx")
    with pytest.raises(HandbenchError, match="flat_hand_mean=False with six_d"):
        layer(torch.zeros(2, 96), shape, representation="six_d", flat_hand_mean=False)


class FakeManoLayer(torch.nn.Module):
    """manopth's interface: axis-angle in, millimetres out, its own files' folder."""

    def __init__(self, mano_root, side, use_pca, flat_hand_mean, ncomps, center_idx):
        super().__init__()
        assert (use_pca, flat_hand_mean, ncomps, center_idx) == (False, True, 45, None)
        self.register_buffer("th_v_template", torch.zeros(778, 3))
        self.ours = HandLayer(Hand.load(f"{mano_root}/MANO_{side.upper()}.pkl"))

    def forward(self, pose, betas):
        verts, joints, _ = self.ours(pose, betas)
        return verts * 1000, joints * 1000


def test_methods_take_the_chosen_layer(monkeypatch):
    monkeypatch.setattr(hand_layer, "_chosen", "own")
    assert type(hand_layer.layer_for(Hand.open())) is HandLayer
    hand_layer.choose("manopth")
    with pytest.raises(HandbenchError, match="poses MANO only"):
        hand_layer.layer_for(Hand.open())
    made = object()
    monkeypatch.setattr(hand_layer, "load_manopth_layer", lambda side: (made, side))
    assert hand_layer.layer_for(replace(Hand.open(), kind="mano")) == (made, "right")
    with pytest.raises(UnknownName, match="manopth"):
        hand_layer.choose("manopt")


def test_manopth_layer_has_the_same_interface(tmp_path, monkeypatch):
    monkeypatch.delenv("HANDBENCH_MANO", raising=False)
    with pytest.raises(DataError, match="HANDBENCH_MANO"):
        load_manopth_layer()
    with pytest.raises(HandbenchError, match="needs the package manopth"):
        load_manopth_layer(folder=tmp_path)

    module = types.ModuleType("manopth.manolayer")
    module.ManoLayer = FakeManoLayer
    monkeypatch.setitem(sys.modules, "manopth", types.ModuleType("manopth"))
    monkeypatch.setitem(sys.modules, "manopth.manolayer", module)
    with pytest.raises(DataError, match=r"MANO_LEFT\.pkl does not exist"):
        load_manopth_layer("left", tmp_path)
    hand = dense_hand()
    monkeypatch.setattr(Hand, "load", lambda path: hand)
    ours, theirs = HandLayer(hand), load_manopth_layer("left", tmp_path)
    assert not theirs.state_dict()
    pose, shape = random_inputs(3, torch.float32)
    shift = torch.tensor([[0.0, 0.1, 0.5]])
    for given, options in (
        (pose, {}),
        (pose, {"flat_hand_mean": False}),
        (axis_angle_to_matrix(pose.view(-1, 16, 3)), {"representation": "matrix"}),
        (pose[:, :13], {"representation": "pca", "flat_hand_mean": False}),
    ):
        for a, b in zip(
            ours(given, shape, shift, **options), theirs(given, shape, shift, **options)
        ):
            assert torch.allclose(a, b, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_layer_on_cuda():
    layer, (pose, shape) = HandLayer(Hand.open()), random_inputs(3, torch.float32)
    out = layer.to("cuda")(pose.cuda(), shape.cuda())
    truth = HandLayer(Hand.open(), torch.float64)(pose, shape)
    assert torch.allclose(out.verts_m.double().cpu(), truth.verts_m, atol=1e-5)
