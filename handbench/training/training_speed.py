"""How fast a network trains here: samples a second, waiting, memory, share of the peak."""

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from handbench.errors import HandbenchError
from handbench.inference.cost import counting, device_name, peak_mib, reset_peak, settle
from handbench.inference.speed import stated, summary
from handbench.training.precision import TYPES
from handbench.training.recipe import Recipe
from handbench.training.runs import Run
from handbench.training.train import compile_network, method_for
from handbench.training.trainer import Trainer

# Dense FLOP/s without sparsity, NVIDIA's data sheets of the SXM boards, by the name torch gives.
# fp32 is without TF32, which torch uses in convolutions alone unless told otherwise.
HOPPER = {"bf16": 989e12, "fp16": 989e12, "fp32": 67e12}
AMPERE = {"bf16": 312e12, "fp16": 312e12, "fp32": 19.5e12}
PEAKS = {
    "NVIDIA H200": HOPPER,
    "NVIDIA H100 80GB HBM3": HOPPER,
    "NVIDIA A100-SXM4-40GB": AMPERE,
    "NVIDIA A100-SXM4-80GB": AMPERE,
}
PROBE, PROBES = 1024, 5  # side and number of the products that stand for an unknown device's peak
WARM = {"cpu": 2, "cuda": 15}  # steps: caches, algorithms, graphs; the queue of a GPU


