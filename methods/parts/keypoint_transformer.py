"""Keypoint Transformer: find keypoints, tell which joints they are, ask them for the pose.

Hampali et al. 2022, sections 3.1 to 3.4. OccRobNet and `kypt_small` are this network with other
features, heatmaps and attention.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from handbench.errors import HandbenchError, UnknownName
from handbench.hand import Hand
from handbench.methods.parts import keypoints
from handbench.methods.parts.keypoints import Points
from handbench.methods.parts.losses import masked_mean
from handbench.methods.parts.pose_method import Batch, PoseMethod
from handbench.methods.parts.product_attention import DecoderLayer, EncoderLayer, perceptron

CANDIDATES = ("maxima", "joints")
WHERE = ("both", "encoder", "decoder")
ON_OBJECT = 100 / 255  # of the true mask, from which on a point is the object's
# Of the tiny presets: a minute or two on one CPU core.
TINY: dict[str, Any] = {
    "output": "mano",
    "model_width": 64,
    "heads": 4,
    "feed": 128,
    "encoders": 2,
    "dropout": 0.0,
    "tokens": 24,
    "positions": 16,
    "bins": 64,
    "decode": "mean",
    "candidates": "joints",
    "points_end": 150,
    "overview": True,
    "short": True,
}
START = 0.1  # of the untrained heatmap head: maps begin near 0 everywhere


class KeypointTransformer(PoseMethod):
    """Features (subclass) -> heatmaps -> points -> tokens -> encoder -> queries -> pose.

    A subclass sets `backbone` (parts.pyramid) and calls `build`. model_width, heads, feed,
    encoders, decoders, dropout: of the transformer; attention: its form (product_attention), where:
    whose self-attention has it, the encoder's, the decoder's or both; else it is softmax. tokens:
    points for each hand, object_points: the object's beside them; positions: channels of a token
    for its place. channel_heat: a heatmap for each joint, else one for all. candidates: the local
    maxima of all heatmaps together, by radius (cells), or each joint's strongest cell (whose joint
    is not told on); threshold: of either; gamma: cells within which a point is a joint's.
    points_hold, points_end: training steps with the true points alone, and after which none gets
    them. overview: queries see one more token, the mean of the trunk's last map. pose: of
    parts.pose_method.
    """

    training_steps: torch.Tensor

    backbone: Any  # a pyramid, whose `last` and `levels` are counts of channels

    def build(
        self,
        hand: Hand,
        model_width: int = 256,
        heads: int = 8,
        feed: int = 2048,
        encoders: int = 6,
        decoders: int = 1,
        dropout: float = 0.1,
        attention: str = "softmax",
        where: str = "both",
        tokens: int = 50,
        object_points: int = 20,
        positions: int = 32,
        channel_heat: bool = True,
        candidates: str = "maxima",
        radius: int = 1,
        threshold: float = 20 / 255,
        gamma: float = 0.75,
        points_hold: int = 0,
        points_end: int = 0,
        overview: bool = False,
        **pose: Any,
    ) -> None:
        for option, value, known in (
            ("where", where, WHERE),
            ("candidates", candidates, CANDIDATES),
        ):
            if value not in known:
                raise UnknownName(option, value, known)
        self.candidates = candidates
        if tokens < 21:
            raise HandbenchError(f"tokens = {tokens}: a hand has 21 joints, give as many at least")
        if encoders < 1 or decoders < 1:
            raise HandbenchError(f"encoders = {encoders}, decoders = {decoders}: give 1 or more")
        width = model_width
        self.build_pose(hand, width, self.backbone.last, **pose)
        joints = 21 * self.hands
        self.hand_points = tokens * self.hands
        self.object_points = object_points if self.objects else 0
        self.radius, self.threshold, self.gamma = radius, threshold, gamma
        self.points_hold, self.points_end, self.positions = points_hold, points_end, positions
        levels, finest = self.backbone.levels, self.backbone.levels[0]
        self.heat = nn.Conv2d(finest, joints if channel_heat else 1, 1)
        with torch.no_grad():
            for parameter in self.heat.parameters():
                parameter.mul_(START)
        rest = width - positions
        self.to_token = perceptron(sum(levels), 2 * width, width, rest, last=True)
        self.classes = 1 + joints + self.objects
        self.identity = perceptron(width, width, width, self.classes)
        if self.objects:
            self.mask = nn.Conv2d(finest, 1, 1)
            self.to_object = perceptron(sum(levels[-2:]), 2 * width, width, rest, last=True)
        form = {name: attention if where in ("both", name) else "softmax" for name in WHERE[1:]}
        shape = width, heads, feed
        self.encoder: Any = nn.ModuleList(
            EncoderLayer(*shape, form["encoder"], dropout) for _ in range(encoders)
        )
        self.decoder: Any = nn.ModuleList(
            DecoderLayer(*shape, form["decoder"], dropout) for _ in range(decoders)
        )
        self.read = nn.LayerNorm(width)
        self.overview = nn.Linear(self.backbone.last, width) if overview else None
        self.queries = nn.Parameter(torch.randn(self.pose.count, width))
        self.register_buffer("training_steps", torch.zeros((), dtype=torch.long))

    def features(self, image: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Maps from finest to coarsest, and the trunk's last. A subclass may refine the first."""
        return self.backbone(image)

    def forward(self, batch: Batch) -> Batch:
        """image (B,3,S,S) (with 2.5D also K_crop, maybe root_m) -> what PoseMethod.outputs gives
        and heatmaps (B,21 or 42 or 1,s,s), with objects object_logits (B,s,s). Raises ShapeError.

        In training also points (B,K,2), points_valid (B,K), identity_logits (B,layers,K,classes).
        """
        self.check(batch["image"])
        maps, last = self.features(batch["image"])
        out: Batch = {"heatmaps": self.heat(maps[0])}
        if self.objects:
            out["object_logits"] = self.mask(maps[0])[:, 0]
        points = self.points(out, batch)
        allowed = points.valid[:, None, None]
        tokens, layers = self.tokens(maps, points), []
        for layer in self.encoder:
            tokens = layer(tokens, allowed)
            layers.append(tokens)
        if self.training:
            self.training_steps += 1
            told = self.identity(self.read(torch.stack(layers, 1)))
            out |= {"identity_logits": told, "points": points.place, "points_valid": points.valid}
        tokens, allowed = self.with_overview(tokens, allowed, last)
        return out | self.outputs(self.decode(tokens, allowed), last, batch)

    def points(self, out: Batch, batch: Batch) -> Points:
        """The keypoints: true ones at the start of training, then what the heatmaps show."""
        heat = out["heatmaps"].detach()
        if self.candidates == "joints":
            found = keypoints.strongest(heat, self.hand_points, self.threshold)
        else:
            found = keypoints.detect(heat.amax(1), self.hand_points, self.radius, self.threshold)
        told = self.true_share() if self.training and "joints_crop" in batch else 0.0
        if told > 0:
            true = keypoints.true_points(*self.all_joints(batch), self.hand_points)
            chosen = torch.rand(len(heat), device=heat.device) < told
            found = Points(
                torch.where(chosen[:, None, None], true.place, found.place),
                torch.where(chosen[:, None], true.valid, found.valid),
                torch.where(chosen[:, None], true.strength, found.strength),
            )
        if not self.objects:
            return found
        mask = out["object_logits"].detach().sigmoid()
        if told > 0:
            true_mask = functional.adaptive_avg_pool2d(batch["object_mask"][:, None], mask.shape[1])
            mask = torch.where(chosen[:, None, None], true_mask[:, 0], mask)
        more = keypoints.spread_points(mask, self.object_points, self.training)
        return Points(*(torch.cat(pair, 1) for pair in zip(found, more)))

    def true_share(self) -> float:
        """Share of samples that get the true points in this training step."""
        step, end = int(self.training_steps), self.points_end
        if step < self.points_hold:
            return 1.0
        return max(0.0, (end - step) / max(1, end - self.points_hold))

    def all_joints(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Joints in the crop (B,21 or 42,2) and which are known (B,21 or 42)."""
        joints, valid = batch["joints_crop"], batch["valid_joints"]
        return (joints, valid) if self.hands == 1 else (joints.flatten(1, 2), valid.flatten(1, 2))

    def tokens(self, maps: list[torch.Tensor], points: Points) -> torch.Tensor:
        """Tokens (B,K,d): features of all levels at the points, and the places' code."""
        count = self.hand_points
        told = self.to_token(keypoints.sample(maps, points.place[:, :count]))
        if self.objects:
            more = keypoints.sample(maps[-2:], points.place[:, count:])
            told = torch.cat([told, self.to_object(more)], 1)
        return torch.cat([told, keypoints.sine_code(points.place, self.positions)], 2)

    def with_overview(
        self, tokens: torch.Tensor, allowed: torch.Tensor, last: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The encoded tokens and, where asked, one of the trunk's whole last map."""
        if self.overview is None:
            return tokens, allowed
        whole = self.overview(last.mean((2, 3)))[:, None]
        return torch.cat([tokens, whole], 1), functional.pad(allowed, (0, 1), value=True)

    def decode(self, tokens: torch.Tensor, allowed: torch.Tensor) -> list[torch.Tensor]:
        """What the queries know after each layer, (B,Q,d) each."""
        x, found = torch.zeros_like(self.queries).expand(len(tokens), -1, -1), []
        masks = self.masks(allowed)
        for layer in self.decoder:
            x = layer(x, self.queries, tokens, **masks)
            found.append(x)
        return found

    def masks(self, allowed: torch.Tensor) -> Batch:
        """groups (Q,Q): which queries hear each other; allowed (B,1,Q,K): which tokens.

        The query of the object's rotation hears the object's points alone, where there are any.
        """
        turning = self.pose.turning
        allowed = allowed.expand(-1, -1, self.pose.count, -1)
        if turning is not None:
            own = allowed[:, :, turning].clone()
            own[:, :, : self.hand_points] = False
            own[:, :, self.hand_points + self.object_points :] = False
            own = torch.where(own.any(-1, keepdim=True), own, allowed[:, :, turning])
            allowed = allowed.clone()
            allowed[:, :, turning] = own
        return {"groups": self.pose.groups, "allowed": allowed}

    def losses(self, out: Batch, batch: Batch) -> Batch:
        """Weighted terms (parts.pose_losses); what is not annotated counts nowhere."""
        return self.weighted({**self.all_terms(out, batch), **self.point_terms(out, batch)})

    def point_terms(self, out: Batch, batch: Batch) -> Batch:
        """Heatmaps (equation 3), identities (equation 4), the object's mask."""
        joints, valid = self.all_joints(batch)
        heat = out["heatmaps"]
        true = keypoints.gaussians(joints, valid, heat.shape[-1])
        if heat.shape[1] == 1:  # one map for all joints; half a map would teach that others are not
            known = valid.unflatten(1, (self.hands, -1))
            whole = ((known > 0).all(2) | (known == 0).all(2)).all(1)
            error = (heat[:, 0] - true.sum(1)).square()
            terms = {"heatmaps": masked_mean(error, whole.to(heat.dtype))}
        else:
            terms = {"heatmaps": masked_mean((heat - true).square(), valid)}
        if "identity_logits" in out:
            classes = self.identities(out["points"], batch, heat.shape[-1])
            logits = out["identity_logits"].permute(0, 3, 1, 2)
            wanted = classes[:, None].expand(-1, logits.shape[2], -1)
            error = functional.cross_entropy(logits, wanted, reduction="none").mean(1)
            some = out["points_valid"] & (valid.sum(1, keepdim=True) > 0)
            terms["identities"] = masked_mean(error, some.to(error.dtype))
        if "object_logits" in out:
            logits = out["object_logits"]
            mask = functional.adaptive_avg_pool2d(batch["object_mask"][:, None], logits.shape[1])
            error = functional.binary_cross_entropy_with_logits(
                logits, mask[:, 0].clamp(0, 1), reduction="none"
            )
            terms["object_mask"] = masked_mean(error, batch["valid_object_mask"])
        return terms

    def identities(self, place: torch.Tensor, batch: Batch, side: int) -> torch.Tensor:
        """The class of each point (B,K): 0 none, then joints, then the object."""
        joints, valid = self.all_joints(batch)
        depth = batch["joints_m"][..., 2].reshape(len(joints), -1)
        count = self.hand_points
        reach = self.gamma / side
        found = keypoints.associate(place[:, :count], joints, valid, depth, reach)
        if not self.objects:
            return found
        mask = batch["object_mask"][:, None]
        on_object = keypoints.sample([mask], place[:, count:])[..., 0] > ON_OBJECT
        return torch.cat([found, torch.where(on_object, self.classes - 1, 0)], 1)

    @torch.no_grad()
    def inspect(self, batch: Batch) -> Batch:
        """Maps backbone and features (before and after refinement), heatmaps; points (B,K,2),
        points_valid, identities (B,K,classes) of them, encoder_attention (B,heads,K,K) of the
        first layer, query_attention (B,heads,Q,Q) and token_attention (B,heads,Q,K) of the last."""
        training = self.training
        self.eval()
        maps, last = self.features(batch["image"])
        out: Batch = {"heatmaps": self.heat(maps[0])}
        if self.objects:
            out["object_logits"] = self.mask(maps[0])[:, 0]
        points = self.points(out, {})
        tokens, allowed = self.tokens(maps, points), points.valid[:, None, None]
        out["encoder_attention"] = self.encoder[0].attention.weights(tokens, tokens, allowed)
        for layer in self.encoder:
            tokens = layer(tokens, allowed)
        out["identities"] = self.identity(self.read(tokens)).softmax(-1)
        tokens, allowed = self.with_overview(tokens, allowed, last)
        x, masks = torch.zeros_like(self.queries).expand(len(tokens), -1, -1), self.masks(allowed)
        for layer in self.decoder[:-1]:
            x = layer(x, self.queries, tokens, **masks)
        among, cross = self.decoder[-1].look(x, self.queries, tokens, **masks)
        out |= {"query_attention": among, "token_attention": cross}
        out |= {"points": points.place, "points_valid": points.valid}
        out |= {"backbone": self.backbone(batch["image"])[0][0], "features": maps[0]}
        self.train(training)
        return out
