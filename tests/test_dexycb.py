"""DexYCB: the miniature official tree against its truth, labels of an analytic scene, lists."""

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from dexycb_scene import SPLIT, edit_labels, hands, mark, read, shots, write
from interhand_scene import write_mano
from scipy.spatial.transform import Rotation

from handbench import frames
from handbench.cli import group
from handbench.datasets import ycb
from handbench.datasets.dexycb import DexYCB
from handbench.datasets.dexycb_hands import visible_box
from handbench.loading.neighbours import Neighbours
from handbench.raster import face_ids
from handbench.records import Mesh, ObjectRecord, Scene
from handbench.store import decode, open_split
from handbench.synthesis.dexycb import write_shots
from handbench.synthesis.likeness import object_mesh
from handbench.synthesis.takes import draw_owners
from handbench.visibility import label_scene

pytestmark = pytest.mark.usefixtures("no_mano")

LATE = 8  # pictures of the second sequence before its hand comes


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("dexycb"))


@pytest.fixture(scope="module")
def prepared(tree: Path, tmp_path_factory: pytest.TempPathFactory):
    """The split as `handbench prepare` makes it, and what was said."""
    out = tmp_path_factory.mktemp("data")
    command = ["prepare", "dexycb", "--raw", str(tree), "--split", SPLIT, "--out", str(out)]
    result = CliRunner().invoke(group, [*command, "--workers", "1"], catch_exceptions=False)
    return open_split(f"dexycb/{SPLIT}", out), result.output


def truth() -> dict:
    return {f"dexycb/{SPLIT}/{s.sequence}/{s.camera}/{s.frame_number}": s for s in shots()}


def of_shot(shot):
    return ("right", shot.right) if shot.left is None else ("left", shot.left)


def test_reads_back_what_the_takes_were(tree):
    before = {path: path.stat().st_mtime_ns for path in tree.rglob("*")}
    reader = DexYCB(SPLIT, raw=tree)
    plans = reader.plan()
    found = {f.id: f for plan in plans for f in reader.frames(plan)}
    expected = truth()
    numbered = {name: i for i, name in enumerate(sorted(expected))}
    assert len(found) == len(expected) - LATE == 40
    assert dict(reader.skipped) == {"no hand annotated": LATE}
    for name, frame in found.items():
        shot = expected[name]
        assert frame.image == shot.image
        assert frame.official_index == numbered[name]  # counted through all, labelled or not
        assert frame.image_path == f"{shot.sequence}/{shot.camera}/color_{frame.order:06d}.jpg"
        assert frame.subject == 7 and frame.recording == shot.sequence
        assert frame.clip == 0  # no picture is missing between two others
        np.testing.assert_allclose(frame.K, shot.K, atol=1e-9)
        np.testing.assert_allclose(frame.T_world_camera, shot.T_world_camera, atol=1e-12)
        assert frame.object.name == shot.object.name
        np.testing.assert_allclose(frame.object.T_camera, shot.object.T_camera, atol=1e-6)
        side, true = of_shot(shot)
        hand = getattr(frame, side)
        np.testing.assert_allclose(hand.joints_m, true.joints_m, atol=1e-6)
        np.testing.assert_allclose(hand.joints_px, true.joints_px, atol=1e-3)
        assert (hand.joints_valid == true.joints_valid).all()
        # float32 coefficients of the pose
        np.testing.assert_allclose(hand.mano_pose, true.mano_pose, atol=1e-6)
        np.testing.assert_allclose(hand.mano_trans_m, true.mano_trans_m, atol=1e-6)
        assert (hand.mano_shape == true.mano_shape).all() and hand.fit_error_mm < 1e-3
        # behind the hand or beside it nothing hides it
        kinds = [mesh.kind for mesh in shot.scene.meshes]
        assert {mesh.kind for mesh in frame.scene.meshes} <= set(kinds)
        np.testing.assert_allclose(frame.scene.meshes[0].verts_m, true.verts_m, atol=1e-6)
    assert {f.instant for f in found.values() if f.camera == "932122062010"} == {
        f.instant for f in found.values()
    }
    assert before == {path: path.stat().st_mtime_ns for path in tree.rglob("*")}
    copy, plan = pickle.loads(pickle.dumps((reader, plans[0])))
    assert [f.id for f in copy.frames(plan)] == [f.id for f in reader.frames(plans[0])]


