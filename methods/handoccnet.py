"""HandOccNet (Park et al., CVPR 2022): occluded regions get features of what is seen.

Numerically the authors' network; where paper and code differ the code is followed, as listed in
docs/methods/handoccnet.md. Names of parameters are those of the released weights.
"""

import copy
from typing import Any

import torch
from torch import nn

from handbench.errors import HandbenchError, ShapeError, UnknownName
from handbench.hand import Hand
from handbench.mesh.topology import Topology
from handbench.methods.parts.folded_attention import fold_attention
from handbench.methods.parts.folding import fold, use_products
from handbench.methods.parts.hand_regressor import (
    HandRegressor,
    PreActivation,
    start_as_released,
)
from handbench.methods.parts.injection import NecessityConvs, Transformer
from handbench.methods.parts.losses import masked_mean
from handbench.methods.parts.resnet_fpn import ResNetFPN

Batch = dict[str, torch.Tensor]
FOREIGN = ("regressor.mano_regHead.mano_layer.", "fitting_loss.")  # MANO's arrays; a demo's
STRIDE = 8  # pixels of the crop to a cell of the features


class WrittenRegressor(HandRegressor):
    """The regressor as section 3.4 has it: four residual blocks, on heatmaps and features.

    The released one has eight, on heatmaps and what is encoded behind the hourglass.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        blocks = self.hand_Encoder.reg
        for i in range(1, len(blocks), 2):
            blocks[i] = nn.Identity()

    def forward(self, features: torch.Tensor) -> Batch:
        _, heatmaps, joints = self.hand_regHead(features)
        out = self.mano_regHead(self.hand_Encoder(features, heatmaps))
        return {**out, "joints_crop": joints, "heatmaps": heatmaps}


class HandOccNet(nn.Module):
    """Feature pyramid, necessity map, injection (FIT), self-enhancement (SET), hand regression.

    small, width, channels, laterals: the pyramid (parts.resnet_fpn). necessity: the map from
    "pooled" channels or by "convs". inject: "fit", "residual" (six residual blocks on the primary
    feature) or "none"; enhance: "set", "residual" (three) or "none". heads (single_head: one),
    positions: of all transformer blocks; gate, residual, fuse: of FIT's, set_residual: of SET's
    (parts.injection); blocks: in each, fit_blocks or set_blocks in one of them; set_count: SETs in
    a row. depth, hidden: hourglass and head; regressor: its form, "released" or "written".
    add_mean: whether predicted angles count from the hand's mean pose. target_2d: what heatmaps
    learn from, "joints" or Gaussian "heatmaps". start: random weights as "released", or "flat",
    near the flat hand. smooth: rounded L1 on tenfold metres in place of squares, for short
    training; weight_2d: of the 2D term, None for the form's own; joints_only: meshes, poses and
    shapes teach nothing, even where they are annotated. Defaults are the released network.
    Raises UnknownName, HandbenchError where crop_px does not fit.
    """

    inputs, crop_px, frames, hands = ("image",), 256, 1, 1
    PRETRAINED = "resnet50-19c8e357.pth"
    VARIANTS: dict[str, dict[str, Any]] = {
        "full": {},
        "identity": {"inject": "none", "enhance": "none"},
        "residual_blocks": {"inject": "residual", "enhance": "none"},
        "fit": {"enhance": "none"},
        "set": {"inject": "none"},
        "softmax": {"gate": "none"},
        "softmax_softmax": {"gate": "softmax"},
        "residual_q_soft": {"residual": "query"},
        "residual_q_sig": {"residual": "query2"},
        "set_residual_blocks": {"enhance": "residual"},
        "set_two_transformers": {"set_count": 2},
        "set_single_block": {"set_blocks": 1},
        "sigmoid_no_pooling": {"gate": "pairs"},
        "paper": {
            "single_head": True,
            "gate": "mean",
            "positions": False,
            "fit_blocks": 1,
            "fuse": "add",
            "set_blocks": 1,
            "set_residual": "query",
            "necessity": "convs",
            "regressor": "written",
            "target_2d": "heatmaps",
        },
    }
    CELLS = {
        "full": "HandOccNet Tables 1-3, last row; Table 4, Single Transformer (one SET)",
        "identity": "HandOccNet Table 1, Identity",
        "residual_blocks": "HandOccNet Table 1, Residual blocks",
        "fit": "HandOccNet Table 1, FIT; Table 4, Identity",
        "set": "HandOccNet Table 1, SET",
        "softmax": "HandOccNet Table 2, softmax",
        "softmax_softmax": "HandOccNet Table 2, softmax + softmax",
        "residual_q_soft": "HandOccNet Table 3, residual with q_soft",
        "residual_q_sig": "HandOccNet Table 3, residual with q_sig",
        "set_residual_blocks": "HandOccNet Table 4, Residual blocks",
        "set_two_transformers": "HandOccNet Table 4, Two Transformers (two SETs, four blocks)",
        "set_single_block": "HandOccNet Table 4 counted in blocks: Single; full is Two",
        "sigmoid_no_pooling": "HandOccNet section 3.2, sigmoid without pooling: said to diverge",
        "paper": "HandOccNet as written, wherever its code differs",
    }
    PRESETS: dict[str, dict[str, Any]] = {
        "paper": {},
        "tiny": {
            "crop_px": 64,
            "small": True,
            "width": 16,
            "channels": 48,
            "laterals": 1,
            "heads": 2,
            "blocks": 1,
            "depth": 1,
            "hidden": (256, 256),
            "add_mean": False,
            "start": "flat",
            "smooth": True,
        },
    }

    def __init__(
        self,
        hand: Hand,
        crop_px: int = 256,
        small: bool = False,
        width: int = 64,
        channels: int = 256,
        laterals: int = 3,
        necessity: str = "pooled",
        inject: str = "fit",
        enhance: str = "set",
        heads: int = 4,
        single_head: bool = False,
        gate: str = "sum",
        residual: str = "none",
        positions: bool = True,
        fuse: str = "concat",
        blocks: int = 2,
        fit_blocks: int | None = None,
        set_blocks: int | None = None,
        set_residual: str = "input",
        set_count: int = 1,
        depth: int = 4,
        hidden: tuple[int, int] = (1024, 512),
        regressor: str = "released",
        add_mean: bool = True,
        target_2d: str = "joints",
        start: str = "released",
        smooth: bool = False,
        weight_2d: float | None = None,
        joints_only: bool = False,
    ) -> None:
        super().__init__()
        for option, (value, known) in {
            "necessity": (necessity, ("pooled", "convs")),
            "inject": (inject, ("fit", "residual", "none")),
            "enhance": (enhance, ("set", "residual", "none")),
            "regressor": (regressor, ("released", "written")),
            "target_2d": (target_2d, ("joints", "heatmaps")),
            "start": (start, ("released", "flat")),
        }.items():
            if value not in known:
                raise UnknownName(option, value, known)
        self.crop_px, self.smooth = crop_px, smooth
        self.target_2d, self.weight_2d, self.joints_only = target_2d, weight_2d, joints_only
        cells = crop_px // STRIDE
        if crop_px % STRIDE or cells & (cells - 1) or cells < 2**depth:
            raise HandbenchError(
                f"handoccnet with crop_px = {crop_px}, depth = {depth}: crop_px must be {STRIDE} "
                f"times a power of 2 that is at least 2^depth"
            )
        self.backbone = ResNetFPN(small, width, channels, laterals)
        if necessity == "convs":
            self.backbone.add_module("attention_module", NecessityConvs(channels))
        self.FIT: Any
        self.SET: Any
        shared: dict[str, Any] = {"heads": 1 if single_head else heads, "positions": positions}
        self.inject, self.enhance = inject, enhance
        if inject == "fit":
            fit = {**shared, "gate": gate, "residual": residual}
            self.FIT = Transformer(fit_blocks or blocks, channels, cells, fuse, **fit)
        elif inject == "residual":
            self.FIT = nn.Sequential(*(PreActivation(channels) for _ in range(6)))
        if enhance == "set":
            options = {**shared, "residual": set_residual}
            self.SET = Transformer(set_blocks or blocks, channels, cells, **options)
            more = (
                Transformer(set_blocks or blocks, channels, cells, **options)
                for _ in range(set_count - 1)
            )
            self.more = nn.ModuleList(more)
        elif enhance == "residual":
            self.SET = nn.Sequential(*(PreActivation(channels) for _ in range(3)))
        form = HandRegressor if regressor == "released" else WrittenRegressor
        self.regressor = form(hand, channels, cells, depth, (hidden[0], hidden[1]), add_mean)
        if start == "flat":
            self.start_flat()
        else:
            for name in ("FIT", "SET", "more", "regressor"):
                if hasattr(self, name):
                    start_as_released(getattr(self, name))

    def start_flat(self) -> None:
        """Near the flat hand, heatmaps that move more for a step, positions that drown less."""
        self.regressor.mano_regHead.start_flat()
        with torch.no_grad():
            self.regressor.hand_regHead.betas.fill_(3)
            for name, value in self.named_parameters():
                if name.endswith("_embedding"):
                    value.mul_(0.5)

    @classmethod
    def from_released(
        cls, hand: Hand, weights: Batch, topology: Topology | None = None
    ) -> "HandOccNet":
        """The authors' network; MANO's arrays in the file are left there, hand stands in."""
        method = cls(hand)
        method.load_state_dict({k: v for k, v in weights.items() if not k.startswith(FOREIGN)})
        return method

    def for_inference(self) -> "HandOccNet":
        """The same network to be asked only, faster: norms, positions and the gate's keys folded,
        maps with channels last, layers without use left out. Outputs differ by rounding."""
        fast = copy.deepcopy(self).eval().requires_grad_(False)
        fast.backbone.fold()
        use_products(fold_attention(fold(fast)))
        return fast.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def features(self, image: torch.Tensor) -> Batch:
        """image (B,3,S,S) -> necessity_map (B,1,s,s) and the maps (B,C,s,s) before and after it:
        backbone, primary, secondary, injected, enhanced. Raises ShapeError."""
        size = (3, self.crop_px, self.crop_px)
        if image.ndim != 4 or image.shape[1:] != size:
            raise ShapeError(
                f"handoccnet takes images (B, {', '.join(map(str, size))}), "
                f"not {tuple(image.shape)}"
            )
        whole = self.backbone(image)
        needed = self.backbone.attention_module(whole)
        primary, secondary = whole * needed, whole * (1 - needed)
        injected, enhanced = primary, primary
        if self.inject == "fit":
            injected = self.FIT(secondary, primary)
        elif self.inject == "residual":
            injected = self.FIT(primary)
        if self.enhance == "set":
            enhanced = self.SET(injected, injected)
            for further in self.more:
                enhanced = further(enhanced, enhanced)
        else:
            enhanced = self.SET(injected) if self.enhance == "residual" else injected
        return {
            "necessity_map": needed,
            "backbone": whole,
            "primary": primary,
            "secondary": secondary,
            "injected": injected,
            "enhanced": enhanced,
        }

    def forward(self, batch: Batch) -> Batch:
        """image (B,3,S,S) -> verts_m (B,778,3), joints_m (B,21,3) relative to the wrist wrist_m
        (B,1,3); joints_crop (B,21,2), heatmaps (B,21,s,s), pose6d (B,96: two columns of each of
        rotations (B,16,3,3)), shape (B,10). Raises ShapeError."""
        return self.regressor(self.features(batch["image"])["enhanced"])

    @torch.no_grad()
    def inspect(self, batch: Batch) -> Batch:
        """The maps of `features`, heatmaps, and of the first blocks fit_products, fit_softmax,
        fit_attention, set_attention (B,heads,N,N) of each cell (row) on each, fit_gate
        (B,heads,s,s)."""
        training = self.training
        self.eval()
        found = self.features(batch["image"])
        found["heatmaps"] = self.regressor.hand_regHead(found["enhanced"])[1]
        if self.inject == "fit":
            fit = self.FIT.layers[0].look(found["secondary"], found["primary"])
            found |= {f"fit_{name}": value for name, value in fit.items()}
        if self.enhance == "set":
            found["set_attention"] = self.SET.layers[0].look(*[found["injected"]] * 2)["attention"]
        self.train(training)
        return found

    def losses(self, out: Batch, batch: Batch) -> Batch:
        """Weighted terms (HandRegressor.losses); what is not annotated counts nowhere."""
        if self.joints_only:
            none = torch.zeros_like(batch["valid_mano"])
            batch = {**batch, "valid_mano": none, "valid_verts": none}
        terms = self.regressor.losses(out, batch, batch["joints_crop"], self.smooth, self.weight_2d)
        if self.target_2d == "heatmaps":
            error = (out["heatmaps"] - self.gaussians(batch["joints_crop"])).square()
            weight = 1.0 if self.weight_2d is None else self.weight_2d
            total = error.sum((2, 3))
            terms["joints_2d"] = weight * masked_mean(total, batch["valid_joints"])
        return terms

    def gaussians(self, joints_crop: torch.Tensor) -> torch.Tensor:
        """Heatmaps (B,21,s,s) of joints (B,21,2): Gaussians of one cell, each of sum 1."""
        head = self.regressor.hand_regHead
        x, y = (joints_crop[:, :, k, None, None] for k in (0, 1))
        away = ((head.uu - x).square() + (head.vv - y).square()) * len(head.uu) ** 2
        return (-away / 2).flatten(2).softmax(2).view_as(away)
