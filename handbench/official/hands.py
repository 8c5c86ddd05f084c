"""The hands of a prepared split in the order, joints and axes of an official list."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from handbench import frames
from handbench.console import amount, say
from handbench.errors import DataError
from handbench.predictions import Predictions
from handbench.scoring.held import held
from handbench.scoring.truth import Truth, of_split
from handbench.store import Split


@dataclass(frozen=True)
class Convention:
    """How a list writes points: file joints = ours[:, order], file points = ours * axes."""

    order: NDArray[np.int64]
    axes: NDArray[np.float64]

    def joints(self, joints_m: NDArray) -> NDArray[np.float64]:
        return joints_m[:, self.order] * self.axes

    def ours(self, values: NDArray) -> NDArray:
        """Values of joints (N,21,…) in the file's order, brought into ours."""
        return values[:, np.argsort(self.order)]


CONVENTIONS = {
    "ho3d": Convention(np.argsort(frames.HO3D), frames.OPENGL),
    "freihand": Convention(np.arange(21), np.ones(3)),
    "dexycb": Convention(np.arange(21), np.ones(3)),
}


def kind_of(protocol: str) -> str:
    """ho3d, freihand or dexycb: whose convention an official protocol has."""
    return protocol.split("_")[0]


class Points(Protocol):
    """Samples of points, read piece by piece."""

    @property
    def path(self) -> Path: ...

    @property
    def points_a_sample(self) -> int: ...

    def __len__(self) -> int: ...

    def read(self, start: int, stop: int) -> NDArray[np.float64]: ...


@dataclass(frozen=True)
class Computed:
    """Points (samples, points_a_sample, 3) that of(slice) gives; path names them in messages."""

    path: Path
    samples: int
    points_a_sample: int
    of: Callable[[slice], NDArray[np.float64]]

    def __len__(self) -> int:
        return self.samples

    def read(self, start: int, stop: int) -> NDArray[np.float64]:
        return self.of(slice(start, stop))


@dataclass(frozen=True)
class OfficialHands:
    """N hands of a split that stand in the official list, in its order.

    hand (N,): which hands of the truth; number (N,): their lines in the list.
    """

    truth: Truth
    kind: str
    hand: NDArray[np.int64]
    number: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.hand)

    @property
    def path(self) -> Path:
        return Path(self.truth.split.name)

    def wrist_m(self) -> NDArray[np.float64]:
        """(N,3) in the OpenCV camera frame."""
        return self.truth.joints_m()[2][self.hand]

    def joints(self) -> Computed:
        """True joints as the official file has them, metres."""
        relative, _, wrist = self.truth.joints_m()
        joints = CONVENTIONS[self.kind].joints((relative + wrist[:, None])[self.hand])
        return Computed(self.path, len(self), 21, joints.__getitem__)

    def verts(self) -> Computed:
        """True vertices as the official file has them: shipped ones where stored, else posed.

        Raises DataError naming the first hand that has none.
        """
        split = self.truth.split
        if any(f"{side}/verts_m" in split.columns for side in ("right", "left")):
            return Computed(
                self.path, len(self), 778, partial(self._shipped, split.hand_column("verts_m"))
            )
        if self.truth.hand_models() is None:
            raise DataError(
                f"{split.name} was prepared with another hand model than the one in use here: "
                "set HANDBENCH_MANO to that model's folder"
            )
        return Computed(self.path, len(self), 778, partial(self._posed, self.wrist_m()))

    def _shipped(self, verts_m: NDArray, part: slice) -> NDArray:
        found = verts_m[self.hand[part]].astype(np.float64)
        return self._known(found, part) * CONVENTIONS[self.kind].axes

    def _posed(self, wrist_m: NDArray, part: slice) -> NDArray:
        posed = self.truth.verts_m(self.hand[part])
        assert posed is not None
        return (self._known(posed, part) + wrist_m[part, None]) * CONVENTIONS[self.kind].axes

    def _known(self, verts: NDArray, part: slice) -> NDArray:
        missing = ~np.isfinite(verts).all((1, 2))
        if missing.any():
            name = self.truth.id[self.hand[part][missing][0]]
            raise DataError(f"{self.path}: '{name}' has no true mesh: it cannot be scored as one")
        return verts

    def who(self) -> dict[str, NDArray]:
        """Id, side, sequence, recording, level, visible fingers and holding of each hand."""
        truth, hand = self.truth, self.hand
        return {
            "id": truth.id[hand],
            "is_left": truth.is_left[hand],
            "sequence": truth.per_row("sequence")[hand],
            "recording": truth.per_row("recording")[hand],
            "level": truth.level()[hand],
            "finger_visible": truth.finger_visible()[hand],
            "held": held(truth.split)[hand],
        }


