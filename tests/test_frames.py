"""Joint orders against the names that each data set's own documents give them."""

import pytest

from handbench import frames

OURS = ["wrist", *(f"{finger}{k}" for finger in frames.FINGERS for k in range(4))]
FPHA_LETTERS = {"T": "thumb", "I": "index", "M": "middle", "R": "ring", "P": "little"}


def mano_names() -> list[str]:
    """MANO's 16 joints and the five tips that HO-3D and DexYCB list after them."""
    fingers = ("index", "middle", "little", "ring", "thumb")
    joints = [f"{finger}{k}" for finger in fingers for k in range(3)]
    return ["wrist", *joints, *(f"{finger}3" for finger in frames.FINGERS)]


def interhand_names() -> list[str]:
    """skeleton.txt of InterHand2.6M: each finger from its tip, the wrist last."""
    return [*(f"{finger}{k}" for finger in frames.FINGERS for k in (3, 2, 1, 0)), "wrist"]


def fpha_names() -> list[str]:
    """The read-me of FPHA's skeletons: the knuckles, then PIP, DIP and tip of each finger."""
    listed = "TMCP IMCP MMCP RMCP PMCP TPIP TDIP TTIP IPIP IDIP ITIP MPIP MDIP MTIP"
    names = f"{listed} RPIP RDIP RTIP PPIP PDIP PTIP".split()
    place = {"MCP": 0, "PIP": 1, "DIP": 2, "TIP": 3}
    return ["wrist", *(f"{FPHA_LETTERS[name[0]]}{place[name[1:]]}" for name in names)]


@pytest.mark.parametrize(
    ("order", "names"),
    [
        (frames.MANO_TIPS, mano_names()),
        (frames.HO3D, mano_names()),
        (frames.INTERHAND, interhand_names()),
        (frames.FPHA, fpha_names()),
    ],
    ids=["MANO", "HO-3D", "InterHand2.6M", "FPHA"],
)
def test_an_order_names_the_joints_as_the_data_set_does(order, names):
    assert [names[k] for k in order] == OURS == list(frames.JOINTS)
