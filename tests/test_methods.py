import numpy as np
import pytest
import torch

from handbench import registry
from handbench.errors import DataError, HandbenchError, ShapeError
from handbench.hand import Hand
from handbench.mesh.topology import build
from handbench.methods import TABLE
from handbench.methods.h2onet import H2ONet
from handbench.methods.handoccnet import HandOccNet
from handbench.methods.mean_pose import MeanPose, nearest_rotations
from handbench.methods.parts.losses import distance, masked_mean
from handbench.methods.parts.spiral import SpiralConv
from handbench.methods.parts.surface import surface_errors
from handbench.methods.plain import Plain

OWN = ("occrobnet", "kypt_small", "cnn_sa")  # all their variants are in test_occrobnet.py
METHODS = [name for name in TABLE if name not in OWN]
CASES = [(name, v) for name in METHODS for v in registry.load("method", name).VARIANTS]
COUNT = 8


@pytest.fixture(scope="module")
def hand() -> Hand:
    return Hand.open()


def make(hand: Hand, name: str, variant: str, preset: str = "tiny") -> torch.nn.Module:
    cls = registry.load("method", name)
    torch.manual_seed(0)
    method = cls(hand, **{**cls.PRESETS[preset], **cls.VARIANTS[variant]})
    if hasattr(method, "adopt"):  # some variants ask for weights to start from
        method.adopt(method.state_dict())
    return method


def count_of(method: torch.nn.Module) -> int:
    """As many pictures of several frames as of one, nearly."""
    return COUNT if method.frames == 1 else 3


def batch_for(method: torch.nn.Module, hand: Hand) -> dict[str, torch.Tensor]:
    """Random hands with random pictures: few enough to be learnt by heart."""
    rng = np.random.default_rng(0)
    count = count_of(method)
    pose, shape = 0.4 * rng.normal(size=(count, 48)), 0.5 * rng.normal(size=(count, 10))
    verts, joints = hand.pose(pose, shape)
    frames = (method.frames,) if method.frames > 1 else ()
    arrays = {
        "image": rng.random((count, *frames, 3, method.crop_px, method.crop_px)),
        "joints_m": joints - joints[:, :1],
        "verts_m": verts - joints[:, :1],
        "pose": pose,
        "shape": shape,
        "joints_crop": rng.random((count, 21, 2)),
        "visibility": rng.integers(0, 2, (count, 5)),
        "hand_visibility": rng.integers(0, 2, count),
        "valid_joints": np.ones((count, 21)),
    }
    arrays |= {f"valid_{name}": np.ones(count) for name in ("mano", "verts", "visibility")}
    if frames:  # the hand is held still
        labels = {name: value for name, value in arrays.items() if name != "image"}
        arrays |= {f"frame_{k}": np.stack([v] * method.frames, 1) for k, v in labels.items()}
    batch = {name: torch.tensor(value, dtype=torch.float32) for name, value in arrays.items()}
    return {**batch, "is_left": torch.zeros(count, dtype=torch.bool)}


