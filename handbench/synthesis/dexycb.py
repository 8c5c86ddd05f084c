"""Writing synthetic takes as a tree in DexYCB's official format.

For tests, and for trying any tool that reads the format without the licensed data. Every subject
of a split has its 100 sequence folders, as the official toolkit demands; all but a few are of
num_frames 0.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from handbench import files
from handbench.datasets.dexycb_lists import (
    EACH,
    SERIALS,
    SPLITS,
    SUBJECTS,
    grasped_object,
    rule_of,
)
from handbench.datasets.ycb import NAMES, model_path
from handbench.errors import UnknownName
from handbench.hand import Hand
from handbench.records import HandRecord
from handbench.rigid import move_hand
from handbench.synthesis.likeness import obj_text
from handbench.synthesis.scene import Camera
from handbench.synthesis.takes import (
    Shot,
    Take,
    cameras_around,
    draw_layers,
    film_takes,
    subject_shape,
)

SIZE = (640, 480)
K = np.array([[613.0762, 0, 313.0280], [0, 611.9990, 245.0087], [0, 0, 1]])
MASTER = SERIALS[2]
EXTRINSICS = "20200702_151821"
HAND = 255
MOMENTS = 3
FILLED = 2  # sequences with pictures in each split
NUMBERS = {name: number for number, name in NAMES.items()}


def write(root: Path, splits: tuple[str, ...], hands: Mapping[str, Hand], seed: int = 0) -> None:
    """The tree of some splits. Raises UnknownName."""
    write_shots(root, splits, film(splits, hands, seed), hands, seed)


def film(splits: tuple[str, ...], hands: Mapping[str, Hand], seed: int = 0) -> Iterator[Shot]:
    """The pictures of the tree: FILLED sequences of each split by all its cameras."""
    for split in splits:
        if split not in SPLITS:
            raise UnknownName("split of dexycb", split, SPLITS)
    around = cameras_around((MASTER, *(s for s in SERIALS if s != MASTER)), K, SIZE)
    for (subject, position), cameras in sorted(_filled(splits).items()):
        chosen = {SERIALS[c]: around[SERIALS[c]] for c in sorted(cameras)}
        # a take is composed before its first camera, wherever that one stands
        staged = {MASTER: around[MASTER], **chosen}
        for shot in film_takes([make_take(subject, position)], staged, hands, SIZE, seed):
            if shot.camera in chosen:
                yield shot


def make_take(subject: int, position: int) -> Take:
    """What is filmed at a place 0..99: right hands at even ones; the hand may come late."""
    held = NAMES[grasped_object(position)]
    others = [NAMES[1 + (5 * position + 7 * k) % 18] for k in (1, 2)]
    return Take(
        name=f"{SUBJECTS[subject]}/{sequence_name(subject, position)}",
        subject=subject,
        sides=("left",) if position % 2 else ("right",),
        objects=(held, *(name for name in others if name != held)),
        moments=MOMENTS,
        late=position % 2,
    )


def sequence_name(subject: int, position: int) -> str:
    """Names whose order is that of the places."""
    return f"{SUBJECTS[subject][:8]}_{14 + position // 60:02d}{position % 60:02d}41"


def write_shots(
    root: Path,
    splits: tuple[str, ...],
    shots: Iterable[Shot],
    hands: Mapping[str, Hand],
    seed: int = 0,
) -> None:
    """The tree of some splits from pictures as `film` makes them, and everything beside them."""
    by_take: dict[str, list[Shot]] = defaultdict(list)
    cameras: dict[str, Camera] = {}
    for shot in shots:
        by_take[shot.sequence].append(shot)
        assert shot.T_world_camera is not None
        cameras[shot.camera] = Camera(shot.K, shot.T_world_camera)
        _write_frame(root / shot.sequence / shot.camera, shot, hands)
    subjects = sorted({s for split in splits for s in rule_of(split).subjects})
    for subject in subjects:
        for position in range(EACH):
            take = make_take(subject, position)
            seen = by_take.get(take.name, [])
            _write_sequence(root / take.name, (seen[0].take if seen else None) or take, seen, hands)
    _write_calibration(root / "calibration", cameras)
    for subject in subjects:
        betas = yaml.safe_dump({"betas": subject_shape(subject, seed).tolist()})
        for side in hands:
            files.write_text(root / "calibration" / f"mano_{_calib(subject, side)}/mano.yml", betas)
    for name in sorted({name for seen in by_take.values() for name in _rows(seen[0].take)}):
        files.write_text(model_path(root / "models", name), obj_text(name))


def _filled(splits: tuple[str, ...]) -> dict[tuple[int, int], set[int]]:
    """(subject, place) of the sequences with pictures -> numbers of their cameras."""
    found: dict[tuple[int, int], set[int]] = {}
    for split in splits:
        rule = rule_of(split)
        have = [k for k in found if k[0] in rule.subjects and k[1] in rule.sequences]
        even, odd = (next(i for i in rule.sequences if i % 2 == side) for side in (0, 1))
        for place in ((rule.subjects[0], even), (rule.subjects[-1], odd)):
            if len(have) < FILLED and place not in have:
                have.append(place)
        for place in have[:FILLED]:
            found.setdefault(place, set()).update(rule.cameras)
    return found


def _rows(take: Take | None) -> tuple[str, ...]:
    """Objects in the order of pose_y; the grasped one need not come first."""
    assert take is not None
    first = take.subject % len(take.objects)
    return take.objects[first:] + take.objects[:first]


def _write_frame(folder: Path, shot: Shot, hands: Mapping[str, Hand]) -> None:
    """Picture, depth and labels of one moment."""
    number = f"{shot.frame_number:06d}"
    assert shot.scene is not None
    owner, depth_m = draw_layers(shot.scene)
    ids = [HAND if mesh.kind in hands else 0 for mesh in shot.scene.meshes]
    count = len(ids) - len(shot.objects)
    ids[count:] = [NUMBERS[each.name] for each in shot.objects]
    seg = np.where(owner >= 0, np.array([*ids, 0], np.uint8)[owner], 0).astype(np.uint8)
    files.write_bytes(folder / f"color_{number}.jpg", shot.image)
    depth = cv2.imencode(".png", np.rint(depth_m * 1000).astype(np.uint16))[1]
    files.write_bytes(folder / f"aligned_depth_to_color_{number}.png", depth.tobytes())
    with (
        files.replacing(folder / f"labels_{number}.npz") as temporary,
        open(temporary, "wb") as file,
    ):
        np.savez_compressed(file, seg=seg, **_poses(shot, hands))


def _poses(shot: Shot, hands: Mapping[str, Hand]) -> dict[str, Any]:
    """pose_y, pose_m, joint_3d and joint_2d in the camera's frame; no hand: 0, -1, -1."""
    side, hand = _hand(shot)
    found = {
        "pose_y": np.stack([T[:3] for T in _object_poses(shot)]),
        "pose_m": np.zeros((1, 51)),
        "joint_3d": np.full((1, 21, 3), -1.0),
        "joint_2d": np.full((1, 21, 2), -1.0),
    }
    if hand is not None:
        found["pose_m"] = _pose_m(hand.mano_pose, hand.mano_trans_m, hands[side])[None]
        found["joint_3d"], found["joint_2d"] = hand.joints_m[None], hand.joints_px[None]
    return {name: value.astype(np.float32) for name, value in found.items()}


