"""The authors' own checkpoint files as methods of this bench."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from handbench import registry
from handbench.errors import DataError, HandbenchError
from handbench.hand import Hand, default_hand
from handbench.mesh.topology import Topology, load

CONTAINERS = ("state_dict", "model", "network", "net")  # where training scripts keep the weights


def import_released(
    method: str,
    path: str | Path,
    hand: Hand | None = None,
    topology: Topology | str | Path | None = None,
) -> torch.nn.Module:
    """A method with the weights of its authors' checkpoint file, in test mode.

    Takes the same batches and gives the same outputs as any method. Hand model parameters inside
    the file are left there: hand (default: default_hand) stands in for them. topology: for
    methods whose weights fit one mesh hierarchy alone, that hierarchy or its file (topology.load).
    Nothing in the file is executed. Raises HandbenchError when the method takes no such file or
    needs a topology, DataError when the file is no checkpoint or its weights do not fit.
    """
    cls = registry.load("method", method)
    if not hasattr(cls, "from_released"):
        raise HandbenchError(f"{method} has no released weights to import")
    known_hand = hand or default_hand()
    meshes = load(topology, known_hand) if isinstance(topology, str | Path) else topology
    weights = read_weights(path)
    try:
        return cls.from_released(known_hand, weights, meshes).eval()
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        short = first if len(first) < 160 else f"{first[:160]} …"
        raise DataError(f"{path} does not fit {method}: {short}") from error


def read_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """Name -> tensor of a checkpoint file, without the prefix `module.`. Raises DataError."""
    try:
        with plain_numbers():
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except Exception as error:  # torch raises whatever its readers meet
        more = type(error).__name__ == "UnpicklingError"
        what = "it holds more than weights and plain values" if more else "is it whole?"
        raise DataError(f"{path} is no file of weights: {what}; nothing in it was run") from error
    for name in CONTAINERS:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
            break
    weights = content if isinstance(content, dict) else {}
    weights = {str(k).removeprefix("module."): v for k, v in weights.items()}
    if not weights or not all(torch.is_tensor(value) for value in weights.values()):
        raise DataError(f"{path} holds no table of weights under any of: {', '.join(CONTAINERS)}")
    return weights


@contextmanager
def plain_numbers() -> Iterator[None]:
    """Lets torch's safe loader read single numpy numbers, which training scripts keep as scores."""
    kinds = {type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.bool_)}
    scalar: Any = np.float64(0).__reduce__()[0]
    allowed: list[Any] = [np.dtype, scalar, (scalar, "numpy.core.multiarray.scalar"), *kinds]
    with torch.serialization.safe_globals(allowed):
        yield
