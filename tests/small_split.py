"""A tiny data set for tests: open hands of both sides, coloured dots at their joints."""

import cv2
import numpy as np

from handbench.frames import project
from handbench.hand import default_hand
from handbench.records import Frame, HandRecord, SequencePlan

SIZE = (160, 120)
K = np.array([[200.0, 0, 80], [0, 200, 60], [0, 0, 1]])


def joint_colours() -> np.ndarray:
    """RGB (21,3), far from each other and from the grey background."""
    grid = np.stack(np.meshgrid([0, 120, 255], [0, 120, 255], [0, 120, 255]), -1).reshape(-1, 3)
    return grid[np.ptp(grid, axis=1) > 0][:21]


def hand_record(rng: np.random.Generator, is_left: bool) -> HandRecord:
    hand = default_hand("left" if is_left else "right")
    pose = rng.normal(0, 0.15, 48)
    pose[:3] = rng.normal(0, 0.6, 3)
    shape = rng.normal(0, 0.5, 10)
    verts, joints = hand.pose(pose[None], shape[None])
    move = np.array([0, 0, 0.45]) + rng.normal(0, 0.02, 3) - joints[0, 9]
    joints_m = (joints[0] + move).astype(np.float32)
    joints_px = project(joints_m, K)
    low, high = joints_px.min(0), joints_px.max(0)
    return HandRecord(
        joints_m=joints_m,
        joints_valid=np.full(21, 3, np.uint8),
        joints_px=joints_px.astype(np.float32),
        joints_kind=0,
        mano_pose=pose.astype(np.float32),
        mano_shape=shape.astype(np.float32),
        mano_trans_m=move.astype(np.float32),
        mano_valid=1,
        box_px=np.r_[low, high - low].astype(np.float32),
        box_source=1,
    )


def draw(record: HandRecord) -> bytes:
    picture = np.full((SIZE[1], SIZE[0], 3), 128, np.uint8)
    for (x, y), colour in zip(record.joints_px, joint_colours()):
        cv2.circle(picture, (round(float(x)), round(float(y))), 2, colour[::-1].tolist(), -1)
    return cv2.imencode(".png", picture)[1].tobytes()


class Small:
    """Reader of `count` sequences of `length` frames each; every second one is a left hand."""

    name, splits, needs_raw = "small", ("train", "val", "test"), False

    def __init__(self, split: str, raw=None, count: int = 8, length: int = 4) -> None:
        self.split, self.count, self.length = split, count, length

    def plan(self) -> list[SequencePlan]:
        return [
            SequencePlan(f"s{k:03d}", "cam", f"s{k:03d}", self.length, k) for k in range(self.count)
        ]

    def frames(self, plan: SequencePlan):
        rng = np.random.default_rng([len(self.split), self.splits.index(self.split), plan.key])
        for number in range(plan.rows):
            record = hand_record(rng, bool(plan.key % 2))
            yield Frame(
                id=f"small/{self.split}/{plan.name}/cam/{number}",
                sequence=plan.name,
                camera="cam",
                recording=plan.name,
                frame_number=number,
                order=number,
                image=draw(record),
                image_path="",
                image_size=SIZE,
                K=K.astype(np.float32),
                **{"left" if plan.key % 2 else "right": record},
            )

    def attributes(self) -> dict:
        return {"dataset_version": "1"}
