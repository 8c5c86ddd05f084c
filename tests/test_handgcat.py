import json
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from handbench.errors import HandbenchError, ShapeError, UnknownName
from handbench.hand import Hand
from handbench.hand_layer import HandLayer
from handbench.inference.predict import conditions
from handbench.inference.released import import_released
from handbench.methods.handgcat import FOREIGN, HandGCAT
from handbench.methods.parts.cross_attention import ChannelAttention
from handbench.methods.parts.keypoint_graph import KeypointGraph, laplacian
from handbench.training.recipe import make

GOLDEN = Path(__file__).parent / "golden" / "handgcat_tiny.npz"
OUTPUTS = {
    "heatmaps": "heatmaps",
    "joints2d": "joints_crop",
    "pose6d": "pose6d",
    "shape": "shape",
    "rotmat": "rotations",
    "stubmano_verts_m": "verts_m",
    "stubmano_joints21_m": "joints_m",
}
TERMS = {
    "mano_verts": "verts",
    "mano_joints": "joints",
    "mano_pose": "pose",
    "mano_shape": "shape",
    "joints_img": "joints_2d",
}


def rule(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Weights from an entry's name alone, of sizes that keep signals alive."""
    z = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    factors = {".bias": 0.1, "running_mean": 0.1, "_embedding": 0.5}
    for ending, factor in factors.items():
        if name.endswith(ending):
            return factor * z
    if name.endswith("running_var"):
        return 1 + np.abs(z)
    if name.endswith(".betas"):
        return 3 * (1 + 0.1 * z)
    return 1 + 0.1 * z if len(shape) == 1 else 0.9 * z / np.sqrt(np.prod(shape[1:]))


def fill(method: torch.nn.Module) -> torch.nn.Module:
    for name, value in method.state_dict().items():
        if value.is_floating_point() and not name.endswith((".uu", ".vv")):
            value.copy_(torch.from_numpy(rule(name, tuple(value.shape))))
    return method.eval()


def stand_in() -> Hand:
    """A hand model of random numbers, made by rule."""

    def noise(key: str, *shape: int) -> np.ndarray:
        return np.random.RandomState(zlib.crc32(f"stub.{key}".encode())).standard_normal(shape)

    def share(key: str, shape: tuple[int, int], power: int) -> np.ndarray:
        x = np.random.RandomState(zlib.crc32(f"stub.{key}".encode())).rand(*shape) ** power
        return x / x.sum(1, keepdims=True)

    faces = np.random.RandomState(zlib.crc32(b"stub.f")).randint(0, 778, (1538, 3))
    return Hand.from_arrays(
        v_template=0.05 * noise("v_template", 778, 3),
        shapedirs=0.005 * noise("shapedirs", 778, 3, 10),
        posedirs=0.002 * noise("posedirs", 778, 3, 135),
        J_regressor=share("J_regressor", (16, 778), 64),
        weights=share("weights", (778, 16), 8),
        faces=faces,
        hands_mean=0.2 * noise("hands_mean", 45),
        hands_components=0.2 * noise("hands_components", 45, 45),
    )


def batch_of(hand: Hand, size: int, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    draws = {
        "image": np.random.RandomState(1234).rand(2, 3, size, size),
        "joints_crop": np.random.RandomState(1235).rand(2, 21, 2),
        "pose": 0.3 * np.random.RandomState(1236).standard_normal((2, 48)),
        "shape": np.random.RandomState(1237).standard_normal((2, 10)),
    }
    batch = {k: torch.from_numpy(v.astype(np.float32)).to(dtype) for k, v in draws.items()}
    posed = HandLayer(hand, dtype)(batch["pose"], batch["shape"])
    wrist = posed.joints_m[:, :1]
    batch |= {"verts_m": posed.verts_m - wrist, "joints_m": posed.joints_m - wrist}
    batch |= {f"valid_{name}": torch.ones(2, dtype=dtype) for name in ("mano", "verts")}
    return {**batch, "valid_joints": torch.ones(2, 21, dtype=dtype)}


@pytest.fixture(scope="module")
def fixture(shared) -> dict[str, np.ndarray]:
    with np.load(shared / "fixtures/networks/handgcat.npz") as data:
        return dict(data)


@pytest.fixture(scope="module")
def hand() -> Hand:
    return stand_in()


@pytest.fixture(scope="module")
def released(tmp_path_factory, hand, shared) -> HandGCAT:
    """The full network, read from a file as the authors' training writes it."""
    state = {f"module.{k}": v for k, v in fill(HandGCAT(hand)).state_dict().items()}
    state[f"module.{FOREIGN}th_betas"] = torch.zeros(1, 10)
    path = tmp_path_factory.mktemp("released") / "snapshot_69.pth.tar"
    torch.save({"epoch": 69, "network": state, "optimizer": {}}, path)
    return import_released("handgcat", path, hand=hand)


def test_entries_are_the_released_networks(shared, released):
    listed = json.loads((shared / "fixtures/networks/handgcat_state_dict.json").read_text())
    listed = {k: v for k, v in listed.items() if not k.startswith(FOREIGN)}
    assert {k: list(v.shape) for k, v in released.state_dict().items()} == listed
    assert sum(p.numel() for p in released.parameters()) == 75_759_884


def test_outputs_and_losses_are_the_released_networks(fixture, released, hand):
    batch = batch_of(hand, 256)
    with torch.no_grad():
        out = released(batch)
        losses = released.losses(out, batch)
    for theirs, name in OUTPUTS.items():
        known = fixture[f"full/{theirs}"]
        ours = out[name] + out["wrist_m"] if theirs.startswith("stubmano") else out[name]
        assert ours.numpy() == pytest.approx(known, abs=5e-5 * float(np.abs(known).max())), name
    for name, known in zip(fixture["loss_names"], fixture["loss_eval"]):
        assert losses[TERMS[str(name)]].item() == pytest.approx(known, rel=5e-5), name


@pytest.mark.slow
def test_gradients_are_the_released_networks(fixture, released, hand):
    batch = batch_of(hand, 256, torch.float64)
    method = HandGCAT(hand).double().train()
    method.load_state_dict(released.state_dict())
    losses = method.losses(method(batch), batch)
    for name, known in zip(fixture["loss_names"], fixture["loss_train_f64"]):
        assert losses[TERMS[str(name)]].item() == pytest.approx(known, rel=1e-6), name
    torch.stack(list(losses.values())).sum().backward()
    parameters = dict(method.named_parameters())
    assert set(parameters) == set(map(str, fixture["grad_names"]))
    for name, known in zip(fixture["grad_names"], fixture["grad_norms_f64"]):
        gradient = parameters[str(name)].grad
        if known < 0:
            assert gradient is None, name
        else:
            assert gradient.norm().item() == pytest.approx(known, rel=1e-5, abs=1e-9), name


def tiny(**options: object) -> HandGCAT:
    torch.manual_seed(0)
    return HandGCAT(Hand.open(), **{**HandGCAT.PRESETS["tiny"], **options})


def golden() -> dict[str, np.ndarray]:
    """What the tiny network gives for weights and inputs made by rule; every 40th vertex."""
    method = fill(tiny(test_noise=0.0, train_noise=0.0, graph_order=2))
    batch = batch_of(Hand.open(), 64)
    with torch.no_grad():
        out = method(batch)
    found = {k: v.numpy()[:, ::40] if k == "verts_m" else v.numpy() for k, v in out.items()}
    found["losses"] = torch.stack(list(method.losses(out, batch).values())).detach().numpy()
    return found


def test_tiny_network_gives_what_it_gave():
    ours = golden()
    with np.load(GOLDEN) as data:
        assert set(data) == set(ours)
        for name in data:
            assert ours[name] == pytest.approx(data[name], abs=1e-4), name


def test_a_released_graph_is_one_affine_map_and_a_real_one_is_not():
    torch.manual_seed(0)
    joints = torch.rand(2, 21, 2)
    moved = joints.clone()
    moved[:, 5] += 0.1
    # beside itself: its neighbours along the finger and across
    for order, heard in ((1, [5]), (2, [0, 1, 5, 6, 9])):
        graph = KeypointGraph(4, 1, order).eval()
        with torch.no_grad():
            change = (graph(joints) - graph(moved)).abs().amax((0, 2, 3))
        assert (change > 1e-6).nonzero()[:, 0].tolist() == heard
    deep = KeypointGraph(4, 4).eval()
    with torch.no_grad():
        corners = [
            deep(torch.tensor([x, y]).expand(1, 21, 2))
            for x, y in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.3, 0.6))
        ]
    zero, x, y, inside = corners
    assert torch.allclose(inside, zero + 0.3 * (x - zero) + 0.6 * (y - zero), atol=1e-5)


