"""Which data set a raw folder holds, so that a wrong --raw is answered with the right command."""

from pathlib import Path

from handbench import files, registry
from handbench.errors import DataError
from handbench.hand import Hand, default_hand

SYNTH_MARK = "handbench_synth.json"  # at the root of a tree that `handbench synth` wrote

# name -> (glob patterns of which one must match, what the tree is called)
MARKS: dict[str, tuple[tuple[str, ...], str]] = {
    "interhand26m": (
        ("annotations/*/InterHand2.6M_*_data.json", "InterHand2.6M_*_batch1/annotations"),
        "InterHand2.6M",
    ),
    "dexycb": (("20??????-subject-??", "calibration/extrinsics_*"), "DexYCB"),
    "freihand": (
        ("training/rgb", "training_K.json", "evaluation_K.json", "FreiHAND_pub_v2"),
        "FreiHAND",
    ),
    "fpha": (("Hand_pose_annotation_v1*", "Video_files/Subject_?"), "FPHA"),
    "h2o3d": (("train/*/segr", "evaluation/*/segr"), "H2O-3D"),
    "ho3d_v3": (("train/*/rgb/*.jpg", "evaluation/*/rgb/*.jpg"), "HO-3D v3"),
    "ho3d_v2": (("train/*/rgb/*.png", "evaluation/*/rgb/*.png"), "HO-3D v2"),
}


def recognise(root: Path) -> str | None:
    """The data set whose official tree root is, by a few names of its files; None if unknown."""
    for name, (patterns, _) in MARKS.items():
        if any(next(root.glob(pattern), None) for pattern in patterns):
            return "h2o3d" if name == "ho3d_v3" and _has_two_hands(root) else name
    return None


def _has_two_hands(root: Path) -> bool:
    """Whether annotations are H2O-3D's, which without its masks looks like HO-3D v3."""
    meta = next(root.glob("*/*/meta/*.pkl"), None)
    return meta is not None and b"rightHandJoints3D" in meta.read_bytes()


def page(name: str) -> str:
    """The document about a data set; versions share one."""
    return files.document(f"datasets/{name.partition('_v')[0]}.md")


def check_root(raw: str | Path | None, name: str, need: str, anywhere: bool = False) -> Path:
    """raw as a folder that is neither another data set's tree nor a part of the right one.

    need: what the folder should hold, for the message. anywhere: a part will do.
    Raises DataError with one line.
    """
    if raw is None:
        raise DataError(f"{name} needs --raw DIR, the folder with {need}: {page(name)}")
    root = Path(raw).expanduser()
    if not root.is_dir():
        raise DataError(f"--raw {root} is not a folder; give the folder with {need}")
    found = recognise(root)
    if found is not None and found != name:
        known = found in registry.table("dataset")
        advice = f"handbench prepare {found} --raw {root}" if known else "it has no reader here yet"
        raise DataError(f"{root} holds {MARKS[found][1]}, not {name}: {advice}")
    near = None if found or anywhere else _nearby(root, name)
    if near is not None:
        raise DataError(
            f"--raw {root} is not the folder with {need}, but {near} is: give --raw {near}"
        )
    return root


def _nearby(root: Path, name: str) -> Path | None:
    """The tree that an unknown folder lies in (three levels up), or that it holds (one down)."""
    above = list(root.absolute().parents)[:3]
    below = sorted(each for each in root.iterdir() if each.is_dir())
    return next((each for each in [*above, *below] if recognise(each) == name), None)


def is_synthetic(root: Path) -> bool:
    """Whether `handbench synth` wrote the tree, so that its hands are the open hands.

    Raises DataError for a tree made with another version's open hand.
    """
    if not (root / SYNTH_MARK).is_file():
        return False
    made_with = files.read_json(root / SYNTH_MARK).get("hand_model", {}).get("sha256")
    if made_with != Hand.open("right").sha256:
        raise DataError(
            f"{root / SYNTH_MARK}: the tree was made with another version's open hand; "
            "write it anew with handbench synth"
        )
    return True


def hands_of_tree(root: Path, fix_left_shape: bool = False) -> tuple[Hand, Hand] | None:
    """The (right, left) models that a tree's MANO parameters belong to, None without MANO files.

    The open hands for a tree that `handbench synth` wrote, else the user's ($HANDBENCH_MANO).
    fix_left_shape: for data fitted with a corrected MANO_LEFT.pkl, see Hand.load.
    Raises DataError for a tree made with another hand and for a folder without MANO files.
    """
    if is_synthetic(root):
        return Hand.open("right"), Hand.open("left")
    if files.mano_dir() is None:
        return None
    return default_hand("right"), default_hand("left", fix_left_shape)
