"""OccRobNet, our reconstruction, and what it is compared with."""

import csv
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from handbench import checkpoint, registry
from handbench.errors import HandbenchError, ShapeError, UnknownName
from handbench.hand import Hand
from handbench.methods.cnn_sa import CnnSa
from handbench.methods.kypt_small import KyptSmall
from handbench.methods.occrobnet import OccRobNet
from handbench.methods.parts.pyramid import SmallDecoder
from handbench.methods.plain import Plain
from handbench.training import recipe

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden" / "occrobnet_tiny.npz"
COUNT, SIZE = 4, 32
SMALL = {"crop_px": SIZE, "width": 4, "model_width": 16, "heads": 2, "feed": 16, "bins": 16}
METHODS = {"occrobnet": OccRobNet, "kypt_small": KyptSmall, "cnn_sa": CnnSa}
CASES = [(name, v) for name, cls in METHODS.items() for v in cls.VARIANTS]


@pytest.fixture(scope="module")
def hand() -> Hand:
    return Hand.open()


def make(hand: Hand, name: str, variant: str = "full", **more) -> torch.nn.Module:
    cls = registry.load("method", name)
    keys = {} if name == "cnn_sa" else {"positions": 4}
    keys |= {"channels": 8} if name == "occrobnet" else {}
    torch.manual_seed(0)
    return cls(hand, **{**cls.PRESETS["tiny"], **SMALL, **keys, **cls.VARIANTS[variant], **more})


