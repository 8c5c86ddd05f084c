"""Round trip of every column, images by one read, pickling, and files that are not whole."""

import multiprocessing
import os
import pickle
import shutil
import threading
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from fakes import SIZE, FakeReader

from handbench import store
from handbench.errors import DataError, ShapeError, UnknownName
from handbench.preparing.index import build
from handbench.preparing.parts import Part
from handbench.records import Frame, HandLabels, HandRecord
from handbench.schema import COLUMNS, HAND_COLUMNS, IMAGE_COLUMNS, TABLES, extra_column
from handbench.store import Split, open_split


def split_of(folder, *groups, name="fake/test"):
    """A split with one part for each group of frames or (frame, labels)."""
    dataset, _, split = name.partition("/")
    paths = []
    for number, group in enumerate(groups):
        part = Part(len(group), store_verts=True)
        for row in group:
            part.add(*row) if isinstance(row, tuple) else part.add(row)
        paths.append(folder / name / f"part-{number:05d}.h5")
        part.write(paths[-1], {"dataset": dataset, "split": split})
    build(paths, "prepare").write(folder / name / "index.h5", {"dataset": dataset})
    return open_split(name, folder)


def all_frames(reader):
    return [frame for plan in reader.plan() for frame in reader.frames(plan)]


@pytest.fixture(scope="module")
def reader():
    return FakeReader("test", sequences=3, rows=9)


@pytest.fixture(scope="module")
def split(reader, tmp_path_factory):
    frames = all_frames(reader)
    # parts against the order of the rows: the index has to sort
    return split_of(tmp_path_factory.mktemp("store"), frames[20:], frames[:5], frames[5:20])


def random_labels(seed):
    random = np.random.default_rng(seed)
    counts = random.integers(0, 90, (2, 6)).astype(np.int16)
    return HandLabels(
        random.random(778) < 0.5, counts[0], 0.75, random.random(778) < 0.5, counts[1], 0.25,
        np.array([0, 1, 2, 3, 4], np.uint8), np.array([1, 2, 3, 4], np.float32), 3,
    )  # fmt: skip


def bare_frame(**more):
    return Frame(
        "fake/test/s/c/1", "s", "c", "r", 1, 0, b"", "", (8, 6), np.eye(3), **more
    )  # fmt: skip


def test_rows_come_in_bytewise_order_of_sequence_camera_and_number(reader, split):
    frames = sorted(all_frames(reader), key=lambda f: (f.sequence, f.camera, f.frame_number))
    assert split.columns["id"].tolist() == [frame.id for frame in frames]
    assert split.sequences["rows"].sum() == len(split)
    assert split.sequences["step"].tolist() == [1, 1, 1]
    assert split.sequences["first_row"].tolist() == [0, 16, 32]


def test_every_column_of_a_frame_comes_back(reader, split):
    frames = {frame.id: frame for frame in all_frames(reader)}
    checked = set()
    for row, name in enumerate(split.columns["id"]):
        frame = frames[name]
        for path, column in COLUMNS.items():
            if path not in split.columns or "visibility" in path:
                continue
            owner, _, field = path.rpartition("/")
            record = getattr(frame, owner) if owner else frame
            if record is None or not hasattr(record, field):
                continue
            value = getattr(record, field)
            if column.table:
                stored = split.tables[column.table][split.columns[path][row]]
                assert stored == value
            elif value is None:
                assert np.isnan(split.columns[path][row]).all()
            else:
                wanted = np.asarray(value, None if column.dtype == "text" else column.dtype)
                np.testing.assert_array_equal(split.columns[path][row], wanted, err_msg=path)
            checked.add(path)
    assert len(checked) == 16 + 2 * 13 + 2  # of an image, of each hand, of an object


def test_what_a_frame_does_not_know_is_missing_by_the_rules(tmp_path):
    joints = np.full((21, 3), np.nan)
    wrist_only = HandRecord(joints, np.zeros(21, np.uint8), joints[:, :2])
    split = split_of(tmp_path, [bare_frame(right=wrist_only)])
    for path, column in COLUMNS.items():
        if column.table or column.optional or path in ("right/present", "left/present"):
            continue
        if column.dtype == "text" or path in ("clip", "order", "frame_number", "image_size", "K"):
            continue
        value = split.columns[path] if path != "object/present" else np.array([255])
        wanted = np.full_like(value, column.missing)
        np.testing.assert_array_equal(value, wanted, err_msg=path)
    assert split.columns["left/present"] == 0
    assert split.columns["object/present"] == 0
    assert split.columns["object/name"] == -1
    assert "right/verts_m" not in split.columns
    assert split.segmentation(0) is None
    with pytest.raises(DataError, match="fake/test/s/c/1"):
        split.image(0)


