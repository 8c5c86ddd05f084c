"""A miniature scene in InterHand2.6M's format: three takes, two cameras, three moments each.

`python tests/interhand_scene.py` writes tests/golden/interhand26m anew (split test).
"""

import json
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from handbench import frames
from handbench.datasets.interhand26m import InterHand26M
from handbench.hand import Hand
from handbench.raster import face_ids
from handbench.records import Frame, HandRecord, Mesh, Scene
from handbench.synthesis.interhand26m import write_tree

TEST = "annotations/test/InterHand2.6M_test_{}.json"
GOLDEN = Path(__file__).parent / "golden" / "interhand26m"
STEP = 6  # frame numbers of the 5 fps release in val and test
# capture, sequence, which hands
TAKES = (
    (0, "0266_dh_pray", ("right", "left")),
    (1, "0007_thumbup_normal", ("right",)),
    (1, "ROM04_LT_Occlusion", ("left",)),
)
CAMERAS = (
    ("400026", (334, 512), 0.0),
    ("410053", (512, 334), 50.0),
)  # name, size, turned by degrees
NULL_FIT = (2, 2)  # take and moment whose fit is null
SKIN = np.array(
    [[196, 150, 126], [230, 159, 0], [86, 180, 233], [0, 158, 115], [240, 228, 66], [204, 121, 167]]
)


def hands() -> dict[str, Hand]:
    return {side: Hand.open(side) for side in ("right", "left")}


def truth() -> Iterator[Frame]:
    """Every frame of the tree, in the reader's order, with its meshes."""
    models = hands()
    for take, (capture, name, sides) in enumerate(TAKES):
        for at, (camera, size, turn) in enumerate(CAMERAS):
            for moment in range(3):
                yield _frame(models, take, capture, name, sides, at, camera, size, turn, moment)


def _frame(models, take, capture, name, sides, at, camera, size, turn, moment) -> Frame:
    K = np.array([[1260.0, 0, size[0] / 2 - 0.5], [0, 1262.0, size[1] / 2 - 0.5], [0, 0, 1]])
    T = np.eye(4)
    R = Rotation.from_euler("y", turn + 7, degrees=True).as_matrix()
    T[:3, :3], T[:3, 3] = R, np.array([0.0, 0.0, 1.0]) - R @ np.array([0.0, 0.0, 1.0])
    number = 2017 + take * 600 + moment * STEP
    records, meshes = {}, []
    for side in sides:
        has_fit = (take, moment) != NULL_FIT
        records[side], mesh = _hand(models[side], side, take, moment, T, K, size, has_fit)
        meshes.append(mesh)
    sequence = f"Capture{capture}/{name}"
    return Frame(
        id=f"interhand26m/test/{sequence}/{camera}/{number}",
        sequence=sequence,
        camera=camera,
        recording=f"test/{sequence}",
        frame_number=number,
        order=moment,
        image=_picture(meshes, models, K, size, grey=camera.startswith("41")),
        image_path=f"images/test/{sequence}/cam{camera}/image{number}.jpg",
        image_size=size,
        K=K,
        right=records.get("right"),
        left=records.get("left"),
        official_index=900 + take * 6 + at * 3 + moment,
        subject=take,
        instant=(2000 + capture) * 10**8 + number,
        subset=2 - (take == 0),
        T_world_camera=T,
        scene=Scene(tuple(meshes), K, size),
    )


