"""H2ONet (Xu et al., CVPR 2023): occlusion-aware hand mesh from one frame or three.

Numerically the authors' network; where paper and code differ the code is followed, as listed in
docs/methods/h2onet.md. Names of parameters are those of the released weights.
"""

from typing import Any

import numpy as np
import torch
from torch import nn

from handbench.errors import HandbenchError, ShapeError
from handbench.frames import MANO_TIPS
from handbench.hand import Hand
from handbench.mesh.topology import SIZES, Topology, build, load
from handbench.methods.h2onet_variants import CELLS, PRESETS, VARIANTS, check
from handbench.methods.parts import frame_fusion
from handbench.methods.parts.dense_stack import H2ONetBackbone
from handbench.methods.parts.frame_losses import Losses
from handbench.methods.parts.frame_stream import FrameStream
from handbench.methods.parts.h2onet_fast import fast
from handbench.methods.parts.h2onet_weights import ADDED, adopted
from handbench.methods.parts.mesh_decoder import MeshDecoder
from handbench.methods.parts.occlusion import OcclusionClassifier
from handbench.methods.parts.orientation import OrientationHead
from handbench.rotations import six_d_to_matrix

Batch = dict[str, torch.Tensor]
FOREIGN = ("mano_layer.", "mano_joint_reg_copy")  # of released files: MANO's arrays, a spare copy


