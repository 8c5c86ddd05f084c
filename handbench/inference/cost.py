"""What a network costs: parameters, products, memory; on the CPU and on a GPU alike."""

import copy
import math
import resource
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from handbench.inference.example import example


def parameters(method: nn.Module) -> tuple[int, int]:
    """How many parameters reach an output and how many do not; a copy is differentiated."""
    probe = copy.deepcopy(method).eval().requires_grad_(True)
    device = next(probe.parameters(), torch.zeros(0)).device
    out = probe(example(method, 2, device))
    values = [v for v in out.values() if torch.is_tensor(v) and v.requires_grad]
    if values:
        torch.stack([v.float().sum() for v in values]).sum().backward()
    sizes = {True: 0, False: 0}
    for value in probe.parameters():
        sizes[value.grad is not None] += value.numel()
    return sizes[True], sizes[False]


def macs(method: nn.Module) -> int:
    """Multiplications with addition of one sample, of all dense products; sparse ones are left out.

    Counted on the trained form, with the hand layer's.
    """
    device = next(method.parameters(), torch.zeros(0)).device
    with counting() as counter, torch.no_grad():
        method(example(method, 1, device))
    return counter.get_total_flops() // 2


def counting() -> FlopCounterMode:
    """A block in which dense products are counted, attention on the CPU among them."""

    def attention(q: Any, k: Any, v: Any, *_: Any, **__: Any) -> int:
        return sdpa_flop_count(q, k, v)

    def product(a: torch.Tensor, b: torch.Tensor, *_: Any, **__: Any) -> int:
        return 0 if a.layout != torch.strided else 2 * a.shape[0] * a.shape[1] * b.shape[1]

    def back(gradient: Any, q: Any, k: Any, v: Any, *_: Any, **__: Any) -> int:
        return sdpa_backward_flop_count(gradient, q, k, v)

    def convolved_back(
        gradient: Any, x: Any, weight: Any, _b: Any, _s: Any, _p: Any, _d: Any, transposed: bool,
        _o: Any, _groups: Any, wanted: Any, *_: Any, **__: Any,
    ) -> int:  # fmt: skip
        # torch's own count takes a grouped convolution for a full one
        places = (x if transposed else gradient)[2:]
        return 2 * x[0] * math.prod(weight) * math.prod(places) * sum(wanted[:2])

    product._get_raw = True  # type: ignore[attr-defined]
    aten = torch.ops.aten
    extra = {
        aten._scaled_dot_product_flash_attention_for_cpu: attention,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: back,
        aten.convolution_backward: convolved_back,
        aten.mm: product,
    }
    return FlopCounterMode(display=False, custom_mapping=extra)


def settle(device: torch.device) -> None:
    """Wait until the GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reset_peak(device: torch.device) -> None:
    """Start counting the largest memory anew; on the CPU where the kernel allows it (Linux)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):  # else it is the largest since the process began
        Path("/proc/self/clear_refs").write_text("5")


def peak_mib(device: torch.device) -> float:
    """The largest memory since reset_peak in MiB: of the whole process, or of what torch keeps on
    the GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**10
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def device_name(device: torch.device) -> str:
    """The GPU's name, or the CPU's model."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return "CPU"
