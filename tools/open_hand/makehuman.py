"""Stage 1: read MakeHuman's mesh, targets and rig; evaluate the hand of many people."""

import gzip
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

BONES = ["hand_r"] + [
    f"{finger}_{i:02d}_r"
    for finger in ("index", "middle", "pinky", "ring", "thumb")
    for i in (1, 2, 3)
]
FINGER_NUMBER = {"index": 2, "middle": 3, "pinky": 5, "ring": 4, "thumb": 1}
BODY = 13380  # vertices of the body proper; helpers and joint cubes follow
PEOPLE = 1500
TRAITS = {
    "race": ["african", "asian", "caucasian"],
    "gender": ["male", "female"],
    "age": ["child", "young", "old"],
    "muscle": ["minmuscle", "averagemuscle", "maxmuscle"],
    "weight": ["minweight", "averageweight", "maxweight"],
    "height": ["minheight", "maxheight"],
    "proportions": ["idealproportions", "uncommonproportions"],
}
LOCAL = {
    "hand-scale": "hands/r-hand-scale",
    "hand-fingers-length": "hands/r-hand-fingers-length",
    "hand-fingers-diameter": "hands/r-hand-fingers-diameter",
    "wrist-circ": "hands/measure-wrist-circ",
}

Targets = dict[tuple[str, ...], np.ndarray]


@dataclass(frozen=True)
class Hands:
    """verts (N, V, 3) and joints (N, 22, 3: 16, five tips, elbow) in metres, index 0 the average.

    weights (V, 17): the 16 joints and the forearm; quads (Q, 4).
    """

    verts: np.ndarray
    joints: np.ndarray
    weights: np.ndarray
    quads: np.ndarray


def read_base(root: Path) -> tuple[np.ndarray, list[list[int]]]:
    """All vertices (V, 3) in decimetres and the body's quads."""
    verts, quads, group = [], [], None
    for line in (root / "3dobjs/base.obj").read_text().splitlines():
        kind, *words = line.split() or [""]
        if kind == "v":
            verts.append([float(x) for x in words[:3]])
        elif kind == "g":
            group = words[0]
        elif kind == "f" and group == "body":
            quads.append([int(word.split("/")[0]) - 1 for word in words])
    return np.array(verts), quads


def read_target(path: Path, count: int, keep: np.ndarray) -> np.ndarray:
    """Offsets of the vertices keep, out of count, in a target file."""
    offsets = np.zeros((count, 3))
    with gzip.open(path, "rt") as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                index, *values = line.split()
                offsets[int(index)] = [float(x) for x in values[:3]]
    return offsets[keep]


def read_targets(root: Path, count: int, keep: np.ndarray) -> tuple[Targets, Targets]:
    """Whole-body targets by the traits that switch them on, and the hand's own ones."""
    macro = root / "targets/macrodetails"
    files = {}
    for gender, age in itertools.product(TRAITS["gender"], TRAITS["age"]):
        for race in TRAITS["race"]:
            files[race, gender, age] = macro / f"{race}-{gender}-{age}"
        for muscle, weight in itertools.product(TRAITS["muscle"], TRAITS["weight"]):
            build = gender, age, muscle, weight
            files[build] = macro / f"universal-{'-'.join(build)}"
            for folder in ("height", "proportions"):
                for trait in TRAITS[folder]:
                    files[*build, trait] = macro / folder / "-".join([*build, trait])
    targets = {key: read_target(Path(f"{f}.target.gz"), count, keep) for key, f in files.items()}
    local = {
        (name, way): read_target(root / f"targets/{place}-{way}.target.gz", count, keep)
        for name, place in LOCAL.items()
        for way in ("incr", "decr")
    }
    return targets, local


def hat(value: float, count: int) -> np.ndarray:
    """Linear interpolation weights of value on count anchors in 0 to 1."""
    return np.maximum(0, 1 - abs(np.clip(value, 0, 1) * (count - 1) - np.arange(count)))


