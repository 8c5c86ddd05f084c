"""Objects and occluders: closed, outward, of everyday size, varied by seed, split by class."""

from collections import Counter

import numpy as np
import pytest

from handbench.errors import UnknownName
from handbench.synthesis import distance
from handbench.synthesis.objects import MAKERS, OCCLUDERS, SPLIT_OBJECTS, make


@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize("name", [*MAKERS, *OCCLUDERS])
def test_surface_is_closed_and_faces_outward(name, seed):
    thing = make(name, seed)
    edges = Counter(
        (int(face[k]), int(face[(k + 1) % 3])) for face in thing.faces for k in range(3)
    )
    assert set(edges.values()) == {1}, "an edge is run twice in one direction"
    assert all((b, a) in edges for a, b in edges), "an open edge"
    a, b, c = (thing.verts_m[thing.faces[:, k]] for k in range(3))
    assert np.linalg.norm(np.cross(b - a, c - a), axis=1).min() > 0
    assert np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6 > 1e-6  # m3: outward
    assert thing.faces.min() == 0
    assert thing.faces.max() == len(thing.verts_m) - 1
    assert len(np.unique(thing.faces)) == len(thing.verts_m)


@pytest.mark.parametrize("name", [*MAKERS, *OCCLUDERS])
def test_size_colours_and_seeds(name):
    first, again, other = make(name, 3), make(name, 3), make(name, 4)
    assert 250 <= len(first.faces) <= 2500
    extent = np.ptp(first.verts_m, axis=0)
    assert 0.03 < extent.max() < 0.5
    assert extent.min() > 0.008
    np.testing.assert_allclose(first.verts_m.min(0) + first.verts_m.max(0), 0, atol=1e-9)
    assert first.diameter_m >= extent.max()
    assert first.face_colours.shape == first.faces.shape
    assert first.face_colours.min() >= 0
    assert first.face_colours.max() <= 1
    np.testing.assert_array_equal(first.verts_m, again.verts_m)
    np.testing.assert_array_equal(first.face_colours, again.face_colours)
    assert np.abs(first.verts_m - other.verts_m).max() > 1e-4
    assert np.abs(first.face_colours - other.face_colours).max() > 0.01
    assert len(first.bars) == len(first.bar_kinds)
    assert np.abs(first.bars).max(initial=0) < 0.3


def test_splits_are_disjoint_and_each_has_all_kinds_of_things():
    names = [name for split in SPLIT_OBJECTS.values() for name in split]
    assert len(names) == len(set(names))
    assert set(names) == set(MAKERS)
    for split, own in SPLIT_OBJECTS.items():
        things = [make(name, 0) for name in own]
        assert any("handle" in t.bar_kinds for t in things), split
        assert any(0 in [fold for _, fold in t.symmetries] for t in things), f"{split}: round"
        assert any(t.symmetries == (("x", 2), ("y", 2), ("z", 2)) for t in things), f"{split}: box"
        slim = [np.sort(np.ptp(t.verts_m, axis=0))[0] for t in things]
        assert min(slim) < 0.035, f"{split}: nothing thin"


def test_unknown_name_is_one_line():
    with pytest.raises(UnknownName, match="did you mean 'mug'"):
        make("mugg", 0)


def test_labels_are_crisp():
    """A carton shows few flat colours, not blends."""
    assert len(np.unique(make("sugar_box", 0).face_colours, axis=0)) <= 4


@pytest.mark.parametrize("name", ["mug", "scissors", "sugar_box"])
def test_distance_grid_agrees_with_brute_force(name):
    thing = make(name, 1)
    grid = distance.grid(thing.verts_m, thing.faces)
    rng = np.random.default_rng(0)
    points = rng.uniform(thing.verts_m.min(0) - 0.01, thing.verts_m.max(0) + 0.01, (400, 3))
    exact = distance.distances(points, thing.verts_m, thing.faces)
    inside = distance.winding(points, thing.verts_m, thing.faces) > 0.5
    assert inside.any()
    found = distance.sample_all(grid.values, grid.origin, grid.step, points)
    clear = exact > 0.001
    np.testing.assert_array_equal((found < 0)[clear], inside[clear])
    near = ~inside & (exact < 0.01)
    assert np.abs(found - exact)[near].max() < 0.001
    assert (found <= exact + 0.001)[~inside].all()  # far away it is a safe bound


def test_point_triangle_in_every_region():
    corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    faces = np.array([[0, 1, 2]])
    cases = {
        (0.2, 0.2, 0.5): 0.5,
        (-1.0, -1.0, 0.0): 2**0.5,
        (2.0, 0.0, 0.0): 1.0,
        (0.0, 3.0, 0.0): 2.0,
        (0.5, -0.5, 0.0): 0.5,
        (-0.5, 0.5, 0.0): 0.5,
        (1.0, 1.0, 0.0): 0.5**0.5,
    }
    points = np.array(list(cases))
    np.testing.assert_allclose(
        distance.distances(points, corners, faces), list(cases.values()), atol=1e-12
    )
