"""Scoring files against a prepared split: perfect truth, missing and broken predictions, tables."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from latex_check import check_document, check_fragment

from handbench import evaluate, predictions, result
from handbench.cli import group
from handbench.errors import DataError, HandbenchError
from handbench.hand import default_hand
from handbench.predictions import Predictions
from handbench.protocol import get
from handbench.scoring.metrics import METRICS
from handbench.scoring.score import score
from handbench.scoring.truth import of_split
from handbench.showing import plots, tables
from handbench.showing.compare import differences, lines
from handbench.showing.formats import FORMATS
from handbench.store import open_split


@pytest.fixture
def truth(small_data, monkeypatch):
    monkeypatch.setenv("HANDBENCH_DATA", str(small_data))
    return of_split(open_split("small/test"))


def from_truth(truth, noise_m=0.0, seed=0, **attributes) -> Predictions:
    joints, _, wrist = truth.joints_m()
    rng = np.random.default_rng(seed)
    joints = joints + rng.normal(scale=noise_m, size=joints.shape) if noise_m else joints
    return Predictions(
        id=truth.id,
        is_left=truth.is_left,
        joints_m=joints.astype(np.float32),
        verts_m=truth.verts_m(slice(None)).astype(np.float32),
        root_m=wrist.astype(np.float32),
        attributes={"root_source": "predicted", "method": "oracle", **attributes},
    )


def test_truth_as_prediction_is_perfect(truth):
    found = score(from_truth(truth), truth, get("handbench"))
    assert {"mpjpe_mm", "pa_mpvpe_mm", "raw_mpjpe_mm", "f5", "auc50_verts"} <= set(found.metrics)
    assert {"mpjpe_mm_p95", "rotation_deg_over_45", "jstar_mpjpe_mm"} <= set(found.metrics)
    for name, value in found.metrics.items():
        lower = name not in METRICS or METRICS[name].better == "lower"
        if name != "jitter_mm":  # the truth itself shakes here
            assert value.value == pytest.approx(0.0 if lower else 1.0, abs=0.01), name
        assert value.n == len(truth) or name in ("accel_mm", "jitter_mm")


def test_star_joints_are_taken_from_both_meshes_by_one_regressor(truth):
    """A method's own joints may be defined otherwise: J* looks at its mesh alone."""
    given = from_truth(truth)
    bent = replace(given, joints_m=given.joints_m + np.float32(0.01) * (np.arange(21) > 0)[:, None])
    found = score(bent, truth, get("handbench")).metrics
    assert found["mpjpe_mm"].value == pytest.approx(20 / 21 * 10 * np.sqrt(3), rel=1e-3)
    assert found["jstar_mpjpe_mm"].value == pytest.approx(0, abs=1e-3)
    # at rest the regressor gives the hand model's own joints, of either side
    for side, left in (("right", False), ("left", True)):
        verts, joints = default_hand(side).pose(np.zeros((1, 48)), np.zeros((1, 10)))
        row = np.flatnonzero(truth.is_left == left)[:1]
        expected = joints - joints[:, :1]
        assert truth.star_joints_m(verts, row) == pytest.approx(expected, abs=1e-6)


def test_hands_without_labels_have_no_hidden_joints(truth, monkeypatch):
    columns = dict(truth.split.columns)
    source = np.zeros(len(truth.split), np.uint8)
    source[:4] = 3
    for side in ("right", "left"):
        columns[f"{side}/visibility/source"] = source
        columns[f"{side}/visibility/scene/vertex"] = np.full((len(source), 98), 255, np.uint8)
    monkeypatch.setattr(truth.split, "columns", columns)
    seen = truth.joint_visible()
    labelled = np.isin(truth.split.hands.row, np.arange(4))
    assert (seen[labelled] == 1).all()
    assert (seen[~labelled] == 255).all()
    assert (truth.vert_visible(slice(None))[~labelled] == 255).all()


def test_left_and_right_are_told_apart(truth):
    """The same joints under the other side's name must not be taken for a match."""
    given = from_truth(truth)
    with pytest.raises(DataError, match="first missing is the"):
        score(replace(given, is_left=~given.is_left), truth, get("handbench"))


