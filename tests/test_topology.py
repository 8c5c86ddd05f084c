import hashlib
import json
import pickle
import time
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from handbench.errors import DataError, ShapeError, UnknownName
from handbench.frames import PARTS
from handbench.hand import Hand
from handbench.mesh import topology
from handbench.mesh.decimation import decimate
from handbench.mesh.spirals import HalfEdges, spirals
from handbench.mesh.topology import LEVELS, SIZES
from handbench.mesh.upsampling import barycentric

GOLDEN = Path(__file__).parent / "golden" / "open_hand_topology.json"
TETRAHEDRON = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]])


@pytest.fixture(scope="module")
def hand() -> Hand:
    return Hand.open()


@pytest.fixture(scope="module")
def authors(hand) -> topology.Topology:
    return topology.build(hand, "authors")


def digest(array) -> str:
    return hashlib.sha256(np.ascontiguousarray(array, "<i2").tobytes()).hexdigest()


def probe(size: int) -> np.ndarray:
    return np.cos(np.arange(size))


def dense(data, level: int) -> np.ndarray:
    matrix = np.zeros((SIZES[level], SIZES[level + 1]))
    place = data[f"topo/up_row_{level}"], data[f"topo/up_col_{level}"]
    np.add.at(matrix, place, data[f"topo/up_val_{level}"])
    return matrix


def test_hierarchy_is_that_of_the_authors_decimation(authors):
    known = json.loads(GOLDEN.read_text())
    for level in LEVELS:
        assert digest(authors.keep[level]) == known["keep"][level]
        assert digest(authors.faces[level + 1]) == known["faces"][level + 1]
        assert digest(authors.spirals[level]) == known["spirals"][level]
        lifted = authors.up_matrix(level) @ probe(SIZES[level + 1])
        assert lifted[::64] == pytest.approx(known["lifted"][level], abs=1e-5)


def test_hierarchy_equals_the_shared_arrays(shared, hand, authors):
    with np.load(shared / "fixtures/networks/open_hand_topology.npz") as data:
        ours = topology.from_mesh(
            data["template_v"], data["topo/faces_0"], hand.vertex_part, "authors"
        )
        for level in LEVELS:
            assert np.array_equal(ours.keep[level], data[f"topo/keep_{level}"])
            assert np.array_equal(ours.faces[level + 1], data[f"topo/faces_{level + 1}"])
            assert np.array_equal(ours.spirals[level], data[f"topo/spiral_{level}"])
            assert ours.up_index[level].size == len(data[f"topo/up_val_{level}"])
            assert ours.up_matrix(level) == pytest.approx(dense(data, level), abs=1e-6)
    assert np.array_equal(ours.up_matrix(0), authors.up_matrix(0))


def test_spirals_of_the_authors_meshes(shared, hand):
    path = shared / "fixtures/networks/h2onet_sf.npz"
    loaded = topology.load(path, hand)
    with np.load(path) as data:
        for level in LEVELS:
            assert np.array_equal(loaded.spirals[level], data[f"topo/spiral_{level}"])
            assert np.array_equal(loaded.up_matrix(level), dense(data, level))
        for number, name in enumerate(PARTS):
            mine = np.nonzero(loaded.vertex_part == number)[0]
            assert np.array_equal(mine, np.sort(data[f"parts/verts_{name}"]))


def test_barycentric_is_the_default_and_sums_to_one(hand):
    ours = topology.build(hand)
    assert ours.form == "barycentric"
    for level in LEVELS:
        assert ours.up_weight[level].min() >= 0
        assert ours.up_weight[level].sum(1) == pytest.approx(1, abs=1e-12)
        kept = ours.up_matrix(level)[ours.keep[level]]
        assert np.array_equal(kept, np.eye(SIZES[level + 1]))
    up = ours.up_matrix(0) @ hand.v_template[ours.keep[0]]
    assert np.linalg.norm(up - hand.v_template, axis=1).mean() < 1e-3


def test_barycentric_does_not_depend_on_the_origin_and_the_authors_form_does(hand):
    moved = hand.v_template + [1.0, 2.0, 3.0]
    for form, same in (("barycentric", True), ("authors", False)):
        here = topology.build(hand, form).up_matrix(3)
        there = topology.from_mesh(moved, hand.faces, hand.vertex_part, form)
        assert np.allclose(here, there.up_matrix(3), atol=1e-6) == same


def test_built_once_and_soon(hand, monkeypatch):
    monkeypatch.setattr(topology, "_built", {})
    start = time.process_time()
    first = topology.build(hand)
    assert time.process_time() - start < 3
    assert topology.build(Hand.open()) is first
    assert topology.build(hand.mirrored()) is not first


