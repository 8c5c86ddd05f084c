"""In which numbers a training step computes: float32, or half precision where that is safe."""

import math
from contextlib import AbstractContextManager

import torch

from handbench.errors import HandbenchError

TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
LEAST_SCALE = 1.0  # a loss scaled below this is not too large for float16: it is not finite


class Precision:
    """Forward passes in half precision (torch.autocast), losses and weights in float32.

    name: one of TYPES. fp16 has few exponents, so its loss is scaled and steps whose gradients
    overflow are left out while the scale is found. Validation and prediction compute in float32.
    Raises HandbenchError when the device has no such arithmetic.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        self.name, self.device, self.half = name, device, name != "fp32"
        if self.half and not supported(name, device):
            what = "CPU" if device.type == "cpu" else "GPU"
            raise HandbenchError(f"this {what} does not compute in {name}: give --precision fp32")
        self.scaler = torch.amp.GradScaler(device.type, enabled=name == "fp16")

    def autocast(self) -> AbstractContextManager:
        return torch.autocast(self.device.type, TYPES[self.name], enabled=self.half)

    def backward(self, loss: torch.Tensor) -> None:
        self.scaler.scale(loss).backward()

    def gradient_norm(
        self, optimizer: torch.optim.Optimizer, parameters: list[torch.nn.Parameter], clip: float
    ) -> torch.Tensor:
        """The norm of the gradients, which are cut to `clip` where that is not 0."""
        self.scaler.unscale_(optimizer)
        if clip:
            return torch.nn.utils.clip_grad_norm_(parameters, clip)
        return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])

    def step(self, optimizer: torch.optim.Optimizer, fine: torch.Tensor) -> None:
        """One step of the (fused) optimizer, none where `fine` () is false.

        The kernel itself reads that flag, so the host need not wait for the device to know it.
        """
        optimizer.found_inf = 1 - fine.float()  # type: ignore[attr-defined]
        optimizer.step()
        if self.scaler.is_enabled():
            self.scaler.update()

    @property
    def scale(self) -> torch.Tensor:
        """The factor () f4 on the loss, on the device; 1 but for fp16."""
        scale = self.scaler._scale if self.scaler.is_enabled() else None
        return torch.ones((), device=self.device) if scale is None else scale.detach().clone()

    @staticmethod
    def overflowed(loss: float, norm: float, scale: float) -> bool:
        """Whether gradients that are not finite only mean that the scale has to come down."""
        return scale > LEAST_SCALE and math.isfinite(loss) and not math.isfinite(norm)


def supported(name: str, device: torch.device) -> bool:
    """Whether a device multiplies in a half precision itself (emulation is slower than fp32)."""
    if device.type == "cuda":
        return name == "fp16" or torch.cuda.is_bf16_supported()
    mkldnn = torch.ops.mkldnn
    return bool(
        mkldnn._is_mkldnn_bf16_supported() if name == "bf16" else mkldnn._is_mkldnn_fp16_supported()
    )
