"""Lines of sight: the cases where rounding or touching surfaces could decide wrongly."""

import numpy as np

from handbench import raster, sight

EYE = np.eye(3)


def hidden(verts: np.ndarray, faces: list, targets: list[int]) -> list[bool]:
    points, pixels = raster.project(verts, EYE)
    faces = raster.as_faces(np.array(faces), len(verts))
    return sight.hide(points, pixels, faces, np.array(targets, np.int64)).tolist()


def screen(z: float) -> np.ndarray:
    """A triangle over pixels -10..10 at one depth."""
    return np.array([[-10.0, -10, 1], [30, -10, 1], [-10, 30, 1]]) * z


def test_a_face_never_hides_its_own_vertex():
    """Needles along the line of sight: at their vertices the products are nothing but rounding."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        tip = rng.uniform([-3, -3, 1], [3, 3, 2])
        verts = np.stack([tip, tip * 0.5, tip * 0.7]) + rng.normal(0, 1e-15, (3, 3))
        assert hidden(verts, [[0, 1, 2]], [0]) == [False]


def test_what_touches_does_not_hide():
    """A face in the plane of the vertex, nearer by 1e-8 or 1e-4 of the depth, or behind it."""
    point = np.array([[1.0, 2, 1]]) * 2
    for z, expected in ((2.0, False), (2 - 2e-8, False), (2 - 2e-4, True), (2 + 2e-8, False)):
        verts = np.concatenate([point, screen(z)])
        assert hidden(verts, [[1, 2, 3]], [0]) == [expected]


def test_edges_and_corners_hide():
    points = np.array([[-10.0, 4, 1], [3, -10, 1], [10, 10, 1], [-10, -10, 1], [30, -10, 1]])
    verts = np.concatenate([points * 2, screen(1)])
    assert hidden(verts, [[5, 6, 7]], [0, 1, 2, 3, 4]) == [True] * 5
    outside = points + [[-1, 0, 0], [0, -1, 0], [1, 1, 0], [-1, -1, 0], [1, 0, 0]]
    verts = np.concatenate([outside * 2, screen(1)])
    assert hidden(verts, [[5, 6, 7]], [0, 1, 2, 3, 4]) == [False] * 5


def test_a_face_within_the_near_plane_hides_nothing():
    """It reaches out to 1 m, but crosses the line of sight at less than NEAR_M."""
    near = screen(0.3 * raster.NEAR_M)
    near[1] = 30, -10, 1
    verts = np.concatenate([[[-8.0, 0, 1]], near])
    assert hidden(verts, [[1, 2, 3]], [0]) == [False]
    verts[1:, 2] *= 10
    verts[1:, :2] *= 10
    assert hidden(verts, [[1, 2, 3]], [0]) == [True]


def test_a_face_that_reaches_behind_the_camera_hides():
    verts = np.array([[0.0, 0, 2], [-5, -5, 1], [5, -5, 1], [0, 20, -1.5]])
    assert hidden(verts, [[1, 2, 3]], [0]) == [True]


def test_no_targets_and_no_faces():
    verts = np.concatenate([[[1.0, 2, 1]], screen(0.5)])
    assert hidden(verts, [[1, 2, 3]], []) == []
    assert hidden(verts, np.empty((0, 3), int), [0]) == [False]
