"""predictions.h5 as other tools write it: what is accepted, and what is refused in one line."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from official_split import listed, predicted

from handbench import predictions
from handbench.errors import DataError
from handbench.official.run import Options, evaluate_official
from handbench.protocol import get
from handbench.scoring.score import score
from handbench.scoring.truth import of_split


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    return listed(tmp_path_factory.mktemp("foreign"))


@pytest.fixture(scope="module")
def plain(split, tmp_path_factory):
    """Written by h5py alone: float64, fixed-length names, images' arrays, further datasets."""
    path = tmp_path_factory.mktemp("plain") / "plain.h5"
    given, rng = predicted(split), np.random.default_rng(1)
    with h5py.File(path, "w") as file:
        file["id"] = given.id.astype("S")
        file["is_left"] = given.is_left
        for name in ("joints_m", "verts_m", "root_m"):
            file[name] = getattr(given, name).astype(np.float64)
        file["visibility"] = rng.random((len(given), 5))
        file["image_id"] = given.id.astype("S")
        file["left_minus_right_m"] = rng.random((len(given), 3))
        file["of/their/own"] = np.arange(3)
    return path


def test_what_names_no_method_is_called_by_its_file_or_folder():
    assert predictions.called(Path("x/mine.h5")) == "mine"
    assert predictions.called(Path("mine/predictions.h5")) == "mine"
    assert predictions.called(Path("mine/pred.zip")) == "mine"


def changed(plain, tmp_path, **datasets):
    """A copy with other datasets; None takes one away."""
    path = tmp_path / "changed.h5"
    shutil.copy(plain, path)
    with h5py.File(path, "r+") as file:
        for name, of in datasets.items():
            old = file.pop(name, None)
            old = None if old is None else old[()]
            if of is not None:
                file[name] = of(old)
    return path


def test_a_file_of_another_tool_scores_and_its_attributes_fit_into_json(split, plain, tmp_path):
    path = changed(plain, tmp_path)
    with h5py.File(path, "r+") as file:
        file.attrs["method"] = np.bytes_(b"theirs")
        file.attrs["loss"], file.attrs["losses"] = float("nan"), np.arange(3.0)
    found = score(predictions.read(path), of_split(split), get("handbench"))
    assert found.provenance["predictions"]["method"] == "theirs"
    assert "not stated" in found.protocol["evaluation"]["root_source"]
    found.write(tmp_path / "out")
    ours = score(predicted(split), of_split(split), get("handbench"))
    for name in ("mpjpe_mm", "raw_mpjpe_mm", "pa_mpvpe_mm"):
        assert found.metrics[name].value == ours.metrics[name].value


@pytest.mark.parametrize(
    ("name", "of", "said"),
    [
        ("joints_m", lambda x: x.reshape(-1, 63), r"joints_m is \(12, 63\), expected"),
        ("joints_m", lambda x: x.astype("S8"), "joints_m must be a dataset of numbers"),
        ("joints_m", lambda x: h5py.SoftLink("/of"), "joints_m must be a dataset of numbers"),
        ("is_left", lambda x: x + 1, "other values than 0"),
        ("is_left", lambda x: np.where(x, "left", "right").astype("S"), "is_left must be"),
        ("id", lambda x: np.arange(12.0), "id must be a list of texts"),
        ("visibility", lambda x: 8 * x - 4, "probabilities"),
        ("left_minus_right_m", lambda x: x[:, :2], "left_minus_right_m is"),
        ("left_minus_right_m", lambda x: x[:-1], "left_minus_right_m is"),
        ("image_id", lambda x: np.append(x[:-1], x[:1]), "image twice"),
        ("image_id", None, "image_id is needed"),
    ],
)
def test_what_is_no_prediction_is_named(plain, tmp_path, name, of, said):
    with pytest.raises(DataError, match=said):
        predictions.read(changed(plain, tmp_path, **{name: of}))


def test_a_root_that_is_missing_for_some_is_told(split, plain, tmp_path, capsys, monkeypatch):
    """Raw errors of the others would be a mean over other hands than everybody else's."""
    monkeypatch.setenv("HANDBENCH_DATA", str(split.data_dir))

    def lacking(root_m):
        root_m[3] = np.nan
        return root_m

    path = changed(plain, tmp_path, root_m=lacking)
    given = predictions.read(path)
    found = score(given, of_split(split), get("handbench"))
    assert "raw_mpjpe_mm" not in found.metrics
    assert "1 of 12 hands have no root_m" in capsys.readouterr().err
    official = "listed/evaluation", "ho3d_v2", tmp_path / "out"
    evaluate_official(path, *official, Options(subset=True))
    assert "put on the true ones" in capsys.readouterr().err
    # a hand that is broken altogether does not take the others' roots away
    given.joints_m[3] = np.nan
    given.write(path)
    found = score(given, of_split(split), get("handbench"), "worst")
    assert found.per_sample["raw_mpjpe_mm"].max() == 1000
    assert found.per_sample["rotation_deg"].max() == 180
    placed = evaluate_official(path, *official, Options(subset=True, on_nan="drop"))
    assert "predicted wrist" in placed.protocol["evaluation"]["root_source"]


def test_sides_turned_round_are_named(split, plain, tmp_path):
    turned = predictions.read(changed(plain, tmp_path, is_left=np.logical_not))
    with pytest.raises(DataError, match="turned round"):
        score(turned, of_split(split), get("handbench"))


def test_lines_as_whole_numbers(split, plain, tmp_path, monkeypatch):
    monkeypatch.setenv("HANDBENCH_DATA", str(split.data_dir))
    truth = np.random.default_rng(0).normal(size=(12, 21, 3)).astype(np.float32)
    np.savez(tmp_path / "gt.npz", joint_3d=truth)
    where = str(tmp_path / "gt.npz"), "dexycb_hpe", tmp_path / "out", Options()
    found = evaluate_official(changed(plain, tmp_path, id=lambda x: np.arange(12)), *where)
    assert found.metrics["mpjpe_mm"].n == 12
    for ids, said in (([*range(11), 0], "twice"), ([*range(-1, 11)], "index -1")):
        path = changed(plain, tmp_path, id=lambda x, ids=ids: np.array(ids))
        with pytest.raises(DataError, match=said):
            evaluate_official(path, *where)