def _hand(model, side, take, moment, T, K, size, has_fit) -> tuple[HandRecord, Mesh]:
    """A hand before the cameras, fingers up, palm to the first camera, bending as time goes."""
    rng = np.random.default_rng([take, side == "left"])
    pose = np.zeros((1, 48))
    pose[0, 3:] = rng.normal(0, 0.06, 45) + model.hands_mean
    # the open hand bends about its own flexion axes
    for joint in range(1, 16):
        bend = 0.12 + 0.1 * moment
        pose[0, 3 * joint : 3 * joint + 3] += bend * model.joint_axes[joint, 0]
    turn = Rotation.from_euler("zyx", [90, 10 * take, 12 * moment], degrees=True)
    if side == "left":
        turn = Rotation.from_euler("zyx", [-90, 10 * take, -12 * moment], degrees=True)
    pose[0, :3] = turn.as_rotvec()
    shape = rng.normal(0, 0.5, (1, 10))
    verts, joints = model.pose(pose, shape)
    shift = np.array([-0.05 if side == "right" else 0.04, 0.0, 1.0 + 0.03 * (side == "left")])
    if take > 0:
        shift[:] = 0.0, 0.0, 1.0
    world = shift - joints[0].mean(0)
    R, t = T[:3, :3], T[:3, 3]
    verts_m, joints_m = (verts[0] + world) @ R.T + t, (joints[0] + world) @ R.T + t
    rest = model.rest_joints(shape)[0, 0]
    pose[0, :3] = (Rotation.from_matrix(R) * turn).as_rotvec()
    joints_px = frames.project(joints_m, K)
    inside = ((joints_px >= 0) & (joints_px <= np.array(size) - 1)).all(1)
    record = HandRecord(
        joints_m,
        (1 + 2 * inside).astype(np.uint8),
        joints_px,
        joints_kind=2,
        mano_pose=pose[0],
        mano_shape=shape[0],
        mano_trans_m=R @ (world + rest) + t - rest,
        mano_valid=int(has_fit),
    )
    return record, Mesh(verts_m, model.faces, side)


def _picture(meshes, models, K: NDArray, size: tuple[int, int], grey: bool) -> bytes:
    """Flat colour a part, shaded by the face's slope, before a dark wall."""
    image = np.full((size[1], size[0], 3), 40.0)
    nearest = np.full((size[1], size[0]), np.inf)
    for mesh in meshes:
        face, depth = face_ids(mesh.verts_m, mesh.faces, K, size)
        corner = mesh.verts_m[mesh.faces]
        normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
        slope = np.abs(normal[:, 2]) / np.linalg.norm(normal, axis=1)
        colour = SKIN[models[mesh.kind].face_part] * (0.35 + 0.65 * slope[:, None])
        seen = depth < nearest
        image[seen], nearest[seen] = colour[face[seen]], depth[seen]
    image = image.astype(np.uint8)
    if grey:
        image = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)
    return cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()


def write_mano(folder: Path) -> Path:
    """The open hand in the form of a user's MANO files, and a regressor that knows its tips."""
    folder.mkdir(exist_ok=True)
    for side, hand in hands().items():
        names = ("v_template", "weights", "J_regressor", "shapedirs", "posedirs")
        content = {name: getattr(hand, name) for name in (*names, "hands_mean", "hands_components")}
        with open(folder / f"MANO_{side.upper()}.pkl", "wb") as file:
            pickle.dump({**content, "f": hand.faces.astype(np.uint32)}, file, protocol=2)
    hand = hands()["right"]
    rows = np.concatenate([hand.J_regressor, np.eye(778)[hand.tip_ids]])[frames.MANO_TIPS]
    regressor = np.empty_like(rows)
    regressor[frames.INTERHAND] = rows
    np.save(folder / "J_regressor_mano_ih26m.npy", regressor)
    return folder


def read(raw: Path, **options) -> list[Frame]:
    """All frames of split test of a raw tree."""
    reader = InterHand26M("test", raw=raw, **options)
    return [frame for plan in reader.plan() for frame in reader.frames(plan)]


def edit(tree: Path, kind: str, change) -> None:
    """Change one JSON file of a tree in place: change(content)."""
    path = tree / TEST.format(kind)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


if __name__ == "__main__":
    shutil.rmtree(GOLDEN, ignore_errors=True)
    write_tree(GOLDEN, "test", truth(), hands())
