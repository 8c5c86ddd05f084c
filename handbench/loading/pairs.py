"""Samples for methods that see more than one hand: both hands of an image, and the held object."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbench.errors import DataError
from handbench.frames import mirror_points, mirror_pose, project
from handbench.hand import Hand
from handbench.inference.outputs import native
from handbench.loading import crop, objects
from handbench.loading.augment import Draw
from handbench.loading.batch import Batch, Samples
from handbench.schema import SIDES
from handbench.store import Hands, Split

PER_HAND = ("joints_m", "verts_m", "joints_crop", "visibility", "hand_score")
NATIVE: dict[str, Callable[[NDArray], NDArray]] = {
    **dict.fromkeys(("joints_m", "verts_m", "root_m"), mirror_points),
    "pose": mirror_pose,
}


def kind_of(method: Any) -> type[Samples]:
    """The samples that a method takes: by its `hands` and `objects`."""
    seen = getattr(method, "objects", False)
    if method.hands == 2:
        return PairsWithObjects if seen else PairSamples
    return HandsWithObjects if seen else Samples


class PairSamples(Samples):
    """One sample an image with an annotated hand: both hands as they are, none mirrored.

    The crop is around both hands' boxes. Hand arrays have an axis of two behind the batch's, right
    and left: joints_m (B,2,21,3) each relative to its own wrist, joints_crop (B,2,21,2), pose
    (B,2,48), valid_joints (B,2,21) and so on; what an absent hand lacks is 0 and not valid.
    Besides: present (B,2) whether there is such a hand, valid_present (B,2), left_minus_right_m
    (B,3) between the wrists and valid_relative (B,). is_left is False throughout.
    """

    held: objects.Objects | None = None

    def __init__(
        self, split: Split, crop_px: int, hand: Hand, labels: bool = True, **options: Any
    ) -> None:
        _check_whole(split)
        rows = np.unique(split.hands.row)
        both = Hands(np.repeat(rows, 2), np.tile([False, True], len(rows)))
        single = Hands(rows, np.zeros(len(rows), bool))
        super().__init__(split, crop_px, hand, labels=False, hands=single, **options)
        options["images"] = False
        self.each = Samples(split, crop_px, hand, labels=labels, hands=both, **options)
        self.boxes = np.repeat(union(*self.boxes)[None], 2, 0)
        self.shipped = np.tile(np.logical_or(*self.shipped), (2, 1))
        if labels:
            self.labels = self._scene()

    def _scene(self) -> dict[str, NDArray]:
        """What concerns both hands of an image, not turned."""
        columns = self.split.columns
        present = np.stack([columns[f"{side}/present"][self.rows] for side in SIDES], 1)
        wrist = self.wrists()
        known = np.asarray(np.isfinite(wrist).all((1, 2)))
        labels = {
            "present": (present == 1).astype(np.float32),
            "valid_present": (present <= 1).astype(np.float32),
            "left_minus_right_m": np.where(known[:, None], wrist[:, 1] - wrist[:, 0], 0),
            "valid_relative": known.astype(np.float32),
        }
        return {name: np.asarray(value, np.float32) for name, value in labels.items()}

    def wrists(self) -> NDArray[np.float64]:
        """Right and left wrists (M,2,3) in the camera; NaN where not annotated."""
        columns = self.split.columns
        both = [columns[f"{side}/joints_m"][self.rows, 0] for side in SIDES]
        return np.stack(both, 1).astype(np.float64)

    def names(self, indices: NDArray) -> list[str]:
        return [str(self.ids[self.rows[i]]) for i in indices]

    def _labels(self, hands: NDArray, matrices: NDArray, drawn: Draw) -> Batch:
        index, matrices = hands[:, 0], matrices[:, 0]
        pairs = (2 * index[:, None] + [0, 1]).ravel()
        left, turned = self.each.is_left[pairs], np.repeat(drawn.rotation, 2)
        # labels of left hands are kept mirrored, and in the mirror a turn goes the other way round
        rotation = np.where(left, -turned, turned)
        found = self.each._of_hands(pairs, np.repeat(matrices, 2, 0), rotation)
        for name, back in NATIVE.items():
            found[name] = np.array(found[name])
            found[name][left] = back(found[name][left])
        found["valid_visibility"] = found["valid_visibility"] * np.repeat(
            drawn.occluder[:, 0] < 0, 2
        )
        both = {name: x.reshape(len(index), 2, *x.shape[1:]) for name, x in found.items()}
        known = {name: column[index] for name, column in self.labels.items()}
        turn = crop.about_z(drawn.rotation)
        away = known["left_minus_right_m"]
        known["left_minus_right_m"] = np.einsum("bij,bj->bi", turn, away).astype(np.float32)
        return {**both, **known, **self._object(index, matrices, turn)}

    def _object(self, index: NDArray, matrices: NDArray, turn: NDArray) -> Batch:
        return {}


class PairsWithObjects(PairSamples):
    """The same with the object: object_T (B,2,4,4) relative to each wrist, valid_object (B,2),
    object_corners, object_mask, valid_object_mask (objects.py); the crop holds its box too."""

    def __init__(self, split: Split, *args: Any, **options: Any) -> None:
        self.held = objects.of_split(split)
        super().__init__(split, *args, **options)
        self.boxes = union(self.boxes, object_boxes(self.held, self.K))

    def _object(self, index: NDArray, matrices: NDArray, turn: NDArray) -> Batch:
        assert self.held is not None
        rows, straight = self.rows[index], np.zeros(len(index), bool)
        wrists = self.wrists()[index].reshape(-1, 3)
        pose = self.held.relative(
            np.repeat(rows, 2), wrists, np.repeat(turn, 2, 0), np.zeros(2 * len(index), bool)
        )
        both = {name: x.reshape(len(index), 2, *x.shape[1:]) for name, x in pose.items()}
        return both | self.held.scene(rows, matrices, self.crop_px, straight)


class HandsWithObjects(Samples):
    """One-hand samples with the object: object_T (B,4,4) relative to the wrist, mirrored with a
    left hand (objects.mirror_object), valid_object (B,) and the rest of objects.py."""

    def __init__(self, split: Split, *args: Any, **options: Any) -> None:
        _check_whole(split)
        self.held = objects.of_split(split)
        super().__init__(split, *args, **options)
        self.boxes = union(self.boxes, object_boxes(self.held, self.K))
        right = np.isfinite(split.columns["right/joints_m"][self.rows, 0]).all(1)
        self.stands = ~(self.is_left & right)

    def _labels(self, hands: NDArray, matrices: NDArray, drawn: Draw) -> Batch:
        index = hands[:, 0]
        rows, left = self.rows[index], self.is_left[index]
        both = [self.split.columns[f"{side}/joints_m"][rows, 0] for side in SIDES]
        wrist = np.where(left[:, None], both[1], both[0]).astype(np.float64)
        turn = crop.about_z(drawn.rotation)
        return {
            **super()._labels(hands, matrices, drawn),
            **self.held.relative(rows, wrist, turn, left),
            **self.held.scene(rows, matrices[:, 0], self.crop_px, left),
        }

    def pictures(self, index: NDArray, object_T: NDArray) -> dict[str, NDArray]:
        """image_id (n,) and object/T_camera (n,4,4), un-mirrored, of hands index (B,); of those
        alone from which their image's object is counted: the right one where it is known."""
        left, chosen = self.is_left[index], self.stands[index]
        pose = np.where(left[:, None, None], objects.mirror_object(object_T), object_T)
        ids = self.ids[self.rows[index]]
        return {"image_id": ids[chosen], "object/T_camera": pose[chosen]}


