"""Occlusion level and finger flags of every hand as a table, so that others can cite the split."""

import numpy as np
import pandas as pd

from handbench.frames import FINGERS
from handbench.rules import DEFAULT, LEVELS, RULES, level
from handbench.showing.overlay import part_sizes
from handbench.store import Split


def occlusion_list(split: Split) -> pd.DataFrame:
    """One row a hand, in the split's order.

    Columns: id, is_left, official_index, dataset, split, visible_share, level (of 1 - share), rule
    (the default one), and for each rule hand_RULE and FINGER_RULE: 1 visible, 0 not, empty unknown.
    """
    dataset, _, name = split.name.partition("/")
    row = split.hands.row
    share = split.hand_column("visibility/scene/hand").astype(np.float64)
    count = split.hand_column("visibility/scene/finger_count")
    levels = level(share)
    table = pd.DataFrame(
        {
            "id": np.asarray(split.columns["id"])[row],
            "is_left": split.hands.is_left.astype(int),
            "official_index": split.columns["official_index"][row],
            "dataset": dataset,
            "split": name,
            "visible_share": np.round(share, 4),
            "level": [LEVELS[number] if number >= 0 else "" for number in levels],
            "rule": DEFAULT,
        }
    )
    for rule, decide in RULES.items():
        fingers, hand = decide(count, share, part_sizes(split))
        flags = np.column_stack([hand, fingers]).astype(float)
        flags[flags == 255] = np.nan
        for part, column in zip(("hand", *FINGERS), flags.T):
            table[f"{part}_{rule}"] = pd.array(column, dtype="Int64")
    return table
