"""Official prediction files: parity with the official numbers, and broken files named."""

import gzip
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from official_reference import scaled, scores_txt

from handbench.errors import DataError, HandbenchError
from handbench.frames import HO3D
from handbench.hand import Hand
from handbench.official import dexycb
from handbench.official.jsonpoints import index
from handbench.official.run import Options, evaluate_official
from handbench.result import read
from handbench.showing import tables

SUBSET = Options(subset=True)
CASES = ("small200", "edge60", "nonmano20")


def write_case(folder, joints, target, verts, true_verts):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pred.json").write_text(json.dumps([joints.tolist(), verts.tolist()]))
    (folder / "evaluation_xyz.json").write_text(json.dumps(target.tolist()))
    (folder / "evaluation_verts.json").write_text(json.dumps(true_verts.tolist()))


@pytest.fixture(scope="module")
def hands():
    """24 hands in HO-3D's frame and order, predictions good, bad, mirrored, flat and all zero."""
    rng = np.random.default_rng(5)
    pose = rng.normal(scale=0.3, size=(24, 48))
    verts, joints = Hand.open().pose(pose, rng.normal(size=(24, 10)))
    shift = np.array([0.02, 0.01, 0.6]) * [1, -1, -1]
    to_file = np.argsort(HO3D)
    target, true_verts = joints[:, to_file] * [1, -1, -1] + shift, verts * [1, -1, -1] + shift
    noise = rng.choice([0.001, 0.005, 0.03], size=(24, 1, 1))
    pred = target + noise * rng.normal(size=target.shape)
    pred_verts = true_verts + noise * rng.normal(size=true_verts.shape)
    pred[3], pred_verts[3] = target[3], true_verts[3]
    pred[4], pred_verts[4] = 0.0, 0.0
    pred[5], pred_verts[5] = target[5] * [-1, 1, 1], true_verts[5] * [-1, 1, 1]
    pred[6, :, 2], pred_verts[6, :, 2] = -0.6, -0.6
    pred[7, 4] = pred[7, 0]
    return pred, target, pred_verts, true_verts


def score(folder, out, options=SUBSET, protocol="ho3d_v2", name="pred.json"):
    return evaluate_official(folder / name, folder, protocol, out, options)


def test_own_case_equals_the_definitions(hands, tmp_path):
    write_case(tmp_path, *hands)
    found = score(tmp_path, tmp_path / "out")
    text, per_sample = scores_txt(*hands)
    assert (tmp_path / "out" / "scores.txt").read_text() == text
    for k, name in enumerate(("f5", "f15")):
        assert np.array_equal(found.per_sample[name], per_sample[:, k, 0])
        assert np.array_equal(found.per_sample[f"pa_{name}"], per_sample[:, k, 1])
    again = read(tmp_path / "out")
    lines = dict(line.split(": ") for line in text.splitlines())
    assert f"{again.metrics['pa_mpjpe_mm'].value / 10:f}" == lines["xyz_procrustes_al_mean3d"]
    assert f"{again.metrics['auc50_verts'].value:f}" == lines["mesh_auc3d"]


def test_a_mesh_of_other_topology_equals_the_definitions(hands, tmp_path):
    pred, target, verts, true_verts = hands
    write_case(tmp_path, pred, target, verts[:, ::3], true_verts)
    found = score(tmp_path, tmp_path / "out")
    text, per_sample = scores_txt(pred, target, verts[:, ::3], true_verts)
    assert (tmp_path / "out" / "scores.txt").read_text() == text
    assert "mesh_mean3d: -100.000000" in text
    assert np.array_equal(found.per_sample["pa_f15"], per_sample[:, 1, 1])


