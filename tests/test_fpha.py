"""FPHA: a miniature official tree against its truth, labels against a known board, bad input."""

import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from handbench import frames
from handbench.cli import group
from handbench.datasets.fpha import FPHA
from handbench.datasets.fpha_files import (
    T_DEPTH_COLOUR,
    Listed,
    intrinsics,
    model_path,
    read_split,
    select,
    to_colour,
)
from handbench.datasets.ply import read_ply, write_ply
from handbench.errors import DataError
from handbench.hand import Hand
from handbench.preparing.prepare import prepare
from handbench.rules import unpack
from handbench.store import open_split
from handbench.synthesis import fpha as writer
from handbench.synthesis import writers

FIRST = "Subject_1/put_salt/1"
SKELETON = f"Hand_pose_annotation_v1/{FIRST}/skeleton.txt"
POSE = f"Object_6D_pose_annotation_v1_1/{FIRST}/object_pose.txt"
PICTURE = f"Video_files/{FIRST}/color/color_0001.jpeg"
FITS = f"fhbhands_fits/{FIRST}/pkls.pkl"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fpha") / "raw"
    writers.write_tree("fpha", root, ("train",))
    return root


@pytest.fixture(scope="module")
def shots() -> dict:
    hands = {side: Hand.open(side) for side in ("right", "left")}
    return {(s.sequence, s.frame_number): s for s in writer.film(("train",), hands)}


@pytest.fixture
def tree(built: Path, tmp_path: Path) -> Path:
    """A copy of the little that the first sequence needs, to be spoilt."""
    root = tmp_path / "raw"
    for name in ("Object_models", "data_split_action_recognition.txt", "handbench_synth.json"):
        copy = shutil.copytree if (built / name).is_dir() else shutil.copy
        root.mkdir(exist_ok=True)
        copy(built / name, root / name)
    for name in (SKELETON, POSE, PICTURE, FITS):
        shutil.copytree((built / name).parent, (root / name).parent)
    return root


def read(root: Path, **options) -> tuple[list, FPHA]:
    reader = FPHA("train", root, **options)
    return [frame for plan in reader.plan() for frame in reader.frames(plan)], reader


def test_tree_to_hdf5_equals_the_takes(built, shots, tmp_path, capsys):
    before = {p: p.stat().st_mtime_ns for p in built.rglob("*")}
    command = ["prepare", "fpha", "--raw", str(built), "--split", "train", "--out", str(tmp_path)]
    result = CliRunner().invoke(group, [*command, "--workers", "1"], catch_exceptions=False)
    assert "expected 10,503 or 11,019" in result.output
    assert before == {p: p.stat().st_mtime_ns for p in built.rglob("*")}
    split = open_split("fpha/train", tmp_path)
    columns = split.columns
    assert len(split) == len(shots) == 6
    for row in range(len(split)):
        name = str(split.tables["sequences"][columns["sequence"][row]])
        shot = shots[name, columns["frame_number"][row]]
        true = shot.right
        assert split.image_bytes(row) == shot.image
        assert columns["id"][row] == f"fpha/train/{name}/color/{shot.frame_number}"
        assert columns["subject"][row] == shot.subject
        np.testing.assert_allclose(columns["K"][row], shot.K, rtol=1e-6)
        np.testing.assert_allclose(columns["right/joints_m"][row], true.joints_m, atol=1e-6)
        np.testing.assert_allclose(columns["right/joints_px"][row], true.joints_px, atol=1e-3)
        np.testing.assert_allclose(columns["object/T_camera"][row], shot.object.T_camera, atol=1e-6)
        thing = str(split.tables["objects"][columns["object/name"][row]])
        assert thing == shot.object.name
        np.testing.assert_allclose(columns["right/mano_pose"][row], true.mano_pose, atol=1e-6)
        assert columns["right/mano_valid"][row] == 2
        assert columns["right/fit_error_mm"][row] < 0.01
    assert (columns["left/present"] == 255).all()
    assert set(columns["right/visibility/source"]) == {2}
    assert (columns["right/joints_kind"] == 3).all()
    info = split.attributes
    assert info["missing"] == 0
    assert info["official_rows"] == 10_503  # the first of the two that go round
    assert info["expected"] == 6
    bone = np.linalg.norm(np.diff(columns["right/joints_m"][:, [0, 9]], axis=1), axis=-1)
    assert ((bone > 0.05) & (bone < 0.13)).all()


