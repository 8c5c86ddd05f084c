"""Making the parts of a split on the workers of a Dask cluster that is already running.

The folders of raw data and of the split must be the same for all of them, as on shared storage.
Who makes a part does not change its bytes, so the result is that of a single process.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import cv2

from handbench.errors import DataError, HandbenchError, MissingPackage
from handbench.preparing.tasks import Job, Task

PATIENCE_S = 5


def run_on(address: str, job: Job, tasks: Sequence[Task], advance: Callable[..., None]) -> None:
    """Make the parts on the cluster at address (tcp://HOST:PORT); advance(steps) reports rows.

    A worker that is lost gives its parts to the others. Raises MissingPackage, DataError.
    """
    try:
        from distributed import Client, as_completed
    except ImportError:
        raise MissingPackage("dask.distributed", "scale", "--scheduler") from None
    if not tasks:
        return
    try:
        client = Client(address, timeout=PATIENCE_S)
    except (OSError, ValueError) as error:
        raise DataError(
            f"--scheduler {address}: no Dask scheduler answers there ({error}); give the address "
            "that dask scheduler prints, like tcp://HOST:8786"
        ) from error
    with client:
        if not client.scheduler_info()["workers"]:
            raise DataError(f"--scheduler {address} has no workers: start some with dask worker")
        shared = client.scatter(replace(job, folder=job.folder.absolute()), hash=False)
        futures = [client.submit(_make, shared, task, pure=False) for task in tasks]
        try:
            for future in as_completed(futures):
                rows, failure = future.result()
                if failure:
                    raise DataError(failure)
                advance(rows)
        finally:
            client.cancel(futures)


def _make(job: Job, task: Task) -> tuple[int, str]:
    """Rows made and what went wrong: errors of ours do not all survive the way back."""
    cv2.setNumThreads(1)
    try:
        job.make(task, _nothing)
    except HandbenchError as error:
        return 0, str(error)
    return task.rows, ""


def _nothing(*_: Any) -> None:
    pass
