"""The true hands of a prepared split, as scoring needs them."""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from handbench.errors import DataError
from handbench.hand import Hand, default_hand, models_of
from handbench.rules import RULES, level, unpack
from handbench.store import Split

NEAREST = 12
SEEN_SHARE = 0.25


@dataclass(frozen=True)
class Truth:
    """M hands of a split in its fixed order; arrays gathered once, meshes computed on demand."""

    split: Split = field(repr=False)
    rule: str

    def __len__(self) -> int:
        return len(self.split.hands.row)

    @property
    def id(self) -> NDArray:
        return np.asarray(self.split.columns["id"])[self.split.hands.row].astype(str)

    @property
    def is_left(self) -> NDArray:
        return np.asarray(self.split.hands.is_left).astype(bool)

    def per_row(self, name: str) -> NDArray:
        """A column of the images, gathered for each hand."""
        return np.asarray(self.split.columns[name])[self.split.hands.row]

    def joints_m(self) -> tuple[NDArray, NDArray, NDArray]:
        """Wrist-relative joints (M,21,3), valid (M,21), and wrists in the camera (M,3)."""
        joints = self.split.hand_column("joints_m").astype(np.float64)
        valid = (self.split.hand_column("joints_valid") & 1).astype(bool)
        valid &= np.isfinite(joints).all(-1)
        wrist = joints[:, 0].copy()
        return joints - wrist[:, None], valid & valid[:, :1], wrist

    def verts_m(self, part: slice | NDArray) -> NDArray | None:
        """Wrist-relative vertices of some hands, (m,778,3); None without the split's hand model.

        NaN for hands without a mesh. Vertices and wrist joint come from the same posed model.
        """
        hands = self.hand_models()
        if hands is None:
            return None
        pose = self.split.hand_column("mano_pose")[part]
        shape = self.split.hand_column("mano_shape")[part]
        known = (self.split.hand_column("mano_valid")[part] > 0) & np.isfinite(pose).all(1)
        verts = np.full((len(pose), 778, 3), np.nan)
        left = self.is_left[part]
        for side, hand in zip((False, True), hands):
            chosen = known & (left == side)
            if chosen.any():
                posed, joints = hand.pose(pose[chosen], shape[chosen])
                verts[chosen] = posed - joints[:, :1]
        return verts

    def hand_models(self) -> tuple[Hand, Hand] | None:
        """(right, left) that the split was made with, or None when they are not here."""
        return models_of(str(self.split.attributes.get("hand_model", "")))

    def level(self) -> NDArray:
        return level(self.split.hand_column("visibility/scene/hand"))

    def finger_visible(self) -> NDArray:
        """(M,5) by the rule: 1 visible, 0 not, 255 unknown."""
        hands = self.hand_models()
        sizes = np.bincount((hands or (default_hand("right"),))[0].vertex_part, minlength=6)
        fingers, _ = RULES[self.rule](
            self.split.hand_column("visibility/scene/finger_count"),
            self.split.hand_column("visibility/scene/hand"),
            sizes,
        )
        return fingers

    def joint_visible(self) -> NDArray | None:
        """(M,21) bool: a quarter or more of the 12 vertices nearest to the joint can be seen.

        Nearest in the rest pose; about half of them face away even on an uncovered finger. None
        when the split holds no labels.
        """
        source = self.split.hand_column("visibility/source")
        hands = self.hand_models()
        if hands is None or not (source > 0).any():
            return None
        seen = unpack(self.split.hand_column("visibility/scene/vertex"))
        return seen[:, nearest_vertices(hands[0])].mean(-1) >= SEEN_SHARE


@lru_cache(maxsize=4)
def _nearest(sha256: str, verts: bytes, joints: bytes) -> NDArray:
    v = np.frombuffer(verts).reshape(-1, 3)
    j = np.frombuffer(joints).reshape(-1, 3)
    distance = np.linalg.norm(v[None] - j[:, None], axis=-1)
    return np.argsort(distance, axis=1, kind="stable")[:, :NEAREST]


def nearest_vertices(hand: Hand) -> NDArray:
    """(21, 12) ids of the vertices nearest to each joint in the rest pose."""
    verts, joints = hand.pose(np.zeros((1, 48)), np.zeros((1, 10)))
    return _nearest(
        hand.sha256,
        np.ascontiguousarray(verts[0], dtype=float).tobytes(),
        np.ascontiguousarray(joints[0], dtype=float).tobytes(),
    )


def of_split(split: Split, rule: str = "released") -> Truth:
    """The truth of a prepared split. Raises DataError when it holds no hand."""
    truth = Truth(split, rule)
    if not len(truth):
        raise DataError(f"{split.name} holds no annotated hand: there is nothing to score")
    return truth
