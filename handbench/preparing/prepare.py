"""The prepare driver: a reader's frames -> part files with labels, then the index.

Every part is the work of one process and appears under its name when it is whole, so a run that
was stopped at any moment goes on with the parts that are missing, and ends with the same bytes.
"""

import fcntl
import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from handbench import __version__, files
from handbench.console import progress, say
from handbench.errors import DataError
from handbench.hand import Hand
from handbench.preparing.cluster import run_on
from handbench.preparing.index import build
from handbench.preparing.pictures import AS_SHIPPED, WHOLE, Pictures
from handbench.preparing.summary import Estimate, Summary, finite
from handbench.preparing.tasks import Job, Task, divide, hands_of, run
from handbench.rules import DEFAULT, balance
from handbench.schema import CAMERA_FRAME, SIDES
from handbench.store import Columns, command, open_split, read_attributes, reading

JOINT_ORDER = "wrist, thumb 1-4, index 1-4, middle 1-4, ring 1-4, little 1-4; base to tip"


def prepare(
    reader: Any,
    out_dir: str | Path | None = None,
    workers: int = 1,
    limit: int | None = None,
    force: bool | str = False,
    options: Mapping[str, Any] | None = None,
    shard: tuple[int, int] = (1, 1),
    store_verts: bool = False,
    pictures: Pictures = AS_SHIPPED,
    scheduler: str | None = None,
) -> Summary | None:
    """Write OUT_DIR/NAME/SPLIT; what an earlier run with the same options finished is kept.

    reader: see docs/design.md. limit: only the first so many rows of the plan. force: make all of
    it anew; "labels": all but the pictures, which stay as they are stored. options: what the
    reader was made with; kept in the files, and not to be changed between runs. shard (i, n): only
    every n-th part from the i-th on, for job arrays; whoever finds all parts there writes the
    index, and None is returned before. store_verts: keep the vertices of meshes too, which readers
    of data sets that ship them always do (ships_verts). pictures: how they are stored. scheduler:
    address of a Dask scheduler whose workers make the parts, in place of workers here. Raises
    DataError, and OSError when the disk is full.
    """
    root = files.data_dir(out_dir)
    name = f"{reader.name}/{reader.split}"
    started = time.monotonic()
    tasks = _tasks(reader, name, limit)
    verts = store_verts or getattr(reader, "ships_verts", False)
    recorded = {**(options or {}), "limit": limit, "store_verts": verts}
    if pictures != AS_SHIPPED:
        recorded |= asdict(pictures)
    job = _job(reader, root / name, tasks, recorded, verts, pictures, force == "labels")
    advice = command(name, root)
    alone = shard[1] == 1
    if not alone and (force or scheduler):
        what = "--force" if force else "--scheduler"
        raise DataError(f"{what} and --shard exclude each other")
    with _locked(job.folder, alone):
        todo = _resume(job, tasks, force, alone, advice)
        if not todo and (job.folder / "index.h5").exists():
            return Summary.of(open_split(name, root), 0, 0.0)
        own = [task for task in todo if task.number % shard[1] == shard[0] - 1]
        (job.folder / "index.h5").unlink(missing_ok=True)
        with progress(f"prepare   {name}", _rows(own), "frames") as advance:
            if scheduler is not None:
                run_on(scheduler, job, own, advance)
            else:
                run(job, own, workers, advance)
        if any(not (job.folder / task.name).exists() for task in todo):
            return None
        _write_index(job, tasks, advice)
    return Summary.of(open_split(name, root), _rows(own), time.monotonic() - started)


def estimate(
    reader: Any,
    out_dir: str | Path | None = None,
    workers: int = 1,
    limit: int | None = None,
    pictures: Pictures = AS_SHIPPED,
) -> Estimate:
    """Rows, bytes and hours of preparing, from a handful of frames; writes nothing."""
    root = files.data_dir(out_dir)
    name = f"{reader.name}/{reader.split}"
    tasks = _tasks(reader, name, limit)
    job = _job(reader, root / name, tasks, {}, pictures=pictures)
    return Estimate.measure(name, job, tasks, workers, root)


def _rows(tasks: Sequence[Task]) -> int:
    return sum(task.rows for task in tasks)


def _tasks(reader: Any, name: str, limit: int | None) -> list[Task]:
    if limit is not None and limit < 1:
        raise DataError(f"--limit {limit}: give 1 or more")
    tasks = divide(reader.plan(), limit)
    if not tasks:
        raise DataError(f"{name}: the raw folder holds no frame of it")
    return tasks


def _job(
    reader: Any,
    folder: Path,
    tasks: Sequence[Task],
    options: Mapping[str, Any],
    store_verts: bool = False,
    pictures: Pictures = AS_SHIPPED,
    keep: bool = False,
) -> Job:
    """The reader with its hands, and the attributes that all files of the split carry.

    `plan` is a digest of everything that decides the files' bytes but the code itself.
    """
    hands = hands_of(reader)
    attributes = {
        "unit": "m",
        "frame": CAMERA_FRAME,
        "joint_order": JOINT_ORDER,
        "pose_mean": "included",
        "hand_model": {
            "kind": hands[0].kind,
            "tip_ids": hands[0].tip_ids.tolist(),
            **{side: hand.sha256 for side, hand in zip(SIDES, hands)},
        },
        "label_rule": DEFAULT,
        "label_threshold": 30,
        "missing": 0,
        **reader.attributes(),
        "dataset": reader.name,
        "split": reader.split,
        "options": dict(options),
        **({} if pictures == AS_SHIPPED else {"pictures": pictures.kind}),
    }
    digest = hashlib.sha256()
    for value in (attributes, [task.describe() for task in tasks]):
        digest.update(json.dumps(value, sort_keys=True, default=str).encode())
    own_attributes = {"handbench": __version__, "plan": digest.hexdigest()}
    return Job(reader, folder, {**attributes, **own_attributes}, store_verts, pictures, keep)


