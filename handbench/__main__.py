"""python -m handbench: the command line, with the checkout's own folder kept off sys.path."""

import sys
from pathlib import Path

_home = Path(__file__).resolve().parent.parent
if (_home / "setup.cfg").is_file():  # a checkout; an installed package's home holds everything else
    sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != _home]

from handbench.cli import main  # noqa: E402

if __name__ == "__main__":
    main()
