"""Two hands, handedness and objects of whole pictures; MSSD against brute force."""

from dataclasses import replace

import numpy as np
import pytest
from fakes import FakeReader

from handbench.datasets.h2o3d import H2O3D
from handbench.datasets.ho3d import HO3D
from handbench.predictions import Predictions, read
from handbench.preparing.prepare import prepare
from handbench.protocol import get
from handbench.scoring.aggregate import means
from handbench.scoring.images import shapes_of
from handbench.scoring.mssd import (
    about,
    average_recall,
    kept_shape,
    mssd_mm,
    shape,
    symmetries,
)
from handbench.scoring.score import score
from handbench.scoring.truth import of_split
from handbench.showing.breakdowns import by_interaction
from handbench.store import open_split
from handbench.synthesis.symmetry import object_shape


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fake")
    prepare(FakeReader("test", sequences=2, rows=9), folder)
    return of_split(open_split("fake/test", folder))


def perfect(truth, **more):
    joints, _, wrist = truth.joints_m()
    return Predictions(
        truth.id,
        truth.is_left,
        joints.astype(np.float32),
        root_m=wrist.astype(np.float32),
        attributes={"root_source": "predicted"},
        **more,
    )


def pictures(truth):
    """Rows of images with two hands, and left minus right of all images."""
    columns = truth.split.columns
    right, left = columns["right/joints_m"][:, 0], columns["left/joints_m"][:, 0]
    return np.flatnonzero(np.isfinite(left[:, 0])), left - right


def test_root_error_is_of_pictures_with_two_hands(truth):
    both, offset = pictures(truth)
    given = perfect(truth)
    moved = given.root_m.copy()
    moved[truth.is_left] += [0.0, 0.012, 0.016]
    found = score(replace(given, root_m=moved), truth, get("interhand26m"))
    assert found.metrics["mrrpe_mm"].value == pytest.approx(20.0, abs=1e-3)
    assert found.metrics["mrrpe_mm"].n == len(both)
    assert found.levels["interacting"]["mrrpe_mm"].n == len(both)
    assert found.levels["single"]["mrrpe_mm"].n == 0
    table = by_interaction([found])
    cells = table.rows[0].cells
    assert cells["interacting"].estimate.n == 2 * len(both)
    assert cells["single"].estimate.n + 2 * len(both) == cells["all"].estimate.n == len(truth)
    assert cells["mrrpe_mm"].value == found.metrics["mrrpe_mm"].value
    # the images' own vector goes before the roots
    per_image = {
        "image_id": np.asarray(truth.split.columns["id"]).astype(str),
        "left_minus_right_m": offset + [0.005, 0, 0],
    }
    found = score(replace(given, root_m=moved, per_image=per_image), truth, get("interhand26m"))
    assert found.metrics["mrrpe_mm"].value == pytest.approx(5.0, abs=1e-3)


def test_arrays_of_pictures_are_kept_in_a_file(truth, tmp_path):
    names = np.asarray(truth.split.columns["id"]).astype(str)
    poses = np.random.default_rng(0).normal(size=(len(names), 4, 4))
    given = replace(perfect(truth), per_image={"image_id": names, "object/T_camera": poses})
    given.write(tmp_path / "predictions.h5")
    kept = read(tmp_path / "predictions.h5")
    assert set(kept.per_image) == {"image_id", "object/T_camera"}
    np.testing.assert_array_equal(kept.per_image["image_id"], names)
    np.testing.assert_allclose(kept.per_image["object/T_camera"], poses, atol=1e-6)
    np.testing.assert_array_equal(kept.joints_m, given.joints_m)


def test_roots_of_the_truth_give_no_root_error(truth):
    given = replace(perfect(truth), attributes={"root_source": "ground_truth"})
    assert "mrrpe_mm" not in score(given, truth, get("interhand26m")).metrics


def test_handedness_counts_pictures(truth):
    both, _ = pictures(truth)
    images = len(truth.split)
    given = perfect(truth, hand_score=np.ones(len(truth), np.float32))
    found = score(given, truth, get("interhand26m")).metrics["handedness_acc"]
    assert (found.value, found.n) == (1.0, images)
    silent = np.where(truth.is_left, 0.4, 0.9).astype(np.float32)
    found = score(replace(given, hand_score=silent), truth, get("interhand26m"))
    assert found.metrics["handedness_acc"].value == pytest.approx(1 - len(both) / images)


def test_interhand_averages_over_joints_and_not_over_hands():
    """Joint 3 of right hands is known once, the other joints of right hands three times."""
    errors = np.full((4, 21), 10.0)
    errors[0, 3] = 94.0
    errors[1:3, 3] = np.nan
    errors[3] = 20.0  # the only left hand
    kept = {
        "joint_errors_mm": errors,
        "mpjpe_mm": np.nanmean(errors, axis=1),
        "is_left": np.array([False, False, False, True]),
        "recording": np.zeros(4, int),
    }
    found = means(kept, ["mpjpe_mm"], np.ones(4, bool), "joint")["mpjpe_mm"]
    assert found.value == pytest.approx((20 * 10 + 94 + 21 * 20) / 42)
    assert found.n == 4
    rights = means(kept, ["mpjpe_mm"], ~kept["is_left"], "joint")["mpjpe_mm"]
    assert rights.value == pytest.approx((20 * 10 + 94) / 21)


