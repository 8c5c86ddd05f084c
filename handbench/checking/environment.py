"""What this installation has: one line each; what is missing comes with how to get it."""

import platform
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from handbench import __version__, files
from handbench.checking.check import FAIL, NONE, OK, WARN, Check
from handbench.console import amount
from handbench.errors import HandbenchError
from handbench.machine import usable_cores

LEAST_FREE = 5e9  # bytes
MANO_PAGE = "https://mano.is.tue.mpg.de"


def check_environment() -> Iterator[Check]:
    """One check of each thing that handbench needs or can use."""
    for look in (_python, _torch, hand_model, _turbojpeg, _data, _runs, _disk):
        yield look()


def _python() -> Check:
    told = f"handbench {__version__}, Python {platform.python_version()} ({sys.executable})"
    return Check("handbench", OK, f"{told}, {usable_cores()} cores")


def _torch() -> Check:
    if find_spec("torch") is None:
        told = "not installed: scoring and tables work, training and predicting do not"
        return Check("torch", NONE, told, "pip install 'handbench[train]'")
    import torch

    told = f"{torch.__version__}, "
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
        return Check("torch", OK, told + f"CUDA {torch.version.cuda}: {', '.join(names)}")
    return Check("torch", OK, told + "no CUDA: networks run on the CPU")


def hand_model() -> Check:
    """Which hand model is used here, and how to place MANO."""
    folder = files.mano_dir()
    place = f"put MANO_RIGHT.pkl and MANO_LEFT.pkl ({MANO_PAGE}) in a folder, set HANDBENCH_MANO"
    if folder is None:
        return Check("hand model", OK, "the bundled open hand", f"for MANO: {place}")
    from handbench.hand import default_hand

    try:
        kinds = [f"{side} {default_hand(side).sha256[:12]}" for side in ("right", "left")]
    except HandbenchError as error:
        return Check("hand model", FAIL, str(error), place)
    return Check("hand model", OK, f"MANO in {folder}: {', '.join(kinds)}")


def _turbojpeg() -> Check:
    from ctypes.util import find_library

    library = find_library("turbojpeg")
    if library is not None:
        return Check("libturbojpeg", OK, library)
    try:
        told = f"not on the system; the package simplejpeg {version('simplejpeg')} brings its own"
        return Check("libturbojpeg", OK, told)
    except PackageNotFoundError:
        told = "not found: pictures are decoded by OpenCV, packs hold full frames"
        return Check("libturbojpeg", NONE, told, "apt install libturbojpeg0, or pip simplejpeg")


def _data() -> Check:
    from handbench.store import prepared

    found = prepared()
    told = f"{files.data_dir().absolute()}: {', '.join(found) or 'nothing prepared yet'}"
    return Check(
        "data", OK if found else NONE, told, "" if found else "handbench prepare synthetic"
    )


def _runs() -> Check:
    folder = files.runs_dir()
    found = sorted(folder.glob("*/*/*/recipe.toml"))
    told = f"{folder.absolute()}: {amount(len(found), 'run')}"
    return Check("runs", OK if found else NONE, told, "" if found else "handbench train METHOD")


def _disk() -> Check:
    places = {_existing(files.data_dir()), _existing(files.runs_dir())}
    free = {place: shutil.disk_usage(place).free for place in sorted(places)}
    told = ", ".join(f"{size / 1e9:.0f} GB at {place}" for place, size in free.items())
    little = min(free.values()) < LEAST_FREE
    return Check("free disk", WARN if little else OK, told, f"{LEAST_FREE / 1e9:.0f} GB or more")


def _existing(path: Path) -> Path:
    """The nearest folder above that is there."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path
