"""H2ONet (Xu et al., CVPR 2023): occlusion-aware hand mesh from one frame or three.

Numerically the authors' network; where paper and code differ the code is followed, as listed in
docs/methods/h2onet.md. Names of parameters are those of the released weights.
"""

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from handbench.errors import HandbenchError, ShapeError
from handbench.frames import MANO_TIPS
from handbench.hand import Hand
from handbench.mesh.topology import SIZES, Topology, build, load
from handbench.methods.parts.dense_stack import H2ONetBackbone
from handbench.methods.parts.losses import distance, masked_mean
from handbench.methods.parts.orientation import OrientationHead
from handbench.methods.parts.spiral import SpiralConv, SpiralUp
from handbench.methods.parts.surface import surface_errors
from handbench.rotations import axis_angle_to_matrix, six_d_to_matrix

Batch = dict[str, torch.Tensor]
FOREIGN = ("mano_layer.", "mano_joint_reg_copy")  # of released files: MANO's arrays, a spare copy


class MeshDecoder(nn.Module):
    """Features at the 2D joints, lifted to 49 vertices and up the mesh hierarchy to 778.

    H2ONet section 3.3. widths: channels on 49, 98, 195, 389 and 778 vertices.
    """

    def __init__(self, topology: Topology, widths: tuple[int, ...], rotation: nn.Module) -> None:
        super().__init__()
        self.upsample = nn.Parameter(torch.full((SIZES[-1], 21), 0.01))
        self.de_layer_conv = nn.Sequential(nn.Conv2d(widths[0], widths[0], 1, bias=False))
        self.de_layer = nn.ModuleList(
            SpiralUp(widths[i], widths[i + 1], topology.up_matrix(3 - i), topology.spirals[3 - i])
            for i in range(4)
        )
        self.head = SpiralConv(widths[-1], 3, topology.spirals[0])
        self.rot_reg = rotation

    def forward(self, features: torch.Tensor, joints_crop: torch.Tensor) -> torch.Tensor:
        """Maps (B,C,s,s) and joints (B,21,2) in 0..1 -> canonical vertices (B,778,3) m."""
        grid = (2 * (joints_crop - 0.5)).clamp(-1, 1)[:, :, None]
        maps = self.de_layer_conv(features)
        at_joints = functional.grid_sample(maps, grid, align_corners=True)[..., 0]
        x = torch.einsum("vj,bcj->vbc", self.upsample, at_joints)
        for layer in self.de_layer:
            x = layer(x)
        return self.head(x).transpose(0, 1)