def test_objects_are_scored_by_the_shapes_of_their_split(truth):
    columns = truth.split.columns
    poses = columns["object/T_camera"].astype(float)
    poses[:, 0, 3] += 0.03
    per_image = {"image_id": columns["id"].astype(str), "object/T_camera": poses}
    cube = shape(np.array(np.meshgrid(*[[-0.1, 0.1]] * 3)).reshape(3, -1).T)
    given = replace(perfect(truth), per_image=per_image)
    found = score(given, truth, get("h2o3d"), shapes={"box1": cube}).metrics["mssd_mm"]
    assert found.value == pytest.approx(30.0)
    names = np.array(truth.split.tables["objects"])[columns["object/name"]]
    assert found.n == (names == "box1").sum()
    assert "mssd_mm" not in score(given, truth, get("h2o3d")).metrics


def random_pose(rng):
    T = about(rng.normal(size=3), (0, 0, 0), rng.uniform(0, 180))
    T[:3, 3] = rng.normal(size=3)
    return T


def test_hull_points_and_symmetries_give_the_exact_distance():
    rng = np.random.default_rng(0)
    points = rng.normal(scale=0.05, size=(300, 3))
    flip = about((0, 0, 1), (0, 0, 0), 180)
    S = symmetries([flip], [((0, 0, 1), (0.01, 0, 0))], step=0.5)
    assert len(S) == 2 * 7
    assert np.array_equal(S[0], np.eye(4))
    model = shape(points, S)
    assert len(model.points_m) < 150
    for _ in range(3):
        E, G = random_pose(rng), random_pose(rng)
        brute = min(max(np.linalg.norm(E @ [*x, 1] - G @ s @ [*x, 1]) for x in points) for s in S)
        assert mssd_mm(E[None], G[None], model)[0] == pytest.approx(1000 * brute)
        assert mssd_mm((G @ flip)[None], G[None], model)[0] == pytest.approx(0, abs=1e-9)


def test_named_variants_of_bop_and_kypt():
    assert len(symmetries(axes=[((0, 0, 1), (0, 0, 0))])) == 315
    assert {k: len(turns) for k, turns in HO3D.turns_deg.items()} == {6: 2, 10: 2, 21: 2}
    listed = {k: len(turns) for k, turns in H2O3D.turns_deg.items()}
    assert listed == {3: 2, 4: 2, 6: 2, 10: 2, 21: 2, 19: 72, 24: 72, 25: 72}
    told = {"hull_m": np.eye(3), "diameter_m": 1.4, "turns_deg": HO3D.turns_deg[6]}
    assert kept_shape(told).symmetries == pytest.approx(
        np.stack([np.eye(4), np.diag([-1, -1, 1, 1])])
    )
    assert kept_shape({**told, "turns_deg": [0.0]}).symmetries == pytest.approx(np.eye(4)[None])
    cube = shape(np.array(np.meshgrid(*[[-0.1, 0.1]] * 3)).reshape(3, -1).T)
    assert cube.diameter_m == pytest.approx(0.2 * np.sqrt(3))
    far, near = np.eye(4), np.eye(4)
    far[0, 3], near[0, 3] = 0.4, 0.3
    poses = np.stack([far, near, np.full((4, 4), np.nan)])
    true = np.repeat(np.eye(4)[None], 3, 0)
    assert mssd_mm(poses, true, cube) == pytest.approx([400, 300, np.nan], nan_ok=True)
    early = mssd_mm(poses, true, cube, early_inf=True)
    assert early == pytest.approx([np.inf, 300, np.nan], nan_ok=True)
    # 100 mm of 500: exactly 0.20, so strictly below 0.25 to 0.50
    assert average_recall(np.array([100.0, np.inf]), np.array([0.5, 0.5])) == 0.3


def test_made_objects_look_alike_under_their_symmetries():
    """Each symmetry maps the object's own surface onto itself, and a can's pose has two ways up."""
    found = {name: object_shape(name) for name in ("soup_can_01", "ball_02", "mug_00")}
    can, pose = found["soup_can_01"], random_pose(np.random.default_rng(1))
    assert len(can.symmetries) == 2 * 315
    upside_down = pose @ about((1, 0, 0), (0, 0, 0), 180)
    assert mssd_mm(upside_down[None], pose[None], can)[0] == pytest.approx(0, abs=1e-6)
    turned = pose @ about((0, 0, 1), (0, 0, 0), 50.0)
    assert mssd_mm(turned[None], pose[None], can)[0] < 1  # within a step of 1.1 degrees
    assert mssd_mm(turned[None], pose[None], found["mug_00"])[0] > 20
    assert len(object_shape("cracker_box_00_mirrored").symmetries) == 4
    shifted = random_pose(np.random.default_rng(2))
    shifted[:3, 3] = pose[:3, 3] + [0, 0.03, 0.04]
    assert mssd_mm(shifted[None], pose[None], found["ball_02"])[0] == pytest.approx(50.0)


def test_a_split_finds_the_shapes_of_its_objects(truth, monkeypatch):
    given = replace(perfect(truth), per_image={"object/T_camera": np.eye(4)[None]})
    assert shapes_of(truth.split, given) == {}  # its reader knows none
    monkeypatch.setitem(truth.split.attributes, "dataset", "synthetic")
    monkeypatch.setitem(truth.split.tables, "objects", np.array(["mug_00", "ball_02"]))
    assert set(shapes_of(truth.split, given)) == {"mug_00", "ball_02"}
    assert shapes_of(truth.split, perfect(truth)) == {}
