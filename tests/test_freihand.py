"""FreiHAND: a miniature official tree against its truth, labels of a known mask, bad input."""

import json
import pickle
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from handbench import frames
from handbench.cli import group
from handbench.datasets import freihand_files
from handbench.datasets.freihand import FreiHAND
from handbench.datasets.freihand_files import Entries
from handbench.errors import DataError
from handbench.hand import Hand
from handbench.preparing.prepare import prepare
from handbench.rules import unpack
from handbench.scoring.truth import of_split
from handbench.store import open_split
from handbench.synthesis import freihand as writer
from handbench.synthesis import writers

SPLITS = ("training", "evaluation")
MARK = "handbench_synth.json"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("freihand") / "raw"
    writers.write_tree("freihand", root, SPLITS)
    return root


@pytest.fixture(scope="module")
def data(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    before = {p: p.stat().st_mtime_ns for p in built.rglob("*")}
    out = tmp_path_factory.mktemp("data")
    command = ["prepare", "freihand", "--raw", str(built), "--out", str(out), "--workers", "1"]
    result = CliRunner().invoke(group, command, catch_exceptions=False)
    assert "the lists hold 4 samples; expected 32,560" in result.output
    # what the lists say of one hand agrees, so nothing else is remarked
    assert "expected joint" not in result.output
    assert "expected MANO" not in result.output
    assert before == {p: p.stat().st_mtime_ns for p in built.rglob("*")}
    return out


@pytest.fixture
def tree(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "raw"))


def read(root: Path, split: str = "training", **options) -> tuple[list, FreiHAND]:
    reader = FreiHAND(split, root, **options)
    return [frame for plan in reader.plan() for frame in reader.frames(plan)], reader


def shots(split: str) -> dict:
    hands = {side: Hand.open(side) for side in ("right", "left")}
    return {(s.frame_number, s.variant): s for s in writer.film(split, hands)}


@pytest.mark.parametrize("name", SPLITS)
def test_tree_to_hdf5_equals_the_takes(data, name):
    split, true = open_split(f"freihand/{name}", data), shots(name)
    columns = split.columns
    assert len(split) == len(true) == {"training": 16, "evaluation": 2}[name]
    for row in range(len(split)):
        number, version = int(columns["frame_number"][row]), int(columns["variant"][row])
        shot = true[number, version if name == "training" else 0]
        ending = f"/{version}" if name == "training" else ""
        assert columns["id"][row] == f"freihand/{name}/{number:08d}/0/{number}{ending}"
        assert columns["official_index"][row] == number + 32560 * shot.variant
        assert split.image_bytes(row) == shot.image
        hand = shot.right
        np.testing.assert_allclose(columns["K"][row], shot.K, rtol=1e-6)
        for column, values, atol in (
            ("joints_m", hand.joints_m, 1e-6),
            ("verts_m", hand.verts_m, 1e-6),
            ("joints_px", hand.joints_px, 1e-3),
            ("mano_pose", hand.mano_pose, 1e-6),
            ("mano_shape", hand.mano_shape, 1e-6),
            ("mano_trans_m", hand.mano_trans_m, 1e-6),
        ):
            np.testing.assert_allclose(columns[f"right/{column}"][row], values, atol=atol)
        bone = np.linalg.norm(hand.joints_m[9] - hand.joints_m[10])
        assert columns["bone_m"][row] == pytest.approx(bone, abs=1e-6)
    assert (columns["left/present"] == 0).all()
    assert (columns["right/mano_valid"] == 1).all()
    assert (columns["right/fit_error_mm"] < 0.01).all() and not split.attributes["missing"]
    training = name == "training"
    assert split.attributes["official_rows"] == (130_240 if training else 3960)
    # an evaluation picture has no mask: what stands before the hand is not known
    assert (columns["right/visibility/source"] == (4 if training else 0)).all()
    assert np.isfinite(columns["right/visibility/alone/hand"]).all()
    assert np.isfinite(columns["right/visibility/scene/hand"]).all() == training
    assert (columns["right/visibility/scene/finger"] == 255).all() == (not training)
    assert len(split.tables["recordings"]) == len(set(columns["frame_number"]))


