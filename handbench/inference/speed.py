"""How large and how fast a method is: parameters, products, memory, latency, throughput."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from handbench import checkpoint, files, registry
from handbench.errors import HandbenchError
from handbench.hand import default_hand
from handbench.hand_layer import HandLayer
from handbench.inference.cost import device_name, macs, parameters, peak_mib, reset_peak, settle
from handbench.inference.example import example
from handbench.loading.batch import to_torch
from handbench.published import reported
from handbench.store import open_split
from handbench.training import recipe as recipes
from handbench.training import runs
from handbench.training.train import samples_for


@dataclass(frozen=True)
class Protocol:
    """How latency is taken: one sample after the other, `frames` of them after `warmup`."""

    name: str
    batch: int
    warmup: int
    frames: int
    about: str


PROTOCOLS = {
    each.name: each
    for each in (
        Protocol("handbench", 1, 3, 20, "network and hand layer, nothing loaded"),
        # The paper gives batch and what is left out; warm-up and count are ours.
        Protocol("h2onet_table4", 1, 10, 100, "batch 1 without loading, as H2ONet's table 4"),
    )
}
FORMS = ("folded", "trained")
THROUGHPUT_BATCH = 8


@dataclass
class Subject:
    """What is measured: a method, fresh or a run's; recipe says how its pictures are cut."""

    method: Any
    recipe: recipes.Recipe
    run: runs.Run | None = None


def subject(text: str, variant: str = "full", preset: str | None = None) -> Subject:
    """A method by name, with random weights and its preset (default paper), else a run."""
    if text in registry.table("method"):
        recipe = recipes.make(text, variant, preset or "paper")
        return Subject(checkpoint.build(recipe, default_hand()).eval(), recipe)
    run = runs.find(text, registry.table("method"))
    method, recipe, _ = checkpoint.trained(run)
    return Subject(method, recipe, run)


def recipe_of(
    text: str,
    variant: str,
    preset: str | None,
    data: str | None,
    overrides: Sequence[str],
    flags: Mapping[str, Any],
) -> recipes.Recipe:
    """What a method by name (preset default paper) or a run is trained with; `data`, overrides
    and flags as recipe.make takes them change a method's, data and flags a run's."""
    if text in registry.table("method"):
        return recipes.make(
            text, variant, preset or "paper", data or "synthetic", overrides, **flags
        )
    run = runs.find(text, registry.table("method"))
    changed = {"data": data, **flags}
    return replace(run.recipe(), **{k: v for k, v in changed.items() if v is not None})


