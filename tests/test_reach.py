"""A mesh cut to what can hide a hand gives the same labels as the whole mesh, number by number."""

import dataclasses

import numpy as np
from scipy.spatial.transform import Rotation

from handbench.datasets import ycb
from handbench.datasets.reach import cut_to_reach, hand_reach, may_hide
from handbench.hand import Hand
from handbench.records import Mesh, Scene
from handbench.synthesis.likeness import object_mesh
from handbench.visibility import label_scene

K = np.array([[610.0, 0, 318], [0, 612, 241], [0, 0, 1]])


def test_cutting_changes_no_label():
    hand, rng = Hand.open("right"), np.random.default_rng(4)
    model = object_mesh("021_bleach_cleanser")
    kept, dropped = [], 0
    for _ in range(12):
        verts = hand.pose(rng.normal(0, 0.5, (1, 48)), np.zeros((1, 10)))[0][0]
        verts = verts - verts.mean(0) + [*rng.normal(0, 0.1, 2), 0.6]
        T = np.eye(4)
        T[:3, :3] = Rotation.random(rng=rng).as_matrix()
        T[:3, 3] = verts.mean(0) + rng.normal(0, 0.12, 3)
        points = model.verts_m @ T[:3, :3].T + T[:3, 3]
        reach = hand_reach([verts], K)
        cut = cut_to_reach(model.verts_m, model.faces, T, K, reach)
        own = Mesh(verts, hand.faces, "right")
        scenes = [(own, Mesh(points, model.faces, "object")), (own, Mesh(*cut, "object"))]
        if not may_hide(points, reach, K):
            dropped += 1
            scenes.append((own,))
        whole, *others = [label(Scene(meshes, K, (640, 480)), hand) for meshes in scenes]
        for other in others:
            np.testing.assert_equal(other, whole)
        kept.append(len(cut[1]) / len(model.faces))
    assert dropped and min(kept) == 0 and 0.1 < np.median(kept) < 0.9


def test_a_hand_or_an_object_behind_the_camera_cuts_nothing_away():
    box = np.array([[x, y, z] for x in (-1.0, 1) for y in (-1.0, 1) for z in (-0.2, 0.3)])
    faces = np.array([[0, 1, 2], [5, 6, 7]], np.int32)
    hand = np.array([[0, 0, 0.5], [0.1, 0, 0.6]])
    assert may_hide(box, hand_reach([hand], K), K)
    assert len(cut_to_reach(box, faces, np.eye(4), K, hand_reach([hand], K))[1]) == 2
    reach = hand_reach([hand - [0, 0, 0.55]], K)
    far_left = box + [-5, 0, 0.21]
    assert not np.isfinite(reach[:4]).any()
    assert len(cut_to_reach(far_left, faces, np.eye(4), K, reach)[1]) == 2


def label(scene, hand):
    """All labels of the hand of a scene, by name."""
    return dataclasses.asdict(label_scene(scene, hand, None)[0]["right"])


def test_a_model_without_volume_has_a_hull_and_a_diameter(tmp_path):
    path = tmp_path / "models/021_bleach_cleanser/textured_simple.obj"
    path.parent.mkdir(parents=True)
    path.write_text("v 0 0 0\nv 0.03 0 0\nv 0 0.04 0\nf 1 2 3\n")
    found = ycb.describe(path)
    assert len(found["hull_m"]) == 3 and abs(found["diameter_m"] - 0.05) < 1e-12