def test_laplacians():
    eigenvalues = torch.linalg.eigvalsh(laplacian())
    assert eigenvalues[0].abs() < 1e-12 and eigenvalues[-1].item() == pytest.approx(
        1.5115, abs=1e-4
    )
    shuffled = laplacian("shuffled")
    assert torch.allclose(torch.linalg.eigvalsh(shuffled), eigenvalues)
    assert not torch.allclose(shuffled, laplacian())
    ends = torch.linalg.eigvalsh(laplacian("skeleton", rescale=True))[[0, -1]]
    assert ends.tolist() == pytest.approx([-1, 1])
    with pytest.raises(UnknownName, match="adjacency"):
        laplacian("full")


def test_attention_is_softmax_over_channels():
    torch.manual_seed(0)
    layer = ChannelAttention(5, 3, 4, heads=2).double().eval()
    query, key = torch.randn(2, 5, 4, 4).double(), torch.randn(2, 3, 4, 4).double()
    q, k = layer.encode(query, key)
    v, parts = layer.encode_value(key), []
    for rows in (slice(0, 2), slice(2, 4)):  # a head sees half of the rows
        one, two, three = (x[:, :, rows].flatten(2) for x in (q, k, v))
        parts.append((one @ two.mT / 8**0.5).softmax(-1) @ three)
    x = query.flatten(2) + torch.cat(parts, 2)
    x = x + layer.mlp["fc2"](torch.nn.functional.gelu(layer.mlp["fc1"](layer.norm2(x))))
    assert torch.allclose(layer(query, key), x.view_as(query))
    assert torch.allclose(layer.weights(query, key).sum(-1), torch.ones(()).double())