def test_freihand_prints_its_own_lines(hands, tmp_path):
    pred, target, verts, true_verts = (part * [1, -1, -1] for part in hands)
    order = HO3D
    write_case(tmp_path, pred[:, order], target[:, order], verts, true_verts)
    found = score(tmp_path, tmp_path / "out", protocol="freihand")
    # the bone to the middle finger, wherever the file's order has it
    in_ho3d = [scaled(*pair) for pair in zip(hands[1], hands[0])]
    wanted = 1000 * np.linalg.norm(in_ho3d - hands[1], axis=-1).mean()
    assert found.metrics["st_mpjpe_mm"].value == pytest.approx(wanted)
    names = [
        line.split(":")[0] for line in (tmp_path / "out" / "scores.txt").read_text().splitlines()
    ]
    assert names[:4] == ["xyz_mean3d", "xyz_auc3d", "xyz_al_mean3d", "xyz_al_auc3d"]
    assert len(names) == 12


@pytest.mark.parametrize("case", CASES)
def test_official_outputs(shared, tmp_path, case):
    folder = shared / "fixtures" / "eval" / case
    for name in ("pred.json", "evaluation_xyz.json", "evaluation_verts.json"):
        (tmp_path / name).write_bytes(gzip.decompress((folder / f"{name}.gz").read_bytes()))
    found = score(tmp_path, tmp_path / "out")
    assert (tmp_path / "out" / "scores.txt").read_text() == (folder / "scores.txt").read_text()
    official = np.load(folder / "official_per_sample.npz")["fscore"]
    for k, name in enumerate(("f5", "f15")):
        assert np.array_equal(found.per_sample[name], official[:, k, 0])
        assert np.array_equal(found.per_sample[f"pa_{name}"], official[:, k, 1])


def test_official_dexycb_output(shared, tmp_path):
    folder = shared / "fixtures" / "eval" / "dexycb"
    official = json.loads((folder / "official_dexycb.json").read_text())["measures"]
    truth = np.load(folder / "dexycb_gt_joint_3d_m.npz")["joint_3d"]
    text = gzip.decompress((folder / "dexycb_pred.txt.gz").read_bytes())
    (tmp_path / "pred.txt").write_bytes(text)
    found = dexycb.evaluate(dexycb.read_results(tmp_path / "pred.txt"), truth)
    for row in dexycb.ROWS:
        assert found.auc[row] == official[row]["auc"]
        assert found.mpjpe_mm[row] == pytest.approx(official[row]["mean_mm"], abs=1e-10)
        assert np.array_equal(found.curves[row], official[row]["pck"])


def test_dexycb_by_hand(tmp_path):
    """Two samples shifted by 3 mm and one unlabelled: absolute 3, relative and aligned 0."""
    truth = np.random.default_rng(0).normal(scale=0.05, size=(3, 21, 3)).astype(np.float32)
    truth[1] = -1
    rows = [
        ",".join(map(str, [k, *(truth[k].astype(float) * 1000 + [3, 0, 0]).ravel()]))
        for k in (2, 0, 1)
    ]
    (tmp_path / "r.txt").write_text("\n".join(rows) + "\n")
    np.savez(tmp_path / "gt.npz", joint_3d=truth)
    found = evaluate_official(
        tmp_path / "r.txt", tmp_path / "gt.npz", "dexycb_hpe", tmp_path / "out", Options()
    )
    assert found.metrics["raw_mpjpe_mm"].value == pytest.approx(3, abs=1e-4)
    assert found.metrics["mpjpe_mm"].value == pytest.approx(0, abs=1e-4)
    assert list(found.per_sample["id"]) == ["0", "2"]
    # of the 100 thresholds from 0 to 50 mm the seventh, 3.03, is the first that they reach
    auc = dexycb.evaluate(dexycb.read_results(tmp_path / "r.txt"), truth).auc
    assert auc["absolute"] == pytest.approx(93.5 / 99)
    (tmp_path / "r.txt").write_text(rows[0] + "\n")
    with pytest.raises(DataError, match="first is index 0"):
        evaluate_official(
            tmp_path / "r.txt", tmp_path / "gt.npz", "dexycb_hpe", tmp_path / "out", Options()
        )
    for line in ("1,2,nan", "1.5" + 63 * ",0"):
        (tmp_path / "r.txt").write_text(f"{rows[0]}\n{line}\n")
        with pytest.raises(DataError, match="line 2"):
            dexycb.read_results(tmp_path / "r.txt")
    (tmp_path / "r.txt").write_text(f"{rows[0]}\n0{63 * ',nan'}\n")
    results = dexycb.read_results(tmp_path / "r.txt")
    with pytest.raises(DataError, match="first is index 0"):
        dexycb.evaluate(results, truth)
    assert dexycb.evaluate(results, truth, "drop").mpjpe_mm["absolute"] == pytest.approx(3)
    assert dexycb.evaluate(results, truth, "worst").mpjpe_mm["absolute"] == pytest.approx(501.5)


