"""Where things lie, and writing files so that a reader never sees half of one."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from handbench.errors import DataError


def data_dir(given: str | Path | None = None) -> Path:
    """Folder of prepared data: the given one, else $HANDBENCH_DATA, else ./data."""
    return Path(given or os.environ.get("HANDBENCH_DATA") or "data").expanduser()


def runs_dir() -> Path:
    """Folder of training runs: $HANDBENCH_RUNS, else ./results/runs."""
    return Path(os.environ.get("HANDBENCH_RUNS") or "results/runs").expanduser()


def mano_dir() -> Path | None:
    """Folder with the user's MANO_RIGHT.pkl and MANO_LEFT.pkl, or None."""
    given = os.environ.get("HANDBENCH_MANO")
    return Path(given).expanduser() if given else None


def document(name: str) -> str:
    """The path of a page of the documentation, such as `metrics.md`: in the installed package, else
    in the checkout; relative to the current folder where it lies below that."""
    package = Path(__file__).parent
    root = next((each for each in (package, package.parent) if (each / "docs").is_dir()), package)
    path = root / "docs" / name
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary name beside path; renamed to path when the block ends well, else removed."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise DataError(
            f"cannot make the folder {path.parent}: a file stands in its way; "
            "give another place or move that file"
        ) from error
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    mask = os.umask(0)
    os.umask(mask)
    temporary.chmod(0o666 & ~mask)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """UTF-8 text, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: str | Path, data: bytes) -> None:
    """Bytes, atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: str | Path, value: Any) -> None:
    """Strict JSON (no NaN: pass None), indented, newline at the end."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Raises DataError naming the file when it is missing or not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path} is not JSON ({error}): was it cut short?") from error


def read_npz(path: str | Path) -> dict[str, Any]:
    """Arrays by name. Raises DataError naming the file when it is missing, cut short or foreign."""
    import zipfile
    import zlib

    import numpy as np

    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("not an .npz" if Path(path).is_file() else "it does not exist")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} cannot be read as .npz of plain arrays ({error})") from error


def sha256(path: str | Path) -> str:
    """Hex digest of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
