"""FPHA's files: the action split, skeletons, object poses, and the constants of its one rig."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handbench.datasets.trees import page
from handbench.errors import DataError

SPLIT_FILE = "data_split_action_recognition.txt"
# folder names as released; the second of each is the other release's
SKELETONS = ("Hand_pose_annotation_v1", "Hand_pose_annotation_v1_1")
POSES = ("Object_6D_pose_annotation_v1_1", "Object_6D_pose_annotation_v1")
MODELS = "Object_models"
PICTURES = {"full": "Video_files", "480": "Video_files_480"}
SIZES = {"full": (1920, 1080), "480": (480, 270)}
OBJECTS = ("juice_bottle", "liquid_soap", "milk", "salt")
# the colour camera, the same in all sequences (hand_pose_action, README)
K_FULL = np.array([[1395.749023, 0, 935.732544], [0, 1395.749268, 540.681030], [0, 0, 1]])
T_DEPTH_COLOUR = np.array(
    [
        [0.999988496304, -0.00468848412856, 0.000982563360594, 0.0257],
        [0.00469115935266, 0.999985218048, -0.00273845880292, 0.00122],
        [-0.000969709653873, 0.00274303671904, 0.99999576807, 0.003902],
        [0, 0, 0, 1],
    ]
)
COUNTS = {"train": 600, "test": 575}
HEADS = {"train": "Training", "test": "Test"}
RULES = ("actions", "subjects", "objects")
TRAIN_SUBJECTS = (1, 3, 4)
# what the split by objects tests (hand_pose_action, README), and the actions done with each
TEST_OBJECTS = {
    "peanut butter": ("open_peanut_butter", "close_peanut_butter"),
    "fork": ("prick",),
    "milk": ("open_milk", "close_milk", "pour_milk"),
    "tea": ("put_tea_bag",),
    "liquid soap": ("open_liquid_soap", "close_liquid_soap", "pour_liquid_soap"),
    "spray": ("use_flash",),
    "paper, including reading letter": ("tear_paper", "squeeze_paper", "read_letter"),
    "calculator": ("use_calculator",),
    "phone": ("charge_cell_phone",),
    "coin": ("give_coin", "receive_coin"),
    "card": ("give_card",),
    "wine bottle": ("pour_wine",),
}


@dataclass(frozen=True)
class Listed:
    """One sequence of the split file: `Subject_1/put_salt/1` and its action class 0..44."""

    name: str
    action: int

    @property
    def subject(self) -> int:
        return int(self.name.partition("/")[0].removeprefix("Subject_"))

    @property
    def action_name(self) -> str:
        """As the folder is called: put_salt."""
        return self.name.split("/")[1]

    @property
    def object(self) -> str:
        """What the action's name says is handled: put_salt -> salt."""
        return self.action_name.partition("_")[2]


def intrinsics(size: str) -> NDArray[np.float64]:
    """K (3,3) px of the pictures of SIZES; the reduced ones by the authors' quarter."""
    K = K_FULL.copy()
    K[:2] *= SIZES[size][0] / SIZES["full"][0]
    return K


def find_folder(root: Path, names: tuple[str, ...]) -> Path | None:
    return next((root / name for name in names if (root / name).is_dir()), None)


