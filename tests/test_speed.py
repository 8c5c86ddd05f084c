import json
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from handbench import registry
from handbench.cli import group
from handbench.errors import HandbenchError
from handbench.hand import Hand
from handbench.inference import speed
from handbench.inference.cost import counting, macs, parameters
from handbench.inference.example import example
from handbench.methods.parts.folding import fold, fold_mean, use_products
from handbench.methods.parts.keypoint_graph import KeypointGraph
from handbench.training import training_speed

ASKED = [
    *(("handoccnet", v) for v in ("full", "softmax_softmax", "residual_q_sig", "paper")),
    *(("handgcat", v) for v in ("full", "mlp", "graph", "two_transformers", "pose_only", "paper")),
    ("handoccnet", "residual_q_soft"),
    ("h2onet", "multi_frame_true_occlusion"),
]


@pytest.fixture(scope="module")
def hand() -> Hand:
    return Hand.open()


def shaken(hand: Hand, name: str, variant: str) -> nn.Module:
    """A tiny method whose norms and biases are not at their start."""
    torch.manual_seed(0)
    cls = registry.load("method", name)
    method = cls(hand, **{**cls.PRESETS["tiny"], **cls.VARIANTS[variant]})
    for key, value in method.state_dict().items():
        if key.endswith("running_var"):
            value.uniform_(0.5, 2)
        elif key.endswith(("bias", "running_mean")) and "pose_reg" not in key:
            value.add_(0.1 * torch.randn_like(value))
    return method.eval()


@pytest.mark.parametrize(("name", "variant"), ASKED)
def test_a_network_made_for_asking_answers_the_same(hand, name, variant):
    method = shaken(hand, name, variant)
    asked, batch = method.for_inference(), example(method, 3)
    before = {k: v.clone() for k, v in method.state_dict().items()}
    with torch.inference_mode():
        known, found = method(batch), asked(batch)
    assert known.keys() == found.keys()
    for key in ("verts_m", "joints_m", "joints_crop"):
        assert (known[key] - found[key]).abs().max() <= 5e-6, key
    assert all(torch.equal(v, before[k]) for k, v in method.state_dict().items())
    left = [m for m in asked.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1)]
    assert not left and not any(p.requires_grad for p in asked.parameters())


def test_folding_by_hand():
    torch.manual_seed(0)
    net = nn.Sequential(
        *(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4)),
        *(nn.Flatten(), nn.Linear(4 * 36, 5), nn.BatchNorm1d(5, affine=False)),
    )
    x = torch.randn(6, 3, 8, 8)
    for _ in range(3):
        net(x + torch.randn_like(x))
    with pytest.raises(HandbenchError, match=r"call eval\(\) first"):
        fold(net)
    known = net.eval()(x)
    assert (fold(net)(x) - known).abs().max() < 1e-5
    norms = [i for i, part in enumerate(net) if isinstance(part, nn.BatchNorm2d)]
    assert norms == [3]  # behind a ReLU there is nothing to fold into
    conv, pool = nn.Conv2d(3, 4, 3, padding=1), nn.AvgPool2d(2)
    assert (fold_mean(conv)(x) - pool(conv(x))).abs().max() < 1e-6
    for stride in (1, 2):
        point = nn.Sequential(nn.Conv2d(3, 7, 1, stride))
        known = point(x)
        last = x.to(memory_format=torch.channels_last)
        assert (use_products(point)(last) - known).abs().max() < 1e-6


def test_a_graph_without_neighbours_is_one_layer():
    torch.manual_seed(0)
    joints = torch.rand(5, 21, 2)
    for order, layers in ((1, 1), (2, 4)):
        graph = KeypointGraph(4, 4, order)
        graph(joints)  # moves the norms
        folded = graph.eval().folded()
        assert sum(isinstance(part, nn.Linear) for part in folded.modules()) == layers
        assert (folded(joints) - graph(joints)).abs().max() < 1e-6


def test_parameters_and_products_by_hand():
    class Small(nn.Module):
        inputs, crop_px, frames = ("image",), 8, 1

        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Conv2d(3, 4, 1), nn.Linear(3, 2)

        def forward(self, batch):
            tokens = self.used(batch["image"]).flatten(2).mT[:, None]
            ask = nn.functional.scaled_dot_product_attention
            return {"joints_m": ask(tokens, tokens, tokens)}

    small = Small()
    assert parameters(small) == (16, 8) and small.used.weight.grad is None
    assert macs(small) == 64 * 3 * 4 + 2 * 64 * 64 * 4


