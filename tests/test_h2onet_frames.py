"""H2ONet of several frames: the released network's numbers, its gradients, its variants."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from test_h2onet_parity import OUTPUTS, fill, picture, rule
from test_methods import batch_for, make

from handbench.errors import HandbenchError, ShapeError
from handbench.hand import Hand
from handbench.inference.released import import_released
from handbench.methods.h2onet import FOREIGN, H2ONet
from handbench.methods.parts.frame_fusion import nearest_visible, take_frame
from handbench.methods.parts.surface import edges
from handbench.rotations import axis_angle_to_matrix

GOLDEN = Path(__file__).parent / "golden" / "h2onet_frames_tiny.npz"
FIXTURE = "fixtures/networks/h2onet_mf"
ALIAS = "decoder3d.occ_pred.finger_cls_layer."


def frames_of(size: int) -> torch.Tensor:
    """Three different pictures (2,3,3,size,size), current frame first."""
    found = []
    for seed in range(3):
        x = np.random.RandomState(seed).rand(2, 3, size, size)
        x[1] *= np.linspace(0, 1, size)
        found.append(torch.from_numpy(x.astype(np.float32)))
    return torch.stack(found, 1)


@pytest.fixture(scope="module")
def hand() -> Hand:
    return Hand.open()


@pytest.fixture(scope="module")
def listed(shared) -> dict[str, list[int]]:
    names = json.loads((shared / f"{FIXTURE}_state_dict.json").read_text())
    return {name: shape for name, shape in names.items() if not name.startswith(FOREIGN)}


@pytest.fixture(scope="module")
def released(shared, listed, hand, tmp_path_factory) -> H2ONet:
    """The weights of the fixture's rule, written as the authors' training does, and imported."""
    weights = {}
    for name, shape in listed.items():
        counter = name.endswith("num_batches_tracked")
        value = torch.zeros((), dtype=torch.long) if counter else torch.tensor(rule(name, shape))
        weights[f"module.{name}"] = value if counter else value.float()
    path = tmp_path_factory.mktemp("released") / "test_model_best.pth"
    torch.save({"state_dict": weights}, path)
    found = import_released("h2onet", path, hand, shared / f"{FIXTURE}.npz")
    path.unlink()
    return found


def test_outputs_of_all_frames_are_the_released_networks(shared, released):
    with torch.no_grad():
        ours = released({"image": frames_of(128)})
    wrist = ours["frame_joints_canonical_m"][:, :, :1]
    with np.load(shared / f"{FIXTURE}.npz") as data:
        for theirs, name in OUTPUTS.items():
            value = ours[f"frame_{name}"] + (wrist if name in ("verts_m", "joints_m") else 0)
            known = data[f"B/out/{theirs}"]
            assert value.transpose(0, 1).flatten(0, 1).numpy() == pytest.approx(known, abs=1e-5)
            current = ours[name] + (wrist[:, 0] if name in ("verts_m", "joints_m") else 0)
            assert current.numpy() == pytest.approx(known[:2], abs=1e-5), name
        logits = ours["occlusion_logits"].transpose(0, 1).flatten(0, 1)
        assert logits.numpy() == pytest.approx(data["B/out/pred_occ"], abs=1e-5)
    assert torch.equal(ours["visibility"], ours["occlusion_logits"][:, 0, :, :5].softmax(1)[:, 0])


def test_entries_are_the_released_networks(listed, released):
    ours = {name: list(value.shape) for name, value in released.state_dict().items()}
    assert ours == {k: v for k, v in listed.items() if not k.startswith(ALIAS)}
    assert sum(name.startswith(ALIAS) for name in listed) == 16  # a second name of the fifth head
    assert sum(p.numel() for p in released.parameters()) == 30_470_061


@torch.no_grad()
def test_fusion_in_every_pattern_of_occlusion_is_the_released_networks(shared, released):
    rng = np.random.RandomState(7)
    low, other = (rng.standard_normal((24, 1024, 4, 4)).astype(np.float32) for _ in range(2))
    rng.standard_normal((24, 2, 6))
    features = torch.tensor(rng.standard_normal((24, 778, 32)).astype(np.float32))
    head = released.decoder3d.rot_reg
    turn = head.feature(torch.tensor(low + other))
    with np.load(shared / f"{FIXTURE}.npz") as data:
        known = {name: data[f"B/fusion/{name}"] for name in ("occ_logits", "rot6d_all")}
        offsets, corrections = data["B/fusion/vert_offset"], data["B/fusion/rot6d_offset"]
    assert head.turn(turn).numpy() == pytest.approx(known["rot6d_all"], abs=1e-5)
    seen = {
        "turn": turn,
        "vertex_features": features,
        "occlusion_logits": torch.tensor(known["occ_logits"]),
        "verts": torch.zeros(24, 778, 3),
        "rotation": torch.eye(3).expand(24, 3, 3),
    }
    seen = {name: value.unflatten(0, (3, 8)) for name, value in seen.items()}
    maps = released.combine(seen)[1]
    assert maps["vertex_offset_m"].numpy() == pytest.approx(offsets, abs=1e-5)
    chosen = take_frame(seen["turn"], nearest_visible(maps["hand_visible"]))
    assert head.correct(seen["turn"][0], chosen).numpy() == pytest.approx(corrections, abs=1e-5)
    assert maps["chosen_frame"].unique().tolist() == [0, 1, 2]


def test_tiny_network_gives_what_it_gave(hand):
    method = fill(make(hand, "h2onet", "multi_frame"))
    with torch.no_grad():
        ours = method({"image": frames_of(64)})
    with np.load(GOLDEN) as data:
        for name, known in data.items():
            value = ours[name][:, ::40] if name.startswith("verts") else ours[name]
            assert value.numpy() == pytest.approx(known, abs=1e-4), name


def labelled(hand: Hand, method: H2ONet) -> dict[str, torch.Tensor]:
    """Labels that differ between frames, some of them missing."""
    batch = batch_for(method, hand)
    rng = torch.Generator().manual_seed(0)
    for name in ("pose", "joints_crop"):
        value = batch[f"frame_{name}"]
        value[:, 1:] += 0.1 * torch.randn(value[:, 1:].shape, generator=rng)
    batch["frame_visibility"][:, 1] = 1 - batch["frame_visibility"][:, 0]
    batch["frame_valid_verts"][0, 2] = batch["frame_valid_visibility"][1, 1] = 0
    for name in ("pose", "joints_crop", "visibility", "valid_verts", "valid_visibility"):
        batch[name] = batch[f"frame_{name}"][:, 0]
    return batch


def test_loss_terms_by_hand(hand):
    method = make(hand, "h2onet", "multi_frame", "tiny")
    method.weight_normal, method.weight_edge, method.smooth = 0.1, 1.0, False
    batch = labelled(hand, method)
    with torch.no_grad():
        out = method.eval()(batch)
    # those of a network without training are all alike
    torch.manual_seed(0)
    out["occlusion_logits"] = torch.randn_like(out["occlusion_logits"])
    terms = {name: float(value) for name, value in method.losses(out, batch).items()}
    made = {k: v.detach().double() for k, v in out.items()}
    true = {k: v.double() for k, v in batch.items()}
    seen = torch.cat([true["frame_visibility"], true["frame_hand_visibility"][..., None]], 2)
    log = made["occlusion_logits"].log_softmax(2)
    entropy = -torch.where(seen > 0.5, log[:, :, 0], log[:, :, 1])
    known = true["frame_valid_visibility"] > 0
    assert terms["occlusion"] == pytest.approx(float(entropy[known].mean()), rel=1e-5)
    flat = (made["frame_joints_crop"] - true["frame_joints_crop"]).abs().mean()
    assert terms["joints_2d"] == pytest.approx(1.5 * float(flat), rel=1e-5)
    turn = axis_angle_to_matrix(true["frame_pose"][..., :3].reshape(-1, 3)).reshape(3, 3, 3, 3)
    wrong = (made["frame_rotation"] - turn).square().mean()
    assert terms["rotation"] == pytest.approx(float(wrong), rel=1e-4)
    kept = true["frame_valid_verts"] > 0
    ours, theirs = made["frame_verts_m"][kept], true["frame_verts_m"][kept]
    lengths = [edges(x, method.faces).norm(dim=3) for x in (ours, theirs)]
    edge = (lengths[0] - lengths[1]).abs().mean()
    assert terms["edge_turned"] == pytest.approx(float(edge), rel=1e-4)
    rest = hand.rest_joints(true["frame_shape"].reshape(-1, 10).numpy())[:, 0].reshape(3, 3, 1, 3)
    moved = made["frame_joints_canonical_m"][:, :, :1] - torch.tensor(rest)
    far = (made["frame_verts_m"] + moved - true["frame_verts_m"]).abs()[kept].mean()
    assert terms["verts"] == pytest.approx(float(far), rel=1e-4)
    assert terms.keys() >= {"verts_canonical", "joints_canonical", "normal", "edge", "joints"}
    current = {k: v for k, v in batch.items() if not k.startswith("frame_")}
    alone = method.losses(out, current)  # the contract's labels count for the current frame
    wrong = (out["joints_crop"] - batch["joints_crop"]).abs().mean()
    assert float(alone["joints_2d"]) == pytest.approx(1.5 * float(wrong), rel=1e-5)


REACH = {  # loss term -> what it trains, and what it must leave alone
    "occlusion": (("occ_pred",), ("backbone", "offset_pred", "rot_reg", "upsample")),
    "joints_canonical": (("mano_joint_reg",), ("backbone", "decoder3d")),
    "verts_canonical": (
        ("backbone.dense_stack2", "decoder3d.upsample", "offset_pred"),
        ("dense_stack3", "rot_reg", "mano_joint_reg", "occ_pred"),
    ),
    "verts": (
        ("dense_stack3", "rot_reg.fc_block1", "rot_reg.fc_block2"),
        ("backbone.pre", "dense_stack2", "upsample", "offset_pred", "occ_pred", "mano_joint_reg"),
    ),
    "joints": (("dense_stack3", "fc_block1"), ("dense_stack2", "fc_block2", "mano_joint_reg")),
    "rotation": (("dense_stack3", "fc_block1"), ("dense_stack2", "fc_block2", "offset_pred")),
}


def test_each_loss_trains_what_it_does_in_the_released_code(hand):
    torch.manual_seed(0)
    options = {**H2ONet.PRESETS["tiny"], **H2ONet.VARIANTS["multi_frame"]}
    options |= {"joint_trunk": False, "learn_regressor": True, "still_start": False}
    method = H2ONet(hand, **options).double()
    batch = {
        k: v.double() if v.is_floating_point() else v for k, v in batch_for(method, hand).items()
    }
    losses = method.losses(method(batch), batch)
    for term, (reached, kept) in REACH.items():
        method.zero_grad()
        losses[term].backward(retain_graph=True)
        moved = {n for n, p in method.named_parameters() if p.grad is not None and p.grad.any()}
        for part in reached:
            assert any(part in name for name in moved), (term, part)
        for part in kept:
            assert not any(part in name for name in moved), (term, part)


def test_several_frames_start_where_one_frame_stood(hand, tmp_path):
    single, several = (make(hand, "h2onet", name).eval() for name in ("full", "multi_frame"))
    fill(single)
    single.decoder3d.head.layer.weight.data *= 0.01
    several.adopt(single.state_dict())
    image = frames_of(64)
    with torch.no_grad():
        one, three = single({"image": image[:, 0]}), several({"image": image})
        select = make(hand, "h2onet", "multi_frame_select").eval()
        select.adopt(single.state_dict())
        truth = torch.zeros(2, 3, 5)
        truth[0, 1, :4] = truth[0, 2, :3] = truth[1, :, 2] = 1
        picked = select({"image": image, "frame_visibility": truth})
        other = single({"image": image[:, 1]})
    for name in ("verts_m", "joints_m", "joints_crop", "rotation"):
        assert torch.allclose(one[name], three[name], atol=1e-5), name
    mesh = torch.stack([other["verts_canonical_m"][0], one["verts_canonical_m"][1]])
    assert torch.allclose(picked["verts_canonical_m"], mesh, atol=1e-6)
    assert torch.allclose(picked["rotation"], one["rotation"], atol=1e-5)
    back = make(hand, "h2onet", "full")
    back.adopt(several.state_dict())  # and the other way
    assert torch.equal(
        back.state_dict()["decoder3d.rot_reg.fc_block.0.weight"],
        single.state_dict()["decoder3d.rot_reg.fc_block.0.weight"],
    )
    lacking = {k: v for k, v in single.state_dict().items() if "dense_stack3" not in k}
    with pytest.raises(RuntimeError, match="it lacks backbone.dense_stack3"):
        several.adopt(lacking)
    with pytest.raises(HandbenchError, match="trains nothing: give --start"):
        H2ONet(hand, **{**H2ONet.PRESETS["tiny"], **H2ONet.VARIANTS["multi_frame_select"]}).fit([])


@torch.no_grad()
def test_a_video_gives_what_batches_give_and_the_quick_form_too(hand):
    method = fill(make(hand, "h2onet", "multi_frame"))
    quick, video = method.for_inference(), frames_of(64).flatten(0, 1)
    stream = quick.stream(step=2)
    for now in range(6):
        image = torch.stack([video[max(0, now - 2 * t)] for t in range(3)])[None]
        batch, slow, pushed = (
            quick({"image": image}),
            method({"image": image}),
            stream.push(image[:, 0]),
        )
        assert pushed.keys() == {name for name in batch if not name.startswith("frame_")}
        for name, value in pushed.items():
            size = max(1.0, float(slow[name].abs().max()))
            assert torch.allclose(value, batch[name], atol=2e-6 * size), name
            assert torch.allclose(value, slow[name], atol=5e-6 * size), name
    single = fill(make(hand, "h2onet", "full"))
    many = {"image": torch.cat([video, video])}
    for name, value in single.for_inference()(many).items():
        assert torch.allclose(value, single(many)[name], atol=5e-6), name
    for variant in ("baseline", "multi_frame_concat"):
        other = fill(make(hand, "h2onet", variant))
        batch = {"image": frames_of(64) if other.frames > 1 else video}
        made, quick = other(batch), other.for_inference()(batch)
        assert torch.allclose(made["verts_m"], quick["verts_m"], atol=1e-5), variant
    for wrong in (single, make(hand, "h2onet", "multi_frame_true_occlusion")):
        with pytest.raises(HandbenchError, match="only an H2ONet that sees several frames"):
            wrong.stream()


@torch.no_grad()
def test_maps_are_named_and_change_nothing(hand):
    method = fill(make(hand, "h2onet", "multi_frame"))
    batch = {"image": frames_of(64)}
    before, maps, after = method(batch), method.inspect(batch), method(batch)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert maps["finger_weights"].shape == (2, 3, 6)
    assert torch.allclose(maps["finger_weights"].sum(1), torch.ones(2, 6))
    assert torch.allclose(maps["finger_weights"][:, :, 0], torch.full((2, 3), 1 / 3))
    moved = before["frame_verts_canonical_m"][:, 0] - maps["vertex_offset_m"]
    assert torch.allclose(moved, method.look(batch["image"][:, 0])["verts"], atol=1e-5)
    assert maps["fused_features"].shape == (2, 778, 16)
    assert method.inspect(batch).keys() >= {"chosen_frame", "hand_visible", "rotation_offset"}
    single = make(hand, "h2onet", "full")
    assert single.inspect({"image": picture(64)})["vertex_features"].shape == (2, 778, 8)


def test_bad_input_and_bad_options_are_one_clear_line(hand):
    method = make(hand, "h2onet", "multi_frame")
    with pytest.raises(ShapeError, match=r"images \(B, 3, 3, 64, 64\), not \(2, 3, 64, 64\)"):
        method({"image": picture(64)})
    oracle = make(hand, "h2onet", "multi_frame_true_occlusion")
    assert oracle.conditions()["oracle"] is True
    assert method.conditions() == {}
    with pytest.raises(HandbenchError, match="it needs frame_visibility"):
        oracle({"image": frames_of(64)})
    tiny = H2ONet.PRESETS["tiny"]
    with pytest.raises(HandbenchError, match="no gate 'logits'; did you mean 'logit'"):
        H2ONet(hand, **tiny, gate="logits")
    for wrong in ({"frames": 3}, {"frames": 3, "mesh_fusion": "concat", "hand_fusion": "fingers"}):
        with pytest.raises(HandbenchError, match=r"^h2onet: (frames|hand_fusion)="):
            H2ONet(hand, **tiny, **wrong)


def test_baseline_has_one_branch(hand):
    with torch.no_grad():
        baseline = H2ONet(hand, dual=False, learn_regressor=False)
    assert sum(p.numel() for p in baseline.parameters() if p.requires_grad) == 9_623_840
