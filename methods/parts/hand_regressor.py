"""The head that HandOccNet and HandGCAT share: heatmaps, an encoder, the hand model's parameters.

HandOccNet section 3.4. Names of entries are those of the released weights.
"""

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from handbench.hand import Hand
from handbench.hand_layer import layer_for
from handbench.methods.parts.losses import distance, masked_mean
from handbench.methods.parts.mano_head import IDENTITY
from handbench.rotations import axis_angle_to_matrix, matrix_to_axis_angle, six_d_to_matrix

Batch = dict[str, torch.Tensor]
SLOPE = 0.01
JOINTS = 21
PUBLISHED = {"verts": 1e4, "joints": 1e4, "pose": 10.0, "shape": 0.1, "joints_2d": 100.0}
SMOOTH = {"verts": 1.0, "joints": 1.0, "pose": 9.0, "shape": 0.01, "joints_2d": 1.0}


class PreActivation(nn.Module):
    """Three times norm, leaky ReLU, convolution (1x1, 3x3, 1x1 by way of half the channels), added
    to what came in (He et al. 2016, identity mappings). norms: how the entries are called."""

    def __init__(self, channels: int, norms: tuple[str, ...] = ("bn1", "bn2", "bn3")) -> None:
        super().__init__()
        half = channels // 2
        sizes = (channels, half, 1), (half, half, 3), (half, channels, 1)
        self.norms = norms
        self.folds = ("conv1", norms[1]), ("conv2", norms[2])
        for i, (entering, leaving, kernel) in enumerate(sizes):
            setattr(self, norms[i], nn.BatchNorm2d(entering))
            setattr(self, f"conv{i + 1}", nn.Conv2d(entering, leaving, kernel, padding=kernel // 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = x
        for i, name in enumerate(self.norms):
            out = functional.leaky_relu(getattr(self, name)(out), SLOPE)
            out = getattr(self, f"conv{i + 1}")(out)
        return out.add_(x)


class Hourglass(nn.Module):
    """Down `depth` halvings and up again with shortcuts (Newell et al. 2016)."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()

        def level(count: int) -> nn.ModuleList:
            return nn.ModuleList(nn.Sequential(PreActivation(channels)) for _ in range(count))

        self.hg = nn.ModuleList(level(3 if n else 4) for n in range(depth))

    def forward(self, x: torch.Tensor, level: int | None = None) -> torch.Tensor:
        n = len(self.hg) - 1 if level is None else level
        blocks: Any = self.hg[n]
        low = blocks[1](functional.max_pool2d(x, 2))
        low = self.forward(low, n - 1) if n else blocks[3](low)
        return blocks[0](x) + functional.interpolate(blocks[2](low), scale_factor=2)


class Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels), nn.LeakyReLU(SLOPE)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block(x)


class HeatmapHead(nn.Module):
    """Maps (B,C,s,s) -> encoding (B,C,s,s), heatmaps (B,21,s,s) of sum 1, joints (B,21,2) 0..1.

    Joints are the heatmaps' means over cell centres; `betas` sharpen each heatmap.
    """

    def __init__(self, channels: int, side: int, depth: int) -> None:
        super().__init__()
        self.hg = nn.ModuleList([Hourglass(channels, depth)])
        self.res = nn.ModuleList([nn.Sequential(PreActivation(channels))])
        self.fc = nn.ModuleList([Block(channels)])
        self.score = nn.ModuleList([nn.Conv2d(channels, JOINTS, 1)])
        self.betas = nn.Parameter(torch.ones(JOINTS, 1))
        centres = (torch.arange(side) + 0.5) / side
        self.register_buffer("uu", centres.repeat(side, 1))
        self.register_buffer("vv", centres[:, None].repeat(1, side))
        self.uu: torch.Tensor
        self.vv: torch.Tensor

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        encoding = self.fc[0](self.res[0](self.hg[0](x)))
        scores = self.score[0](encoding)
        flat = (scores.flatten(2) * self.betas).softmax(2)
        centres = torch.stack([self.uu, self.vv], -1).flatten(0, 1)  # (s*s, 2): x, y
        return encoding, flat.view_as(scores), flat @ centres


class Encoder(nn.Module):
    """Heatmaps and encoding, added and halved down to 2 x 2 -> vectors (B, 4 C)."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.heatmap_conv = nn.Conv2d(JOINTS, channels, 1)
        self.encoding_conv = nn.Conv2d(channels, channels, 1)
        count = 2 * int(math.log2(side // 2))
        self.reg = nn.ModuleList(
            PreActivation(channels, ("bn", "bn1", "bn2")) for _ in range(count)
        )

    def forward(self, encoding: torch.Tensor, heatmaps: torch.Tensor) -> torch.Tensor:
        x = self.heatmap_conv(heatmaps) + self.encoding_conv(encoding)
        for first, second in zip(self.reg[::2], self.reg[1::2]):
            x = functional.max_pool2d(second(first(x)), 2)
        return x.flatten(1)


class ManoRegressor(nn.Module):
    """Vectors (B,C) -> pose6d (B,96), shape (B,10) and the posed hand.

    The six numbers of a joint are two *columns* of its rotation. add_mean: finger angles are
    counted from the hand model's mean pose (HandOccNet); else they are full (HandGCAT).
    Gives verts_m (B,778,3), joints_m (B,21,3) relative to the wrist, wrist_m (B,1,3) where the hand
    model puts it, rotations (B,16,3,3) as regressed (without the mean).
    """

    def __init__(
        self, hand: Hand, features: int, hidden: tuple[int, int], add_mean: bool = False
    ) -> None:
        super().__init__()
        self.add_mean = add_mean
        self.mano_base_layer = nn.Sequential(
            nn.Linear(features, hidden[0]),
            nn.LeakyReLU(SLOPE),
            nn.Linear(hidden[0], hidden[1]),
            nn.LeakyReLU(SLOPE),
        )
        self.pose_reg = nn.Linear(hidden[1], 96)
        self.shape_reg = nn.Linear(hidden[1], 10)
        self.mano_layer = layer_for(hand)

    def forward(self, features: torch.Tensor) -> Batch:
        x = self.mano_base_layer(features)
        pose6d, shape = self.pose_reg(x), self.shape_reg(x)
        rotations = six_d_to_matrix(pose6d.view(-1, 16, 6)).mT
        if self.add_mean:
            angles = matrix_to_axis_angle(rotations).flatten(1)
            hand = self.mano_layer(angles, shape, flat_hand_mean=False)
        else:
            hand = self.mano_layer(rotations, shape, representation="matrix")
        wrist = hand.joints_m[:, :1]
        return {
            "pose6d": pose6d,
            "shape": shape,
            "rotations": rotations,
            "verts_m": hand.verts_m - wrist,
            "joints_m": hand.joints_m - wrist,
            "wrist_m": wrist,
        }

    def start_flat(self) -> None:
        """Start near the flat hand in its own orientation: short training needs it."""
        with torch.no_grad():
            for layer in (self.pose_reg, self.shape_reg):
                layer.weight.mul_(0.1)
                layer.bias.zero_()
            self.pose_reg.bias.copy_(torch.tensor(IDENTITY * 16))


class HandRegressor(nn.Module):
    """Features (B,C,s,s) -> heatmaps, joints_crop and all that ManoRegressor gives."""

    def __init__(
        self,
        hand: Hand,
        channels: int = 256,
        side: int = 32,
        depth: int = 4,
        hidden: tuple[int, int] = (1024, 512),
        add_mean: bool = False,
    ) -> None:
        super().__init__()
        self.hand_regHead = HeatmapHead(channels, side, depth)
        self.hand_Encoder = Encoder(channels, side)
        self.mano_regHead = ManoRegressor(hand, 4 * channels, hidden, add_mean)

    def forward(self, features: torch.Tensor) -> Batch:
        encoding, heatmaps, joints = self.hand_regHead(features)
        out = self.mano_regHead(self.hand_Encoder(encoding, heatmaps))
        return {**out, "joints_crop": joints, "heatmaps": heatmaps}

    def losses(
        self,
        out: Batch,
        batch: Batch,
        target_2d: torch.Tensor,
        smooth: bool = False,
        weight_2d: float | None = None,
    ) -> Batch:
        """Weighted terms as released: mean squares in the hand model's frame, masked.

        True points are the hand layer's for the annotated pose and shape; without these, the
        annotated points, put at the predicted wrist. smooth: rounded L1 on
        tenfold wrist-relative metres and crop units instead, for short training. weight_2d:
        in place of the form's own.
        """
        weights = {**(SMOOTH if smooth else PUBLISHED)}
        if weight_2d is not None:
            weights["joints_2d"] = weight_2d
        head, mano = self.mano_regHead, batch["valid_mano"]
        pose = batch["pose"].view(-1, 16, 3)
        if head.add_mean:
            pose = torch.cat([pose[:, :1], pose[:, 1:] - head.mano_layer.mean.view(15, 3)], 1)
        terms = {
            "pose": masked_mean((out["rotations"] - axis_angle_to_matrix(pose)).square(), mano),
            "shape": masked_mean((out["shape"] - batch["shape"]).square(), mano),
        }
        flat = out["joints_crop"], target_2d, batch["valid_joints"]
        if smooth:
            for name in ("verts", "joints"):
                key = f"{name}_m"
                terms[name] = distance(out[key], batch[key], batch[f"valid_{name}"], True)
            terms["joints_2d"] = distance(*flat, True)
        else:
            with torch.no_grad():
                true = head.mano_layer(batch["pose"], batch["shape"])
            known = mano[:, None, None] > 0
            for name, points in (("verts", true.verts_m), ("joints", true.joints_m)):
                annotated = batch[f"{name}_m"] + out["wrist_m"]
                valid = batch[f"valid_{name}"]
                mask = torch.where(mano.view(-1, *[1] * (valid.dim() - 1)) > 0, 1.0, valid)
                moved = out[f"{name}_m"] + out["wrist_m"] - torch.where(known, points, annotated)
                terms[name] = masked_mean(moved.square(), mask)
            terms["joints_2d"] = masked_mean((flat[0] - flat[1]).square(), flat[2])
        return {name: weight * terms[name] for name, weight in weights.items()}


def start_as_released(module: nn.Module) -> None:
    """Initial weights of everything behind the backbone in the released code."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.normal_(part.weight, std=0.001 if isinstance(part, nn.Conv2d) else 0.01)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
