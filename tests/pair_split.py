"""A tiny data set for tests: both hands, one of them, and a held box, with a segmentation."""

import cv2
import numpy as np
from small_split import SIZE, K, draw, hand_record

from handbench.records import Frame, ObjectRecord, SequencePlan
from handbench.scoring.mssd import Shape, about, shape

CORNERS = np.stack(np.meshgrid([-0.02, 0.02], [-0.03, 0.03], [-0.05, 0.05]), -1).reshape(-1, 3)


def object_shape(name: str) -> Shape:
    """A box that looks the same after half a turn about z."""
    return shape(CORNERS, np.stack([np.eye(4), about((0, 0, 1), (0, 0, 0), 180.0)]))


class Pairs:
    """Reader of sequences of `length` frames: both hands, the right one, both, the left one, …"""

    name, splits, needs_raw = "pairs", ("train", "val", "test"), False
    object_shape = staticmethod(object_shape)

    def __init__(self, split: str, raw=None, count: int = 6, length: int = 3) -> None:
        self.split, self.count, self.length = split, count, length

    def plan(self) -> list[SequencePlan]:
        names = [f"s{k:03d}" for k in range(self.count)]
        return [SequencePlan(n, "cam", n, self.length, k) for k, n in enumerate(names)]

    def frames(self, plan: SequencePlan):
        rng = np.random.default_rng([self.splits.index(self.split), plan.key])
        for number in range(plan.rows):
            right, left = (hand_record(rng, side) for side in (False, True))
            hands = {"right": right, "left": left}
            if plan.key % 2:
                del hands["left" if plan.key % 4 == 1 else "right"]
            pose = about(rng.normal(size=3), (0, 0, 0), rng.uniform(0, 180))
            pose[:3, 3] = next(iter(hands.values())).joints_m[9] + [0.01, 0.0, 0.02]
            labels = np.zeros(SIZE[::-1], np.uint8)
            middle = K @ pose[:3, 3]
            cv2.circle(labels, tuple(int(x) for x in (middle / middle[2])[:2]), 8, 3, -1)
            yield Frame(
                id=f"{self.name}/{self.split}/{plan.name}/cam/{number}",
                sequence=plan.name,
                camera="cam",
                recording=plan.name,
                frame_number=number,
                order=number,
                image=draw(next(iter(hands.values()))),
                image_path="",
                image_size=SIZE,
                K=K.astype(np.float32),
                segmentation=cv2.imencode(".png", labels)[1].tobytes(),
                object=ObjectRecord("box", pose),
                **hands,
            )

    def attributes(self) -> dict:
        return {"dataset_version": "1"}
