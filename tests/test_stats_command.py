"""`handbench stats`: hand-worked numbers, and what it writes for prepared splits."""

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from handbench.checking.coverage import coverage
from handbench.checking.hands import SplitHands
from handbench.checking.occlusion import (
    hidden_runs,
    hidden_shares,
    hidden_together,
    occlusion,
)
from handbench.cli import group
from handbench.datasets.synthetic import Synthetic
from handbench.errors import DataError, UnknownName
from handbench.preparing.prepare import prepare
from handbench.store import open_split

FIGURES = {"finger_rates", "hidden_together", "levels", "causes", "run_lengths"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> Path:
    """synthetic/train, synthetic/onset with runs over time, and small/test without labels."""
    folder = tmp_path_factory.mktemp("stats")
    prepare(Synthetic("train", sequences=8, frames=4, image_px=64), folder)
    prepare(Synthetic("onset", sequences=1, image_px=64), folder)
    shutil.copytree(small_data / "small" / "test", folder / "small" / "test")
    return folder


def call(*arguments: object) -> str:
    result = CliRunner().invoke(group, [str(each) for each in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def test_shares_by_hand():
    flags = np.array([[0, 0, 1], [0, 1, 1], [1, 0, 255], [0, 0, 0]], np.uint8)
    assert hidden_shares(flags) == pytest.approx([3 / 4, 3 / 4, 1 / 3])
    together = hidden_together(flags)
    assert together[0] == pytest.approx([1, 2 / 3, 1 / 3])
    assert together[1] == pytest.approx([2 / 3, 1, 1 / 2])  # of one of three the third is unknown
    assert together[2] == pytest.approx([1, 1, 1])
    assert np.isnan(hidden_shares(np.full((3, 2), 255, np.uint8))).all()


def test_runs_by_hand():
    # two clips: the first begins hidden; the second ends hidden
    flags = np.array([0, 0, 1, 0, 1, 0, 0, 0, 1] + [1, 0, 0, 1, 0, 255, 0, 0], np.uint8)
    follows = np.array([0] + [1] * 8 + [0] + [1] * 7, bool)
    runs = hidden_runs(flags, follows)
    assert runs.length.tolist() == [2, 1, 3, 2, 1, 2]
    assert runs.begins.tolist() == [False, True, True, True, True, False]
    assert runs.ends.tolist() == [True, True, True, True, False, False]
    # begun in sight: 1 ends, 3 ends, 2 ends, 1 is cut: 3/4 last over 1 frame, then 1/2 of 2
    assert runs.lasting() == pytest.approx([1, 3 / 4, 3 / 8, 0])
    assert runs.summary() == {
        "runs": 6,
        "begun_inside": 4,
        "whole": 3,
        "median_frames": 2,
        "mean_frames_of_whole": 2.0,
        "longest_frames": 3,
    }
    # seen in another clip is not seen before
    apart = hidden_runs(np.array([1, 0, 1], np.uint8), np.array([False, False, False]))
    assert (apart.begins.tolist(), apart.ends.tolist()) == ([False], [False])
    empty = hidden_runs(np.ones(4, np.uint8), np.zeros(4, bool))
    assert empty.summary()["median_frames"] is None


def test_a_split_is_counted_as_its_columns_say(data):
    hands = SplitHands(open_split("synthetic/onset", data))
    found = occlusion(hands)
    flags = hands["visibility/scene/finger"]
    assert found.rates["released"][:5] == pytest.approx((flags == 0).mean(0))
    assert found.levels.sum() == found.fingers_hidden["paper"].sum() == len(hands)
    hidden = sum(counts for counts in found.causes.values())
    assert (hidden == (flags == 0).sum(0)).all()
    # the covered take of the pair hides the hand once, for all fingers together
    assert found.runs["released"]["hand"].length.sum() == round(
        found.rates["released"][5] * len(hands)
    )
    itself = coverage(hands, hands)
    assert itself.nearest_deg.max() < 1e-5
    assert itself.within(10) == 1


def test_everything_is_written_and_opens_offline(data, tmp_path):
    told = call(
        *("stats", "synthetic/train", "synthetic/onset", "small/test"),
        *("--data-dir", data, "--out", tmp_path, "--rule", "paper"),
    )
    assert "synthetic/onset" in told and "within 20 deg" in told and "small/test" in told
    for name in FIGURES | {"rotation_coverage"}:
        for ending in ("pdf", "png", "csv"):
            assert (tmp_path / "plots" / f"{name}.{ending}").stat().st_size > 100
        picture = cv2.imread(str(tmp_path / "plots" / f"{name}.png"))
        assert picture.std() > 10
    with open(tmp_path / "stats.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    wanted = ("synthetic/train", "hidden", "released", "thumb")
    (share,) = (
        float(row["value"])
        for row in rows
        if (row["split"], row["what"], row["rule"], row["part"]) == wanted
    )
    hands = SplitHands(open_split("synthetic/train", data))
    assert share == pytest.approx((hands["visibility/scene/finger"][:, 0] == 0).mean())
    content = json.loads((tmp_path / "stats.json").read_text())
    assert [each["split"] for each in content["splits"]][2] == "small/test"
    assert content["splits"][2]["labelled"] == 0
    (turn,) = content["rotation_coverage"]
    assert (turn["test"], turn["train"]) == ("synthetic/onset", "synthetic/train")
    page = (tmp_path / "stats.html").read_text()
    assert page.count("data:image/png;base64") == 6
    assert "src='http" not in page and "<link" not in page and "<script" not in page


def test_wrong_names_are_told_before_anything_is_read(data, tmp_path):
    with pytest.raises(UnknownName, match="did you mean 'paper'"):
        call("stats", "synthetic/train", "--rule", "papr", "--data-dir", data)
    with pytest.raises((UnknownName, DataError), match="synthetic/onset"):
        call("stats", "synthetic/train", "synthetic/onse", "--data-dir", data, "--out", tmp_path)
    assert not any(tmp_path.iterdir())
    told = call("stats", "small/test", "--data-dir", data, "--out", tmp_path / "small", "--json")
    assert json.loads(told)["splits"][0]["hidden"]["paper"]["thumb"] is None
