"""Variants of H2ONet: every row of the paper's ablations, and forms of our own beside them."""

from typing import Any

from handbench.errors import HandbenchError, UnknownName

CHOICES = {
    "mesh_fusion": ("none", "concat", "finger", "select"),
    "hand_fusion": ("none", "fingers", "classifier"),
    "occlusion": ("predicted", "truth"),
    "gate": ("probability", "logit"),
    "form": ("released", "paper"),
    "stage": ("1", "2"),
}
MULTI: dict[str, Any] = {"frames": 3, "mesh_fusion": "finger", "hand_fusion": "fingers"}
VARIANTS: dict[str, dict[str, Any]] = {
    "full": {},
    "stage_1": {"stage": 1},
    "baseline": {"dual": False, "learn_regressor": False},
    "baseline_learnable": {"dual": False, "learn_regressor": True},
    "multi_frame": MULTI,
    "multi_frame_stage_1": {**MULTI, "stage": 1},
    "multi_frame_concat": {"frames": 3, "mesh_fusion": "concat"},
    "multi_frame_finger": {**MULTI, "hand_fusion": "none"},
    "multi_frame_hand_classifier": {**MULTI, "hand_fusion": "classifier"},
    "multi_frame_logits": {**MULTI, "gate": "logit"},
    "multi_frame_joints_follow": {**MULTI, "joints_follow": True},
    "multi_frame_paper": {**MULTI, "form": "paper", "joints_follow": True},
    "multi_frame_true_occlusion": {**MULTI, "occlusion": "truth"},
    # last: it trains nothing and asks for a run to start from
    "multi_frame_select": {"frames": 3, "mesh_fusion": "select"},
}
CELLS = {
    "full": 'H2ONet Table 5, row "ii) B+D"; Tables 1, 2 and 4, rows with a dagger',
    "stage_1": "H2ONet section 3.4, first stage of full",
    "baseline": 'H2ONet Table 5, row "i) B"',
    "baseline_learnable": "row i) with the learnt joint regressor of row ii)",
    "multi_frame": 'H2ONet Table 5, row "vi) B+D+MF+FO+HO"; Tables 1 to 4, "Our H2ONet"',
    "multi_frame_stage_1": "H2ONet section 3.4, first stage of multi_frame",
    "multi_frame_concat": 'H2ONet Table 5, row "iii) B+D+MF"',
    "multi_frame_finger": 'H2ONet Table 5, row "v) B+D+MF+FO"',
    "multi_frame_hand_classifier": "H2ONet section 3.3, the other hand-level occlusion",
    "multi_frame_logits": "row vi) with log-odds in equation 2",
    "multi_frame_joints_follow": "H2ONet section 3.3, joints of the corrected mesh",
    "multi_frame_paper": "H2ONet sections 3.2 to 3.4 as printed",
    "multi_frame_true_occlusion": "row vi) with ground-truth occlusion: oracle",
    "multi_frame_select": 'H2ONet Table 5, row "iv) B+D+MF+FS": oracle',
}
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "tiny": {
        "crop_px": 64,
        "width": 32,
        "units": 2,
        "first_stack": False,
        "decoder": (32, 32, 24, 16, 8),
        "hidden": 128,
        "turn_layers": 0,
        "classifier": 64,
        "still_start": True,
        "learn_regressor": False,
        "smooth": True,
        "wrist_gradient": False,
        "joint_trunk": True,
        "weight_2d": 1.5,
        "weight_normal": 0.0,
        "weight_edge": 0.0,
    },
}


def check(frames: int, mesh_fusion: str, hand_fusion: str, **others: str) -> None:
    """Raises UnknownName for a choice that is none, HandbenchError for choices that do not go
    together."""
    chosen = {"mesh_fusion": mesh_fusion, "hand_fusion": hand_fusion, **others}
    for name, choice in chosen.items():
        if choice not in CHOICES[name]:
            raise UnknownName(name, choice, CHOICES[name])
    if (frames > 1) != (mesh_fusion != "none"):
        raise HandbenchError(f"h2onet: frames={frames} with mesh_fusion={mesh_fusion}: give both")
    if hand_fusion != "none" and mesh_fusion != "finger":
        raise HandbenchError(f"h2onet: hand_fusion={hand_fusion} needs mesh_fusion=finger")