def measure(
    recipe: Recipe,
    device: torch.device,
    steps: int = 20,
    compiled: bool = False,
    compile_mode: str = "default",
    workers: int = 0,
) -> dict[str, Any]:
    """Figures of `steps` gradient steps on a recipe's prepared training data, all included.

    Nothing is kept of what is trained. workers: processes that make batches. Of the figures,
    waiting is the share of the time the host waited for batches, device_idle the share in which a
    GPU had nothing to do between steps. Raises HandbenchError for a method without gradient steps,
    DataError where data is not prepared.
    """
    warm = WARM[device.type]
    recipe = replace(recipe, steps=warm + steps, validation="split", checkpoint="last")
    method, samples = method_for(recipe, device)
    if hasattr(method, "fit"):
        raise HandbenchError(f"{recipe.method} is fitted, not trained: there are no steps to time")
    with tempfile.TemporaryDirectory() as folder:
        data = samples, np.arange(len(samples))
        trainer = Trainer(
            recipe, Run(Path(folder)), method, device, data, None, np.inf, False, workers
        )
        trainer.make_ready()
        flops = step_flops(trainer)
        if compiled:
            compile_network(method, recipe, compile_mode)
        timing = timed_steps(trainer, warm)
    rate, source = peak(device, recipe.precision)
    achieved = flops / (timing["step_ms"]["mean"] / 1e3)
    return {
        "method": recipe.method,
        "variant": recipe.variant,
        "preset": recipe.preset,
        "data": recipe.data,
        "crop_px": method.crop_px,
        "frames": method.frames,
        "batch": trainer.batch,
        "accumulate": recipe.accumulate,
        "precision": recipe.precision,
        "pictures": recipe.pictures,
        "workers": workers,
        "compiled": compile_mode if compiled else "",
        "steps": steps,
        "warmup": warm,
        "samples_per_s": 1e3 * trainer.batch / timing["step_ms"]["mean"],
        **timing,
        "flops_a_step": flops,
        "achieved_flops": achieved,
        "peak_flops": rate,
        "peak_source": source,
        "share_of_peak": achieved / rate,
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def step_flops(trainer: Trainer) -> int:
    """Operations of the dense products of one step, forward and backward; 2 a multiplication."""
    parts = next(trainer.feed())
    with counting() as counter:
        trainer.one_step(parts)
    trainer.look()
    trainer.waited = 0.0
    return counter.get_total_flops()


def timed_steps(trainer: Trainer, warm: int) -> dict[str, Any]:
    """Times and memory of a trainer's steps to its end, but for the first `warm`."""
    device = trainer.device
    marks, used = [], []
    began = 0.0
    for number, parts in enumerate(trainer.feed()):
        if number == warm:
            trainer.look()
            settle(device)
            reset_peak(device)
            trainer.waited, began = 0.0, time.perf_counter()
        begin = mark(device)
        trainer.one_step(parts)
        trainer.step += 1
        marks.append((begin, mark(device)))
        if len(trainer.unseen) >= trainer.look_every:
            used.append(utilisation(device))
            trainer.look()
    trainer.look()
    settle(device)
    whole = time.perf_counter() - began
    # a step lasts from the end of the one before to its own end, waiting for data included
    ends = [end for _, end in marks[warm - 1 :]]
    times = np.array([passed(a, b) for a, b in zip(ends, ends[1:])])
    busy = sum(passed(*each) for each in marks[warm:])
    known = [value for value in used if value is not None]
    return {
        "step_ms": summary(times),
        "peak_memory_mib": peak_mib(device),
        "waiting": trainer.waited / whole,
        "device_idle": 1 - busy / times.sum() if device.type == "cuda" else None,
        "gpu_utilisation": float(np.mean(known)) / 100 if known else None,
    }


def mark(device: torch.device) -> Any:
    """Now, as the device counts time: on a GPU when it comes to this place of its queue."""
    if device.type == "cpu":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record(torch.cuda.current_stream(device))
    return event


def passed(begin: Any, end: Any) -> float:
    """Seconds between two marks that have been reached."""
    return end - begin if isinstance(end, float) else begin.elapsed_time(end) / 1e3


def utilisation(device: torch.device) -> float | None:
    """Percent of the time in which the GPU ran any kernel, where pynvml is installed to ask it."""
    if device.type == "cpu":
        return None
    try:
        return float(torch.cuda.utilization(device))
    except (ModuleNotFoundError, RuntimeError):
        return None


def peak(device: torch.device, precision: str) -> tuple[float, str]:
    """FLOP/s of a device in a precision, and where the number is from."""
    name = device_name(device)
    if name in PEAKS:
        return PEAKS[name][precision], f"data sheet of the {name}, dense {precision}"
    a = torch.rand(PROBE, PROBE, device=device).to(TYPES[precision])
    best = np.inf
    for _ in range(PROBES):
        settle(device)
        began = time.perf_counter()
        a @ a
        settle(device)
        best = min(best, time.perf_counter() - began)
    return 2 * PROBE**3 / best, f"best of {PROBES} {precision} products of {PROBE} x {PROBE} here"


def lines(figures: dict[str, Any]) -> list[str]:
    """The figures as text."""
    about = "{method}/{variant}, preset {preset}, {crop_px} px, on {data}".format(**figures)
    batch = "{batch}, {precision}, pictures {pictures}".format(**figures)
    batch += f" by {figures['workers']} processes" if figures["workers"] else ""
    roof = "{:.3g} of {:.3g} TFLOP/s, {:.1%} ({})".format(
        *(figures[name] / 1e12 for name in ("achieved_flops", "peak_flops")),
        *(figures[name] for name in ("share_of_peak", "peak_source")),
    )
    rows = [
        ("training", about),
        ("batch", batch + (f", compiled: {figures['compiled']}" if figures["compiled"] else "")),
        ("rate", f"{figures['samples_per_s']:,.1f} samples/s"),
        ("step", stated(figures["step_ms"]) + " ({warmup} to warm up, {steps})".format(**figures)),
        ("waiting", f"{figures['waiting']:.1%} of the time for data"),
        ("products", f"{figures['flops_a_step'] / 1e9:,.1f} GFLOP a step"),
        ("roofline", roof),
        ("peak memory", f"{figures['peak_memory_mib']:,.0f} MiB"),
        ("measured on", "{device}, {threads} threads".format(**figures)),
    ]
    for name, title in (("device_idle", "GPU idle"), ("gpu_utilisation", "GPU used")):
        if figures[name] is not None:
            rows.append((title, f"{figures[name]:.1%} of the time"))
    return [f"{name:<13}{text}" for name, text in rows]
