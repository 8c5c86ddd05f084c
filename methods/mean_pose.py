"""The constant prediction: what any network must beat before its numbers mean anything."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import nn

from handbench.errors import DataError
from handbench.hand import Hand

POINTS = {"joints_m": "valid_joints", "verts_m": "valid_verts"}


class MeanPose(nn.Module):
    """The same hand for every image, fitted in closed form; it sees no picture.

    full: the mean of wrist-relative joints and vertices over the training data. No constant has
    a smaller mean squared error, so it is the harder reference for MPJPE; but a mean over
    many orientations shrinks towards the wrist and is no hand, which the similarity alignment of
    PA-MPJPE does not repair. posed: the mean orientation, articulation and shape (chordal means
    of rotations), posed by the hand model: a real hand, the harder reference for PA-MPJPE.
    Left hands arrive mirrored, so both sides share one mean.
    """

    inputs, crop_px, frames, hands = (), 64, 1, 1
    VARIANTS = {"full": {}, "posed": {"posed": True}}
    PRESETS: dict[str, dict[str, Any]] = {"paper": {}, "tiny": {}}

    joints_m: torch.Tensor
    verts_m: torch.Tensor

    def __init__(self, hand: Hand, posed: bool = False) -> None:
        super().__init__()
        self.hand, self.posed = hand, posed
        self.register_buffer("joints_m", torch.zeros(21, 3))
        self.register_buffer("verts_m", torch.zeros(778, 3))

    def forward(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """joints_m (B,21,3) and verts_m (B,778,3), wrist-relative; B is that of is_left (B,)."""
        count = len(batch["is_left"])
        return {name: getattr(self, name).expand(count, -1, -1) for name in POINTS}

    def losses(
        self, out: dict[str, torch.Tensor], batch: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """{}: there is nothing to descend."""
        return {}

    @torch.no_grad()
    def fit(self, batches: Iterable[dict[str, torch.Tensor]]) -> None:
        """One pass over the training data. Raises DataError when nothing in it is annotated."""
        (self._fit_posed if self.posed else self._fit_points)(batches)

    def _fit_points(self, batches: Iterable[dict[str, torch.Tensor]]) -> None:
        totals = {
            name: torch.zeros_like(getattr(self, name), dtype=torch.float64) for name in POINTS
        }
        counts = {name: torch.zeros_like(total[:, :1]) for name, total in totals.items()}
        for batch in batches:
            for name, mask in POINTS.items():
                weight = batch[mask].double().reshape(len(batch[name]), -1, 1)
                totals[name] += (weight * batch[name].double()).sum(0)
                counts[name] += weight.sum(0)
        if not counts["joints_m"].any():
            raise DataError("mean_pose: no sample of the training data has annotated joints")
        for name in POINTS:
            getattr(self, name).copy_(totals[name] / counts[name].clamp(min=1))

    def _fit_posed(self, batches: Iterable[dict[str, torch.Tensor]]) -> None:
        from scipy.spatial.transform import Rotation

        rotations, shape, count = np.zeros((16, 3, 3)), np.zeros(10), 0
        for batch in batches:
            known = batch["valid_mano"].cpu().numpy() > 0
            pose = batch["pose"].double().cpu().numpy()[known].reshape(-1, 3)
            rotations += Rotation.from_rotvec(pose).as_matrix().reshape(-1, 16, 3, 3).sum(0)
            shape += batch["shape"].double().cpu().numpy()[known].sum(0)
            count += int(known.sum())
        if not count:
            raise DataError("mean_pose: no sample of the training data has hand model parameters")
        # the rotation nearest to a mean of rotation matrices is their chordal mean
        mean = Rotation.from_matrix(nearest_rotations(rotations)).as_rotvec()
        verts, joints = self.hand.pose(mean.reshape(1, 48), shape[None] / count)
        self.joints_m.copy_(torch.from_numpy(joints[0] - joints[0, 0]))
        self.verts_m.copy_(torch.from_numpy(verts[0] - joints[0, 0]))


def nearest_rotations(matrices: np.ndarray) -> np.ndarray:
    """The rotations (N,3,3) nearest to matrices (N,3,3) in the Frobenius norm (Kabsch)."""
    u, _, vt = np.linalg.svd(matrices)
    sign = np.ones((len(matrices), 3))
    sign[:, 2] = np.linalg.det(u @ vt)
    return (u * sign[:, None]) @ vt