def test_another_count_than_the_official_one_says_both(hands, tmp_path):
    write_case(tmp_path, *hands)
    with pytest.raises(DataError, match="have 24 samples, ho3d_v2 has 11,524"):
        score(tmp_path, tmp_path / "out", Options())
    pred, target, verts, true_verts = hands
    write_case(tmp_path, pred[:20], target, verts[:20], true_verts)
    with pytest.raises(DataError, match="20 joint and 20 mesh samples.*24 and 24"):
        score(tmp_path, tmp_path / "out")
    write_case(tmp_path, pred[:, :20], target, verts, true_verts)
    with pytest.raises(DataError, match="20 predicted joints"):
        score(tmp_path, tmp_path / "out")


@pytest.mark.parametrize("where", ["joints", "mesh"])
def test_nan_is_named_dropped_or_made_the_worst(hands, tmp_path, where):
    pred, target, verts, true_verts = (part.copy() for part in hands)
    clean = tmp_path / "clean"
    write_case(clean, *hands)
    before = score(clean, clean / "out")
    (pred if where == "joints" else verts)[9, 3, 1] = np.nan
    write_case(tmp_path, pred, target, verts, true_verts)
    with pytest.raises(DataError, match="sample 9"):
        score(tmp_path, tmp_path / "out")
    name = "pa_mpjpe_mm" if where == "joints" else "pa_mpvpe_mm"
    dropped = score(tmp_path, tmp_path / "drop", Options(True, "drop"))
    others = np.delete(before.per_sample[name], 9)
    assert dropped.metrics[name].value == pytest.approx(others.mean())
    told = tables.comparison([dropped]).notes
    assert f"not finite and left out of the means: {tmp_path.name} 1 hand" in told
    true = json.loads((tmp_path / "evaluation_xyz.json").read_text())
    true[3][2][1] = float("nan")
    (clean / "evaluation_xyz.json").write_text(json.dumps(true))
    with pytest.raises(DataError, match="evaluation_xyz.json: sample 3 of the truth"):
        score(clean, clean / "out")
    worst = score(tmp_path, tmp_path / "worst", Options(True, "worst"))
    assert worst.per_sample[name][9] == pytest.approx(1000)
    assert worst.metrics[name].n == 24


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda p: p * 1000, "millimetres"),
        (lambda p: p * [1, -1, -1], "OpenGL"),
        (lambda p: p * [-1, 1, 1], "left and right"),
        (lambda p: 1000 * p * [1, -1, -1], "millimetres; metres are wanted; and they fit after"),
    ],
)
def test_likely_mistakes_are_named(hands, tmp_path, capsys, change, word):
    _, target, _, true_verts = hands
    rng = np.random.default_rng(0)
    near = target + rng.normal(scale=0.003, size=target.shape)
    write_case(tmp_path, change(near), target, change(true_verts), true_verts)
    score(tmp_path, tmp_path / "out")
    assert word in capsys.readouterr().err
    write_case(tmp_path, near, target, true_verts, true_verts)
    score(tmp_path, tmp_path / "out")
    assert "warning" not in capsys.readouterr().err


