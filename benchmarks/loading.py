"""From stored pictures to training batches: ours against the authors' loading pattern, CPU ms.

The reference does what the loaders of HandOccNet and H2ONet do, one operation after the other,
for a picture file at a time. Ours reads a prepared split, with whole pictures or with the margin
crops of `prepare --crop`. Both cut and augment alike; how far the exact way's crops are from the
authors' is a row of its own.
"""

import copy
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from report import Row, compare, interleave, main

from handbench.hand import default_hand
from handbench.loading.augment import Augmentation, draw
from handbench.loading.batch import Samples
from handbench.loading.crop import extent, square
from handbench.loading.loader import Order, batches
from handbench.loading.ring import workers_for
from handbench.preparing.index import build
from handbench.preparing.parts import Part
from handbench.preparing.pictures import Pictures
from handbench.records import Frame, HandRecord
from handbench.store import open_split

COUNT = 256
BATCH = 32
WORKERS = 2
EPOCHS = 6  # of worker processes, so that starting them is a small part
STEPS = 4
ROUNDS = 7
CROP = 256
TARGETS = {  # by how pictures are stored and cut
    ("full frames", "exact"): 3.5,
    ("full frames", "fast"): 3.5,
    ("margin crops", "exact"): 6,
    ("margin crops", "fast"): 8,
}
PROCESS_TARGETS = {"exact": 5, "fast": 8}  # batches from worker processes; starting them included
ERROR = 0.01  # levels of 255 between the authors' patch and the exact way's
SIZE = (640, 480)
K = np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]])


