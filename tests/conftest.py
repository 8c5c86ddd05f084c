"""Keep the checkout's own folder off sys.path: `import datasets` must not find our folder."""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != ROOT]
SHARED = ROOT.parent / "shared"

os.environ.setdefault("OMP_NUM_THREADS", "1")
for name in [name for name in os.environ if name.startswith("HANDBENCH_")]:
    del os.environ[name]  # a user's own data and MANO files play no part in tests


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with specs and fixtures beside the checkout, where there is one."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared folder beside this checkout")
    return SHARED


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with small/train, small/val and small/test: hands of both sides."""
    from small_split import Small

    from handbench.preparing.prepare import prepare

    folder = tmp_path_factory.mktemp("small-data")
    for split in Small.splits:
        prepare(Small(split), folder)
    return folder


@pytest.fixture
def no_mano(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hands are the open ones whatever $HANDBENCH_MANO says outside."""
    monkeypatch.delenv("HANDBENCH_MANO", raising=False)


@pytest.fixture
def toy_places(monkeypatch: pytest.MonkeyPatch, small_data: Path, tmp_path: Path) -> None:
    """The small data, an empty folder of runs, and the methods `toy` and `oracle` by name."""
    import handbench.methods

    monkeypatch.setenv("HANDBENCH_DATA", str(small_data))
    monkeypatch.setenv("HANDBENCH_RUNS", str(tmp_path / "runs"))
    for name, address in {"toy": "toy_method:Toy", "oracle": "toy_method:Oracle"}.items():
        monkeypatch.setitem(handbench.methods.TABLE, name, address)
