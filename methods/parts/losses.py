"""Loss terms that leave out what is not annotated."""

import torch
from torch.nn import functional

from handbench.errors import ShapeError


def masked_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean of values (B, …) where mask (B,) or (B,P) is 1; 0 when it is 1 nowhere."""
    if values.shape[: mask.dim()] != mask.shape:
        raise ShapeError(f"a mask {tuple(mask.shape)} for values {tuple(values.shape)}")
    inner = values.flatten(mask.dim()).mean(-1) if values.dim() > mask.dim() else values
    # where, not a product: a value that is not finite must not leak through a zero mask
    return torch.where(mask > 0, inner * mask, 0).sum() / mask.sum().clamp(min=1)


def distance(
    predicted: torch.Tensor, true: torch.Tensor, mask: torch.Tensor, smooth: bool = False
) -> torch.Tensor:
    """Mean absolute difference under a mask; smooth: ten times it, rounded off below 5 mm.

    The smooth form is smooth-L1 of ten times the values with beta 0.05: the tiny presets' loss.
    """
    if predicted.shape != true.shape:
        raise ShapeError(f"predicted {tuple(predicted.shape)}, true {tuple(true.shape)}")
    if smooth:
        error = functional.smooth_l1_loss(10 * predicted, 10 * true, reduction="none", beta=0.05)
    else:
        error = (predicted - true).abs()
    return masked_mean(error, mask)