@contextmanager
def _locked(folder: Path, alone: bool) -> Iterator[None]:
    """The split's folder, made if need be; held alone or with other shards until this ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise DataError(f"cannot make the folder {folder}: a file stands in its way") from None
    except OSError as error:
        raise DataError(
            f"cannot make the folder {folder} ({error.strerror}): --out DIR names another place"
        ) from None
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise DataError(f"{folder} is being prepared by another process: let it end") from None
    except OSError:
        pass  # a file system without locks: names of unfinished files are unique anyway
    try:
        yield
    finally:
        os.close(handle)


def _resume(
    job: Job, tasks: Sequence[Task], force: bool | str, alone: bool, advice: str
) -> list[Task]:
    """The tasks still to do; removes what is unfinished, broken or, with force, everything.

    Raises DataError when what is there was prepared with other options or from other raw files.
    """
    for partial in job.folder.glob(".*.partial") if alone else ():
        partial.unlink(missing_ok=True)
    if force == "labels":
        _check_pictures(job, tasks, advice)
        return list(tasks)
    for path in sorted(job.folder.glob("index.h5")) + sorted(job.folder.glob("part-*.h5")):
        if force:
            path.unlink()
            continue
        try:
            with reading(path, advice) as file:
                found = read_attributes(file)
        except DataError:
            say(f"{path} is broken: it is made again")
            path.unlink()
            continue
        if found.get("plan") != job.attributes["plan"]:
            raise DataError(
                f"{job.folder} was prepared otherwise ({_difference(found, job.attributes)}): "
                "--force makes it anew, --force labels all but its pictures; "
                "--out DIR puts this one elsewhere"
            )
    return [task for task in tasks if not (job.folder / task.name).exists()]


def _check_pictures(job: Job, tasks: Sequence[Task], advice: str) -> None:
    """For new labels the parts of old pictures must be there, stored as asked now."""
    parts = sorted(job.folder.glob("part-*.h5"))
    if [path.name for path in parts] != [task.name for task in tasks]:
        raise DataError(
            f"{job.folder} has {len(parts)} parts, the raw folder gives {len(tasks)}: --force "
            "labels needs the finished split of the same frames; prepare it first"
        )
    with reading(parts[0], advice) as file:
        stored = read_attributes(file).get("pictures", WHOLE)
    wanted = job.attributes.get("pictures", WHOLE)
    if stored != wanted:
        raise DataError(
            f"{job.folder} has pictures '{stored}', asked for are '{wanted}': give "
            "--crop and --reencode as they were, or --force alone to make it anew"
        )


def _difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    before, now = json.loads(found.get("options", "{}")), wanted["options"]
    changed = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
    if changed:
        return ", ".join(
            f"{key} {before.get(key) or 'default'}, now {now.get(key) or 'default'}"
            for key in changed
        )
    keys = [key for key in wanted if key in found and _text(found[key]) != _text(wanted[key])]
    return ", ".join(key for key in keys if key != "plan") or "other raw files"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _write_index(job: Job, tasks: Sequence[Task], advice: str) -> None:
    index = build([job.folder / task.name for task in tasks], advice)
    skipped: Counter[str] = Counter()
    for path in index.parts:
        with reading(path, advice) as file:
            skipped.update(json.loads(file.attrs["skipped"]))
    if not len(index.part):
        for path in index.parts:  # else the same command would not look at mended files
            path.unlink()
        reasons = ", ".join(f"{count} {reason}" for reason, count in skipped.items())
        raise DataError(
            f"{job.folder}: no frame could be used ({reasons or 'the reader gave none'})"
        )
    attributes = {**job.attributes, "skipped": dict(skipped)}
    attributes["labels"] = _balance(index.columns, job.hands[0])
    if hasattr(job.reader, "summary"):
        attributes["variety"] = job.reader.summary(index.columns)
    objects = job.reader.objects() if hasattr(job.reader, "objects") else {}
    index.write(job.folder / "index.h5", attributes, objects)


def _balance(columns: Columns, hand: Hand) -> dict[str, Any]:
    """How both label rules divide the annotated hands, and how far they agree."""
    labelled = [
        (columns[f"{side}/visibility/source"] > 0) & (columns[f"{side}/present"] == 1)
        for side in SIDES
    ]
    if not any(mask.any() for mask in labelled):
        return {}
    counts, shares = (
        np.concatenate(
            [
                columns[f"{side}/visibility/scene/{name}"][mask]
                for side, mask in zip(SIDES, labelled)
            ]
        )
        for name in ("finger_count", "hand")
    )
    return finite(balance(counts, shares, hand.part_sizes))
