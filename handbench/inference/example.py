"""A batch of random inputs for any method: for counting, timing and exporting networks."""

from typing import Any

import torch

from handbench.errors import HandbenchError


def example(method: Any, count: int = 1, device: Any = "cpu", seed: int = 0) -> dict[str, Any]:
    """What a method's `inputs` name, count samples of it; the same numbers for the same seed.

    Raises HandbenchError for an input whose shape is not known.
    """
    made = torch.Generator().manual_seed(seed)
    size = method.crop_px
    shapes: dict[str, tuple[int, ...]] = {
        "image": (*([method.frames] if method.frames > 1 else []), 3, size, size),
        "joints_crop": (21, 2),
        "K_crop": (3, 3),
        "root_m": (3,),
        "joints_m": (21, 3),
        "verts_m": (778, 3),
        "pose": (48,),
        "shape": (10,),
        "visibility": (5,),
        "hand_visibility": (),
    }
    shapes |= {f"frame_{name}": (method.frames, *shape) for name, shape in shapes.items()}
    batch: dict[str, Any] = {"is_left": torch.zeros(count, dtype=torch.bool)}
    for name in method.inputs:
        if name == "is_left":
            continue
        if name not in shapes:
            raise HandbenchError(f"no example of the input '{name}' of {type(method).__name__}")
        batch[name] = torch.rand(count, *shapes[name], generator=made)
        if name.endswith("visibility"):
            batch[name] = batch[name].round()
    return {name: value.to(device) for name, value in batch.items()}