def test_mistaken_joint_order_is_named_and_the_frame_can_be_assumed(hands, tmp_path, capsys):
    _, target, _, true_verts = hands
    write_case(tmp_path, target[:, HO3D], target, true_verts, true_verts)
    score(tmp_path, tmp_path / "out")
    assert "joint order" in capsys.readouterr().err
    both = target[:, HO3D] * [1, -1, -1]
    write_case(tmp_path, both, target, true_verts, true_verts)
    score(tmp_path, tmp_path / "out")
    assert "OpenGL axes are mistaken for each other; and they fit in another joint order" in (
        capsys.readouterr().err
    )
    opencv = (target * [1, -1, -1], target, true_verts * [1, -1, -1], true_verts)
    write_case(tmp_path, *opencv)
    found = score(tmp_path, tmp_path / "out", Options(True, assume_frame="opencv"))
    assert found.metrics["mpjpe_mm"].value == pytest.approx(0, abs=1e-9)


def test_zip_sequences_and_levels(hands, tmp_path):
    write_case(tmp_path, *hands)
    with zipfile.ZipFile(tmp_path / "pred.ZIP", "w") as archive:
        archive.write(tmp_path / "pred.json", "pred.json")
    names = [f"SM{k // 2}{1 + k % 2}/{k:04d}" for k in range(24)]
    (tmp_path / "evaluation.txt").write_text("\n".join(names))
    rows = ["official_index,level"] + [f"{k},{'0-25' if k < 10 else '75-100'}" for k in range(24)]
    (tmp_path / "levels.csv").write_text("\n".join(rows))
    options = Options(True, levels=tmp_path / "levels.csv")
    found = score(tmp_path, tmp_path / "out", options, name="pred.ZIP")
    assert len(np.unique(found.per_sample["recording"])) == 12
    assert np.isfinite(found.metrics["mpjpe_mm"].low)
    assert found.levels["0-25"]["mpjpe_mm"].n == 10
    assert found.levels["75-100"]["mpjpe_mm"].n == 14


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("[[[[1,2,3]]", "cut short"),
        ("[[[[1,2,3]]],[[[1,2,3]]]] x", "follows"),
        ("[[[[1,2]]],[[[1,2,3]]]]", "exactly three numbers"),
        ("[[[[1,2,3]],[[1,2,3],[1,2,3]]],[[[1,2,3]]]]", "sample 1 has 2 points"),
        ('{"joints": []}', "not a JSON list"),
        ("[[[1,2,3]]]", "nested otherwise"),
        ('[[[[1,2,"3"]]],[[[1,2,3]]]]', "something else"),
        ("[[[[1,2,x]]],[[[1,2,3]]]]", "no number"),
        ("[[[[1,2,3]],],[[[1,2,3]]]]", "comma is missing or too many at sample 1"),
        ("[[[[1,2,3]]][[[1,2,3]]]]", "comma is missing or too many"),
    ],
)
def test_broken_json_is_named(tmp_path, text, said):
    path = tmp_path / "pred.json"
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        [part.read(0, len(part)) for part in index(path, 2)]


def test_one_line_and_exit_code_on_the_command_line(hands, tmp_path):
    write_case(tmp_path, *hands)
    command = [sys.executable, "-P", "-m", "handbench", "eval", "--protocol", "ho3d_v2"]
    command += ["--predictions", tmp_path / "pred.json", "--ground-truth", tmp_path]
    done = subprocess.run(
        [*map(str, command), "--out", str(tmp_path / "o")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("handbench: ")
    assert not (tmp_path / "o").exists()
    with pytest.raises(HandbenchError, match="joint_3d"):
        evaluate_official(tmp_path / "pred.json", tmp_path, "dexycb_hpe", tmp_path, Options())
