"""Loss terms of poses, keypoints and objects, as published by kypt or for short training.

Hands are flattened as in parts.pose_queries: N = B times the hands of a sample.
"""

import torch
from torch.nn import functional

from handbench.methods.parts.keypoints import FULL_SCALE
from handbench.methods.parts.lixels import PARENTS, Lixels, from_parents
from handbench.methods.parts.losses import distance, masked_mean
from handbench.rotations import axis_angle_to_matrix

Batch = dict[str, torch.Tensor]
# Published weights, turned to metres, crop units and heatmaps of peak 1 (kypt, section 7.3 there in
# mm, pixels of a grid of 128 and heatmaps of peak 255).
PUBLISHED = {
    "joints": 100.0,
    "bones": 1000.0,
    "verts": 0.0,
    "joints_2d": 1.28,
    "lixels": 1000.0,
    "pose": 0.07,
    "shape": 5.0,
    "relative": 100.0,
    "object": 100.0,
    "corners": 100.0,
    "heatmaps": 0.01 * FULL_SCALE**2,
    "identities": 1.0,
    "object_mask": 1.0,
    "hands": 0.1,
}
# For a minute or two of training, on rounded L1 of tenfold values.
SHORT = {
    "joints": 1.0,
    "bones": 1.0,
    "verts": 1.0,
    "joints_2d": 0.5,
    "lixels": 10.0,
    "pose": 1.0,
    "shape": 0.01,
    "relative": 1.0,
    "object": 1.0,
    "corners": 1.0,
    "heatmaps": 50.0,
    "identities": 0.1,
    "object_mask": 0.3,
    "hands": 0.1,
}
MIRRORED = (1.0, -1.0, -1.0)  # an axis-angle in the mirror x -> -x
OF_HANDS = (
    *("joints_m", "verts_m", "pose", "shape", "joints_crop", "valid_joints"),
    *("valid_mano", "valid_verts", "object_T", "valid_object"),
)


def flat_hands(batch: Batch, hands: int) -> Batch:
    """The batch with its hand arrays flattened; poses of left hands of two as right hands'."""
    if hands == 1:
        return batch
    flat = dict(batch)
    for name in OF_HANDS:
        if name in batch:
            flat[name] = batch[name].flatten(0, 1)
    if "pose" in flat:
        signs = flat["pose"].new_tensor(MIRRORED).repeat(16)
        flat["pose"] = torch.cat([batch["pose"][:, :1], batch["pose"][:, 1:] * signs], 1)
        flat["pose"] = flat["pose"].flatten(0, 1)
    return flat


def pose_terms(out: Batch, true: Batch, short: bool, lixels: Lixels | None) -> Batch:
    """Terms of one decoded layer, unweighted; out and true with flattened hands.

    lixels: the head of 2.5D outputs; published, these learn from their heatmaps alone.
    """
    valid, mano = true["valid_joints"], true["valid_mano"]
    both = torch.cat([valid[:, :1], valid[:, 1:] * valid[:, list(PARENTS)]], 1)
    if lixels is not None:
        heat = lixels.targets(true["joints_crop"], true["joints_m"])
        # x and y are known where the joint is, depth where its parent is too
        masks = torch.stack([valid, valid, both], -1)
        if not short:
            return {"lixels": masked_mean((out["lixels"] - heat).square(), masks)}
        depth = from_parents(true["joints_m"])[..., 2]
        return {
            "lixels": masked_mean((out["lixels"].sigmoid() - heat).square(), masks),
            "joints_2d": distance(out["joints_crop"], true["joints_crop"], valid, True),
            "bones": distance(out["depth_m"], depth, both, True),
        }
    terms = {"joints_2d": distance(out["joints_crop"], true["joints_crop"], valid, short)}
    terms["joints"] = distance(out["joints_m"], true["joints_m"], valid, short)
    if "verts_m" not in out:
        bones = from_parents(out["joints_m"]), from_parents(true["joints_m"])
        return {**terms, "bones": distance(*bones, both, short)}
    turned = out["rotations"] - axis_angle_to_matrix(true["pose"].view(-1, 16, 3))
    shape = out["shape"] - true["shape"]
    terms["verts"] = distance(out["verts_m"], true["verts_m"], true["valid_verts"], short)
    terms["pose"] = masked_mean(turned.square().sum((2, 3)) if short else turned.abs(), mano)
    terms["shape"] = masked_mean(shape.square() if short else shape.abs(), mano)
    return terms


def scene_terms(out: Batch, true: Batch, short: bool) -> Batch:
    """Terms of two hands to each other and of the object; true not flattened but for objects."""
    terms = {}
    if "left_minus_right_m" in out:
        pair = out["left_minus_right_m"], true["left_minus_right_m"]
        terms["relative"] = distance(*pair, true["valid_relative"], short)
    if "object_t" in out:
        hands = len(out["object_t"]) // len(out["object_R"])
        moved = out["object_t"], true["object_T"][:, :3, 3]
        terms["object"] = distance(*moved, true["valid_object"], short)
        true_R = true["object_T"][::hands, :3, :3]
        known = true["valid_object"].view(-1, hands).amax(1)
        terms["corners"] = corner_distance(
            out["object_R"], true_R, true["object_corners"], known, short
        )
    return terms


def corner_distance(
    turned: torch.Tensor,
    true: torch.Tensor,
    corners: torch.Tensor,
    mask: torch.Tensor,
    short: bool,
) -> torch.Tensor:
    """Mean L1 distance of the turned box corners, the least over the object's symmetries.

    turned, true (B,3,3); corners (B,S,8,3): the box's corners under each symmetry, the first one
    the identity. Kypt's symmetry-aware corner loss, of rotations alone: places have their own term.
    """
    ours = corners[:, :1] @ turned.mT[:, None]
    theirs = corners @ true.mT[:, None]
    ours = ours.expand_as(theirs)
    away = (ours - theirs).abs()
    if short:
        away = functional.smooth_l1_loss(10 * ours, 10 * theirs, reduction="none", beta=0.05)
    return masked_mean(away.mean((2, 3)).amin(1), mask)
