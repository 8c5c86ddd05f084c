"""The papers' tables rebuilt: with no run at all, and with results of variants that they print."""

import csv
import math
import re
import shutil
import subprocess

import numpy as np
import pytest
from bs4 import BeautifulSoup
from click.testing import CliRunner
from latex_check import check_document, check_fragment

from handbench.cli import group
from handbench.errors import UnknownName
from handbench.published import paper, reported
from handbench.published.macros import macros
from handbench.result import Result
from handbench.scoring.stats import Estimate
from handbench.showing.formats import Cell, Column, Row, Table, as_csv, latex, markdown

DEXYCB, HO3D = "dexycb/s0_test", "ho3d_v2/evaluation"


def fake(variant, data, metrics, protocol="handbench", **made) -> Result:
    """A result of a variant, its intervals 0.5 wide to either side."""
    method, name = variant.split("/")
    estimates = {
        key: Estimate(value, value - 0.5, value + 0.5, 1200, 40) for key, value in metrics.items()
    }
    return Result(
        protocol={
            "name": protocol,
            "version": 1,
            "label": f"{protocol}@1",
            "evaluation": {"data": data, "hands": 1200, "box_source": "gt_joints"},
            "method": {"inputs": "image", "frames": 1},
        },
        metrics=estimates,
        levels={},
        per_sample={"recording": np.arange(3)},
        provenance={
            "predictions": {"method": method, "variant": name, "preset": "paper", "seed": 0, **made}
        },
    )


def rows(table):
    return {row.label: row for row in table.rows}