def test_order_does_not_matter_and_further_rows_are_ignored(truth):
    given = from_truth(truth, noise_m=0.01)
    order = np.random.default_rng(0).permutation(len(given))
    shuffled = replace(
        given,
        **{
            name: getattr(given, name)[order]
            for name in ("id", "is_left", "joints_m", "verts_m", "root_m")
        },
    )
    a = score(given, truth, get("handbench"))
    b = score(shuffled, truth, get("handbench"))
    assert a.as_json()["metrics"] == b.as_json()["metrics"]


def test_cut_short_predictions_are_named(truth):
    given = from_truth(truth)
    part = Predictions(given.id[:-3], given.is_left[:-3], given.joints_m[:-3])
    with pytest.raises(DataError, match=rf"{len(truth) - 3} of the {len(truth)} hands"):
        score(part, truth, get("handbench"))


def test_a_hand_predicted_twice_is_refused(truth):
    given = from_truth(truth)
    both = [np.concatenate([x, x[:1]]) for x in (given.id, given.is_left, given.joints_m)]
    with pytest.raises(DataError, match="predicted twice"):
        score(Predictions(*both), truth, get("handbench"))


def test_non_finite_predictions_by_policy(truth):
    given = from_truth(truth, noise_m=0.01)
    clean = score(given, truth, get("handbench"))
    joints = given.joints_m.copy()
    joints[4, 7, 1] = np.nan
    broken = replace(given, joints_m=joints)
    with pytest.raises(DataError, match=truth.id[4]):
        score(broken, truth, get("handbench"))
    dropped = score(broken, truth, get("handbench"), "drop")
    assert dropped.metrics["mpjpe_mm"].n == len(truth) - 1
    worst = score(broken, truth, get("handbench"), "worst")
    rest = np.delete(clean.per_sample["mpjpe_mm"], 4)
    assert dropped.metrics["mpjpe_mm"].value == pytest.approx(rest.mean())
    assert worst.per_sample["mpjpe_mm"][4] == 1000.0
    assert worst.per_sample["auc50_joints"][4] == 0.0
    assert worst.per_sample["rotation_deg"][4] == 180.0
    assert np.isnan(worst.per_sample["accel_mm"][3])
    assert worst.provenance["non_finite"] == 1


def test_files_round_trip_and_are_scored_once(truth, tmp_path):
    given = from_truth(truth, noise_m=0.01)
    given.write(tmp_path / "predictions.h5")
    back = predictions.read(tmp_path / "predictions.h5")
    assert np.array_equal(back.joints_m, given.joints_m)
    assert list(back.id) == list(given.id)
    assert back.attributes["root_source"] == "predicted"
    split = open_split("small/test")
    first = evaluate.evaluate_file(tmp_path / "predictions.h5", split, "handbench", tmp_path)
    stamp = (tmp_path / "result.json").stat().st_mtime_ns
    again = evaluate.evaluate_file(tmp_path / "predictions.h5", split, "handbench", tmp_path)
    assert (tmp_path / "result.json").stat().st_mtime_ns == stamp
    assert again.as_json() == first.as_json()
    json.loads((tmp_path / "result.json").read_text())
    from_truth(truth, noise_m=0.02).write(tmp_path / "predictions.h5")
    changed = evaluate.evaluate_file(tmp_path / "predictions.h5", split, "handbench", tmp_path)
    assert changed.metrics["mpjpe_mm"].value > 1.5 * first.metrics["mpjpe_mm"].value


def test_results_cut_short_get_one_line(truth, tmp_path):
    score(from_truth(truth), truth, get("handbench")).write(tmp_path)
    values, numbers = tmp_path / "per_sample.npz", tmp_path / "result.json"
    whole = values.read_bytes()
    for content in (whole[:300], b"", b"text"):
        values.write_bytes(content)
        with pytest.raises(DataError, match="per_sample.npz cannot be read as .npz.*score again"):
            result.read(tmp_path)
    values.write_bytes(whole)
    for content in ('{"format": "handbench-result@1"}', "[]", "{"):
        numbers.write_text(content)
        with pytest.raises(DataError, match="result.json"):
            result.read(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "foreign", "no joints", "missing"])
