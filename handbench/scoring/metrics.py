"""METRICS: each a name, a unit, a direction and a function of matched hands -> one value a hand."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from numpy.typing import NDArray

from handbench.scoring import hidden, occlusion, orientation, planar
from handbench.scoring.curves import auc, row_mean
from handbench.scoring.pairs import Pairs


@dataclass(frozen=True)
class Metric:
    """One column of a table. of(pairs) gives (M,), NaN for a hand that has no value.

    better: "lower", "higher", or "one" for a ratio. of is None for what a pair of hands does not
    tell: what needs the frames around, the whole picture, or all hands at once.
    """

    name: str
    title: str
    unit: str
    better: str
    needs: tuple[str, ...] = ()
    of: Callable[[Pairs], NDArray] | None = None


def _errors(name: str, title: str, part: str, *needs: str) -> Metric:
    """Mean error in mm over the joints or vertices that Pairs.PART holds."""
    return Metric(name, title, "mm", "lower", needs, lambda pairs: row_mean(getattr(pairs, part)))


def _area(name: str, title: str, part: str, *needs: str) -> Metric:
    return Metric(name, title, "", "higher", needs, lambda pairs: auc(getattr(pairs, part)))


def _f_score(name: str, title: str, part: str, column: int) -> Metric:
    of = lambda pairs: getattr(pairs, part)[:, column]  # noqa: E731
    return Metric(name, title, "", "higher", ("verts",), of)


def _planar(prefix: str, title: str, visible: int | None, *needs: str) -> list[Metric]:
    """2D metrics over all, visible or hidden joints."""
    needs = ("joints_px", *needs)
    epe = partial(planar.epe_px, visible=visible)
    return [
        Metric(f"{prefix}epe2d_px", f"{title}2D error", "px", "lower", needs, epe),
        *(
            Metric(
                f"{prefix}pck2d_{name}",
                f"{title}2D PCK@{share:.2f}",
                "",
                "higher",
                needs,
                partial(planar.pck_box, share=share, visible=visible),
            )
            for name, share in planar.BOX_SHARES.items()
        ),
    ]


_SEEN = ("joint_visible",)
_LOWER_MM = ("mm", "lower")

_ROWS = (
    _errors("mpjpe_mm", "MPJPE", "joint_errors_mm"),
    _errors("pa_mpjpe_mm", "PA-MPJPE", "pa_joint_errors_mm"),
    _errors("st_mpjpe_mm", "ST-MPJPE", "st_joint_errors_mm"),
    _errors("raw_mpjpe_mm", "raw MPJPE", "raw_joint_errors_mm", "root"),
    _errors("jstar_mpjpe_mm", "J* MPJPE", "star_errors_mm", "star"),
    _errors("pa_jstar_mpjpe_mm", "J* PA-MPJPE", "pa_star_errors_mm", "star"),
    _errors("mpvpe_mm", "MPVPE", "vert_errors_mm", "verts"),
    _errors("pa_mpvpe_mm", "PA-MPVPE", "pa_vert_errors_mm", "verts"),
    _area("raw_auc50_joints", "raw J-AUC", "raw_joint_errors_mm", "root"),
    _area("auc50_joints", "J-AUC", "joint_errors_mm"),
    _area("pa_auc50_joints", "PA J-AUC", "pa_joint_errors_mm"),
    _area("st_auc50_joints", "ST J-AUC", "st_joint_errors_mm"),
    _area("auc50_verts", "V-AUC", "vert_errors_mm", "verts"),
    _area("pa_auc50_verts", "PA V-AUC", "pa_vert_errors_mm", "verts"),
    _f_score("f5", "F@5", "f_scores", 0),
    _f_score("f15", "F@15", "f_scores", 1),
    _f_score("pa_f5", "PA F@5", "pa_f_scores", 0),
    _f_score("pa_f15", "PA F@15", "pa_f_scores", 1),
    # hidden against visible
    Metric(
        "hidden_mpjpe_mm",
        "hidden joints: MPJPE",
        *_LOWER_MM,
        _SEEN,
        partial(hidden.joints_mm, wanted=hidden.HIDDEN),
    ),
    Metric(
        "visible_mpjpe_mm",
        "visible joints: MPJPE",
        *_LOWER_MM,
        _SEEN,
        partial(hidden.joints_mm, wanted=hidden.SEEN),
    ),
    Metric(
        "hidden_given_seen_mm",
        "hidden joints given the seen",
        *_LOWER_MM,
        _SEEN,
        hidden.given_seen_mm,
    ),
    Metric(
        "hidden_mpvpe_mm",
        "hidden vertices: MPVPE",
        *_LOWER_MM,
        ("verts", "vert_visible"),
        partial(hidden.verts_mm, wanted=hidden.HIDDEN),
    ),
    Metric(
        "visible_mpvpe_mm",
        "visible vertices: MPVPE",
        *_LOWER_MM,
        ("verts", "vert_visible"),
        partial(hidden.verts_mm, wanted=hidden.SEEN),
    ),
    # global orientation
    Metric("rotation_deg", "rotation", "deg", "lower", (), orientation.rotation_deg),
    Metric(
        "root_rotation_deg",
        "root rotation",
        "deg",
        "lower",
        ("rotation",),
        orientation.root_rotation_deg,
    ),
    Metric("canonical_mm", "canonical pose", *_LOWER_MM, (), orientation.canonical_mm),
    Metric("scale_ratio", "size / true size", "", "one", (), orientation.scale_ratio),
    # in the picture
    *_planar("", "", None),
    *_planar("visible_", "visible joints: ", hidden.SEEN, "joint_visible"),
    *_planar("hidden_", "hidden joints: ", hidden.HIDDEN, "joint_visible"),
    # which fingers are hidden; the last two are of all hands together
    Metric(
        "occlusion_acc", "occlusion accuracy", "", "higher", ("visibility",), occlusion.accuracy
    ),
    Metric("occlusion_ap", "occlusion AP", "", "higher"),
    Metric("occlusion_ece", "occlusion calibration error", "", "lower"),
    # of the frames around, and of whole pictures
    Metric("accel_mm", "acceleration error", "mm", "lower"),
    Metric("jitter_mm", "jitter", "mm", "lower"),
    Metric("mrrpe_mm", "MRRPE", "mm", "lower"),
    Metric("handedness_acc", "handedness accuracy", "", "higher"),
    Metric("mssd_mm", "MSSD", "mm", "lower"),
)
METRICS: dict[str, Metric] = {metric.name: metric for metric in _ROWS}


def measure(pairs: Pairs, names: tuple[str, ...]) -> dict[str, NDArray]:
    """The named metrics that these pairs can have, each (M,)."""
    found = {}
    for name in names:
        metric = METRICS[name]
        if metric.of is not None and all(pairs.has(need) for need in metric.needs):
            found[name] = metric.of(pairs)
    return found
