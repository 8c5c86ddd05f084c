"""Checks of the occlusion labels: consistent with each other, and plausible as a whole."""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbench.checking.check import FAIL, NONE, OK, WARN, Check, percent
from handbench.checking.hands import SplitHands
from handbench.console import amount
from handbench.frames import FINGERS
from handbench.hand import default_hand
from handbench.rules import LEVELS, RULES, UNKNOWN, balance, unpack

MANY = 200  # from so many hands on a finger that is always visible, or never, is odd


def _nothing(name: str, expected: str) -> Check:
    return Check(name, NONE, "no hand has labels", expected)


def part_sizes(hands: SplitHands) -> NDArray[np.int64]:
    """(6,) vertices of each part in the split's hand model, else in the one at hand."""
    model = hands.models[0] if hands.models else default_hand("right")
    return model.part_sizes


def coverage(hands: SplitHands) -> Check:
    """How many hands have labels."""
    share = float(hands.labelled.mean()) if len(hands) else 0.0
    told = f"{percent(share)} of {amount(len(hands), 'hand')}"
    told += "" if share else ": joints only, no mesh to label"
    return Check("labels", OK if share == 1 else WARN, told, "every hand")


def consistent(hands: SplitHands) -> Check:
    """Finger flags follow from the counts, causes from the flags, and nothing hides less."""
    expected = "flags, causes and counts agree"
    known = hands.labelled
    if not known.any():
        return _nothing("labels agree", expected)
    count, share = hands["visibility/scene/finger_count"], hands["visibility/scene/hand"]
    fingers = RULES["released"](count, share, part_sizes(hands))[0]
    cause, alone = hands["occlusion_cause"], hands["visibility/alone/finger_count"]
    told_cause = cause != UNKNOWN
    seen = [unpack(hands[f"visibility/{where}/vertex"][known]) for where in ("alone", "scene")]
    wrong = {
        "finger flags": (fingers != hands["visibility/scene/finger"]).any(1) & known,
        "causes": (told_cause & ((cause == 0) != (fingers == 1))).any(1) & known,
        "more counted in the scene than alone": (count > alone).any(1) & known,
        "shares beyond 0 and 1": known & ((share < 0) | (share > 1)),
    }
    faults = [
        f"{what}: {amount(int(mask.sum()), 'hand')}" for what, mask in wrong.items() if mask.any()
    ]
    more = int((seen[1] & ~seen[0]).any(1).sum())
    faults += [f"vertices seen in the scene but not alone: {amount(more, 'hand')}"] if more else []
    told = ", ".join(faults) or amount(int(known.sum()), "hand")
    return Check("labels agree", FAIL if faults else OK, told, expected)


def stored_balance(hands: SplitHands) -> Check:
    """The shares kept in the index are those of the columns."""
    kept = json.loads(hands.split.attributes.get("labels", "{}"))
    expected = "those of the columns"
    if not kept or not hands.labelled.any():
        return _nothing("shares in the index", expected)
    now = _balance(hands)
    same = kept["levels"] == now["levels"] and all(
        np.allclose(
            np.array(kept["rules"][rule]["fingers_occluded"], float),
            now["rules"][rule]["fingers_occluded"],
            equal_nan=True,
        )
        for rule in RULES
    )
    told = "equal" if same else "differ: prepared by another version? prepare again with --force"
    return Check("shares in the index", OK if same else WARN, told, expected)


def _balance(hands: SplitHands) -> dict[str, Any]:
    chosen = hands.labelled
    count, share = (hands[f"visibility/scene/{name}"][chosen] for name in ("finger_count", "hand"))
    return balance(count, share, part_sizes(hands))


def statistics(hands: SplitHands) -> list[Check]:
    """Shares of occluded fingers and hands by both rules, and hands by level."""
    expected = "some visible, some not"
    if not hands.labelled.any():
        return [_nothing("occluded", expected)]
    found = _balance(hands)
    checks = []
    for rule, shares in found["rules"].items():
        told = " ".join(
            f"{name} {percent(share)}" for name, share in zip(FINGERS, shares["fingers_occluded"])
        )
        told += f" · hands {percent(shares['hands_occluded'])}"
        odd = found["rows"] >= MANY and any(
            share in (0.0, 1.0) for share in shares["fingers_occluded"]
        )
        checks.append(Check(f"occluded, rule {rule}", WARN if odd else OK, told, expected))
    agree = found["agreement"]
    levels = " · ".join(f"{name} %: {found['levels'][name]:,}" for name in LEVELS)
    told = f"fingers {percent(agree['fingers'])}, hands {percent(agree['hands'])}"
    return [
        *checks,
        Check("rules agree", OK, told),
        Check("hands by level", OK, levels),
    ]


CHECKS = (coverage, consistent, stored_balance, statistics)
