"""The full-size networks: as they are asked against their authors' forms, and one training step.

Same weights, same input, one thread, by turns, CPU time. The reference is a transcription of the
authors' code (authors_forms.py). `--compiled` adds torch.compile, which takes minutes.
"""

import multiprocessing
import time
import zlib
from typing import Any

import numpy as np
import torch
from authors_forms import authors_form
from report import Row, compare, interleave, main

from handbench import registry
from handbench.hand import Hand
from handbench.inference.cost import peak_mib
from handbench.inference.example import example
from handbench.mesh.topology import build

# method, variant, batch -> least ratio wanted, and with torch.compile
WANTED = {
    ("handoccnet", "full", 1): (1.3, 1.45),
    ("handgcat", "full", 1): (1.2, 1.28),
    ("h2onet", "full", 1): (1.4, 1.5),
    ("h2onet", "full", 16): (1.8, None),
}
STREAMING = 2.2  # least ratio of a frame of a video against the pass over three frames
LARGEST_DIFFERENCE = 5e-6  # metres and crop units
OUTPUTS = ("verts_m", "joints_m", "joints_crop")
STEPS = ("handoccnet", "handgcat", "h2onet", "occrobnet")
STEP_SECONDS, STEP_GIB = 60.0, 4.0


def run(compiled: bool = False) -> list[Row]:
    torch.set_num_threads(1)
    hand = Hand.open()
    rows = []
    for (name, variant, batch), wanted in WANTED.items():
        rows += against_authors(hand, name, variant, batch, wanted, compiled)
    rows += streaming(hand)
    for name in STEPS:
        rows += training(name)
    return rows


def against_authors(
    hand: Hand,
    name: str,
    variant: str,
    batch: int,
    wanted: tuple[float, float | None],
    compiled: bool,
) -> list[Row]:
    """Ratio and largest difference of one network's form for asking."""
    torch.manual_seed(0)
    cls = registry.load("method", name)
    method = alive(cls(hand, **cls.VARIANTS[variant]))
    theirs = authors_form(method, build(hand) if name == "h2onet" else None)
    inputs = example(method, batch)
    forms = {"": (method.for_inference(), wanted[0])}
    if compiled and wanted[1]:
        forms[", compiled"] = (frozen(method.for_inference()), wanted[1])
    rows = []
    with torch.inference_mode():
        known = theirs(inputs)
        for title, (ours, target) in forms.items():
            what = f"{name}, batch {batch}{title}"
            found = ours(inputs)
            times = interleave([lambda: theirs(inputs), lambda f=ours: f(inputs)], 9)
            rows.append(compare(what, "authors' form", "ms", times, target, 1e3))
            rows.append(difference(what, known, found))
    return rows


def frozen(network: Any) -> Any:
    """torch.compile with weights as constants."""
    return torch.compile(network, options={"freezing": True})


def streaming(hand: Hand) -> list[Row]:
    """Multi-frame H2ONet over a video, one frame pushed, against the pass over its three frames."""
    torch.manual_seed(0)
    cls = registry.load("method", "h2onet")
    method = alive(cls(hand, **cls.VARIANTS["multi_frame"]))
    theirs = authors_form(method, build(hand))
    stream = method.for_inference().stream()
    frames = example(method, 1)["image"]
    with torch.inference_mode():
        known = theirs({"image": frames})
        for t in (2, 1, 0):  # the current frame stands first
            found = stream.push(frames[:, t])
        calls = [lambda: theirs({"image": frames}), lambda: stream.push(frames[:, 0])]
        times = interleave(calls, 9)
    rows = [compare("h2onet over a video, a frame", "three frames", "ms", times, STREAMING, 1e3)]
    return [*rows, difference("h2onet over a video", known, found)]


