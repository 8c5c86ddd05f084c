"""H2ONet's weights from one variant to another: what both have, under the name that each has."""

import torch

Weights = dict[str, torch.Tensor]

# what several frames add to the single-frame network, so what its weights do not start
ADDED = ("decoder3d.occ_pred.", "decoder3d.offset_pred.", "decoder3d.rot_reg.fc_block2.")
TURN = "rot_reg.fc_block"  # f of the paper: fc_block of one frame, fc_block1 beside fc_block2


def adopted(own: Weights, given: Weights, block: str) -> Weights:
    """Weights like own with the values of given; what is ADDED stays own where it does not fit.

    block: how f is named in own. Raises RuntimeError naming an entry that given lacks.
    """
    known = {}
    for name, value in given.items():
        stem, found, rest = name.partition(TURN)
        number, _, inner = rest.partition(".")
        known[f"{stem}rot_reg.{block}.{inner}" if found and number != "2" else name] = value
    kept = {}
    for name, value in own.items():
        fits = name in known and known[name].shape == value.shape
        if not fits and name.startswith(ADDED):
            kept[name] = value
        elif name in known:
            kept[name] = known[name]
        else:
            raise RuntimeError(f"it lacks {name}")
    return kept
