"""Protocols as data: everything that must match before two numbers may be compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from handbench.errors import UnknownName

# Evaluation conditions, which rows of one table must share, and what they are called in print.
EVALUATION_CONDITIONS = {
    "data": "data",
    "dataset_version": "data version",
    "hands": "hands scored",
    "box_source": "boxes at test time",
    "root_source": "root",
    "left_hands": "left hands",
    "label_rule": "occlusion rule",
}
# Method conditions, which are shown as columns beside the numbers.
METHOD_CONDITIONS = {
    "inputs": "inputs at test time",
    "frames": "frames",
    "crop_px": "crop",
    "initialisation": "initialisation",
    "training_data": "training data",
    "checkpoint_rule": "checkpoint",
}
MAIN = (
    "mpjpe_mm",
    "pa_mpjpe_mm",
    "st_mpjpe_mm",
    "raw_mpjpe_mm",
    "mpvpe_mm",
    "pa_mpvpe_mm",
    "auc50_joints",
    "pa_auc50_joints",
    "auc50_verts",
    "pa_auc50_verts",
    "f5",
    "f15",
    "pa_f5",
    "pa_f15",
    "hidden_mpjpe_mm",
    "visible_mpjpe_mm",
    "occlusion_acc",
)
AUCS = ("raw_auc50_joints", "auc50_joints", "pa_auc50_joints")

OFFICIAL_MESH = tuple(
    name for name in MAIN if not name.startswith(("raw_", "hidden_", "visible_", "occlusion_"))
)


@dataclass(frozen=True)
class Protocol:
    """How predictions become numbers. A changed rule raises the version.

    root: what raw errors are relative to; reflection: whether Procrustes may mirror.
    """

    name: str
    version: int
    about: str
    root: str
    reflection: bool
    metrics: tuple[str, ...]

    @property
    def label(self) -> str:
        return f"{self.name}@{self.version}"


PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="handbench",
            version=1,
            about="wrist-relative errors; PA is a similarity without reflection, joints and mesh "
            "each by their own; AUC over 0-50 mm in 100 steps; every hand of the split counts once",
            root="wrist",
            reflection=False,
            metrics=MAIN,
        ),
        *(
            Protocol(
                name=name,
                version=1,
                about=f"the official {title} evaluator: raw errors in the camera frame, PA may "
                "mirror, joints and mesh each by their own; AUC over 0-50 mm in 100 steps",
                root="camera",
                reflection=True,
                metrics=OFFICIAL_MESH,
            )
            for name, title in (
                ("ho3d_v2", "HO-3D v2"),
                ("ho3d_v3", "HO-3D v3"),
                ("freihand", "FreiHAND"),
            )
        ),
        Protocol(
            name="dexycb_hpe",
            version=1,
            about="the DexYCB toolkit's hand pose evaluation: 21 joints, left hands as they are; "
            "MPJPE is root-relative and counts the wrist, raw is in the camera frame, PA may "
            "mirror; AUC over 0-50 mm in 100 steps",
            root="wrist",
            reflection=True,
            metrics=("raw_mpjpe_mm", "mpjpe_mm", "pa_mpjpe_mm", *AUCS),
        ),
    )
}


def get(name: str) -> Protocol:
    """A protocol by name. Raises UnknownName with the nearest one."""
    if name not in PROTOCOLS:
        raise UnknownName("protocol", name, PROTOCOLS, "handbench list protocols")
    return PROTOCOLS[name]


def differences(conditions: list[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Evaluation conditions in which several results differ: name -> the value of each result."""
    names = ("protocol", *EVALUATION_CONDITIONS)
    found = {name: [each.get(name) for each in conditions] for name in names}
    return {name: values for name, values in found.items() if len(set(map(str, values))) > 1}
