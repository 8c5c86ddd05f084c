"""HandGCAT (Wang et al., ICME 2023): image features completed by what 2D joints tell.

Numerically the authors' network; where paper and code differ the code is followed, as listed in
docs/methods/handgcat.md. Names of parameters are those of the released weights.
"""

import copy
import zlib
from typing import Any

import numpy as np
import torch
from torch import nn

from handbench.errors import HandbenchError, ShapeError, UnknownName
from handbench.hand import Hand
from handbench.loading.augment import normals
from handbench.mesh.topology import Topology
from handbench.methods.parts.cross_attention import CrossFusion
from handbench.methods.parts.folded_attention import fold_attention
from handbench.methods.parts.folding import fold, use_products
from handbench.methods.parts.hand_regressor import JOINTS, HandRegressor, start_as_released
from handbench.methods.parts.keypoint_graph import KeypointGraph
from handbench.methods.parts.resnet_fpn import ResNetFPN

Batch = dict[str, torch.Tensor]
FOREIGN = "regressor.mano_regHead.mano_layer."  # of released files: MANO's arrays
STRIDE = 8  # pixels of the crop to a cell of the features
TRUTH = "ground truth"


class HandGCAT(nn.Module):
    """HandOccNet's trunk, regressor and losses; between them 2D joints lifted to maps (KGC) and
    cross attention of these and the image features (CAT). HandOccNet's gate stays unused.

    Joints (B,21,2) in 0..1 of the crop come with the batch: the annotated ones, so every
    result says with what noise. train_noise: N(0, this) crop units added to every coordinate of
    a share noise_share of training samples; the 2D loss follows the noisy joints, as released.
    test_noise: added to all at test time, the same whenever a sample comes. Who feeds other
    joints than the annotated says so in the attribute joints_source, and sets test_noise to 0.
    graph_layers, graph_order, adjacency, rescale, graph_relu: KGC (parts.keypoint_graph).
    blocks (cat_blocks: a variant's in place of the preset's), spatial, heads, ratio, parallel,
    residual_query, norm, attention_positions, fusion_norm: CAT (parts.cross_attention).
    image: False leaves the picture out, a control. small, width, channels, laterals: the pyramid
    (parts.resnet_fpn). depth, hidden, add_mean, smooth, weight_2d: the head and its losses
    (parts.hand_regressor). start: random weights as "released", or "flat", near the flat hand.
    Raises UnknownName, HandbenchError for a crop_px that cannot be halved so often.
    """

    crop_px, frames, hands = 256, 1, 1
    inputs: tuple[str, ...] = ("image", "joints_crop")
    PRETRAINED = "resnet50-19c8e357.pth"
    WITHOUT_BACKBONE = ("pose_only",)
    VARIANTS: dict[str, dict[str, Any]] = {
        "full": {},
        "mlp": {"graph_layers": 3, "graph_relu": True},
        "gcn_1": {"graph_layers": 1},
        "gcn_2": {"graph_layers": 2},
        "gcn_3": {"graph_layers": 3},
        "gcn_5": {"graph_layers": 5},
        "graph": {"graph_order": 2},
        "graph_1": {"graph_order": 2, "graph_layers": 1},
        "graph_2": {"graph_order": 2, "graph_layers": 2},
        "graph_3": {"graph_order": 2, "graph_layers": 3},
        "graph_5": {"graph_order": 2, "graph_layers": 5},
        "graph_relu": {"graph_order": 2, "graph_relu": True},
        "graph_skeleton": {"graph_order": 2, "adjacency": "skeleton", "rescale": True},
        "graph_shuffled": {"graph_order": 2, "adjacency": "shuffled"},
        "two_transformers": {"cat_blocks": 0, "spatial": 2},
        "cat_1": {"cat_blocks": 1},
        "cat_3": {"cat_blocks": 3},
        "pose_only": {"image": False},
        "paper": {
            "graph_order": 2,
            "adjacency": "skeleton",
            "rescale": True,
            "attention_positions": "sine",
            "residual_query": True,
            "parallel": True,
            "norm": False,
            "fusion_norm": False,
        },
    }
    CELLS = {
        "full": "HandGCAT Table IV, 4-layer GCNs, as released; Table V, Two CAT blocks",
        "mlp": "HandGCAT Table IV, MLP",
        "gcn_1": "HandGCAT Table IV, 1-layer GCNs, as released: the graph unused",
        "gcn_2": "HandGCAT Table IV, 2-layer GCNs, as released: the graph unused",
        "gcn_3": "HandGCAT Table IV, 3-layer GCNs, as released: the graph unused",
        "gcn_5": "HandGCAT Table IV, 5-layer GCNs, as released: the graph unused",
        "graph": "HandGCAT Table IV, 4-layer GCNs, the graph in use",
        "graph_1": "HandGCAT Table IV, 1-layer GCNs, the graph in use",
        "graph_2": "HandGCAT Table IV, 2-layer GCNs, the graph in use",
        "graph_3": "HandGCAT Table IV, 3-layer GCNs, the graph in use",
        "graph_5": "HandGCAT Table IV, 5-layer GCNs, the graph in use",
        "graph_relu": "none: graph with ReLU between its layers",
        "graph_skeleton": "HandGCAT equation 1: graph on bones alone, Laplacian rescaled",
        "graph_shuffled": "none: control of graph, the same links between other joints",
        "two_transformers": "HandGCAT Table V, Two Transformers",
        "cat_1": "HandGCAT Table V, Single CAT block",
        "cat_3": "HandGCAT Table V, Three CAT blocks",
        "pose_only": "none: control, 2D joints without a picture",
        "paper": "HandGCAT as written, wherever its code differs",
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
            "ratio": 2,
            "depth": 1,
            "hidden": (256, 256),
            "start": "flat",
            "smooth": True,
            "train_noise": 0.01,
            "noise_share": 1.0,
            "test_noise": 0.01,
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
        image: bool = True,
        train_noise: float = 0.0,
        noise_share: float = 0.5,
        test_noise: float = 0.0,
        graph_layers: int = 4,
        graph_order: int = 1,
        adjacency: str = "released",
        rescale: bool = False,
        graph_relu: bool = False,
        blocks: int = 2,
        cat_blocks: int | None = None,
        spatial: int = 0,
        heads: int = 4,
        ratio: int = 4,
        parallel: bool = False,
        residual_query: bool = False,
        norm: bool = True,
        attention_positions: str = "learned",
        fusion_norm: bool = True,
        depth: int = 4,
        hidden: tuple[int, int] = (1024, 512),
        add_mean: bool = False,
        start: str = "released",
        smooth: bool = False,
        weight_2d: float | None = None,
    ) -> None:
        super().__init__()
        if start not in ("released", "flat"):
            raise UnknownName("start", start, ("released", "flat"))
        cells = crop_px // STRIDE
        if crop_px % STRIDE or cells & (cells - 1) or cells >> depth < 1:
            raise HandbenchError(
                f"handgcat with crop_px = {crop_px}, depth = {depth}: crop_px must be "
                f"{STRIDE} times a power of 2 of at least 2^depth cells"
            )
        self.crop_px, self.smooth, self.weight_2d = crop_px, smooth, weight_2d
        self.train_noise, self.noise_share, self.test_noise = train_noise, noise_share, test_noise
        self.joints_source = TRUTH
        self.blank = (channels, cells, cells)
        if image:
            self.backbone = ResNetFPN(small, width, channels, laterals)
        else:
            self.inputs = ("joints_crop",)
        self.KGC: Any = KeypointGraph(
            cells, graph_layers, graph_order, adjacency, rescale, graph_relu
        )
        self.CAT: Any = CrossFusion(
            channels,
            JOINTS,
            cells,
            blocks if cat_blocks is None else cat_blocks,
            spatial,
            fusion_norm,
            parallel=parallel,
            heads=heads,
            ratio=ratio,
            positions=attention_positions,
            residual_query=residual_query,
            norm=norm,
        )
        sizes = hidden[0], hidden[1]
        self.regressor = HandRegressor(hand, channels, cells, depth, sizes, add_mean)
        if start == "flat":
            self.regressor.mano_regHead.start_flat()
        else:
            for part in (self.KGC, self.CAT, self.regressor):
                start_as_released(part)

    @classmethod
    def from_released(
        cls, hand: Hand, weights: Batch, topology: Topology | None = None
    ) -> "HandGCAT":
        """The authors' network; MANO's arrays in the file are left there, hand stands in."""
        method = cls(hand)
        method.load_state_dict({k: v for k, v in weights.items() if not k.startswith(FOREIGN)})
        return method

    def for_inference(self) -> "HandGCAT":
        """The same network to be asked only, faster: norms and positions folded, KGC one affine
        map where it is one, channels last, layers without use left out. Outputs differ by
        rounding."""
        fast = copy.deepcopy(self).eval().requires_grad_(False)
        fast.KGC = fast.KGC.folded()
        if hasattr(fast, "backbone"):
            fast.backbone.fold()
            del fast.backbone.attention_module
        use_products(fold_attention(fold(fast)))
        return fast.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def features(self, batch: Batch) -> Batch:
        """image (B,3,S,S), joints_crop (B,21,2) -> joints_used (B,21,2), noise included, and maps:
        backbone (B,C,s,s), keypoints (B,21,s,s), fused (B,C,s,s). Raises ShapeError."""
        joints = batch["joints_crop"]
        if joints.ndim != 3 or joints.shape[1:] != (JOINTS, 2):
            raise ShapeError(f"handgcat takes joints_crop (B, 21, 2), not {tuple(joints.shape)}")
        if "image" in self.inputs:
            size = (3, self.crop_px, self.crop_px)
            if batch["image"].shape[1:] != size:
                raise ShapeError(
                    f"handgcat takes images (B, {', '.join(map(str, size))}), "
                    f"not {tuple(batch['image'].shape)}"
                )
            seen = self.backbone(batch["image"])
        else:
            seen = joints.new_zeros(len(joints), *self.blank)
        used = self.with_noise(joints)
        keypoints = self.KGC(used)
        return {
            "joints_used": used,
            "backbone": seen,
            "keypoints": keypoints,
            "fused": self.CAT(seen, keypoints),
        }

    def with_noise(self, joints: torch.Tensor) -> torch.Tensor:
        """Joints (B,21,2) as the network gets them, in training or at test time."""
        if self.training and self.train_noise:
            chosen = torch.rand(len(joints), 1, 1, device=joints.device) < self.noise_share
            return joints + self.train_noise * chosen * torch.randn_like(joints)
        if not self.training and self.test_noise and not torch.jit.is_tracing():
            # drawn from the joints themselves: no matter in which batch a sample comes
            keys = [zlib.crc32(sample.tobytes()) for sample in joints.detach().cpu().numpy()]
            drawn = torch.from_numpy(normals(0, 0, np.array(keys), 2 * JOINTS)).to(joints)
            return joints + self.test_noise * drawn.view_as(joints)
        return joints

    def forward(self, batch: Batch) -> Batch:
        """image (B,3,S,S), joints_crop (B,21,2) -> verts_m (B,778,3), joints_m (B,21,3) relative to
        the wrist wrist_m (B,1,3); joints_crop (B,21,2) as seen again, joints_used (B,21,2) as
        given, heatmaps (B,21,s,s), pose6d (B,96: two columns of each of rotations
        (B,16,3,3)), shape (B,10). Raises ShapeError."""
        found = self.features(batch)
        return {**self.regressor(found["fused"]), "joints_used": found["joints_used"]}

    def losses(self, out: Batch, batch: Batch) -> Batch:
        """Weighted terms (HandRegressor.losses), the 2D one against the joints it was given."""
        return self.regressor.losses(out, batch, out["joints_used"], self.smooth, self.weight_2d)

    @torch.no_grad()
    def inspect(self, batch: Batch) -> Batch:
        """What `features` gives, heatmaps, and of each block b: image_asks_b (B,heads,C,21),
        joints_ask_b (B,heads,21,C), how much a channel of one hears of those of the other."""
        training = self.training
        self.eval()
        found = self.features(batch)
        found["heatmaps"] = self.regressor.hand_regHead(found["fused"])[1]
        image, joints = found["backbone"], found["keypoints"]
        for b, block in enumerate(self.CAT.layers):
            moved, heard = block(image, joints)
            first, second = block.transformer1.layers[0], block.transformer2.layers[0]
            found[f"image_asks_{b}"] = first.weights(image, joints)
            asked = image if block.parallel else moved
            found[f"joints_ask_{b}"] = second.weights(joints, asked)
            image, joints = moved, heard
        self.train(training)
        return found

    def conditions(self) -> dict[str, Any]:
        """For prediction files: where the 2D joints came from, and whether that is an oracle's."""
        noise = f" + N(0, {self.test_noise:g} of the crop)" if self.test_noise else ""
        told = {"inputs": f"{', '.join(self.inputs)}: {self.joints_source}{noise}"}
        return {**told, "oracle": True} if self.joints_source == TRUTH else told