def ready(method: torch.nn.Module, batch: dict[str, torch.Tensor]) -> torch.nn.Module:
    if hasattr(method, "fit"):
        method.fit([batch])
    return method.eval()


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_outputs_follow_the_contract(hand, name, variant):
    method = make(hand, name, variant)
    batch = batch_for(method, hand)
    out = ready(method, batch)({key: batch[key] for key in (*method.inputs, "is_left")})
    shapes = {
        "joints_m": (21, 3),
        "verts_m": (778, 3),
        "joints_crop": (21, 2),
        "pose6d": (96,),
        "shape": (10,),
        "rotation": (3, 3),
    }
    assert {"joints_m", "verts_m"} <= out.keys()
    for key, value in out.items():
        assert torch.isfinite(value).all()
        if key in shapes:
            assert value.shape == (count_of(method), *shapes[key]), key
    assert out["joints_m"][:, 0].abs().max() < 1e-6  # relative to the wrist


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_steps_lower_the_loss_and_every_gradient_is_finite(hand, name, variant):
    method = make(hand, name, variant).train()
    batch = batch_for(method, hand)
    if hasattr(method, "fit"):
        assert method.losses(method(batch), batch) == {}
        return
    optimizer = torch.optim.AdamW(method.parameters(), lr=2e-3)
    history, wanted = [], 0.7 if variant == "full" else 0.85
    for _ in range(12):
        losses = method.losses(method(batch), batch)
        total = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad()
        total.backward()
        gradients = [p.grad for p in method.parameters() if p.grad is not None]
        assert all(torch.isfinite(g).all() for g in gradients)
        optimizer.step()
        history.append(total.item())
        if history[-1] < wanted * history[0]:
            return
    raise AssertionError(history)


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_saved_and_restored_is_the_same(hand, name, variant, tmp_path):
    method = make(hand, name, variant)
    batch = batch_for(method, hand)
    torch.save(ready(method, batch).state_dict(), tmp_path / "weights.pt")
    torch.manual_seed(1)
    cls = registry.load("method", name)
    other = cls(hand, **{**cls.PRESETS["tiny"], **cls.VARIANTS[variant]}).eval()
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    with torch.no_grad():
        out, again = method(batch), other(batch)
    for key, value in out.items():
        assert torch.equal(value, again[key]), key


