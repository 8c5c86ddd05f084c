"""The true hands of a prepared split, as scoring needs them."""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from handbench import skinning
from handbench.errors import DataError
from handbench.frames import MANO_TIPS
from handbench.hand import Hand, default_hand, models_of
from handbench.rules import RULES, UNKNOWN, level, unpack
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

    def per_hand(self, name: str, part: slice | NDArray) -> NDArray:
        """right/name and left/name of some hands, without gathering all of them."""
        row, left = self.split.hands.row[part], self.is_left[part]
        values = np.asarray(self.split.columns[f"right/{name}"])[row]
        values[left] = self.split.columns[f"left/{name}"][row[left]]
        return values

    def joints_m(self) -> tuple[NDArray, NDArray, NDArray]:
        """Wrist-relative joints (M,21,3), valid (M,21), and wrists in the camera (M,3).

        None is valid of a hand whose wrist is not known, or is all that is known: its error is 0.
        """
        joints = self.split.hand_column("joints_m").astype(np.float64)
        valid = (self.split.hand_column("joints_valid") & 1).astype(bool)
        valid &= np.isfinite(joints).all(-1)
        wrist = joints[:, 0].copy()
        valid &= valid[:, :1] & valid[:, 1:].any(1, keepdims=True)
        return joints - wrist[:, None], valid, wrist

    def verts_m(self, part: slice | NDArray) -> NDArray | None:
        """Wrist-relative vertices of some hands, (m,778,3), NaN for hands without a mesh.

        As stored (by a set that ships them, or --store-verts) relative to the stored wrist, else
        vertices and wrist as the split's hand model poses them; None when neither is here.
        """
        verts, hands = self._stored_verts_m(part), self.hand_models()
        open_yet = np.isnan(verts).any((1, 2))
        if hands is None:
            return None if open_yet.all() else verts
        pose = self.per_hand("mano_pose", part)
        shape = self.per_hand("mano_shape", part)
        known = (self.per_hand("mano_valid", part) > 0) & np.isfinite(pose).all(1) & open_yet
        left = self.is_left[part]
        for side, hand in zip((False, True), hands):
            chosen = known & (left == side)
            if chosen.any():
                posed, joints = hand.pose(pose[chosen], shape[chosen])
                verts[chosen] = posed - joints[:, :1]
        return verts

    def _stored_verts_m(self, part: slice | NDArray) -> NDArray:
        row, left = self.split.hands.row[part], self.is_left[part]
        verts = np.full((len(row), 778, 3), np.nan)
        for side, chosen in (("right", ~left), ("left", left)):
            if f"{side}/verts_m" in self.split.columns:
                wrist = self.split.columns[f"{side}/joints_m"][row[chosen], :1].astype(np.float64)
                verts[chosen] = self.split.columns[f"{side}/verts_m"][row[chosen]] - wrist
        return verts

    def hand_models(self) -> tuple[Hand, Hand] | None:
        """(right, left) that the split was made with, or None when they are not here."""
        return models_of(str(self.split.attributes.get("hand_model", "")))

    def level(self) -> NDArray:
        return level(self.split.hand_column("visibility/scene/hand"))

    def finger_visible(self) -> NDArray:
        """(M,5) by the rule: 1 visible, 0 not, 255 unknown."""
        right = (self.hand_models() or (default_hand("right"),))[0]
        fingers, _ = RULES[self.rule](
            self.split.hand_column("visibility/scene/finger_count"),
            self.split.hand_column("visibility/scene/hand"),
            right.part_sizes,
        )
        return fingers

    def joint_visible(self) -> NDArray | None:
        """(M,21): 1 when a quarter or more of the 12 vertices nearest to the joint can be seen.

        0 when fewer can, 255 for hands without labels. Nearest in the rest pose; about half of
        them face away even on an uncovered finger. None when the split holds no labels.
        """
        seen, hands = self.vert_visible(slice(None)), self.hand_models()
        if seen is None or hands is None:
            return None
        share = (seen[:, nearest_vertices(hands[0])] == 1).mean(-1)
        labelled = seen[:, :1] != UNKNOWN
        return np.where(labelled, share >= SEEN_SHARE, UNKNOWN).astype(np.uint8)

    def vert_visible(self, part: slice | NDArray) -> NDArray | None:
        """(m,778) in the scene: 1, 0, or 255 for hands without labels; None when none has any."""
        source = self.split.hand_column("visibility/source")
        if not (source > 0).any():
            return None
        seen = unpack(self.per_hand("visibility/scene/vertex", part))
        return np.where(source[part, None] > 0, seen, UNKNOWN).astype(np.uint8)

    def star_joints_m(self, verts_m: NDArray, part: slice | NDArray) -> NDArray | None:
        """J* (m,21,3): joints regressed from meshes, relative to the regressed wrist.

        One fixed regressor for every method, the split's own hand model: MANO's 16 joints as
        weighted means of posed vertices, and five tip vertices. None without the hand model.
        """
        hands = self.hand_models()
        if hands is None:
            return None
        left = self.is_left[part]
        found = np.full((len(verts_m), 21, 3), np.nan)
        for side, hand in zip((False, True), hands):
            mesh = verts_m[left == side].astype(np.float64)
            joints = np.concatenate([hand.J_regressor @ mesh, mesh[:, hand.tip_ids]], 1)
            found[left == side] = joints[:, MANO_TIPS]
        return found - found[:, :1]

    def rotations(self) -> NDArray:
        """(M,3,3) of the wrist, as the hand model's first joint has it; NaN where not known."""
        pose = self.split.hand_column("mano_pose").astype(np.float64)
        known = (self.split.hand_column("mano_valid") > 0)[:, None, None, None]
        return np.where(known, skinning.rotations(pose[:, :3].reshape(-1, 1, 3)), np.nan)[:, 0]

    def box_side_px(self, part: slice | NDArray) -> NDArray:
        """(m,) longer side of the tight box."""
        return self.per_hand("box_px", part)[:, 2:].max(1)

    def clips(self) -> NDArray:
        """(M,) one number for each hand of each unbroken run of one camera."""
        names = ("sequence", "camera", "clip", "variant")
        keys = np.stack([*(self.per_row(name).astype(np.int64) for name in names), self.is_left])
        return np.unique(keys, axis=1, return_inverse=True)[1].ravel()

    def clusters(self) -> dict[str, list[str]]:
        """What numbers can be grouped by -> names: recordings, and subjects where known."""
        found = {"recording": [str(name) for name in self.split.tables["recordings"]]}
        subjects = self.per_row("subject")
        if (subjects >= 0).any():
            found["subject"] = [str(k) for k in range(int(subjects.max()) + 1)]
        return found

    def first_in_image(self) -> NDArray:
        """(M,) whether a hand is its image's first: numbers of an image stand with that hand."""
        first = np.zeros(len(self), bool)
        first[np.unique(self.split.hands.row, return_index=True)[1]] = True
        return first

    def present(self) -> NDArray:
        """(M,2) whether the hand's image has a right and a left hand: 1, 0, 255 unknown."""
        sides = [self.per_row(f"{side}/present") for side in ("right", "left")]
        return np.stack([np.where(x == UNKNOWN, UNKNOWN, x > 0) for x in sides], 1)


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
