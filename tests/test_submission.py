"""Official submission files: written from predictions, read back, and scored the same."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from official_reference import scores_txt
from official_split import listed, predicted

from handbench.errors import DataError
from handbench.frames import HO3D
from handbench.official.hands import official_hands
from handbench.official.run import Options, evaluate_official
from handbench.official.submission import export, validate
from handbench.rules import LEVELS
from handbench.scoring.truth import of_split
from handbench.showing.occlusion_list import occlusion_list

SUBSET = Options(subset=True)


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    return listed(tmp_path_factory.mktemp("official"))


@pytest.fixture
def places(monkeypatch, split):
    monkeypatch.setenv("HANDBENCH_DATA", str(split.data_dir))


def by_line(split, predictions):
    """Camera-frame joints and vertices, predicted and true, in the list's order, step by step."""
    truth = of_split(split)
    joints, _, wrist = truth.joints_m()
    verts = truth.verts_m(slice(None)) + wrist[:, None]
    joints = joints + wrist[:, None]
    hand = np.argsort(truth.per_row("official_index"))
    row = [predictions.id.tolist().index(name) for name in truth.id[hand]]
    root = wrist[hand] if predictions.root_m is None else predictions.root_m[row].astype(float)
    pred = predictions.joints_m[row].astype(float) + root[:, None]
    pred_verts = predictions.verts_m[row].astype(float) + root[:, None]
    return pred, joints[hand], pred_verts, verts[hand]


def in_ho3d(pred, target, verts, true_verts):
    axes, order = np.array([1, -1, -1]), np.argsort(HO3D)
    return pred[:, order] * axes, target[:, order] * axes, verts * axes, true_verts * axes


@pytest.mark.parametrize(("name", "rooted"), [("pred.json", True), ("pred.zip", False)])
def test_ho3d_read_back_scores_the_same(split, places, tmp_path, name, rooted):
    predictions = predicted(split, rooted)
    predictions.write(tmp_path / "predictions.h5")
    done = export("ho3d", tmp_path / "predictions.h5", split, tmp_path / name, subset=False)
    assert (done.hands, done.root_source) == (12, "predicted" if rooted else "ground_truth")
    assert validate(tmp_path / name, "ho3d") == []
    expected, _ = scores_txt(*in_ho3d(*by_line(split, predictions)))
    for number, path in enumerate((tmp_path / name, tmp_path / "predictions.h5")):
        out = tmp_path / f"out{number}"
        found = evaluate_official(path, "listed/evaluation", "ho3d_v2", out, SUBSET)
        assert (out / "scores.txt").read_text() == expected
        assert list(found.per_sample["id"]) == list(of_split(split).id[::-1])
        assert len(np.unique(found.per_sample["recording"])) == 3
    source = found.protocol["evaluation"]["root_source"]
    assert ("predicted" if rooted else "true") in source
    # the same again with the truth as official files
    hands = official_hands(split, "ho3d")
    for file, points in (("xyz", hands.joints()), ("verts", hands.verts())):
        (tmp_path / f"evaluation_{file}.json").write_text(json.dumps(points.read(0, 12).tolist()))
    evaluate_official(tmp_path / name, tmp_path, "ho3d_v2", tmp_path / "out", SUBSET)
    assert (tmp_path / "out" / "scores.txt").read_text() == expected


def test_ho3d_files_hold_what_the_format_says(split, tmp_path):
    predictions = predicted(split)
    predictions.write(tmp_path / "p.h5")
    export("ho3d", tmp_path / "p.h5", split, tmp_path / "pred.json")
    joints, verts = json.loads((tmp_path / "pred.json").read_text())
    assert np.shape(joints) == (12, 21, 3) and np.shape(verts) == (12, 778, 3)
    pred, _, pred_verts, _ = by_line(split, predictions)
    # line 3: the index finger's tip is HO-3D's joint 17, our joint 8; y and z change sign
    assert joints[3][17] == (pred[3, 8] * [1, -1, -1]).tolist()
    assert verts[3][700] == (pred_verts[3, 700] * [1, -1, -1]).tolist()


