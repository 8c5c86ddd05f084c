"""`handbench doctor`: each fault that can be put into a split, file or download is named."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from interhand_scene import GOLDEN

from handbench.checking import counts, geometry, labels, pictures
from handbench.checking.check import Check, percent, verdict
from handbench.checking.hands import SplitHands
from handbench.checking.leakage import data_sets, leakage, train_of
from handbench.checking.poses import nearest_pose_mm, nearest_turn_deg, palm_rotation, unturned
from handbench.checking.raw import check_raw
from handbench.cli import group
from handbench.datasets.downloads import DOWNLOADS
from handbench.datasets.synthetic import Synthetic
from handbench.errors import DataError
from handbench.frames import HO3D, INTERHAND, OPENGL
from handbench.hand import Hand
from handbench.predictions import Predictions
from handbench.preparing.prepare import prepare
from handbench.store import open_split


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """synthetic/train and synthetic/test of a few takes, two hands and two cameras among them."""
    folder = tmp_path_factory.mktemp("doctor")
    for split in ("train", "test"):
        prepare(Synthetic(split, sequences=11, frames=4, image_px=96), folder)
    return folder


def call(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(group, [str(each) for each in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.stdout


class Changed(SplitHands):
    """The hands of a split with columns replaced by what a function makes of them."""

    def __init__(self, data: Path, **changes) -> None:
        super().__init__(open_split("synthetic/test", data))
        self.changes = {name.replace("__", "/"): change for name, change in changes.items()}

    def __getitem__(self, name):
        values = super().__getitem__(name)
        return self.changes[name](values.copy()) if name in self.changes else values


def test_a_sound_split_passes_and_its_page_and_sheet_are_written(data, tmp_path):
    told = call("doctor", "--data", "synthetic/test", "--data-dir", data, "--out", tmp_path)
    assert "0 fail" not in told and "fail" not in told and "reprojection" in told
    folder = tmp_path / "synthetic-test"
    rows = json.loads((folder / "checks.json").read_text())
    verdicts = {row["name"]: row["verdict"] for row in rows}
    for name in ("unit", "joint order", "reprojection", "left and right", "pose and joints"):
        assert verdicts[name] == "ok"
    assert verdicts["joints on the mask"] == verdicts["cameras together"] == "ok"
    assert set(verdicts.values()) <= {"ok", "n/a"}
    page = (folder / "checks.html").read_text()
    assert "<title>synthetic/test:" in page and "data:image/png;base64" in page
    assert "http" not in page.split("</style>", 1)[1].split("<nav")[0]
    assert (folder / "sheet.png").stat().st_size > 50_000
    printed = call("doctor", "--data", "synthetic/test", "--data-dir", data, "--json")
    assert json.loads(printed)["synthetic/test"] == rows


def _scaled(factor):
    return lambda values: values * factor


FAULTS = {
    "millimetres": (geometry.units, {"joints_m": _scaled(1000)}, "millimetres given for metres"),
    "centimetres": (geometry.units, {"joints_m": _scaled(100)}, "centimetres given for metres"),
    "opengl": (geometry.depth, {"joints_m": _scaled(OPENGL)}, "OpenGL"),
    "opengl in the picture": (geometry.reprojection, {"joints_m": _scaled(OPENGL)}, "OpenGL axes"),
    "x, y": (geometry.reprojection, {"joints_px": lambda p: p[..., ::-1]}, "x and y exchanged"),
    "half size": (geometry.reprojection, {"joints_px": _scaled(0.5)}, "K of twice the size"),
    "order": (
        geometry.joint_order,
        {"joints_m": lambda j: j[:, np.argsort(INTERHAND)]},
        "InterHand2.6M's order",
    ),
    "mano order": (
        geometry.joint_order,
        {"joints_m": lambda j: j[:, np.argsort(HO3D)]},
        "HO-3D's",
    ),
    "mirrored": (geometry.sides, {"joints_m": _scaled([-1, 1, 1])}, "seem to be exchanged"),
    "mean left out": (
        geometry.hand_model,
        {"mano_pose": lambda p: p + np.r_[np.zeros(3), np.full(45, 0.3)].astype("f4")},
        "model's own joints",
    ),
    "boxes": (pictures.boxes, {"box_px": lambda b: b + np.array([80, 0, 0, 0], "f4")}, "of joints"),
    "visible boxes": (
        pictures.visible_boxes,
        {"box_visible_px": lambda b: b - np.array([200, 0, 0, 0], "f4")},
        "beyond the image",
    ),
    "visible boxes below": (
        pictures.visible_boxes,
        {"box_visible_px": lambda b: b * [1, 0, 1, 0] + np.array([0, 90, 0, 7], "f4")},
        "beyond the image",
    ),
    "masks": (
        pictures.segmentation,
        {
            "joints_px": lambda p: np.flip(p, 1) * 0 + 2,
            "box_visible_px": lambda b: b * 0 + np.array([0, 0, 95, 95], "f4"),
        },
        "of joints",
    ),
    "nan": (counts.flags, {"joints_m": lambda j: j * np.nan}, "joints flagged but not finite"),
    "no joint": (counts.flags, {"joints_valid": lambda v: v * 0}, "hands without any joint"),
    "no box": (counts.flags, {"box_px": lambda b: b * 0}, "boxes flagged but empty"),
    "inside": (counts.inside, {"joints_valid": lambda v: v ^ 2}, "of flags differ"),
    "finger flags": (
        labels.consistent,
        {"visibility/scene/finger": lambda f: 1 - f},
        "finger flags",
    ),
    "causes": (labels.consistent, {"occlusion_cause": lambda c: np.where(c == 0, 2, 0)}, "causes"),
    "more in the scene": (
        labels.consistent,
        {"visibility/alone/finger_count": lambda c: c * 0},
        "more counted in the scene than alone",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found_and_named(data, fault):
    checker, changes, told = FAULTS[fault]
    sound, broken = checker(Changed(data)), checker(Changed(data, **changes))
    sound, broken = ([each] if isinstance(each, Check) else each for each in (sound, broken))
    assert {each.verdict for each in sound} == {"ok"}
    assert {each.verdict for each in broken} == {"fail"}
    assert told in broken[0].measured


def test_counts_are_told_against_what_was_expected(data):
    hands = Changed(data)
    count = len(hands.split)
    cases = {
        (count, 0, "{}"): "ok",
        (count + 3, 3, "{}"): "warn",
        (count + 5, 3, '{"picture missing": 2}'): "warn",
        (count + 9, 3, "{}"): "fail",
    }
    for (expected, missing, skipped), wanted in cases.items():
        hands.split.attributes |= {"expected": expected, "missing": missing, "skipped": skipped}
        assert counts.rows(hands).verdict == wanted
    hands.split.attributes |= {"options": '{"limit": 8}'}
    assert "--limit 8" in counts.rows(hands).measured
    hands.split.attributes |= {"expected": 20, "official_rows": 25}
    assert counts.official(hands).measured == "20 listed (-5)"
    assert (verdict(0.5, 1.0, 2.0), verdict(float("nan"), 1.0, 2.0)) == ("ok", "fail")
    assert (percent(0.99999), percent(1.0), percent(0.00001)) == ("> 99.9 %", "100 %", "< 0.1 %")


def test_a_damaged_picture_and_a_foreign_part_are_failures(data, tmp_path):
    shutil.copytree(data / "synthetic" / "test", tmp_path / "synthetic" / "test")
    part = sorted((tmp_path / "synthetic" / "test").glob("part-*.h5"))[0]
    with h5py.File(part, "r+") as file:
        file["image/bytes"][: int(file["image/offsets"][1])] = 0
        file.attrs["plan"] = "another one".ljust(64)
    arguments = ("--data-dir", tmp_path, "--out", tmp_path / "out")
    with pytest.raises(DataError, match="bytes"):
        call("doctor", "--data", "synthetic/test", *arguments)
    with h5py.File(tmp_path / "synthetic" / "test" / "index.h5", "r+") as file:
        file["parts/bytes"][0] = part.stat().st_size
    hands = SplitHands(open_split("synthetic/test", tmp_path))
    assert pictures.decoded(hands).verdict == "fail"
    assert "not readable" in pictures.decoded(hands).measured
    assert "another preparation" in counts.parts(hands).measured


def test_raw_trees_are_looked_at_piece_by_piece(tmp_path):
    told = call("doctor", "--raw", "interhand26m", GOLDEN)
    assert "published" in told and "fail" not in told
    tree = tmp_path / "tree"
    shutil.copytree(GOLDEN, tree)
    for camera in tree.glob("annotations/*/*_camera.json"):
        camera.unlink()
    told = call("doctor", "--raw", "interhand26m", tree, "--json", code=1)
    (rows,) = json.loads(told).values()
    found = {row["name"]: row for row in rows}
    assert found["cameras"]["verdict"] == "fail"
    assert "mks0601.github.io" in found["cameras"]["expected"]
    assert found["images"]["verdict"] == "ok"
    with pytest.raises(DataError, match="is made here"):
        call("doctor", "--raw", "synthetic", tmp_path)
    (tmp_path / "wrapped/FreiHAND_pub_v2/training/rgb").mkdir(parents=True)  # as it unpacks
    checks = check_raw("freihand", tmp_path / "wrapped", {})
    assert next(checks).verdict == "ok"
    for pieces in DOWNLOADS.values():
        assert all(piece.source.startswith("https://") and piece.patterns for piece in pieces)


def test_files_and_runs(data, tmp_path, monkeypatch):
    monkeypatch.setenv("HANDBENCH_DATA", str(data))
    split = open_split("synthetic/test", data)
    joints = split.hand_column("joints_m")
    made = Predictions(
        id=split.columns["id"][split.hands.row],
        is_left=split.hands.is_left,
        joints_m=joints - joints[:, :1],
        attributes={"data": "synthetic/test", "root_source": "none", "method": "truth"},
    )
    whole = tmp_path / "predictions.h5"
    made.write(whole)
    assert f"all {len(made)} of synthetic/test" in call("doctor", whole)
    made.joints_m[0, 3] = np.nan
    made.joints_m[1:] *= 1000
    made.id[5] = "synthetic/test/nowhere"
    made.write(whole)
    told = call("doctor", whole, code=1)
    assert "not in 1 hand," in told and "metres are wanted" in told
    assert "1 missing, 1 foreign" in told
    whole.write_bytes(whole.read_bytes()[:4000])
    assert "cut short" in call("doctor", whole, code=1)
    part = split.columns.parts[0]
    assert "part of synthetic/test" in call("doctor", part)
    with pytest.raises(DataError, match="recipe.toml"):
        call("doctor", tmp_path)
    with pytest.raises(DataError, match="looks into"):
        call("doctor", __file__)


def test_the_installation_is_told_in_a_line_each(monkeypatch, tmp_path):
    monkeypatch.setenv("HANDBENCH_MANO", str(tmp_path))
    told = json.loads(call("doctor", "--json", code=1))["this installation"]
    found = {row["name"]: row for row in told}
    assert found["hand model"]["verdict"] == "fail"
    assert "MANO_RIGHT.pkl" in found["hand model"]["expected"]
    monkeypatch.delenv("HANDBENCH_MANO")
    told = call("doctor")
    for name in ("handbench", "torch", "libturbojpeg", "data", "runs", "free disk"):
        assert name in told


def test_leaks_between_splits_are_found(data, tmp_path):
    assert data_sets(data) == {"synthetic": [["synthetic/train", "synthetic/test"]]}
    assert train_of("synthetic/test", data) == "synthetic/train"
    apart = {row.kind: row for row in leakage("synthetic", data)}
    assert apart["recordings"].shared == apart["instants"].shared == apart["objects"].shared == 0
    assert not apart["subjects"].known
    # the same takes under the name of another split of a data set whose takes keep their names
    root = tmp_path / "data"
    for split in ("train", "test"):
        folder = root / "takes" / split
        shutil.copytree(data / "synthetic" / "test", folder)
    found = {row.kind: row for row in leakage("takes", root)}
    assert found["recordings"].shared == found["recordings"].of_b == 11
    assert found["instants"].shared == 44
    near = found["poses nearer than 3 mm"]
    assert near.shared == near.of_b > 44
    one, _, other = near.names[0].partition(" ~ ")
    assert one.rpartition(":")[2] in ("right", "left")
    assert other == f"{one} 0.00 mm"
    told = call("doctor", "--leakage", "takes", "--data-dir", root, "--out", tmp_path)
    assert "11 of 11" in told and "unknown" in told
    assert len((tmp_path / "leakage.csv").read_text().splitlines()) == 6
    assert len(json.loads((tmp_path / "leakage.json").read_text())) == 5


def test_near_equal_poses_and_turns_by_hand():
    rng = np.random.default_rng(0)
    pose = np.concatenate([np.zeros((40, 3)), rng.normal(0, 0.4, (40, 45))], axis=1)
    joints = Hand.open().pose(pose, np.zeros((1, 10)))[1]
    from scipy.spatial.transform import Rotation

    turns = Rotation.random(40, random_state=1)
    turned = np.einsum("nij,nkj->nki", turns.as_matrix(), joints) + rng.normal(0, 1, (40, 1, 3))
    distance, nearest = nearest_pose_mm(unturned(turned), unturned(joints[::-1]), 3.0)
    assert distance.max() < 1e-6
    assert (nearest == np.arange(40)[::-1]).all()
    far = joints + [[[0, 0, 0]]] + np.eye(21)[8][:, None] * [0, 0, 0.063]
    distance, _ = nearest_pose_mm(unturned(far), unturned(joints), 30.0)
    assert np.allclose(distance, 3.0)
    assert np.isinf(nearest_pose_mm(unturned(far), unturned(joints), 1.0)[0]).all()
    base = palm_rotation(joints)
    step = Rotation.from_rotvec([0, 0, np.radians(25)]).as_matrix()
    assert np.allclose(nearest_turn_deg(step @ base, base), 25)
    assert np.allclose(palm_rotation(turned), turns.as_matrix() @ base)