def read_split(path: Path) -> dict[str, list[Listed]]:
    """data_split_action_recognition.txt: the sequences of train and test in the file's order.

    Raises DataError where a head's count is not that of its lines, or a line is none of these.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise DataError(
            f"{path} is missing: it comes with FPHA's annotations ({page('fpha')})"
        ) from None
    found: dict[str, list[Listed]] = {name: [] for name in HEADS}
    said: dict[str, int] = {}
    current = ""
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words:
            continue
        where = f"{path}, line {number}"
        head = next((name for name, text in HEADS.items() if words[0] == text), None)
        if len(words) != 2 or not words[1].isdecimal() or (head is None and not current):
            raise DataError(
                f"{where}: expected 'Training 600' or 'Subject_1/put_salt/1 0', found '{line}'"
            )
        if head is not None:
            current, said[head] = head, int(words[1])
        else:
            found[current].append(_listed(where, words))
    for name in HEADS:
        if said.get(name) != len(found[name]):
            raise DataError(
                f"{path}: expected {said.get(name, COUNTS[name])} sequences under {HEADS[name]}, "
                f"found {len(found[name])}: is it the whole file?"
            )
    return found


def select(found: dict[str, list[Listed]], rule: str, split: str) -> list[Listed]:
    """The sequences of "train" or "test" by one of RULES; found as read_split gives them.

    "actions" is the file's own split. The authors' two others, of their hand pose task, divide all
    that it lists: "subjects" train on TRAIN_SUBJECTS, "objects" test on TEST_OBJECTS.
    """
    if rule == "actions":
        return found[split]
    everything = [each for name in HEADS for each in found[name]]
    if rule == "subjects":
        return [e for e in everything if (e.subject in TRAIN_SUBJECTS) == (split == "train")]
    tested = {action for actions in TEST_OBJECTS.values() for action in actions}
    return [e for e in everything if (e.action_name in tested) == (split == "test")]


def _listed(where: str, words: list[str]) -> Listed:
    parts = words[0].split("/")
    if len(parts) != 3 or not parts[0].removeprefix("Subject_").isdecimal():
        raise DataError(f"{where}: expected Subject_1/put_salt/1, found '{words[0]}'")
    return Listed(words[0], int(words[1]))


def read_rows(path: Path, numbers: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Frame numbers (R,) and values (R, numbers) of a text file with one frame a line.

    Raises DataError for lines of another length and frames that repeat or go back.
    """
    frames: list[int] = []
    values: list[list[float]] = []
    for number, line in enumerate(_lines(path), 1):
        words = line.split()
        if not words:
            continue
        if len(words) != numbers + 1:
            raise DataError(
                f"{path}, line {number}: expected {numbers + 1} numbers, found {len(words)}; "
                "is the file cut short? Unpack it again"
            )
        try:
            row = [float(word) for word in words]
        except ValueError as error:
            raise DataError(f"{path}, line {number}: {error}; unpack it again") from None
        if not row[0].is_integer() or (frames and row[0] <= frames[-1]):
            raise DataError(
                f"{path}, line {number}: expected a frame number above "
                f"{frames[-1] if frames else -1}, found {words[0]}"
            )
        frames.append(int(row[0]))
        values.append(row[1:])
    return np.array(frames, np.int64), np.array(values, np.float64).reshape(-1, numbers)


def _lines(path: Path) -> Iterator[str]:
    try:
        with open(path, encoding="utf-8") as file:
            yield from file
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text ({error}): unpack it again") from None


def read_skeleton(path: Path) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Frames (R,) and joints (R,21,3): mm, depth camera, official order. May be empty."""
    frames, values = read_rows(path, 63)
    return frames, values.reshape(-1, 21, 3)


def read_poses(path: Path) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Frames (R,) and poses (R,4,4): model mm -> depth camera mm; the file is column by column."""
    frames, values = read_rows(path, 16)
    return frames, values.reshape(-1, 4, 4).transpose(0, 2, 1)


def to_colour(joints_mm: NDArray) -> NDArray[np.float64]:
    """Points (…,3) mm of the depth camera -> m of the colour camera."""
    return joints_mm / 1000 @ T_DEPTH_COLOUR[:3, :3].T + T_DEPTH_COLOUR[:3, 3]


def pose_to_colour(T_mm: NDArray) -> NDArray[np.float64]:
    """A pose (4,4) model mm -> depth camera mm as model m -> colour camera m."""
    T = np.array(T_mm, np.float64)
    T[:3, 3] /= 1000
    return T_DEPTH_COLOUR @ T


def model_path(folder: Path, name: str) -> Path:
    """The model of an object; juice_bottle is juice_model in the download, not in all others."""
    names = (name.removesuffix("_bottle"), name)
    places = [
        folder / f"{outer}_model" / f"{inner}_model.ply" for outer in names for inner in names
    ]
    return next((place for place in places if place.is_file()), places[0])
