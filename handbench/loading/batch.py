"""Prepared split -> batches: crops and labels as a method sees them, left hands mirrored.

Images are cut and mirrored in one warp; labels are read once, whole, and mirrored once.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbench.errors import DataError, MissingPackage, UnknownName
from handbench.frames import mirror_points, mirror_pose
from handbench.hand import Hand
from handbench.loading import crop
from handbench.loading.augment import Augmentation, Draw, draw
from handbench.loading.neighbours import Neighbours
from handbench.loading.patches import Cutter, finish_on_device
from handbench.records import SHIPPED
from handbench.rules import RULES, UNKNOWN
from handbench.store import Hands, Split

Batch = dict[str, Any]

KEPT_VERTS = 20_000  # up to so many hands (190 MB) posed vertices are kept, beyond posed per batch


class Samples:
    """The one-hand samples of a prepared split; samples[indices] is a batch of numpy arrays.

    split: a store.Split. hand: the right hand that poses mano parameters into vertices.
    frames: T > 1 gives images (B,T,3,S,S), current frame first, then the earlier ones that
    neighbours.Neighbours finds by frame_step, frame_rule and frame_jitter; all share one draw of
    the augmentation, and each has its own box. box_source: see crop.SOURCES.
    labels: False leaves all ground truth out (predicting needs none); images: False the pictures.
    seed (and the epoch) choose the augmentation's draws. pictures: "exact" or "fast" (patches.py);
    fast batches hold image_bytes and gain in place of image, until to_torch. hands: which hands,
    the split's own unless given.

    A batch holds image (B,[T,]3,S,S) f4 0..1 RGB, index (B,), is_left (B,), K_crop (B,3,3),
    crop_matrix (B,2,3) and, with labels, joints_m (B,21,3) and verts_m (B,778,3) wrist-relative,
    root_m (B,3) the wrist, joints_crop (B,21,2) 0..1 of the crop, pose (B,48), shape (B,10),
    visibility (B,5), hand_visibility (B), valid_joints (B,21), valid_mano, valid_verts,
    valid_visibility (B). What is unknown is 0 and its mask is 0. With frames > 1 each of these
    labels also stands under frame_NAME (B,T,…) for all frames, frame 0 the current one.
    Raises UnknownName for a box source or rule, DataError when the split lacks the box's column.
    """

    def __init__(
        self,
        split: Split,
        crop_px: int,
        hand: Hand,
        frames: int = 1,
        frame_step: int = 1,
        frame_rule: str = "clean",
        frame_jitter: int = 0,
        box_source: str = "visible_mask",
        box_factor: float = crop.FACTOR,
        augment: Augmentation | None = None,
        labels: bool = True,
        visibility_rule: str = "released",
        seed: int = 0,
        images: bool = True,
        pictures: str = "exact",
        hands: Hands | None = None,
    ) -> None:
        self.split, self.crop_px, self.hand = split, crop_px, hand
        chosen = split.hands if hands is None else hands
        self.box_source, self.box_factor = box_source, box_factor
        self.augment, self.seed, self.images = augment, seed, images
        self.cutter = Cutter(split, crop_px, pictures)
        self.rows, self.is_left = np.asarray(chosen.row), np.asarray(chosen.is_left)
        self.ids = np.asarray(split.columns["id"])
        self.image_size = np.asarray(split.columns["image_size"])
        self.K = np.nan_to_num(np.asarray(split.columns["K"], np.float64))
        self.neighbours = Neighbours(
            split.columns, self.rows, self.is_left, frames, frame_step, frame_rule, frame_jitter
        )
        self.boxes = self._tight_boxes()
        self.shipped = self._shipped()
        self.labels = self._read_labels(visibility_rule) if labels else {}

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def whole_images(self) -> int:
        """How many samples have no box in their current frame and so show the whole image."""
        return int(np.isnan(self.boxes[self.is_left.astype(int), self.rows, 0]).sum())

    def names(self, indices: NDArray) -> list[str]:
        """The image id of samples, with the hand's side."""
        return [
            f"{self.ids[self.rows[i]]}:{'left' if self.is_left[i] else 'right'}" for i in indices
        ]

    def __getitem__(self, indices: Sequence[int] | NDArray) -> Batch:
        return self.batch(indices)

    def batch(self, indices: Sequence[int] | NDArray, epoch: int = 0) -> Batch:
        """The batch of samples indices (B,) with the augmentation draws of an epoch."""
        index = np.asarray(indices, np.int64)
        drawn = draw(self.augment, self.seed, epoch, index)
        left, rows = self.is_left[index], self.rows[index]
        frame_rows, sides, hands = self.neighbours.of(index, self.seed, epoch)
        matrices = self._matrices(frame_rows, sides, drawn)
        batch: Batch = {
            "index": index,
            "is_left": left,
            "crop_matrix": matrices[:, 0].astype(np.float32),
            "K_crop": crop.intrinsics(self.K[rows], matrices[:, 0], drawn.rotation, left).astype(
                np.float32
            ),
        }
        if self.images:
            batch |= self.cutter.cut(frame_rows, matrices, drawn)
        if self.labels:
            batch |= self._labels(hands, matrices, drawn)
        return batch

    def _matrices(self, rows: NDArray, sides: NDArray, drawn: Draw) -> NDArray:
        """Affine matrices (B,T,2,3): pixels of each frame (B,T) -> pixels of the crop."""
        matrices = []
        tight = self.boxes[sides, rows]
        # an earlier frame without a box takes that of the current frame
        tight = np.where(np.isnan(tight), tight[:, :1], tight)
        for t in range(rows.shape[1]):
            boxes = crop.jitter(tight[:, t], drawn.shift, drawn.box_scale)
            centre, side, _ = crop.square(
                boxes, self.image_size[rows[:, t]], self.box_factor, self.shipped[sides, rows][:, t]
            )
            turn, left = drawn.rotation, sides[:, t] == 1
            matrices.append(crop.affine(centre, side * drawn.scale, self.crop_px, turn, left))
        return np.stack(matrices, 1)

    def _labels(self, hands: NDArray, matrices: NDArray, drawn: Draw) -> Batch:
        """Labels of hands (B,T) in their crops: of the current frame, and of all if T > 1."""
        count, frames = hands.shape
        flat = self._of_hands(
            hands.ravel(), matrices.reshape(-1, 2, 3), np.repeat(drawn.rotation, frames)
        )
        found = {
            name: array.reshape(count, frames, *array.shape[1:]) for name, array in flat.items()
        }
        # a painted occluder hides the current frame alone
        found["valid_visibility"][:, 0] *= drawn.occluder[:, 0] < 0
        current = {name: array[:, 0] for name, array in found.items()}
        return current | ({f"frame_{k}": v for k, v in found.items()} if frames > 1 else {})

    def _of_hands(self, index: NDArray, matrices: NDArray, rotation: NDArray) -> Batch:
        """Labels of hands index (B,), turned by rotation (B,); 0 and masked where index is -1."""
        known = {name: column[index] for name, column in self.labels.items()}
        for name in known if (index < 0).any() else ():
            known[name][index < 0] = 0
        if "verts_m" not in known:
            known["verts_m"] = self._pose(known["pose"], known["shape"], known["valid_verts"])
        if np.any(rotation):
            turn = crop.about_z(rotation)
            back = turn.astype(np.float32).transpose(0, 2, 1)
            for name in ("joints_m", "verts_m"):
                known[name] = known[name] @ back
            known["root_m"] = (known["root_m"][:, None] @ back)[:, 0]
            known["pose"] = turn_pose(known["pose"], turn)
        known["joints_crop"] = (
            crop.transform(known.pop("joints_px"), matrices) / self.crop_px
        ).astype(np.float32)
        return known

    def _pose(self, pose: NDArray, shape: NDArray, valid: NDArray) -> NDArray[np.float32]:
        """Vertices (B,778,3) of mano parameters, relative to the wrist; 0 where not valid."""
        verts, joints = self.hand.pose(pose, shape)
        return ((verts - joints[:, :1]) * valid[:, None, None]).astype(np.float32)

    def _side(self, name: str) -> NDArray | None:
        """A hand column of both sides (2,N,…): right, left; None when the split has it not."""
        columns = self.split.columns
        if f"right/{name}" not in columns or f"left/{name}" not in columns:
            return None
        return np.stack([columns[f"right/{name}"], columns[f"left/{name}"]])

    def _tight_boxes(self) -> NDArray[np.float32]:
        """Boxes (2,N,4) px of the right and the left hand of every image; NaN where none."""
        name = crop.SOURCES.get(self.box_source, "joints_px")
        sides = self._side(name)
        if sides is None:
            raise DataError(
                f"{self.split.name} has no {name} for boxes from '{self.box_source}': "
                "choose another box source, for example -o box_source=gt_joints"
            )
        shifted = np.arange(sides.shape[1]) * 2
        return np.stack([crop.tight_boxes(self.box_source, sides[s], shifted + s) for s in (0, 1)])

    def _shipped(self) -> NDArray[np.bool_]:
        """Which of these boxes the data set ships (2,N), rather than extents of its joints."""
        sources = self._side("box_source")
        if self.box_source != "official" or sources is None:
            return np.zeros(self.boxes.shape[:2], bool)
        return sources == SHIPPED

    def _read_labels(self, rule: str) -> dict[str, NDArray]:
        """All labels (M,…), mirrored to right hands, wrist-relative, gaps filled with 0."""
        gather, left = self._gather, self.is_left
        joints, pixels = gather("joints_m", (21, 3)), gather("joints_px", (21, 2))
        joints[left] = mirror_points(joints[left])
        root = joints[:, 0].copy()
        joints -= root[:, None]
        pose, shape = gather("mano_pose", (48,)), gather("mano_shape", (10,))
        pose[left] = mirror_pose(pose[left])
        annotated = (gather("joints_valid", (21,)).astype(np.uint8) & 1).astype(bool)
        valid = {
            "valid_joints": annotated & np.isfinite(joints).all(-1),
            "valid_mano": np.isfinite(pose).all(-1) & np.isfinite(shape).all(-1),
        }
        labels = {
            "joints_m": joints,
            "root_m": root,
            "joints_px": pixels,
            "pose": pose,
            "shape": shape,
        }
        labels |= self._read_verts(valid, pose, shape) | self._read_visibility(rule)
        for name, mask in valid.items():
            labels[name] = mask.astype(np.float32)
        return {name: np.nan_to_num(column, nan=0.0) for name, column in labels.items()}

    def _read_verts(
        self, valid: dict[str, NDArray], pose: NDArray, shape: NDArray
    ) -> dict[str, NDArray]:
        """Vertices as stored, else (for a small split) posed now; and which are known."""
        if {"right/verts_m", "left/verts_m"} & set(self.split.columns):
            verts = self._gather("verts_m", (778, 3))
            verts[self.is_left] = mirror_points(verts[self.is_left])
            wrist = self._gather("joints_m", (21, 3))[:, :1]
            wrist[self.is_left] = mirror_points(wrist[self.is_left])
            verts = verts - wrist
            return {"verts_m": verts, "valid_verts": _mask(np.isfinite(verts).all((1, 2)))}
        known = valid["valid_mano"]
        if len(self) > KEPT_VERTS:
            return {"valid_verts": _mask(known)}
        safe = [np.nan_to_num(column) for column in (pose, shape)]
        parts = [
            self._pose(safe[0][part], safe[1][part], known[part])
            for part in np.array_split(np.arange(len(self)), len(self) // 256 + 1)
        ]
        return {"verts_m": np.concatenate(parts), "valid_verts": _mask(known)}

    def _read_visibility(self, rule: str) -> dict[str, NDArray]:
        """Per finger and hand, 1 visible, by the named rule on the labels of the whole scene."""
        if rule not in RULES:
            raise UnknownName("visibility rule", rule, RULES)
        counts = self._gather("visibility/scene/finger_count", (6,), -1)
        share = self._gather("visibility/scene/hand", ())
        fingers, hand = RULES[rule](counts, share, self.hand.part_sizes)
        known = (fingers != UNKNOWN).all(1) & (hand != UNKNOWN)
        return {
            "visibility": (fingers * known[:, None]).astype(np.float32),
            "hand_visibility": (hand * known).astype(np.float32),
            "valid_visibility": _mask(known),
        }

    def _gather(self, name: str, shape: tuple[int, ...], missing: float = np.nan) -> NDArray:
        """A hand column (M, *shape) as float32; `missing` where the split has none."""
        values = np.full((len(self), *shape), missing, np.float32)
        for side, chosen in (("right", ~self.is_left), ("left", self.is_left)):
            if f"{side}/{name}" in self.split.columns:
                values[chosen] = self.split.columns[f"{side}/{name}"][self.rows[chosen]]
        return values


def _mask(flags: NDArray) -> NDArray[np.float32]:
    return flags.astype(np.float32)


def turn_pose(pose: NDArray, turn: NDArray) -> NDArray[np.float32]:
    """Poses (B,48) whose global rotation is turned by the rotations turn (B,3,3)."""
    from scipy.spatial.transform import Rotation

    turned = pose.copy()
    turned[:, :3] = (Rotation.from_matrix(turn) * Rotation.from_rotvec(pose[:, :3])).as_rotvec()
    return turned


def unmirror(points: NDArray, is_left: NDArray) -> NDArray:
    """Outputs (B,P,3) of a method, back to the native side of each hand (B,)."""
    native = np.array(points)
    native[is_left] = mirror_points(native[is_left])
    return native


def to_torch(batch: Batch, device: Any = "cpu") -> Batch:
    """The batch, of arrays or tensors, as tensors on a device. Raises MissingPackage."""
    try:
        import torch
    except ImportError as error:
        raise MissingPackage("torch", "train", "training and predicting") from error
    tensors = {k: torch.as_tensor(v).to(device, non_blocking=True) for k, v in batch.items()}
    if "image_bytes" in tensors:
        tensors["image"] = finish_on_device(tensors.pop("image_bytes"), tensors.pop("gain"))
    return tensors
