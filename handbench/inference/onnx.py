"""A method as an ONNX file, checked against torch before it gets its name."""

import copy
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from handbench.errors import HandbenchError, MissingPackage
from handbench.files import replacing
from handbench.inference.example import example

OPSET = 20
TOLERANCE = 1e-4


class Flat(nn.Module):
    """A method with its inputs in order and its outputs as a tuple; `names` are theirs."""

    def __init__(self, method: Any) -> None:
        super().__init__()
        self.method = method
        self.names: tuple[str, ...] = ()

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        out = self.method(dict(zip(self.method.inputs, inputs)))
        kept = {name: value for name, value in out.items() if torch.is_tensor(value)}
        self.names = tuple(kept)
        return tuple(kept.values())


def export(method: Any, path: Path) -> float:
    """Write a method as ONNX for batches of one; returns the largest difference to torch.

    Inputs and outputs keep their names; an output that is called as an input is `predicted_…`.
    Noise that a method adds to its inputs at test time is left to the caller. Checked by
    onnxruntime where it is installed, else by onnx's own evaluator. Raises MissingPackage without
    onnx, HandbenchError when an output differs by more than 1e-4 or the method has no inputs.
    """
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise MissingPackage("onnx", "onnx", "exporting networks") from error
    if not method.inputs:
        raise HandbenchError(f"{type(method).__name__} takes no inputs: there is nothing to export")
    flat = Flat(plain(method))
    batch = example(method, 1)
    inputs = tuple(batch[name] for name in method.inputs)
    with torch.no_grad(), replacing(path) as temporary:
        known = flat(*inputs)
        write(flat, inputs, temporary, method.inputs)
        found = run(temporary, dict(zip(method.inputs, inputs)))
        worst = {
            name: float(np.abs(ours.numpy() - theirs).max())
            for name, ours, theirs in zip(flat.names, known, found)
        }
        name, difference = max(worst.items(), key=lambda pair: pair[1])
        if not difference <= TOLERANCE:
            raise HandbenchError(
                f"the exported {type(method).__name__} differs from torch's by {difference:.1e} in "
                f"{name}: {path} is not written"
            )
    return difference


def plain(method: Any) -> Any:
    """A copy in test mode without what ONNX cannot say: a part that has `dense()` becomes that."""
    made = copy.deepcopy(method).cpu().eval().requires_grad_(False)
    if hasattr(made, "test_noise"):
        made.test_noise = 0.0
    for part in list(made.modules()):
        for name, child in list(part.named_children()):
            if hasattr(child, "dense"):
                setattr(part, name, child.dense())
    return made


def write(flat: Flat, inputs: tuple[torch.Tensor, ...], path: Path, names: tuple[str, ...]) -> None:
    """The network as one file, by tracing: a few seconds, and operations of opset 20 alone."""
    torch.onnx.register_custom_op_symbolic("aten::mT", transposed, OPSET)
    with warnings.catch_warnings():
        # tracing warns of each check of a shape, and of being the older one of two exporters
        warnings.simplefilter("ignore")
        torch.onnx.export(
            flat,
            inputs,
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=list(names),
            output_names=[f"predicted_{n}" if n in names else n for n in flat.names],
        )


def transposed(graph: Any, value: Any) -> Any:
    """The last two axes exchanged, as ONNX says it."""
    axes = [*range(value.type().dim())]
    return graph.op("Transpose", value, perm_i=[*axes[:-2], axes[-1], axes[-2]])


def run(path: Path, inputs: dict[str, torch.Tensor]) -> list[np.ndarray]:
    """The file's outputs, by onnxruntime or else by onnx's reference evaluator."""
    arrays = {name: value.numpy() for name, value in inputs.items()}
    try:
        from onnxruntime import InferenceSession
    except ImportError:
        return evaluate(path, arrays)
    session = InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {each.name: arrays[each.name] for each in session.get_inputs()})


def evaluate(path: Path, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The file's outputs by onnx's reference evaluator."""
    from onnx.reference import ReferenceEvaluator
    from onnx.reference.op_run import OpRun

    class GatherElements(OpRun):  # the evaluator's own fails on a single row
        op_domain = ""

        def _run(self, data, indices, axis=0):  # type: ignore[no-untyped-def]
            return (np.take_along_axis(data, indices, axis),)

    return list(ReferenceEvaluator(str(path), new_ops=[GatherElements]).run(None, arrays))