def test_freihand_and_dexycb_read_back(split, places, tmp_path):
    predictions = predicted(split)
    predictions.write(tmp_path / "p.h5")
    export("freihand", tmp_path / "p.h5", split, tmp_path / "pred.json")
    assert validate(tmp_path / "pred.json", "freihand") == []
    pred, target, verts, _ = by_line(split, predictions)
    joints, vertices = json.loads((tmp_path / "pred.json").read_text())
    assert np.array_equal(joints, pred) and np.array_equal(vertices, verts)
    export("dexycb", tmp_path / "p.h5", split, tmp_path / "r.txt")
    assert validate(tmp_path / "r.txt", "dexycb") == []
    errors = np.linalg.norm(pred - target, axis=-1) * 1000
    for path in (tmp_path / "r.txt", tmp_path / "p.h5"):
        out = tmp_path / "out"
        found = evaluate_official(path, "listed/evaluation", "dexycb_hpe", out, Options())
        assert found.metrics["raw_mpjpe_mm"].value == pytest.approx(errors.mean(), abs=1e-4)
    # a wrist put on the true one leaves nothing to measure in the camera frame
    predicted(split, rooted=False).write(tmp_path / "q.h5")
    found = evaluate_official(
        tmp_path / "q.h5", "listed/evaluation", "dexycb_hpe", tmp_path / "o", Options()
    )
    assert "raw_mpjpe_mm" not in found.metrics
    assert found.metrics["mpjpe_mm"].n == 12


def test_lines_as_ids_against_official_files(split, tmp_path):
    predictions = predicted(split, rooted=False)
    hands = official_hands(split, "ho3d")
    for file, points in (("xyz", hands.joints()), ("verts", hands.verts())):
        (tmp_path / f"evaluation_{file}.json").write_text(json.dumps(points.read(0, 12).tolist()))
    line = dict(zip(hands.truth.id[hands.hand].tolist(), hands.number.tolist()))
    numbers = np.array([str(line[name]) for name in predictions.id.tolist()])
    listing = [f"ABC1/{k:04d}" for k in range(12)]
    expected, _ = scores_txt(*in_ho3d(*by_line(split, predictions)))
    for names in (numbers, np.array([listing[int(k)] for k in numbers])):
        given = predictions.__class__(
            names, predictions.is_left, predictions.joints_m, predictions.verts_m
        )
        given.write(tmp_path / "p.h5")
        (tmp_path / "evaluation.txt").write_text("\n".join(listing))
        evaluate_official(tmp_path / "p.h5", tmp_path, "ho3d_v2", tmp_path / "out", SUBSET)
        assert (tmp_path / "out" / "scores.txt").read_text() == expected
    predictions.write(tmp_path / "p.h5")
    with pytest.raises(DataError, match="name no line of the official list"):
        evaluate_official(tmp_path / "p.h5", tmp_path, "ho3d_v2", tmp_path / "out", SUBSET)


def test_missing_lines_are_refused_unless_asked_for(split, places, tmp_path):
    whole = predicted(split)
    kept = whole.id != of_split(split).id[-1]  # the last row is line 0
    part = whole.__class__(
        whole.id[kept], whole.is_left[kept], whole.joints_m[kept], whole.verts_m[kept]
    )
    part.write(tmp_path / "p.h5")
    with pytest.raises(DataError, match="11 of the 12 .* first missing is official index 0"):
        export("ho3d", tmp_path / "p.h5", split, tmp_path / "pred.json")
    assert not list(tmp_path.glob("*pred.json*"))
    assert export("dexycb", tmp_path / "p.h5", split, tmp_path / "r.txt", subset=True).hands == 11
    assert (tmp_path / "r.txt").read_text().startswith("1,")
    with pytest.raises(DataError, match="first is index 0"):
        evaluate_official(
            tmp_path / "r.txt", "listed/evaluation", "dexycb_hpe", tmp_path / "o", Options()
        )
    found = evaluate_official(
        tmp_path / "r.txt", "listed/evaluation", "dexycb_hpe", tmp_path / "o", SUBSET
    )
    assert found.metrics["mpjpe_mm"].n == 11


def test_a_broken_value_stops_the_writing(split, tmp_path):
    predictions = predicted(split)
    predictions.verts_m[5, 7, 1] = np.nan
    predictions.write(tmp_path / "p.h5")
    for out in ("pred.json", "pred.zip"):
        with pytest.raises(DataError, match="not finite"):
            export("ho3d", tmp_path / "p.h5", split, tmp_path / out)
    assert [path.name for path in tmp_path.iterdir()] == ["p.h5"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda j, v: (j * 1000, v * 1000), "check the unit"),
        (lambda j, v: (j * [1, -1, -1], v * [1, -1, -1]), "OpenCV and OpenGL"),
        (lambda j, v: (j[:, HO3D], v), "check the joint order"),
        (lambda j, v: (j[:, :20], v), "20 joints a sample"),
        (lambda j, v: (j, v[:5]), "12 joint samples but 5 mesh samples"),
        (lambda j, v: (j - j[:, :1], v - j[:, :1]), "from the camera"),
        (lambda j, v: (np.where(j == j[4, 2, 1], np.nan, j), v), "joints of sample 4"),
    ],
)
def test_what_validation_finds(split, tmp_path, change, said):
    joints, _, verts, _ = in_ho3d(*by_line(split, predicted(split, noise_m=0.002)))
    joints, verts = change(joints, verts)
    (tmp_path / "pred.json").write_text(json.dumps([joints.tolist(), verts.tolist()]))
    found = validate(tmp_path / "pred.json", "ho3d")
    assert len(found) == 1 and said in found[0]