def measure(
    one: Subject,
    protocol: str = "handbench",
    device: torch.device | str = "cpu",
    form: str = "folded",
    compiled: bool = False,
) -> dict[str, Any]:
    """All figures of a subject by a named protocol, as speed.json has them.

    form: "folded", what the method gives as `for_inference`, where it has that; "trained", the
    network as it is trained. Parameters and macs are those of the trained form.
    """
    rules, device = PROTOCOLS[protocol], torch.device(device)
    method = one.method.to(device)
    used, unused = parameters(method)
    asked = form_of(method, form)
    if compiled:
        asked.compile(options={"freezing": True})  # weights become constants
    batch = example(method, rules.batch, device)
    with torch.inference_mode():
        times, memory = timed(lambda: asked(batch), rules, device)
        wide = example(method, THROUGHPUT_BATCH, device)
        wide_rules = Protocol("", THROUGHPUT_BATCH, 1, max(2, rules.frames // 10), "")
        wide_times, wide_memory = timed(lambda: asked(wide), wide_rules, device)
    return {
        "method": one.recipe.method,
        "variant": one.recipe.variant,
        "preset": one.recipe.preset,
        "crop_px": method.crop_px,
        "frames": method.frames,
        "parameters": used + unused,
        "parameters_used": used,
        "parameters_unused": unused,
        "macs": macs(method),
        "latency_ms": summary(times),
        "peak_memory_mib": memory,
        "throughput_per_s": THROUGHPUT_BATCH / float(np.mean(wide_times)),
        "throughput_batch": THROUGHPUT_BATCH,
        "throughput_peak_memory_mib": wide_memory,
        "form": "folded" if asked is not method else "trained",
        "compiled": compiled,
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "protocol": asdict(rules),
        "published": published(one.recipe),
    }


def end_to_end(
    one: Subject, data: str, protocol: str = "handbench", device: torch.device | str = "cpu"
) -> dict[str, Any]:
    """Decode, crop, network, hand layer, one picture after the other from a prepared split.

    Milliseconds: latency_ms of the whole; mean of load (decode and crop) and network (with the
    hand layer, which is also given alone; 0 for a method without one).
    """
    rules, device = PROTOCOLS[protocol], torch.device(device)
    samples = samples_for(one.recipe, one.method, open_split(data).name, False)
    if not len(samples):
        raise HandbenchError(f"{data} holds no annotated hand: nothing to time")
    method = form_of(one.method.to(device), "folded")
    layer = watch([each for each in method.modules() if isinstance(each, HandLayer)])
    rows = []
    with torch.inference_mode():
        for number in range(rules.warmup + rules.frames):
            began = time.perf_counter()
            arrays = samples.batch([number % len(samples)])
            batch = to_torch({key: arrays[key] for key in method.inputs}, device)
            batch.setdefault("is_left", torch.from_numpy(arrays["is_left"]))
            settle(device)
            loaded = time.perf_counter()
            layer.clear()
            method(batch)
            settle(device)
            ended = time.perf_counter()
            rows.append((ended - began, loaded - began, ended - loaded, sum(layer)))
    whole, load, network, hand = np.array(rows[rules.warmup :]).T
    means = {"load_ms": load, "network_ms": network, "hand_layer_ms": hand}
    return {
        "data": data,
        "latency_ms": summary(whole),
        **{name: 1e3 * float(values.mean()) for name, values in means.items()},
    }


def form_of(method: Any, form: str) -> Any:
    """The form asked for; a method without a folded one stays as it is."""
    return (
        method.for_inference() if form == "folded" and hasattr(method, "for_inference") else method
    )


def timed(
    call: Callable[[], Any], rules: Protocol, device: torch.device
) -> tuple[np.ndarray, float]:
    """Seconds of each frame, and the largest memory in MiB: of the process, or of the GPU."""
    for _ in range(rules.warmup):
        call()
    reset_peak(device)
    times = []
    for _ in range(rules.frames):
        settle(device)
        began = time.perf_counter()
        call()
        settle(device)
        times.append(time.perf_counter() - began)
    return np.array(times), peak_mib(device)


def summary(seconds: np.ndarray) -> dict[str, float]:
    """Mean, median and 95th percentile in milliseconds."""
    values = seconds.mean(), np.median(seconds), np.percentile(seconds, 95)
    return {name: 1e3 * float(v) for name, v in zip(("mean", "median", "p95"), values)}


def watch(layers: list[nn.Module]) -> list[float]:
    """A list that collects the seconds of each later call of any of the layers."""
    spent: list[float] = []
    began: list[float] = []
    for layer in layers:
        layer.register_forward_pre_hook(lambda *_: began.append(time.perf_counter()))
        layer.register_forward_hook(lambda *_: spent.append(time.perf_counter() - began.pop()))
    return spent


def published(recipe: recipes.Recipe) -> list[dict[str, str]]:
    """Printed frames per second of this variant at full size, with the conditions beside them."""
    if recipe.preset != "paper":
        return []
    wanted = f"{recipe.method}/{recipe.variant}"
    return [
        {
            "fps": cell.value,
            "conditions": cell.protocol,
            "source": f"{cell.paper} table {cell.table}",
        }
        for cell in reported.load()
        if cell.metric == "fps" and cell.variant == wanted
    ]


def write(one: Subject, figures: dict[str, Any]) -> Path | None:
    """speed.json beside a run's checkpoint; nothing for a fresh network."""
    if one.run is None:
        return None
    path = one.run.path / "speed.json"
    files.write_json(path, figures)
    return path


def lines(figures: dict[str, Any]) -> list[str]:
    """The figures as text, published ones apart."""
    latency, rules = figures["latency_ms"], figures["protocol"]
    times = "{throughput_per_s:.1f} a second in batches of {throughput_batch}"
    rows = [
        ("method", "{method}/{variant}, preset {preset}, {crop_px} px".format(**figures)),
        (
            "parameters",
            f"{figures['parameters_used']:,} used, {figures['parameters_unused']:,} unused",
        ),
        ("macs", f"{figures['macs'] / 1e9:.3f} G a sample"),
        ("latency", stated(latency) + f" ({rules['warmup']} to warm up, {rules['frames']} frames)"),
        ("throughput", times.format(**figures)),
        (
            "peak memory",
            f"{figures['peak_memory_mib']:.0f} MiB of the process at batch {rules['batch']}",
        ),
    ]
    whole = figures.get("end_to_end")
    if whole:
        parts = "load {load_ms:.1f}, network {network_ms:.1f}, of it hand layer {hand_layer_ms:.2f}"
        rows.append(("end to end", f"{stated(whole['latency_ms'])}; {parts.format(**whole)} ms"))
    where = f"{figures['device']}, {figures['threads']} threads, {figures['form']} form"
    rows.append(("measured on", where + (", compiled" if figures["compiled"] else "")))
    rows.append(("protocol", f"{rules['name']}: {rules['about']}"))
    rows += [
        ("published", "{fps} FPS on {conditions} ({source})".format(**each))
        for each in figures["published"]
    ]
    return [f"{name:<13}{text}" for name, text in rows]


def stated(latency: dict[str, float]) -> str:
    return "mean {mean:.1f}, median {median:.1f}, p95 {p95:.1f} ms".format(**latency)
