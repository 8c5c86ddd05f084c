"""Measured values of tables as LaTeX commands, for quoting them in a text."""

import math
import re
from collections.abc import Container, Iterable
from itertools import count

from handbench.showing.formats import Table

DIGITS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")
ENDS = ("", "Low", "High")


def macros(tables: Iterable[Table]) -> str:
    r"""\newcommand for every measured value and its interval, each with a comment on what it is.

    Names hold letters only; of values whose names would be equal the later ones are numbered.
    """
    lines: dict[str, str] = {}
    for table in tables:
        for row in table.rows:
            for column in table.columns:
                cell = row.cells[column.key]
                if cell.kind != "measured" or cell.estimate is None:
                    continue
                told = f"{table.name} {row.label.removesuffix(': measured')} {column.key}"
                name = _free(told, lines)
                numbers = (cell.estimate.value, cell.estimate.low, cell.estimate.high)
                for end, value in zip(ENDS, numbers):
                    if math.isfinite(value):
                        command = rf"\newcommand{{\{name}{end}}}{{{value:.{column.digits}f}}}"
                        lines[name + end] = f"{command}  % {told} {end.lower()}".rstrip()
    head = rf"\newcommand{{\HBMeasuredValues}}{{{len(lines)}}}"
    return "\n".join([head, *lines.values()]) + "\n"


def _free(told: str, taken: Container[str]) -> str:
    """The name of a value, with a number where that or its interval's are taken."""
    names = (f"HB{words(told)}{words(str(k)) if k > 1 else ''}" for k in count(1))
    return next(name for name in names if not any(name + end in taken for end in ENDS))


def words(text: str) -> str:
    """Letters only, as macro names need: h2onet_table_1 -> HTwoOnetTableOne."""
    parts = re.findall(r"[A-Za-z]+|\d", text)
    return "".join(DIGITS[int(part)] if part.isdigit() else part.capitalize() for part in parts)
