"""A small prepared split with official lines in another order than its rows, and predictions."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from small_split import Small

from handbench.hand import default_hand
from handbench.predictions import Predictions
from handbench.preparing.prepare import prepare
from handbench.records import Mesh, Scene
from handbench.scoring.truth import of_split
from handbench.store import Split, open_split

FACES = {right: default_hand("right" if right else "left").faces for right in (True, False)}


class Listed(Small):
    """Twelve hands, one a line of an official list that runs backwards through the rows."""

    name, splits = "listed", ("evaluation",)

    def __init__(self, split: str, raw=None) -> None:
        super().__init__(split, count=3, length=4)

    def frames(self, plan):
        for frame in super().frames(plan):
            line = 11 - (4 * plan.key + frame.frame_number)
            # a board before some of the hand, so that levels differ
            right = frame.left is None
            hand = frame.right if right else frame.left
            posed, _ = default_hand("right" if right else "left").pose(
                hand.mano_pose[None], hand.mano_shape[None]
            )
            body = Mesh(posed[0] + hand.mano_trans_m, FACES[right], "right" if right else "left")
            reach = 0.1 * frame.frame_number - 0.2
            corners = np.array([[-1, -1, 0], [reach, -1, 0], [reach, 1, 0], [-1, 1, 0]])
            faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
            board = Mesh(corners * 0.3 + [0, 0, 0.3], faces, "occluder")
            yield replace(
                frame,
                id=f"listed/evaluation/{plan.name}/cam/{frame.frame_number}",
                official_index=line,
                scene=Scene([body, board], frame.K, frame.image_size),
                image_path=f"{plan.name}/rgb/{frame.frame_number:04d}.png",
            )


def listed(folder: Path) -> Split:
    prepare(Listed("evaluation"), folder)
    return open_split("listed/evaluation", folder)


def predicted(split: Split, rooted: bool = True, noise_m: float = 0.01) -> Predictions:
    """The truth with noise, in a random order of rows, wrist-relative."""
    truth = of_split(split)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(truth))
    joints, _, wrist = truth.joints_m()
    verts = truth.verts_m(slice(None))
    joints = joints + rng.normal(0, noise_m, joints.shape)
    verts = verts + rng.normal(0, noise_m, verts.shape) - joints[:, :1]
    root = wrist + rng.normal(0, noise_m, wrist.shape)
    joints -= joints[:, :1]
    return Predictions(
        id=truth.id[order],
        is_left=truth.is_left[order],
        joints_m=joints[order].astype(np.float32),
        verts_m=verts[order].astype(np.float32),
        root_m=root[order].astype(np.float32) if rooted else None,
        attributes={"root_source": "predicted" if rooted else "none"},
    )
