"""Every recipe of a paper on the miniature tree of its own data set in the official format.

synth -> prepare -> train (two steps, tiny preset) -> eval, by the commands as they are typed.
"""

import csv
import json
import math
import shutil
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import pytest
from click.testing import CliRunner

from handbench import predictions, registry
from handbench.cli import group
from handbench.errors import DataError
from handbench.training import recipe, runs

# Of DexYCB the setup by cameras: its splits are the smallest.
SETUPS = {"dexycb": "dexycb/s2"}
SPLITS = {"dexycb": ["s2_train", "s2_test"]}
STEMS = sorted(
    file.name.removesuffix(".toml")
    for file in resources.files("handbench.methods.recipes").iterdir()
    if file.name.endswith(".toml") and not file.name.endswith("_synthetic.toml")
)
DEXYCB_FIRST = ["--init-from", "h2onet/full/dexycb_s2-tiny-s0"]
ALONE = ["more_data=", "points_hold=63500", "points_end=63500"]
MORE = [
    ("h2onet_dexycb", ["-v", "multi_frame"]),
    ("h2onet_dexycb", ["-v", "multi_frame", "-o", "frame_rule=released", "--label", "list"]),
    ("h2onet_ho3d_v2", ["-v", "multi_frame"]),
    ("h2onet_ho3d_v2", [*DEXYCB_FIRST, "--label", "from-dexycb"]),
    ("h2onet_ho3d_v2", ["-v", "multi_frame", *DEXYCB_FIRST, "--label", "from-dexycb"]),
    ("occrobnet_ho3d_v3", ["-v", "hand_object"]),
    ("occrobnet_h2o3d", ["--label", "alone", *(word for key in ALONE for word in ("-o", key))]),
]
# what a user may lack: others' MANO fits; the truth of evaluation, which came years later
LACKING = [
    ("handoccnet_fpha", "fhbhands_fits"),
    ("h2onet_ho3d_v2", "evaluation_*.json"),
]


def call(*arguments: str) -> str:
    result = CliRunner().invoke(group, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


class Trees:
    """Raw trees and prepared data below one folder, each made when first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.made = folder, set()

    def raw(self, data: str) -> Path:
        if not (self.folder / "raw" / data).is_dir():
            call("synth", "--as", data, str(self.folder / "raw" / data), *self.splits(data))
        return self.folder / "raw" / data

    def splits(self, data: str) -> list[str]:
        return [word for split in SPLITS.get(data, []) for word in ("--split", split)]

    def prepare(self, data: str, lacking: str = "") -> Path:
        """The folder of prepared data, with this data set in it."""
        out, raw = self.folder / "data" / lacking.strip("*.") / "prepared", self.raw(data)
        if (data, lacking) in self.made:
            return out
        if lacking:
            raw = self.folder / "part" / data
            shutil.copytree(self.raw(data), raw)
            gone = list(raw.glob(lacking))
            assert gone
            for path in gone:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        call("prepare", data, "--raw", str(raw), "--out", str(out), "--workers", "1",
             *self.splits(data))  # fmt: skip
        self.made.add((data, lacking))
        return out


@pytest.fixture(scope="module")
def trees(tmp_path_factory) -> Trees:
    return Trees(tmp_path_factory.mktemp("trees"))


@pytest.fixture
def places(trees, tmp_path, monkeypatch):
    monkeypatch.setenv("HANDBENCH_RUNS", str(tmp_path / "runs"))
    return trees, monkeypatch


def train_and_score(places, stem: str, more: Sequence[str] = (), lacking: str = "") -> dict:
    """Two steps of a recipe and its scores; what must hold of each recipe is checked here."""
    trees, monkeypatch = places
    data = next(known for known in registry.table("dataset") if stem.endswith(f"_{known}"))
    method = stem.removesuffix(f"_{data}")
    name = SETUPS.get(data, data)
    variant = more[more.index("-v") + 1] if "-v" in more else "full"
    overrides = [more[at + 1] for at, word in enumerate(more) if word == "-o"]
    paper = recipe.make(method, variant, "paper", name, overrides)
    for each in (data, *paper.more_data.split()):
        folder = trees.prepare(each, lacking if each == data else "")
    monkeypatch.setenv("HANDBENCH_DATA", str(folder))
    asked = ["--preset", "tiny", "--steps", "2", "--batch", "2", "--device", "cpu"]
    call("train", method, "--data", name, *asked, *more)
    label = f"-{more[more.index('--label') + 1]}" if "--label" in more else ""
    run = runs.find(f"{method}/{variant}/{name.replace('/', '_')}-tiny-s0{label}")
    test = runs.data_split(name, runs.TEST)
    result = json.loads(call("eval", run.name, "--device", "cpu", "--json"))[0]

    done = run.recipe()
    for key in ("optimizer", "schedule", "milestones", "augmentation", "box_source", "clip"):
        assert getattr(done, key) == getattr(paper, key), key  # tiny, but trained as the paper's
    log = csv.DictReader(run.log.read_text().splitlines())
    losses = [float(row["loss"]) for row in log]
    assert len(losses) == 2 and all(map(math.isfinite, losses))
    told = result["protocol"]["evaluation"] | result["protocol"]["method"]
    assert told["box_source"] == f"{paper.box_source} x {paper.box_factor:g}"
    assert paper.box_source == ("gt_joints" if data in ("dexycb", "fpha") else "official")
    assert predictions.attributes(run.predictions(test))["whole_images"] == 0
    began = "weights of h2onet/full/dexycb" if "--init-from" in more else "random"
    assert told["initialisation"].startswith(began)
    assert ("frames" in told and told["frames"] != 1) == ("multi_frame" in variant)
    return result


def known(result: dict) -> set[str]:
    """Names of the metrics that have a value."""
    return {name for name, each in result["metrics"].items() if each["value"] is not None}


def test_h2onet_on_dexycb(places):
    result = train_and_score(places, "h2onet_dexycb")
    assert {"mpjpe_mm", "pa_mpjpe_mm", "mpvpe_mm", "pa_mpvpe_mm"} <= known(result)


@pytest.mark.slow
@pytest.mark.parametrize("stem", STEMS)
def test_recipes(places, stem):
    result = train_and_score(places, stem)
    # of H2O-3D's evaluation only wrists and objects are released
    assert ("mpjpe_mm" in known(result)) == ("h2o3d" not in stem)
    assert ("mrrpe_mm" in known(result)) == (stem in ("occrobnet_interhand26m", "occrobnet_h2o3d"))


@pytest.mark.slow
@pytest.mark.parametrize(("stem", "more"), MORE)
def test_stages_variants_and_data_of_recipes(places, stem, more):
    if "--init-from" in more:
        train_and_score(places, "h2onet_dexycb")
    train_and_score(places, stem, more)


@pytest.mark.slow
@pytest.mark.parametrize(("stem", "lacking"), LACKING)
def test_recipes_where_something_is_lacking(places, stem, lacking):
    result = train_and_score(places, stem, lacking=lacking)
    assert ("mpjpe_mm" in known(result)) == ("fpha" in stem)
    assert "mpvpe_mm" not in known(result)


@pytest.mark.slow
def test_true_2d_joints_are_not_made_up(places):
    with pytest.raises(
        DataError, match="9 of 9 hands of ho3d_v3/evaluation have no true 2D joints"
    ):
        train_and_score(places, "handgcat_ho3d_v3", lacking="evaluation_*.json")