def test_scoring_warns_of_hands_at_the_camera_as_the_check_does(
    split, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("HANDBENCH_DATA", str(split.data_dir))
    joints, _, verts, _ = in_ho3d(*by_line(split, predicted(split, noise_m=0.002)))
    for name, shift in (("away", 0.0), ("relative", joints[:, :1])):
        given = [(points - shift).tolist() for points in (joints, verts)]
        (tmp_path / f"{name}.json").write_text(json.dumps(given))
        evaluate_official(
            *(tmp_path / f"{name}.json", "listed/evaluation", "ho3d_v2", tmp_path / name), SUBSET
        )
        (found,) = validate(tmp_path / f"{name}.json", "ho3d") or [None]
        told = capsys.readouterr().err
        assert (f"warning: {found}. Scores" in told) == (name == "relative")


def test_the_command_writes_and_checks(split, tmp_path):
    predicted(split).write(tmp_path / "p.h5")
    out = tmp_path / "pred.zip"
    base = [sys.executable, "-P", "-m", "handbench", "export", "ho3d"]
    data = {"HANDBENCH_DATA": str(split.data_dir), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}

    def call(*more):
        command = [*base, *map(str, more)]
        return subprocess.run(command, env=data, capture_output=True, text=True, check=False)

    done = call(tmp_path / "p.h5", "--data", "listed/evaluation", "--out", out)
    assert (done.returncode, done.stdout.strip()) == (0, str(out)), done.stderr
    assert "12 hands, each placed at the predicted wrist" in done.stderr
    short = call(out, "--check", "--data", "ho3d_v2/evaluation")
    assert short.returncode == 1 and "12 samples, not 11,524" in short.stderr


def test_several_processes_score_the_same(split, places, tmp_path, monkeypatch):
    predictions = predicted(split)
    predictions.write(tmp_path / "p.h5")
    export("ho3d", tmp_path / "p.h5", split, tmp_path / "pred.json")
    expected, _ = scores_txt(*in_ho3d(*by_line(split, predictions)))
    monkeypatch.setattr("handbench.official.meshes.SLICE", 5)
    monkeypatch.setattr("handbench.official.meshes.usable_cores", lambda: 2)
    for name in ("p.h5", "pred.json"):
        evaluate_official(tmp_path / name, "listed/evaluation", "ho3d_v2", tmp_path / "o", SUBSET)
        assert (tmp_path / "o" / "scores.txt").read_text() == expected


def test_levels_of_official_files_come_from_a_csv_or_a_split(split, places, tmp_path):
    predictions = predicted(split)
    predictions.write(tmp_path / "p.h5")
    hands = official_hands(split, "ho3d")
    for file, points in (("xyz", hands.joints()), ("verts", hands.verts())):
        (tmp_path / f"evaluation_{file}.json").write_text(json.dumps(points.read(0, 12).tolist()))
    export("ho3d", tmp_path / "p.h5", split, tmp_path / "pred.json")
    occlusion_list(split).to_csv(tmp_path / "levels.csv", index=False)
    wanted = hands.who()
    assert len(np.unique(wanted["level"])) > 1 and (wanted["finger_visible"] <= 1).all()
    for source in (tmp_path / "levels.csv", Path("listed/evaluation")):
        asked = Options(subset=True, levels=source)
        found = evaluate_official(
            tmp_path / "pred.json", tmp_path, "ho3d_v2", tmp_path / "o", asked
        )
        for name in ("level", "finger_visible"):
            assert np.array_equal(found.per_sample[name], wanted[name])
        counts = [found.levels[name]["mpjpe_mm"].n for name in LEVELS]
        assert counts == [(wanted["level"] == k).sum() for k in range(4)]
    table = occlusion_list(split)
    table.assign(official_index=table["official_index"] + 12).to_csv(tmp_path / "odd.csv")
    odd = Options(subset=True, levels=tmp_path / "odd.csv")
    with pytest.raises(DataError, match="no official_index"):
        evaluate_official(tmp_path / "pred.json", tmp_path, "ho3d_v2", tmp_path / "o", odd)
