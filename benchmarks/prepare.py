"""Preparing a split: labels, packing and reading (labels.py, store.py), margin crops, all together.

The crops are of 640x480 JPEGs of about 80 kB whose boxes are spread as hands' boxes are in a
third-person camera: after loaders' widening by 1.5, log-normal about 175 px, 105 to 330.
"""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import store
import trimesh
from labels import ROUNDS, cast_labels, grasp
from labels import run as run_labels
from report import Row, compare, interleave, main
from scipy.spatial import ConvexHull

from handbench.datasets.dexycb import DexYCB
from handbench.datasets.fpha import FPHA
from handbench.datasets.freihand import FreiHAND
from handbench.datasets.interhand26m import InterHand26M
from handbench.datasets.reach import cut_to_reach, hand_reach, may_hide
from handbench.frames import to_camera
from handbench.hand import default_hand
from handbench.preparing import turbo
from handbench.preparing.pictures import AS_SHIPPED, Pictures
from handbench.preparing.tasks import Job, divide
from handbench.records import Frame, HandRecord, Mesh, Scene
from handbench.synthesis.writers import write_tree
from handbench.visibility import label_scene

SIZE = (640, 480)
PICTURES = 60
# where the held object stands, and three like it on the table
PLACES = ([0, 0, 0], [0.25, 0, 0.1], [-0.25, 0.05, 0.1], [0.05, 0.05, 0.3])
TABLE = [trimesh.transformations.translation_matrix(place) for place in PLACES]
# what is read of each, and the CPU ms a frame that it may take
OFFICIAL = {
    "dexycb": (DexYCB, "s2_test", 8.0),
    "interhand26m": (InterHand26M, "test", 8.0),
    "fpha": (FPHA, "train", 54.0),  # 6.75 times the pixels
    "freihand": (FreiHAND, "training", 4.0),
}


def run() -> list[Row]:
    """Every target of preparing, in one run."""
    return run_labels() + label_limit() + fine_models() + store.run() + crops() + official_frames()


def label_limit() -> list[Row]:
    """All labels of one 640x480 frame with hand and object against 2.5 ms."""
    scene, hand = grasp(SIZE, 617.0), default_hand("right")
    ways = partial(cast_labels, scene), partial(label_scene, scene, hand, None)
    return [store.limit("labels 640x480", 2.5, interleave(ways, ROUNDS), 1e3)]


def fine_models() -> list[Row]:
    """A held object and three on the table, meshed as scans are: what can hide the hand is drawn.

    The reference poses and draws all of them, as a reader without `reach` would.
    """
    scene, rows = grasp(SIZE, 617.0), []
    can = scene.meshes[1]
    for least in (16_000, 64_000, 256_000):
        fine = trimesh.Trimesh(can.verts_m, can.faces)
        while len(fine.faces) < least:
            fine = fine.subdivide()
        verts, faces = np.asarray(fine.vertices), np.asarray(fine.faces, np.int32)
        hull = verts[ConvexHull(verts).vertices]
        ways = (
            partial(label_all, scene, verts, faces),
            partial(label_near, scene, verts, faces, hull),
        )
        name = f"labels 640x480, four objects of {len(faces):,} faces"
        rows.append(compare(name, "all drawn", "ms", interleave(ways, ROUNDS // 4), 1.5, 1e3))
    return rows


def label_all(scene: Scene, verts: np.ndarray, faces: np.ndarray) -> None:
    others = [Mesh(to_camera(verts, T), faces, "occluder") for T in TABLE]
    meshes = scene.meshes[0], *others
    label_scene(replace(scene, meshes=meshes), default_hand("right"), None)


def label_near(scene: Scene, verts: np.ndarray, faces: np.ndarray, hull: np.ndarray) -> None:
    hand, K = scene.meshes[0], scene.K
    reach = hand_reach([hand.verts_m], K)
    hiding = [T for T in TABLE if may_hide(to_camera(hull, T), reach, K)]
    others = [Mesh(*cut_to_reach(verts, faces, T, K, reach), "occluder") for T in hiding]
    label_scene(replace(scene, meshes=(hand, *others)), default_hand("right"), None)


def crops() -> list[Row]:
    """Bytes and CPU of margin crops: cut without loss, against decoding and encoding again."""
    if not turbo.available():
        print("libturbojpeg is not installed: margin crops are not measured")
        return []
    frames = pictures()
    cut, anew, whole = Pictures(crop=True), Pictures(crop=True, quality=95), AS_SHIPPED

    def each(way: Pictures) -> Callable[[], None]:
        return lambda: [way.keep(frame, {}) for frame in frames] and None

    sizes = [sum(len(way.keep(frame, {})[0]) for frame in frames) for way in (whole, cut)]
    kilobytes = [[size / 1000 for size in sizes]]
    times = interleave([each(anew), each(cut)], 7)
    return [
        compare("bytes of a margin crop", "whole picture", "kB", kilobytes, 2.5, 1 / PICTURES),
        compare("cut a margin crop", "decode, cut, encode q95", "ms", times, 1.33, 1e3 / PICTURES),
    ]


def pictures() -> list[Frame]:
    """Coloured noise of five scales, and a box for a hand in each."""
    rng = np.random.default_rng(0)
    width, height = SIZE
    frames = []
    for i in range(PICTURES):
        image = np.full((height, width, 3), 110.0)
        for scale in (4, 8, 24, 80, 240):
            coarse = rng.normal(0, 14, (height // scale + 2, width // scale + 2, 3))
            image += cv2.resize(coarse, SIZE, interpolation=cv2.INTER_CUBIC)
        image += rng.normal(0, 1.5, image.shape)
        jpeg = cv2.imencode(".jpg", image.clip(0, 255), [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
        side = np.clip(175 * np.exp(rng.normal(0, 0.3)), 105, 330) / 1.5
        corner = rng.uniform(0, np.array(SIZE) - side)
        nothing = np.full((21, 3), np.nan)
        hand = HandRecord(
            nothing, np.zeros(21, np.uint8), nothing[:, :2], box_px=np.r_[corner, side, side]
        )
        frames.append(
            Frame(f"noise/{i}", "s", "c", "r", i, i, jpeg.tobytes(), "", SIZE, np.eye(3), hand)
        )
    return frames


def official_frames() -> list[Row]:
    """From official files to what a part stores, a frame: read, label (and cut). Packing is above.

    Miniature trees have too few frames for whole parts, so their writing is left out.
    """
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for data, (reader_class, split, most) in OFFICIAL.items():
            raw = Path(name) / data
            write_tree(data, raw, (split,))
            reader = reader_class(split, raw)
            tasks = divide(reader.plan())
            scale = 1e3 / sum(task.rows for task in tasks)
            job = Job(reader, Path(name), {}, pictures=Pictures(crop=True))
            times = interleave([lambda: None, partial(read_all, job, tasks)], 7)
            rows.append(store.limit(f"read, label, cut: {data}", most, times, scale))
    return rows


def read_all(job: Job, tasks: list) -> None:
    for task in tasks:
        for frame in job.frames(task):
            labels, _ = job.label(frame)
            job.pictures.keep(frame, labels)


if __name__ == "__main__":
    main(run)
