"""MobRecon's DenseStack and the backbone that H2ONet builds from three of them."""

import torch
from torch import nn
from torch.nn import functional

from handbench.methods.parts.mobile import (
    MobileUnit,
    SqueezeExcite,
    bottleneck,
    conv_unit,
    dense,
    linear_unit,
    shrink,
)


class DenseStack(nn.Module):
    """Encoder (B,C,S,S) -> (B,8C,S/8,S/8), and where `up` is set a way up to (B,up,S/2,S/2).

    units: mobile units in the second and third dense block. deep: two bottleneck blocks at the
    lowest level; without them the third gate is not used either, though it has parameters: so it
    is in the released code, and the released weights carry them.
    """

    def __init__(self, channels: int, units: int = 4, deep: bool = True, up: int = 0) -> None:
        super().__init__()
        self.deep, self.up = deep, up
        self.dense1, self.senet1 = dense(channels, 2), SqueezeExcite(2 * channels)
        self.dense2, self.senet2 = dense(2 * channels, units), SqueezeExcite(4 * channels)
        self.dense3, self.senet3 = dense(4 * channels, units), SqueezeExcite(8 * channels)
        if deep:
            self.dense4, self.dense5 = bottleneck(8 * channels), bottleneck(8 * channels)
        if up:
            self.thrink1 = shrink(8 * channels, 4 * channels, 4 * channels)
            self.senet4 = SqueezeExcite(4 * channels)
            self.thrink2 = shrink(4 * channels, 2 * channels, 2 * channels)
            self.senet5 = SqueezeExcite(2 * channels)
            self.thrink3 = shrink(2 * channels, 2 * channels, up)
            self.senet6 = SqueezeExcite(up)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The lowest map and the one at half the size of x (None without a way up)."""
        halved = functional.avg_pool2d
        d1 = halved(self.senet1(self.dense1(x)), 2)
        d2 = halved(self.senet2(self.dense2(d1)), 2)
        d3 = self.dense3(d2)
        low = halved(self.senet3(d3) if self.deep else d3, 2)
        if self.deep:
            low = self.dense5(self.dense4(low))
        if not self.up:
            return low, None
        x = functional.interpolate(self.senet4(self.thrink1(low)), scale_factor=2.0) + d2
        x = functional.interpolate(self.senet5(self.thrink2(x)), scale_factor=2.0) + d1
        return low, self.senet6(self.thrink3(x))


class H2ONetBackbone(nn.Module):
    """H2ONet's shared trunk, mesh encoder with 2D joints, and orientation encoder.

    width: channels at a quarter of the image (128 as published). first_stack: the hourglass
    before the two encoders. middle: channels that the mesh decoder gets. orientation: the second
    encoder; joint_trunk: whether it trains the trunk too, where its gradient stops as published.
    H2ONet section 3.3, figure 3.
    """

    MAY_LACK = ("dense_stack3.", "mid_proj.")  # MobRecon's file ends before them

    def __init__(
        self,
        width: int = 128,
        units: int = 4,
        up: int = 24,
        middle: int = 256,
        crop_px: int = 128,
        first_stack: bool = True,
        orientation: bool = True,
        joint_trunk: bool = False,
    ) -> None:
        super().__init__()
        self.first_stack, self.joint_trunk = first_stack, joint_trunk
        self.pre_layer = nn.Sequential(
            conv_unit(3, width // 2, 3, stride=2), MobileUnit(width // 2, width)
        )
        self.reorg = nn.PixelUnshuffle(2)
        self.thrink = conv_unit(4 * width, width)
        if first_stack:
            self.dense_stack1 = DenseStack(width, units, deep=False, up=up)
            self.stack1_remap = conv_unit(up, up)
            self.thrink2 = conv_unit(up + width, width)
        self.dense_stack2 = DenseStack(width, units, up=up)
        self.dense_stack3 = DenseStack(width, units) if orientation else None
        self.mid_proj = nn.Sequential(nn.Conv2d(8 * width, middle, 1, bias=False))
        self.reduce = nn.Sequential(nn.Conv2d(up, 21, 1, bias=False))
        self.uv_reg = nn.Sequential(
            linear_unit((crop_px // 8) ** 2, 128),
            linear_unit(128, 64),
            linear_unit(64, 2, clip=False),
        )

    def forward(
        self, image: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """image (B,3,S,S) -> mesh features (B,middle,s,s), joints_crop (B,21,2) in 0..1,
        lowest maps of the mesh encoder and of the orientation encoder (B,8·width,s,s); s = S/32."""
        shared = self.thrink(self.reorg(self.pre_layer(image)))
        if self.first_stack:
            up = self.dense_stack1(shared)[1]
            up = functional.interpolate(up, scale_factor=2.0, mode="bilinear", align_corners=True)
            shared = self.thrink2(torch.cat([self.stack1_remap(up), shared], 1))
        low, up = self.dense_stack2(shared)
        joints_crop = self.uv_reg(self.reduce(up).flatten(2))
        entering = shared if self.joint_trunk else shared.detach()
        turned = None if self.dense_stack3 is None else self.dense_stack3(entering)[0]
        return self.mid_proj(low), joints_crop, low, turned
