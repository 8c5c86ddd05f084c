"""Score a file of HO-3D v3's size (20,137 samples, 2.1 GB of JSON) from end to end.

    python benchmarks/ho3d_size.py [--samples N] [--folder DIR]

The official tool needs about 62 minutes (a figure from elsewhere, not measured here); the reference
measured here is the plain F-score of benchmarks/evaluation.py, scaled to the same sample count.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from evaluation import plain_fscores

from handbench.frames import HO3D
from handbench.hand import Hand

SAMPLES = 20_137
BASE = 400
OFFICIAL_MINUTES = 62


def write(folder: Path, samples: int) -> None:
    """pred.json and the truth: `samples` hands drawn with a seed from BASE different ones."""
    rng = np.random.default_rng(0)
    pose = rng.normal(scale=0.3, size=(BASE, 48))
    verts, joints = Hand.open().pose(pose, rng.normal(size=(BASE, 10)))
    shift = np.array([0.02, 0.01, -0.6])
    joints = (joints[:, np.argsort(HO3D)] + shift).astype(np.float32)
    verts = (verts + shift).astype(np.float32)
    order = rng.integers(0, BASE, samples)
    noise = rng.choice([0.002, 0.008, 0.02], size=(BASE, 1, 1))

    def texts(points: np.ndarray, spread: float) -> list[str]:
        moved = points + spread * noise * rng.normal(size=points.shape)
        return [json.dumps(each) for each in moved.astype(np.float32).astype(float).tolist()]

    def listed(parts: list[str]) -> str:
        return "[" + ", ".join(parts[i] for i in order) + "]"

    (folder / "evaluation_xyz.json").write_text(listed(texts(joints, 0)))
    (folder / "evaluation_verts.json").write_text(listed(texts(verts, 0)))
    with open(folder / "pred.json", "w", encoding="utf-8") as file:
        file.write("[" + listed(texts(joints, 1)) + ", ")
        file.write(listed(texts(verts, 1)) + "]")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--folder", type=Path, help="keep the files here (default: temporary)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "pred.json").is_file():
            # in a process of its own: a child is counted with what its parent held when it began
            writer = get_context("spawn").Process(target=write, args=(folder, options.samples))
            writer.start()
            writer.join()
        size = sum(path.stat().st_size for path in folder.glob("*.json")) / 1e9
        command = [sys.executable, "-P", "-m", "handbench", "eval"]
        command += ["--predictions", str(folder / "pred.json"), "--ground-truth", str(folder)]
        command += ["--protocol", "ho3d_v3", "--out", str(folder / "out")]
        command += ["--subset"] if options.samples != SAMPLES else []
        started = time.perf_counter()
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        _, status, used = os.wait4(subprocess.Popen(command, **quiet).pid, 0)
        wall, peak = time.perf_counter() - started, used.ru_maxrss
        if status:
            raise SystemExit(f"{' '.join(command)} failed")
    rng = np.random.default_rng(1)
    some = rng.normal(scale=0.05, size=(10, 778, 3))
    started = time.process_time()
    plain_fscores(some, some + 0.003)
    plain = (time.process_time() - started) / 10 * options.samples * 2
    print(
        f"{options.samples:,} samples, {size:.2f} GB: {wall:.1f} s wall, peak {peak / 1024:.0f} MiB"
    )
    print(f"plain F-scores alone would take {plain:.0f} s CPU ({plain / wall:.0f} times as long)")
    share = OFFICIAL_MINUTES * 60 * options.samples / SAMPLES
    print(f"the official tool about {share:.0f} s (not measured here; {share / wall:.0f} times)")


if __name__ == "__main__":
    main()