def batch_for(hand: Hand, hands: int = 1, count: int = COUNT) -> dict[str, torch.Tensor]:
    """Random hands and objects with random pictures; with two hands all are there."""
    rng = np.random.default_rng(0)
    pose, shape = 0.4 * rng.normal(size=(count * hands, 48)), rng.normal(size=(count * hands, 10))
    verts, joints = hand.pose(pose, shape)
    turns = np.linalg.qr(rng.normal(size=(count, 3, 3)))[0]
    objects = np.tile(np.eye(4), (count * hands, 1, 1))
    objects[:, :3, :3] = (turns * np.linalg.det(turns)[:, None, None]).repeat(hands, 0)
    objects[:, :3, 3] = 0.05 * rng.normal(size=(count * hands, 3))
    camera = np.array([[2.5 * SIZE, 0, SIZE / 2], [0, 2.5 * SIZE, SIZE / 2], [0, 0, 1]])
    of_hands = {
        "joints_m": joints - joints[:, :1],
        "verts_m": verts - joints[:, :1],
        "root_m": np.tile([0.0, 0.0, 0.5], (count * hands, 1)),
        "pose": pose,
        "shape": shape,
        "joints_crop": rng.random((count * hands, 21, 2)),
        "object_T": objects,
        "valid_joints": np.ones((count * hands, 21)),
        **{f"valid_{name}": np.ones(count * hands) for name in ("mano", "verts", "object")},
    }
    if hands == 2:
        of_hands = {k: v.reshape(count, 2, *v.shape[1:]) for k, v in of_hands.items()}
    whole = {
        "image": rng.random((count, 3, SIZE, SIZE)),
        "K_crop": np.tile(camera, (count, 1, 1)),
        "present": np.ones((count, 2)),
        "valid_present": np.ones((count, 2)),
        "left_minus_right_m": 0.1 * rng.normal(size=(count, 3)),
        "valid_relative": np.ones(count),
        "object_corners": 0.1 * rng.random((count, 3, 8, 3)),
        "object_mask": (rng.random((count, SIZE // 4, SIZE // 4)) < 0.3),
        "valid_object_mask": np.ones(count),
    }
    arrays = {**of_hands, **whole}
    return {name: torch.tensor(x, dtype=torch.float32) for name, x in arrays.items()}


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_every_variant_learns_is_kept_and_looked_at(hand, name, variant, tmp_path):
    method = make(hand, name, variant).train()
    batch = batch_for(hand, method.hands)
    optimizer = torch.optim.AdamW(method.parameters(), lr=5e-3)
    history = []
    for _ in range(5):
        losses = method.losses(method(batch), batch)
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)
        optimizer.step()
        history.append(sum(losses.values()).item())
    assert min(history[2:]) < 0.97 * history[0]

    method.eval()
    given = {key: batch[key] for key in method.inputs}
    with torch.no_grad():
        before = method(given)
        maps = method.inspect(given)
        after = method(given)
    lead = (COUNT, 2) if method.hands == 2 else (COUNT,)
    assert before["joints_m"].shape == (*lead, 21, 3)
    assert before["joints_crop"].shape == (*lead, 21, 2)
    assert before["joints_m"][..., 0, :].abs().max() < 1e-6
    assert ("verts_m" in before) == (method.pose.output == "mano")
    assert ("left_minus_right_m" in before) == (method.hands == 2)
    if method.objects:
        turn = before["object_T"][:, :3, :3]
        assert torch.allclose(turn @ turn.mT, torch.eye(3).expand(COUNT, 3, 3), atol=1e-5)
    assert {"backbone", "encoder_attention"} <= maps.keys()
    assert all(torch.isfinite(x).all() for x in (*before.values(), *maps.values()))
    torch.save(method.state_dict(), tmp_path / "weights.pt")
    other = make(hand, name, variant).eval()
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    with torch.no_grad():
        again = other(given)
    for key, value in before.items():
        assert torch.equal(value, after[key]), key
        assert torch.equal(value, again[key]), key


def test_every_cell_of_the_paper_is_a_variant():
    with (ROOT / "results/reported/occrobnet.csv").open() as file:
        named = {row["variant"] for row in csv.DictReader(file) if row["variant"]}
    for each in named:
        method, _, variant = each.partition("/")
        assert variant in METHODS[method].VARIANTS
        assert METHODS[method].CELLS[variant].startswith("OccRobNet Table")
    for cls in METHODS.values():
        assert cls.CELLS.keys() <= cls.VARIANTS.keys()
    grid = [OccRobNet.VARIANTS[v] for v in OccRobNet.VARIANTS if "hand" not in v and v != "gate"]
    assert len(grid) == 2 * 7 * 3
    assert len({tuple(sorted(options.items())) for options in grid}) == len(grid)


def test_what_is_not_annotated_counts_nowhere(hand):
    method = make(hand, "occrobnet", "two_hands_object").eval()
    batch = batch_for(hand, 2)
    known = {name: value[:2] for name, value in batch.items()}
    for name, value in batch.items():
        if name.startswith("valid"):
            value[2:] = 0
        elif name not in ("image", "present"):
            value[2:] = 7.0
    kept, alone = (method.losses(method(b), b) for b in (batch, known))
    for key in alone:
        assert kept[key].item() == pytest.approx(alone[key].item(), rel=1e-4), key
    for name in (n for n in batch if n.startswith("valid")):
        batch[name][:] = 0
    assert all(value.item() == 0 for value in method.losses(method(batch), batch).values())


def test_published_losses_average_over_decoder_layers(hand):
    method = make(hand, "occrobnet", **DEEP).train()
    batch = batch_for(hand, 2)
    out = method(batch)
    assert len(out["earlier"]) == 2
    whole = method.all_terms(out, batch)
    singles = [
        method.all_terms({**out, "earlier": [], **regroup(one)}, batch)
        for one in (*out["earlier"], {})
    ]
    for name in ("joints", "bones", "relative", "corners", "object"):
        mean = torch.stack([each[name] for each in singles]).mean()
        assert whole[name].item() == pytest.approx(mean.item(), rel=1e-5), name


DEEP = {"decoders": 3, "short": False, "output": "3d", "hands": 2, "objects": True, "dropout": 0.1}


def regroup(one: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    pairs = ("joints_m", "joints_crop", "object_t")
    return {k: v.unflatten(0, (-1, 2)) if k in pairs else v for k, v in one.items()}


def test_paper_sizes(hand):
    big = OccRobNet(hand)
    assert sum(p.numel() for p in big.context.parameters()) == 417_248
    assert sum(big.backbone.levels) == 1024
    assert sum(SmallDecoder().levels) == 992


@pytest.mark.slow
def test_full_size_heatmaps_are_32_cells_wide(hand):
    maps = OccRobNet(hand).inspect({"image": torch.rand(1, 3, 256, 256)})
    assert maps["heatmaps"].shape == (1, 21, 32, 32)
    assert maps["features"].shape == (1, 256, 32, 32)
    assert maps["points"].shape == (1, 50, 2)


def test_it_gives_what_it_gave(hand):
    ours = golden(hand)
    with np.load(GOLDEN) as data:
        assert set(data) == set(ours)
        for name in data:
            assert ours[name] == pytest.approx(data[name], abs=2e-5), name


def golden(hand: Hand) -> dict[str, np.ndarray]:
    """What is kept in GOLDEN: outputs of filled networks, from pictures made by rule."""
    found = {}
    for name, variant in (
        ("occrobnet", "full"),
        ("occrobnet", "no_softmax_2_5d"),
        ("occrobnet", "two_hands_object"),
        ("kypt_small", "3d"),
        ("cnn_sa", "full"),
    ):
        method = make(hand, name, variant)
        for key, value in method.state_dict().items():
            if value.is_floating_point():
                rng = np.random.RandomState(zlib.crc32(key.encode()))
                fan = max(1, value[0].numel()) if value.ndim > 1 else 1
                x = rng.standard_normal(tuple(value.shape)) / np.sqrt(fan)
                if value.ndim <= 1:
                    x = 1 + 0.1 * x if key.endswith(("weight", "var")) else 0.1 * x
                value.copy_(torch.from_numpy(x))
        batch = batch_for(hand, method.hands, 2)
        with torch.no_grad():
            out = method.eval()(batch)
        if "heatmaps" in out:
            out["heatmaps"] = out["heatmaps"][:, ::7]
        for key in ("joints_m", "joints_crop", "heatmaps", "object_T", "left_minus_right_m"):
            if key in out:
                found[f"{name}/{variant}/{key}"] = out[key].numpy()
    return found


def test_the_plain_trunk_starts_all_of_them(hand, tmp_path):
    trunk = Plain(hand, **Plain.PRESETS["tiny"])
    torch.save({"model": trunk.state_dict()}, tmp_path / "plain.pt")
    for cls in METHODS.values():
        method = cls(hand, **cls.PRESETS["tiny"])
        count = checkpoint.load_backbone(method, tmp_path / "plain.pt")
        assert count == len(trunk.backbone.state_dict())
        assert torch.equal(method.backbone.trunk.conv1.weight, trunk.backbone.conv1.weight)


def test_refusals_are_one_line(hand):
    for name in METHODS:
        with pytest.raises(
            ShapeError, match=r"takes images \(B, 3, 32, 32\), not \(2, 3, 32, 64\)"
        ):
            make(hand, name)({"image": torch.zeros(2, 3, 32, 64)})
        with pytest.raises(HandbenchError, match="hands = 3: give 1 or 2"):
            make(hand, name, hands=3)
    for option in ("attention", "where", "candidates", "output", "root_depth", "source"):
        more = {"output": "2.5d"} if option == "root_depth" else {}
        with pytest.raises(UnknownName, match="'somehow'"):
            make(hand, "occrobnet", **{**more, option: "somehow"})
    with pytest.raises(HandbenchError, match="16 channels do not split into 5 heads"):
        make(hand, "occrobnet", heads=5)
    with pytest.raises(HandbenchError, match="a multiple of 8, not 12"):
        make(hand, "occrobnet", channels=12)
    with pytest.raises(HandbenchError, match="a hand has 21 joints"):
        make(hand, "occrobnet", tokens=20)


def test_a_variant_holds_on_all_data():
    for data in ("synthetic", "interhand26m", "ho3d_v3"):
        chosen = recipe.make("occrobnet", "no_sigmoid_2_5d", data=data)
        assert recipe.method_options(chosen)["output"] == "2.5d"
    chosen = recipe.make("occrobnet", overrides=["weights={heatmaps = 5.0, hands = 0}"])
    assert recipe.from_toml(recipe.to_toml(chosen)) == chosen
    chosen = recipe.make("occrobnet", "full", data="interhand26m")
    assert recipe.method_options(chosen)["output"] == "2.5d"
    assert recipe.method_options(chosen)["hands"] == 2
