"""A trained run looking at one hand in a picture: crop, network, place in front of the camera."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from handbench import checkpoint, files
from handbench.errors import HandbenchError
from handbench.hand import models_of
from handbench.inference import photographs, placing
from handbench.inference.outputs import native
from handbench.inference.photographs import Asked
from handbench.loading import crop
from handbench.loading.batch import Batch, to_torch
from handbench.loading.patches import warp_exact
from handbench.training.runs import Run
from handbench.training.train import pick_device

ALWAYS = ("image", "K_crop", "is_left", "crop_matrix")  # what a picture and a box give


@dataclass(frozen=True)
class Wanted:
    """How pictures are to be read: hands in them (boxes, joints, side) and the focal length."""

    side: str = "right"
    box_px: NDArray | None = None
    boxes: dict[str, list] = field(default_factory=dict)
    joints: dict[str, NDArray] = field(default_factory=dict)
    focal_px: float | None = None

    def hands(self, name: str, size: tuple[int, int]) -> list[Asked]:
        """The hands of a picture (w, h). Raises DataError for a box outside it or too small."""
        given = photographs.of_picture(self.boxes, name)
        if self.boxes and given is None:
            return []
        listed = given or [(photographs.WHOLE if self.box_px is None else self.box_px, None)]
        found = []
        for box, left in listed:
            known = np.isfinite(box).all()
            photographs.check_box(box if known else np.array([0, 0, *size]), size, name)
            is_left = self.side == "left" if left is None else left
            found.append(Asked(box, is_left, photographs.of_picture(self.joints, name)))
        return found


class Seer:
    """A run's method and hand models, ready to look at pictures."""

    def __init__(self, run: Run, device: str, wanted: Wanted) -> None:
        self.run, self.wanted, self.device = run, wanted, pick_device(device)
        self.method, self.recipe, state = checkpoint.trained(run)
        self.method.to(self.device)
        self.hands = dict(zip(("right", "left"), models_of(state["hand_model"]) or ()))
        self.sha256 = files.sha256(state["path"])
        given = (*ALWAYS, *(["joints_crop"] if wanted.joints else []))
        for name in self.method.inputs:
            if name not in given:
                more = ": give --joints FILE" if name == "joints_crop" else ""
                raise HandbenchError(
                    f"{self.recipe.method} needs {name} at test time, which a picture alone does "
                    f"not give{more}"
                )
        if self.method.hands == 2:
            raise HandbenchError(
                f"{run.name} takes both hands of prepared splits: choose a one-hand variant"
            )
        if wanted.joints and hasattr(self.method, "joints_source"):
            self.method.joints_source, self.method.test_noise = "a file", 0.0

    def follow(self) -> Callable[[Batch], Batch] | None:
        """For a video of one hand: the method frame by frame, keeping what earlier frames told.

        None for methods of one frame or without `stream`.
        """
        if self.method.frames == 1 or not hasattr(self.method, "stream"):
            return None
        if self.method.inputs != ("image",) or self.wanted.boxes:
            return None
        quick = getattr(self.method, "for_inference", lambda: self.method)()
        stream = quick.stream(self.recipe.frame_step)
        return lambda batch: stream.push(batch["image"])

    @torch.inference_mode()
    def look(
        self,
        frames: Sequence[NDArray],
        asked: Asked,
        network: Callable[[Batch], Batch] | None = None,
    ) -> dict[str, Any]:
        """What is known of a hand in the first of the frames (h,w,3), earlier ones behind it.

        network: in place of the method, as `follow` gives it, for the one frame alone.

        is_left, box_px (None: whole picture), K (3,3), joints_m, verts_m in the camera frame
        and, where the method gives them, joints_px, visibility; translation and its source.
        """
        size = frames[0].shape[1], frames[0].shape[0]
        K = placing.camera(size, self.wanted.focal_px)
        arrays = self.batch(frames, asked, K)
        batch = to_torch({name: arrays[name] for name in self.method.inputs}, self.device)
        batch.setdefault("is_left", torch.from_numpy(arrays["is_left"]))
        hand = native(arrays, (network or self.method)(batch), self.method.crop_px)
        found: dict[str, Any] = {name: value[0] for name, value in hand.items()}
        known = np.isfinite(asked.box_px).all()
        shift = None
        if "joints_px" in found:
            shift = placing.translation(found["joints_m"], found["joints_px"], K)
        found["placed_by"] = "least squares" if shift is not None else "size of the box"
        if shift is None:
            area = asked.box_px if known else np.array([0, 0, *size], np.float64)
            shift = placing.inside_box(found["joints_m"], area, K)
        for name in ("joints_m", "verts_m"):
            if name in found:
                found[name] = found[name].astype(np.float64) + shift
        return {**found, "translation_m": shift, "K": K, "box_px": asked.box_px if known else None}

    def batch(self, frames: Sequence[NDArray], asked: Asked, K: NDArray) -> Batch:
        """A batch of one hand; all frames cut by the same box, left hands mirrored."""
        edge = self.method.crop_px
        size = np.array([frames[0].shape[1::-1]])
        left = np.array([asked.is_left])
        centre, side, _ = crop.square(asked.box_px[None], size, self.recipe.box_factor)
        matrix = crop.affine(centre, side, edge, 0.0, left)
        cuts = [warp_exact(frame, matrix[0], edge)[..., :3] for frame in frames]
        image = np.stack(cuts).transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
        batch: Batch = {
            "image": image if len(frames) == 1 else image[None],
            "is_left": left,
            "crop_matrix": matrix.astype(np.float32),
            "K_crop": crop.intrinsics(K[None], matrix, 0.0, left).astype(np.float32),
        }
        if asked.joints_px is not None:
            flat = crop.transform(asked.joints_px[None], matrix) / edge
            batch["joints_crop"] = flat.astype(np.float32)
        elif "joints_crop" in self.method.inputs:
            raise HandbenchError("--joints has none for one of the pictures")
        return batch
