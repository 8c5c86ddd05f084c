"""Errors a user can cause. The command line shows them as one line and exits with 1."""

from collections.abc import Iterable
from difflib import get_close_matches


class HandbenchError(Exception):
    """What is wrong, where, and what to do next: one line."""


class DataError(HandbenchError):
    """A file or folder is missing, broken, or not what its place says it is."""


class ShapeError(HandbenchError):
    """An array has the wrong number of points, axes or samples."""


class UnknownName(HandbenchError):
    """A name that nothing is registered under; suggests the nearest known one."""

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        known = sorted(known)
        close = get_close_matches(name, known, n=1, cutoff=0.5)
        if close:
            advice = f"did you mean '{close[0]}'?"
        else:
            advice = f"known: {', '.join(known[:20]) or 'none'}"
        super().__init__(f"no {kind} '{name}'; {advice}" + (f" ({hint})" if hint else ""))


class MissingPackage(HandbenchError):
    """An optional package is needed for this command."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs {package}, which is not installed: pip install 'handbench[{extra}]'"
        )
