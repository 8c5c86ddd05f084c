"""Parametric everyday objects, sized like the YCB set's kinds of things but made by code alone.

`make(name, seed)` gives one object: the class fixes the form, the seed varies dimensions (about
10 %) and colours. Splits hold different classes, and each has round, boxy, thin and handle-like
things. Model frame: metres, origin at the centre of the bounding box, z along the object's axis.
"""

from collections.abc import Callable
from zlib import crc32

import numpy as np

from handbench.errors import UnknownName
from handbench.synthesis import gadgets, vessels
from handbench.synthesis.builder import Builder, ObjectMesh

SPLIT_OBJECTS: dict[str, tuple[str, ...]] = {
    "train": (
        *("coffee_can", "soup_can", "bleach_bottle", "apple", "bowl", "banana"),
        *("cracker_box", "sugar_box", "foam_brick", "marker", "spatula", "mug", "drill"),
    ),
    "val": ("tuna_can", "lemon", "gelatin_box", "screwdriver", "pitcher"),
    "test": (
        *("mustard_bottle", "ball", "meat_can", "pudding_box"),
        *("scissors", "clamp", "hammer", "teacup"),
    ),
}

_APPLE, _LEMON, _BALL = (
    np.array(rgb) for rgb in ((0.78, 0.22, 0.16), (0.93, 0.82, 0.2), (0.5, 0.75, 0.35))
)

MAKERS: dict[str, Callable[[Builder], None]] = {
    "coffee_can": lambda b: vessels.can(b, 0.094, 0.139),
    "soup_can": lambda b: vessels.can(b, 0.067, 0.101),
    "tuna_can": lambda b: vessels.can(b, 0.083, 0.034),
    "meat_can": lambda b: vessels.can(b, 0.096, 0.083, flat=0.55, power=4.5),
    "bleach_bottle": vessels.bleach_bottle,
    "mustard_bottle": vessels.mustard_bottle,
    "apple": lambda b: vessels.fruit(b, (0.037, 0.037, 0.035), _APPLE, True),
    "lemon": lambda b: vessels.fruit(b, (0.027, 0.027, 0.037), _LEMON, False),
    "ball": lambda b: vessels.ball(b, 0.033, _BALL),
    "bowl": vessels.bowl,
    "banana": vessels.banana,
    "cracker_box": lambda b: vessels.carton(b, 0.056, 0.150, 0.205),
    "sugar_box": lambda b: vessels.carton(b, 0.038, 0.089, 0.175),
    "pudding_box": lambda b: vessels.carton(b, 0.035, 0.110, 0.089),
    "gelatin_box": lambda b: vessels.carton(b, 0.028, 0.085, 0.073),
    "foam_brick": lambda b: vessels.carton(b, 0.050, 0.075, 0.050, plain=True),
    "mug": lambda b: vessels.cup(b, 0.080, 0.086, 1.0, 0.026, 0.0048),
    "teacup": lambda b: vessels.cup(b, 0.056, 0.068, 1.3, 0.024, 0.0042),
    "pitcher": lambda b: vessels.cup(b, 0.104, 0.215, 1.14, 0.034, 0.0085),
    "marker": gadgets.marker,
    "screwdriver": gadgets.screwdriver,
    "spatula": gadgets.spatula,
    "drill": gadgets.drill,
    "hammer": gadgets.hammer,
    "scissors": gadgets.scissors,
    "clamp": gadgets.clamp,
}

OCCLUDERS: dict[str, Callable[[Builder], None]] = {
    "plate": gadgets.plate,
    "book": gadgets.book,
    "plant": gadgets.plant,
    "cushion": gadgets.cushion,
    "board": gadgets.board,
    "carton": lambda b: vessels.carton(b, 0.07, 0.13, 0.17),
    "tin": lambda b: vessels.can(b, 0.1, 0.12),
}


def make(name: str, seed: int) -> ObjectMesh:
    """One graspable object or occluder; the same name and seed give the same arrays.

    Raises UnknownName for a name in neither MAKERS nor OCCLUDERS.
    """
    makers = MAKERS | OCCLUDERS
    if name not in makers:
        raise UnknownName("object", name, makers, "handbench.synthesis.objects.MAKERS")
    builder = Builder(np.random.default_rng([crc32(name.encode()), seed]))
    makers[name](builder)
    return builder.finish(name, seed)