class H2ONet(Losses, nn.Module):
    """H2ONet: a mesh in canonical orientation, and the orientation apart from it.

    With three frames (current first) it corrects the current mesh by features of fingers that
    earlier frames show better, and the current orientation by the nearest frame with a visible
    hand. Losses on the turned mesh train the orientation alone (detached as in the released code).

    width, units, up, decoder, hidden, turn_layers, first_stack, classifier: sizes, by default the
    published. dual: False takes the orientation branch away; the mesh then comes turned (the
    paper's baseline). frames: 1 or 3. mesh_fusion, hand_fusion: how frames help the mesh and the
    orientation; concat joins all frames' features; select takes the mesh of the frame with most
    visible fingers by ground truth, and trains nothing. occlusion: truth reads labels in place of
    the classifier. gate: what equation 2 weighs. form: paper takes the paper's losses of several
    frames, and each finger's own joints. joints_follow: whether current joints, too, are turned by
    the corrected orientation; as released they are not. still_start: corrections start at zero.
    up_form: how the mesh hierarchy goes up (handbench.mesh.upsampling.FORMS); topology: a
    hierarchy, or its file, to use in place of the hand's own. learn_regressor: whether joints'
    weights on the mesh are trained, as published, or stay the hand's. stage: 1, or 2 with losses on
    orientation (section 3.4). smooth: rounded L1 on tenfold metres, for short training.
    wrist_gradient: whether the wrist that the turned mesh is put at is trained by it, as in the
    released single-frame code; from random weights that runs away, since the mesh around the
    wrist gets no gradient. joint_trunk: whether the orientation trains the common trunk too.
    weight_*: of loss terms. Raises UnknownName, HandbenchError.
    """

    inputs: tuple[str, ...] = ("image",)
    crop_px, frames, hands = 128, 1, 1
    VARIANTS, PRESETS, CELLS = VARIANTS, PRESETS, CELLS
    PRETRAINED = "densestack.pth"

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
        classifier: int = 256,
        dual: bool = True,
        frames: int = 1,
        mesh_fusion: str = "none",
        hand_fusion: str = "none",
        occlusion: str = "predicted",
        gate: str = "probability",
        form: str = "released",
        joints_follow: bool = False,
        still_start: bool = False,
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
        weight_occlusion: float = 1.0,
    ) -> None:
        super().__init__()
        self.mesh_fusion, self.hand_fusion, self.occlusion = mesh_fusion, hand_fusion, occlusion
        self.gate, self.form = gate, form
        chosen = {"occlusion": occlusion, "gate": gate, "form": form, "stage": str(stage)}
        check(frames, mesh_fusion, hand_fusion, **chosen)
        self.crop_px, self.frames, self.dual, self.stage = crop_px, frames, dual, stage
        self.smooth, self.joints_follow, self.joint_trunk = smooth, joints_follow, joint_trunk
        # of several frames nothing of the turned mesh reaches the mesh, as released
        self.wrist_gradient = wrist_gradient and frames == 1
        self.weight_2d, self.weight_rotation = weight_2d, weight_rotation
        self.weight_normal, self.weight_edge = weight_normal, weight_edge
        self.weight_occlusion = weight_occlusion
        if mesh_fusion == "select" or occlusion == "truth":
            self.inputs = ("image", "frame_visibility")
        if mesh_fusion == "select":
            self.fit, self.started = self._take_over, False
        self.backbone = H2ONetBackbone(
            width, units, up, decoder[0], crop_px, first_stack, dual, joint_trunk
        )
        rotation = None
        if dual:
            cells, offset = (crop_px // 32) ** 2, hand_fusion != "none"
            rotation = OrientationHead(8 * width, cells, hidden, turn_layers, offset)
        loaded = load(topology, hand) if isinstance(topology, str) else topology
        meshes = loaded or build(hand, up_form)
        self.decoder3d = decoding = MeshDecoder(meshes, tuple(decoder))
        decoding.rot_reg = rotation
        if mesh_fusion == "finger" and occlusion == "predicted":
            groups = "own" if form == "paper" else "released"
            decoding.occ_pred = OcclusionClassifier(decoder[0], classifier, groups)
        if mesh_fusion in ("finger", "concat"):
            joined = 2 if mesh_fusion == "finger" else frames
            decoding.offset_pred = frame_fusion.VertexOffset(
                meshes, joined * decoder[-1], decoder[-1]
            )
        if still_start:
            self._start_still()
        regressor = torch.tensor(joint_regressor(hand), dtype=torch.float32)
        self.mano_joint_reg = nn.Parameter(regressor, requires_grad=learn_regressor)
        wrist = hand.rest_joints(np.concatenate([np.zeros((1, 10)), np.eye(10)]))[:, 0]
        for name, array in (
            ("wrist", wrist[0].astype(np.float32)),
            ("wrist_by_shape", (wrist[1:] - wrist[0]).astype(np.float32)),
            ("faces", hand.faces.astype(np.int64)),
            ("vertex_part", meshes.vertex_part.astype(np.int64)),
        ):
            self.register_buffer(name, torch.tensor(array), persistent=False)
        self.wrist: torch.Tensor
        self.wrist_by_shape: torch.Tensor
        self.faces: torch.Tensor
        self.vertex_part: torch.Tensor

    @torch.no_grad()
    def _start_still(self) -> None:
        """The frames' corrections start as none: no offset, no turn."""
        if hasattr(self.decoder3d, "offset_pred"):
            nn.init.zeros_(self.decoder3d.offset_pred.head.layer.weight)
        if self.hand_fusion != "none":
            last = self.decoder3d.rot_reg.fc_block2[-1]
            nn.init.zeros_(last.weight)
            last.bias.copy_(torch.tensor([1.0, 0, 0, 0, 1, 0]))

    @classmethod
    def from_released(cls, hand: Hand, weights: Batch, topology: Topology | None) -> "H2ONet":
        """The authors' network on their own mesh hierarchy, single- or multi-frame by what the
        weights hold. Raises HandbenchError without a hierarchy."""
        if topology is None:
            raise HandbenchError(
                "h2onet's released weights fit its authors' mesh hierarchy alone: give --topology "
                "template.ply or transform.pkl, from the folder template/ of the repositories "
                "SeanChenxy/HandMesh and hxwork/H2ONet_Pytorch (the same files)"
            )
        method = cls(hand, topology=topology, **VARIANTS[cls.variant_of(weights)])
        kept = {k: v for k, v in weights.items() if not k.startswith(FOREIGN)}
        method.load_state_dict(kept)
        return method

    def for_inference(self) -> "H2ONet":
        """The same network to be asked only, faster (parts.h2onet_fast); outputs differ by
        rounding."""
        return fast(self)

    @staticmethod
    def variant_of(weights: Batch) -> str:
        """Which variant released weights are."""
        return "multi_frame" if any(name.startswith(ADDED) for name in weights) else "full"

    def adopt(self, weights: Batch) -> None:
        """Start from weights of another variant: what both have; what several frames add and the
        weights lack stays as it is. Raises RuntimeError when more is lacking or shapes differ."""
        block = "fc_block1" if self.hand_fusion != "none" else "fc_block"
        self.load_state_dict(adopted(self.state_dict(), weights, block))
        self.started = True

    def _take_over(self, batches: Any) -> None:
        """fit of the variant that selects frames: it has the single-frame network's weights."""
        if not self.started:
            raise HandbenchError(
                "h2onet/multi_frame_select trains nothing: give --start and a run of h2onet/full"
            )

    def forward(self, batch: Batch) -> Batch:
        """image (B,3,S,S), or (B,3,3,S,S) current frame first -> points (B,·,3) m.

        verts_m, joints_m relative to the wrist, turned; verts_canonical_m, joints_canonical_m in
        the hand model's frame (baseline: verts_posed_m, joints_posed_m); joints_crop (B,21,2);
        rotation (B,3,3) that joints_m are turned by. Of several frames also frame_NAME (B,T,…) of
        all, where frame_rotation has no correction; occlusion_logits (B,T,2,6), class 0 visible;
        visibility (B,5). Raises ShapeError, HandbenchError.
        """
        return self.run(batch)[0]

    def inspect(self, batch: Batch) -> Batch:
        """Mesh features (B,C,s,s), orientation_features (B,hidden), joint_features (B,21,C),
        vertex_features (B,778,c); of several frames each (B,T,…), and finger_weights (B,T,6) of
        palm and fingers, finger_visible (B,T,5), hand_visible (B,T), chosen_frame (B) for the
        orientation, fused_features (B,778,c), vertex_offset_m (B,778,3), rotation_offset (B,3,3).
        """
        training = self.training
        self.eval()
        maps = self.run(batch)[1]
        self.train(training)
        return maps

    def run(self, batch: Batch) -> tuple[Batch, Batch]:
        """Outputs and maps of a batch: see forward and inspect."""
        image, frames = batch["image"], self.frames
        shape = (*((frames,) if frames > 1 else ()), 3, self.crop_px, self.crop_px)
        if image.shape[1:] != shape:
            raise ShapeError(
                f"h2onet takes images (B, {', '.join(map(str, shape))}), not {tuple(image.shape)}"
            )
        if frames == 1:
            seen = self.look(image)
            out = self.turned(seen["verts"], seen.get("rotation"), seen.get("rotation"))
            return out | {"joints_crop": seen["joints_crop"]}, frame_fusion.maps_of(seen)
        flat = self.look(image.transpose(0, 1).flatten(0, 1))
        seen = {name: value.unflatten(0, (frames, -1)) for name, value in flat.items()}
        current, maps = self.combine(seen, self._truth(batch))
        turns = seen["rotation"]
        verts = torch.cat([current["verts"][None], seen["verts"][1:]])
        right = torch.cat([current["rotation"][None], turns[1:]])
        left = right if self.joints_follow else turns
        rows = self.turned(*(value.flatten(0, 1) for value in (verts, left, right)))
        rows["joints_crop"] = flat["joints_crop"]
        every = {name: value.unflatten(0, (frames, -1)) for name, value in rows.items()}
        out = {name: value[0] for name, value in every.items()}
        out |= frame_fusion.occlusion_of(seen)
        out |= {f"frame_{name}": value.transpose(0, 1) for name, value in every.items()}
        out["frame_rotation"] = turns.transpose(0, 1)
        return out, frame_fusion.maps_of(seen, maps)

    def current(self, seen: Batch) -> Batch:
        """Outputs for the current frame alone, from what frames (T,B,…) told (FrameStream)."""
        made, _ = self.combine(seen)
        turn = made["rotation"] if self.joints_follow else seen["rotation"][0]
        return self.turned(made["verts"], turn, made["rotation"]) | frame_fusion.occlusion_of(seen)

    def stream(self, step: int = 1) -> FrameStream:
        """This network, as it is, over a video: see FrameStream."""
        return FrameStream(self, step)

    def look(self, image: torch.Tensor) -> Batch:
        """What one frame (B,3,S,S) tells by itself: verts (B,778,3), joints_crop, occlusion_logits
        (B,2,6), rotation (B,3,3) and its feature turn (B,hidden), vertex_features (B,778,c) …"""
        decoding = self.decoder3d
        features, joints_crop, low, other = self.backbone(image)
        at_joints = decoding.at_joints(features, joints_crop)
        vertex = decoding.climb(at_joints)
        seen = {"joints_crop": joints_crop, "verts": decoding.mesh(vertex)}
        seen |= {"mesh_features": features, "joint_features": at_joints.mT}
        seen["vertex_features"] = vertex.transpose(0, 1)
        if self.dual:
            shared = low if self.joint_trunk else low.detach()
            seen["turn"] = decoding.rot_reg.feature(shared + other)
            seen["rotation"] = six_d_to_matrix(decoding.rot_reg.turn(seen["turn"]))
        if hasattr(decoding, "occ_pred"):
            seen["occlusion_logits"] = decoding.occ_pred(at_joints.detach())
        return seen

    def combine(self, seen: Batch, truth: torch.Tensor | None = None) -> tuple[Batch, Batch]:
        """What frames (T,B,…) as `look` saw them make of the current one: verts (B,778,3) and the
        corrected rotation (B,3,3); and maps. truth (T,B,5): visible fingers, where it is read."""
        current = {"verts": seen["verts"][0], "rotation": seen["rotation"][0]}
        if self.mesh_fusion == "select":
            assert truth is not None
            chosen = truth.sum(2).argmax(0)  # of equal ones the most recent
            current["verts"] = frame_fusion.take_frame(seen["verts"], chosen)
            return current, {"chosen_frame": chosen}
        logits = seen.get("occlusion_logits")
        features, maps = seen["vertex_features"], {}
        now = features[0]
        if self.mesh_fusion == "finger":
            visible, gates = frame_fusion.gates_of(logits, truth, self.gate)
            weights = frame_fusion.finger_weights(gates)
            fused = frame_fusion.blend(weights, features, self.vertex_part)
            maps = {"finger_visible": visible, "finger_weights": weights}
            joined = torch.cat([fused, now], 2)
        else:
            joined = torch.cat([*features], 2)
        offset = self.decoder3d.offset_pred(joined.transpose(0, 1))
        current["verts"] = current["verts"] + offset
        maps |= {"fused_features": joined, "vertex_offset_m": offset}
        if self.hand_fusion != "none":
            by_hand = self.hand_fusion == "classifier"
            shown = frame_fusion.hand_visible(logits, truth, by_hand)
            chosen = frame_fusion.nearest_visible(shown)
            turn, head = seen["turn"], self.decoder3d.rot_reg
            six_d = head.correct(turn[0], frame_fusion.take_frame(turn, chosen))
            more = six_d_to_matrix(six_d)
            current["rotation"] = more @ current["rotation"]
            maps |= {"hand_visible": shown, "chosen_frame": chosen, "rotation_offset": more}
        return current, maps

    def turned(self, verts: torch.Tensor, of_joints: Any, of_verts: Any) -> Batch:
        """Points of a mesh (N,778,3) and its joints, each turned by a rotation (N,3,3)."""
        # of several frames errors of joints train the regressor alone, as released
        joints = self.mano_joint_reg @ (verts if self.frames == 1 else verts.detach())
        if not self.dual:
            wrist = joints[:, :1]
            out = {"verts_m": verts - wrist, "joints_m": joints - wrist}
            return out | {"verts_posed_m": verts, "joints_posed_m": joints}
        wrist = joints[:, :1].detach()
        return {
            "verts_m": (verts.detach() - wrist) @ of_verts.mT,
            "joints_m": (joints.detach() - wrist) @ of_joints.mT,
            "verts_canonical_m": verts,
            "joints_canonical_m": joints,
            "rotation": of_joints,
        }

    def _truth(self, batch: Batch) -> torch.Tensor | None:
        if "frame_visibility" not in self.inputs:
            return None
        if "frame_visibility" not in batch:
            raise HandbenchError(
                "this variant of h2onet reads the visible fingers of all frames from the labels: "
                "it needs frame_visibility (B,T,5), which pictures alone do not have"
            )
        return batch["frame_visibility"].transpose(0, 1)

    def conditions(self) -> dict[str, Any]:
        """For prediction files: whether labels were read at test time."""
        if "frame_visibility" not in self.inputs:
            return {}
        return {"inputs": "image, visible fingers: ground truth", "oracle": True}


def joint_regressor(hand: Hand) -> np.ndarray:
    """(21,778): the hand's joints and fingertips from its vertices; the trained one starts here."""
    tips = np.zeros((5, SIZES[0]))
    tips[np.arange(5), hand.tip_ids] = 1
    return np.concatenate([hand.J_regressor, tips])[MANO_TIPS]