def test_tables_without_any_run(tmp_path, monkeypatch):
    monkeypatch.setenv("HANDBENCH_RUNS", str(tmp_path / "runs"))
    arguments = ["tables", "--paper", "all", "--out", str(tmp_path)]
    done = CliRunner().invoke(group, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    folder = tmp_path / "tables"
    names = {path.stem for path in folder.glob("*.csv")}
    printed = {f"{name}_table_{table}" for name, table in reported.captions()}
    data = {"dexycb_s0_test", "ho3d_v2_evaluation", "ho3d_v3_evaluation", "fpha_test"}
    data |= {"interhand26m_test", "h2o3d_evaluation"}
    assert names == printed | {f"comparison_{each}" for each in data}
    for name in names:
        check_fragment((folder / f"{name}.tex").read_text(encoding="utf-8"))
        with open(folder / f"{name}.csv", newline="", encoding="utf-8") as file:
            body = list(csv.DictReader(file))
        kinds = {value for row in body for key, value in row.items() if key.endswith("_kind")}
        assert (
            {"reported", "not run"} <= kinds <= {"reported", "not run", "not printed", "measured"}
        )
        page = BeautifulSoup((folder / f"{name}.html").read_text(encoding="utf-8"), "html.parser")
        lines = page.select("tbody tr:not(.tier)")
        tiers = {row["tier"] for row in body}
        assert {line.text for line in page.select("tr.tier")} == (
            tiers if len(tiers) > 1 else set()
        )
        assert len(lines) == len(body)
        assert len({len(line.find_all(["td", "th"])) for line in lines}) == 1
        text = (folder / f"{name}.md").read_text(encoding="utf-8")
        assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1
        assert "not run" in text
    check_document((folder / "tables.tex").read_text(encoding="utf-8"))
    assert (folder / "macros.tex").read_text() == "\\newcommand{\\HBMeasuredValues}{0}\n"


def test_layout_is_the_printed_one():
    table = paper.paper_tables("h2onet", [])[1]
    assert [column.title for column in table.columns] == [
        "J-PE ↓ (mm)",
        "J-AUC ↑ (%)",
        "V-PE ↓ (mm)",
        "V-AUC ↑ (%)",
        "F@5 ↑ (%)",
        "F@15 ↑ (%)",
    ]
    labels = [row.label for row in table.rows if ": measured" not in row.label]
    assert labels[:2] == ["Pose2Mesh [13]", "I2L-MeshNet [39]"]
    assert labels[-1] == "Our H2ONet"
    assert len(labels) == 16
    # a competitor is not run here: nothing stands under it
    assert table.rows[1].label == "I2L-MeshNet [39]"
    text = markdown(table)
    for value in ("*78.8*", "*12.5*", "*96.6*"):
        assert value in text


def test_a_result_stands_under_its_row_with_interval_and_difference():
    result = fake("h2onet/multi_frame", DEXYCB, {"pa_mpjpe_mm": 5.512, "pa_auc50_joints": 0.8813})
    table = paper.paper_tables("h2onet", [result])[0]
    found = rows(table)
    assert found["Our H2ONet"].cells["pa_mpjpe_mm"].text == "5.3"
    measured = found["h2onet/multi_frame: measured"].cells
    assert measured["pa_mpjpe_mm"].estimate == result.metrics["pa_mpjpe_mm"]
    assert measured["pa_auc50_joints_percent"].value == pytest.approx(88.13)
    assert measured["f5_percent"].kind == "not run"
    between = found["h2onet/multi_frame: 95 % interval"].cells["pa_mpjpe_mm"]
    assert between.text == "[5.01 6.01]"
    apart = found["h2onet/multi_frame: measured − printed"].cells
    assert apart["pa_mpjpe_mm"].text == "+0.21"
    assert apart["pa_mpjpe_mm"].value == pytest.approx(0.212)
    assert apart["pa_auc50_joints_percent"].text == "−1.27"
    assert "h2onet/full: measured" in found
    assert found["h2onet/full: measured"].cells["pa_mpjpe_mm"].kind == "not run"
    check_fragment(latex(table))
    assert "5.512" in as_csv(table)
    notes = " ".join(table.notes)
    assert "1,200 hands of dexycb/s0_test (at most 78,768), handbench@1" in notes
    assert "preset paper, seed 0, boxes gt_joints" in notes
    assert "protocol handbench@1, where the paper's is dexycb_h2onet" in notes


def test_centimetres_and_named_differences_of_protocol():
    result = fake("occrobnet/full", "ho3d_v3/evaluation", {"st_mpjpe_mm": 22.34})
    table = next(t for t in paper.paper_tables("occrobnet", [result]) if t.name.endswith("II"))
    cell = rows(table)["occrobnet/full: measured"].cells["st_mpjpe_cm"]
    assert cell.value == pytest.approx(2.234)
    notes = " ".join(table.notes)
    assert "lengths are in cm" in notes
    assert "root wrist, not camera; Procrustes may not mirror" in notes


def test_other_data_and_variants_do_not_count():
    results = [
        fake("h2onet/multi_frame", "synthetic/test", {"pa_mpjpe_mm": 9.0}),
        fake("h2onet/stage_1", DEXYCB, {"pa_mpjpe_mm": 9.0}),
        fake("h2onet/multi_frame", "dexycb/s1_test", {"pa_mpjpe_mm": 9.0}),
    ]
    for table in paper.paper_tables("all", results):
        cells = [cell for row in table.rows for cell in row.cells.values()]
        assert not any(c.kind == "measured" and math.isfinite(c.value) for c in cells), table.name


def test_the_run_nearest_to_the_paper_is_shown():
    results = [
        fake("handoccnet/full", HO3D, {"pa_mpjpe_mm": 9.9}, preset="tiny"),
        fake("handoccnet/full", HO3D, {"pa_mpjpe_mm": 9.5}, seed=1),
        fake("handoccnet/full", HO3D, {"pa_mpjpe_mm": 9.4}),
        fake("handoccnet/full", HO3D, {"pa_mpjpe_mm": 9.3}, "ho3d_v2", seed=2),
    ]
    table = paper.paper_tables("handoccnet", results)[4]
    measured = rows(table)["handoccnet/full: measured"].cells["pa_mpjpe_mm"]
    assert measured.value == pytest.approx(9.3)
    assert any("one of 4 runs" in note for note in table.notes)
    tiny = paper.paper_tables("handoccnet", results[:1])[4]
    assert any("tiny presets" in note for note in tiny.notes)


def test_a_result_of_other_data_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("HANDBENCH_RUNS", str(tmp_path / "none"))
    given = fake("mine/x", "somewhere/test", {"mpjpe_mm": 9.0})
    given.write(tmp_path / "mine")
    command = ["tables", "--paper", "h2onet", "--add", str(tmp_path / "mine")]
    done = CliRunner().invoke(group, [*command, "--out", str(tmp_path), "--format", "md"])
    assert done.exit_code == 0, done.output
    assert "mine x on somewhere/test stands in no table" in done.output


def test_anybodys_result_is_added_beside_the_rows_of_its_protocol():
    given = fake("pred/None", "ho3d_v2", {"pa_mpjpe_mm": 8.1}, "ho3d_v2")
    given.provenance["predictions"].clear()
    given.provenance["predictions"]["method"] = "pred"
    tables = paper.paper_tables("h2onet", [given], [given])
    assert rows(tables[1])["pred: measured"].cells["pa_mpjpe_mm"].value == 8.1
    assert "pred: measured" not in rows(tables[0])


def test_comparison_has_all_methods_in_one_unit():
    result = fake("handgcat/full", "ho3d_v3/evaluation", {"pa_mpjpe_mm": 9.4})
    table = next(t for t in paper.comparisons([result]) if "ho3d_v3" in t.name)
    found = rows(table)
    assert [name for name in found if name.endswith(": measured")] == [
        f"{variant}: measured" for variant in paper.COMPARED
    ]
    ours = found["OccRobNet (in OccRobNet)"].cells
    assert ours["pa_mpjpe_mm"].text == "12.0"
    assert ours["st_auc50_joints"].text == "0.723 / 0.773"
    assert found["handgcat/full: measured − printed"].cells["pa_mpjpe_mm"].text == "+0.10"
    assert {cell.kind for cell in found["h2onet/full: measured"].cells.values()} == {"not run"}


def test_macros_have_letters_only():
    result = fake("h2onet/multi_frame", DEXYCB, {"pa_mpjpe_mm": 5.512, "f5": 0.5})
    text = macros(paper.paper_tables("all", [result]))
    names = re.findall(r"\\newcommand\{\\(\w+)\}", text)
    assert len(names) == len(set(names)) > 10
    assert all(name.isalpha() for name in names)
    line = r"\newcommand{\HBHTwoOnetTableOneHTwoOnetMultiFramePaMpjpeMm}{5.51}"
    assert line in text
    assert line.replace("Mm}{5.51", "MmLow}{5.01") in text
    count = int(re.search(r"HBMeasuredValues\}\{(\d+)\}", text)[1])
    assert count == len(names) - 1


def test_macros_of_labels_that_differ_in_punctuation_are_told_apart():
    columns = [Column("f5", "F@5", "higher", 3)]
    labels = ("net (a)", "net [a]", "net.a", "net a low")
    rows = [Row(name, {"f5": Cell(Estimate(k / 8, 0, 1, 9, 9))}) for k, name in enumerate(labels)]
    text = macros([Table("t", "", columns, rows)])
    names = re.findall(r"\\newcommand\{\\(\w+)\}", text)
    assert len(names) == len(set(names)) == 1 + 3 * len(labels)
    assert r"\newcommand{\HBTNetAFFive}{0.000}  % t net (a) f5" in text
    assert r"\newcommand{\HBTNetAFFiveThree}{0.250}  % t net.a f5" in text


def test_unknown_paper():
    with pytest.raises(UnknownName, match="did you mean 'handgcat'"):
        paper.paper_tables("handgact", [])


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex")
def test_the_document_compiles(tmp_path, monkeypatch):
    monkeypatch.setenv("HANDBENCH_RUNS", str(tmp_path / "runs"))
    CliRunner().invoke(group, ["tables", "--paper", "all", "--out", str(tmp_path)])
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"],
        cwd=tmp_path / "tables",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
