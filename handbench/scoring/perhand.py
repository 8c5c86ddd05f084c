"""Every metric of every hand: predictions against a prepared split, a thousand hands at a time."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from handbench.console import progress, say
from handbench.predictions import Predictions
from handbench.protocol import Protocol
from handbench.schema import COLUMNS
from handbench.scoring.images import handedness, mrrpe_mm, object_mssd_mm, say_lacking
from handbench.scoring.metrics import METRICS, measure
from handbench.scoring.mssd import Shape
from handbench.scoring.pairs import Pairs
from handbench.scoring.sequences import accel_mm, jitter_mm, neighbours
from handbench.scoring.truth import Truth

CHUNK = 1000
# what a broken prediction counts where --on-nan worst asks for it, by unit
WORST = {"mm": 1000.0, "deg": 180.0, "px": 1000.0, "": 0.0}
# any shape of which every metric has a value
STAND_IN = np.random.default_rng(0).normal(size=(778, 3))
JOINT_ERRORS = ("joint_errors_mm", "pa_joint_errors_mm")


def measure_all(
    predictions: Predictions,
    truth: Truth,
    protocol: Protocol,
    order: NDArray,
    broken: NDArray,
    on_nan: str,
    shapes: Mapping[str, Shape],
) -> dict[str, NDArray]:
    """Every metric of the protocol for every hand (M,), and the errors of its joints (M,21).

    order (M,): each hand's row in the predictions; broken (M,): hands whose prediction is not
    finite, which on_nan drops (NaN) or counts as the worst wherever they would have a value.
    """
    gather = _Gather(predictions, truth, protocol, order, broken)
    gather.say_lacking_joints_px()
    parts: list[dict[str, NDArray]] = []
    with progress("score", len(order), "hands") as advance:
        for part in chunks(len(order)):
            pairs = gather.pairs(part)
            found = measure(pairs, protocol.metrics)
            found |= {name: getattr(pairs, name) for name in JOINT_ERRORS}
            parts.append(found)
            advance(len(order[part]))
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    for name, values in whole.items():
        unit = METRICS[name].unit if name in METRICS else "mm"
        chosen = broken.reshape(-1, *[1] * (values.ndim - 1)) & np.isfinite(values)
        values[chosen] = WORST[unit] if on_nan == "worst" else np.nan
    for name in JOINT_ERRORS:
        whole[name] = whole[name].astype(np.float32)
    if predictions.visibility is not None:
        whole["visibility_pred"] = predictions.visibility[order]
    return whole | _beyond_hands(gather, shapes)


def labels_of(truth: Truth) -> dict[str, NDArray]:
    """Who each hand is: id, side, sequence, recording, level, what hides it, extra columns."""
    present = truth.present()
    both = np.where((present <= 1).all(1) & (present.sum(1) > 0), present.sum(1) - 1, 255)
    found = {
        "id": truth.id,
        "is_left": truth.is_left,
        "level": truth.level(),
        "share_visible": truth.split.hand_column("visibility/scene/hand"),
        "finger_visible": truth.finger_visible(),
        "finger_cause": truth.split.hand_column("occlusion_cause"),
        "interacting": both.astype(np.uint8),
    }
    seen = truth.joint_visible()
    if seen is not None:
        found["joint_visible"] = seen
    for name in ("sequence", "recording", "subject", "order"):
        found[name] = truth.per_row(name)
    for name in truth.split.columns:
        if name not in COLUMNS:  # a data set's own, such as controlled_target
            found[name] = truth.per_row(name)
    return found


def chunks(total: int) -> list[slice]:
    return [slice(start, min(start + CHUNK, total)) for start in range(0, total, CHUNK)]


class _Gather:
    """Predictions and truth of all hands side by side; meshes a part at a time."""

    def __init__(
        self,
        predictions: Predictions,
        truth: Truth,
        protocol: Protocol,
        order: NDArray,
        broken: NDArray,
    ) -> None:
        self.predictions, self.truth, self.protocol = predictions, truth, protocol
        self.order, self.broken = order, broken
        self.joints_true_m, self.valid, self.wrist_m = truth.joints_m()
        self.seen, self.fingers = truth.joint_visible(), truth.finger_visible()
        self.roots_m = self._roots_m()
        self.rotations = truth.rotations() if predictions.root_rotation is not None else None

    def _roots_m(self) -> NDArray | None:
        """(M,3) where every hand has its root: a mean over those that have would be another one."""
        if self.predictions.root_m is None:
            return None
        roots = self.predictions.root_m[self.order].astype(np.float64)
        lacking = ~np.isfinite(roots).all(1) & ~self.broken
        if lacking.any():
            if not lacking.all():
                say(f"no raw errors: {lacking.sum():,} of {len(roots):,} hands have no root_m")
            return None
        return np.where(self.broken[:, None], 0.0, roots)

    def say_lacking_joints_px(self) -> None:
        """Counts hands with a joint that is known in the picture and not predicted there."""
        if self.predictions.joints_px is None or "epe2d_px" not in self.protocol.metrics:
            return
        true = np.isfinite(self.truth.per_hand("joints_px", slice(None))).all(-1) & self.valid
        there = np.isfinite(self.predictions.joints_px[self.order]).all(-1) | ~true
        say_lacking("joints_px", "hand", true.any(1) & ~self.broken, there.all(1))

    def joints_pred_m(self, part: slice) -> NDArray:
        """(m,21,3) as predicted; STAND_IN for broken hands until their errors are put in."""
        joints = self.predictions.joints_m[self.order[part]].astype(np.float64)
        return np.where(self.broken[part, None, None], STAND_IN[:21], joints)

    def pairs(self, part: slice) -> Pairs:
        made, truth, rows = self.predictions, self.truth, self.order[part]
        joints = self.joints_pred_m(part)
        verts = verts_true = star = star_true = None
        if made.verts_m is not None:
            whole = np.where(self.broken[part, None, None], STAND_IN, made.verts_m[rows])
            verts, verts_true = whole - joints[:, :1], truth.verts_m(part)
            star = truth.star_joints_m(whole, part)
            star_true = None if verts_true is None else truth.star_joints_m(verts_true, part)
        return Pairs(
            joints_pred_m=joints - joints[:, :1],
            joints_true_m=self.joints_true_m[part],
            joints_valid=self.valid[part],
            verts_pred_m=verts,
            verts_true_m=verts_true,
            root_pred_m=None if self.roots_m is None else self.roots_m[part] + joints[:, 0],
            root_true_m=self.wrist_m[part],
            joint_visible=None if self.seen is None else self.seen[part],
            vert_visible=truth.vert_visible(part),
            finger_visible=self.fingers[part],
            visibility_pred=None if made.visibility is None else made.visibility[rows],
            star_pred_m=star,
            star_true_m=star_true,
            joints_px_pred=None if made.joints_px is None else made.joints_px[rows],
            joints_px_true=truth.per_hand("joints_px", part),
            box_px=truth.box_side_px(part),
            rotation_pred=made.root_rotation[rows] if made.root_rotation is not None else None,
            rotation_true=None if self.rotations is None else self.rotations[part],
            reflection=self.protocol.reflection,
        )


def _beyond_hands(gather: _Gather, shapes: Mapping[str, Shape]) -> dict[str, NDArray]:
    """What needs frames around or whole pictures; frames around a broken one have no value."""
    made, truth, order = gather.predictions, gather.truth, gather.order
    around = neighbours(truth.clips(), truth.per_row("order"), 2)
    found: dict[str, NDArray | None] = {
        "mrrpe_mm": mrrpe_mm(made, truth, order),
        "handedness_acc": handedness(made, truth),
        "mssd_mm": object_mssd_mm(made, truth, shapes),
    }
    if (around[:, 1:4] >= 0).all(1).any():
        joints = gather.joints_pred_m(slice(None))
        joints = np.where(gather.broken[:, None, None], np.nan, joints - joints[:, :1])
        true, valid = gather.joints_true_m, gather.valid
        found["accel_mm"] = accel_mm(joints, true, valid, around[:, 1:4])
        found["jitter_mm"] = jitter_mm(joints, around)
    return {
        name: values
        for name, values in found.items()
        if values is not None and name in gather.protocol.metrics and np.isfinite(values).any()
    }
