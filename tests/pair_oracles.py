"""Methods for tests that give the truth of their batch back: of two hands, of a hand and object."""

import torch
from torch import nn


class PairOracle(nn.Module):
    """Both hands, which there are, how they stand to each other, and the object."""

    inputs = ("joints_m", "verts_m", "joints_crop", "present", "left_minus_right_m", "object_T")
    crop_px, frames, hands, objects = 16, 1, 2, True
    VARIANTS = {"full": {}}
    PRESETS = {"tiny": {}, "paper": {}}

    def __init__(self, hand) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def fit(self, batches) -> None:
        self.seen += sum(len(batch["index"]) for batch in batches)

    def forward(self, batch):
        given = {name: batch[name] for name in self.inputs}
        present = given.pop("present")
        pose = given.pop("object_T")
        right = (present[:, 0] > 0)[:, None, None]
        chosen = torch.where(right, pose[:, 0], pose[:, 1])
        return {**given, "hand_score": present, "object_T": chosen}

    def conditions(self):
        return {"object_frame": "hand", "oracle": True}


class ObjectOracle(PairOracle):
    """One hand and the object, as one-hand methods see them: left ones mirrored."""

    inputs, hands = ("joints_m", "verts_m", "object_T"), 1

    def forward(self, batch):
        return {name: batch[name] for name in self.inputs}
