"""What networks that decode queries into a pose share: checks, outputs, losses, conditions."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from handbench.errors import HandbenchError, ShapeError, UnknownName
from handbench.hand import Hand
from handbench.methods.parts.losses import masked_mean
from handbench.methods.parts.pose_losses import (
    PUBLISHED,
    SHORT,
    flat_hands,
    pose_terms,
    scene_terms,
)
from handbench.methods.parts.pose_queries import PoseQueries
from handbench.methods.parts.product_attention import perceptron

Batch = dict[str, Any]
RECONSTRUCTION = "our reconstruction"  # of methods without code, wherever their numbers stand
DEPTHS = ("size", "ground_truth")
OF_HANDS = (
    *("joints_m", "joints_crop", "verts_m", "pose6d", "shape", "rotations"),
    *("lixels", "depth_m", "object_t"),
)


def takes(*functions: Callable[..., None]) -> Callable[[type], type]:
    """A class decorator: `**more` of __init__ are the named options of these functions.

    What inspects the class, recipes for one, then sees them all.
    """

    def named(function: Callable[..., None]) -> list[inspect.Parameter]:
        known = inspect.signature(function).parameters.values()
        return [p for p in known if p.default is not p.empty]

    def signed(cls: type) -> type:
        own = [p for p in inspect.signature(cls).parameters.values() if p.kind != p.VAR_KEYWORD]
        names = {p.name for p in own}
        added = {p.name: p for function in functions for p in named(function)}
        more = [p.replace(kind=p.KEYWORD_ONLY) for p in added.values() if p.name not in names]
        cls.__signature__ = inspect.Signature([*own, *more])  # type: ignore[attr-defined]
        return cls

    return signed


class PoseMethod(nn.Module):
    """A method whose last layer is parts.pose_queries; a subclass gives `decoded` queries.

    output, hands, objects, bins, decode, own_groups: of the pose. root_depth: 2.5D's distance of
    the wrist from the hand's "size" or the "ground_truth" (then an input at test time). short:
    rounded L1 and SHORT weights in place of the published; weights: changes to them.
    """

    inputs: tuple[str, ...] = ("image",)
    crop_px, frames, hands = 256, 1, 1

    def build_pose(
        self,
        hand: Hand,
        width: int,
        trunk: int,
        output: str = "3d",
        hands: int = 1,
        objects: bool = False,
        bins: int = 128,
        decode: str = "argmax",
        root_depth: str = "size",
        own_groups: bool = True,
        short: bool = False,
        weights: dict[str, float] | None = None,
    ) -> None:
        """trunk: channels of the trunk's last map, which tells which hands there are."""
        if root_depth not in DEPTHS:
            raise UnknownName("root_depth", root_depth, DEPTHS)
        if hands not in (1, 2):
            raise HandbenchError(f"hands = {hands}: give 1 or 2")
        self.hands, self.objects, self.short = hands, objects, short
        if output == "2.5d":
            given = ("root_m",) if root_depth == "ground_truth" else ()
            self.inputs = ("image", "K_crop", *given)
        self.weights = {**(SHORT if short else PUBLISHED), **(weights or {})}
        self.pose = PoseQueries(
            hand, output, hands, objects, width, self.crop_px, bins, decode, own_groups
        )
        if hands == 2:
            self.which = perceptron(trunk, width, 2)

    def check(self, image: torch.Tensor) -> None:
        """Raises ShapeError unless image is (B,3,S,S) of the method's crop."""
        size = (3, self.crop_px, self.crop_px)
        if image.ndim != 4 or image.shape[1:] != size:
            raise ShapeError(
                f"{type(self).__name__.lower()} takes images (B, {', '.join(map(str, size))}), "
                f"not {tuple(image.shape)}"
            )

    def outputs(self, decoded: list[torch.Tensor], last: torch.Tensor, batch: Batch) -> Batch:
        """What is read off the last decoded queries (B,Q,d), in training off the earlier too.

        last: the trunk's last map. One hand: joints_m (B,21,3), joints_crop and what
        parts.pose_queries gives. Two: the same as (B,2,…), right and left, left_minus_right_m
        (B,3), hand_score (B,2). Objects: object_T (B,4,4), at the right wrist in the camera's axes,
        at the left one's where there is no right hand.
        """
        made = self.pose(decoded[-1], batch)
        out = {
            name: value.unflatten(0, (-1, 2)) if self.hands == 2 and name in OF_HANDS else value
            for name, value in made.items()
            if name != "root_m"
        }
        if self.training and len(decoded) > 1:
            out["earlier"] = [self.pose(x, batch) for x in decoded[:-1]]
        if self.hands == 2:
            out["hand_logits"] = self.which(last.mean((2, 3)))
            out["hand_score"] = out["hand_logits"].sigmoid()
        if self.objects:
            place = out["object_t"]
            if self.hands == 2:
                right = out["hand_score"][:, :1] > 0.5
                place = torch.where(right, place[:, 0], place[:, 1])
            top = torch.cat([out["object_R"], place[:, :, None]], 2)
            end = top.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(len(top), 1, 4)
            out["object_T"] = torch.cat([top, end], 1)
        return out

    def all_terms(self, out: Batch, batch: Batch) -> Batch:
        """Unweighted terms of pose, object and hands, each decoder layer's averaged."""
        true, made = flat_hands(batch, self.hands), out
        if self.hands == 2:
            made = {k: v.flatten(0, 1) if k in OF_HANDS else v for k, v in out.items()}
        lixels = getattr(self.pose, "lixels", None)
        layers = [
            {**pose_terms(x, true, self.short, lixels), **scene_terms(x, true, self.short)}
            for x in (*out.get("earlier", ()), made)
        ]
        found = {name: torch.stack([x[name] for x in layers]).mean() for name in layers[0]}
        if "hand_logits" in out:
            error = functional.binary_cross_entropy_with_logits(
                out["hand_logits"], batch["present"], reduction="none"
            )
            found["hands"] = masked_mean(error, batch["valid_present"])
        return found

    def weighted(self, terms: Batch) -> Batch:
        return {name: self.weights[name] * v for name, v in terms.items() if self.weights[name]}

    def losses(self, out: Batch, batch: Batch) -> Batch:
        """Weighted terms (parts.pose_losses); what is not annotated counts nowhere."""
        return self.weighted(self.all_terms(out, batch))

    def conditions(self) -> dict[str, Any]:
        """For prediction files: whether the wrist's distance was read from the truth."""
        found: dict[str, Any] = {"object_frame": "hand"} if self.objects else {}
        if "root_m" in self.inputs:
            told = ", ".join(self.inputs).replace("root_m", "the wrist's distance: ground truth")
            found |= {"inputs": told, "oracle": True}
        return found