def test_joints_beyond_the_picture_are_told_from_those_inside(tree):
    rows = np.loadtxt(tree / SKELETON)
    rows[:, 1::3] += 320  # mm to one side
    (tree / SKELETON).write_text("".join(f"{' '.join(map(str, row))}\n" for row in rows))
    for frame in read(tree)[0]:
        x, y = frame.right.joints_px.T
        inside = (x >= -0.5) & (x < frame.image_size[0] - 0.5) & (y >= -0.5)
        assert 0 < inside.sum() < 21 and y.max() < frame.image_size[1] - 0.5
        assert (frame.right.joints_valid == np.where(inside, 3, 1)).all()


def test_a_board_before_the_hand_hides_exactly_what_is_behind_it(built, tree, tmp_path):
    """The object is a board whose straight edge runs down the picture through the hand."""
    frame = read(built)[0][0]
    hand = next(mesh for mesh in frame.scene.meshes if mesh.kind == "right")
    pixels = frames.project(hand.verts_m, frame.K)
    edge = float(np.median(pixels[:, 0]))
    near = hand.verts_m[:, 2].min() - 0.05
    corners = np.array([[0, -1.0, 0], [1, -1, 0], [1, 1, 0], [0, 1, 0], [0.5, 0, 0.01]])
    write_ply(
        model_path(tree / "Object_models", "salt"),
        corners,
        np.array([[0, 1, 2], [0, 2, 3], [1, 2, 4]]),
    )
    T = np.eye(4)
    T[:3, 3] = (edge - frame.K[0, 2]) / frame.K[0, 0] * near, 0, near
    back = np.linalg.inv(T_DEPTH_COLOUR) @ T
    back[:3, 3] *= 1000
    (tree / POSE).write_text("0 " + " ".join(f"{x:.9f}" for x in back.T.ravel()) + "\n")
    reader = FPHA("train", tree)
    prepare(reader, tmp_path)
    columns = open_split("fpha/train", tmp_path).columns
    alone, scene = (
        unpack(columns[f"right/visibility/{where}/vertex"])[0] for where in ("alone", "scene")
    )
    clear = np.abs(pixels[:, 0] - edge) > 0.01
    expected = alone.astype(bool) & (pixels[:, 0] < edge)
    assert (scene.astype(bool) == expected)[clear].all()
    assert 50 < expected.sum() < alone.sum() - 50
    part = Hand.open().vertex_part
    behind = [(pixels[part == f, 0] > edge).all() for f in range(1, 6)]
    cause = columns["right/occlusion_cause"][0]
    assert (cause[behind] == 2).all()
    assert any(behind)
    count = columns["right/visibility/scene/finger_count"][0]
    # a vertex falls on a pixel of the board exactly when its pixel's centre is behind it
    left_of = np.round(pixels[:, 0]) < edge
    most = np.bincount(part[left_of], minlength=6)
    assert (count <= most).all()


def test_published_conversion_and_quarter_intrinsics():
    world = np.array([[10.0, -20, 450], [-80, 60, 380]])
    camera = to_colour(world)
    np.testing.assert_allclose(camera[0] * 1000, [36.2358, -19.9651, 453.8355], atol=1e-4)
    pixels = frames.project(camera, intrinsics("full"))
    np.testing.assert_allclose(pixels, [[1047.174, 479.279], [738.776, 757.971]], atol=1e-3)
    np.testing.assert_allclose(frames.project(camera, intrinsics("480")), pixels / 4, atol=1e-9)


def test_without_fits_joints_only_and_other_names_of_folders(tree):
    shutil.rmtree(tree / "fhbhands_fits")
    (tree / "Hand_pose_annotation_v1").rename(tree / "Hand_pose_annotation_v1_1")
    (tree / "Object_6D_pose_annotation_v1_1").rename(tree / "Object_6D_pose_annotation_v1")
    (tree / "Video_files" / "notes.txt").write_text("an extra file")
    found, reader = read(tree)
    assert len(found) == 3
    assert all(f.scene is None and f.right.mano_valid == 0 and f.object for f in found)
    assert reader.attributes()["hand_model"] == {"kind": "none"}
    assert reader.attributes()["mano_missing"] == 1
    everything, _ = read(tree, list="all")
    assert [f.id for f in everything] == [f.id for f in found]