@pytest.mark.parametrize("cls", [Plain, H2ONet, HandOccNet])
def test_what_is_not_annotated_counts_nowhere(hand, cls):
    method = cls(hand, **cls.PRESETS["tiny"]).eval()
    batch = batch_for(method, hand)
    half = {key: value[: COUNT // 2] for key, value in batch.items()}
    for name in ("valid_joints", "valid_mano", "valid_verts"):
        batch[name][COUNT // 2 :] = 0
    for name in ("joints_m", "verts_m", "shape", "joints_crop"):
        batch[name][COUNT // 2 :] = 7.0
    kept, alone = (method.losses(method(b), b) for b in (batch, half))
    for key in kept:
        assert kept[key].item() == pytest.approx(alone[key].item(), rel=1e-4), key
    for name in ("valid_joints", "valid_mano", "valid_verts"):
        batch[name][:] = 0
    assert all(value.item() == 0 for value in method.losses(method(batch), batch).values())


@pytest.mark.parametrize("cls", [Plain, H2ONet, HandOccNet])
def test_a_wrong_picture_is_one_clear_line(hand, cls):
    method = cls(hand, **cls.PRESETS["tiny"])
    with pytest.raises(ShapeError, match=r"takes images \(B, 3, 64, 64\), not \(2, 3, 32, 64\)"):
        method({"image": torch.zeros(2, 3, 32, 64)})


def test_paper_sizes(hand):
    assert sum(p.numel() for p in H2ONet(hand).parameters()) == 26_428_472
    resnet = Plain(hand).backbone
    assert sum(p.numel() for p in resnet.parameters()) == 25_557_032 - 2_049_000  # less its classes
    names = resnet.state_dict().keys()
    assert {
        "conv1.weight",
        "bn1.bias",
        "layer3.5.conv3.weight",
        "layer1.0.downsample.1.bias",
    } <= names


def test_mean_pose_has_the_least_squared_error(hand):
    method = MeanPose(hand)
    batch = batch_for(method, hand)
    batch["valid_joints"][3, 5] = 0
    halves = [{k: v[part] for k, v in batch.items()} for part in (slice(0, 3), slice(3, COUNT))]
    method.fit(halves)
    wanted = batch["joints_m"].mean(0)
    wanted[5] = batch["joints_m"][torch.arange(COUNT) != 3, 5].mean(0)
    assert torch.allclose(method.joints_m, wanted, atol=1e-6)
    assert torch.allclose(method.verts_m, batch["verts_m"].mean(0), atol=1e-6)
    posed = MeanPose(hand, posed=True)
    posed.fit(halves)
    spans = [m.joints_m.norm(dim=1).max() for m in (posed, method)]
    assert spans[0] > spans[1]  # a mean over orientations shrinks, a posed hand does not
    batch["valid_mano"][:], batch["valid_joints"][:] = 0, 0
    for one in (method, posed):
        with pytest.raises(DataError, match="no sample of the training data"):
            one.fit([batch])


def test_posed_mean_of_one_hand_is_that_hand(hand):
    method = MeanPose(hand, posed=True)
    batch = {k: v[:1] for k, v in batch_for(method, hand).items()}
    method.fit([batch, batch])
    assert torch.allclose(method.verts_m, batch["verts_m"][0], atol=1e-5)
    mirror = np.diag([1.0, 1.0, -1.0])
    assert np.linalg.det(nearest_rotations(np.stack([mirror, -np.eye(3)]))) == pytest.approx(1)


def test_spiral_convolution_is_gather_and_linear(hand):
    meshes = build(hand)
    torch.manual_seed(0)
    layer = SpiralConv(5, 4, meshes.spirals[2], meshes.up_matrix(2)).double()
    x = torch.randn(98, 3, 5, dtype=torch.float64, requires_grad=True)
    fine = torch.einsum("uv,vbc->ubc", torch.tensor(meshes.up_matrix(2)), x)
    gathered = fine[torch.tensor(meshes.spirals[2])].transpose(1, 2).reshape(195, 3, 45)
    ours, plain = layer(x), layer.layer(gathered)
    assert torch.allclose(ours, plain, atol=1e-6)
    weight = torch.randn_like(ours)
    inputs = [x, layer.layer.weight, layer.layer.bias]
    for one, other in zip(
        torch.autograd.grad((ours * weight).sum(), inputs),
        torch.autograd.grad((plain * weight).sum(), inputs),
    ):
        assert torch.allclose(one, other, atol=1e-5)


def test_loss_terms_by_hand():
    values, mask = torch.tensor([[1.0, 3.0], [5.0, torch.nan]]), torch.tensor([1.0, 0.0])
    assert masked_mean(values, mask).item() == 2
    assert masked_mean(values, 0 * mask).item() == 0
    one, two = torch.zeros(1, 1, 3), torch.full((1, 1, 3), 0.004)
    assert distance(one, two, torch.ones(1)).item() == pytest.approx(0.004)
    assert distance(one, two, torch.ones(1), True).item() == pytest.approx(0.04**2 / 2 / 0.05)
    with pytest.raises(ShapeError):
        distance(one, two[:, :, :2], torch.ones(1))
    triangle = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]])
    lifted = triangle.clone()
    lifted[0, 1, 2] = 1  # one corner raised: edges of it leave the true plane at 45 degrees or less
    normal, edge = surface_errors(lifted, triangle, torch.tensor([[0, 1, 2]]))
    assert normal[0, 0].tolist() == pytest.approx([0.5**0.5, 0, 3**-0.5])
    assert edge[0, 0].tolist() == pytest.approx([2**0.5 - 1, 0, 3**0.5 - 2**0.5], abs=1e-6)


def test_canonical_truth_is_the_hand_unturned(hand):
    method = H2ONet(hand, **H2ONet.PRESETS["tiny"])
    batch = batch_for(method, hand)
    pose = batch["pose"].double().numpy()
    pose[:, :3] = 0
    verts, joints = hand.pose(pose, batch["shape"].double().numpy())
    true = method.canonical(batch)
    assert true["verts"].numpy() == pytest.approx(verts, abs=1e-6)
    assert true["joints"].numpy() == pytest.approx(joints, abs=1e-6)
    assert true["wrist"].numpy() == pytest.approx(joints[:, :1], abs=1e-6)


def test_unknown_up_sampling_is_named(hand):
    with pytest.raises(HandbenchError, match="form of up-sampling 'author'"):
        H2ONet(hand, **H2ONet.PRESETS["tiny"], up_form="author")