def test_masks_leave_out_what_is_held(data):
    """Within what JPEG blurs, the hidden vertices are those that the held object hides."""
    from handbench.visibility import label_scene

    split = open_split("freihand/training", data)
    for (number, version), shot in shots("training").items():
        if version:
            continue
        row = int(np.flatnonzero(split.columns["frame_number"] == number)[0])
        true = label_scene(shot.scene, Hand.open(), None)[0]["right"]
        found = unpack(split.columns["right/visibility/scene/vertex"][row])
        # away from the mask's border, where a pixel is one or the other
        mask = split.segmentation(row).astype(np.uint8)
        inner = cv2.erode(mask, np.ones((5, 5))) == cv2.dilate(mask, np.ones((5, 5)))
        verts = next(m.verts_m for m in shot.scene.meshes if m.kind == "right")
        x, y = np.round(frames.project(verts, shot.K)).astype(int).T
        clear = inner[y, x]
        assert (found == true.scene_vertex)[clear].all()
        assert clear.sum() > 200
        share = split.columns["right/visibility/scene/hand"][row]
        assert share == pytest.approx(true.scene_hand, abs=0.02)


def test_a_mask_cut_off_at_a_line_hides_exactly_what_is_beyond(tree, tmp_path):
    frame = read(tree)[0][0]
    mesh = frame.scene.meshes[0]
    pixels = frames.project(mesh.verts_m, frame.K)
    part = Hand.open().vertex_part
    first = max(pixels[part == f, 0].min() for f in range(1, 6))
    edge = int(first // 8 * 8)  # a border of JPEG's blocks stays sharp
    mask = np.zeros((224, 224), np.uint8)
    mask[:, :edge] = 255
    cv2.imwrite(str(tree / "training/mask/00000000.jpg"), mask)
    prepare(FreiHAND("training", tree, versions="gs"), tmp_path)
    split = open_split("freihand/training", tmp_path)
    assert (split.segmentation(0) == (mask > 0)).all()
    folder = "right/visibility/"
    alone = unpack(split.columns[folder + "alone/vertex"])[0].astype(bool)
    scene = unpack(split.columns[folder + "scene/vertex"])[0].astype(bool)
    within = np.floor(pixels[:, 0] + 0.5) < edge
    assert (scene == alone & within).all()
    assert 0 < scene.sum() < alone.sum()
    gone = [f - 1 for f in range(1, 6) if not within[part == f].any()]
    assert gone
    assert (split.columns[folder + "scene/finger_count"][0][1:][gone] == 0).all()
    # the mask says that something else shows, not what
    assert (split.columns["right/occlusion_cause"][0][gone] == 255).all()
    prepare(FreiHAND("training", tree, scene="none"), tmp_path / "none")
    columns = open_split("freihand/training", tmp_path / "none").columns
    assert not columns["right/visibility/source"].any()
    assert np.isnan(columns["right/box_visible_px"]).all()
    assert (unpack(columns[folder + "alone/vertex"])[0] == alone).all()


def test_shipped_vertices_are_the_truth_even_without_a_hand_model(tree, tmp_path):
    (tree / MARK).unlink()
    found, reader = read(tree)
    assert all(frame.scene is None and frame.right.mano_valid == 0 for frame in found)
    assert reader.attributes()["mano_missing"] == 1
    prepare(reader, tmp_path)
    truth = of_split(open_split("freihand/training", tmp_path))
    hand = found[0].right
    verts = truth.verts_m(slice(0, 3))
    np.testing.assert_allclose(verts[0], hand.verts_m - hand.joints_m[0], atol=1e-6)
    np.testing.assert_allclose(verts[:, 0], np.repeat(verts[:1, 0], 3, 0), atol=1e-9)


def test_evaluation_before_the_truth_was_released(tree, tmp_path):
    shutil.move(tree / "FreiHAND_pub_v2_eval", tmp_path / "FreiHAND_pub_v2_eval")
    assert np.isfinite(read(tree, "evaluation")[0][0].right.joints_m).all()
    shutil.rmtree(tmp_path / "FreiHAND_pub_v2_eval")
    found, reader = read(tree, "evaluation")
    prepare(reader, tmp_path / "data")
    split = open_split("freihand/evaluation", tmp_path / "data")
    assert len(found) == len(split.hands.row) == 2
    assert np.isnan(split.columns["right/joints_m"]).all()
    assert np.isfinite(split.columns["K"]).all()
    assert np.isfinite(split.columns["bone_m"]).all()


def test_versions_missing_pictures_and_the_archives_folder(tree, tmp_path):
    found, _ = read(tree, versions="hom,auto")
    assert [frame.variant for frame in found] == [1, 3] * 4
    (tree / "training/rgb/00032561.jpg").unlink()
    (tree / "training/rgb/notes.txt").write_text("an extra file")
    outer = tmp_path / "outer"
    outer.mkdir()
    tree.rename(outer / "FreiHAND_pub_v2")
    found, reader = read(outer)
    assert len(found) == 15
    assert reader.attributes()["missing"] == 1
    assert [f.variant for f in found if f.frame_number == 1] == [0, 2, 3]
    copy, plan = pickle.loads(pickle.dumps((reader, reader.plan()[1])))
    assert [f.id for f in copy.frames(plan)] == [f.id for f in found[4:7]]


def change(path: Path, edit) -> None:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def set_all(kind: str, value: float):
    def edit(tree: Path) -> None:
        def fill(content):
            content[1] = np.full(np.shape(content[1]), value).tolist()

        change(tree / f"training_{kind}.json", fill)

    return edit


MASK = "training/mask/00000001.jpg"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (set_all("xyz", -1), "all joints in one place"),
        (set_all("xyz", float("nan")), "xyz not finite"),
        (set_all("mano", float("nan")), "mano not finite"),
        (lambda t: (t / MASK).write_bytes((t / MASK).read_bytes()[:500]), "mask: JPEG cut short"),
        (lambda t: cv2.imwrite(str(t / MASK), np.zeros((99, 99), np.uint8)), "mask is not 224"),
    ],
)
def test_unusable_samples_are_skipped_with_the_reason(tree, spoil, reason):
    spoil(tree)
    found, reader = read(tree)
    assert {frame.frame_number for frame in found} == {0, 2, 3}
    assert [reason in key for key in reader.skipped] == [True]
    assert sum(reader.skipped.values()) == 4
    with pytest.raises(DataError, match=rf"rgb/00000001\.jpg: .*{reason}"):
        read(tree, strict=True)