class H2ONet(nn.Module):
    """Single-frame H2ONet: a mesh in canonical orientation, and the orientation apart from it.

    Losses on the turned mesh train the orientation alone (detached as in the released code).

    width, units, up, decoder, hidden, turn_layers, first_stack: sizes, by default the published.
    up_form: how the mesh hierarchy goes up (handbench.mesh.upsampling.FORMS); topology: a
    hierarchy, or its file, to use in place of the hand's own. learn_regressor: whether joints'
    weights on the mesh are trained, as published, or stay the hand's. stage: 1, or 2 with losses on
    orientation (section 3.4). smooth: rounded L1 on tenfold metres, for short training.
    wrist_gradient: whether the wrist that the turned mesh is put at is trained by it, as in the
    released single-frame code; from random weights that runs away, since the mesh around the
    wrist gets no gradient. joint_trunk: whether the orientation trains the common trunk too.
    weight_*: of loss terms.
    """

    inputs, crop_px, frames, hands = ("image",), 128, 1, 1
    VARIANTS: dict[str, dict[str, Any]] = {"full": {}, "stage_1": {"stage": 1}}
    PRESETS: dict[str, dict[str, Any]] = {
        "paper": {},
        "tiny": {
            "crop_px": 64,
            "width": 32,
            "units": 2,
            "first_stack": False,
            "decoder": (32, 32, 24, 16, 8),
            "hidden": 128,
            "turn_layers": 0,
            "learn_regressor": False,
            "smooth": True,
            "wrist_gradient": False,
            "joint_trunk": True,
            "weight_2d": 1.5,
            "weight_normal": 0.0,
            "weight_edge": 0.0,
        },
    }

    def __init__(
        self,
        hand: Hand,
        crop_px: int = 128,
        width: int = 128,
        units: int = 4,
        up: int = 24,
        decoder: tuple[int, ...] = (256, 256, 128, 64, 32),
        hidden: int = 1024,
        turn_layers: int = 3,
        first_stack: bool = True,
        up_form: str = "barycentric",
        topology: Topology | str | None = None,
        learn_regressor: bool = True,
        stage: int = 2,
        smooth: bool = False,
        wrist_gradient: bool = True,
        joint_trunk: bool = False,
        weight_2d: float = 1.0,
        weight_rotation: float = 1.0,
        weight_normal: float = 0.1,
        weight_edge: float = 1.0,
    ) -> None:
        super().__init__()
        self.crop_px, self.stage, self.smooth = crop_px, stage, smooth
        self.wrist_gradient, self.joint_trunk = wrist_gradient, joint_trunk
        self.weight_2d, self.weight_rotation = weight_2d, weight_rotation
        self.weight_normal, self.weight_edge = weight_normal, weight_edge
        self.backbone = H2ONetBackbone(
            width, units, up, decoder[0], crop_px, first_stack, joint_trunk=joint_trunk
        )
        cells = (crop_px // 32) ** 2
        rotation = OrientationHead(8 * width, cells, hidden, turn_layers)
        meshes = load(topology, hand) if isinstance(topology, str) else topology
        self.decoder3d = MeshDecoder(meshes or build(hand, up_form), tuple(decoder), rotation)
        regressor = torch.tensor(joint_regressor(hand), dtype=torch.float32)
        self.mano_joint_reg = nn.Parameter(regressor, requires_grad=learn_regressor)
        wrist = hand.rest_joints(np.concatenate([np.zeros((1, 10)), np.eye(10)]))[:, 0]
        for name, value in (("wrist", wrist[0]), ("wrist_by_shape", wrist[1:] - wrist[0])):
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32), persistent=False)
        self.register_buffer("faces", torch.tensor(hand.faces.astype(np.int64)), persistent=False)
        self.wrist: torch.Tensor
        self.wrist_by_shape: torch.Tensor
        self.faces: torch.Tensor

    @classmethod
    def from_released(cls, hand: Hand, weights: Batch, topology: Topology | None) -> "H2ONet":
        """The authors' network on their own mesh hierarchy. Raises HandbenchError without one."""
        if topology is None:
            raise HandbenchError(
                "h2onet's released weights fit its authors' mesh hierarchy alone: give --topology "
                "template.ply or transform.pkl, from the folder template/ of the repositories "
                "SeanChenxy/HandMesh and hxwork/H2ONet_Pytorch (the same files)"
            )
        method = cls(hand, topology=topology)
        kept = {k: v for k, v in weights.items() if not k.startswith(FOREIGN)}
        method.load_state_dict(kept)
        return method

    def forward(self, batch: Batch) -> Batch:
        """image (B,3,S,S) -> points (B,·,3) m: verts_m, joints_m relative to the wrist, turned;
        verts_canonical_m, joints_canonical_m in the hand model's frame; joints_crop (B,21,2);
        rotation (B,3,3). Raises ShapeError."""
        image = batch["image"]
        if image.shape[1:] != (3, self.crop_px, self.crop_px):
            raise ShapeError(
                f"h2onet takes images (B, 3, {self.crop_px}, {self.crop_px}), "
                f"not {tuple(image.shape)}"
            )
        features, joints_crop, low, turned = self.backbone(image)
        verts = self.decoder3d(features, joints_crop)
        joints = self.mano_joint_reg @ verts
        shared = low if self.joint_trunk else low.detach()
        rotation = six_d_to_matrix(self.decoder3d.rot_reg(shared + turned))
        wrist = joints[:, :1].detach()
        return {
            "verts_m": (verts.detach() - wrist) @ rotation.mT,
            "joints_m": (joints.detach() - wrist) @ rotation.mT,
            "verts_canonical_m": verts,
            "joints_canonical_m": joints,
            "joints_crop": joints_crop,
            "rotation": rotation,
        }

    def losses(self, out: Batch, batch: Batch) -> Batch:
        """Weighted terms of section 3.4 as released: plain means, metres, 2D in crop units."""
        of_verts = batch["valid_verts"] * batch["valid_mano"]
        of_joints = batch["valid_joints"] * batch["valid_mano"][:, None]
        true, smooth = self.canonical(batch), self.smooth
        verts, joints, flat = (
            out[f"{n}"] for n in ("verts_canonical_m", "joints_canonical_m", "joints_crop")
        )
        terms = {
            "verts_canonical": distance(verts, true["verts"], of_verts, smooth),
            "joints_canonical": distance(joints, true["joints"], of_joints, smooth),
            "joints_2d": self.weight_2d
            * distance(flat, batch["joints_crop"], batch["valid_joints"], smooth),
        }
        if self.weight_normal or self.weight_edge:
            normal, edge = surface_errors(verts, true["verts"], self.faces)
            terms["normal"] = self.weight_normal * masked_mean(normal, of_verts)
            terms["edge"] = self.weight_edge * masked_mean(edge, of_verts)
        if self.stage == 2:
            wrist = joints[:, :1] if self.wrist_gradient else joints[:, :1].detach()
            moved = wrist - true["wrist"]
            terms["verts"] = distance(out["verts_m"] + moved, batch["verts_m"], of_verts, smooth)
            terms["joints"] = distance(
                out["joints_m"] + moved, batch["joints_m"], of_joints, smooth
            )
            error = (out["rotation"] - true["rotation"]).square()
            terms["rotation"] = self.weight_rotation * masked_mean(error, batch["valid_mano"])
        return terms

    def canonical(self, batch: Batch) -> Batch:
        """What the network should give: rotation (B,3,3); wrist (B,1,3), verts, joints (B,·,3) m
        of the same hand without global rotation, in the hand model's frame.

        The model turns about its wrist, so taking the known rotation back is exact.
        """
        rotation = axis_angle_to_matrix(batch["pose"][:, :3])
        wrist = (self.wrist + batch["shape"] @ self.wrist_by_shape)[:, None]
        return {
            "rotation": rotation,
            "wrist": wrist,
            "verts": batch["verts_m"] @ rotation + wrist,
            "joints": batch["joints_m"] @ rotation + wrist,
        }


def joint_regressor(hand: Hand) -> np.ndarray:
    """(21,778): the hand's joints and fingertips from its vertices; the trained one starts here."""
    tips = np.zeros((5, SIZES[0]))
    tips[np.arange(5), hand.tip_ids] = 1
    return np.concatenate([hand.J_regressor, tips])[MANO_TIPS]
