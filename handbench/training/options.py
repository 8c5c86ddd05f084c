"""A method's options as they are given: of the right kind, and such that the network runs."""

import inspect
import math
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import torch

from handbench.errors import HandbenchError
from handbench.inference.example import example

WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}


def check_kinds(cls: type, options: Mapping[str, Any]) -> None:
    """Raises HandbenchError for an option whose value is not of its parameter's kind."""
    known = inspect.signature(cls).parameters
    for name, value in options.items():
        kind = known[name].annotation if name in known else Any
        if not fits(value, kind):
            wanted = WORDS.get(kind, str(kind).replace("typing.", ""))
            raise HandbenchError(f"{name} takes {wanted}, not {value!r} (-o)")


def fits(value: Any, kind: Any) -> bool:
    """Whether a value is of an annotated kind; lists are good for tuples, int for float."""
    inner, outer = get_args(kind), get_origin(kind)
    if outer in (Union, UnionType):
        return any(fits(value, each) for each in inner)
    if outer is tuple:
        long = inner[-1] is Ellipsis
        inside = isinstance(value, list | tuple) and (long or len(value) == len(inner))
        return inside and all(fits(each, inner[0]) for each in value)
    if kind in (int, float):
        number = isinstance(value, (int, kind)) and not isinstance(value, bool)
        return number and math.isfinite(value)
    if kind is None:
        return isinstance(value, NoneType)
    whole = outer or kind
    return not isinstance(whole, type) or isinstance(value, whole) or kind is inspect._empty


def built(cls: type, hand: Any, options: Mapping[str, Any], changed: Mapping[str, Any]) -> Any:
    """cls(hand, **options); where some are changed, it has answered one example.

    Sizes may fail to go together in any layer, so a network is tried rather than its sizes listed.
    Raises HandbenchError naming what was changed, when it cannot be built or asked.
    """
    if not changed:
        return cls(hand, **options)
    check_kinds(cls, changed)
    try:
        method = cls(hand, **options)
        if not hasattr(method, "fit"):
            answer(method)
    except HandbenchError:
        raise
    except Exception as error:
        told = ", ".join(f"{name} = {value!r}" for name, value in changed.items())
        first = (str(error).splitlines() or [""])[0][:160]
        raise HandbenchError(
            f"{cls.__name__} does not work with {told}: {type(error).__name__}, {first}"
        ) from error
    return method


@torch.no_grad()
def answer(method: Any) -> None:
    """Ask a method one example, unless it takes inputs of its own that there is no example of."""
    try:
        batch = example(method)
    except HandbenchError:
        return
    method.eval()(batch)
    method.train()