def _object_poses(shot: Shot) -> list[NDArray]:
    known = {each.name: each.T_camera for each in shot.objects}
    return [known[name] for name in _rows(shot.take)]


def _hand(shot: Shot) -> tuple[str, HandRecord | None]:
    return ("right", shot.right) if shot.left is None else ("left", shot.left)


def _pose_m(pose: Any, trans_m: Any, hand: Hand) -> NDArray[np.float64]:
    """(51,): root axis-angle, coefficients of the finger pose without its mean, translation."""
    fingers = np.linalg.solve(hand.hands_components.T, pose[3:] - hand.hands_mean)
    return np.concatenate([pose[:3], fingers, trans_m])


def _write_sequence(folder: Path, take: Take, shots: list[Shot], hands: Mapping[str, Hand]) -> None:
    """meta.yml, and pose.npz in the world frame where there are pictures."""
    side = take.sides[0]
    meta = {
        "serials": list(SERIALS),
        "num_frames": len({shot.frame_number for shot in shots}),
        "extrinsics": EXTRINSICS,
        "ycb_ids": [NUMBERS[name] for name in _rows(take)],
        "ycb_grasp_ind": _rows(take).index(take.objects[0]),
        "mano_sides": [side],
        "mano_calib": [_calib(take.subject, side)],
    }
    files.write_text(folder / "meta.yml", yaml.safe_dump(meta))
    one = [shot for shot in shots if shot.camera == shots[0].camera]
    if not one:
        return
    pose_y, pose_m = [], []
    for shot in one:
        assert shot.T_world_camera is not None
        back = np.linalg.inv(shot.T_world_camera)
        world = [back @ T for T in _object_poses(shot)]
        turns = Rotation.from_matrix(np.stack([T[:3, :3] for T in world])).as_quat()
        pose_y.append(np.concatenate([turns, np.stack([T[:3, 3] for T in world])], 1))
        pose_m.append(_world_pose(shot, back, hands))
    with files.replacing(folder / "pose.npz") as temporary, open(temporary, "wb") as file:
        np.savez_compressed(
            file,
            pose_y=np.stack(pose_y).astype(np.float32),
            pose_m=np.stack(pose_m)[:, None].astype(np.float32),
        )


def _world_pose(shot: Shot, T: NDArray, hands: Mapping[str, Hand]) -> NDArray[np.float64]:
    side, hand = _hand(shot)
    if hand is None:
        return np.zeros(51)
    rest = hands[side].rest_joints(np.asarray(hand.mano_shape)[None])[:, 0]
    pose, trans = np.asarray(hand.mano_pose)[None], np.asarray(hand.mano_trans_m)[None]
    pose, trans = move_hand(pose, trans, rest, T[:3, :3], T[:3, 3])
    return _pose_m(pose[0], trans[0], hands[side])


def _write_calibration(folder: Path, cameras: Mapping[str, Camera]) -> None:
    extrinsics = {"apriltag": tuple(np.eye(4)[:3].ravel().tolist())}
    for serial, camera in cameras.items():
        lens = {
            "fx": camera.K[0, 0], "fy": camera.K[1, 1], "ppx": camera.K[0, 2], "ppy": camera.K[1, 2]
        }  # fmt: skip
        lens = {name: float(value) for name, value in lens.items()}
        text = yaml.safe_dump({"color": lens, "depth": lens})
        files.write_text(folder / "intrinsics" / f"{serial}_640x480.yml", text)
        back = np.linalg.inv(camera.T_world_camera)
        extrinsics[serial] = tuple(back[:3].ravel().tolist())
    # with tuples, as in the release: a plain safe loader refuses this file
    text = yaml.dump({"extrinsics": extrinsics, "master": MASTER})
    files.write_text(folder / f"extrinsics_{EXTRINSICS}" / "extrinsics.yml", text)


def _calib(subject: int, side: str) -> str:
    name = SUBJECTS[subject]
    return f"{name[:8]}_140042_{name[9:]}_{side}"