class People:
    """MakeHuman's mixing of targets, restricted to the vertices keep."""

    def __init__(self, verts: np.ndarray, root: Path, keep: np.ndarray) -> None:
        self.base = verts[keep]
        targets, self.local = read_targets(root, len(verts), keep)
        self.traits = [trait for names in TRAITS.values() for trait in names]
        self.needs = np.array([[trait in key for trait in self.traits] for key in targets])
        self.offsets = np.stack(list(targets.values()))

    def evaluate(
        self,
        gender: float = 0.5,
        age: float = 0.5,
        muscle: float = 0.5,
        weight: float = 0.5,
        height: float = 0.5,
        prop: float = 0.5,
        race: Sequence[float] = (1, 1, 1),
        local: Mapping[str, float] = MappingProxyType({}),
    ) -> np.ndarray:
        """Vertices (V, 3) in metres of a person by MakeHuman's sliders, 0 to 1; local: -1 to 1."""
        amount = dict(zip(TRAITS["race"], np.array(race) / sum(race)))
        amount |= zip(TRAITS["gender"], hat(1 - gender, 2))
        for name, value in (("age", age), ("muscle", muscle), ("weight", weight)):
            amount |= zip(TRAITS[name], hat(value, 3))
        amount |= {"minheight": max(0, 1 - 2 * height), "maxheight": max(0, 2 * height - 1)}
        amount |= {
            "uncommonproportions": max(0, 1 - 2 * prop),
            "idealproportions": max(0, 2 * prop - 1),
        }
        values = np.array([amount[trait] for trait in self.traits])
        factors = np.where(self.needs, values[None], 1).prod(1)
        verts = self.base + np.tensordot(factors, self.offsets, 1)
        for name, value in local.items():
            verts = verts + abs(value) * self.local[name, "incr" if value > 0 else "decr"]
        return verts * 0.1  # decimetres


def random_person(rng: np.random.Generator) -> dict[str, Any]:
    """Adults mostly, one in ten a child; all traits around the average."""

    def around(spread: float) -> float:
        return float(np.clip(rng.normal(0.5, spread), 0, 1))

    ages = [rng.uniform(0.2, 0.5), rng.uniform(0.45, 0.6), rng.uniform(0.5, 1.0)]
    age = rng.choice(ages, p=[0.1, 0.6, 0.3])
    return {
        "gender": float(rng.uniform(0, 1) if rng.random() < 0.3 else rng.integers(0, 2)),
        "age": float(age),
        "muscle": around(0.18),
        "weight": around(0.2),
        "height": around(0.11),
        "prop": around(0.2),
        "race": tuple(rng.dirichlet([0.6] * 3)),
        "local": {
            "hand-scale": float(np.clip(rng.normal(0, 0.15), -0.5, 0.5)),
            "hand-fingers-length": float(np.clip(rng.normal(0, 0.2), -0.6, 0.6)),
            "hand-fingers-diameter": float(np.clip(rng.normal(0, 0.4), -1, 1)),
            "wrist-circ": float(np.clip(rng.normal(0, 0.3), -1, 1)),
        },
    }


def sample_hands(root: Path) -> Hands:
    """The hands of the average person and of PEOPLE random ones, by a fixed seed."""
    verts, quads = read_base(root)
    rig = json.loads((root / "rigs/standard/weights.game_engine.json").read_text())["weights"]
    weights = np.zeros((len(verts), 17))
    for j, bone in enumerate([*BONES, "lowerarm_r"]):
        for vertex, weight in rig[bone]:
            weights[vertex, j] = weight
    groups = json.loads((root / "mesh_metadata/basemesh_vertex_groups.json").read_text())
    # joints are the centres of small cubes that follow every target
    fingers = [f"joint-r-finger-{n}" for n in FINGER_NUMBER.values()]
    names = ["joint-r-hand", *(f"{f}-{i}" for f in fingers for i in (1, 2, 3))]
    names += [*(f"{f}-4" for f in fingers), "joint-r-elbow"]
    cubes = [np.arange(groups[name][0][0], groups[name][0][1] + 1) for name in names]

    region = np.flatnonzero(weights[:BODY].sum(1) > 0)
    keep = np.concatenate([region, *cubes])
    place = {vertex: i for i, vertex in enumerate(keep)}
    cubes = [[place[vertex] for vertex in cube] for cube in cubes]
    people, rng = People(verts, root, keep), np.random.default_rng(0)
    samples = [people.evaluate()]
    samples += [people.evaluate(**random_person(rng)) for _ in range(PEOPLE)]
    known = set(region.tolist())
    return Hands(
        verts=np.array([s[: len(region)] for s in samples]),
        joints=np.array([[s[cube].mean(0) for cube in cubes] for s in samples]),
        weights=weights[region],
        quads=np.array([[place[v] for v in quad] for quad in quads if known.issuperset(quad)]),
    )