def test_the_authors_three_splits(tree):
    def chosen(rule: str, split: str) -> set:
        return set(FPHA(split, tree, rule=rule, list="all").listed)

    for rule in ("actions", "subjects", "objects"):
        train, test = (chosen(rule, split) for split in ("train", "test"))
        assert not train & test and len(train | test) == 1175
    assert {each.subject for each in chosen("subjects", "train")} == {1, 3, 4}
    tested = {"prick", "read_letter", "use_flash", "pour_wine", "put_tea_bag", "squeeze_paper"}
    others = {"pour_juice_bottle", "stir", "flip_pages", "open_letter", "toast_wine", "drink_mug"}
    found = {"train": [Listed(f"Subject_1/{name}/1", 0) for name in tested | others], "test": []}
    assert {each.action_name for each in select(found, "objects", "test")} == tested


def test_frames_without_a_pose_and_gaps(tree, tmp_path):
    lines = (tree / POSE).read_text().splitlines(keepends=True)
    (tree / POSE).write_text(lines[0] + lines[2])
    found, _ = read(tree)
    assert [(f.frame_number, f.order, f.clip) for f in found] == [(0, 0, 0), (2, 1, 1)]
    everything, _ = read(tree, list="all")
    assert [(f.frame_number, f.object is None) for f in everything] == [
        (0, False),
        (1, True),
        (2, False),
    ]
    reader = FPHA("train", tree, list="all")  # what is held in frame 1 may hide the hand
    prepare(reader, tmp_path)
    columns = open_split("fpha/train", tmp_path).columns
    assert columns["right/visibility/source"].tolist() == [2, 0, 2]
    counts = (columns[f"right/visibility/{k}/finger_count"][1] for k in ("alone", "scene"))
    assert [(count >= 0).all() for count in counts] == [True, False]
    found, reader = read(tree, far_mm=1000.0)
    assert {f.subset for f in found} == {4}
    assert not read(tree, far_mm=0.01)[0]


def spoil_numbers(path: Path, line: int, values: str) -> None:
    lines = path.read_text().splitlines(keepends=True)
    lines[line] = f"{line} {values}\n"
    path.write_text("".join(lines))


def spoil_fit(path: Path) -> None:
    fits = pickle.loads(path.read_bytes())
    fits["000001.pkl"]["fullpose"][4] = np.nan
    path.write_bytes(pickle.dumps(fits, protocol=2))


def grey(width: int, height: int) -> bytes:
    import cv2

    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    return cv2.imencode(".jpg", noise)[1].tobytes()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda t: (t / PICTURE).write_bytes((t / PICTURE).read_bytes()[:4000]), "JPEG cut short"),
        (lambda t: (t / PICTURE).write_bytes(grey(640, 480)), "640 x 480, expected 1920 x 1080"),
        (lambda t: spoil_numbers(t / SKELETON, 1, "-1 " * 63), "all joints in one place"),
        (lambda t: spoil_numbers(t / SKELETON, 1, "nan " * 63), "joints not finite"),
        (lambda t: spoil_numbers(t / POSE, 1, "nan " * 16), "object pose not finite"),
        (lambda t: spoil_numbers(t / POSE, 1, "2 " * 16), "object pose is no rotation"),
        (lambda t: spoil_fit(t / FITS), "MANO fit not finite"),
    ],
)
def test_unusable_frames_are_skipped_with_the_reason(tree, spoil, reason):
    spoil(tree)
    found, reader = read(tree)
    assert [(f.frame_number, f.clip) for f in found] == [(0, 0), (2, 1)]
    assert [reason in key for key in reader.skipped] == [True]
    with pytest.raises(DataError, match=rf"color_0001\.jpeg: .*{reason}"):
        read(tree, strict=True)


