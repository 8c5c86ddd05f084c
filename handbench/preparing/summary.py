"""What `handbench prepare` says: what is there now, or (dry run) what there would be."""

import json
import math
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from textwrap import wrap
from typing import Any

from handbench.console import amount
from handbench.frames import FINGERS
from handbench.preparing.tasks import Job, Task
from handbench.schema import row_bytes
from handbench.store import Split

SAMPLE_SECONDS = 4.0
SAMPLE_FRAMES = 8
RARE = 20  # times the usual: a frame that cost more did something once for all
PART_BYTES = 50_000  # HDF5's headers of some 80 datasets


@dataclass(frozen=True)
class Summary:
    """A prepared split in numbers. made: rows of this run; seconds: of this run."""

    name: str
    folder: str
    rows: int
    hands: int
    parts: int
    bytes: int
    made: int
    seconds: float
    skipped: Mapping[str, int]
    missing: int
    expected: int
    labels: Mapping[str, Any]
    variety: Mapping[str, Any]

    @classmethod
    def of(cls, split: Split, made: int, seconds: float) -> "Summary":
        """The numbers of a split, after a run that made so many rows."""
        attributes = split.attributes
        paths = [*split.columns.parts, split.folder / "index.h5"]
        return cls(
            name=split.name,
            folder=str(split.folder),
            rows=len(split),
            hands=len(split.hands.row),
            parts=len(split.columns.parts),
            bytes=sum(path.stat().st_size for path in paths),
            made=made,
            seconds=round(seconds, 3),
            skipped=json.loads(attributes["skipped"]),
            missing=int(attributes["missing"]),
            expected=int(attributes.get("expected", -1)),
            labels=json.loads(attributes["labels"]),
            variety=json.loads(attributes.get("variety", "{}")),
        )

    def as_json(self) -> dict[str, Any]:
        return finite(asdict(self))

    def lines(self) -> Iterator[str]:
        """For people: one line of facts, then what is missing, skipped, and how labels fall."""
        size = f"{amount(self.rows, 'frame')} · {amount(self.hands, 'hand')}"
        size += f" · {megabytes(self.bytes)}"
        if self.made:
            rate = self.made / max(self.seconds, 1e-9)
            yield f"prepare   {self.name:<20} {size} · {self.seconds:.0f} s ({rate:,.0f} frames/s)"
        else:
            yield f"prepare   {self.name:<20} {size} · was already there (--force makes it anew)"
        if self.missing:
            of = f" of {self.expected:,} expected" if self.expected > 0 else ""
            yield f"          missing in the raw folder: {self.missing:,}{of}; the rest is prepared"
        if self.skipped:
            reasons = ", ".join(f"{count:,} {why}" for why, count in sorted(self.skipped.items()))
            yield f"          skipped {sum(self.skipped.values()):,}: {reasons}"
        yield from label_lines(self.labels)
        facts = (
            f"{name.replace('_', ' ')} {_plain(value)}" for name, value in self.variety.items()
        )
        yield from wrap(" · ".join(facts), 110, initial_indent=" " * 10, subsequent_indent=" " * 10)


def label_lines(labels: Mapping[str, Any]) -> Iterator[str]:
    """Both label rules' class balance, their agreement, and hands per occlusion level."""
    if not labels:
        return
    for rule, shares in labels["rules"].items():
        fingers = " ".join(
            f"{name} {_percent(share)}" for name, share in zip(FINGERS, shares["fingers_occluded"])
        )
        hands = _percent(shares["hands_occluded"])
        yield f"          occluded by rule {rule}: {fingers} · hands {hands}"
    agreement = labels["agreement"]
    levels = " · ".join(f"{name} % {count:,}" for name, count in labels["levels"].items())
    yield (
        f"          the rules agree on {_percent(agreement['fingers'])} of fingers and "
        f"{_percent(agreement['hands'])} of hands · hands by level: {levels}"
    )


@dataclass(frozen=True)
class Estimate:
    """What preparing a split would take: rows, bytes, hours with so many workers, free bytes."""

    name: str
    rows: int
    parts: int
    bytes: int
    hours: float
    workers: int
    free_bytes: int
    missing: int

    @classmethod
    def measure(
        cls, name: str, job: Job, tasks: Sequence[Task], workers: int, root: Path
    ) -> "Estimate":
        """Read and label a handful of frames from the first, middle and last parts."""
        chosen = {0, len(tasks) // 2, len(tasks) - 1}
        frames = (
            frame
            for number in sorted(chosen)
            for frame in islice(job.frames(tasks[number]), SAMPLE_FRAMES)
        )
        sizes, spent = [], []
        deadline = time.monotonic() + SAMPLE_SECONDS
        start = time.perf_counter()
        for frame in frames:
            labels, drawn = job.label(frame)
            picture, _ = job.pictures.keep(frame, labels)
            segmentation = drawn or frame.segmentation or b""
            sizes.append(len(picture) + len(segmentation) + row_bytes())
            spent.append(time.perf_counter() - start)
            if time.monotonic() > deadline:
                break
            start = time.perf_counter()
        rows = sum(task.rows for task in tasks)
        # frames that first compile code or open files say nothing of a million others
        middle = sorted(spent or [0.0])[len(spent) // 2]
        typical = [each for each in spent[1:] if each <= RARE * middle] or [middle]
        seconds = sum(typical) / len(typical)
        there = root
        while not there.exists():
            there = there.parent
        return cls(
            name=name,
            rows=rows,
            parts=len(tasks),
            bytes=round(rows * sum(sizes) / max(len(sizes), 1)) + PART_BYTES * len(tasks),
            hours=rows * seconds / min(workers, len(tasks)) / 3600,
            workers=workers,
            free_bytes=shutil.disk_usage(there).free,
            missing=int(job.attributes["missing"]),
        )

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> Iterator[str]:
        """The estimate as text, and what the raw folder lacks."""
        minutes = self.hours * 60
        time_text = f"{self.hours:.1f} h" if self.hours >= 1 else f"{max(minutes, 0.1):.1f} min"
        yield (
            f"{self.name}: {amount(self.rows, 'frame')} → {megabytes(self.bytes)} in "
            f"{amount(self.parts, 'part')} · about {time_text} with "
            f"{amount(self.workers, 'worker')} · {megabytes(self.free_bytes)} free"
        )
        if self.missing:
            yield f"{self.name}: the raw folder lacks {amount(self.missing, 'expected image')}"


def megabytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def finite(value: Any) -> Any:
    """NaN as None, for strict JSON."""
    if isinstance(value, Mapping):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _percent(share: float | None) -> str:
    return "–" if share is None or math.isnan(share) else f"{100 * share:.0f} %"


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(each)}" for name, each in value.items())
    if isinstance(value, list):
        return " ".join(_plain(each) for each in value)
    return f"{value:.3g}" if isinstance(value, float) else str(value)