def test_labels_come_back_with_finger_flags_by_the_released_rule(tmp_path):
    label = random_labels(1)
    split = split_of(
        tmp_path,
        [
            (bare_frame(), {"left": label}),
        ],
    )
    for where in ("alone", "scene"):
        bits = split.columns[f"left/visibility/{where}/vertex"][0]
        flags = np.unpackbits(bits, count=778).astype(bool)
        np.testing.assert_array_equal(flags, getattr(label, f"{where}_vertex"))
        counts = getattr(label, f"{where}_finger_count")
        np.testing.assert_array_equal(
            split.columns[f"left/visibility/{where}/finger"][0], counts[1:] >= 30
        )
        assert split.columns[f"left/visibility/{where}/hand"] == getattr(label, f"{where}_hand")
        assert (split.columns[f"right/visibility/{where}/finger"] == 255).all()
    np.testing.assert_array_equal(split.columns["left/occlusion_cause"][0], label.cause)
    np.testing.assert_array_equal(split.columns["left/box_visible_px"][0], label.box_visible_px)
    assert split.columns["left/visibility/source"] == 3


def test_vertices_are_stored_where_there_are_some_and_nan_elsewhere(tmp_path):
    joints = np.zeros((21, 3))
    verts = np.arange(778 * 3, dtype=np.float32).reshape(778, 3)
    hand = HandRecord(joints, np.ones(21, np.uint8), joints[:, :2], verts_m=verts)
    other = bare_frame().__dict__ | {"id": "fake/test/t/c/1", "sequence": "t"}
    split = split_of(tmp_path, [bare_frame(right=hand)], [Frame(**other)])
    np.testing.assert_array_equal(split.columns["right/verts_m"][0], verts)
    assert np.isnan(split.columns["right/verts_m"][1]).all()


def test_extra_columns_keep_their_type_and_know_missing(reader, split):
    frames = {frame.id: frame for frame in all_frames(reader)}
    wanted = [frames[name].extra.get("target", np.nan) for name in split.columns["id"]]
    np.testing.assert_array_equal(split.columns["target"], wanted)
    assert split.columns["pair"].dtype == np.int64


def test_what_is_missing_of_an_extra_column():
    kinds = {"u1": 255, "u2": 65535, "bool": 255, "i4": -1, "<U3": ""}
    assert {k: extra_column("x", np.dtype(k), ()).missing for k in kinds} == kinds


@pytest.mark.parametrize("name", ["id", "right/mine", "sequences/name", "index/id"])
def test_an_extra_column_cannot_take_a_name_that_is_ours(tmp_path, name):
    with pytest.raises(DataError, match=name):
        Part(1).add(bare_frame(extra={name: 1}))


def test_hands_list_the_annotated_ones_and_columns_follow_it(split):
    row, is_left = split.hands
    assert is_left.sum() == (split.columns["left/present"] == 1).sum() > 0
    assert (np.diff(row * 2 + is_left) > 0).all()
    joints = split.hand_column("joints_m")
    for i in (0, 1, len(row) - 1):
        side = "left" if is_left[i] else "right"
        np.testing.assert_array_equal(joints[i], split.columns[f"{side}/joints_m"][row[i]])