class Shell:
    def __reduce__(self):
        return Path.write_text, (Path("/tmp/never"), "run")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: (t / SKELETON).write_text("0 1 2"), r"skeleton\.txt, line 1: expected 64"),
        (lambda t: spoil_numbers(t / SKELETON, 1, "x " * 63), r"skeleton\.txt, line 2: .*'x'"),
        (lambda t: (t / POSE).write_text("0 " + "1 " * 15), r"object_pose\.txt, line 1: expected"),
        (lambda t: (t / SKELETON).write_bytes(b"\xff\x00"), r"skeleton\.txt is no text"),
        (lambda t: shutil.rmtree(t / "Video_files"), r"Video_files does not exist; unpack"),
        (lambda t: shutil.rmtree(t / "Object_models"), r"salt_model\.ply is missing"),
        (lambda t: (t / PICTURE).parent.rename(t / "elsewhere"), "none of the 3 annotated"),
        (lambda t: (t / FITS).write_bytes(pickle.dumps(Shell())), r"pkls\.pkl"),
        (lambda t: (t / FITS).write_bytes(pickle.dumps({"a": 1})), r"pkls\.pkl: expected"),
        (
            lambda t: (t / "data_split_action_recognition.txt").write_text("Training 2\na/b/c 1"),
            r"line 2: expected Subject_1/put_salt/1",
        ),
    ],
)
def test_broken_files_are_named(tree, spoil, message):
    spoil(tree)
    with pytest.raises(DataError, match=message) as caught:
        read(tree)
    assert "\n" not in str(caught.value)
    assert not Path("/tmp/never").exists()


def test_wrong_trees_splits_and_options(tree, tmp_path):
    for wrong, options in (("validation", {}), ("train", {"list": "some"})):
        with pytest.raises(Exception, match="no (split|list)"):
            FPHA(wrong, tree, **options)
    (tmp_path / "training" / "rgb").mkdir(parents=True)
    with pytest.raises(DataError, match="holds FreiHAND, not fpha"):
        FPHA("train", tmp_path)
    whole = (tree / "data_split_action_recognition.txt").read_text().replace("Test 575", "Test 574")
    (tree / "split.txt").write_text(whole)
    with pytest.raises(DataError, match="expected 574 sequences under Test, found 575"):
        read_split(tree / "split.txt")


def test_models_are_read_as_text_and_as_binary(built, tmp_path):
    path = model_path(built / "Object_models", "juice_bottle")
    assert path.parent.name == "juice_model"
    verts, faces = read_ply(path)
    head = (
        "ply\nformat binary_little_endian 1.0\ncomment made up\n"
        f"element vertex {len(verts)}\nproperty double x\nproperty double y\nproperty double z\n"
        f"property uchar red\nelement face {len(faces)}\n"
        "property list uchar uint vertex_indices\nend_header\n"
    )
    points = np.zeros(len(verts), [("p", "<f8", 3), ("red", "u1")])
    triangles = np.zeros(len(faces), [("n", "u1"), ("v", "<u4", 3)])
    points["p"], triangles["n"], triangles["v"] = verts, 3, faces
    binary = tmp_path / "b.ply"
    binary.write_bytes(head.encode() + points.tobytes() + triangles.tobytes())
    again = read_ply(binary)
    assert (again[0] == verts).all()
    assert (again[1] == faces).all()
    binary.write_bytes(binary.read_bytes()[:-5])
    with pytest.raises(DataError, match="not a whole triangle mesh"):
        read_ply(binary)
    path = tmp_path / "c.ply"
    for text in ("solid", "ply\nformat ascii 1.0\nend_header\n"):
        path.write_text(text)
        with pytest.raises(DataError, match=re.escape(str(path))):
            read_ply(path)


def test_writer_serves_what_official_loaders_ask_for(built):
    """A complete split file, a skeleton of two rows or more for each, and all the infos."""
    listed = read_split(built / "data_split_action_recognition.txt")
    assert [len(listed[split]) for split in ("train", "test")] == [600, 575]
    names = {each.name for split in listed.values() for each in split}
    assert len(names) == 1175
    for name in names:
        rows = (built / "Hand_pose_annotation_v1" / name / "skeleton.txt").read_text().count("\n")
        assert rows >= 2
    infos = [p.read_text().splitlines() for p in sorted((built / "Subjects_info").iterdir())]
    assert sum(int(lines[0].rpartition(" ")[2]) for lines in infos) == 1175
    assert re.fullmatch(r"\w+ \d+  \d+", infos[0][3])
    depth = f"Video_files/{FIRST}/depth/depth_0000.png"
    import cv2

    values = cv2.imread(str(built / depth), cv2.IMREAD_UNCHANGED)
    assert values.shape == (480, 640)
    assert values.dtype == np.uint16
    assert 300 < np.median(values[values > 0]) < 1100
