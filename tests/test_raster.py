"""The rasteriser against exact rational arithmetic, ray casting, and closed forms."""

from fractions import Fraction

import numpy as np
import pytest

from handbench import raster
from handbench.errors import DataError, ShapeError
from handbench.hand import default_hand

K = np.array([[300.0, 0, 80], [0, 310, 60], [0, 0, 1]])
SIZE = 160, 120
EYE = np.eye(3)


def soup(seed: int, triangles: int = 40, spread: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Random loose triangles before the camera; some of them tiny, some slivers, some behind."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform([-0.15, -0.12, 0.1], [0.15, 0.12, 0.8], (triangles, 1, 3))
    verts = centre + rng.normal(0, spread * rng.random((triangles, 1, 1)) ** 2, (triangles, 3, 3))
    return verts.reshape(-1, 3), np.arange(3 * triangles).reshape(-1, 3)


def scene(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The open hand, posed, and loose triangles before and behind it."""
    rng = np.random.default_rng(seed)
    hand = default_hand("right")
    verts, _ = hand.pose(rng.normal(0, 0.4, (1, 48)), rng.normal(0, 1, (1, 10)))
    loose, faces = soup(seed, 60, 0.08)
    verts = np.concatenate([verts[0] - verts[0].mean(0) + [0, 0, 0.4], loose])
    return verts, np.concatenate([hand.faces, faces + 778])


def exact_face(triangles: list, x: int, y: int) -> tuple[int, Fraction]:
    """Nearest face at a pixel by rational arithmetic, with the edge rule as documented."""

    def cross(a, b):
        return (
            a[1] * b[2] - a[2] * b[1],
            a[2] * b[0] - a[0] * b[2],
            a[0] * b[1] - a[1] * b[0],
        )

    found, nearest = -1, Fraction(0)
    for index, (a, b, c) in enumerate(triangles):
        planes = [cross(b, c), cross(c, a), cross(a, b)]
        det = sum(p * q for p, q in zip(a, planes[0]))
        if det == 0:
            continue
        planes = [[p * (1 if det > 0 else -1) for p in plane] for plane in planes]
        edges = [plane[0] * x + plane[1] * y + plane[2] for plane in planes]
        # a centre on an edge is inside when a step to the right, else downwards, goes inside
        inside = all(e > 0 or (e == 0 and tuple(p[:2]) > (0, 0)) for e, p in zip(edges, planes))
        inverse = sum(edges) / abs(det)
        if inside and nearest < inverse <= 1 / Fraction(raster.NEAR_M):
            found, nearest = index, inverse
    return found, nearest


@pytest.mark.parametrize("seed", range(4))
def test_pixels_equal_rational_arithmetic_even_on_edges(seed):
    """Vertices on pixel centres, some behind the camera: edges run through centres everywhere."""
    rng = np.random.default_rng(seed)
    depth = rng.choice([0.5, 1.0, 2.0, 4.0, -1.0], (25, 3, 1), p=[0.24, 0.24, 0.24, 0.24, 0.04])
    pixel = rng.integers(-3, 16, (25, 3, 2))
    verts = np.concatenate([pixel * depth, depth], -1)
    exact = [[[Fraction(float(v)) for v in vertex] for vertex in face] for face in verts]
    face_id, depth_m = raster.face_ids(
        verts.reshape(-1, 3), np.arange(75).reshape(-1, 3), EYE, (12, 12)
    )
    for y in range(12):
        for x in range(12):
            index, inverse = exact_face(exact, x, y)
            shown = face_id[y, x]
            if shown != index:  # equal depth: the rounded products cannot tell which is nearer
                assert shown >= 0
                assert exact_face([exact[shown]], x, y)[1] == inverse
            if index >= 0:
                assert depth_m[y, x] == pytest.approx(float(1 / inverse), rel=1e-6)


def test_neighbours_leave_no_gap_and_no_overlap():
    """A fan and a grid with edges through pixel centres: every centre is covered exactly once."""
    rng = np.random.default_rng(3)
    grid = np.stack(np.meshgrid(np.arange(-2, 15, 2.0), np.arange(-2, 15, 2.0)), -1).reshape(-1, 2)
    inner = (grid > -2).all(1) & (grid < 14).all(1)
    grid[inner] += rng.choice([0, 0.25, 0.5], (inner.sum(), 2))
    depth = rng.uniform(0.5, 2, (len(grid), 1))
    at = np.arange(81).reshape(9, 9)
    a, b, c, d = at[:-1, :-1].ravel(), at[:-1, 1:].ravel(), at[1:, :-1].ravel(), at[1:, 1:].ravel()
    faces = np.concatenate([np.stack([a, b, d], 1), np.stack([a, d, c], 1)])
    verts = np.concatenate([grid * depth, depth], 1)
    covered = sum(raster.face_ids(verts, face[None], EYE, (12, 12))[0] >= 0 for face in faces)
    assert (covered == 1).all()


@pytest.mark.parametrize("seed", range(3))
def test_equals_embree(seed):
    """Faces equal those of an independent ray caster, which computes in float32."""
    trimesh = pytest.importorskip("trimesh")
    embree = pytest.importorskip("trimesh.ray.ray_pyembree")
    verts, faces = scene(seed)
    face_id, depth_m = raster.face_ids(verts, faces, K, SIZE)
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    rays = np.stack([(x - K[0, 2]) / K[0, 0], (y - K[1, 2]) / K[1, 1], np.ones(x.shape)], -1)
    caster = embree.RayMeshIntersector(
        trimesh.Trimesh(verts, faces, process=False), scale_to_box=False
    )
    hit = caster.intersects_first(np.zeros((x.size, 3)), rays.reshape(-1, 3)).reshape(x.shape)
    # float32 may differ where a centre lies on an edge, to rounding, or two surfaces meet
    unsure = margin(verts, faces, np.where(face_id >= 0, face_id, hit), x, y) < 1e-3
    unsure |= (hit >= 0) & (margin(verts, faces, hit, x, y) < 1e-3)
    both = (hit >= 0) & (face_id >= 0)
    unsure |= both & (np.abs(plane_depth(verts, faces, hit, rays) - depth_m) < 1e-5)
    same = hit == face_id
    assert same[~unsure].all()
    assert (unsure & ~same).sum() <= 3
    assert (face_id >= 0).mean() > 0.2


def margin(verts, faces, index, x, y) -> np.ndarray:
    """Distance of pixels to the nearest edge line of a face, px; 0 where it reaches behind."""
    corners = verts[faces[np.maximum(index, 0)]]
    h = corners @ K.T
    planes = np.cross(np.roll(h, -1, -2), np.roll(h, -2, -2))
    value = np.abs(planes[..., 0] * x[..., None] + planes[..., 1] * y[..., None] + planes[..., 2])
    return np.where(index < 0, np.inf, (value / np.hypot(planes[..., 0], planes[..., 1])).min(-1))


def plane_depth(verts, faces, index, rays) -> np.ndarray:
    a, b, c = np.moveaxis(verts[faces[np.maximum(index, 0)]], -2, 0)
    normal = np.cross(b - a, c - a)
    return (normal * a).sum(-1) / (normal * rays).sum(-1)


@pytest.mark.parametrize("height_m", [0.1, 1.05e-4])
def test_floor_under_and_behind_the_camera(height_m):
    """A plane that reaches behind the camera is cut at the near plane, not dropped: z = h f / v."""
    verts = np.array([[-90.0, height_m, -50], [90, height_m, -50], [90, height_m, 90]])
    verts = np.concatenate([verts, [[-90, height_m, 90]]])
    face_id, depth_m = raster.face_ids(verts, np.array([[0, 1, 2], [0, 2, 3]]), K, SIZE)
    rows = np.arange(SIZE[1])
    with np.errstate(divide="ignore"):
        expected = np.where(rows > 60, height_m * 310 / (rows - 60), np.inf)
    expected[(expected > 90) | (expected < raster.NEAR_M)] = np.inf
    assert np.allclose(depth_m, expected[:, None] + np.zeros(SIZE[0]), rtol=1e-6)
    assert ((face_id >= 0) == (expected < np.inf)[:, None]).all()


def test_of_equal_depths_the_first_face_shows():
    verts = np.array([[-1.0, -1, 1], [1, -1, 1], [0, 1, 1]])
    face_id, _ = raster.face_ids(verts, np.array([[0, 1, 2], [0, 1, 2]]), K, SIZE)
    assert (face_id == 0).all()


def test_nothing_nearer_than_the_near_plane_and_nothing_behind():
    verts = np.array([[-1.0, -1, 0], [1, -1, 0], [0, 1, 0]])
    for z, drawn in ((-1.0, 0), (0.0, 0), (raster.NEAR_M / 2, 0), (raster.NEAR_M * 2, 1)):
        face_id, _ = raster.face_ids(verts + [0, 0, z], np.array([[0, 1, 2]]), K, SIZE)
        assert (face_id >= 0).mean() == drawn


def test_perspective_depth_of_a_tilted_triangle():
    """The inverse depth is linear in the pixel: half-way between depths 1 and 3 lies 1.5."""
    verts = np.array([[0.0, -8, 1], [0, 8, 1], [30, 0, 3]])
    _, depth_m = raster.face_ids(verts, np.array([[0, 1, 2]]), EYE, (11, 1))
    assert depth_m[0, 5] == pytest.approx(1.5)


@pytest.mark.parametrize("window", [(30, 20, 90, 70), (-40, -30, 20, 150), (155, 100, 200, 130)])
def test_a_window_is_a_part_of_the_whole(window):
    verts, faces = scene(5)
    whole, depth_m = raster.face_ids(verts, faces, K, SIZE, (-50, -50, 210, 170))
    part, part_depth_m = raster.face_ids(verts, faces, K, SIZE, window)
    x0, y0, x1, y1 = np.array(window) + 50
    assert (part == whole[y0:y1, x0:x1]).all()
    assert (part_depth_m == depth_m[y0:y1, x0:x1]).all()
    assert raster.face_ids(verts, faces, K, SIZE, (5, 5, 5, 9))[0].shape == (4, 0)


def test_weights_lead_back_to_the_ray():
    verts, faces = scene(6)
    out = raster.Buffers.empty(*SIZE)
    drawn = raster.buffers(verts, faces, K, SIZE, out=out)
    assert drawn.face_id is out.face_id
    face_id, depth_m = raster.face_ids(verts, faces, K, SIZE)
    assert (drawn.face_id == face_id).all()
    assert (drawn.depth_m == depth_m).all()
    covered = face_id >= 0
    assert (drawn.weights[~covered] == 0).all()
    assert (drawn.weights >= 0).all()
    assert np.allclose(drawn.weights[covered].sum(-1), 1, atol=1e-6)
    points = (drawn.weights[covered][..., None] * verts[faces[face_id[covered]]]).sum(-2) @ K.T
    y, x = np.nonzero(covered)
    assert np.abs(points[:, :2] / points[:, 2:] - np.stack([x, y], 1)).max() < 1e-3
    assert np.allclose(points[:, 2], depth_m[covered], rtol=1e-5)


def test_bad_meshes_are_refused():
    verts = np.zeros((3, 3))
    with pytest.raises(ShapeError, match="faces name vertices 0..3 of 3"):
        raster.face_ids(verts, np.array([[0, 1, 3]]), K, SIZE)
    with pytest.raises(ShapeError, match=r"vertices are \(V,3\)"):
        raster.face_ids(verts[:, :2], np.array([[0, 1, 2]]), K, SIZE)
    with pytest.raises(DataError, match="not finite"):
        raster.face_ids(np.full((3, 3), np.nan), np.array([[0, 1, 2]]), K, SIZE)
    assert (raster.face_ids(verts, np.empty((0, 3), int), K, SIZE)[0] == -1).all()
