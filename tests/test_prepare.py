"""The prepare driver: parts, workers, resuming after kills, full disks, options, command line."""

import errno
import fcntl
import json
import multiprocessing
import os
import random
import resource
import signal
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeReader

from handbench import registry
from handbench.cli import group
from handbench.errors import DataError, HandbenchError, UnknownName
from handbench.preparing import parts
from handbench.preparing.prepare import estimate, prepare
from handbench.preparing.readers import chosen_options, open_readers
from handbench.preparing.tasks import MOST_ROWS, divide
from handbench.records import SequencePlan
from handbench.store import open_split


def files_of(folder):
    return {path.name: path.read_bytes() for path in sorted(Path(folder).glob("fake/*/*"))}


def reader(**options):
    return FakeReader("train", sequences=4, rows=30, **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder and files of an uninterrupted run by one process."""
    folder = tmp_path_factory.mktemp("whole")
    prepare(reader(), folder)
    return folder, files_of(folder)


def plan_of(*rows):
    return [SequencePlan(f"s{i:03d}", "c", "r", n) for i, n in enumerate(rows)]


def test_parts_hold_whole_sequences_of_a_few_hundred_rows():
    tasks = divide(plan_of(*[100] * 100))
    assert all(256 <= task.rows <= MOST_ROWS for task in tasks[:-1])
    assert sum(task.rows for task in tasks) == 10_000
    long = divide(plan_of(300, 5000, 300))
    assert [task.rows for task in long] == [300, 5000, 300]
    assert len(divide(plan_of(*[10] * 60))) >= 6  # a small set keeps several processes busy
    assert [task.rows for task in divide(plan_of(40))] == [40]


def test_parts_do_not_depend_on_the_order_of_the_plan_and_limit_cuts_it():
    plan = plan_of(*range(5, 60))
    assert divide(plan) == divide(plan[::-1])
    assert sum(task.rows for task in divide(plan, 100)) == 100
    assert divide(plan, 10**6) == divide(plan)


def test_two_workers_write_the_same_bytes_as_one(whole, tmp_path):
    prepare(reader(), tmp_path, workers=2)
    assert files_of(tmp_path) == whole[1]
    assert len(whole[1]) > 3


def test_a_prepared_split_says_how_it_was_made(whole):
    split = open_split("fake/train", whole[0])
    assert len(split) == 4 * 2 * 26
    attributes = split.attributes
    assert attributes["joint_order"].startswith("wrist, thumb")
    assert attributes["label_rule"] == "released"
    assert set(json.loads(attributes["hand_model"])) == {"kind", "right", "left", "tip_ids"}
    assert json.loads(attributes["skipped"]) == {"made to fail": 32}
    assert json.loads(attributes["variety"]) == {"mean frame": split.columns["frame_number"].mean()}


def test_the_summary_counts_what_is_there_missing_and_skipped(whole):
    again = prepare(reader(), whole[0])
    assert (again.made, again.rows, again.missing, again.skipped) == (
        0, 208, 3, {"made to fail": 32},
    )  # fmt: skip
    text = "\n".join(again.lines())
    assert "missing in the raw folder: 3 of 99 expected" in text
    assert "skipped 32: 32 made to fail" in text
    assert json.loads(json.dumps(again.as_json(), allow_nan=False))["parts"] == again.parts
    assert files_of(whole[0]) == whole[1]


def test_labels_are_drawn_and_their_balance_is_said(tmp_path):
    summary = prepare(FakeReader("train", sequences=1, rows=3, scenes=True), tmp_path)
    split = open_split("fake/train", tmp_path)
    assert (split.columns["right/visibility/source"] == 1).all()
    assert (split.columns["left/visibility/source"] == 0).all()
    assert split.columns["right/visibility/scene/hand"].min() > 0.9
    shown = split.segmentation(0)
    box = split.columns["right/box_visible_px"][0]
    ys, xs = np.nonzero(shown == 1)
    assert box.tolist() == [xs.min() - 0.5, ys.min() - 0.5, np.ptp(xs) + 1, np.ptp(ys) + 1]
    assert summary.labels["rows"] == 6
    text = "\n".join(summary.lines())
    assert "occluded by rule paper" in text
    assert "the rules agree on" in text


def begin(folder, workers):
    os.setsid()
    prepare(reader(pause=0.002), folder, workers)


def session_of(pid):
    """Processes of the session that a killed leader has left behind."""
    left = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, *fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == pid and state != "Z":
            left.append(int(entry.parent.name))
    return left


def kill_often(folder, expected, kills, workers, seed):
    """Start, kill -9 at a random moment, start again …; whatever is there must be right.

    The clock starts with the first file of this turn, half of the times with the folder.
    """
    draws, done, sealed_at_kill = random.Random(seed), 0, []
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["numpy", "numba", "h5py", "cv2"])
    for turn in range(kills):
        place = folder / str(turn)
        while done < kills and not (place / "fake/train/index.h5").exists():
            child = context.Process(target=begin, args=(place, workers))
            before = set(files_of(place))
            child.start()
            pattern = draws.choice(["fake/train", "fake/train/*part*"])
            while child.exitcode is None and {path.name for path in place.glob(pattern)} <= before:
                child.join(0.002)
            child.join(draws.uniform(0, 0.4))
            if child.exitcode is None:
                os.kill(child.pid, signal.SIGKILL)
                child.join()
                done += 1
            deadline = time.monotonic() + 10
            while session_of(child.pid) and time.monotonic() < deadline:
                time.sleep(0.02)
            assert not session_of(child.pid), "a worker outlived its parent"
            sealed = {k: v for k, v in files_of(place).items() if not k.endswith(".partial")}
            assert sealed.items() <= expected.items()
            sealed_at_kill.append(len(sealed))
        prepare(reader(), place)
        assert files_of(place) == expected
        if done >= kills:
            break
    assert len(set(sealed_at_kill)) > 1, "every kill came at the same moment"


def test_kill_nine_at_any_moment_changes_nothing(whole, tmp_path):
    kill_often(tmp_path / "one", whole[1], kills=8, workers=1, seed=1)
    kill_often(tmp_path / "two", whole[1], kills=3, workers=2, seed=2)


@pytest.mark.slow
def test_kill_nine_thirty_more_times(whole, tmp_path):
    kill_often(tmp_path / "one", whole[1], kills=20, workers=1, seed=3)
    kill_often(tmp_path / "two", whole[1], kills=10, workers=2, seed=4)


@contextmanager
def largest_file(size):
    """The system lets no file grow beyond size: what a full disk does, but for the error number."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [0, 1000, 60_000, 150_000])
def test_a_write_that_fails_leaves_nothing_half_written(whole, tmp_path, size):
    with largest_file(size), pytest.raises(OSError, match="File too large") as caught:
        prepare(reader(), tmp_path)
    assert caught.value.errno == errno.EFBIG
    assert str(caught.value.filename).endswith("part-00000.h5")
    assert files_of(tmp_path) == {}
    prepare(reader(), tmp_path)
    (tmp_path / "fake/train/index.h5").unlink()
    with largest_file(size // 10), pytest.raises(OSError, match="File too large"):
        prepare(reader(), tmp_path)
    assert files_of(tmp_path) == {k: v for k, v in whole[1].items() if k != "index.h5"}
    prepare(reader(), tmp_path)
    assert files_of(tmp_path) == whole[1]


def test_a_disk_that_fills_up_under_workers_keeps_the_finished_parts(whole, tmp_path):
    with pytest.raises(OSError, match="No space left") as caught:
        prepare(FullDisk("train", sequences=4, rows=30), tmp_path, workers=2)
    assert caught.value.errno == errno.ENOSPC
    assert files_of(tmp_path).items() < whole[1].items()
    prepare(reader(), tmp_path)
    assert files_of(tmp_path) == whole[1]


class FullDisk(FakeReader):
    """Its process finds the disk full from the third sequence on."""

    def frames(self, plan):
        if plan.key >= 2:
            parts._Sink.write = fail_to_write
        yield from super().frames(plan)


def fail_to_write(sink, data):
    sink.failure = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return len(data)


def test_other_options_are_refused_and_force_makes_all_anew(whole, tmp_path):
    prepare(reader(), tmp_path, options={"shape": "round"})
    with pytest.raises(DataError, match="shape round, now square.*--force"):
        prepare(reader(), tmp_path, options={"shape": "square"})
    with pytest.raises(DataError, match="limit default, now 10"):
        prepare(reader(), tmp_path, options={"shape": "round"}, limit=10)
    with pytest.raises(DataError, match="dataset_version"):
        prepare(reader(version="2"), tmp_path, options={"shape": "round"})
    prepare(reader(), tmp_path, force=True)
    assert files_of(tmp_path) == whole[1]


def test_limit_takes_the_first_rows(whole, tmp_path):
    summary = prepare(reader(skip=0), tmp_path, limit=35)
    split = open_split("fake/train", tmp_path)
    assert summary.rows == len(split) == 35
    assert set(split.tables["cameras"]) == {"a", "b"}
    assert set(split.tables["sequences"]) == {"take0"}


def test_a_broken_part_is_made_again_and_an_alien_file_is_not_taken_for_one(whole, tmp_path):
    prepare(reader(), tmp_path)
    part = tmp_path / "fake/train/part-00001.h5"
    for content in (part.read_bytes()[:-50], b"something else"):
        part.write_bytes(content)
        prepare(reader(), tmp_path)
        assert files_of(tmp_path) == whole[1]


def test_two_at_once_exclude_each_other_but_shards_work_together(whole, tmp_path):
    folder = tmp_path / "fake/train"
    folder.mkdir(parents=True)
    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(DataError, match="being prepared by another process"):
        prepare(reader(), tmp_path)
    fcntl.flock(handle, fcntl.LOCK_SH)
    assert prepare(reader(), tmp_path, shard=(2, 2)) is None
    assert "index.h5" not in files_of(tmp_path)
    assert prepare(reader(), tmp_path, shard=(1, 2)).rows == 208
    os.close(handle)
    assert files_of(tmp_path) == whole[1]


def test_errors_of_a_reader_come_back_from_workers_as_one_line(tmp_path):
    with pytest.raises(DataError, match="no camera 'x'"):
        prepare(Failing("train", sequences=4, rows=30), tmp_path, workers=2)
    with pytest.raises(DataError, match="no frame could be used .60 made to fail."):
        prepare(FakeReader("train", sequences=1, rows=30, skip=1), tmp_path / "none")
    # what was of no use is read again by the same command: the files may have been mended
    assert not any((tmp_path / "none/fake/train").iterdir())


class Failing(FakeReader):
    def frames(self, plan):
        yield from super().frames(plan)
        raise UnknownName("camera", "x", ["a", "b"])


def test_a_dry_run_says_rows_bytes_hours_and_writes_nothing(whole, tmp_path):
    found = estimate(reader(), tmp_path / "x", workers=2)
    assert found.rows == 240
    size = sum(len(content) for content in whole[1].values()) / 208 * 240
    assert found.bytes == pytest.approx(size, rel=0.25)
    assert found.hours > 0
    assert "240 frames" in next(found.lines())
    assert not (tmp_path / "x").exists()


def run(*words):
    """The command line's exit with its error, through the group that the console calls."""
    return group.main([*map(str, words)], prog_name="handbench", standalone_mode=False)


@pytest.fixture
def fake(monkeypatch):
    known = registry.table
    monkeypatch.setattr(registry, "table", lambda kind: {**known(kind), "fake": "fakes:FakeReader"})


def test_the_command_prepares_all_splits_and_prints_json(fake, tmp_path, capsys):
    run("prepare", "fake", "--out", tmp_path, "-o", "rows=5", "-o", "sequences=2", "--json",
        "--workers", 1)  # fmt: skip
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert [each["name"] for each in found["splits"]] == ["fake/train", "fake/test"]
    assert len(open_split("fake/test", tmp_path)) == 20
    assert "fake/test" in shown.err
    run("prepare", "fake", "--out", tmp_path / "dry", "--dry-run", "--split", "train")
    assert not (tmp_path / "dry").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fkae"], "no data set 'fkae'; did you mean 'fake'"),
        (["fake", "--split", "tain"], "no split of fake 'tain'; did you mean 'train'"),
        (["fake", "-o", "row=5"], "no option of fake 'row'; did you mean 'rows'"),
        (["fake", "-o", "rows=many"], "-o rows=many: give a whole number"),
        (["fake", "-o", "rows"], "write it as KEY=VALUE"),
        (["fake", "--fps", "30"], "fake takes no --fps"),
        (["fake", "--raw", "x"], "fake is made here and takes no --raw"),
        (["interhand26m"], "interhand26m needs --raw DIR"),
        (["interhand26m", "--raw", "nowhere"], "nowhere is not a folder"),
    ],
)
def test_bad_words_are_one_line(fake, tmp_path, words, message):
    with pytest.raises(HandbenchError, match=message) as caught:
        run("prepare", *words, "--out", tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_options_take_the_type_of_their_default_and_a_prefix_stands_for_its_splits():
    options = chosen_options(FakeReader, ["pause=0.5", "scenes=true"], {"side": None}, strict=True)
    assert options == {"pause": 0.5, "scenes": True}

    class Grouped(FakeReader):
        splits = ("s0_train", "s0_test", "s1_train")

    assert [each.split for each in open_readers(Grouped, ["s0"], None, {})] == [
        "s0_train",
        "s0_test",
    ]
