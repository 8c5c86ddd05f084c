"""Between which bounds the numbers of a recipe make sense."""

import math
import re
from collections.abc import Mapping
from typing import Any

from handbench.errors import HandbenchError

TINY = 1e-12  # stands for "more than 0"
RANGES = {
    "batch": (1, math.inf),
    "steps": (0, math.inf),
    "epochs": (1, math.inf),
    "accumulate": (1, math.inf),
    "lr": (TINY, math.inf),
    "weight_decay": (0, math.inf),
    "warmup": (0, math.inf),
    "gamma": (0, math.inf),
    "clip": (0, math.inf),
    "box_factor": (TINY, math.inf),
    "frame_step": (1, math.inf),
    "frame_jitter": (0, math.inf),
    "validate_every": (0, math.inf),
    "ema": (0, 1 - TINY),
    "backbone_rate": (0, math.inf),
    "augmentation.scale": (0, 1 - TINY),
    "augmentation.rotation_deg": (0, math.inf),
    "augmentation.rotation_share": (0, 1),
    "augmentation.colour": (0, 1),
    "augmentation.shift": (0, math.inf),
    "augmentation.box_scale": (0, 1 - TINY),
    "augmentation.occluders": (0, 1),
}


def check(recipe: Mapping[str, Any]) -> None:
    """Raises HandbenchError for the first number that is out of bounds, and for an odd label."""
    inside = {f"augmentation.{name}": value for name, value in recipe["augmentation"].items()}
    for name, (least, most) in RANGES.items():
        value = inside.get(name, 0) if "." in name else recipe[name]
        if not (least <= value <= most and math.isfinite(value)):
            raise HandbenchError(f"{name} = {value}: give {_words(least, most)}")
    if not all(0 <= share <= 1 for share in recipe["milestones"]):
        shares = recipe["milestones"]
        raise HandbenchError(f"milestones = {shares}: give shares of the run, 0 to 1")
    if re.search(r"[\s/\\]", recipe["label"]):  # it becomes part of a folder's name
        raise HandbenchError(f"--label {recipe['label']}: give one without spaces and slashes")


def _words(least: float, most: float) -> str:
    low = "a number above 0" if least == TINY else f"a number of at least {least}"
    if math.isinf(most):
        return low
    return f"{low}, at most 1" if most == 1 else f"{low}, below 1"
