"""Names -> objects, lazily: the built-in tables and entry points of other packages."""

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from handbench.errors import UnknownName

KINDS = {"method": "handbench.methods", "dataset": "handbench.datasets"}


def table(kind: str) -> dict[str, str]:
    """All names of a kind ("method" or "dataset") with their "module:object" address.

    Built-in names come first and cannot be replaced by an entry point of the same name.
    """
    group = KINDS[kind]
    known: dict[str, str] = dict(builtin(kind))
    for point in entry_points(group=group):
        known.setdefault(point.name, point.value)
    return known


def builtin(kind: str) -> Mapping[str, str]:
    return import_module(KINDS[kind]).TABLE


def load(kind: str, name: str) -> Any:
    """The object registered under a name. Raises UnknownName with the nearest known name.

    An import error inside the object's module is not hidden.
    """
    known = table(kind)
    if name not in known:
        raise UnknownName(
            {"dataset": "data set"}.get(kind, kind), name, known, f"handbench list {kind}s"
        )
    module, _, attribute = known[name].partition(":")
    return getattr(import_module(module), attribute)