def test_noise_on_the_joints():
    method = tiny(noise_share=0.5)
    joints = torch.rand(400, 21, 2)
    method.train()
    moved = (method.with_noise(joints) - joints).flatten(1)
    noisy = moved.abs().amax(1) > 0
    assert 0.4 < noisy.float().mean() < 0.6
    assert moved[noisy].std().item() == pytest.approx(0.01, rel=0.05)
    method.eval()
    used = method.with_noise(joints)
    assert (used - joints).std().item() == pytest.approx(0.01, rel=0.05)
    assert torch.equal(method.with_noise(joints[7:9]), used[7:9])  # in whatever batch
    assert method.conditions() == {
        "inputs": "image, joints_crop: ground truth + N(0, 0.01 of the crop)",
        "oracle": True,
    }
    method.joints_source, method.test_noise = "a detector", 0.0
    assert method.conditions() == {"inputs": "image, joints_crop: a detector"}


def test_prediction_files_say_where_the_joints_came_from(tmp_path):
    weights = tmp_path / "checkpoint.pt"
    weights.write_bytes(b"")
    samples = SimpleNamespace(
        split=SimpleNamespace(name="synthetic/test"),
        hand=Hand.open(),
        box_source="visible_mask",
        box_factor=1.5,
        whole_images=0,
    )
    state = {"step": 1, "path": weights}
    told = conditions(tiny(), make("handgcat"), state, samples)
    assert told["inputs"].endswith("ground truth + N(0, 0.01 of the crop)") and told["oracle"]


