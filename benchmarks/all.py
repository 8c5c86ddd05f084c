"""All benchmarks, one after another: each a ratio to a stated reference in the same run.

make bench            or            python benchmarks/all.py [--json FILE]
"""

import sys
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from report import main

NAMES = ("hand_layer", "prepare", "loading", "training", "networks", "evaluation")


def run() -> list[dict]:
    return [row for name in NAMES for row in import_module(name).run()]


if __name__ == "__main__":
    main(run)