def test_a_picture_cut_short_is_skipped_alone(tree):
    path = tree / "training/rgb/00032561.jpg"
    path.write_bytes(path.read_bytes()[:900])
    found, reader = read(tree)
    assert len(found) == 15
    assert reader.skipped == {"JPEG cut short": 1}
    (tree / MASK).unlink()
    found, reader = read(tree)
    assert found[4].segmentation is None and reader.counts["masks_missing"] == 1


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: (t / "training_K.json").unlink(), r"training_K\.json is missing: unpack"),
        (lambda t: (t / "training_xyz.json").write_text("[[[1, 2"), r"training_xyz\.json is no wh"),
        (lambda t: (t / "training_xyz.json").write_text(""), r"training_xyz\.json is no whole"),
        (lambda t: (t / "training_scale.json").write_text('["a"]'), r"_scale\.json should be"),
        (
            lambda t: change(t / "training_mano.json", lambda c: c.pop()),
            "K 4, xyz 4, verts 4, mano 3|mano.json 3",
        ),
        (
            lambda t: change(t / "training_xyz.json", lambda c: c[0].pop()),
            r"training_xyz\.json, entry 0: expected \(21, 3\)",
        ),
        (lambda t: shutil.rmtree(t / "training/rgb"), r"training/rgb does not exist; unpack"),
    ],
)
def test_broken_files_are_named(tree, spoil, message):
    spoil(tree)
    with pytest.raises(DataError, match=message) as caught:
        read(tree)
    assert "\n" not in str(caught.value)


