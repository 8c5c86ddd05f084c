"""Errors of what is hidden against what can be seen: joints, vertices, and hidden given seen."""

import numpy as np
from numpy.typing import NDArray

from handbench.scoring.curves import row_mean
from handbench.scoring.pairs import Pairs, distances_mm

SEEN, HIDDEN = 1, 0
LEAST_SEEN = 4  # three points fix a similarity; the fourth is what it can be wrong about


def over(values: NDArray, visible: NDArray | None, wanted: int) -> NDArray:
    """Mean over the parts (M, K) whose visibility is the wanted one; NaN for a hand with none."""
    assert visible is not None
    return row_mean(np.where(visible == wanted, values, np.nan))


def joints_mm(pairs: Pairs, wanted: int) -> NDArray:
    """Wrist-relative error of the hidden or visible joints."""
    return over(pairs.joint_errors_mm, pairs.joint_visible, wanted)


def verts_mm(pairs: Pairs, wanted: int) -> NDArray:
    """Wrist-relative error of the hidden or visible vertices."""
    return over(pairs.vert_errors_mm, pairs.vert_visible, wanted)


def given_seen_mm(pairs: Pairs) -> NDArray:
    """Error of the hidden joints after a similarity of the visible joints alone.

    What can be seen places the hand; the rest shows what was guessed. Needs 4 visible joints and
    a hidden one; other hands have no value.
    """
    assert pairs.joint_visible is not None
    seen = (pairs.joint_visible == SEEN) & pairs.joints_valid
    moved = pairs.similar(pairs.joints_pred_m, pairs.joints_true_m, seen, LEAST_SEEN)
    errors = distances_mm(moved, pairs.joints_true_m)
    errors = np.where(pairs.joints_valid, errors, np.nan)
    return over(errors, pairs.joint_visible, HIDDEN)