def test_images_and_segmentations_are_the_bytes_as_shipped(reader, split):
    frames = {frame.id: frame for frame in all_frames(reader)}
    for row, name in enumerate(split.columns["id"]):
        assert split.image_bytes(row) == frames[name].image
    bgr = cv2.imdecode(np.frombuffer(split.image_bytes(3), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(split.image(3), bgr[:, :, ::-1])
    assert split.segmentation(0).sum() == 5 * SIZE[0]


def test_the_same_rows_give_the_same_bytes_in_any_order(reader, tmp_path):
    frames = all_frames(reader)
    split_of(tmp_path / "a", frames)
    split_of(tmp_path / "b", frames[::-1])
    for name in ("part-00000.h5", "index.h5"):
        one, two = (tmp_path / run / "fake/test" / name for run in "ab")
        assert one.read_bytes() == two.read_bytes()


def test_files_carry_units_frames_and_layout(split):
    with h5py.File(split.folder / "part-00000.h5") as file:
        assert file.attrs["format"] == "handbench-frames"
        assert file["right/joints_m"].attrs["unit"] == "m"
        assert file["right/joints_m"].attrs["frame"] == "opencv_camera"
        for name in ("image", "segmentation"):
            data = file[f"{name}/bytes"]
            assert data.dtype == np.uint8
            assert data.ndim == 1
            assert data.chunks is None
            assert data.compression is None
        assert file["image"].attrs["encoding"] == "jpeg"
        assert file["image/window"][0].tolist() == [0, 0, *SIZE]
        assert {f"{table}/name" in file for table in TABLES} == {True}


def test_columns_are_read_once_and_cannot_be_overwritten(split):
    assert split.columns["K"] is split.columns["K"]
    with pytest.raises(ValueError, match="read-only"):
        split.columns["K"][0] = 0


def test_twice_the_same_id_a_wrong_shape_and_infinity_are_refused(tmp_path):
    part = Part(2)
    part.add(bare_frame())
    part.add(bare_frame())
    with pytest.raises(DataError, match="occurs twice"):
        part.write(tmp_path / "part.h5", {})
    with pytest.raises(ShapeError, match="T_world_camera is"):
        Part(1).add(bare_frame(T_world_camera=np.eye(3)))
    part = Part(1)
    part.add(bare_frame(T_world_camera=np.full((4, 4), np.inf)))
    with pytest.raises(DataError, match="fake/test/s/c/1: T_world_camera is not finite"):
        part.write(tmp_path / "part.h5", {})
    assert not list(tmp_path.iterdir())


def read_in_child(split, queue):
    queue.put((split.image_bytes(3), split.columns["frame_number"].tolist()))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_a_split_goes_to_another_process(split, method):
    split.image_bytes(3)
    context = multiprocessing.get_context(method)
    queue = context.SimpleQueue()
    child = context.Process(target=read_in_child, args=(split, queue))
    child.start()
    assert queue.get() == (split.image_bytes(3), split.columns["frame_number"].tolist())
    child.join()
    assert len(pickle.dumps(split)) < 1000


def test_many_threads_read_at_once_with_few_open_files(split, monkeypatch):
    monkeypatch.setattr(store, "OPEN_PARTS", 1)
    wanted = [split.image_bytes(row) for row in range(len(split))]
    wrong = []

    def look(seed):
        for row in np.random.default_rng(seed).integers(0, len(split), 300):
            if split.image_bytes(row) != wanted[row]:
                wrong.append(row)

    threads = [threading.Thread(target=look, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(os.listdir("/proc/self/fd")) < 100


@pytest.fixture
def broken(split, tmp_path):
    """A copy of the data folder to be broken."""
    shutil.copytree(split.data_dir, tmp_path / "data")
    return tmp_path / "data"


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def foreign(path):
    with h5py.File(path, "w") as file:
        file["x"] = 1


def no_hdf5(path):
    path.write_text("hello")


def other_version(path):
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = 99


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (truncate, "no whole HDF5 file"),
        (foreign, "was not written by handbench prepare"),
        (no_hdf5, "no whole HDF5 file"),
        (other_version, "format version 99"),
    ],
)
def test_a_broken_index_is_one_line_that_names_file_and_command(broken, spoil, message):
    path = broken / "fake/test/index.h5"
    spoil(path)
    with pytest.raises(DataError, match=message) as caught:
        open_split("fake/test", broken)
    text = str(caught.value)
    assert str(path) in text
    assert "handbench prepare fake --split test" in text
    assert "\n" not in text


def test_a_part_that_is_cut_or_gone_is_found_when_the_split_is_opened(broken):
    path = broken / "fake/test/part-00001.h5"
    truncate(path)
    with pytest.raises(DataError, match=r"part-00001.h5 has .* cut short.*handbench prepare fake"):
        open_split("fake/test", broken)
    path.unlink()
    with pytest.raises(DataError, match="part-00001.h5 is missing"):
        open_split("fake/test", broken)
    (path.parent / "index.h5").unlink()
    with pytest.raises(DataError, match="not finished .2 parts, no index.h5.: run"):
        open_split("fake/test", broken)


def test_an_unknown_split_suggests_what_is_there_and_how_to_make_it(split):
    with pytest.raises(UnknownName, match="did you mean 'fake/test'"):
        open_split("fake/tset", split.data_dir)
    with pytest.raises(DataError, match="run  handbench prepare synthetic --split val --out"):
        open_split("synthetic/val", split.data_dir)
    for wrong in ("synthetic/vel", "synthetic"):  # no split of that name can be made
        with pytest.raises(UnknownName, match=f"'{wrong}'; .*synthetic/val"):
            open_split(wrong, split.data_dir)
    assert store.prepared(split.data_dir) == ["fake/test"]
    assert isinstance(open_split("fake/test", split.data_dir), Split)


def test_the_page_on_prepared_files_names_every_column():
    page = (Path(__file__).parent.parent / "docs/store.md").read_text(encoding="utf-8")
    for group in (IMAGE_COLUMNS, HAND_COLUMNS):
        for column in group:
            assert f"| `{column.path}` | (N," in page, column.path
