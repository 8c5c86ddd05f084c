"""Build handbench/assets/grasps.npz: python tools/build_grasps.py [--units N] [--out FILE]

Each unit is one object (class and seed), one hand shape and its own random stream, so any unit
can be rebuilt alone. Objects' distance grids are needed here only and are not stored. About ten
minutes of one core; numba compiles on the first run.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from handbench import files
from handbench.hand import Hand
from handbench.synthesis.grasp import Grasp, search
from handbench.synthesis.library import KINDS, SPLITS, library_path
from handbench.synthesis.objects import SPLIT_OBJECTS, make
from handbench.synthesis.placing import ShapedHand, Thing

SEED = 2026
SEEDS = {"train": 9, "val": 7, "test": 5}  # object seeds a class
# A unit fills some of these slots, with so many tries each.
SLOT_KINDS = (
    *2 * ("power", "precision", "tripod", "lateral", "hook"),
    "tripod",
    "lateral",
    "cradle",
)
SLOTS, TRIES = 8, 14
ALIKE_MM = 3.0  # nearer hands of one split are thinned out; also the least distance to train


def units() -> list[tuple[str, str, int]]:
    """(split, object name, object seed) in the order of the file."""
    return [
        (split, name, seed)
        for split in SPLITS
        for seed in range(SEEDS[split])
        for name in SPLIT_OBJECTS[split]
    ]


def build_unit(
    hand: Hand, name: str, seed: int
) -> tuple[NDArray[np.float32], ShapedHand, list[Grasp]]:
    """Hand shape (10,), the hand, and the grasps found, at most one a slot."""
    rng = np.random.default_rng([SEED, crc32(name.encode()), seed])
    shape = np.clip(rng.normal(0, 0.8, 10), -2, 2).astype(np.float32)
    shaped, thing = ShapedHand(hand, shape), Thing(make(name, seed), rng)
    found: list[Grasp] = []
    slots = rng.permutation(len(SLOT_KINDS))[:SLOTS]
    for kind in (SLOT_KINDS[s] for s in slots):
        for _ in range(TRIES):
            grasp = search(thing, shaped, kind, rng)
            if grasp:
                found.append(grasp)
                break
    return shape, shaped, found


def rows(hand: Hand, plan: list[tuple[str, str, int]]) -> Iterator[dict[str, Any]]:
    """The file's rows, unit by unit, before thinning."""
    names = [name for split in SPLITS for name in SPLIT_OBJECTS[split]]
    for split, name, seed in plan:
        shape, shaped, found = build_unit(hand, name, seed)
        for grasp in found:
            yield {
                "split": np.uint8(SPLITS.index(split)),
                "kind": np.uint8(KINDS.index(grasp.kind)),
                "object": np.uint8(names.index(name)),
                "object_seed": np.int32(seed),
                "shape": shape,
                "pose": shaped.to_pose(grasp.angles).astype(np.float32),
                "pose_open": shaped.to_pose(grasp.angles_open).astype(np.float32),
                "pose_alt": shaped.to_pose(grasp.angles_alt).astype(np.float32),
                "T_hand_object": grasp.T_hand_object.astype(np.float32),
                "approach": grasp.approach.astype(np.float32),
                "contact": grasp.contact,
                "penetration_mm": np.float32(grasp.penetration_m * 1e3),
                "self_intersections": np.int16(grasp.self_intersections),
            }


def finish(hand: Hand, table: list[dict[str, Any]]) -> dict[str, NDArray]:
    """Columns, with near copies taken out and the distance to the nearest grasp of train."""
    columns = {name: np.stack([row[name] for row in table]) for name in table[0]}
    joints = hand.pose(columns["pose"], np.zeros((1, 10)))[1]
    joints = (joints - joints[:, :1]) * 1e3
    split = columns["split"]
    kept: list[int] = []
    for i in range(len(table)):
        against = [j for j in kept if split[j] in (0, split[i])]
        if not against or _distance(joints[i], joints[against]).min() >= ALIKE_MM:
            kept.append(i)
    train = np.array([j for j in kept if split[j] == 0])
    nearest = [_distance(joints[i], joints[train[train != i]]).min(initial=np.inf) for i in kept]
    columns = {name: column[kept] for name, column in columns.items()}
    columns["nearest_train_mm"] = np.array(nearest, np.float32)
    columns["object_names"] = np.array([n for s in SPLITS for n in SPLIT_OBJECTS[s]])
    columns["hand_sha256"] = np.array(hand.sha256)
    return columns


def _distance(joints: NDArray, others: NDArray) -> NDArray:
    """Mean joint distance of (21, 3) to each of (K, 21, 3)."""
    return np.linalg.norm(others - joints, axis=-1).mean(-1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, help="only the first N units of each split")
    parser.add_argument("--out", type=Path, default=library_path())
    arguments = parser.parse_args()
    hand, start = Hand.open(), time.process_time()
    plan = units()
    if arguments.units:
        plan = [u for s in SPLITS for u in [p for p in plan if p[0] == s][: arguments.units]]
    columns = finish(hand, list(rows(hand, plan)))
    with files.replacing(arguments.out) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **columns)
    seconds = time.process_time() - start
    print(summary(columns), f"{seconds:.0f} s CPU, {arguments.out}", sep="\n", file=sys.stderr)


def summary(columns: dict[str, NDArray]) -> str:
    """Counts per split and kind, and the quality figures."""
    lines = []
    for s, name in enumerate(SPLITS):
        own = columns["split"] == s
        counts = np.bincount(columns["kind"][own], minlength=len(KINDS))
        kinds = ", ".join(f"{kind} {n}" for kind, n in zip(KINDS, counts))
        thumb = columns["contact"][own, 1].mean()
        crossed = (columns["self_intersections"][own] > 15).mean()
        lines.append(
            f"{name}: {own.sum()} ({kinds}); thumb touches {thumb:.0%}, > 15 crossed vertices "
            f"{crossed:.0%}, deepest {columns['penetration_mm'][own].max():.1f} mm, nearest of "
            f"train {np.median(columns['nearest_train_mm'][own]):.1f} mm (median), "
            f"{columns['nearest_train_mm'][own].min():.1f} mm (least)"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
