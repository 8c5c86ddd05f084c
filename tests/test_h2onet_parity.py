import json
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from handbench.errors import DataError, HandbenchError
from handbench.hand import Hand
from handbench.inference.released import import_released
from handbench.mesh.topology import load
from handbench.methods.h2onet import FOREIGN, H2ONet

GOLDEN = Path(__file__).parent / "golden" / "h2onet_tiny.npz"
OUTPUTS = {
    "pred_joints_img": "joints_crop",
    "pred_verts3d_wo_gr": "verts_canonical_m",
    "pred_joints3d_wo_gr": "joints_canonical_m",
    "pred_verts3d_w_gr": "verts_m",
    "pred_joints3d_w_gr": "joints_m",
    "pred_glob_rot_mat": "rotation",
}


def rule(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Weights from an entry's name alone, of sizes that keep signals alive (fill B)."""
    z = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    if name.endswith("running_var"):
        return 1 + 0.5 * np.abs(z)
    if name.endswith(("running_mean", "bias")):
        return 0.1 * z
    if name in ("decoder3d.upsample", "mano_joint_reg"):
        return z / np.sqrt(shape[1])
    if len(shape) == 1:
        return 1 + 0.1 * z
    return z * np.sqrt(2 / np.prod(shape[1:]))


def fill(method: torch.nn.Module) -> torch.nn.Module:
    state = method.state_dict()
    for name, value in state.items():
        if value.is_floating_point():
            value.copy_(torch.from_numpy(rule(name, tuple(value.shape))))
    return method.eval()


def picture(size: int) -> torch.Tensor:
    x = np.random.RandomState(0).rand(2, 3, size, size)
    x[1] *= np.linspace(0, 1, size)
    return torch.from_numpy(x.astype(np.float32))


@torch.no_grad()
def run(method: torch.nn.Module) -> dict[str, np.ndarray]:
    return {k: v.numpy() for k, v in method({"image": picture(method.crop_px)}).items()}


@pytest.fixture(scope="module")
def released(shared) -> H2ONet:
    hand = Hand.open()
    return fill(H2ONet(hand, topology=load(shared / "fixtures/networks/h2onet_sf.npz", hand)))


def test_outputs_are_the_released_networks(shared, released):
    ours = run(released)
    wrist = ours["joints_canonical_m"][:, :1]
    with np.load(shared / "fixtures/networks/h2onet_sf.npz") as data:
        for theirs, name in OUTPUTS.items():
            # the released network puts the turned hand at its wrist
            value = ours[name] + wrist if name in ("verts_m", "joints_m") else ours[name]
            assert value == pytest.approx(data[f"B/out/{theirs}"], abs=1e-5), name


def test_entries_are_the_released_networks(shared, released):
    path = shared / "fixtures/networks/h2onet_sf_state_dict.json"
    listed = {k: v for k, v in json.loads(path.read_text()).items() if not k.startswith(FOREIGN)}
    assert {k: list(v.shape) for k, v in released.state_dict().items()} == listed
    assert sum(p.numel() for p in released.parameters()) == 26_428_472


def test_tiny_network_gives_what_it_gave():
    ours = run(fill(H2ONet(Hand.open(), **H2ONet.PRESETS["tiny"])))
    with np.load(GOLDEN) as data:
        assert set(data) == set(ours)
        for name in data:
            known = data[name]
            value = ours[name][:, ::40] if name.startswith("verts") else ours[name]
            assert value == pytest.approx(known, abs=1e-4), name


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    """A template of the authors' kind: here the open hand's."""
    hand = Hand.open()
    path = tmp_path_factory.mktemp("template") / "template.ply"
    head = "ply\nformat ascii 1.0\nelement vertex 778\nelement face 1538\nend_header\n"
    rows = [" ".join(map(repr, row)) for row in hand.v_template.tolist()]
    rows += [f"3 {a} {b} {c}" for a, b, c in hand.faces]
    path.write_text(head + "\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> tuple[Path, H2ONet]:
    """A file as the authors' training writes it."""
    method = H2ONet(Hand.open(), up_form="authors").eval()
    state = {"module." + k: v for k, v in method.state_dict().items()}
    state["module.mano_layer.th_betas"] = torch.zeros(1, 10)
    state["module.mano_joint_reg_copy"] = torch.zeros(21, 778)
    path = tmp_path_factory.mktemp("released") / "test_model_best.pth"
    scores = {"PA": np.float64(5.3), "best": np.float32(5.1), "step": np.int32(7)}
    extra = {"scheduler": {"milestones": Counter([30])}, "score_status": scores}
    torch.save({"model": {"state_dict": state}, "epoch": 3, **extra}, path)
    return path, method


def test_import_of_a_released_file(checkpoint, template):
    path, method = checkpoint
    ours = import_released("h2onet", path, topology=template)
    assert not ours.training
    image = {"image": picture(128)}
    with torch.no_grad():
        assert torch.equal(ours(image)["verts_m"], method(image)["verts_m"])


def test_import_refuses_in_one_line(checkpoint, template, tmp_path):
    path, method = checkpoint
    with pytest.raises(HandbenchError, match="template.ply or transform.pkl, from the folder"):
        import_released("h2onet", path)
    with pytest.raises(HandbenchError, match="no released weights"):
        import_released("plain", path)
    lost = {k: v for k, v in method.state_dict().items() if k != "decoder3d.upsample"}
    cases = {
        "lost.pth": ({"state_dict": lost}, "does not fit h2onet: .*decoder3d.upsample"),
        "code.pth": ({"state_dict": H2ONet}, "more than weights and plain values: .*H2ONet"),
        "none.pth": ({"epoch": 3}, "no table of weights"),
        "nan.pth": ({"net": {"module.a": torch.tensor([0, np.nan])}}, "not finite, first in a:"),
    }
    for name, (content, message) in cases.items():
        torch.save(content, tmp_path / name)
        with pytest.raises(DataError, match=message):
            import_released("h2onet", tmp_path / name, topology=template)
    (tmp_path / "cut.pth").write_bytes(path.read_bytes()[:1000])
    changed = bytearray(path.read_bytes())
    changed[len(changed) // 2] ^= 1
    (tmp_path / "changed.pth").write_bytes(changed)
    (tmp_path / "page.pth").write_text("<html>Too many users have viewed this file")
    for name, message in (
        ("cut.pth", "a checkpoint, and whole"),
        ("page.pth", "a checkpoint, and whole"),
        ("changed.pth", "has changed since"),
    ):
        with pytest.raises(DataError, match=message):
            import_released("h2onet", tmp_path / name, topology=template)
    with pytest.raises(DataError, match="does not exist"):
        import_released("h2onet", tmp_path / "nothing.pth", topology=template)
