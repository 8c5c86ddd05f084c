"""Dumps of other projects: the truth written their way scores nothing; bad dumps are named."""

import json

import dumps
import numpy as np
import pytest
from official_split import listed

from handbench.errors import DataError, UnknownName
from handbench.evaluate import evaluate_anybody
from handbench.official.adapters import ADAPTERS, adapt, find_images
from handbench.official.hands import official_hands


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    return listed(tmp_path_factory.mktemp("adapters"))


@pytest.fixture
def places(monkeypatch, split):
    monkeypatch.setenv("HANDBENCH_DATA", str(split.data_dir))


@pytest.mark.parametrize("ending", ["npz", "pkl", "json"])
@pytest.mark.parametrize("adapter", sorted(dumps.KEYS))
def test_truth_in_a_dump_scores_nothing(split, places, tmp_path, adapter, ending):
    path = dumps.write(tmp_path / f"dump.{ending}", dumps.records(split, adapter))
    found = adapt(path, adapter, split)
    assert 0 < found.is_left.sum() < len(found) == 12
    truth = dict(zip(split.columns["id"].tolist(), range(12)))
    row = [truth[name] for name in found.id.tolist()]
    joints = split.hand_column("joints_m")[row]
    assert np.abs(found.joints_m - (joints - joints[:, :1])).max() < 1e-6


def test_the_whole_way_to_a_result(split, places, tmp_path):
    path = dumps.write(tmp_path / "dump.npz", dumps.records(split, "hamer"))
    out = tmp_path / "out"
    found = evaluate_anybody(path, "listed/evaluation", "handbench", out, adapter="hamer")
    assert found.metrics["mpjpe_mm"].value < 1e-3 and found.metrics["mpvpe_mm"].value < 1e-3
    assert found.provenance["predictions"]["adapter"] == "hamer"
    assert {"predictions.h5", "result.json", "report.html"} <= {p.name for p in out.iterdir()}
    # once more over its own file, but never over anybody else's
    evaluate_anybody(path, "listed/evaluation", "handbench", out, adapter="hamer")
    adapted = adapt(path, "hamer", split)
    adapted.__class__(adapted.id, adapted.is_left, adapted.joints_m).write(out / "predictions.h5")
    with pytest.raises(Exception, match="would be overwritten"):
        evaluate_anybody(path, "listed/evaluation", "handbench", out, adapter="hamer")


def test_ho3d_convention_in_a_dump(split, tmp_path):
    hands = official_hands(split, "ho3d")
    columns = {
        "id": hands.number,
        "xyz": hands.joints().read(0, 12),
        "verts": hands.verts().read(0, 12),
    }
    np.savez(tmp_path / "dump.npz", **columns)
    found = adapt(tmp_path / "dump.npz", "ho3d_json", split)
    row = [split.columns["id"].tolist().index(name) for name in found.id]
    assert np.allclose(found.root_m, split.hand_column("joints_m")[row, 0], atol=1e-6)


def test_sides_come_from_the_split_where_the_dump_has_none(split, tmp_path):
    path = dumps.write(tmp_path / "d.json", dumps.records(split, "mobrecon", sides=False))
    with_sides = dumps.write(tmp_path / "s.json", dumps.records(split, "mobrecon"))
    one, other = adapt(path, "mobrecon", split), adapt(with_sides, "mobrecon", split)
    assert np.array_equal(one.is_left, other.is_left)
    assert np.array_equal(one.joints_m, other.joints_m)


def test_names_and_sides_of_other_types(split, tmp_path):
    """Bytes and words; as many sides as hands."""
    path = dumps.write(tmp_path / "d.npz", dumps.records(split, "hamer"))
    with np.load(path) as given:
        columns = dict(given)
    side = np.where(columns["right"] == 1, "Right", "Left")
    columns |= {"image_name": columns["image_name"].astype("S"), "right": side}
    np.savez(tmp_path / "words.npz", **columns)
    one, other = adapt(path, "hamer", split), adapt(tmp_path / "words.npz", "hamer", split)
    assert np.array_equal(one.id, other.id)
    assert np.array_equal(one.joints_m, other.joints_m)
    np.savez(tmp_path / "short.npz", **columns | {"right": side[1:]})
    with pytest.raises(DataError, match="11 sides in right for 12 hands"):
        adapt(tmp_path / "short.npz", "hamer", split)


def test_images_are_found_by_id_path_ending_and_official_index(split, tmp_path):
    names = [
        "listed/evaluation/s001/cam/2",
        "s001/rgb/0002.png",
        "./s001/rgb/0002.jpg",
        "s001/cam/2",
        str(11 - 6),
    ]
    assert find_images(names, split, tmp_path).tolist() == [6] * 5
    for name, said in (("rgb/0002.png", "fits several"), ("s9/rgb/1.png", "unknown")):
        with pytest.raises(DataError, match=said):
            find_images([name], split, tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r.pop("joints3d"), "record 0: all records need the same names"),
        (lambda r: r.update(joints3d=np.zeros((20, 3)).tolist()), "one shape"),
        (lambda r: r.update(joints3d="x"), "no array of numbers"),
        (lambda r: r.update(right="up"), "expected left or right"),
        (lambda r: r.update(right=[1, 0]), "several values for one hand"),
    ],
)
def test_bad_dumps_are_named(split, tmp_path, change, said):
    path = dumps.write(tmp_path / "d.json", dumps.records(split, "handoccnet"))
    records = json.loads(path.read_text())
    change(records[list(records)[3]])
    path.write_text(json.dumps(records))
    with pytest.raises(DataError, match=said):
        adapt(path, "handoccnet", split)


def test_other_files_are_refused(split, tmp_path):
    (tmp_path / "d.txt").write_text("x")
    (tmp_path / "d.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    (tmp_path / "e.json").write_text("[1, 2]")
    np.savez(tmp_path / "names.npz", joints3d=np.zeros((2, 21, 3)))
    for name, said in (
        ("d.txt", "a dump is"),
        ("d.pkl", "os.system|system"),
        ("e.json", "expected arrays by name"),
        ("names.npz", "no image names"),
        ("none.npz", "does not exist"),
    ):
        with pytest.raises(DataError, match=said):
            adapt(tmp_path / name, "handoccnet", split)
    with pytest.raises(UnknownName, match="handoccnet"):
        adapt(tmp_path / "d.txt", "handocnet", split)


def test_every_adapter_is_documented():
    from conftest import ROOT

    text = (ROOT / "docs" / "adapters.md").read_text()
    for adapter in ADAPTERS.values():
        assert f"`{adapter.name}`" in text
        for key in (*adapter.joints, *adapter.verts):
            assert f"`{key}`" in text, key
