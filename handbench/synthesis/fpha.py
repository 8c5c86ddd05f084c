"""Writing synthetic takes as a tree in FPHA's official format, with Hasson's MANO fits beside it.

For tests, and for trying any tool that reads the format without the licensed data. The split file
names as many sequences as the official one, and every one has a skeleton, as official loaders
demand; all but a few are of two frames without pictures.
"""

import pickle
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice, product
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from handbench import files, frames
from handbench.datasets.fpha_files import (
    COUNTS,
    HEADS,
    K_FULL,
    MODELS,
    OBJECTS,
    PICTURES,
    POSES,
    SIZES,
    SKELETONS,
    SPLIT_FILE,
    T_DEPTH_COLOUR,
)
from handbench.datasets.fpha_fits import FILE, FOLDER
from handbench.datasets.ply import write_ply
from handbench.errors import UnknownName
from handbench.hand import Hand
from handbench.records import Mesh, Scene
from handbench.synthesis.likeness import object_mesh
from handbench.synthesis.takes import Shot, Take, cameras_around, draw_layers, film_takes

SIZE = SIZES["full"]
K_DEPTH = np.array([[475.065948, 0, 315.944855], [0, 475.065857, 245.287079], [0, 0, 1]])
DEPTH_SIZE = (640, 480)
MOMENTS = 3
FILMED = {
    "train": ("Subject_1/put_salt/1", "Subject_2/pour_milk/1"),
    "test": ("Subject_1/put_salt/2", "Subject_3/open_juice_bottle/1", "Subject_4/pour_milk/1"),
}
# the 45 actions; how the official file numbers them beyond 0, open_juice_bottle, is not known here
OTHERS = """
put_salt charge_cell_phone clean_glasses close_peanut_butter drink_mug flip_pages flip_sponge
give_card give_coin handshake high_five light_candle open_letter open_peanut_butter open_soda_can
open_wallet pour_wine prick put_sugar put_tea_bag read_letter receive_coin scoop_spoon
scratch_sponge sprinkle squeeze_paper squeeze_sponge stir take_letter_from_enveloppe tear_paper
toast_wine unfold_glasses use_calculator use_flash wash_sponge write
"""
ACTIONS = (
    *(f"{verb}_{thing}" for thing in OBJECTS[:3] for verb in ("open", "close", "pour")),
    *OTHERS.split(),
)
HEADER = "name_action num_instance num_frames"


def write(root: Path, splits: tuple[str, ...], hands: Mapping[str, Hand], seed: int = 0) -> None:
    """The tree of some splits. Raises UnknownName."""
    write_shots(root, film(splits, hands, seed))


def film(splits: tuple[str, ...], hands: Mapping[str, Hand], seed: int = 0) -> Iterator[Shot]:
    """The pictures of the tree, by sequence."""
    for split in splits:
        if split not in FILMED:
            raise UnknownName("split of fpha", split, FILMED)
    camera = cameras_around(("color",), K_FULL, SIZE)
    takes = [
        Take(name, subject=int(name[8]), objects=(_object(name),), moments=MOMENTS)
        for split in splits
        for name in FILMED[split]
    ]
    yield from film_takes(takes, camera, hands, SIZE, seed)


def write_shots(root: Path, shots: Iterable[Shot]) -> None:
    """The tree of the pictures that `film` makes, and everything beside them."""
    by_take: dict[str, list[Shot]] = defaultdict(list)
    for shot in shots:
        by_take[shot.sequence].append(shot)
        folder = root / PICTURES["full"] / shot.sequence
        files.write_bytes(folder / "color" / f"color_{shot.frame_number:04d}.jpeg", shot.image)
        files.write_bytes(folder / "depth" / f"depth_{shot.frame_number:04d}.png", _depth(shot))
    for name, seen in by_take.items():
        _write_sequence(root, name, seen)
    everything = _all_sequences()
    files.write_text(root / SPLIT_FILE, _split_file(everything))
    still = _row(0, np.full((21, 3), 300.0)) + _row(1, np.full((21, 3), 301.0))
    names = [name for listed in everything.values() for name in listed]
    for name in names:
        if name not in by_take:
            _text(root / SKELETONS[0] / name / "skeleton.txt", still)
    for subject in range(1, 7):
        own = [name.split("/") for name in names if name.startswith(f"Subject_{subject}/")]
        counts = [len(by_take.get("/".join(parts), (0, 1))) for parts in own]
        lines = [f"{action} {i}  {n}" for (_, action, i), n in zip(own, counts)]
        head = [f"Number of videos: {len(own)}", f"Number of frames: {sum(counts)}", HEADER]
        _text(
            root / "Subjects_info" / f"Subject_{subject}_info.txt", "\n".join(head + lines) + "\n"
        )
    for name in OBJECTS:
        mesh, short = object_mesh(name), name.removesuffix("_bottle")
        folder = root / MODELS / f"{short}_model"
        write_ply(folder / f"{short}_model.ply", mesh.verts_m, mesh.faces)
        grey = np.full((8, 8, 3), 128, np.uint8)
        files.write_bytes(folder / "texture.jpg", cv2.imencode(".jpg", grey)[1].tobytes())