@pytest.mark.slow
def test_full_size_counts_are_the_published(hand):
    """Parameters as the released networks have them, one smoothing layer and a gate without use."""
    one = speed.subject("handgcat")
    used, unused = parameters(one.method)
    assert (used + unused, unused) == (75_759_884, 590_180)
    assert macs(one.method) == pytest.approx(15.59e9 - 0.604e9, rel=2e-3)


def test_latency_is_summed_up_by_hand(monkeypatch):
    ticks = iter([0.0, 0.010, 1.0, 1.020, 2.0, 2.060])
    monkeypatch.setattr(speed.time, "perf_counter", lambda: next(ticks))
    calls: list[int] = []
    rules = speed.Protocol("", 1, 2, 3, "")
    times, memory = speed.timed(lambda: calls.append(1), rules, torch.device("cpu"))
    assert len(calls) == 5 and memory > 10
    found = speed.summary(times)
    assert found == pytest.approx({"mean": 30.0, "median": 20.0, "p95": 56.0})


def test_published_frames_per_second_are_the_committed_ones():
    recipe = SimpleNamespace(method="handoccnet", variant="full", preset="paper")
    (cell,) = speed.published(recipe)
    assert cell["fps"] == "30" and "RTX 2080 Ti" in cell["conditions"]
    assert (
        speed.published(SimpleNamespace(method="handoccnet", variant="full", preset="tiny")) == []
    )


def test_speed_from_the_command_line(toy_places, tmp_path):
    from toy_runs import make

    from handbench.training.train import train

    run = train(make(steps=2))
    asked = ["speed", "toy/full", "--end-to-end", "--json", "--device", "cpu"]
    done = CliRunner().invoke(group, asked)
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)
    stored = json.loads((run.path / "speed.json").read_text())
    assert stored == printed
    assert {"method", "variant", "preset", "parameters", "macs", "device", "threads"} <= set(stored)
    assert stored["latency_ms"].keys() == {"mean", "median", "p95"}
    assert stored["protocol"]["warmup"] == 3 and stored["protocol"]["frames"] == 20
    whole = stored["end_to_end"]
    assert whole["latency_ms"]["mean"] == pytest.approx(whole["load_ms"] + whole["network_ms"])
    told = CliRunner().invoke(group, ["speed", "plain", "--preset", "tiny", "--threads", "1"])
    assert "(3 to warm up, 20 frames)" in told.stdout and "parameters" in told.stdout


def test_speed_of_training_from_the_command_line(toy_places):
    words = ["speed", "toy", "--train", "--data", "small", "--preset", "tiny", "--steps", "6"]
    words += ["--batch", "8", "--device", "cpu", "-o", "box_source=gt_joints"]
    done = CliRunner().invoke(group, [*words, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["samples_per_s"] == pytest.approx(8000 / found["step_ms"]["mean"])
    assert 0 <= found["waiting"] <= 1 and found["device_idle"] is None
    conv, head = 6 * 3 * 9 * 49, 6 * 49 * 63  # products a sample; images need no gradient
    assert found["flops_a_step"] == 2 * 8 * (2 * conv + 3 * head)
    assert found["achieved_flops"] == pytest.approx(
        found["flops_a_step"] * found["samples_per_s"] / 8
    )
    assert found["share_of_peak"] == found["achieved_flops"] / found["peak_flops"] > 0
    assert "1024 x 1024 here" in found["peak_source"]
    told = CliRunner().invoke(group, words)
    assert "samples/s" in told.stdout and "of the time for data" in told.stdout
    fitted = CliRunner().invoke(group, ["speed", "oracle", *words[2:]])
    assert "no steps to time" in str(fitted.exception)


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
@pytest.mark.parametrize("groups", [1, 4])
def test_a_step_back_is_twice_a_step_forward(kind, groups):
    layer, x = kind(8, 4, 3, stride=2, groups=groups), torch.rand(2, 8, 9, 9, requires_grad=True)
    with counting() as forward:
        out = layer(x)
    with counting() as back:
        out.sum().backward()
    places = (81 if kind is nn.ConvTranspose2d else 16) * 9
    assert forward.get_total_flops() == 2 * 2 * 8 * 4 // groups * places
    assert back.get_total_flops() == 2 * forward.get_total_flops()


def test_peaks_are_of_the_device_by_name(monkeypatch):
    monkeypatch.setattr(training_speed, "device_name", lambda device: "NVIDIA H200")
    cuda = torch.device("cuda")
    assert training_speed.peak(cuda, "bf16") == (
        989e12,
        "data sheet of the NVIDIA H200, dense bf16",
    )
