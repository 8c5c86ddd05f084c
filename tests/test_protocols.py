"""Protocols as data: a changed rule raises the version, and unequal versions do not meet."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from handbench import result
from handbench.errors import HandbenchError
from handbench.predictions import Predictions
from handbench.protocol import PROTOCOLS, get
from handbench.scoring.metrics import METRICS
from handbench.scoring.pairs import Pairs
from handbench.scoring.score import score
from handbench.scoring.truth import of_split
from handbench.showing import tables
from handbench.showing.compare import differences
from handbench.store import open_split

# What makes the numbers of each version. Whoever changes a rule raises the version and adds a row.
RULES = {
    "handbench@1": ("wrist", False, "hand", ()),
    "ho3d_v2@1": ("camera", True, "hand", ()),
    "ho3d_v3@1": ("camera", True, "hand", ()),
    "freihand@1": ("camera", True, "hand", ()),
    "dexycb_hpe@1": ("wrist", True, "hand", ()),
    "dexycb_handoccnet@1": ("wrist", False, "hand", ()),
    "dexycb_h2onet@1": ("wrist", True, "hand", ()),
    "interhand26m@1": ("own wrist", False, "joint", ("single", "interacting")),
    "h2o3d@1": ("own wrist", False, "hand", ()),
    "fpha@1": ("wrist", False, "hand", ()),
}


@pytest.fixture
def truth(small_data):
    return of_split(open_split("small/test", small_data))


def predicted(truth, noise_m=0.01, seed=0, **attributes):
    joints, _, _ = truth.joints_m()
    rng = np.random.default_rng(seed)
    joints = (joints + rng.normal(scale=noise_m, size=joints.shape)).astype(np.float32)
    verts = truth.verts_m(slice(None)).astype(np.float32)
    return Predictions(truth.id, truth.is_left, joints, verts, attributes=attributes)


def test_every_rule_has_its_version():
    now = {p.label: (p.root, p.reflection, p.average, p.groups) for p in PROTOCOLS.values()}
    assert {label: RULES[label] for label in now} == now
    for protocol in PROTOCOLS.values():
        assert set(protocol.metrics) <= set(METRICS), protocol.name


def test_another_version_does_not_meet_this_one(truth, monkeypatch, tmp_path):
    """A result on disk keeps its version when the rule has moved on."""
    old = score(predicted(truth), truth, get("handbench"))
    old.write(tmp_path)
    raised = replace(get("handbench"), version=2, reflection=True)
    monkeypatch.setitem(PROTOCOLS, "handbench", raised)
    new = score(predicted(truth), truth, get("handbench"))
    kept = result.read(tmp_path)
    for meet in (lambda: tables.all_of([kept, new]), lambda: differences(kept, new)):
        with pytest.raises(HandbenchError, match="handbench@1.*handbench@2"):
            meet()
    table = tables.comparison([kept, new], mixed=True)
    assert any("handbench@1" in note and "handbench@2" in note for note in table.notes)
    assert "handbench@2" in tables.comparison([new]).caption


def test_handoccnet_and_h2onet_differ_in_mirroring_alone(truth):
    """A mirrored prediction: nothing to H2ONet's Procrustes, far off to HandOccNet's."""
    given = predicted(truth, 0.0)
    mirrored = replace(given, joints_m=given.joints_m * np.float32([-1, 1, 1]))
    numbers = {
        name: score(mirrored, truth, get(name)).metrics
        for name in ("dexycb_handoccnet", "dexycb_h2onet")
    }
    assert numbers["dexycb_h2onet"]["pa_mpjpe_mm"].value == pytest.approx(0, abs=1e-3)
    assert numbers["dexycb_handoccnet"]["pa_mpjpe_mm"].value > 3
    plain = [each["mpjpe_mm"].value for each in numbers.values()]
    assert plain[0] == plain[1] > 20
    assert set(numbers["dexycb_handoccnet"]) & set(METRICS) == {"mpjpe_mm", "pa_mpjpe_mm"}
    assert {"mpvpe_mm", "pa_mpvpe_mm", "f5"} <= set(numbers["dexycb_h2onet"])


def test_mirroring_left_hands_changes_no_distance():
    """Why a rule on left hands is named and nothing is computed for it."""
    rng = np.random.default_rng(0)
    pred, true = rng.normal(size=(2, 4, 21, 3))
    valid, flip = np.ones((4, 21), bool), np.array([-1.0, 1, 1])
    for reflection in (False, True):
        native = Pairs(pred, true, valid, reflection=reflection)
        mirrored = Pairs(pred * flip, true * flip, valid, reflection=reflection)
        assert mirrored.joint_errors_mm == pytest.approx(native.joint_errors_mm)
        assert mirrored.pa_joint_errors_mm == pytest.approx(native.pa_joint_errors_mm)


def test_results_keep_all_they_know(truth, tmp_path):
    found = score(predicted(truth), truth, get("interhand26m"))
    found.write(tmp_path)
    back = result.read(tmp_path)
    assert asdict(back.metrics["mpjpe_mm"]) == pytest.approx(
        asdict(found.metrics["mpjpe_mm"]), nan_ok=True
    )
    assert set(back.levels) >= {"0-25", "75-100", "single", "interacting"}
    assert back.clusters == found.clusters
    # 8 takes: each one's value is told, in the order of their names
    told = back.clusters["recording"]
    assert told["names"] == [f"s{k:03d}" for k in range(8)]
    assert len(told["mpjpe_mm"]["values"]) == 8
    first = found.per_sample["mpjpe_mm"][found.per_sample["recording"] == 0].mean()
    assert told["mpjpe_mm"]["values"][0] == pytest.approx(first)
