"""What H2ONet takes from several frames: vertex features finger by finger, and an orientation."""

import torch
from torch import nn

from handbench.mesh.topology import Topology
from handbench.methods.parts.orientation import start_kaiming
from handbench.methods.parts.spiral import SpiralConv

Batch = dict[str, torch.Tensor]
LOOKED = {  # of what `look` gives: the names that inspect gives it
    **{name: name for name in ("mesh_features", "joint_features", "vertex_features")},
    "turn": "orientation_features",
}


class VertexOffset(nn.Module):
    """Vertex features (778,B,channels) -> what each vertex moves by, (B,778,3) m.

    q of equation 4: spiral convolutions of 2w, w, w and 3 channels, w = width.
    """

    def __init__(self, topology: Topology, channels: int, width: int) -> None:
        super().__init__()
        spirals = topology.spirals[0]
        layers: list[nn.Module] = []
        for entering, leaving in ((channels, 2 * width), (2 * width, width), (width, width)):
            layers += [SpiralConv(entering, leaving, spirals), nn.ReLU()]
        self.block = nn.Sequential(*layers)
        self.head = SpiralConv(width, 3, spirals)
        start_kaiming(self)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.head(self.block(features)).transpose(0, 1)


def finger_weights(gates: torch.Tensor) -> torch.Tensor:
    """Gates (T,B,5) of the fingers -> weights (T,B,6) of palm and fingers, of sum 1 over frames.

    Equation 2. A softmax of probabilities: one visible frame beside two occluded ones weighs 0.58.
    """
    palm = torch.ones_like(gates[:, :, :1])
    return torch.cat([palm, gates], 2).softmax(0)


def blend(weights: torch.Tensor, features: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
    """Weights (T,B,6) of parts, part (778,), features (T,B,778,c) -> their sum (B,778,c).

    Equation 3.
    """
    return (weights[:, :, part, None] * features).sum(0)


def nearest_visible(visible: torch.Tensor) -> torch.Tensor:
    """Visible (T,B), current frame first -> index (B,) of the first visible one, 0 if there is
    none; equation 6."""
    return visible.int().argmax(0)


def take_frame(values: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Values (T,B,…), index (B,) -> those of frame index (B,…)."""
    chosen = index.view(1, -1, *[1] * (values.dim() - 2)).expand(1, *values.shape[1:])
    return values.gather(0, chosen)[0]


def gates_of(
    logits: torch.Tensor | None, truth: torch.Tensor | None, gate: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Probability (T,B,5) that a finger is visible, and what equation 2 weighs by it.

    logits (T,B,2,6) are not trained by it, as released; truth (T,B,5) stands in for them.
    """
    if truth is not None:
        return truth, truth
    assert logits is not None
    fingers = logits[..., :5].detach()
    visible = fingers.softmax(2)[:, :, 0]
    return visible, visible if gate == "probability" else fingers[:, :, 0] - fingers[:, :, 1]


def hand_visible(
    logits: torch.Tensor | None, truth: torch.Tensor | None, by_hand: bool
) -> torch.Tensor:
    """Whether a hand is visible (T,B): unless all of its fingers are occluded (equation 5), or,
    by_hand, as the classifier says of the whole hand."""
    if truth is not None:
        return truth.amax(2) > 0
    assert logits is not None
    occluded = logits[:, :, 1] > logits[:, :, 0]
    return ~(occluded[..., 5] if by_hand else occluded[..., :5].all(2))


def occlusion_of(seen: Batch) -> Batch:
    """Logits (B,T,2,6) of frames, and the probability (B,5) that the current fingers are seen."""
    if "occlusion_logits" not in seen:
        return {}
    logits = seen["occlusion_logits"].transpose(0, 1)
    return {"occlusion_logits": logits, "visibility": logits[:, 0, :, :5].softmax(1)[:, 0]}


def maps_of(seen: Batch, maps: Batch | None = None) -> Batch:
    """Maps by the names and in the order (B,[T,]…) of inspect."""
    if maps is None:
        return {LOOKED[name]: value for name, value in seen.items() if name in LOOKED}
    frames = {name: value.transpose(0, 1) for name, value in maps_of(seen).items()}
    of_frames = ("finger_visible", "finger_weights", "hand_visible")
    return frames | {k: v.transpose(0, 1) if k in of_frames else v for k, v in maps.items()}