def pictures(count: int) -> list[bytes]:
    """JPEGs of about 80 kB: noise at several scales with polygons, blurred, with sensor noise."""
    random = np.random.default_rng(0)
    made = []
    for _ in range(count):
        picture = np.full((SIZE[1], SIZE[0], 3), 128, np.float32)
        for cells in (4, 10, 30, 90):
            coarse = random.normal(0, 20, (cells, cells, 3)).astype(np.float32)
            picture += cv2.resize(coarse, SIZE, interpolation=cv2.INTER_CUBIC)
        for _ in range(12):
            corners = random.uniform(0, SIZE, (5, 2)).astype(np.int32)
            cv2.fillPoly(picture, [corners], random.uniform(0, 255, 3).tolist())
        picture = cv2.GaussianBlur(picture, (0, 0), 1.2)
        picture += random.normal(0, 3.2, picture.shape)
        levels = np.clip(picture, 0, 255).astype(np.uint8)
        made.append(cv2.imencode(".jpg", levels, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes())
    return made


def hands(count: int) -> list[HandRecord]:
    """Hands whose boxes have the sizes of a third-person camera, half of them left ones."""
    random = np.random.default_rng(1)
    model = default_hand("right")
    made = []
    for _ in range(count):
        pose, shape = random.normal(0, 0.2, 48), random.normal(0, 0.5, 10)
        joints = model.pose(pose[None], shape[None])[1][0]
        depth = 600 * 0.19 / (np.exp(random.normal(np.log(117), 0.25)))
        joints = joints - joints.mean(0) + [*random.uniform(-0.1, 0.1, 2), depth]
        pixels = joints @ K.T
        pixels = pixels[:, :2] / pixels[:, 2:]
        box = extent(pixels[None])[0]
        valid = np.full(21, 3, np.uint8)
        made.append(HandRecord(joints, valid, pixels, 0, pose, shape, joints[0], 1, box, 1))
    return made


def store(folder: Path, images: list[bytes], records: list[HandRecord]) -> None:
    """The pictures as prepared splits, whole and cropped, and as single files for the reference."""
    for split, kept in (("full frames", Pictures()), ("margin crops", Pictures(crop=True))):
        part = Part(len(images))
        for i, (image, record) in enumerate(zip(images, records)):
            name, side = f"{i:06d}.jpg", {"left" if i % 2 else "right": record}
            (folder / name).write_bytes(image)
            frame = Frame(f"bench/all/s/c/{i}", "s", "c", "r", i, i, image, name, SIZE, K, **side)
            part.add(frame, stored=kept.keep(frame, {}))
        path = folder / "bench" / split / "part-00000.h5"
        part.write(path, {"dataset": "bench", "split": split, "pictures": kept.kind})
        build([path], "").write(path.with_name("index.h5"), {"pictures": kept.kind})


class Reference(torch.utils.data.Dataset):
    """The authors' pattern, item by item; each line is one of its stages."""

    def __init__(self, folder: Path, records: list[HandRecord]) -> None:
        self.rules = Augmentation()
        boxes = extent(np.stack([record.joints_px for record in records]))
        # their boxes are widened and squared once, when the list of samples is made
        squares = list(zip(*square(boxes, np.tile(SIZE, (len(records), 1)))[:2]))
        self.records = [
            {
                "path": str(folder / f"{i:06d}.jpg"),
                "joints_px": np.array(record.joints_px, np.float32),
                "joints_m": np.array(record.joints_m, np.float32),
                "pose": np.array(record.mano_pose, np.float32),
                "shape": np.array(record.mano_shape, np.float32),
                "left": bool(i % 2),
                "square": squares[i],
            }
            for i, record in enumerate(records)
        ]

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        record = copy.deepcopy(self.records[index])
        picture = cv2.imread(record["path"], cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        picture = picture[:, :, ::-1].copy()
        picture = picture.astype(np.float32)
        copy.deepcopy(picture)  # kept for drawing by the authors, never used
        scale, angle, gain = self.draw()
        patch, matrix = self.patch(picture, record, scale, angle)
        patch = np.clip(patch * gain[None, None, :], 0, 255)
        image = torch.from_numpy(np.ascontiguousarray(patch.transpose(2, 0, 1), np.float32)) / 255
        return {"image": image, **self.labels(record, matrix, angle)}

    def draw(self) -> tuple[float, float, np.ndarray]:
        random, rules = np.random, self.rules
        scale = 1 + np.clip(random.randn(), -1, 1) * rules.scale
        turned = random.rand() < rules.rotation_share
        angle = np.clip(random.randn(), -2, 2) * rules.rotation_deg if turned else 0.0
        return scale, angle, random.uniform(1 - rules.colour, 1 + rules.colour, 3)

    def patch(
        self, picture: np.ndarray, record: dict, scale: float, angle: float
    ) -> tuple[np.ndarray, np.ndarray]:
        centre, side = record["square"][0], record["square"][1] * scale
        picture = picture.copy()
        if record["left"]:
            picture = picture[:, ::-1, :]
            centre[0] = SIZE[0] - 1 - centre[0]
            record["joints_px"][:, 0] = SIZE[0] - 1 - record["joints_px"][:, 0]
        turn = np.deg2rad(angle)
        axes = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        source = np.float32([centre, centre + axes @ [0, side / 2], centre + axes @ [side / 2, 0]])
        half = CROP / 2
        target = np.float32([[half, half], [half, CROP], [CROP, half]])
        matrix = cv2.getAffineTransform(source, target)
        cv2.getAffineTransform(target, source)  # the way back, which every sample carries along
        return cv2.warpAffine(picture, matrix, (CROP, CROP), flags=cv2.INTER_LINEAR), matrix

    def labels(self, record: dict, matrix: np.ndarray, angle: float) -> dict[str, np.ndarray]:
        points = np.concatenate([record["joints_px"], np.ones((21, 1))], 1)
        joints, pose = record["joints_m"] - record["joints_m"][:1], record["pose"].reshape(16, 3)
        if record["left"]:
            joints[:, 0] *= -1
            pose[:, 1:] *= -1
        turn = np.deg2rad(-angle)
        about = np.array(
            [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
        )
        root, _ = cv2.Rodrigues(about @ cv2.Rodrigues(pose[0])[0])
        pose[0] = root[:, 0]
        return {
            "joints_crop": (points @ matrix.T / CROP).astype(np.float32),
            "joints_m": (joints @ about.T).astype(np.float32),
            "pose": pose.reshape(-1),
            "shape": record["shape"],
        }


def take(samples: Samples, threads: int, steps: int = STEPS, workers: int = 0) -> None:
    with workers_for(samples, workers, BATCH) as source:
        for _ in batches(source, Order(len(samples), BATCH, 0).steps(0, steps), threads):
            pass


def reference_pass(dataset: Reference, workers: int, steps: int = STEPS) -> None:
    loader = torch.utils.data.DataLoader(dataset, BATCH, shuffle=True, num_workers=workers)
    for number, _ in enumerate(loader, 1):
        if number == steps:
            break


def first_batch(functions: list, rounds: int = 3) -> list[list[float]]:
    """Wall seconds to the first batch, by turns."""
    times = []
    for _ in range(rounds):
        spent = []
        for function in functions:
            start = time.perf_counter()
            function()
            spent.append(time.perf_counter() - start)
        times.append(spent)
    return times


def run() -> list[Row]:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        records = hands(COUNT)
        store(folder, pictures(COUNT), records)
        theirs, hand = Reference(folder, records), default_hand("right")
        opened = {
            (stored, way): Samples(
                open_split(f"bench/{stored}", folder),
                *(CROP, hand),
                box_source="gt_joints",
                augment=Augmentation(),
                pictures=way,
            )
            for stored, way in TARGETS
        }
        ways = [lambda: reference_pass(theirs, 0)]
        ways += [lambda samples=samples: take(samples, 1) for samples in opened.values()]
        times = interleave(ways, ROUNDS)
        exact, fast = opened["full frames", "exact"], opened["full frames", "fast"]
        processes = {
            way: by_processes(theirs, opened["margin crops", way]) for way in PROCESS_TARGETS
        }
        begin = first_batch([lambda: reference_pass(theirs, 2, 1), lambda: take(exact, 2, 1)])
        spread = both_cores(fast)
        errors = {
            stored: error(theirs, samples)
            for (stored, way), samples in opened.items()
            if way == "exact"
        }
    one = 1000 / (BATCH * STEPS)
    rows = []
    for i, ((stored, way), wanted) in enumerate(TARGETS.items(), 1):
        pairs = [[t[0], t[i]] for t in times]
        rows.append(compare(f"{way}, {stored}", "authors' pattern", "ms", pairs, wanted, one))
    for way, wanted in PROCESS_TARGETS.items():
        title = f"{way}, margin crops, {WORKERS} processes"
        rows.append(compare(title, "authors' pattern", "ms", processes[way], wanted, 1000))
    rows.append(compare("first batch, 2 threads (wall)", "2 workers", "ms", begin, 4, 1000))
    rows.append(compare("two threads (wall)", "one thread", "ms", spread, 1.6, one))
    rows += [
        {
            "name": f"error of exact, {stored}",
            "reference": "allowed of 255 levels",
            "unit": "levels",
            "value": found,
            "reference_value": ERROR,
            "ratio": ERROR / max(found, 1e-9),
            "target": 1,
        }
        for stored, found in errors.items()
    ]
    return rows


def error(theirs: Reference, samples: Samples, count: int = 64) -> float:
    """Largest difference in levels between the authors' images and the exact way's, same draws."""
    index = np.arange(count)
    drawn = draw(samples.augment, samples.seed, 0, index)
    ours = samples.batch(index)["image"]
    worst = 0.0
    for i in index:
        record = copy.deepcopy(theirs.records[i])
        picture = cv2.imread(record["path"], cv2.IMREAD_COLOR_RGB).astype(np.float32)
        angle = -np.rad2deg(drawn.rotation[i])  # they turn the picture's axes, not the crop
        patch, _ = theirs.patch(picture, record, drawn.scale[i], angle)
        image = np.clip(patch * drawn.gain[i], 0, 255).transpose(2, 0, 1)
        worst = max(worst, float(np.abs(ours[i] * 255 - image).max()))
    return worst


def by_processes(theirs: Reference, samples: Samples) -> list[list[float]]:
    """CPU seconds a sample: the reference in one process, ours in workers, all of them counted."""
    ways = [
        (lambda: reference_pass(theirs, 0, COUNT), COUNT),
        (lambda: take(samples, WORKERS, EPOCHS * COUNT // BATCH, WORKERS), EPOCHS * COUNT),
    ]
    times = []
    for _ in range(ROUNDS):
        spent = []
        for way, count in ways:
            before = sum(os.times()[:4])  # of this process and of those that have ended
            way()
            spent.append((sum(os.times()[:4]) - before) / count)
        times.append(spent)
    return times


def both_cores(samples: Samples) -> list[list[float]]:
    """Wall seconds with one thread and with two; means something on idle cores only."""
    return first_batch([lambda: take(samples, 1), lambda: take(samples, 2)], ROUNDS)


if __name__ == "__main__":
    main(run)
