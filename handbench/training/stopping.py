"""One process in a run's folder, and a way to stop it that loses nothing."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from handbench.errors import HandbenchError
from handbench.training.distributed import Team
from handbench.training.runs import Run


class Occupied(HandbenchError):
    """Another process is training in a run's folder."""


@contextmanager
def alone(run: Run, team: Team) -> Iterator[None]:
    """Hold the run's folder for this process or team. Raises Occupied when another one has it."""
    import fcntl

    if not team.first:
        yield
        return
    run.path.mkdir(parents=True, exist_ok=True)
    with open(run.path / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Occupied(f"another process is training in {run.path}") from error
        yield


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets, instead of ending the process at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {s: signal.signal(s, lambda *_: asked.set()) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