def official_hands(split: Split, kind: str) -> OfficialHands:
    """The split's hands that have an official index and known joints, sorted by it.

    Raises DataError when there is none, or one index names two hands.
    """
    truth = of_split(split)
    number = truth.per_row("official_index").astype(np.int64)
    _, valid, _ = truth.joints_m()
    listed = np.flatnonzero((number >= 0) & valid.all(1))
    if not len(listed):
        raise DataError(
            f"{split.name} has no hand with an official index and all joints: official files "
            "need a split that was prepared from the official list"
        )
    order = listed[np.argsort(number[listed], kind="stable")]
    twice = np.flatnonzero(np.diff(number[order]) == 0)
    if len(twice):
        raise DataError(
            f"{split.name}: official index {number[order][twice[0]]} names two hands; the list of "
            f"{kind} has one hand a line"
        )
    return OfficialHands(truth, kind, order, number[order])


@dataclass(frozen=True)
class PlacedHands:
    """Predicted hands in the camera frame, as an official file writes them, in its order."""

    predictions: Predictions
    row: NDArray[np.int64]
    wrist_m: NDArray[np.float64]
    kind: str
    path: Path

    def joints(self) -> Computed:
        found = self.predictions.joints_m[self.row].astype(np.float64)
        placed = found - found[:, :1] + self.wrist_m[:, None]
        joints = CONVENTIONS[self.kind].joints(placed)
        return Computed(self.path, len(self.row), 21, joints.__getitem__)

    def verts(self) -> Computed | None:
        if self.predictions.verts_m is None:
            return None
        # the mesh moves with the joints: both stand relative to one wrist
        move = self.wrist_m - self.predictions.joints_m[self.row, 0].astype(np.float64)
        return Computed(self.path, len(self.row), 778, partial(self._moved, move))

    def _moved(self, move_m: NDArray, part: slice) -> NDArray:
        assert self.predictions.verts_m is not None
        verts = self.predictions.verts_m[self.row[part]].astype(np.float64)
        return (verts + move_m[part, None]) * CONVENTIONS[self.kind].axes


def place(
    predictions: Predictions,
    path: Path,
    row: NDArray[np.int64],
    true_wrist_m: NDArray[np.float64],
    kind: str,
    root: str = "auto",
) -> tuple[PlacedHands, str]:
    """Predictions of some rows put into the camera frame, and the root that was taken.

    root: "predicted" takes root_m; "ground_truth" puts the predicted wrist on the true one, as
    HandOccNet and H2ONet write their HO-3D files; "auto" the first where all rows have it (but
    for those whose joints are not finite either). Says so when only some rows have it. Raises
    DataError when predicted roots are asked for and missing.
    """
    given = predictions.root_m
    fine = np.isfinite(predictions.joints_m[row]).all((1, 2))
    lacking = fine if given is None else fine & ~np.isfinite(given[row]).all(1)
    known = given is not None and not lacking.any()
    if root == "auto" and 0 < lacking.sum() < fine.sum():
        say(
            f"{path}: root_m of {lacking.sum():,} of {len(row):,} hands is missing: all wrists are "
            "put on the true ones"
        )
    if root == "predicted" and not known:
        raise DataError(
            f"{path} has no root_m for every hand: where the wrist is in the camera is unknown; "
            "--root ground_truth puts it on the true wrist"
        )
    if given is not None and known and root != "ground_truth":
        own = predictions.joints_m[row, 0].astype(np.float64)
        wrist, source = given[row].astype(np.float64) + own, "predicted"
        if predictions.attributes.get("root_source") == "ground_truth":
            source = "ground_truth"
    else:
        wrist, source = true_wrist_m, "ground_truth"
    return PlacedHands(predictions, row, wrist, kind, path), source


def rows_for(
    predictions: Predictions, hands: OfficialHands, path: Path, subset: bool
) -> tuple[OfficialHands, NDArray[np.int64]]:
    """The official hands that are predicted, and their rows in the predictions.

    Without subset all must be. Raises DataError naming the first one missing.
    """
    place_of = {
        (name, bool(left)): row
        for row, (name, left) in enumerate(zip(predictions.id.tolist(), predictions.is_left))
    }
    if len(place_of) != len(predictions):
        twice = amount(len(predictions) - len(place_of), "hand")
        raise DataError(f"{path}: {twice} predicted twice")
    wanted = zip(hands.truth.id[hands.hand].tolist(), hands.truth.is_left[hands.hand].tolist())
    row = np.array([place_of.get(key, -1) for key in wanted])
    found = row >= 0
    if not found.any() or (not found.all() and not subset):
        number = hands.number[~found][0]
        raise DataError(
            f"{path} has {int(found.sum()):,} of the {len(row):,} official hands of "
            f"{hands.path}; the first missing is official index {number} "
            f"('{hands.truth.id[hands.hand[~found][0]]}'): predict them, or take --subset"
        )
    kept = OfficialHands(hands.truth, hands.kind, hands.hand[found], hands.number[found])
    return kept, row[found]