def _check_whole(split: Split) -> None:
    """Raises DataError where only the margins of single hands are kept: scenes reach beyond."""
    if split.windows is not None:
        raise DataError(
            f"{split.name} keeps the margins of single hands, this method sees more of a picture: "
            "prepare it without --crop into another folder (--out)"
        )


def counts(samples: Samples) -> tuple[int, int]:
    """Rows of hands and of images that `rows_of` makes of all samples."""
    if isinstance(samples, HandsWithObjects):
        return len(samples), int(samples.stands.sum())
    return len(samples) * (2 if isinstance(samples, PairSamples) else 1), len(samples)


def rows_of(samples: Samples, arrays: Batch, out: dict[str, Any]) -> dict[str, NDArray]:
    """A batch's outputs as rows of a prediction file: predictions.HAND_ARRAYS with id, and
    IMAGE_ARRAYS with image_id, those that the method gives.

    Two hands of one image are two rows, right and left, whether it has such hands or not.
    """
    index = arrays["index"]
    ids = samples.ids[samples.rows[index]]
    if not isinstance(samples, PairSamples):
        found = {"id": ids, **native(arrays, out, samples.crop_px)}
        if isinstance(samples, HandsWithObjects):
            found |= samples.pictures(index, out["object_T"].float().cpu().numpy())
        return found
    flat = {name: x.flatten(0, 1) for name, x in out.items() if name in PER_HAND}
    straight = {
        "is_left": np.zeros(2 * len(index), bool),
        "crop_matrix": np.repeat(arrays["crop_matrix"], 2, 0),
    }
    found = {"id": np.repeat(ids, 2), **native(straight, flat, samples.crop_px)}
    found["is_left"] = np.tile([False, True], len(index))
    found |= {
        "image_id": ids,
        "left_minus_right_m": out["left_minus_right_m"].float().cpu().numpy(),
    }
    if "object_T" in out:
        found["object/T_camera"] = out["object_T"].float().cpu().numpy()
    return found


def union(one: NDArray, other: NDArray) -> NDArray[np.float32]:
    """Boxes x y w h (…,4) around two; one of them where the other is NaN."""
    low = np.fmin(one[..., :2], other[..., :2])
    high = np.fmax(one[..., :2] + one[..., 2:], other[..., :2] + other[..., 2:])
    return np.concatenate([low, high - low], -1).astype(np.float32)


def object_boxes(known: objects.Objects, K: NDArray) -> NDArray[np.float32]:
    """Boxes (N,4) px around the objects' projected corners; NaN where unknown."""
    corners = known.corners_m()
    unknown = ~(np.isfinite(corners).all((1, 2)) & (corners[..., 2] > 0).all(1))
    corners[unknown] = 1.0
    found = crop.extent(project(corners, K))
    found[unknown] = np.nan
    return found