def alive(method: Any) -> Any:
    """A method in test mode with weights that keep signals alive to the last layer, each made from
    its name alone.

    Released initial weights shrink so fast that any form would give the same hand. Weights drawn
    anyhow may bring the two directions of H2ONet's rotation close to parallel, where rounding grows
    tenfold in any form, the authors' included.
    """
    gain = 2**0.5 if hasattr(method, "decoder3d") else 0.9  # rectified, or leaky and residual
    for name, value in method.state_dict().items():
        if not value.is_floating_point() or name.endswith((".uu", ".vv")):
            continue
        x = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(value.shape)
        if name.endswith("running_var"):
            x = 1 + 0.5 * np.abs(x)
        elif name.endswith(("running_mean", ".bias")):
            x = 0.1 * x
        elif name.endswith("_embedding"):
            x = 0.5 * x
        elif name.endswith(".betas"):
            x = 3 * (1 + 0.1 * x)
        elif value.dim() == 1:
            x = 1 + 0.1 * x
        else:
            linear = name in ("mano_joint_reg", "decoder3d.upsample")  # nothing follows them
            x *= (1.0 if linear else gain) / np.sqrt(np.prod(value.shape[1:]))
            # the gate's sum over all cells must stay where a sigmoid still answers
            x *= 0.1 if "query2" in name or "key2" in name else 1.0
        value.copy_(torch.from_numpy(x))
    return method.eval()


def difference(what: str, known: dict[str, Any], found: dict[str, Any]) -> Row:
    """The largest difference of an output, in millionths of its largest value, but of 1 at least:
    random weights make hands of metres."""
    worst = max(
        ((known[key] - found[key]).abs().max() / known[key].abs().max().clamp(min=1)).item()
        for key in OUTPUTS
    )
    return limit(f"{what}, difference", worst * 1e6, LARGEST_DIFFERENCE * 1e6, "1e-6")


def limit(name: str, value: float, most: float, unit: str) -> Row:
    """A figure that must stay below a limit, as a row: the ratio is limit over figure."""
    return {
        "name": name,
        "reference": "limit",
        "unit": unit,
        "value": value,
        "reference_value": most,
        "ratio": most / max(value, 1e-9),
        "target": 1.0,
    }


def training(name: str) -> list[Row]:
    """Two training steps of four samples in a process of their own: CPU time and memory."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        seconds, gib = pool.apply(two_steps, (name,))
    what = f"{name}, two training steps"
    return [limit(what, seconds, STEP_SECONDS, "s"), limit(what, gib, STEP_GIB, "GiB")]


def two_steps(name: str, samples: int = 4) -> tuple[float, float]:
    """CPU seconds, start-up and building included, and the process's largest memory in GiB."""
    torch.set_num_threads(1)
    hand = Hand.open()
    torch.manual_seed(0)
    method = registry.load("method", name)(hand).train()
    batch = labelled(method, hand, samples)
    optimizer = torch.optim.Adam(method.parameters(), 1e-4)
    for _ in range(2):
        optimizer.zero_grad()
        losses = method.losses(method(batch), batch)
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
    return time.process_time(), peak_mib(torch.device("cpu")) / 1024


def labelled(method: Any, hand: Hand, count: int) -> dict[str, torch.Tensor]:
    """Random pictures of random hands, all annotated."""
    rng = np.random.default_rng(0)
    pose, shape = rng.normal(0, 0.4, (count, 48)), rng.normal(0, 0.5, (count, 10))
    verts, joints = hand.pose(pose, shape)
    known: dict[str, Any] = {
        "joints_m": joints - joints[:, :1],
        "verts_m": verts - joints[:, :1],
        "root_m": joints[:, 0] + [0, 0, 0.5],
        "pose": pose,
        "shape": shape,
        "joints_crop": rng.random((count, 21, 2)),
        "visibility": rng.integers(0, 2, (count, 5)),
        "hand_visibility": rng.integers(0, 2, count),
        "valid_joints": np.ones((count, 21)),
        "K_crop": np.tile(np.array([[300.0, 0, 128], [0, 300, 128], [0, 0, 1]]), (count, 1, 1)),
    }
    known |= {f"valid_{name}": np.ones(count) for name in ("mano", "verts", "visibility")}
    tensors = {key: torch.tensor(value, dtype=torch.float32) for key, value in known.items()}
    return {**tensors, **example(method, count)}


if __name__ == "__main__":
    main(run, "compiled")
