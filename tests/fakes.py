"""A small reader without raw data, for tests of the store and of the prepare driver."""

import time
from collections import Counter

import cv2
import numpy as np

from handbench.hand import default_hand
from handbench.records import Frame, HandRecord, Mesh, ObjectRecord, Scene, SequencePlan

SIZE = (48, 32)
K = np.array([[60.0, 0, 24], [0, 60, 16], [0, 0, 1]])


class FakeReader:
    """sequences x 2 cameras x rows frames; one in four has two hands, one in seven is skipped."""

    name = "fake"
    splits = ("train", "test")
    needs_raw = False

    def __init__(
        self, split, raw=None, sequences=6, rows=40, pause=0.0, scenes=False, version="1", skip=7
    ):
        self.split, self.sequences, self.rows, self.pause = split, sequences, rows, pause
        self.scenes, self.version, self.skip = scenes, version, skip
        self.skipped = Counter()

    def plan(self):
        # not in bytewise order, cameras named so that order matters
        return [
            SequencePlan(f"take{s}", camera, f"rec{s}", self.rows, key=s)
            for s in reversed(range(self.sequences))
            for camera in ("b", "a")
        ]

    def frames(self, plan):
        for number in reversed(range(plan.rows)):
            if self.skip and number % self.skip == self.skip - 1:
                self.skipped["made to fail"] += 1
                continue
            time.sleep(self.pause)
            yield self.frame(plan, number)

    def attributes(self):
        return {"dataset_version": self.version, "missing": 3, "expected": 99}

    def summary(self, columns):
        return {"mean frame": float(columns["frame_number"].mean())}

    def frame(self, plan, number):
        random = np.random.default_rng([plan.key, ord(plan.camera), number])
        picture = random.integers(0, 255, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
        label = np.zeros((SIZE[1], SIZE[0]), np.uint8)
        label[:5] = 1
        return Frame(
            id=f"fake/{self.split}/{plan.name}/{plan.camera}/{number}",
            sequence=plan.name,
            camera=plan.camera,
            recording=plan.recording,
            frame_number=number,
            order=number,
            image=cv2.imencode(".jpg", picture)[1].tobytes(),
            image_path=f"rgb/{plan.name}/ä{number}.jpg",
            image_size=SIZE,
            K=K,
            right=hand_record(random),
            left=hand_record(random) if number % 4 == 0 else None,
            object=ObjectRecord(f"box{number % 3}", np.eye(4)) if number % 2 else None,
            segmentation=None if self.scenes else cv2.imencode(".png", label)[1].tobytes(),
            scene=hand_scene() if self.scenes else None,
            extra={"target": number / 2, "pair": number} if number % 2 else {"pair": number},
        )


def hand_record(random):
    joints = random.normal(size=(21, 3)) * 0.05 + [0, 0, 0.6]
    return HandRecord(
        joints_m=joints,
        joints_valid=np.full(21, 3, np.uint8),
        joints_px=joints[:, :2] / joints[:, 2:] * 60 + [24, 16],
        joints_kind=0,
        mano_pose=random.normal(size=48),
        mano_shape=random.normal(size=10),
        mano_trans_m=joints[0],
        mano_valid=1,
        box_px=np.array([1.0, 2, 3, 4]),
        box_source=1,
    )


def hand_scene():
    hand = default_hand("right")
    verts = hand.pose(np.zeros((1, 48)), np.zeros((1, 10)))[0][0]
    return Scene((Mesh(verts - verts.mean(0) + [0, 0, 0.4], hand.faces, "right"),), K, SIZE)