def test_depth_pictures_hold_millimetres(tree):
    shot = shots()[0]
    path = (
        tree / shot.sequence / shot.camera / f"aligned_depth_to_color_{shot.frame_number:06d}.png"
    )
    depth_mm = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    nearest = min(mesh.verts_m[:, 2].min() for mesh in shot.scene.meshes)
    assert depth_mm[depth_mm > 0].min() == pytest.approx(nearest * 1000, abs=3)


def test_prepared_file_equals_the_truth(prepared):
    split, output = prepared
    assert "skipped 8: 8 no hand annotated" in output
    assert json.loads(split.attributes["variety"])["cameras_differ_mm"] < 1e-3
    columns, expected = split.columns, truth()
    assert (np.diff(columns["official_index"]) > 0).all()  # the store's order is the official one
    models = hands()
    for row, name in enumerate(columns["id"]):
        shot = expected[name]
        side, true = of_shot(shot)
        assert columns[f"{side}/present"][row] == 1
        joints = columns[f"{side}/joints_m"][row]
        np.testing.assert_allclose(joints, true.joints_m, atol=1e-6)
        pixels = columns[f"{side}/joints_px"][row]
        np.testing.assert_allclose(pixels, true.joints_px, atol=1e-3)
        np.testing.assert_allclose(frames.project(joints, columns["K"][row]), pixels, atol=1e-2)
        pose = columns["object/T_camera"][row]
        np.testing.assert_allclose(pose, shot.object.T_camera, atol=1e-6)
        # handedness, and the mesh posed again from the file
        normal = np.cross(joints[5] - joints[0], joints[17] - joints[0])
        assert (normal @ (joints[2] - joints[0]) > 0) == (side == "right")
        args = (columns[f"{side}/mano_{k}"][row][None] for k in ("pose", "shape"))
        posed = models[side].pose(*args)[1][0] + columns[f"{side}/mano_trans_m"][row]
        np.testing.assert_allclose(posed, true.joints_m, atol=1e-6)
    clusters = set(zip(columns["recording"], columns["camera"]))
    assert len(clusters) == 16 and len(set(columns["recording"])) == 2


def test_a_calibration_read_backwards_is_noticed(prepared, tree, capsys):
    split, _ = prepared
    columns = {name: split.columns[name] for name in split.columns}
    columns["T_world_camera"] = np.linalg.inv(columns["T_world_camera"])
    reader = DexYCB(SPLIT, raw=tree)
    reader.plan()
    assert reader.summary(columns)["cameras_differ_mm"] > 100
    assert "T_world_camera cannot be trusted" in capsys.readouterr().err
    # moments that one camera alone sees tell nothing, neither that it is right
    rows = columns["camera"] == 0
    assert "cameras_differ_mm" not in reader.summary({k: v[rows] for k, v in columns.items()})
    rows[np.flatnonzero(~rows)[0]] = True
    assert reader.summary({k: v[rows] for k, v in columns.items()})["cameras_differ_mm"] > 100


