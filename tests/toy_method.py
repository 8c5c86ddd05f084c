"""Methods for tests: a small network with everything that makes resuming hard, and an oracle."""

import torch
from torch import nn


class Toy(nn.Module):
    """Batch norm and dropout: running statistics and random numbers must survive a resume."""

    inputs, crop_px, frames, hands = ("image",), 16, 1, 1
    VARIANTS = {"full": {}, "wide": {"width": 12}}
    PRESETS = {"paper": {}, "tiny": {"width": 6}}

    def __init__(self, hand, width: int = 8, poison: int = -1) -> None:
        super().__init__()
        self.poison = poison  # a sample's index whose loss is not a number
        self.backbone = nn.Sequential(
            nn.Conv2d(3, width, 3, stride=2), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Flatten(), nn.Linear(width * 49, 63))

    def forward(self, batch):
        return {"joints_m": 0.1 * self.head(self.backbone(batch["image"])).view(-1, 21, 3)}

    def losses(self, out, batch):
        loss = (out["joints_m"] - batch["joints_m"]).abs().mean()
        return {"joints": torch.where((batch["index"] == self.poison).any(), torch.nan, loss)}


class Oracle(nn.Module):
    """Gives the truth of its batch back, and takes no gradient steps."""

    inputs, crop_px, frames, hands = ("joints_m", "verts_m"), 16, 1, 1
    VARIANTS = {"full": {}}
    PRESETS = {"tiny": {}, "paper": {}}

    def __init__(self, hand) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def fit(self, batches) -> None:
        self.seen += sum(len(batch["index"]) for batch in batches)

    def forward(self, batch):
        return {"joints_m": batch["joints_m"], "verts_m": batch["verts_m"]}


class Steady(nn.Module):
    """No random numbers inside, so that it does not matter in which process a sample is; and a
    layer that no loss depends on, as published networks have them."""

    inputs, crop_px, frames, hands = ("image",), 16, 1, 1
    VARIANTS = {"full": {}}
    PRESETS = {"paper": {}, "tiny": {}}

    def __init__(self, hand, width: int = 6) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 3, stride=2, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.unused = nn.Linear(3, 3)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(width * 49, 63))

    def forward(self, batch):
        self.unused(batch["image"].mean((2, 3)))
        return {"joints_m": 0.1 * self.head(self.body(batch["image"])).view(-1, 21, 3)}

    def losses(self, out, batch):
        return {"joints": (10 * (out["joints_m"] - batch["joints_m"])).square().mean()}
