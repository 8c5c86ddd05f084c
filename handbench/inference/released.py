"""The authors' own checkpoint files as methods of this bench."""

import re
import warnings
import zipfile
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

# where training scripts keep the weights
CONTAINERS = ("state_dict", "model", "network", "net", "model_state_dict")


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
    content = opened(path)
    while isinstance(content, dict):
        inner = [content[k] for k in CONTAINERS if isinstance(content.get(k), dict)]
        if not inner:
            break
        content = inner[0]
    weights = content if isinstance(content, dict) else {}
    weights = {re.sub(r"^(module\.)+", "", str(k)): v for k, v in weights.items()}
    if not weights or not all(torch.is_tensor(value) for value in weights.values()):
        raise DataError(f"{path} holds no table of weights under any of: {', '.join(CONTAINERS)}")
    for name, value in weights.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise DataError(
                f"{path} holds values that are not finite, first in {name}: its training diverged; "
                "take an earlier checkpoint"
            )
    return weights


def opened(path: str | Path) -> Any:
    """What a file of torch's holds, of weights and plain values alone. Raises DataError."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if broken := archive.testzip():
                    raise DataError(f"{path} is damaged: {broken} has changed since it was written")
        with plain_numbers(), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of pickles' protocols
            return torch.load(path, map_location="cpu", weights_only=True)
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except Exception as error:  # torch raises whatever its readers meet
        what = "is it a checkpoint, and whole?"
        if named := re.search(r"GLOBAL ([\w.]+)", str(error)):
            what = f"it holds more than weights and plain values: {named[1]}"
        raise DataError(f"{path} cannot be read, and nothing in it was run: {what}") from error


@contextmanager
def plain_numbers() -> Iterator[None]:
    """Lets torch's safe loader read single numpy numbers, which training scripts keep as scores."""
    kinds = {type(np.dtype(kind)) for kind in "?bBhHiIlLqQefd"}
    scalar: Any = np.float64(0).__reduce__()[0]
    allowed: list[Any] = [np.dtype, scalar, (scalar, "numpy.core.multiarray.scalar"), *kinds]
    with torch.serialization.safe_globals(allowed):
        yield