def test_the_2d_loss_follows_the_noisy_joints():
    method = tiny(train_noise=0.3).train()
    batch = batch_of(Hand.open(), 64)
    out = method(batch)
    out["joints_crop"] = out["joints_used"]
    assert method.losses(out, batch)["joints_2d"].item() == 0


def test_unannotated_hands_count_nowhere_and_joints_alone_count():
    method = tiny(smooth=False).eval()
    batch = batch_of(Hand.open(), 64)
    for name in ("mano", "verts"):
        batch[f"valid_{name}"][:] = 0
    out = method(batch)
    losses = {k: v.item() for k, v in method.losses(out, batch).items()}
    assert [losses[k] for k in ("verts", "pose", "shape")] == [0, 0, 0]
    error = (out["joints_m"] - batch["joints_m"]).square().mean().item()
    assert losses["joints"] == pytest.approx(1e4 * error, rel=1e-4)
    batch["valid_joints"][:] = 0
    assert all(v.item() == 0 for v in method.losses(out, batch).values())


def test_inspecting_changes_nothing_and_names_the_maps():
    method = tiny(blocks=2).train()
    batch = batch_of(Hand.open(), 64)
    state = {k: v.clone() for k, v in method.state_dict().items()}
    found = method.inspect(batch)
    assert method.training and all(torch.equal(v, state[k]) for k, v in method.state_dict().items())
    assert {"image_asks_0", "joints_ask_1", "heatmaps", "keypoints", "fused"} <= set(found)
    assert found["joints_ask_1"].shape == (2, 2, 21, 48)
    with torch.no_grad():
        assert torch.equal(method.eval()(batch)["heatmaps"], found["heatmaps"])


def test_the_control_sees_no_picture():
    method = tiny(**HandGCAT.VARIANTS["pose_only"]).eval()
    assert method.inputs == ("joints_crop",) and not hasattr(method, "backbone")
    assert method({"joints_crop": torch.rand(2, 21, 2)})["verts_m"].shape == (2, 778, 3)


def test_what_does_not_fit_is_one_clear_line():
    method = tiny()
    joints, image = torch.zeros(2, 21, 2), torch.zeros(2, 3, 64, 64)
    with pytest.raises(ShapeError, match=r"takes images \(B, 3, 64, 64\), not \(2, 3, 32, 64\)"):
        method({"image": image[:, :, :32], "joints_crop": joints})
    with pytest.raises(ShapeError, match=r"takes joints_crop \(B, 21, 2\), not \(2, 21, 3\)"):
        method({"image": image, "joints_crop": torch.zeros(2, 21, 3)})
    with pytest.raises(HandbenchError, match="crop_px must be 8 times a power of 2"):
        tiny(crop_px=72)
    for options in ({"start": "cold"}, {"attention_positions": "none"}, {"adjacency": "no"}):
        with pytest.raises(UnknownName):
            tiny(**options)


@pytest.mark.parametrize("data", ["synthetic", "ho3d_v2", "ho3d_v3", "dexycb/s0"])
def test_recipes(data):
    recipe = make("handgcat", data=data)
    if data == "synthetic":
        return
    per_epoch = 1000
    total = recipe.total_steps(per_epoch)
    starts = [np.ceil(share * total) / per_epoch for share in recipe.milestones]
    every = 1 if recipe.epochs == 25 else 10
    assert np.round(starts, 2) == pytest.approx(np.arange(every, recipe.epochs, every))
    noise = {"ho3d_v2": 0.01}.get(data, 0.0)  # as released
    assert recipe.options["train_noise"] == noise