def test_unreadable_files_get_one_line(truth, tmp_path, damage):
    path = tmp_path / "predictions.h5"
    from_truth(truth).write(path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    elif damage == "foreign":
        path.write_text("not this\n" * 1000)
    elif damage == "no joints":
        import h5py

        with h5py.File(path, "r+") as file:
            del file["joints_m"]
    else:
        path.unlink()
    with pytest.raises(DataError, match="predictions.h5"):
        predictions.read(path)


def test_command_line_scores_a_file(truth, tmp_path):
    from_truth(truth, noise_m=0.01).write(tmp_path / "p.h5")
    arguments = ["eval", "--predictions", str(tmp_path / "p.h5"), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(
        group, [*arguments, "--ground-truth", "small/test", "--json"], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    shown = json.loads(done.stdout)[0]["metrics"]["mpjpe_mm"]
    kept = result.read(tmp_path / "out").metrics["mpjpe_mm"]
    assert shown["value"] == kept.value
    # 20 joints and the wrist they are relative to: the mean length of a normal vector in 3D
    expected = 20 / 21 * 10 * np.sqrt(2) * np.sqrt(8 / np.pi)
    assert kept.value == pytest.approx(expected, rel=0.05)


def test_tables_and_figures_of_two_results(truth, tmp_path):
    results = [
        score(from_truth(truth, noise, method=name), truth, get("handbench"))
        for name, noise in (("near_&_50%", 0.005), ("far", 0.02))
    ]
    made = tables.all_of(results)
    written = tables.write(made, tmp_path, [*FORMATS])
    for path in written:
        if path.name != "tables.tex" and path.suffix == ".tex":
            check_fragment(path.read_text())
    check_document((tmp_path / "tables.tex").read_text())
    with open(tmp_path / "small_test_unknown_comparison.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["method"] for row in rows] == ["near_&_50%", "far"]
    assert float(rows[0]["mpjpe_mm"]) == results[0].metrics["mpjpe_mm"].value
    latex = (tmp_path / "small_test_unknown_comparison.tex").read_text()
    assert r"near\_\&\_50\%" in latex
    assert latex.count(r"\textbf{") == latex.count(r"\underline{") > 0
    assert "<b>" in (tmp_path / "small_test_unknown_comparison.html").read_text()
    for path in plots.all_of(results, tmp_path / "plots"):
        assert path.stat().st_size > 200
    again = (tmp_path / "plots" / "small_test_unknown_pck.pdf").read_bytes()
    plots.all_of(results, tmp_path / "plots")
    assert (tmp_path / "plots" / "small_test_unknown_pck.pdf").read_bytes() == again


def test_unequal_protocols_do_not_meet_unless_footnoted(truth):
    a = score(from_truth(truth, box_source="gt_joints x 1.5"), truth, get("handbench"))
    b = score(from_truth(truth, 0.01, box_source="visible_mask x 1.5"), truth, get("handbench"))
    with pytest.raises(HandbenchError, match="boxes at test time"):
        tables.comparison([a, b])
    assert any("boxes" in note for note in tables.comparison([a, b], mixed=True).notes)
    with pytest.raises(HandbenchError, match="not comparable"):
        differences(a, b)


def test_compare_finds_the_better_one(truth):
    near = score(from_truth(truth, 0.005, method="near"), truth, get("handbench"))
    far = score(from_truth(truth, 0.02, seed=1, method="far"), truth, get("handbench"))
    rows = {row["metric"]: row for row in differences(near, far) if row["level"] == "all"}
    assert rows["mpjpe_mm"]["value"] < -10
    assert rows["mpjpe_mm"]["low"] is None or rows["mpjpe_mm"]["high"] < 0
    row = {"metric": "mpjpe_mm", "level": "all", "value": -2.0, "low": -3.0, "high": -1.0}
    row |= {"p": 0.01, "p_holm": 0.02, "n": 9, "clusters": 4}
    area = {**row, "metric": "auc50_joints", "value": -0.1}
    even = {**row, "p_holm": 0.2}
    told = lines([row, area, even], near, far)
    verdicts = [line.split("]  ")[1].split(",")[0] for line in told]
    assert verdicts == ["near better", "far better", "no clear difference"]


def test_a_hand_of_which_only_the_wrist_is_known_has_no_joint_error(truth, monkeypatch):
    exact, whole = from_truth(truth), truth.split.hand_column

    def wrists_alone(self, name):  # as in evaluation splits whose truth is kept back
        column = np.array(whole(name))
        if name == "joints_valid":
            column[:, 1:] = 0
        return column

    monkeypatch.setattr(type(truth.split), "hand_column", wrists_alone)
    assert not truth.joints_m()[1].any()
    found = score(exact, truth, get("handbench")).metrics
    assert not np.isfinite(found["mpjpe_mm"].value)
    assert not np.isfinite(found["auc50_joints"].value)
