import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from handbench import checkpoint
from handbench.errors import HandbenchError, ShapeError, UnknownName
from handbench.hand import Hand
from handbench.hand_layer import HandLayer
from handbench.inference.released import import_released
from handbench.methods.handoccnet import FOREIGN, HandOccNet
from handbench.methods.parts.injection import CrossAttention
from handbench.methods.plain import Plain
from handbench.training import recipe

GOLDEN = Path(__file__).parent / "golden" / "handoccnet_tiny.npz"
TERMS = ("verts", "joints", "pose", "shape", "joints_2d")
FULL = {
    "heatmaps": "heatmaps",
    "joints_crop": "joints2d",
    "pose6d": "pose6d",
    "shape": "shape",
    "rotations": "rotmat",
}
MAPS = {
    "backbone": "backbone/feat32",
    "primary": "primary",
    "secondary": "secondary",
    "injected": "FIT/out",
    "enhanced": "SET/out",
}


def rule(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Weights from an entry's name alone, of sizes that keep signals alive."""
    x = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    for ending, value in (
        ("running_mean", 0.1 * x),
        ("running_var", 1 + np.abs(x)),
        (".bias", 0.1 * x),
        ("_embedding", 0.5 * x),
        (".betas", 3 * (1 + 0.1 * x)),
    ):
        if name.endswith(ending):
            return value
    if len(shape) == 1:
        return 1 + 0.1 * x
    gate = 0.1 if "encode_query2" in name or "encode_key2" in name else 1.0
    return gate * 0.9 * x / np.sqrt(np.prod(shape[1:]))


def fill(method: HandOccNet) -> HandOccNet:
    for name, value in method.state_dict().items():
        if value.is_floating_point() and not name.endswith((".uu", ".vv")):
            value.copy_(torch.from_numpy(rule(name, tuple(value.shape))))
    return method.eval()


def stand_in() -> Hand:
    """A random hand of MANO's shapes, as single-precision numbers."""

    def rng(name: str) -> np.random.RandomState:
        return np.random.RandomState(zlib.crc32(f"stub.{name}".encode()))

    sizes = {
        "v_template": (0.05, (778, 3)),
        "shapedirs": (0.005, (778, 3, 10)),
        "posedirs": (0.002, (778, 3, 135)),
        "hands_mean": (0.2, (45,)),
        "hands_components": (0.2, (45, 45)),
    }
    arrays = {k: scale * rng(k).standard_normal(shape) for k, (scale, shape) in sizes.items()}
    regressor = rng("J_regressor").rand(16, 778) ** 64
    weights = rng("weights").rand(778, 16) ** 8
    arrays["J_regressor"] = regressor / regressor.sum(1, keepdims=True)
    arrays["weights"] = weights / weights.sum(1, keepdims=True)
    single = {k: v.astype(np.float32).astype(np.float64) for k, v in arrays.items()}
    return Hand.from_arrays(**single, faces=rng("f").randint(0, 778, (1538, 3)))


def sample(seed: int, *shape: int, normal: float = 0.0) -> torch.Tensor:
    rng = np.random.RandomState(seed)
    x = normal * rng.standard_normal(shape) if normal else rng.rand(*shape)
    return torch.from_numpy(x.astype(np.float32))


def batch_for(hand: Hand, size: int, dtype: torch.dtype = torch.float32) -> dict:
    """Two pictures and hands; the pose counts from the hand's mean."""
    layer = HandLayer(hand, dtype)
    pose = sample(1236, 2, 48, normal=0.3).to(dtype)
    pose[:, 3:] += layer.mean
    shape = sample(1237, 2, 10, normal=1.0).to(dtype)
    posed = layer(pose, shape)
    wrist = posed.joints_m[:, :1]
    return {
        "image": sample(1234, 2, 3, size, size).to(dtype),
        "joints_crop": sample(1235, 2, 21, 2).to(dtype),
        "pose": pose,
        "shape": shape,
        "verts_m": posed.verts_m - wrist,
        "joints_m": posed.joints_m - wrist,
        "valid_joints": torch.ones(2, 21, dtype=dtype),
        **{f"valid_{k}": torch.ones(2, dtype=dtype) for k in ("mano", "verts", "visibility")},
    }


@pytest.fixture(scope="module")
def fixture(shared):
    with np.load(shared / "fixtures/networks/handoccnet.npz") as data:
        return dict(data)


@pytest.fixture(scope="module")
def released(shared) -> HandOccNet:
    return fill(HandOccNet(stand_in()))


def near(ours: torch.Tensor, theirs: np.ndarray, scale: float | None = None) -> bool:
    return np.abs(ours.numpy() - theirs).max() <= 5e-5 * (scale or np.abs(theirs).max())


def test_entries_are_the_released_networks(shared, released):
    path = shared / "fixtures/networks/handoccnet_state_dict.json"
    listed = {k: v for k, v in json.loads(path.read_text()).items() if not k.startswith(FOREIGN)}
    assert {k: list(v.shape) for k, v in released.state_dict().items()} == listed


def test_outputs_and_maps_are_the_released_networks(fixture, released):
    batch = batch_for(stand_in(), 256)
    with torch.no_grad():
        out = released(batch)
        losses = released.losses(out, batch)
    for ours, theirs in FULL.items():
        assert near(out[ours], fixture[f"full/{theirs}"]), ours
    for name, theirs in (("verts_m", "stubmano_verts_m"), ("joints_m", "stubmano_joints21_m")):
        assert near(out[name] + out["wrist_m"], fixture[f"full/{theirs}"]), name
    ours = [losses[name].item() for name in TERMS]
    assert ours == pytest.approx(fixture["loss_eval"], rel=5e-6)
    maps = released.inspect(batch)
    assert near(maps["necessity_map"], fixture["full/necessity_map"])
    for name, theirs in MAPS.items():
        value = maps[name].flatten()
        at = torch.from_numpy(np.linspace(0, len(value) - 1, 64).astype(int))
        largest = np.abs(fixture[f"sum/{theirs}/mean_std_min_max"][2:]).max()
        assert near(value[at], fixture[f"sum/{theirs}/strided64"], largest), name
    gate = maps["fit_gate"].flatten()[:16]
    assert near(gate, fixture["sum/FIT/block0/gate/first16"], 1.0)
    assert torch.allclose(maps["fit_attention"].sum(-1), maps["fit_gate"].flatten(2), atol=1e-5)


@pytest.mark.slow
def test_training_losses_and_gradients_are_the_released_networks(fixture):
    hand = stand_in()
    method = fill(HandOccNet(hand)).double().train()
    method.regressor.mano_regHead.mano_layer = HandLayer(hand, torch.float64)
    batch = batch_for(hand, 256, torch.float64)
    losses = method.losses(method(batch), batch)
    ours = [losses[name].item() for name in TERMS]
    assert ours == pytest.approx(fixture["loss_train_f64"], rel=1e-6)
    torch.stack(list(losses.values())).sum().backward()
    gradients = {k: p.grad for k, p in method.named_parameters()}
    assert gradients.keys() == set(fixture["grad_names"])
    for name, norm in zip(fixture["grad_names"], fixture["grad_norms_f64"]):
        if norm < 0:
            assert gradients[name] is None or not gradients[name].any(), name
        else:  # biases before a norm or a softmax have no gradient but rounding
            assert gradients[name].norm().item() == pytest.approx(norm, rel=1e-5, abs=1e-9), name


def test_tiny_network_gives_what_it_gave():
    ours = tiny_outputs()
    with np.load(GOLDEN) as data:
        assert set(data) == set(ours)
        for name in data:
            assert ours[name] == pytest.approx(data[name], abs=2e-5), name


def tiny_outputs() -> dict[str, np.ndarray]:
    """What is kept in GOLDEN: the released forms at tiny size, outputs and weighted losses."""
    options = {**HandOccNet.PRESETS["tiny"], "add_mean": True, "smooth": False}
    hand = Hand.open()
    method, batch = fill(HandOccNet(hand, **options)), batch_for(hand, 64)
    with torch.no_grad():
        out = method(batch)
        losses = method.losses(out, batch)
    out["losses"] = torch.stack([losses[name] for name in TERMS]) / 100
    out["verts_m"] = out["verts_m"][:, ::40]
    out["necessity_map"] = method.inspect(batch)["necessity_map"]
    return {k: v.numpy() for k, v in out.items()}


@pytest.mark.parametrize("variant", HandOccNet.VARIANTS)
def test_looking_changes_nothing(variant):
    options = {**HandOccNet.PRESETS["tiny"], **HandOccNet.VARIANTS[variant]}
    method, batch = HandOccNet(Hand.open(), **options).train(), batch_for(Hand.open(), 64)
    before = {k: v.clone() for k, v in method.state_dict().items()}
    maps = method.inspect(batch)
    assert method.training
    assert all(torch.equal(v, before[k]) for k, v in method.state_dict().items())
    assert maps["necessity_map"].shape == (2, 1, 8, 8)
    assert maps["injected"].shape == maps["primary"].shape == maps["enhanced"].shape
    assert ("fit_attention" in maps) == (method.inject == "fit")
    with torch.no_grad():
        assert torch.equal(method.eval()(batch)["heatmaps"], maps["heatmaps"])


@pytest.mark.parametrize(("variant", "count"), [("full", 39_319_352), ("fit", 36_823_864)])
def test_paper_sizes(variant, count):
    method = HandOccNet(Hand.open(), **HandOccNet.VARIANTS[variant])
    assert sum(p.numel() for p in method.parameters()) == count


def test_every_ablation_of_the_paper_is_a_variant():
    import csv

    path = Path(__file__).parents[1] / "results/reported/handoccnet.csv"
    with path.open() as file:
        named = {row["variant"] for row in csv.DictReader(file)}
    ours = {v.partition("/")[2] for v in named if v.startswith("handoccnet/")}
    assert ours and ours <= HandOccNet.VARIANTS.keys()


@pytest.mark.parametrize("gate", ["none", "sum", "mean", "pairs", "softmax"])
def test_attention_is_its_equation(gate):
    torch.manual_seed(0)
    block = CrossAttention(8, 4, heads=2, gate=gate).double()
    query, key = torch.randn(2, 1, 8, 4, 4, dtype=torch.float64)
    at_query, at_key = query + block.q_embedding, key + block.k_embedding
    heads = []
    for h in range(2):
        cut = slice(4 * h, 4 * h + 4)
        q, k = (f(x).flatten(2)[0, cut] for f, x in pair(block, "", at_query, at_key))
        weights = (q.T @ k / 2).softmax(1)
        if gate != "none":
            q2, k2 = (f(x).flatten(2)[0, cut] for f, x in pair(block, "2", at_query, at_key))
            logits = q2.T @ k2 / 2
            pooled = {"sum": logits.sum(1, keepdim=True), "mean": logits.mean(1, keepdim=True)}
            weights = weights * (
                logits.softmax(1) if gate == "softmax" else pooled.get(gate, logits).sigmoid()
            )
        heads.append(weights @ block.encode_value(key).flatten(2)[0, cut].T)
    x = torch.cat(heads, 1)
    x = x + block.mlp["fc2"](torch.nn.functional.gelu(block.mlp["fc1"](block.norm2(x))))
    assert torch.allclose(block(query, key)[0].flatten(1).T, x, atol=1e-12)


def pair(block: CrossAttention, which: str, at_query: torch.Tensor, at_key: torch.Tensor) -> tuple:
    query, key = (getattr(block, f"encode_{name}{which}") for name in ("query", "key"))
    return (query, at_query), (key, at_key)


def test_joints_alone_still_train():
    hand = Hand.open()
    method = HandOccNet(hand, **{**HandOccNet.PRESETS["tiny"], "smooth": False})
    batch = batch_for(hand, 64)
    batch["valid_mano"] *= 0
    batch["valid_verts"] *= 0
    losses = method.losses(method(batch), batch)
    assert losses["joints"] > 0 and losses["verts"] == losses["pose"] == losses["shape"] == 0
    moved = {**batch, "joints_m": batch["joints_m"].roll(1, 0), "valid_joints": torch.zeros(2, 21)}
    assert sum(method.losses(method(moved), moved).values()) == 0


def test_wanted_heatmaps_are_gaussians_of_one_cell():
    method = HandOccNet(Hand.open(), **HandOccNet.PRESETS["tiny"])
    side = method(batch_for(Hand.open(), 64))["heatmaps"].shape[-1]
    at = torch.full((1, 21, 2), 2.5 / side)  # the middle of cell 2, 2
    found = method.gaussians(at)[0, 0]
    assert found.sum() == pytest.approx(1, abs=1e-5)
    assert found.argmax() == 2 * side + 2
    assert found[2, 3] / found[2, 2] == pytest.approx(np.exp(-0.5), abs=1e-4)
    assert found[4, 2] / found[2, 2] == pytest.approx(np.exp(-2), abs=1e-4)


def test_import_of_a_released_file(tmp_path):
    torch.manual_seed(0)
    hand = Hand.open()
    method = HandOccNet(hand).eval()
    state = {"module." + k: v for k, v in method.state_dict().items()}
    state["module.regressor.mano_regHead.mano_layer.th_betas"] = torch.zeros(1, 10)
    content = {"epoch": 69, "network": state, "optimizer": {"state": {}, "param_groups": []}}
    torch.save(content, tmp_path / "snapshot.pth.tar")
    ours = import_released("handoccnet", tmp_path / "snapshot.pth.tar", hand=stand_in())
    assert not ours.training
    assert {k: v.shape for k, v in ours.state_dict().items()} == {
        k: v.shape for k, v in method.state_dict().items()
    }
    assert all(torch.equal(v, method.state_dict()[k]) for k, v in ours.state_dict().items())


def test_a_classifier_starts_the_trunk(tmp_path):
    hand = Hand.open()
    trunk = Plain(hand, **Plain.PRESETS["tiny"]).backbone.state_dict()
    torch.save({**trunk, "fc.weight": torch.zeros(5, 128)}, tmp_path / "classifier.pth")
    method = HandOccNet(hand, **HandOccNet.PRESETS["tiny"])
    assert checkpoint.load_backbone(method, tmp_path / "classifier.pth") == len(trunk)
    ours = method.backbone.state_dict()
    assert torch.equal(ours["layer0.0.weight"], trunk["conv1.weight"])
    assert torch.equal(ours["layer4.0.0.bn2.bias"], trunk["layer4.0.bn2.bias"])
    torch.save({"conv1.weight": trunk["conv1.weight"]}, tmp_path / "part.pth")
    with pytest.raises(HandbenchError, match="does not fit the backbone of HandOccNet: no entry"):
        checkpoint.load_backbone(method, tmp_path / "part.pth")


def test_refusals_are_one_line():
    hand, tiny = Hand.open(), HandOccNet.PRESETS["tiny"]
    with pytest.raises(ShapeError, match=r"takes images \(B, 3, 64, 64\), not \(2, 3, 32, 64\)"):
        HandOccNet(hand, **tiny)({"image": torch.zeros(2, 3, 32, 64)})
    with pytest.raises(HandbenchError, match="crop_px = 96"):
        HandOccNet(hand, **{**tiny, "crop_px": 96})
    for option in ("gate", "residual", "fuse", "inject", "enhance", "regressor", "target_2d"):
        with pytest.raises(UnknownName, match="'somehow'"):
            HandOccNet(hand, **{**tiny, option: "somehow"})
    with pytest.raises(HandbenchError, match="48 channels do not split into 5 heads"):
        HandOccNet(hand, **{**tiny, "heads": 5})


def test_recipes_are_the_released_schedules():
    from handbench.training.schedule import learning_rate

    for data, epochs, factor, every in (("ho3d_v2", 70, 0.7, 10), ("dexycb/s0", 25, 0.9, 1)):
        chosen = recipe.make("handoccnet", data=data)
        assert (chosen.preset, chosen.optimizer, chosen.batch) == ("paper", "adam", 64)
        assert chosen.epochs == epochs
        for epoch in range(epochs):
            middle = 100 * epoch + 50
            wanted = 1e-4 * factor ** (epoch // every)
            assert learning_rate(chosen, middle, 100 * epochs) == pytest.approx(wanted)
