"""What train, val and test share: takes, moments, people, things, near-equal poses."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbench import registry
from handbench.checking.hands import SplitHands
from handbench.checking.poses import nearest_pose_mm, unturned
from handbench.errors import UnknownName
from handbench.store import Split, open_split, prepared

THRESHOLD_MM = 3.0
KINDS = ("train", "training", "val", "test", "evaluation")
MOST_NAMES = 1000  # kept of what is shared; the counts are of all
Names = Mapping[str, int]  # what -> how many images show it


@dataclass(frozen=True)
class Shared:
    """One kind of thing in two splits: how many are in both, and how much of each they make up.

    known: False where a split does not say; images_a, images_b: images (hands, for poses) with
    shared things; names: what is shared, or for poses pairs of ids, nearest first.
    """

    kind: str
    a: str
    b: str
    known: bool
    shared: int
    of_a: int
    of_b: int
    images_a: int
    images_b: int
    names: Sequence[str] = field(default_factory=tuple)

    def as_json(self) -> dict[str, Any]:
        return {**self.__dict__, "names": list(self.names)}


class Sides:
    """What one split shows, under names that mean the same in all splits of the data set."""

    def __init__(self, split: Split, across: bool) -> None:
        self.split, self.across, self.hands = split, across, SplitHands(split)

    @cached_property
    def things(self) -> Mapping[str, Names]:
        """Kind -> name -> images; an empty mapping where the split does not tell."""
        columns, tables = self.split.columns, self.split.tables
        take = tables["recordings"][columns["recording"]]
        if not self.across:
            take = np.char.add(f"{self.split.name}/", take.astype(str))
        number = columns["frame_number"].astype(str)
        # cameras of one take are synchronised: one take and frame number are one moment
        moment = np.char.add(np.char.add(take.astype(str), " frame "), number)
        subject, thing = columns["subject"], columns["object/name"]
        return {
            "recordings": _count(take),
            "instants": _count(moment),
            "subjects": _count(subject[subject >= 0].astype(str)),
            "objects": _count(tables["objects"][thing[thing >= 0]]),
        }

    @cached_property
    def poses(self) -> tuple[NDArray, NDArray]:
        """Unturned joints (K,21,3) of hands with all joints, and the hands' numbers."""
        chosen = np.flatnonzero(self.hands.whole)
        return unturned(self.hands.as_right[chosen]), chosen

    def hand_name(self, hand: int) -> str:
        """`id:side` of a hand by its number."""
        side = "left" if self.hands.is_left[hand] else "right"
        return f"{self.split.columns['id'][self.hands.row[hand]]}:{side}"


def _count(values: NDArray) -> Names:
    names, counts = np.unique(values, return_counts=True)
    return dict(zip(map(str, names), map(int, counts)))


def data_sets(data_dir: Any = None) -> dict[str, list[list[str]]]:
    """Data set -> groups of prepared splits that belong together (s0_train, s0_val, s0_test)."""
    groups: dict[str, dict[str, list[str]]] = {}
    for name in prepared(data_dir):
        dataset, _, split = name.partition("/")
        setup, _, kind = split.rpartition("_")
        setup = setup if kind in KINDS else ""
        groups.setdefault(dataset, {}).setdefault(setup, []).append(name)
    order = {kind: k for k, kind in enumerate(KINDS)}
    return {
        dataset: [
            sorted(members, key=lambda name: order.get(name.rpartition("/")[2].split("_")[-1], 9))
            for members in setups.values()
        ]
        for dataset, setups in groups.items()
    }


def train_of(name: str, data_dir: Any = None) -> str | None:
    """The prepared train split that belongs with a split; None when there is none."""
    for members in data_sets(data_dir).get(name.partition("/")[0], ()):
        if name in members and members[0].rpartition("/")[2].endswith(("train", "training")):
            return members[0]
    return None


def leakage(
    dataset: str, data_dir: Any = None, threshold_mm: float = THRESHOLD_MM
) -> Iterator[Shared]:
    """Everything that each two splits of a prepared data set share; the earlier kind is a.

    Near-equal poses: hands of b whose nearest pose in a, without place and turn and with left hands
    mirrored, is nearer than threshold_mm by mean joint distance. Raises UnknownName.
    """
    known = data_sets(data_dir)
    if dataset not in known:
        can_be = dataset in registry.table("dataset")
        advice = f"prepare {dataset}" if can_be else "list datasets"
        raise UnknownName("prepared data set", dataset, known, f"handbench {advice}")
    # takes of some data sets are numbered anew in every split
    reader = registry.load("dataset", dataset) if dataset in registry.table("dataset") else None
    across = getattr(reader, "recordings_across_splits", True)
    for members in known[dataset]:
        splits = [Sides(open_split(name, data_dir), across) for name in members]
        for a, b in combinations(splits, 2):
            for kind in a.things:
                yield _shared(kind, a, b)
            yield _near(a, b, threshold_mm)


def _shared(kind: str, a: Sides, b: Sides) -> Shared:
    first, second = a.things[kind], b.things[kind]
    both = sorted(first.keys() & second.keys())
    return Shared(
        kind=kind,
        a=a.split.name,
        b=b.split.name,
        known=bool(first and second),
        shared=len(both),
        of_a=len(first),
        of_b=len(second),
        images_a=sum(first[name] for name in both),
        images_b=sum(second[name] for name in both),
        names=both[:MOST_NAMES],
    )


def _near(a: Sides, b: Sides, threshold_mm: float) -> Shared:
    (known, rows_a), (asked, rows_b) = a.poses, b.poses
    kind = f"poses nearer than {threshold_mm:g} mm"
    if not len(known) or not len(asked):
        return Shared(kind, a.split.name, b.split.name, False, 0, len(known), len(asked), 0, 0)
    distance, nearest = nearest_pose_mm(asked, known, threshold_mm)
    close = np.flatnonzero(distance < threshold_mm)
    close = close[np.argsort(distance[close], kind="stable")]
    names = [
        f"{b.hand_name(rows_b[k])} ~ {a.hand_name(rows_a[nearest[k]])} {distance[k]:.2f} mm"
        for k in close[:MOST_NAMES]
    ]
    return Shared(
        kind=kind,
        a=a.split.name,
        b=b.split.name,
        known=True,
        shared=len(close),
        of_a=len(known),
        of_b=len(asked),
        images_a=len(np.unique(nearest[close])),
        images_b=len(close),
        names=names,
    )
