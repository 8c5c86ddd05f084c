"""Tables in LaTeX compile where an engine is installed; they need nothing but booktabs."""

import shutil
import subprocess

import pytest
from latex_check import check_document, check_fragment

from handbench.scoring.stats import Estimate
from handbench.showing.formats import Cell, Column, Row, Table, latex, latex_document

needs_engine = pytest.mark.skipif(
    shutil.which("pdflatex") is None, reason="pdflatex is not installed"
)


def awkward_table() -> Table:
    """Every kind of cell, and every sign that LaTeX takes for its own."""
    columns = [
        Column("a", "error_% & more (mm)", "lower", 1),
        Column("b", "AUC ↑ #1 {x} ~ ^", "higher", 3),
    ]
    nan = float("nan")
    rows = [
        Row(
            r"50%_best & co \ $1",
            {
                "a": Cell(Estimate(1.23, 1.0, 1.5, 9, 12)),
                "b": Cell(Estimate(0.9, nan, nan, 9, 2)),
            },
        ),
        Row("second–best", {"a": Cell(Estimate(2.0, 1.0, 3.0, 9, 12)), "b": Cell(None, "not run")}),
        Row("printed", {"a": Cell(Estimate(1.0, nan, nan, 0, 0), "reported"), "b": Cell(None)}),
    ]
    return Table(
        "awkward_name", "caption · 95 % [low high] ≥ 3 × 2 ± 1 → up", columns, rows, ["note_1 %"]
    )


def test_awkward_text_is_escaped():
    text = latex(awkward_table())
    check_fragment(text)
    assert r"\textbf{1.2}" in text
    assert r"\textit{1.0}" in text


@needs_engine
def test_a_document_of_tables_compiles(tmp_path):
    (tmp_path / "awkward_name.tex").write_text(latex(awkward_table()))
    document = latex_document(["awkward_name"])
    check_document(document)
    (tmp_path / "tables.tex").write_text(document)
    compile_pdf(tmp_path, "tables.tex")


@needs_engine
def test_the_papers_tables_compile(tmp_path, monkeypatch):
    from click.testing import CliRunner

    from handbench.cli import group

    monkeypatch.setenv("HANDBENCH_RUNS", str(tmp_path / "no-runs"))
    done = CliRunner().invoke(group, ["tables", "--paper", "all", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    compile_pdf(tmp_path / "tables", "tables.tex")


def compile_pdf(folder, name):
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", name]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert (folder / name).with_suffix(".pdf").stat().st_size > 5000
