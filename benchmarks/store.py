"""Packing and reading 80-kB images: our files against variable-length HDF5, CPU ms a record.

Absolute limits stand beside the ratios as rows against a limit: a ratio of 1 meets it.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from report import Row, compare, interleave, main

from handbench.preparing.index import build
from handbench.preparing.parts import Part, write_bytes, writing
from handbench.records import Frame, HandRecord
from handbench.store import open_split

FRAMES = 512
READS = 1500
ROUNDS = 7
K = np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]])
# what the usual conversion script keeps beside the image
LABELS = ("joints_m", "joints_px", "mano_pose", "mano_shape", "mano_trans_m", "box_px")


def source_files(folder: Path) -> list[Path]:
    """Files of JPEG-like bytes, 60 to 100 kB, as a raw data set has them."""
    random = np.random.default_rng(0)
    paths = []
    for i in range(FRAMES):
        paths.append(folder / f"{i:06d}.jpg")
        paths[-1].write_bytes(b"\xff\xd8\xff" + random.bytes(int(random.integers(60e3, 100e3))))
    return paths


def hand() -> HandRecord:
    random = np.random.default_rng(1)
    joints = random.normal(size=(21, 3))
    return HandRecord(
        joints, np.full(21, 3, np.uint8), joints[:, :2], 0, random.normal(size=48),
        random.normal(size=10), joints[0], 1, joints.ravel()[:4], 1,
    )  # fmt: skip


def pack_images(paths: list[Path], out: Path) -> None:
    with writing(out) as file:
        write_bytes(file, "image", [path.read_bytes() for path in paths])


def pack_rows(paths: list[Path], out: Path) -> None:
    """The whole row with all columns, as prepare does."""
    part, record = Part(len(paths)), hand()
    for i, path in enumerate(paths):
        frame = Frame(
            f"bench/all/s/c/{i}", "s", "c", "r", i, i, path.read_bytes(), path.name, (640, 480), K,
            right=record,
        )  # fmt: skip
        part.add(frame)
    part.write(out, {"dataset": "bench", "split": "all"})


def row_by_row(paths: list[Path], out: Path, labels: bool) -> None:
    """Variable-length images (and label columns), one row after another."""
    record = hand()
    with h5py.File(out, "w") as file:
        image = file.create_dataset("image", (len(paths),), h5py.vlen_dtype(np.uint8))
        columns = {}
        for name in LABELS if labels else ():
            shape = np.shape(getattr(record, name))
            columns[name] = file.create_dataset(name, (len(paths), *shape), "f4")
        for i, path in enumerate(paths):
            image[i] = np.frombuffer(path.read_bytes(), np.uint8)
            for name, column in columns.items():
                column[i] = getattr(record, name)


def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = source_files(folder)
        return packing(paths, folder) + reading(paths, folder)


def packing(paths: list[Path], folder: Path) -> list[Row]:
    plain, ours = folder / "plain.h5", folder / "bench/all/part-00000.h5"
    per_frame = 1000 / FRAMES
    images = interleave(
        [lambda: row_by_row(paths, plain, False), lambda: pack_images(paths, folder / "images.h5")],
        ROUNDS,
    )
    rows = interleave(
        [lambda: row_by_row(paths, plain, True), lambda: pack_rows(paths, ours)], ROUNDS
    )
    # images alone: holding a part in memory until its rows are sorted costs page faults
    return [
        compare("pack images only", "variable length, by row", "ms", images, 1, per_frame),
        compare("pack whole rows, all columns", "the same + 6 labels", "ms", rows, 2, per_frame),
        limit("pack whole rows, all columns", 0.25, rows, per_frame),
    ]


def reading(paths: list[Path], folder: Path) -> list[Row]:
    """Random records of warm files; every way must give the same bytes."""
    build([folder / "bench/all/part-00000.h5"], "").write(folder / "bench/all/index.h5", {})
    split = open_split("bench/all", folder)
    order = np.random.default_rng(2).integers(0, FRAMES, READS)
    with h5py.File(folder / "plain.h5") as old, h5py.File(split.columns.parts[0]) as new:
        image, flat, offsets = old["image"], new["image/bytes"], new["image/offsets"][()]

        def each(read: Callable[[int], object]) -> Callable[[], None]:
            def loop() -> None:
                for row in order:
                    read(row)

            return loop

        ways = (
            lambda row: image[row],
            lambda row: flat[offsets[row] : offsets[row + 1]],
            split.image_bytes,
        )
        for row in order[:20]:
            assert {bytes(way(row)) for way in ways} == {paths[row].read_bytes()}
        times = interleave([each(way) for way in ways], ROUNDS)
    by_h5py, by_pread = [[t[0], t[1]] for t in times], [[t[0], t[2]] for t in times]
    per_read = 1000 / READS
    return [
        compare("read one 80-kB record", "variable length", "ms", by_pread, 6, per_read),
        compare("the same through h5py", "variable length", "ms", by_h5py, 5, per_read),
        limit("read one 80-kB record", 0.015, by_pread, per_read),
        limit("the same through h5py", 0.03, by_h5py, per_read),
    ]


def limit(name: str, most: float, times: list[list[float]], scale: float) -> Row:
    """Our time against a fixed limit in the row's unit."""
    fixed = [[most / scale, ours] for _, ours in times]
    return compare(name, f"limit {most} ms", "ms", fixed, 1, scale)


if __name__ == "__main__":
    main(run)
