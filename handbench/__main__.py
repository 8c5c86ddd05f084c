"""python -m handbench: the command line, with the checkout's own folder kept off sys.path."""

import sys
from pathlib import Path

_checkout = Path(__file__).resolve().parent.parent
sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != _checkout]

from handbench.cli import main  # noqa: E402

if __name__ == "__main__":
    main()
