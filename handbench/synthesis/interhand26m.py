"""Writing frames as a tree in InterHand2.6M's official format (release v1.0).

For tests, and for trying any tool that reads the format without the licensed data.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbench import files, frames
from handbench.errors import DataError, UnknownName
from handbench.hand import Hand
from handbench.records import Frame, HandRecord
from handbench.rigid import move_hand
from handbench.schema import SIDES
from handbench.synthesis.takes import Take, cameras_around, film_takes

ABSENT = (1.0, 1.0, 1.0)  # how the release writes a joint that is not there
FINGERS = ("thumb", "index", "middle", "ring", "pinky")
STEPS = {"train": 18, "val": 6, "test": 6}  # between frame numbers, 5 fps
FIRST = 2017
SIZE = (334, 512)
K = np.array([[1260.0, 0, 166.5], [0, 1262.0, 255.5], [0, 0, 1]])


def write(root: Path, splits: tuple[str, ...], hands: Mapping[str, Hand], seed: int = 0) -> None:
    """The tree of some splits: two takes each, of both hands and of one. Raises UnknownName."""
    for split in splits:
        write_tree(root, split, film(split, hands, seed), hands)


def film(split: str, hands: Mapping[str, Hand], seed: int = 0) -> Iterator[Frame]:
    """The pictures of one split, numbered as in the 5 fps release. Raises UnknownName."""
    if split not in STEPS:
        raise UnknownName("split of interhand26m", split, STEPS)
    capture = list(STEPS).index(split)
    side = SIDES[capture % 2]
    takes = [
        Take(f"Capture{capture}/0266_dh_pray", capture, ("right", "left")),
        Take(f"Capture{capture}/0007_thumbup_normal", capture, (side,)),
    ]
    cameras = cameras_around(("400026", "400037"), K, SIZE)
    for shot in film_takes(takes, cameras, hands, SIZE, seed):
        second = int(shot.sequence == takes[1].name)
        # a number names one moment of a capture, whatever the take
        number = FIRST + 600 * second + STEPS[split] * shot.frame_number
        yield replace(shot, frame_number=number, subset=1 + second)


def write_tree(
    root: str | Path, split: str, scene: Iterable[Frame], hands: Mapping[str, Hand]
) -> None:
    """Write images and annotations of one split below root.

    scene: frames with T_world_camera and JPEG bytes; sequences are called `Capture3/0390_name`,
    and frame numbers name one moment of a capture. hands: the model of each side that the MANO
    parameters belong to; a hand with mano_valid 0 gets a null fit. Numbers keep float32's
    precision as in the release. Raises DataError.
    """
    root = Path(root)
    data: dict[str, list] = {"images": [], "annotations": []}
    cameras: dict[str, dict] = defaultdict(lambda: defaultdict(dict))
    joints: dict[str, dict] = defaultdict(dict)
    fits: dict[str, dict] = defaultdict(dict)
    subjects: set[int] = set()
    human: list[int] = []
    for number, frame in enumerate(scene):
        capture, name = _place(frame)
        identity = frame.official_index if frame.official_index >= 0 else number
        file_name = f"{frame.sequence}/cam{frame.camera}/image{frame.frame_number}.jpg"
        path = root / "images" / split / file_name
        files.write_bytes(path, frame.image)
        data["images"].append(
            {
                "id": identity,
                "file_name": file_name,
                "width": frame.image_size[0],
                "height": frame.image_size[1],
                "capture": int(capture),
                "subject": frame.subject,
                "seq_name": name,
                "camera": frame.camera,
                "frame_idx": frame.frame_number,
            }
        )
        data["annotations"].append({"id": identity, "image_id": identity, **_annotation(frame)})
        for field, value in _camera(frame).items():
            cameras[capture][field][frame.camera] = value
        moment = str(frame.frame_number)
        joints[capture].setdefault(moment, _moment(frame, name))
        fits[capture].setdefault(moment, _fits(frame, hands))
        subjects.add(frame.subject)
        if frame.subset & 1:
            human.append(identity)
    base = root / "annotations"
    contents = {"data": data, "camera": cameras, "joint_3d": joints, "MANO_NeuralAnnot": fits}
    for kind, content in contents.items():
        files.write_text(base / split / f"InterHand2.6M_{split}_{kind}.json", _compact(content))
    files.write_text(base / "skeleton.txt", _skeleton())
    people = "".join(f"{subject} {split} unknown\n" for subject in sorted(subjects))
    files.write_text(base / "subject.txt", people)
    if human:
        lines = "".join(f"{identity}\n" for identity in human)
        files.write_text(root / f"aid_human_annot_{split}.txt", lines)


def _place(frame: Frame) -> tuple[str, str]:
    capture, _, name = frame.sequence.partition("/")
    if not (capture.removeprefix("Capture").isdigit() and name) or frame.T_world_camera is None:
        raise DataError(
            f"{frame.id} cannot be written as InterHand2.6M: it needs a sequence named like "
            "Capture3/0390_name and a camera pose"
        )
    return capture.removeprefix("Capture"), name


def _annotation(frame: Frame) -> dict[str, Any]:
    """joint_valid here means annotated and inside the image; the box is 1.2 times their extent."""
    valid = np.concatenate([_flags(hand) == 3 for hand in (frame.right, frame.left)])
    points = np.concatenate(
        [
            np.full((21, 2), np.nan) if hand is None else hand.joints_px[_to_official()]
            for hand in (frame.right, frame.left)
        ]
    )[valid]
    if not len(points):
        raise DataError(f"{frame.id} has no joint inside the image: it cannot be annotated")
    low, high = points.min(0), points.max(0)
    size = (high - low) * 1.2
    return {
        "bbox": _plain(np.concatenate([(low + high - size) / 2, size])),
        "joint_valid": valid[:, None].astype(int).tolist(),
        "hand_type": _hand_type(frame),
        "hand_type_valid": 1,
    }


def _moment(frame: Frame, name: str) -> dict[str, Any]:
    """joint_valid here means triangulated, whatever a camera sees of it."""
    R, t = _world(frame)
    world, valid = [], []
    for hand in (frame.right, frame.left):
        annotated = (_flags(hand) & 1) > 0
        points = np.full((21, 3), ABSENT)
        if hand is not None:
            seen = hand.joints_m[_to_official()].astype(np.float64)
            points[annotated] = ((seen - t) @ R * 1000)[annotated]
        world.append(points)
        valid.append(annotated)
    return {
        "world_coord": _plain(np.concatenate(world)),
        "joint_valid": np.concatenate(valid)[:, None].tolist(),
        "hand_type": _hand_type(frame),
        "hand_type_valid": True,
        "seq": name,
    }


def _fits(frame: Frame, hands: Mapping[str, Hand]) -> dict[str, Any]:
    """MANO parameters in the world frame, the mean pose taken off."""
    R, t = _world(frame)
    out: dict[str, Any] = {}
    for side, hand in zip(SIDES, (frame.right, frame.left)):
        if hand is None or not hand.mano_valid:
            out[side] = None
            continue
        model, shape = hands[side], np.asarray(hand.mano_shape, np.float64)[None]
        pose, trans = move_hand(
            np.asarray(hand.mano_pose)[None],
            np.asarray(hand.mano_trans_m)[None],
            model.rest_joints(shape)[:, 0],
            R.T,
            -R.T @ t,
        )
        pose[0, 3:] -= model.hands_mean
        fit = {"pose": pose[0], "shape": shape[0], "trans": trans[0]}
        out[side] = {name: _plain(values) for name, values in fit.items()}
    return out


def _camera(frame: Frame) -> dict[str, list]:
    R, t = _world(frame)
    K = frame.K
    return {
        "campos": (-R.T @ t * 1000).tolist(),
        "camrot": R.tolist(),
        "focal": [float(K[0, 0]), float(K[1, 1])],
        "princpt": [float(K[0, 2]), float(K[1, 2])],
    }


def _world(frame: Frame) -> tuple[NDArray, NDArray]:
    T = np.asarray(frame.T_world_camera, np.float64)
    return T[:3, :3], T[:3, 3]


def _flags(hand: HandRecord | None) -> NDArray[np.uint8]:
    """Validity bits in the official order."""
    if hand is None:
        return np.zeros(21, np.uint8)
    return np.asarray(hand.joints_valid)[_to_official()]


def _hand_type(frame: Frame) -> str:
    if frame.right is not None and frame.left is not None:
        return "interacting"
    return "right" if frame.right is not None else "left"


def _to_official() -> NDArray[np.int64]:
    """Our joint number for each official joint: the inverse of frames.INTERHAND."""
    return np.argsort(frames.INTERHAND)


def _plain(values: NDArray) -> list:
    return np.asarray(values, np.float32).astype(np.float64).tolist()


def _compact(content: Any) -> str:
    return json.dumps(content, allow_nan=False, separators=(",", ":"))


def _skeleton() -> str:
    """skeleton.txt: name, number and parent of the 42 joints; the wrist comes last."""
    lines = ["# keypoint name, keypoint index, keypoint parent index"]
    for first, letter in ((0, "r"), (21, "l")):
        for finger, base in zip(FINGERS, range(first, first + 20, 4)):
            for k in range(4):
                parent = base + k + 1 if k < 3 else first + 20
                lines.append(f"{letter}_{finger}{4 - k} {base + k} {parent}")
        lines.append(f"{letter}_wrist {first + 20} -1")
    return "\n".join(lines) + "\n"
