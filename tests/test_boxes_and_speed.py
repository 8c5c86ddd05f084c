"""One run under several box sources, its accuracy against its latency, and tables with more."""

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from toy_runs import make

from handbench import predictions
from handbench.cli import group
from handbench.errors import HandbenchError, UnknownName
from handbench.evaluate import evaluate_run
from handbench.inference.freshness import is_current
from handbench.showing import boxes, latency, plots, tables
from handbench.training import runs
from handbench.training.train import train

pytestmark = pytest.mark.usefixtures("toy_places")
SPEED = {
    "method": "toy",
    "parameters": 12_345,
    "macs": 1000,
    "latency_ms": {"mean": 3.0, "median": 2.5, "p95": 4.5},
    "device": "a CPU",
    "threads": 1,
    "protocol": {"name": "handbench"},
}


def call(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(group, [str(each) for each in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


def test_boxes_of_several_sources_stand_side_by_side(tmp_path):
    run = train(make(), device="cpu")
    told = call("eval", "toy", "--boxes", "gt_joints,jittered")
    assert "Boxes at test time" in told and "jittered − gt joints" in told
    own, moved = run.path, run.path / "boxes-jittered"
    made = [predictions.attributes(each / "predictions.h5")["box_source"] for each in (own, moved)]
    assert made == ["gt_joints x 1.5", "jittered x 1.5"]
    assert not (run.path / "boxes-gt_joints").exists()
    split = "small/test"
    assert is_current(run, split, "jittered") and not is_current(run, split, "official")
    assert run.folder("small/val", "jittered") == run.path / "val" / "boxes-jittered"
    results = [evaluate_run(run, boxes=source) for source in (None, "jittered")]
    table = boxes.beside(results)
    (row,) = table.rows
    cells = {name: cell.value for name, cell in row.cells.items()}
    for metric in ("mpjpe_mm", "pa_mpjpe_mm"):
        values = [each.metrics[metric].value for each in results]
        assert [cells[f"{metric}|{s}"] for s in ("gt_joints", "jittered")] == values
        change = cells[f"{metric}|jittered difference"]
        assert change == pytest.approx(values[1] - values[0]) and change != 0
    assert {table.name for table in tables.all_of(results)} >= {
        "small_test_boxes",
        "small_test_gt_joints_comparison",
        "small_test_jittered_comparison",
    }
    assert not boxes.several(results[:1])
    same = call("predict", "toy", "--boxes", "jittered")
    assert "is up to date" in same and str(moved) in same
    with pytest.raises(UnknownName, match="did you mean 'jittered'"):
        call("eval", "toy", "--boxes", "jitered")


def test_one_broken_run_does_not_keep_the_others_from_being_scored(capsys):
    run = train(make(), device="cpu")
    broken = run.path.with_name("small-tiny-s7")
    shutil.copytree(run.path, broken)
    (broken / "checkpoint.pt").write_bytes(b"nothing")
    told = call("eval", "--all", code=1)
    assert "MPJPE" in told and "small-tiny-s7" in told
    assert (run.path / "result.json").is_file()
    (run.path / "predictions.h5").unlink()
    (run.path / "checkpoint.pt").write_bytes(b"nothing")
    with pytest.raises(HandbenchError):
        call("eval", "--all")


def test_accuracy_against_latency_is_drawn_from_what_was_timed(tmp_path):
    run = train(make(), device="cpu")
    results = [evaluate_run(run), evaluate_run(run, boxes="jittered")]
    told = call("plots", "--out", tmp_path / "none")
    assert latency.NOTHING in told
    assert not list((tmp_path / "none").rglob("*latency*"))
    (run.path / "speed.json").write_text(json.dumps(SPEED))
    assert [latency.speed_of(each) for each in results] == [SPEED, SPEED]
    written = plots.all_of(results[:1], tmp_path)
    (data,) = (path for path in written if path.name == "small_test_gt_joints_latency.csv")
    head, line = data.read_text().splitlines()
    values = dict(zip(head.split(","), line.split(",")))
    assert float(values["mpjpe_mm"]) == pytest.approx(results[0].metrics["mpjpe_mm"].value)
    assert (values["latency_ms_median"], values["latency_ms_p95"]) == ("2.5", "4.5")
    assert "a CPU" in line and "1 thread" in line
    assert latency.NOTHING not in call("plots", "--out", tmp_path / "some")
    (run.path / "speed.json").write_text("{}")
    with pytest.raises(HandbenchError, match="handbench speed"):
        latency.speed_of(results[0])


def test_a_result_from_elsewhere_joins_the_runs(tmp_path):
    run = train(make(), device="cpu")
    evaluate_run(run)
    other = tmp_path / "mine"
    shutil.copytree(run.path, other)
    changed = json.loads((other / "result.json").read_text())
    changed["provenance"]["predictions"] |= {"method": "mine"}
    (other / "result.json").write_text(json.dumps(changed))
    call("tables", "--add", other / "result.json", "--add", "toy", "--out", tmp_path / "out")
    table = (tmp_path / "out" / "tables" / "small_test_gt_joints_comparison.csv").read_text()
    names = [line.split(",")[0] for line in table.splitlines()[1:]]
    assert sorted(names) == ["mine", "toy"]
    assert np.isfinite(float(table.splitlines()[1].split(",")[2]))
    with pytest.raises(UnknownName):
        call("tables", "--add", "nobody", "--out", tmp_path / "out")
    assert runs.find("toy").path == run.path
