"""What every benchmark shares: timing by turns, and a table of measured against wanted ratios.

A benchmark is a file with `run() -> list[dict]`; each dict is one comparison with the keys
name, reference, unit, value, reference_value, ratio (reference over ours: above 1 is faster)
and target (the least ratio wanted). Such a file ends with `main(run)` and is started by
`python benchmarks/NAME.py [--json FILE]`.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from handbench.files import write_json

Row = dict[str, Any]


def interleave(functions: Sequence[Callable[[], Any]], rounds: int) -> list[list[float]]:
    """CPU seconds of each function in each round, (rounds, functions), after one warm-up call.

    Taking turns lets a slow spell of the machine hit all alike, so ratios within a round hold.
    """
    for function in functions:
        function()
    times = []
    for _ in range(rounds):
        spent = []
        for function in functions:
            start = time.process_time()
            function()
            spent.append(time.process_time() - start)
        times.append(spent)
    return times


def compare(
    name: str, reference: str, unit: str, times: list[list[float]], target: float, scale: float = 1
) -> Row:
    """One row from interleave([reference, ours], …): medians, and the median of the ratios."""
    theirs, ours = zip(*times)
    return {
        "name": name,
        "reference": reference,
        "unit": unit,
        "value": statistics.median(ours) * scale,
        "reference_value": statistics.median(theirs) * scale,
        "ratio": statistics.median(a / max(b, 1e-9) for a, b in times),
        "target": target,
    }


def show(rows: list[Row]) -> None:
    print(f"{'what':<34} {'against':<26} {'ours':>9} {'theirs':>9} {'unit':<6} {'ratio':>6} wanted")
    for row in rows:
        verdict = "" if row["ratio"] >= row["target"] else "  below"
        print(
            f"{row['name']:<34} {row['reference']:<26} {row['value']:>9.3f} "
            f"{row['reference_value']:>9.3f} {row['unit']:<6} {row['ratio']:>6.2f} "
            f"{row['target']:g}{verdict}"
        )


def main(run: Callable[..., list[Row]], *flags: str) -> None:
    """flags: names of run's own switches, given on the command line as --NAME."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", metavar="FILE", help="also write the rows as JSON")
    for flag in flags:
        parser.add_argument(f"--{flag}", action="store_true")
    options = vars(parser.parse_args())
    path = options.pop("json")
    rows = run(**options)
    show(rows)
    if path:
        write_json(path, rows)
