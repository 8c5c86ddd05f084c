"""`handbench show` and `handbench list` on a prepared miniature split."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from interhand_scene import GOLDEN, write_mano

from handbench.cli import COMMANDS, group
from handbench.datasets.interhand26m import InterHand26M
from handbench.errors import DataError, HandbenchError, UnknownName
from handbench.preparing.prepare import prepare
from handbench.store import open_split

NAME = "interhand26m/test"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The miniature tree prepared with meshes; HANDBENCH_MANO points at them for the module."""
    root = tmp_path_factory.mktemp("show")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HANDBENCH_MANO", str(write_mano(root / "mano")))
        prepare(InterHand26M("test", raw=GOLDEN), root / "data")
        yield root / "data"


def call(*arguments: str | Path) -> tuple[str, str]:
    """stdout and stderr; what the command raises is raised here."""
    result = CliRunner().invoke(group, [str(each) for each in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout, result.stderr


def show(data: Path, *options: str | Path) -> tuple[str, str]:
    return call("show", NAME, "--data-dir", data, *options)


def test_one_image_by_index_or_id_is_the_same_picture(data, tmp_path):
    split = open_split(NAME, data)
    stdout, stderr = show(data, "--index", 3, "--out", tmp_path / "a.png")
    show(data, "--id", split.columns["id"][3], "--out", tmp_path / "b.png")
    assert stdout == ""
    assert "a.png" in stderr
    picture = cv2.imread(str(tmp_path / "a.png"))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    # photograph twice its size, with the view from the side in a square beside it
    assert picture.shape == (668, 1024 + 668, 3)
    show(data, "--index", -15, "--out", tmp_path / "c.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "c.png").read_bytes()


def test_sheets_are_seeded(data, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        show(data, "--random", 6, "--seed", seed, "--out", tmp_path / f"{name}.png")
    a, b, c = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert a == b != c
    show(data, "--sheet", "--out", tmp_path / "all.png")
    assert cv2.imread(str(tmp_path / "all.png")).shape == (3 * 260 + 4, 6 * 260 + 4, 3)


def test_record_as_json_is_strict_and_complete(data, tmp_path):
    stdout, _ = show(data, "--index", 0, "--json", "--out", tmp_path / "a.png")
    record = json.loads(stdout)["records"][0]
    assert record["id"] == "interhand26m/test/Capture0/0266_dh_pray/400026/2017"
    assert np.shape(record["right"]["joints_m"]) == (21, 3)
    assert 0 < record["left"]["visibility/scene/hand"] <= 1
    assert "NaN" not in stdout


def test_obj_holds_both_hands_in_the_camera_frame(data, tmp_path):
    show(data, "--index", 0, "--obj", tmp_path / "hands.obj", "--out", tmp_path / "a.png")
    lines = (tmp_path / "hands.obj").read_text().splitlines()
    verts = np.array([line.split()[1:] for line in lines if line.startswith("v ")], float)
    faces = np.array([line.split()[1:] for line in lines if line.startswith("f ")], int)
    assert verts.shape == (2 * 778, 3)
    assert faces.min() == 1 and faces.max() == 2 * 778
    assert 0.8 < verts[:, 2].min() < verts[:, 2].max() < 1.2


def test_levels_list_every_hand_in_the_split_order(data, tmp_path):
    show(data, "--levels", tmp_path / "levels.csv")
    with open(tmp_path / "levels.csv") as file:
        rows = list(csv.DictReader(file))
    split = open_split(NAME, data)
    assert [row["id"] for row in rows] == split.columns["id"][split.hands.row].tolist()
    fingers = split.hand_column("visibility/scene/finger")
    for row, left, seen in zip(rows, split.hands.is_left, fingers):
        assert row["is_left"] == str(int(left))
        assert (row["dataset"], row["split"], row["rule"]) == ("interhand26m", "test", "released")
        flags = [row[f"{name}_released"] for name in ("thumb", "index", "middle", "ring", "little")]
        assert flags == ["" if flag == 255 else str(flag) for flag in seen]
        assert (row["level"] == "") == (row["visible_share"] == "")
    assert sum(row["level"] == "" for row in rows) == 2
    assert {"hand_paper", "thumb_paper"} <= rows[0].keys()


def test_summary_of_a_split_and_of_its_files(data):
    stdout, _ = show(data)
    assert "images: 18" in stdout
    stdout, _ = show(data, "--json")
    summary = json.loads(stdout)
    assert summary["hands"] == {"right": 12, "left": 12}
    assert sum(summary["hands at occlusion level (%)"].values()) == 24
    part = sorted((data / NAME).glob("part-*.h5"))[0]
    found = json.loads(call("show", part, "--json")[0])
    assert found["attributes"]["unit"] == "m"
    assert found["datasets"]["right/joints_m"].endswith("21, 3) float32 m")
    assert "dataset_version" in call("show", part)[0]


def test_other_files(tmp_path):
    (tmp_path / "result.json").write_text('{"metrics": {"mpjpe_mm": 5.5}, "n": 3}')
    assert "mpjpe_mm" in call("show", tmp_path / "result.json")[0]
    np.savez(tmp_path / "per_sample.npz", mpjpe_mm=np.zeros(7))
    assert "(7,) float64" in call("show", tmp_path / "per_sample.npz")[0]
    for name, content in (("a.h5", b"no"), ("a.npz", b"no"), ("a.json", b"{"), ("a.txt", b"x")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=rf"{name}.*(cut short|cannot be read)"):
            call("show", tmp_path / name)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        (("--index", "18"), HandbenchError, "has images 0 to 17, no 18"),
        (
            ("--id", "interhand26m/test/nothing"),
            HandbenchError,
            "has no image 'interhand26m/test/nothing'; its ids are like 'interhand26m/test/",
        ),
        (("--index", "0", "--sheet"), HandbenchError, "give one of"),
        (("--index", "0", "--rule", "papers"), UnknownName, "did you mean 'paper'"),
        (("--index", "0", "--out", "a.bmpx"), HandbenchError, "ends in .png"),
        (("--out", "a.png"), HandbenchError, "which image"),
        (("--random", "2", "--obj", "a.obj"), HandbenchError, "one image's hands"),
    ],
)
def test_bad_options_are_one_line_and_write_nothing(
    data, tmp_path, monkeypatch, options, kind, message
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=message) as caught:
        show(data, *options)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_without_its_hand_model_a_split_is_shown_without_mesh(data, tmp_path, monkeypatch):
    monkeypatch.delenv("HANDBENCH_MANO")
    show(data, "--index", 0, "--out", tmp_path / "a.png")
    assert cv2.imread(str(tmp_path / "a.png")).shape == (1024, 668, 3)
    with pytest.raises(DataError, match="set HANDBENCH_MANO"):
        show(data, "--index", 0, "--obj", tmp_path / "a.obj", "--out", tmp_path / "a.png")


def test_list_names_what_can_be_typed():
    assert "interhand26m" in call("list", "datasets")[0]
    assert "h2onet" in call("list")[0]
    metrics = {row["name"]: row for row in json.loads(call("list", "metrics", "--json")[0])}
    assert "lower is better" in metrics["mpjpe_mm"]["about"]
    protocols = json.loads(call("list", "protocols", "--json")[0])
    assert "handbench" in [row["name"] for row in protocols]
    assert COMMANDS["list"][0].endswith(":names")


def test_list_of_variants():
    pytest.importorskip("torch")
    names = [row["name"] for row in json.loads(call("list", "variants", "--json")[0])]
    assert "mean_pose/full" in names
