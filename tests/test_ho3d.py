"""HO-3D v2 and v3: miniature official trees against their truth, labels against a known board."""

import pickle
import pickletools
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from ho3d_trees import READERS, edit, hands, read, shots, tree

from handbench import frames
from handbench.cli import group
from handbench.datasets import ho3d_lists, ho3d_masks, ycb
from handbench.datasets.ho3d_files import read_cameras
from handbench.errors import DataError
from handbench.official.hands import official_hands
from handbench.preparing.prepare import prepare
from handbench.rules import unpack
from handbench.scoring.images import object_shapes
from handbench.store import decode, open_split
from handbench.synthesis.takes import draw_layers

pytestmark = pytest.mark.usefixtures("no_mano")

VERSIONS = ("v2", "v3")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("prepared")
    for version in VERSIONS:
        root = tree(version)
        before = {p: p.stat().st_mtime_ns for p in root.rglob("*")}
        command = ["prepare", f"ho3d_{version}", "--raw", str(root), "--out", str(out)]
        result = CliRunner().invoke(group, [*command, "--workers", "1"], catch_exceptions=False)
        assert "lines in train.txt, found 15" in result.output
        assert before == {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    return out


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("split", ["train", "evaluation"])
def test_tree_to_hdf5_equals_the_takes(prepared, version, split):
    found = open_split(f"ho3d_{version}/{split}", prepared)
    columns, info = found.columns, found.attributes
    true = {(s.camera, s.frame_number): s for s in shots() if s.right is not None}
    assert len(found) == {"train": 15, "evaluation": 9}[split]
    assert (info["missing"], info["expected"]) == (0, len(found))
    lines = (tree(version) / f"{split}.txt").read_text().split()
    for row in range(len(found)):
        name = str(found.tables["sequences"][columns["sequence"][row]])
        number = int(columns["frame_number"][row])
        shot = true[name, number]
        assert lines[columns["official_index"][row]] == f"{name}/{number:04d}"
        take, camera = ho3d_lists.take_of(name)
        assert found.tables["recordings"][columns["recording"][row]] == take == shot.take.name
        assert columns["id"][row] == f"ho3d_{version}/{split}/{name}/{camera}/{number:04d}"
        if version == "v3":
            assert found.image_bytes(row) == shot.image
        shown = decode(shot.image, cv2.IMREAD_COLOR)[..., ::-1]
        assert (found.image(row) == shown).all()
        hand = shot.right
        np.testing.assert_allclose(columns["K"][row], shot.K, rtol=1e-6)
        np.testing.assert_allclose(columns["right/joints_m"][row], hand.joints_m, atol=1e-6)
        np.testing.assert_allclose(columns["right/joints_px"][row], hand.joints_px, atol=1e-3)
        np.testing.assert_allclose(columns["object/T_camera"][row], shot.object.T_camera, atol=1e-6)
        thing = str(found.tables["objects"][columns["object/name"][row]])
        assert thing == shot.object.name
        box, (low, high) = (
            columns["right/box_px"][row],
            (hand.joints_px.min(0), hand.joints_px.max(0)),
        )
        off = 1e-3 if split == "train" else 1.01  # official boxes are whole pixels
        np.testing.assert_allclose(box, [*low, *(high - low)], atol=off)
        if split == "train":
            for name in ("mano_pose", "mano_shape", "mano_trans_m"):
                known = getattr(hand, name)
                np.testing.assert_allclose(columns[f"right/{name}"][row], known, atol=1e-6)
        else:
            mesh = next(m for m in shot.scene.meshes if m.kind == "right")
            np.testing.assert_allclose(columns["right/verts_m"][row], mesh.verts_m, atol=1e-6)
    assert not columns["left/present"].any()
    assert set(columns["right/visibility/source"]) == {1}
    assert set(columns["right/box_source"]) == {1 if split == "train" else 3}
    if split == "train":
        assert (columns["right/fit_error_mm"] < 0.01).all()
        # a person's takes, whoever films: ABF1, MC1 and SB1 are of three people
        people = zip(columns["recording"], columns["subject"])
        assert len(set(people)) == len(set(columns["subject"])) == 3


def test_takes_are_shared_by_splits_and_cameras_stand_where_calibration_says(prepared):
    parts = [open_split(f"ho3d_v3/{split}", prepared) for split in ("train", "evaluation")]
    instants = [set(part.columns["instant"]) for part in parts]
    assert len(instants[0] & instants[1]) == 3
    world: dict = {}
    for part in parts:
        columns = part.columns
        for row in range(len(part)):
            T = columns["T_world_camera"][row]
            if np.isnan(T).any():
                assert part.tables["recordings"][columns["recording"][row]] == "MC1"
                continue
            joints = (columns["right/joints_m"][row].astype(float) - T[:3, 3]) @ T[:3, :3]
            world.setdefault(columns["instant"][row], []).append(joints)
    assert max(len(seen) for seen in world.values()) == 4
    for seen in world.values():
        np.testing.assert_allclose(seen, np.broadcast_to(seen[0], np.shape(seen)), atol=1e-6)
    assert read_cameras(tree("v2"), "SB1") == {}


def test_official_files_come_back_from_the_prepared_split(prepared):
    """Line for line, exactly: submissions and local scores rest on it."""
    listed = official_hands(open_split("ho3d_v3/evaluation", prepared), "ho3d")
    assert listed.number.tolist() == list(range(9))
    reader = READERS["v3"]("evaluation", tree("v3"))
    for line in range(9):
        joints, verts = reader.truth.of(line)
        assert (listed.joints().read(line, line + 1)[0] == joints).all()
        assert (listed.verts().read(line, line + 1)[0] == verts).all()


def test_models_measure_errors_of_object_poses(prepared):
    shapes = object_shapes(open_split("ho3d_v3/train", prepared))
    verts, _ = ycb.load_model(ycb.model_path(tree("v3") / "models", "021_bleach_cleanser"))
    shape = shapes["021_bleach_cleanser"]
    farthest = np.linalg.norm(verts[:, None] - verts[None, ::7], axis=-1).max()
    assert farthest <= shape.diameter_m + 1e-6 < farthest * 1.02
    # kypt's evaluation lets the bleach bottle be turned by half
    np.testing.assert_allclose(shape.symmetries[1], np.diag([-1, -1, 1, 1]), atol=1e-9)
    assert len(shapes["003_cracker_box"].symmetries) == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_masks_lose_little_but_their_resolution(prepared, version):
    """Labels from the quarter-size masks against those of rendering, from the same meshes."""
    own = open_split(f"ho3d_{version}/train", prepared)
    found, reader = read(tree(version), version, masks="none")
    assert all(frame.segmentation is None for frame in found)
    assert reader.attributes()["mask_colours"] == "none"
    from handbench.visibility import label_scene

    shares = own.columns["right/visibility/scene/hand"]
    exact = [label_scene(frame.scene, *reader.hands())[0]["right"] for frame in found]
    loss = np.array([label.scene_hand for label in exact]) - shares
    assert 0 < loss.mean() < 0.04
    assert np.abs(loss).max() < 0.06
    flags = np.array([label.scene_finger_count[1:] >= 30 for label in exact])
    assert (flags == own.columns["right/visibility/scene/finger"]).mean() > 0.97
    box = np.array([label.box_visible_px for label in exact])
    assert np.abs(box - own.columns["right/box_visible_px"]).max() <= 8  # two pixels of a mask


def test_a_board_before_the_hand_hides_exactly_what_is_behind_it(tmp_path):
    """The object is a board whose straight edge runs down the picture through the hand."""
    root = tmp_path / "raw"
    shutil.copytree(tree("v3"), root, ignore=shutil.ignore_patterns("seg", "depth", "S*"))
    (root / "train.txt").write_text("ABF10/0001\n")
    frame = read(root)[0][0]
    hand = next(mesh for mesh in frame.scene.meshes if mesh.kind == "right")
    pixels = frames.project(hand.verts_m, frame.K)
    edge, near = float(np.median(pixels[:, 0])), hand.verts_m[:, 2].min() - 0.05
    board = "v 0 -1 0\nv 1 -1 0\nv 1 1 0\nv 0 1 0\nv .5 0 -.01\nf 1 2 3\nf 1 3 4\nf 2 3 5\n"
    ycb.model_path(root / "models", "021_bleach_cleanser").write_text(board)
    ycb.load_model.cache_clear()
    x = (edge - frame.K[0, 2]) / frame.K[0, 0] * near
    # a half turn about x: the files' axes
    meta = root / "train/ABF10/meta/0001.pkl"
    edit(meta, objRot=np.array([[np.pi], [0], [0]]), objTrans=np.array([x, 0, -near]))
    prepare(READERS["v3"]("train", root), tmp_path)
    ycb.load_model.cache_clear()
    split = open_split("ho3d_v3/train", tmp_path)
    columns = split.columns
    alone, scene = (
        unpack(columns[f"right/visibility/{where}/vertex"])[0].astype(bool)
        for where in ("alone", "scene")
    )
    clear = np.abs(pixels[:, 0] - edge) > 0.01
    expected = alone & (pixels[:, 0] < edge)
    assert (scene == expected)[clear].all()
    assert 50 < expected.sum() < alone.sum() - 50
    part = hands()["right"].vertex_part
    behind = [(pixels[part == finger, 0] > edge).all() for finger in range(1, 6)]
    assert any(behind)
    assert (columns["right/occlusion_cause"][0][behind] == 2).all()
    shown = split.segmentation(0)
    assert set(shown[:, int(edge) + 2 :].ravel()) == {3}
    assert columns["right/box_visible_px"][0][[0, 2]].sum() <= edge + 1


def test_a_mask_hides_what_it_paints_over(tmp_path):
    """Vertices count only where the mask says hand, to the pixel of the blown-up mask."""
    root = tmp_path / "raw"
    shutil.copytree(tree("v3"), root, ignore=shutil.ignore_patterns("depth", "S*"))
    (root / "train.txt").write_text("ABF10/0001\n")
    frame = read(root)[0][0]
    mesh = next(mesh for mesh in frame.scene.meshes if mesh.kind == "right")
    pixels = frames.project(mesh.verts_m, frame.K)
    column = int(np.median(pixels[:, 0])) // 4
    mask = np.zeros((120, 160, 3), np.uint8)
    mask[:, :column, 0] = 255  # hand, in blue
    mask[:, column:, 1] = 255  # object, in green
    cv2.imwrite(str(root / "train/ABF10/seg/0001.png"), mask)
    frame, reader = (each[0] if isinstance(each, list) else each for each in read(root))
    from handbench.visibility import label_scene

    codes = decode(frame.segmentation, cv2.IMREAD_UNCHANGED)
    assert (codes == np.where(np.arange(640) < 4 * column, 1, 3)).all()
    labels = label_scene(frame.scene, *reader.hands(), mask=codes)[0]["right"]
    assert not labels.scene_vertex[pixels[:, 0] > 4 * column].any()
    part = hands()["right"].vertex_part
    for finger in range(1, 6):
        inside = (part == finger) & (np.floor(pixels[:, 0] + 0.5) < 4 * column)
        assert labels.scene_finger_count[finger] <= inside.sum()
        if not inside.any():
            assert labels.cause[finger - 1] == 2


def test_lists_of_the_released_loaders():
    found, _ = read(tree("v3"))
    lines = (tree("v3") / "train.txt").read_text().split()
    assert [frame.id.partition("train/")[2].split("/")[0::2] for frame in found] == sorted(
        line.split("/") for line in lines
    )
    assert all(frame.extra["loaders_keep"] for frame in found)
    ids = [frame.id for frame in found]
    assert ids == sorted(ids)
    val, reader = read(tree("v3"), list="h2onet_val")
    assert [frame.id for frame in val] == ids[::20]
    assert reader.attributes()["expected"] == 1
    train, reader = read(tree("v3"), list="h2onet")
    assert [frame.id for frame in train] == [name for i, name in enumerate(ids) if i % 20]
    assert reader.attributes()["split_rule"] == "official train.txt, list h2onet"
    with pytest.raises(Exception, match="no list of ho3d_v3/evaluation 'h2onet'"):
        READERS["v3"]("evaluation", tree("v3"), list="h2onet")
    # of v2's 66,034 lines H2ONet trains on 62,732
    listed = [ho3d_lists.Line("ABF10", i, i) for i in range(66_034)][::-1]
    assert len(ho3d_lists.LISTS["h2onet"](listed)) == 62_732
    assert len(ho3d_lists.LISTS["h2onet_val"](listed)) == 3_302
    assert ho3d_lists.LISTS["h2onet_val"](listed)[1].frame == 20


def test_a_hand_beside_the_picture_is_left_out_as_the_loaders_do(tmp_path):
    root = shutil.copytree(tree("v3"), tmp_path / "raw", ignore=shutil.ignore_patterns("seg"))
    path = root / "train/ABF10/meta/0000.pkl"
    meta = pickle.loads(path.read_bytes(), encoding="latin1")
    aside = np.array([1.0, 0, 0], np.float32)
    edit(path, handJoints3D=meta["handJoints3D"] + aside, handTrans=meta["handTrans"] + aside)
    found, _ = read(root)
    assert [frame.extra["loaders_keep"] for frame in found[:2]] == [False, True]
    kept, reader = read(root, list="handoccnet", strict=True)  # the list's choice is no fault
    assert len(kept) == len(found) - 1
    assert list(reader.skipped) == ["left out by the released loaders: its box is empty"]


def test_files_are_as_the_official_ones():
    """Names, types and units, as the official tools open them."""
    for version in VERSIONS:
        root = tree(version)
        suffix, seg = {"v2": (".png", ".jpg"), "v3": (".jpg", ".png")}[version]
        assert {p.suffix for p in root.glob("*/*/rgb/*")} == {suffix}
        assert {p.suffix for p in root.glob("train/*/seg/*")} == {seg}
        assert not list(root.glob("evaluation/*/seg"))
        assert "MC1/0000" not in (root / "train.txt").read_text()
        data = (root / "train/MC1/meta/0000.pkl").read_bytes()
        assert set(pickle.loads(data).values()) == {None}
        assert not (root / "train/MC1/meta/0001.pkl").exists()
        lines = (root / "evaluation.txt").read_text().split()
        assert lines != sorted(lines)
        data = (root / "train/SB10/meta/0001.pkl").read_bytes()
        operations = list(pickletools.genops(data))
        assert operations[0][1] == 2
        named = {arg for op, arg, _ in operations if op.name == "GLOBAL"}
        assert "numpy.core.multiarray _reconstruct" in named
        meta = pickle.loads(data, encoding="latin1")
        assert ("handVertContact" in meta, "camIDList" in meta) == (version == "v3",) * 2
        shapes = {"handPose": (48,), "handTrans": (3,), "handBeta": (10,), "objRot": (3, 1)}
        assert {name: meta[name].shape for name in shapes} == shapes
        assert (meta["handJoints3D"][:, 2] < 0).all()  # OpenGL
        depth = cv2.imread(str(root / "train/SB10/depth/0001.png"), cv2.IMREAD_UNCHANGED)
        metres = (depth[..., 2] + 256 * depth[..., 1].astype(int)) * 0.00012498664727900177
        shot = next(s for s in shots() if (s.camera, s.frame_number) == ("SB10", 1))
        np.testing.assert_allclose(metres, draw_layers(shot.scene)[1], atol=1e-4)
        from scipy.spatial.transform import Rotation

        turned = Rotation.from_rotvec(meta["objRot"].ravel()).apply(meta["objCorners3DRest"])
        np.testing.assert_allclose(turned + meta["objTrans"], meta["objCorners3D"], atol=1e-6)
    tips = np.load(tree("v3") / "manual_annotations/ABF1_0001.npy")
    meta = pickle.loads((tree("v3") / "train/ABF11/meta/0001.pkl").read_bytes())
    assert (tips == meta["handJoints3D"][[20, 19, 18, 17, 16]]).all()


def test_without_the_released_truth_evaluation_has_wrist_box_and_object(tmp_path, capsys):
    root = shutil.copytree(tree("v2"), tmp_path / "raw", ignore=shutil.ignore_patterns("*.json"))
    found, reader = read(root, "v2", "evaluation")
    assert len(found) == 9
    assert not reader.ships_verts
    assert (
        "no other joints or labels: evaluation_xyz.json and evaluation_verts.json"
        in capsys.readouterr().err
    )
    for frame in found:
        assert frame.right.joints_valid.tolist() == [3] + [0] * 20
        assert np.isnan(frame.right.joints_m[1:]).all()
        assert frame.right.box_source == 3
        assert frame.object is not None
        assert frame.scene is None
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("xyz", "verts"):
        shutil.copy(tree("v2") / f"evaluation_{name}.json", moved)
    found, reader = read(root, "v2", "evaluation", truth=str(moved))
    assert reader.ships_verts
    assert all(frame.right.joints_valid[8] & 1 for frame in found)
    with pytest.raises(DataError, match=r"no evaluation_xyz\.json"):
        read(root, "v2", "evaluation", truth=str(root))


def test_palettes_say_what_they_mean():
    assert ho3d_masks.PALETTES["ho3d_v2"].told() == "right hand in red, object in blue"
    assert ho3d_masks.PALETTES["ho3d_v3"].told() == "object in green, right hand in blue"
