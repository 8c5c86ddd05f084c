"""log.csv of a run: one row now and then, cut back to the checkpoint when a run resumes."""

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from handbench.errors import MissingPackage
from handbench.files import write_text
from handbench.training.runs import Run


class Logbook:
    """Appends rows to log.csv; columns come from the first row, later rows may leave some out.

    Rows of steps after `step` are dropped first: they will come again.
    """

    def __init__(self, path: Path, step: int) -> None:
        self.path, self.columns = path, list[str]()
        kept = []
        if path.is_file() and step:
            text = path.read_text(encoding="utf-8", errors="replace")
            reader = csv.DictReader(text[: text.rfind("\n") + 1].splitlines())  # whole lines
            if "step" in (reader.fieldnames or []):
                self.columns = list(reader.fieldnames or [])
                kept = [row for row in reader if (row["step"] or "x").isdigit()]
        lines = [",".join(self.columns)] if self.columns else []
        for row in kept:
            if int(row["step"]) <= step and None not in row.values():
                lines.append(",".join(row[name] for name in self.columns))
        write_text(path, "".join(line + "\n" for line in lines))
        self.file = open(path, "a", newline="", encoding="utf-8")  # noqa: SIM115

    def __enter__(self) -> "Logbook":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.file.close()

    def add(self, row: dict[str, Any]) -> None:
        if not self.columns:
            self.columns = list(row)
            self.file.write(",".join(self.columns) + "\n")
        values = [row.get(name, "") for name in self.columns]
        self.file.write(",".join(f"{v:.6g}" if isinstance(v, float) else str(v) for v in values))
        self.file.write("\n")
        self.file.flush()


@contextmanager
def following(
    run: Run, step: int, tensorboard: bool = False, writes: bool = True
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yields note(row), which adds a row to log.csv and, where asked for, to TensorBoard's files.

    Raises MissingPackage for tensorboard.
    """
    if not writes:
        yield lambda row: None
        return
    board = event_files(run.path / "tensorboard", step) if tensorboard else None
    with Logbook(run.log, step) as log:

        def note(row: dict[str, Any]) -> None:
            log.add(row)
            if board is None:
                return
            for name, value in row.items():
                if name != "step" and value != "":
                    board.add_scalar(name, value, row["step"])

        try:
            yield note
        finally:
            if board:
                board.close()


def event_files(folder: Path, step: int) -> Any:
    """TensorBoard's writer; what it has of steps after `step` is hidden. Raises MissingPackage."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingPackage("tensorboard", "tensorboard", "--tensorboard") from error
    return SummaryWriter(str(folder), purge_step=step + 1)