def test_closest_point_of_a_triangle_in_all_its_regions():
    corner = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    cases = [
        ([0.2, 0.3, 5], [0.5, 0.2, 0.3]),
        ([-1, -1, 1], [1, 0, 0]),
        ([3, -1, 0], [0, 1, 0]),
        ([-1, 3, 0], [0, 0, 1]),
        ([0.25, -2, 0], [0.75, 0.25, 0]),
        ([-2, 0.25, 0], [0.75, 0, 0.25]),
        ([1, 1, 0], [0, 0.5, 0.5]),
    ]
    for point, weight in cases:
        assert barycentric(np.array(point, float), *corner) == pytest.approx(weight)


def test_flat_grid_keeps_its_corners():
    x, y = np.meshgrid(np.arange(4.0), np.arange(4.0))
    verts = np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], 1)
    square = [[i, i + 1, i + 5, i + 4] for i in range(11) if i % 4 < 3]
    faces = np.array([t for a, b, c, d in square for t in ([a, b, c], [a, c, d])])
    keep, fewer = decimate(verts, faces, 8)
    assert len(keep) == 8 and fewer.max() == 7 and (np.diff(keep) > 0).all()
    with pytest.raises(DataError, match="cannot be reduced to -1"):
        decimate(verts, faces, -1)


def test_spirals_on_a_small_closed_mesh():
    ring = HalfEdges(TETRAHEDRON, 4).ring(0)
    assert sorted(ring) == [1, 2, 3]
    points = np.eye(4)[:, :3]
    found = spirals(points, TETRAHEDRON, 4)
    assert np.array_equal(np.sort(found, 1), np.tile(np.arange(4), (4, 1)))
    turned = np.concatenate([TETRAHEDRON, [[0, 1, 2]]])
    with pytest.raises(DataError, match="shares a side"):
        HalfEdges(turned, 4)


def test_files_of_the_authors(hand, authors, tmp_path):
    text = ["ply", "format ascii 1.0", "element vertex 778"]
    text += [f"property double {c}" for c in "xyz"]
    text += ["element face 1538", "property list uchar int vertex_indices", "end_header"]
    text += [" ".join(map(repr, row)) for row in hand.v_template.tolist()]
    text += [f"3 {a} {b} {c}" for a, b, c in hand.faces]
    ply = tmp_path / "template.ply"
    ply.write_text("\n".join(text) + "\n")
    points = [hand.v_template]
    for keep in authors.keep:
        points.append(points[-1][keep])
    content = {
        "vertices": points,
        "face": list(authors.faces),
        "adj": [],
        "up_transform": [sparse_up(authors, level) for level in LEVELS],
        "down_transform": [
            sparse.csc_matrix(np.eye(SIZES[level])[authors.keep[level]]) for level in LEVELS
        ],
    }
    pkl = tmp_path / "transform.pkl"
    pkl.write_bytes(pickle.dumps(content))
    for path in (ply, pkl):
        read = topology.load(path, hand)
        for level in LEVELS:
            assert np.array_equal(read.spirals[level], authors.spirals[level])
            assert np.array_equal(read.keep[level], authors.keep[level])
            assert np.array_equal(read.up_matrix(level), authors.up_matrix(level))


def sparse_up(meshes: topology.Topology, level: int) -> sparse.csc_matrix:
    rows = np.repeat(np.arange(SIZES[level]), 3)
    entries = meshes.up_weight[level].ravel(), (rows, meshes.up_index[level].ravel())
    return sparse.coo_matrix(entries, (SIZES[level], SIZES[level + 1])).tocsc()


def test_faults_are_one_clear_line(hand, tmp_path):
    with pytest.raises(UnknownName, match="did you mean 'authors'"):
        topology.build(hand, "author")
    with pytest.raises(ShapeError, match="are no hand mesh"):
        topology.from_mesh(np.zeros((5, 3)), TETRAHEDRON, hand.vertex_part, "authors")
    with pytest.raises(DataError, match="does not exist"):
        topology.load(tmp_path / "template.ply", hand)
    with pytest.raises(DataError, match="is read from .ply"):
        topology.load(tmp_path / "template.obj", hand)
    wrong = tmp_path / "wrong.npz"
    np.savez(wrong, a=1)
    (tmp_path / "wrong.pkl").write_bytes(pickle.dumps({"face": []}))
    (tmp_path / "wrong.ply").write_text("hello\nworld")
    for name in ("wrong.npz", "wrong.pkl", "wrong.ply"):
        with pytest.raises(DataError, match=name):
            topology.load(tmp_path / name, hand)
