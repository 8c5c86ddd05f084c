"""The page and the pictures: self-contained, complete, and whole in a real browser."""

import csv
import json
import re
import shutil
import subprocess
from dataclasses import replace

import cv2
import numpy as np
import pytest
from bs4 import BeautifulSoup
from click.testing import CliRunner
from official_split import listed, predicted

from handbench.cli import group
from handbench.evaluate import evaluate_file
from handbench.frames import mirror_points
from handbench.predictions import Predictions
from handbench.result import read
from handbench.scoring.truth import of_split
from handbench.showing import gallery
from handbench.showing.report import Section, page, write
from handbench.showing.rows import label, numbered
from handbench.store import open_split

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two results of one split: with meshes and a training log, and of joints alone."""
    folder = tmp_path_factory.mktemp("report")
    split = listed(folder / "data")
    for name, noise, log in (("near", 0.005, True), ("far", 0.02, False)):
        found = predicted(split, noise_m=noise)
        verts = found.verts_m if name == "near" else None
        made = Predictions(
            found.id, found.is_left, found.joints_m, verts, attributes={"method": name}
        )
        out = folder / name
        made.write(out / "predictions.h5")
        evaluate_file(out / "predictions.h5", split, "handbench", out)
        if log:
            lines = ["step,loss,val_mpjpe_mm", "1,2.5,", "2,1.5,30", "3,1.2,25"]
            (out / "log.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def results(folder, monkeypatch):
    monkeypatch.setenv("HANDBENCH_DATA", str(folder / "data"))
    return [read(folder / "near"), read(folder / "far")]


@pytest.fixture
def report(results, tmp_path):
    return write([results], tmp_path / "report.html")


def test_the_page_brings_everything_along(report):
    text = report.read_text()
    soup = BeautifulSoup(text, "html.parser")
    assert not soup.find_all(["script", "link", "iframe", "object", "embed"])
    assert "@import" not in text and "url(" not in text
    for tag in soup.find_all(src=True):
        assert tag["src"].startswith("data:image/") and tag["alt"]
    ids = {tag["id"] for tag in soup.find_all(id=True)}
    links = [tag["href"] for tag in soup.nav.find_all("a")]
    assert len(links) == 3 and {link[1:] for link in links} == ids
    assert soup.find("meta", attrs={"name": "viewport"})
    headings = [tag.text for tag in soup.find_all(["h2", "h3"])]
    assert headings == ["listed/evaluation", "Cases", "Training", "Where the numbers come from"]
    assert soup.footer.find_all("li")
    figures = [tag.find_parent("figure").figcaption.text for tag in soup.select("img.figure")]
    assert figures[0].startswith("PCK of all joints over error thresholds · listed/evaluation")
    assert figures[0].endswith("handbench@1") and figures[-1].startswith("Loss and validation")
    notes = {f.figcaption.text.split(" · ")[0]: f.text for f in soup.select("figure.table")}
    assert "interval" in notes["MPJPE mm"] and "interval" not in notes["MPJPE mm by finger"]
    assert all(table.find_parent(class_="scroll") for table in soup.find_all("table"))


def test_titles_are_escaped():
    text = page([Section("a<b & 'c'", "<p>x</p>", (Section("<i>", "y"),))])
    soup = BeautifulSoup(text, "html.parser")
    assert soup.h2.text == "a<b & 'c'" and soup.h3.text == "<i>" and not soup.find("b", string="i")


POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
MEASURE = """
<script>
const refused = [];
addEventListener('securitypolicyviolation', e => refused.push(e.blockedURI));
addEventListener('load', () => setTimeout(() => {
  const fetched = performance.getEntriesByType('resource').map(e => e.name);
  const told = JSON.stringify({
    pictures: [...document.images].map(p => p.complete ? p.naturalWidth : 0),
    fetched: fetched.filter(name => !name.startsWith('data:')),
    refused,
    wide: document.documentElement.scrollWidth - innerWidth,
    tables: [...document.querySelectorAll('.scroll')].map(s => s.scrollWidth - s.clientWidth),
    rows: document.querySelectorAll('tbody tr').length,
  });
  document.body.innerHTML = '<pre id=told>' + told + '</pre>';
}, 200));
</script>"""


def measured(text, tmp_path, width):
    """What a browser says of the page: the page measures itself and then shows the numbers."""
    policy = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    path = tmp_path / "measured.html"
    path.write_text(text.replace("<head>", f"<head>{policy}{MEASURE}", 1))
    command = [BROWSER, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    command += [f"--window-size={width},900", "--virtual-time-budget=10000", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return json.loads(BeautifulSoup(done.stdout, "html.parser").find(id="told").text)


@pytest.mark.skipif(BROWSER is None, reason="no chromium")
@pytest.mark.parametrize("width", [1280, 420])
def test_a_browser_shows_it_all_and_fetches_nothing(report, tmp_path, width):
    text = report.read_text()
    told = measured(text, tmp_path, width)
    assert len(told["pictures"]) == text.count("<img ") >= 6
    assert min(told["pictures"]) > 0
    assert told["fetched"] == [] and told["refused"] == []
    assert told["wide"] <= 0, "the page itself must not scroll sideways"
    assert told["rows"] >= 4
    assert width < 1280 or max(told["tables"]) <= 0, "no table must, where there is room"


@pytest.mark.skipif(BROWSER is None, reason="no chromium")
def test_a_browser_notices_what_is_fetched(tmp_path):
    """The test above can fail: a picture from elsewhere is refused and has no size."""
    text = page([Section("a", "<img src='https://example.invalid/x.png'>")])
    told = measured(text, tmp_path, 800)
    assert told["pictures"] == [0] and told["refused"] == ["https://example.invalid/x.png"]


def test_cases_follow_the_rule_and_stand_in_a_table(results, tmp_path):
    runner = CliRunner()
    names = [str(each.folder) for each in results]
    done = runner.invoke(group, ["plots", "qualitative", *names, "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert gallery.RULE in done.output
    folder = tmp_path / "plots" / "qualitative"
    with open(folder / "listed_evaluation_unknown_cases.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {path.name for path in folder.glob("*.png")} == {row["picture"] for row in rows}
    errors = dict(zip(results[0].per_sample["id"], results[0].per_sample["mpjpe_mm"]))
    assert rows[0]["id"] == max(errors, key=errors.get)
    assert rows[1]["id"].split("/")[2] != rows[0]["id"].split("/")[2]
    assert float(rows[0]["near mpjpe_mm"]) == pytest.approx(errors[rows[0]["id"]], abs=1e-3)
    assert float(rows[0]["far mpjpe_mm"]) > 0
    picture = cv2.imread(str(folder / rows[0]["picture"]))
    columns = 4  # photograph, truth, two methods
    assert picture.shape == (
        2 * gallery.CELL + gallery.GAP,
        columns * gallery.CELL + (columns - 1) * gallery.GAP,
        3,
    )
    again = gallery.cases(results)
    assert [case.id for case in again] == [row["id"] for row in rows]


def test_methods_without_a_mesh_are_drawn_as_skeletons(results):
    case = gallery.cases(results)[0]
    step = gallery.CELL + gallery.GAP
    below = case.picture[step:]
    mesh, skeleton = (below[30:, k * step : k * step + gallery.CELL] for k in (2, 3))
    covered = [
        (np.abs(part.astype(int) - gallery.draw.BACKDROP).max(-1) > 8).mean()
        for part in (mesh, skeleton)
    ]
    assert 0 < covered[1] < covered[0]


def test_many_methods_stand_in_several_rows_below_each_other(results):
    joints = np.random.default_rng(0).normal(0, 0.05, (21, 3))
    bodies = [gallery.Body(f"method {k}", joints, None, np.full(5, 1)) for k in range(8)]
    image, K = np.zeros((64, 64, 3), np.uint8), np.array([[60.0, 0, 32], [0, 60, 32], [0, 0, 1]])
    step = gallery.CELL + gallery.GAP
    for count, rows, across in ((4, 2, 5), (6, 4, 4), (8, 4, 5), (1, 2, 2)):
        picture = gallery.panel(image, K, np.array([0, 0, 0.5]), bodies[:count], None)
        assert picture.shape[:2] == (rows * step - gallery.GAP, across * step - gallery.GAP)


def test_a_method_has_one_colour_in_all_figures(results):
    ranked = [replace(each, metrics=dict(each.metrics)) for each in results]
    before = {label(each): k for k, each in numbered(ranked)}
    for place, each in enumerate(reversed([each for _, each in numbered(ranked)])):
        found = each.metrics["mpjpe_mm"]
        each.metrics["mpjpe_mm"] = replace(found, value=float(place))
    assert [label(each) for _, each in numbered(ranked)] == list(reversed(before))
    assert {label(each): k for k, each in numbered(ranked)} == before


def test_results_of_official_files_have_no_cases_but_a_page(results, tmp_path):
    told = {
        **results[0].protocol,
        "evaluation": {**results[0].protocol["evaluation"], "data": "ho3d_v2"},
    }
    other = results[0].__class__(**{**results[0].__dict__, "protocol": told})
    assert gallery.cases([other]) == []
    text = write([[other]], tmp_path / "r.html").read_text()
    assert gallery.NOTHING in text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p, left: p * 1000, "the predictions fit .* millimetres"),
        (lambda p, left: p * np.float32([1, -1, -1]), "the predictions fit .* OpenGL"),
        (lambda p, left: np.where(left, mirror_points(p), p), "the left hands fit .* x -> -x"),
        (lambda p, left: mirror_points(p), "the predictions fit .* x -> -x"),
        (lambda p, left: p, None),
    ],
)
def test_broken_predictions_are_told_before_scoring(results, tmp_path, capsys, change, said):
    from handbench.evaluate import warn_of_mistakes

    split = open_split("listed/evaluation")
    good = predicted(split, noise_m=0.001)
    joints = change(good.joints_m, good.is_left[:, None, None])
    warn_of_mistakes(Predictions(good.id, good.is_left, joints), of_split(split))
    told = capsys.readouterr().err
    assert re.search(said, told) if said else "warning" not in told
    assert "the right hands" not in told
