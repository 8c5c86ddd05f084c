"""2.5D joints: heatmaps along x, y and depth, and back into space by the hand's size."""

import torch
from torch import nn
from torch.nn import functional

from handbench.errors import UnknownName
from handbench.hand import Hand
from handbench.methods.parts.keypoints import centres
from handbench.methods.parts.product_attention import perceptron

REACH_M = 0.15  # largest depth of a joint before or behind its parent
SIGMA = 1.25  # bins, as the 2D heatmaps have it in cells
NEAREST_M, FARTHEST_M = 0.1, 5.0
PARENTS = tuple(0 if (k - 1) % 4 == 0 else k - 1 for k in range(1, 21))
DECODES = ("argmax", "mean")


class Lixels(nn.Module):
    """Queries (N,21,d) -> one-dimensional heatmaps (N,21,3,bins), joints in the crop and in space.

    Depth is that from the parent joint, within 150 mm. decode: "argmax" as published, or the
    "mean" of the softmax, for short training. The wrist's distance is given, or follows from the
    hand's size: the summed squares of the bones are those of the mean hand (one equation; after
    Iqbal et al. 2018, section 3.2, who take one bone).
    """

    squares: torch.Tensor

    def __init__(
        self, hand: Hand, width: int, bins: int, crop_px: int, decode: str = "argmax"
    ) -> None:
        super().__init__()
        if decode not in DECODES:
            raise UnknownName("decode", decode, DECODES)
        self.bins, self.crop_px, self.decode = bins, crop_px, decode
        self.axes = nn.ModuleList(perceptron(width, width, width, bins) for _ in range(3))
        rest = torch.tensor(hand.pose([[0.0] * 48], [[0.0] * 10])[1][0], dtype=torch.float32)
        squares = (rest[1:] - rest[list(PARENTS)]).square().sum()
        self.register_buffer("squares", squares, persistent=False)

    def forward(
        self, queries: torch.Tensor, camera: torch.Tensor, depth: torch.Tensor | None
    ) -> dict[str, torch.Tensor]:
        """camera (N,3,3) px of the crop; depth (N,) m of the wrist where it is given.

        Gives lixels, joints_crop (N,21,2), depth_m (N,21) from the parent, joints_m (N,21,3) from
        the wrist, root_m (N,3).
        """
        lixels = torch.stack([axis(queries) for axis in self.axes], 2)
        places = self.places(lixels)
        step = (2 * places[..., 2] - 1) * REACH_M
        fingers = step[:, 1:].view(-1, 5, 4).cumsum(2).flatten(1)
        deeper = torch.cat([torch.zeros_like(fingers[:, :1]), fingers], 1)
        rays = through(places[..., :2] * self.crop_px, camera)
        if depth is None:
            depth = self.distance(rays, deeper)
        joints = rays * (depth[:, None] + deeper)[..., None]
        return {
            "lixels": lixels,
            "joints_crop": places[..., :2],
            "depth_m": step,
            "joints_m": joints - joints[:, :1],
            "root_m": joints[:, 0],
        }

    def places(self, lixels: torch.Tensor) -> torch.Tensor:
        """Where the heatmaps point, 0..1."""
        line = centres(self.bins, lixels)
        if self.decode == "argmax":
            return line[lixels.argmax(-1)]
        return lixels.softmax(-1) @ line

    def distance(self, rays: torch.Tensor, deeper: torch.Tensor) -> torch.Tensor:
        """The wrist's depth (N,) at which sum |z a + b|^2 over bones is the mean hand's."""
        parents = list(PARENTS)
        a = rays[:, 1:] - rays[:, parents]
        b = rays[:, 1:] * deeper[:, 1:, None] - rays[:, parents] * deeper[:, parents, None]
        aa, ab = (a * a).sum((1, 2)).clamp(min=1e-6), (a * b).sum((1, 2))
        root = (ab.square() - aa * ((b * b).sum((1, 2)) - self.squares)).clamp(min=1e-9).sqrt()
        return ((root - ab) / aa).clamp(NEAREST_M, FARTHEST_M)

    def targets(self, joints_crop: torch.Tensor, joints_m: torch.Tensor) -> torch.Tensor:
        """True heatmaps (N,21,3,bins): Gaussians with a peak of 1."""
        depth = (from_parents(joints_m)[..., 2] / REACH_M + 1) / 2
        places = torch.cat([joints_crop, depth[..., None]], -1)
        away = (places[..., None] - centres(self.bins, places)) * self.bins
        return (-away.square() / (2 * SIGMA**2)).exp()


def from_parents(joints_m: torch.Tensor) -> torch.Tensor:
    """Joints (N,21,3) relative to their parents; the wrist is 0."""
    return functional.pad(joints_m[:, 1:] - joints_m[:, list(PARENTS)], (0, 0, 1, 0))


def through(points_px: torch.Tensor, camera: torch.Tensor) -> torch.Tensor:
    """Rays (N,P,3) of depth 1 through pixels (N,P,2) of cameras (N,3,3) without skew."""
    middle, focal = camera[:, None, :2, 2], camera[:, None, (0, 1), (0, 1)]
    flat = (points_px - middle) / torch.where(focal.abs() < 1e-6, 1.0, focal)
    return torch.cat([flat, torch.ones_like(flat[..., :1])], -1)
