"""H2ONet over a video: every frame goes through the network once, what it told is kept."""

from collections import deque
from typing import Any

import torch

from handbench.errors import HandbenchError

Batch = dict[str, torch.Tensor]


class FrameStream:
    """Frames in, hands out, equal to the network's pass over three frames (to rounding).

    method: an H2ONet of several frames, in test mode, best its for_inference(). step: how far
    apart the frames it looks back to are; before the first frame that one stands, as in the frame
    rule `clean`. Raises HandbenchError for a method of one frame, or one that reads labels.
    """

    def __init__(self, method: Any, step: int = 1) -> None:
        if method.frames == 1 or method.inputs != ("image",):
            raise HandbenchError("only an H2ONet that sees several frames, and no labels, streams")
        self.method, self.step = method, step
        self.seen: deque[Batch] = deque(maxlen=(method.frames - 1) * step + 1)

    @torch.inference_mode()
    def push(self, image: torch.Tensor) -> Batch:
        """The next frame (B,3,S,S) -> outputs for it, as forward names them, without frame_*."""
        found = self.method.look(image)
        kept = ("verts", "rotation", "vertex_features", "turn", "occlusion_logits")
        self.seen.append({name: found[name] for name in kept if name in found})
        last = len(self.seen) - 1
        picked = [self.seen[max(0, last - t * self.step)] for t in range(self.method.frames)]
        stacked = {name: torch.stack([each[name] for each in picked]) for name in self.seen[-1]}
        return self.method.current(stacked) | {"joints_crop": found["joints_crop"]}