def test_prepared_labels_are_those_of_the_true_scene(prepared):
    split, _ = prepared
    expected, models = truth(), hands()
    for row, name in list(enumerate(split.columns["id"]))[::4]:
        shot = expected[name]
        side, _ = of_shot(shot)
        owner = draw_owners(shot.scene)
        codes = [{"right": 1, "left": 2, "object": 3}.get(m.kind, 0) for m in shot.scene.meshes]
        mask = np.where(owner >= 0, np.array([*codes, 0])[owner], 0).astype(np.uint8)
        assert (split.segmentation(row) == mask).all()
        labels, _ = label_scene(shot.scene, models["right"], models["left"], mask)
        column = f"{side}/visibility/scene"
        assert split.columns[f"{column}/hand"][row] == pytest.approx(
            labels[side].scene_hand, abs=0.002
        )
        counts = split.columns[f"{column}/finger_count"][row]
        assert np.abs(counts - labels[side].scene_finger_count).max() <= 2  # vertices on an edge
        seg = np.where(mask == codes[0], 255, 0).astype(np.uint8)
        # labels take mesh and mask together, along whose borders they differ by a pixel
        box = split.columns[f"{side}/box_visible_px"][row]
        np.testing.assert_allclose(box, visible_box(seg), atol=2)


@pytest.fixture(scope="module")
def half_hidden():
    """A flat right hand before the first camera, and a thin block before its two last fingers."""
    model = hands()["right"]
    shot = next(s for s in shots() if s.right is not None)
    upright = Rotation.from_matrix([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    pose = np.concatenate([upright.as_rotvec(), np.zeros(45)])
    verts, joints = model.pose(pose[None], shot.right.mano_shape[None])
    trans = np.array([0, 0, 0.7]) - joints[0].mean(0)
    joints_m, verts_m = joints[0] + trans, verts[0] + trans
    px = frames.project(verts_m, shot.K)[:, 0]
    # the thumb is on the right, so what hides ring and little finger comes from the left
    edge = px[model.vertex_part >= 4].max() + 1.25
    assert (px[model.vertex_part == 1] > edge).all()
    record = replace(
        shot.right,
        joints_m=joints_m,
        joints_px=frames.project(joints_m, shot.K),
        mano_pose=pose,
        mano_trans_m=trans,
        verts_m=verts_m,
    )
    return shot, record, edge


def test_labels_of_a_half_hidden_hand(half_hidden, tmp_path):
    shot, record, edge = half_hidden
    depth, K, name = 0.5, shot.K, shot.object.name
    corner = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
    size = np.array([0.4, 0.8, 0.001])
    faces = np.array(
        [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1]]
        + [[2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]
    )
    block = (corner - [0.5, 0.5, 0]) * size
    T = np.eye(4)
    # its near face ends at this column of the picture, and its far one further left
    T[:3, 3] = [(edge - K[0, 2]) / K[0, 0] * depth - size[0] / 2, 0, depth]
    hand = Mesh(record.verts_m, hands()["right"].faces, "right")
    scene = Scene((hand, Mesh(block + T[:3, 3], faces, "object")), K, shot.image_size)
    made = replace(
        shot,
        right=record,
        object=ObjectRecord(name, T),
        objects=(ObjectRecord(name, T),),
        scene=scene,
        take=replace(shot.take, objects=(name,)),
    )
    write_shots(tmp_path, (SPLIT,), [made], hands())
    mark(tmp_path)
    model_file = ycb.model_path(tmp_path / "models", name)
    lines = [f"v {x} {y} {z}" for x, y, z in block] + [f"f {a} {b} {c}" for a, b, c in faces + 1]
    model_file.write_text("\n".join(lines) + "\n")
    for with_models in (True, False):
        if not with_models:  # the segmentation alone tells what hides the fingers
            shutil.rmtree(tmp_path / "models")
            ycb.load_model.cache_clear()
        check_half(tmp_path, edge, scene)


def check_half(raw: Path, edge: float, scene: Scene) -> None:
    right = hands()["right"]
    (frame,) = read(raw)
    mask = decode(frame.segmentation, cv2.IMREAD_UNCHANGED)
    labels = label_scene(frame.scene, right, None, mask)[0]["right"]
    assert labels.scene_finger_count[4:].tolist() == [0, 0]
    assert labels.cause[3:].tolist() == [2, 2]
    # by hand: what the hand alone shows right of the edge
    alone, _ = face_ids(scene.meshes[0].verts_m, right.faces, scene.K, scene.size)
    shown = np.where(alone >= 0, right.face_part[alone], -1)
    column, row = np.floor(frames.project(scene.meshes[0].verts_m, scene.K) + 0.5).astype(int).T
    counted = (shown[row, column] == right.vertex_part) & (column > edge)
    expected = np.bincount(right.vertex_part[counted], minlength=6)
    assert labels.scene_finger_count.tolist() == expected.tolist()
    assert labels.cause[:2].tolist() == [0, 0] and expected[1:3].min() >= 30
    beside = np.nonzero(alone >= 0)[1] > edge
    assert labels.scene_hand == pytest.approx(beside.mean(), abs=1e-9)


def test_official_trees_take_the_users_mano(tree, tmp_path, capsys, monkeypatch):
    raw = Path(shutil.copytree(tree, tmp_path / "raw"))
    (raw / "handbench_synth.json").unlink()
    reader = DexYCB(SPLIT, raw=raw)
    frame = next(reader.frames(reader.plan()[0]))
    assert "joints only" in capsys.readouterr().err
    assert reader.attributes()["mano_missing"] == 1
    assert frame.scene is None and frame.right.mano_valid == 0 and frame.segmentation
    assert np.isfinite(frame.right.box_visible_px).all()
    assert {f.left is None for f in read(raw, side="left")} == {False}
    # the open hands as MANO files: other tips, and a left hand without the released fault
    monkeypatch.setenv("HANDBENCH_MANO", str(write_mano(tmp_path / "mano")))
    reader = DexYCB(SPLIT, raw=raw)
    assert reader.hands()[0].kind == "mano"
    frame = next(reader.frames(reader.plan()[-1]))
    assert "MANO_LEFT.pkl has been corrected" in capsys.readouterr().err
    assert frame.scene is not None and 0.1 < frame.left.fit_error_mm < 5
    shape = frame.left.mano_shape.copy()
    shape[0] += 12  # another hand's shape: its mesh says nothing about this picture
    plan = reader.plan()[-1]
    plan.key["shape"] = shape
    frame = next(reader.frames(plan))
    assert frame.scene is None and frame.left.fit_error_mm > 5


def test_objects_bring_their_hull_for_pose_errors(tree):
    known = DexYCB(SPLIT, raw=tree).objects()
    name = shots()[0].object.name
    mesh = object_mesh(name)
    extent = np.ptp(np.array(known[name]["hull_m"]), axis=0)
    np.testing.assert_allclose(extent, np.ptp(mesh.verts_m, axis=0), atol=1e-6)
    assert 0.05 < known[name]["diameter_m"] < 0.4


def test_the_loaders_list_and_frames_before(tree, prepared, tmp_path):
    # a hand wholly right of the picture: annotated, and dropped by the released training loaders
    split, _ = prepared
    assert split.columns["loaders_keep"].all()
    raw = Path(shutil.copytree(tree, tmp_path / "raw"))
    path = sorted(raw.rglob("labels_000001.npz"))[0]
    with np.load(path) as archive:
        away = archive["joint_3d"] + np.array([2.0, 0, 0], np.float32)
    shot = next(s for s in shots() if str(path.parent).endswith(f"{s.sequence}/{s.camera}"))
    edit_labels(path, joint_3d=away, joint_2d=frames.project(away, shot.K).astype(np.float32))
    found = {f.id: f for f in read(raw)}
    assert [f.extra["loaders_keep"] for f in found.values()].count(False) == 1
    # the methods' lists in list order: H2ONet's frames before are so many places earlier
    columns, (rows, is_left) = split.columns, split.hands
    row, _, _ = Neighbours(columns, rows, is_left, 3, 5, "released").of(np.arange(len(rows)))
    number = columns["frame_number"][rows]
    for i in range(len(rows)):
        early = (number[i] // 2, number[i]) if number[i] < 10 else (5, 10)
        assert row[i, 1:].tolist() == [rows[i - back] for back in early]
