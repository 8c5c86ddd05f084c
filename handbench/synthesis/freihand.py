"""Writing synthetic takes as a tree in FreiHAND's official format, with the released truth.

For tests, and for trying any tool that reads the format without the licensed data. Pictures of
version v are numbered from v * 32,560 on, as official scripts expect.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handbench import files, frames
from handbench.datasets.freihand import TRUTH
from handbench.datasets.freihand_files import SIZE, UNIQUE, VERSIONS
from handbench.datasets.freihand_hands import NEXT_JOINT, ROOT_JOINT, regress
from handbench.errors import UnknownName
from handbench.hand import Hand
from handbench.store import decode
from handbench.synthesis.scene import Camera, seeded
from handbench.synthesis.takes import Shot, Take, draw_owners, film_takes

COUNT = {"training": 4, "evaluation": 2}
HELD = ("", "035_power_drill", "", "025_mug")  # every other hand is empty
GREEN = (60, 170, 70)  # BGR, of the first version's screen
QUALITY = (cv2.IMWRITE_JPEG_QUALITY, 95)


def write(root: Path, splits: tuple[str, ...], hands: Mapping[str, Hand], seed: int = 0) -> None:
    """The tree of some splits. Raises UnknownName."""
    for split in splits:
        write_shots(root, split, film(split, hands, seed), hands)


def film(split: str, hands: Mapping[str, Hand], seed: int = 0) -> Iterator[Shot]:
    """The pictures of a split by sample, each in all its versions, with the released joints."""
    if split not in COUNT:
        raise UnknownName("split of freihand", split, COUNT)
    for i in range(COUNT[split]):
        held = HELD[i % len(HELD)]
        take = Take(f"{split}-{i}", subject=i, objects=(held,) if held else (), moments=1)
        camera = Camera(_intrinsics(split, i, seed), np.eye(4))
        for shot in film_takes([take], {"0": camera}, hands, SIZE, seed):
            shot = replace(shot, right=_released(shot, hands["right"]), frame_number=i)
            for version in range(len(VERSIONS)) if split == "training" else (0,):
                yield replace(shot, variant=version, image=_restyle(shot, version, split))


def write_shots(root: Path, split: str, shots: Iterable[Shot], hands: Mapping[str, Hand]) -> None:
    """One split from pictures as `film` makes them; the truth of evaluation goes to its archive."""
    lists: dict[str, list[Any]] = {name: [] for name in ("K", "scale", "xyz", "verts", "mano")}
    for shot in shots:
        number = shot.frame_number + UNIQUE * shot.variant
        files.write_bytes(root / split / "rgb" / f"{number:08d}.jpg", shot.image)
        if shot.variant:
            continue
        if split == "training":
            mask = np.where(_hand_pixels(shot), 255, 0).astype(np.uint8)
            files.write_bytes(root / split / "mask" / f"{number:08d}.jpg", _jpeg(mask))
        for name, value in _annotation(shot, hands["right"]).items():
            lists[name].append(value)
    for name, values in lists.items():
        public = split == "training" or name in ("K", "scale")
        places = [root] * public + [root / TRUTH] * (split == "evaluation")
        for place in places:
            files.write_text(place / f"{split}_{name}.json", json.dumps(values))


def _intrinsics(split: str, i: int, seed: int) -> NDArray[np.float64]:
    """Every sample has its own: the release cut its pictures out of larger ones."""
    rng = seeded(seed, "freihand", split, i)
    focal = rng.uniform(430, 560)
    return np.array([[focal, 0, rng.uniform(95, 130)], [0, focal, rng.uniform(95, 130)], [0, 0, 1]])


def _released(shot: Shot, model: Hand) -> Any:
    """The hand with joints as the release has them, regressed from the posed mesh."""
    assert shot.right is not None and shot.scene is not None
    verts_m = next(mesh.verts_m for mesh in shot.scene.meshes if mesh.kind == "right")
    joints_m = regress(verts_m, model)
    joints_px = frames.project(joints_m, shot.K)
    return replace(shot.right, joints_m=joints_m, joints_px=joints_px, verts_m=verts_m)


def _annotation(shot: Shot, model: Hand) -> dict[str, Any]:
    """One entry of each list; mano has the mean pose taken off and its root in pixels and scale."""
    hand, K = shot.right, shot.K
    assert hand is not None and hand.mano_pose is not None and hand.mano_shape is not None
    joints_m = hand.joints_m
    pose = hand.mano_pose - np.concatenate([np.zeros(3), model.hands_mean])
    focal = (K[0, 0] + K[1, 1]) / 2
    root = [*hand.joints_px[ROOT_JOINT], focal / joints_m[ROOT_JOINT, 2]]
    return {
        "K": K.tolist(),
        "xyz": np.asarray(joints_m).tolist(),
        "verts": np.asarray(hand.verts_m).tolist(),
        "mano": [[*pose.tolist(), *hand.mano_shape.tolist(), *map(float, root)]],
        "scale": float(np.linalg.norm(joints_m[ROOT_JOINT] - joints_m[NEXT_JOINT])),
    }


def _hand_pixels(shot: Shot) -> NDArray[np.bool_]:
    assert shot.scene is not None
    return draw_owners(shot.scene) == [m.kind for m in shot.scene.meshes].index("right")


def _restyle(shot: Shot, version: int, split: str) -> bytes:
    """The same hand before a green screen (gs), as filmed (hom), and in other colours."""
    if split == "evaluation" or version == 1:
        return shot.image
    picture = decode(shot.image, cv2.IMREAD_COLOR)
    assert picture is not None and shot.scene is not None
    shown = (draw_owners(shot.scene) >= 0)[..., None]
    if version == 0:
        return _jpeg(np.where(shown, picture, np.array(GREEN, np.uint8)))
    turned = np.roll(picture, version - 1, axis=2)
    return _jpeg(np.where(shown, picture, turned))


def _jpeg(picture: NDArray[np.uint8]) -> bytes:
    return cv2.imencode(".jpg", picture, QUALITY)[1].tobytes()
