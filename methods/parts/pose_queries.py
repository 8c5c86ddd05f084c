"""From decoded queries to hands: 2.5D, 3D joints or the hand model, one hand or two, an object.

Queries, groups and representations after the Keypoint Transformer (Hampali et al. 2022), as
OccRobNet takes them over. Inside, hands are flattened: N = B times the hands of a sample.
"""

import numpy as np
import torch
from torch import nn

from handbench.errors import UnknownName
from handbench.hand import Hand
from handbench.hand_layer import layer_for
from handbench.methods.parts.lixels import Lixels
from handbench.methods.parts.mano_head import IDENTITY
from handbench.methods.parts.product_attention import perceptron
from handbench.rotations import six_d_to_matrix

Batch = dict[str, torch.Tensor]
OUTPUTS = ("2.5d", "3d", "mano")
QUERIES = {"2.5d": 21, "3d": 20, "mano": 16}  # of one hand
ALONE = {"2.5d": 1, "3d": 0, "mano": 1}  # the first ones, which belong to no finger
BONE_M = 0.03  # a bone's length, and an output's size: what a network puts out is near 1
PER_METRE = 4.0  # crop units a metre: a hand's length on two thirds of the crop
MIRROR = (-1.0, 1.0, 1.0)


class PoseQueries(nn.Module):
    """Which queries there are, who hears whom, and what is read off them.

    output: "2.5d", "3d" or "mano". For each hand 21 joints, 20 bones or 16 rotations; then
    the camera (with two hands also their relative translation), with "mano" the shape, with
    objects the object's rotation and its translation. `count` queries; `groups` (Q,Q) bool: a
    joint hears its finger, every other one itself; `turning`: the query of the object's rotation.
    """

    groups: torch.Tensor

    def __init__(
        self,
        hand: Hand,
        output: str,
        hands: int,
        objects: bool,
        width: int,
        crop_px: int,
        bins: int = 128,
        decode: str = "argmax",
        own_groups: bool = True,
    ) -> None:
        super().__init__()
        if output not in OUTPUTS:
            raise UnknownName("output", output, OUTPUTS)
        self.output, self.hands, self.objects = output, hands, objects
        self.per_hand = QUERIES[output]
        self.camera_at = hands * self.per_hand
        after = 1 + (output == "mano") + 2 * objects
        self.count = self.camera_at + after
        self.turning = self.count - 2 if objects else None
        self.register_buffer("groups", self.who_hears(own_groups), persistent=False)
        self.camera = perceptron(width, width, 3 * hands)
        if output == "2.5d":
            self.lixels = Lixels(hand, width, bins, crop_px, decode)
        elif output == "3d":
            self.bones = perceptron(width, width, width, 3)
        else:
            self.rotations = perceptron(width, width, 6)
            self.shape = perceptron(width, width, 10)
            self.layer = layer_for(hand)
            with torch.no_grad():  # near the flat hand, as parts.mano_head
                for last, bias in ((self.rotations[-1], IDENTITY), (self.shape[-1], (0.0,) * 10)):
                    assert isinstance(last, nn.Linear)
                    last.weight.mul_(0.1)
                    last.bias.copy_(torch.tensor(bias))
        if hands == 2:
            self.relative = perceptron(width, width, 3)
        if objects:
            self.turn = perceptron(width, width, 6)
            self.move = perceptron(width, width, 3 * hands)

    def who_hears(self, own_groups: bool) -> torch.Tensor:
        if not own_groups:
            return torch.ones(self.count, self.count, dtype=torch.bool)
        alone = ALONE[self.output]
        fingers = np.arange(self.per_hand - alone) // ((self.per_hand - alone) // 5)
        hand = np.r_[-np.ones(alone, int), fingers]
        number = np.concatenate([np.where(hand < 0, -1, hand + 5 * h) for h in range(self.hands)])
        number = np.r_[number, -np.ones(self.count - self.camera_at, int)]
        number = np.where(number < 0, 100 + np.arange(self.count), number)
        return torch.from_numpy(number[:, None] == number)

    def forward(self, x: torch.Tensor, batch: Batch) -> Batch:
        """Queries (B,Q,d) -> joints_m (N,21,3) from the wrist, joints_crop (N,21,2); with "mano"
        verts_m, pose6d, shape, rotations; with "2.5d" lixels (N,21,3,bins), root_m; with two
        hands left_minus_right_m (B,3); with objects object_R (B,3,3), object_t (N,3)."""
        hands = x[:, : self.camera_at].unflatten(1, (self.hands, -1)).flatten(0, 1)
        seeing = self.camera(x[:, self.camera_at]).view(-1, 3)
        out = {
            "2.5d": self.from_lixels,
            "3d": self.from_bones,
            "mano": self.from_model,
        }[self.output](hands, x, batch)
        if "joints_crop" not in out:
            flat = PER_METRE * (seeing[:, :1] / 5).exp() * out["joints_m"][..., :2].flatten(1)
            out["joints_crop"] = flat.view(-1, 21, 2) + 0.5 + seeing[:, None, 1:]
        if self.hands == 2:
            out["left_minus_right_m"] = self.relative(x[:, self.camera_at]) / 10
        if self.objects:
            out["object_R"] = six_d_to_matrix(self.turn(x[:, -2]))
            out["object_t"] = self.move(x[:, -1]).view(-1, 3) / 10
        return out

    def from_lixels(self, hands: torch.Tensor, x: torch.Tensor, batch: Batch) -> Batch:
        camera = batch["K_crop"].repeat_interleave(self.hands, 0)
        depth = batch["root_m"].reshape(-1, 3)[:, 2] if "root_m" in batch else None
        return self.lixels(hands, camera, depth)

    def from_bones(self, hands: torch.Tensor, x: torch.Tensor, batch: Batch) -> Batch:
        bones = BONE_M * self.bones(hands)
        fingers = bones.view(-1, 5, 4, 3).cumsum(2).flatten(1, 2)
        return {"joints_m": torch.cat([torch.zeros_like(fingers[:, :1]), fingers], 1)}

    def from_model(self, hands: torch.Tensor, x: torch.Tensor, batch: Batch) -> Batch:
        """Left hands of two are a right hand mirrored; pose and shape are that right hand's."""
        shape = self.shape(x[:, self.camera_at + 1]).repeat_interleave(self.hands, 0)
        pose = self.rotations(hands).flatten(1)
        posed = self.layer(pose, shape, representation="six_d")
        wrist = posed.joints_m[:, :1]
        side = self.sides(posed.joints_m)
        return {
            "pose6d": pose,
            "shape": shape,
            "rotations": posed.rotations,
            "verts_m": (posed.verts_m - wrist) * side,
            "joints_m": (posed.joints_m - wrist) * side,
        }

    def sides(self, like: torch.Tensor) -> torch.Tensor:
        """Factors (N,1,3) that mirror the left hands of two."""
        if self.hands == 1:
            return torch.ones_like(like[:, :1])
        factors = like.new_tensor([[1.0, 1.0, 1.0], MIRROR])
        return factors.repeat(len(like) // 2, 1)[:, None]