def _write_sequence(root: Path, name: str, shots: list[Shot]) -> None:
    """Skeleton, object pose and MANO fits of a filmed sequence."""
    skeleton, poses, fits = "", "", {}
    R, t = T_DEPTH_COLOUR[:3, :3], T_DEPTH_COLOUR[:3, 3]
    for shot in shots:
        hand, number = shot.right, shot.frame_number
        assert hand is not None and shot.object is not None
        world_mm = (hand.joints_m.astype(np.float64) - t) @ np.linalg.inv(R).T * 1000
        skeleton += _row(number, world_mm[np.argsort(frames.FPHA)])
        T = np.linalg.inv(T_DEPTH_COLOUR) @ shot.object.T_camera
        T[:3, 3] *= 1000
        poses += _row(number, T.T, 8)
        fits[f"{number:06d}.pkl"] = {
            "fullpose": np.asarray(hand.mano_pose, np.float64),
            "shape": np.asarray(hand.mano_shape, np.float64),
            "trans": np.asarray(hand.mano_trans_m, np.float64),
        }
    _text(root / SKELETONS[0] / name / "skeleton.txt", skeleton)
    _text(root / POSES[0] / name / "object_pose.txt", poses)
    files.write_bytes(root / FOLDER / name / FILE, pickle.dumps(fits, protocol=2))


def _row(number: int, values: NDArray, digits: int = 4) -> str:
    return f"{number} " + " ".join(f"{value:.{digits}f}" for value in values.ravel()) + "\n"


def _depth(shot: Shot) -> bytes:
    """16-bit PNG of the depth camera, mm, 0 where nothing is modelled."""
    assert shot.scene is not None
    back = np.linalg.inv(T_DEPTH_COLOUR)
    meshes = tuple(
        Mesh(frames.to_camera(mesh.verts_m, back), mesh.faces, mesh.kind)
        for mesh in shot.scene.meshes
    )
    _, depth_m = draw_layers(Scene(meshes, K_DEPTH, DEPTH_SIZE))
    return cv2.imencode(".png", np.rint(depth_m * 1000).astype(np.uint16))[1].tobytes()


def _all_sequences() -> dict[str, list[str]]:
    """As many names a split as the official file holds, those filmed first."""
    taken = {name for names in FILMED.values() for name in names}
    plain = [action for action in ACTIONS if _object(f"/{action}/") not in OBJECTS]
    others = (
        name
        for subject, action, i in product(range(1, 7), plain, range(1, 10))
        if (name := f"Subject_{subject}/{action}/{i}") not in taken
    )
    return {
        split: [*FILMED[split], *islice(others, count - len(FILMED[split]))]
        for split, count in COUNTS.items()
    }


def _split_file(everything: Mapping[str, list[str]]) -> str:
    lines = []
    for split, head in HEADS.items():
        lines.append(f"{head} {len(everything[split])}")
        lines += [f"{n} {ACTIONS.index(n.split('/')[1])}" for n in everything[split]]
    return "\n".join(lines) + "\n"


def _object(name: str) -> str:
    """open_juice_bottle -> juice_bottle."""
    return name.split("/")[1].partition("_")[2]


def _text(path: Path, text: str) -> None:
    """Plain writing: the folder is new, and there are a thousand of these."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="ascii")
