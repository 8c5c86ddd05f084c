"""The README's chain by real commands on a little synthetic data, and what it leaves behind."""

import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from latex_check import check_fragment

RUN = "plain/full/synthetic-tiny-s0"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("chain")


def handbench(place: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "handbench", *words],
        cwd=place,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def chain(place) -> Path:
    """prepare, train, eval, tables, plots, report: as a newcomer types them."""
    sizes = {"train": 12, "val": 3, "test": 12, "controlled": 4}
    for split, count in sizes.items():
        handbench(place, "prepare", "synthetic", "--split", split, "-o", f"sequences={count}")
    handbench(place, "train", "mean_pose")
    handbench(place, "train", "plain", "--steps", "30")
    handbench(place, "eval", "--all")
    handbench(place, "eval", "--all", "--data", "synthetic/controlled")
    for command in ("tables", "plots", "report"):
        handbench(place, command)
    return place


def test_every_file_of_the_contract_is_there(chain):
    run = chain / "results" / "runs" / RUN
    for name in (
        "recipe.toml",
        "log.csv",
        "checkpoint.pt",
        "predictions.h5",
        "result.json",
        "per_sample.npz",
        "controlled/predictions.h5",
        "controlled/result.json",
    ):
        assert (run / name).is_file(), name
    out = chain / "results" / "out"
    for name in ("synthetic_test_comparison", "synthetic_test_levels_mpjpe"):
        for ending in ("tex", "csv", "md", "html"):
            assert (out / "tables" / f"{name}.{ending}").stat().st_size > 100
    for name in ("synthetic_test_pck", "synthetic_controlled_error"):
        for ending in ("pdf", "png", "csv"):
            assert (out / "plots" / f"{name}.{ending}").stat().st_size > 100
    for path in (out / "tables").glob("synthetic*.tex"):
        check_fragment(path.read_text())


def test_the_result_says_how_it_came_about(chain):
    data = json.loads((chain / "results" / "runs" / RUN / "result.json").read_text())
    assert data["protocol"]["label"] == "handbench@1"
    assert data["protocol"]["evaluation"]["data"] == "synthetic/test"
    assert data["protocol"]["evaluation"]["box_source"].startswith("visible_mask")
    assert data["protocol"]["method"]["inputs"] == "image"
    assert data["provenance"]["predictions"]["seed"] == 0
    assert {"mpjpe_mm", "pa_mpjpe_mm", "mpvpe_mm", "f15", "hidden_mpjpe_mm"} <= set(data["metrics"])
    mpjpe = data["metrics"]["mpjpe_mm"]
    assert mpjpe["low"] < mpjpe["value"] < mpjpe["high"]
    with np.load(chain / "results" / "runs" / RUN / "per_sample.npz") as arrays:
        assert arrays["mpjpe_mm"].mean() == pytest.approx(mpjpe["value"])
        assert len(arrays["id"]) == mpjpe["n"]


class Links(HTMLParser):
    """Everything a page would fetch, and whether its tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.fetched += [named[key] for key in ("src", "href") if key in named]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, tag
        assert self.open.pop() == tag


def test_the_report_stands_alone(chain):
    page = (chain / "results" / "out" / "report.html").read_text()
    parser = Links()
    parser.feed(page)
    assert not parser.open
    assert len(parser.fetched) >= 6
    assert all(link.startswith(("data:image/", "#")) for link in parser.fetched)
    assert "worst of" in page


def test_a_second_call_does_nothing_again(chain):
    run = chain / "results" / "runs" / RUN
    stamps = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    handbench(chain, "eval", "--all")
    handbench(chain, "train", "plain", "--steps", "30")
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


def test_predictions_cut_short_are_made_again(chain):
    path = chain / "results" / "runs" / RUN / "predictions.h5"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    handbench(chain, "eval", "plain")
    assert len(path.read_bytes()) == len(whole)


def test_compare_prints_a_paired_difference(chain):
    rows = json.loads(handbench(chain, "compare", "plain", "mean_pose", "--json").stdout)
    assert rows[0]["metric"] == "mpjpe_mm"
    assert rows[0]["low"] <= rows[0]["value"] <= rows[0]["high"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["prepare", "synthetik"], "did you mean 'synthetic'?"),
        (["train", "h2onett"], "did you mean 'h2onet'?"),
        (["train", "plain", "-v", "ful"], "did you mean 'full'?"),
        (["train", "plain", "--data", "interhand26m"], "handbench prepare interhand26m"),
        (["eval", "planes"], "plain"),
        (["eval"], "--all"),
        (["show", "synthetic/tst"], "synthetic/test"),
        (["tables", "--format", "latx"], "did you mean 'latex'?"),
        (["evall"], "did you mean 'eval'?"),
        (["prepare", "interhand26m"], "--raw"),
        (["prepare", "interhand26m", "--raw", "nowhere"], "nowhere"),
    ],
)
def test_a_mistake_gets_one_line(chain, words, said):
    done = handbench(chain, *words, code=1)
    assert done.stderr.startswith("handbench: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert said in done.stderr
    assert not done.stdout
