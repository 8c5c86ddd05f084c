"""Loss terms of H2ONet over one frame or several, and the labels that several frames need."""

import torch
from torch.nn import functional

from handbench.methods.parts.losses import distance, masked_mean
from handbench.methods.parts.surface import surface_errors
from handbench.rotations import axis_angle_to_matrix

Batch = dict[str, torch.Tensor]
LABELS = (
    *("joints_m", "verts_m", "joints_crop", "pose", "shape", "visibility", "hand_visibility"),
    *("valid_joints", "valid_mano", "valid_verts", "valid_visibility"),
)


class Losses:
    """The loss of H2ONet, whose attributes it reads: options of its constructor, buffers."""

    frames: int
    stage: int
    dual: bool
    smooth: bool
    wrist_gradient: bool
    form: str
    mesh_fusion: str
    weight_2d: float
    weight_rotation: float
    weight_normal: float
    weight_edge: float
    weight_occlusion: float
    wrist: torch.Tensor
    wrist_by_shape: torch.Tensor
    faces: torch.Tensor

    def losses(self, out: Batch, batch: Batch) -> Batch:
        """Weighted terms of section 3.4 as released: plain means, metres, 2D in crop units."""
        if self.mesh_fusion == "select":
            return {}
        true, made = batch, out
        if self.frames > 1:
            true = of_frames(batch, self.frames)
            inner = {k[6:]: v for k, v in out.items() if k.startswith("frame_")}
            made = {name: value.transpose(0, 1).flatten(0, 1) for name, value in inner.items()}
        hands = true["valid_mano"]
        masks = true["valid_verts"] * hands, true["valid_joints"] * hands[:, None]
        known, kind = self.canonical(true), "canonical" if self.dual else "posed"
        verts, joints = made[f"verts_{kind}_m"], made[f"joints_{kind}_m"]
        if not self.dual:
            known["verts"] = true["verts_m"] + known["wrist"]
            known["joints"] = true["joints_m"] + known["wrist"]
        flat = distance(made["joints_crop"], true["joints_crop"], true["valid_joints"], self.smooth)
        terms = {
            f"verts_{kind}": distance(verts, known["verts"], masks[0], self.smooth),
            f"joints_{kind}": distance(joints, known["joints"], masks[1], self.smooth),
            "joints_2d": self.weight_2d * flat,
        }
        terms |= self._surface("", verts, known["verts"], masks[0])
        if "occlusion_logits" in out:
            logits = out["occlusion_logits"].transpose(0, 1).flatten(0, 1)
            heads = 5 if self.form == "paper" else 6
            terms["occlusion"] = self.weight_occlusion * occlusion_error(logits, true, heads)
        if self.stage == 2 and self.dual:
            wrist = joints[:, :1] if self.wrist_gradient else joints[:, :1].detach()
            moved = wrist - known["wrist"]
            smooth = self.smooth
            terms["verts"] = distance(made["verts_m"] + moved, true["verts_m"], masks[0], smooth)
            terms["joints"] = distance(made["joints_m"] + moved, true["joints_m"], masks[1], smooth)
            error = (made["rotation"] - known["rotation"]).square()
            terms["rotation"] = self.weight_rotation * masked_mean(error, hands)
            if self.frames > 1 and self.form == "released":
                terms |= self._surface("_turned", made["verts_m"], true["verts_m"], masks[0])
        return terms

    def _surface(
        self, name: str, verts: torch.Tensor, true: torch.Tensor, mask: torch.Tensor
    ) -> Batch:
        """Normal and edge-length errors, means over annotated hands; paper equation 9."""
        if not (self.weight_normal or self.weight_edge):
            return {}
        errors = surface_errors(verts, true, self.faces)
        normal, edge = (masked_mean(error, mask) for error in errors)
        return {
            f"normal{name}": self.weight_normal * normal,
            f"edge{name}": self.weight_edge * edge,
        }

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


def of_frames(batch: Batch, frames: int) -> Batch:
    """Labels of all frames as one batch (T·B,…), frame by frame, from a batch's frame_NAME.

    A batch that has labels of its current frame alone (the contract's) counts there alone.
    """
    found = {}
    for name in LABELS:
        if f"frame_{name}" in batch:
            value = batch[f"frame_{name}"].transpose(0, 1)
        elif name in batch:
            past = torch.zeros_like if name.startswith("valid_") else torch.clone
            value = torch.stack([batch[name], *(past(batch[name]) for _ in range(frames - 1))])
        else:
            continue
        found[name] = value.flatten(0, 1)
    return found


def occlusion_error(logits: torch.Tensor, true: Batch, heads: int = 6) -> torch.Tensor:
    """Cross-entropy of logits (N,2,6) of five fingers and the hand; the first `heads` of them.

    Paper equation 10, over fingers alone; the released code counts the hand as a sixth.
    """
    seen = torch.cat([true["visibility"], true["hand_visibility"][:, None]], 1)[:, :heads]
    error = functional.cross_entropy(logits[..., :heads], (seen < 0.5).long(), reduction="none")
    return masked_mean(error, true["valid_visibility"])