def test_lists_that_contradict_each_other_are_told(tree, capsys):
    change(tree / "training_mano.json", lambda c: c[0][0].__setitem__(58, 10.0))
    change(tree / "training_scale.json", lambda c: c.__setitem__(3, 0.09))
    change(tree / "training_mano.json", lambda c: c[2][0].__setitem__(12, 1.5))
    read(tree)
    said = capsys.readouterr().err
    assert "sample 0: expected joint 9 at pixel 10.0" in said
    assert "sample 3: expected a middle finger bone of 0.0900 m" in said
    assert "sample 2: expected MANO parameters to give the shipped vertices, found them" in said


def test_entries_are_found_whatever_the_blanks(tmp_path):
    values = np.random.default_rng(0).normal(size=(5, 3, 3)).tolist()
    for text in (json.dumps(values), json.dumps(values, indent=1), f"{json.dumps(values)}\n\n"):
        path = tmp_path / "list.json"
        path.write_text(text.replace("],", " ] ,"))
        entries = Entries.find(path, "K")
        assert len(entries) == 5
        assert [entries.read(i).tolist() for i in range(5)] == values
    path.write_text(json.dumps(values[:1]))
    assert Entries.find(path, "K").read(0).tolist() == values[0]


def test_wrong_names(tree):
    for options in ({"split": "test"}, {"scene": "all"}, {"versions": "gs,green"}):
        with pytest.raises(Exception, match="no (split|scene|version)"):
            FreiHAND(**{"split": "training", "raw": tree, **options})


@pytest.fixture(params=["made", "real"])
def photographs(request, tmp_path, tree) -> tuple[Path, Path, int]:
    """Pictures with 2D keypoints in COCO form: of the miniature, and the eight official ones."""
    if request.param == "real":
        shared = request.getfixturevalue("shared")
        folder = shared / "real_samples" / "freihand"
        if not folder.is_dir():
            pytest.skip("no real FreiHAND photographs here")
        return folder, folder / "test_freihand.json", 8
    images, notes = [], []
    for frame in read(tree)[0]:
        images.append({"id": frame.official_index, "file_name": Path(frame.image_path).name})
        points = np.c_[frame.right.joints_px, np.ones(21)].ravel().tolist()
        notes.append({"image_id": frame.official_index, "keypoints": points})
    path = tmp_path / "points.json"
    path.write_text(json.dumps({"images": images, "annotations": notes}))
    return tree / "training/rgb", path, 16


def test_photographs_with_2d_keypoints_can_be_shown(photographs, tmp_path):
    raw, points, count = photographs
    command = ["prepare", "freihand", "--raw", str(raw), "--out", str(tmp_path / "data")]
    result = CliRunner().invoke(group, [*command, "-o", f"keypoints={points}", "--workers", "1"])
    assert result.exit_code == 0, result.output
    split = open_split("freihand/training", tmp_path / "data")
    assert len(split) == count
    known = freihand_files.read_keypoints(points)
    for row in range(count):
        given = known[int(split.columns["official_index"][row])]
        np.testing.assert_allclose(split.columns["right/joints_px"][row], given.joints_px, 1e-5)
    assert (split.columns["right/joints_valid"] == 2).all()
    assert len(split.tables["recordings"]) == count // 4
    show = ["show", "freihand/training", "--data-dir", str(tmp_path / "data")]
    for which in (["--index", "1"], ["--sheet"]):
        picture = tmp_path / "shown.png"
        result = CliRunner().invoke(group, [*show, *which, "--out", str(picture)])
        assert result.exit_code == 0, result.output
        assert picture.read_bytes().startswith(b"\x89PNG")
    # the drawn skeleton changes the picture about the keypoints
    CliRunner().invoke(group, [*show, "--index", "1", "--out", str(picture)])
    drawn = cv2.imread(str(picture))
    plain = cv2.resize(split.image(1)[:, :, ::-1], drawn.shape[1::-1])
    factor = drawn.shape[0] / 224
    x, y = np.round(split.columns["right/joints_px"][1] * factor).astype(int).T
    apart = np.abs(drawn.astype(int) - plain).max(-1)
    assert np.median(apart[y, x]) > 40
