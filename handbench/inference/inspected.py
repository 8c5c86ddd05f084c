"""What a method sees in one hand of a prepared split: the crop, its maps, its 2D joints."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from handbench.errors import HandbenchError
from handbench.inference.speed import Subject
from handbench.loading.batch import to_torch
from handbench.store import open_split
from handbench.training.train import samples_for


@dataclass(frozen=True)
class Inspected:
    """crop (S,S,3) u8, mirrored for left hands; maps of one sample by name; joints_crop (21,2) in
    0..1 where the method gives 2D joints; name of the hand."""

    crop: NDArray[np.uint8]
    maps: dict[str, NDArray]
    joints_crop: NDArray | None
    name: str


@torch.no_grad()
def inspect(one: Subject, split: str, index: int) -> Inspected:
    """The method's `inspect` on one hand of a split. Raises HandbenchError without such a hand, or
    for a method that has no inspect."""
    method = one.method.cpu()
    if not hasattr(method, "inspect"):
        raise HandbenchError(f"{one.recipe.method} has no maps to look at")
    samples = samples_for(one.recipe, method, open_split(split).name, False)
    if not 0 <= index < len(samples):
        raise HandbenchError(f"{split} has hands 0 to {len(samples) - 1:,}, not {index}")
    samples.images = True  # for drawing, even where the method sees no picture
    arrays = samples.batch([index])
    batch = to_torch({key: arrays[key] for key in method.inputs})
    batch.setdefault("is_left", torch.from_numpy(arrays["is_left"]))
    maps = {name: v[0].float().numpy() for name, v in method.inspect(batch).items()}
    joints = method(batch).get("joints_crop")
    image = arrays["image"][0]
    image = image[0] if image.ndim == 4 else image
    return Inspected(
        np.ascontiguousarray(
            (255 * image).round().clip(0, 255).astype(np.uint8).transpose(1, 2, 0)
        ),
        maps,
        None if joints is None else joints.reshape(-1, 21, 2)[0].numpy(),
        samples.names(np.array([index]))[0],
    )
