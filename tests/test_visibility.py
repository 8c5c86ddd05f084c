"""Occlusion labels against ray casting and scenes whose answer is known by construction."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handbench import raster, visibility
from handbench.errors import DataError, ShapeError
from handbench.hand import default_hand
from handbench.records import Mesh, Scene
from handbench.rules import level
from handbench.sight import SAME_SURFACE

K = np.array([[200.0, 0, 64], [0, 200, 48], [0, 0, 1]])
SIZE = 128, 96
EYE = np.eye(3)
RIGHT, LEFT = default_hand("right"), default_hand("left")
STEP = 3  # the plate's vertices are so many px apart, on pixel centres


def plate_model(columns: int = 40, rows: int = 20) -> SimpleNamespace:
    """A flat "hand": columns of vertices, divided into six parts from left (palm) to right."""
    at = np.arange(columns * rows).reshape(rows, columns)
    a, b, c, d = at[:-1, :-1].ravel(), at[:-1, 1:].ravel(), at[1:, :-1].ravel(), at[1:, 1:].ravel()
    vertex_part = np.tile(np.arange(columns) * 6 // columns, rows)
    faces = np.stack([a, b, d, a, d, c], 1).reshape(-1, 3)
    return SimpleNamespace(
        faces=faces,
        vertex_part=vertex_part,
        face_part=vertex_part[faces].max(1),
        wrist_loop=np.arange(4),
    )


PLATE = plate_model()


def plate(x: float, y: float, kind: str = "right", z: float = 2.0) -> Mesh:
    """The plate's mesh with its first vertex on pixel (x, y), under the identity as K."""
    column, row = np.meshgrid(np.arange(40), np.arange(20))
    pixel = np.stack([x + STEP * column, y + STEP * row, np.ones_like(row)], -1).reshape(-1, 3)
    return Mesh(pixel * z, PLATE.faces, kind)


def sheet(x0: float, y0: float, x1: float, y1: float, kind: str, z: float = 1.0) -> Mesh:
    """A rectangle over these pixels."""
    verts = np.array([[x0, y0, 1], [x1, y0, 1], [x1, y1, 1], [x0, y1, 1]]) * z
    return Mesh(verts, np.array([[0, 1, 2], [0, 2, 3]]), kind)


def label(*meshes, size=(160, 100), mask=None):
    labels, segmentation = visibility.label_scene(Scene(meshes, EYE, size), PLATE, PLATE, mask)
    return labels, segmentation


def posed(hand, kind: str, seed: int, at=(0, 0, 0.4)) -> Mesh:
    rng = np.random.default_rng(seed)
    verts, _ = hand.pose(rng.normal(0, 0.45, (1, 48)), rng.normal(0, 1, (1, 10)))
    return Mesh(verts[0] - verts[0].mean(0) + at, hand.faces, kind)


def ball(at, radius: float, kind: str) -> Mesh:
    trimesh = pytest.importorskip("trimesh")
    mesh = trimesh.creation.icosphere(subdivisions=3, radius=radius)
    return Mesh(np.asarray(mesh.vertices) + at, np.asarray(mesh.faces), kind)


def real_scene(seed: int) -> Scene:
    """Two hands that cross, a ball in one of them, and something before the camera."""
    rng = np.random.default_rng(seed)
    at = rng.normal(0, 0.04, (4, 3)) + [[0, 0, 0.4], [0.05, 0, 0.42], [0, 0, 0.38], [0, 0, 0.25]]
    return Scene(
        (
            posed(RIGHT, "right", seed, at[0]),
            ball(at[2], 0.03, "object"),
            posed(LEFT, "left", seed + 50, at[1]),
            ball(at[3], 0.012, "occluder"),
        ),
        K,
        SIZE,
    )


def sees(verts, faces, targets, chunk: int = 200) -> np.ndarray:
    """Vertex visibility by trying all faces on all rays (Moeller and Trumbore 1997)."""
    a, b, c = verts[faces[:, 0]], verts[faces[:, 1]], verts[faces[:, 2]]
    visible = []
    for start in range(0, len(targets), chunk):
        ids = targets[start : start + chunk]
        ray = verts[ids][:, None]
        p = np.cross(ray, c - a)
        det = (p * (b - a)).sum(-1)
        q = np.cross(-a, b - a)
        with np.errstate(divide="ignore", invalid="ignore"):
            u, v = -(p * a).sum(-1) / det, (ray * q).sum(-1) / det
            t = ((c - a) * q).sum(-1) / det
        hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (t < 1 - SAME_SURFACE)
        hit &= t * ray[..., 2] >= raster.NEAR_M
        hit &= ~(faces[None] == ids[:, None, None]).any(-1)
        visible.append(~hit.any(1))
    return np.concatenate(visible)


def inside(mesh: Mesh, scene: Scene) -> np.ndarray:
    pixel = mesh.verts_m @ scene.K.T
    pixel = pixel[:, :2] / pixel[:, 2:]
    return ((pixel >= -0.5) & (pixel < np.array(scene.size) - 0.5)).all(1)


@pytest.mark.parametrize("seed", range(4))
def test_vertices_equal_all_rays_against_all_faces(seed):
    scene = real_scene(seed)
    labels, _ = visibility.label_scene(scene, RIGHT, LEFT)
    verts = np.concatenate([mesh.verts_m for mesh in scene.meshes])
    starts = np.cumsum([0] + [len(mesh.verts_m) for mesh in scene.meshes])
    faces = np.concatenate([mesh.faces + s for mesh, s in zip(scene.meshes, starts)])
    for side, index in (("right", 0), ("left", 2)):
        mesh = scene.meshes[index]
        own = inside(mesh, scene)
        alone = sees(mesh.verts_m, mesh.faces, np.arange(778)) & own
        whole = sees(verts, faces, np.arange(778) + starts[index]) & own
        assert (labels[side].alone_vertex == alone).all()
        assert (labels[side].scene_vertex == whole).all()
        assert 50 < whole.sum() <= alone.sum() < 778


@pytest.mark.parametrize("seed", range(4))
def test_vertices_equal_embree(seed):
    """Rays from each vertex, started a little off the skin, to the camera; float32."""
    trimesh = pytest.importorskip("trimesh")
    embree = pytest.importorskip("trimesh.ray.ray_pyembree")
    scene = real_scene(seed)
    mesh = scene.meshes[0]
    labels, _ = visibility.label_scene(Scene((mesh,), K, SIZE), RIGHT, LEFT)
    caster = embree.RayMeshIntersector(
        trimesh.Trimesh(mesh.verts_m, mesh.faces, process=False), scale_to_box=False
    )
    blocked = caster.intersects_any(mesh.verts_m * (1 - 2e-5), -mesh.verts_m)
    differs = (~blocked & inside(mesh, scene)) != labels["right"].alone_vertex
    # what is left are faces at a vertex that start within 8 um of it, and edges seen end on
    assert differs.sum() <= 2


@pytest.mark.parametrize("seed", range(2))
def test_counts_and_shares_equal_pixels_cast_by_embree(seed):
    trimesh = pytest.importorskip("trimesh")
    embree = pytest.importorskip("trimesh.ray.ray_pyembree")
    scene = real_scene(seed)
    labels, segmentation = visibility.label_scene(scene, RIGHT, LEFT)
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    rays = np.stack([(x - 64) / 200, (y - 48) / 200, np.ones(x.shape)], -1).reshape(-1, 3)

    def cast(meshes):
        starts = np.cumsum([0] + [len(mesh.verts_m) for mesh in meshes])
        joined = trimesh.Trimesh(
            np.concatenate([mesh.verts_m for mesh in meshes]),
            np.concatenate([mesh.faces + s for mesh, s in zip(meshes, starts)]),
            process=False,
        )
        caster = embree.RayMeshIntersector(joined, scale_to_box=False)
        return caster.intersects_first(np.zeros_like(rays), rays).reshape(x.shape)

    right = scene.meshes[0]
    whole, alone = cast(scene.meshes), cast(scene.meshes[:1])
    shown = (whole >= 0) & (whole < 1538)
    assert abs(labels["right"].scene_hand - shown.sum() / (alone >= 0).sum()) < 1e-3
    assert (segmentation == 1).sum() == pytest.approx(shown.sum(), abs=2)
    at = np.rint((right.verts_m @ K.T)[:, :2] / right.verts_m[:, 2:]).astype(int)
    keep = inside(right, scene)
    for face, counts in (
        (whole, labels["right"].scene_finger_count),
        (alone, labels["right"].alone_finger_count),
    ):
        face = face[at[keep, 1], at[keep, 0]]
        own = (face >= 0) & (face < 1538)
        own[own] = RIGHT.face_part[face[own]] == RIGHT.vertex_part[keep][own]
        counted = np.bincount(RIGHT.vertex_part[keep][own], minlength=6)
        assert np.abs(counted - counts).max() <= 1


def test_a_sheet_over_a_known_share():
    """The plate covers pixels 10..127 of 40 columns 3 px apart; the sheet hides those above 69."""
    labels, segmentation = label(plate(10, 20), sheet(69.5, 0, 159, 99, "object"))
    found = labels["right"]
    # 117 columns of pixels belong to the plate: its right and lower rims lie on pixel centres
    assert found.alone_hand == 1
    assert found.scene_hand == pytest.approx(60 / 117)
    assert found.scene_vertex.reshape(20, 40).sum(0).tolist() == [20] * 20 + [0] * 20
    assert found.alone_vertex.all()
    assert (segmentation[20:77, 10:70] == 1).all()
    assert (segmentation[20:77, 70:159] == 3).all()
    assert found.box_visible_px.tolist() == [9.5, 19.5, 60, 57]
    assert found.cause.tolist() == [0, 0, 2, 2, 2]
    assert level([found.scene_hand]) == 1


def test_what_is_behind_changes_nothing():
    alone, _ = label(plate(10, 20))
    behind, segmentation = label(plate(10, 20), sheet(0, 0, 159, 99, "object", z=3.0))
    for name in ("scene_vertex", "scene_finger_count", "scene_hand", "cause", "box_visible_px"):
        assert np.array_equal(getattr(alone["right"], name), getattr(behind["right"], name))
    assert (segmentation[:20, :159] == 3).all()


@pytest.mark.parametrize(("x", "y"), [(-60, 20), (101, 20), (20, -31), (20, 72)])
def test_outside_the_image_is_not_visible_and_nothing_wraps(x, y):
    """Labels of a plate half outside equal those inside a larger image, cut to the smaller."""
    found = label(plate(x, y))[0]["right"]
    column, row = x + STEP * np.arange(40), y + STEP * np.arange(20)
    kept = ((row >= 0) & (row < 100))[:, None] & ((column >= 0) & (column < 160))
    assert (found.scene_vertex == kept.ravel()).all()
    assert (found.alone_vertex == kept.ravel()).all()
    large = label(plate(x + 160, y + 100), size=(480, 300))
    pixels = (large[1] == 1)[100:200, 160:320].sum()
    assert found.alone_hand == pytest.approx(pixels / (large[1] == 1).sum())
    assert found.scene_hand == 1
    assert (
        found.scene_finger_count <= np.bincount(PLATE.vertex_part[kept.ravel()], minlength=6)
    ).all()
    assert set(found.cause) <= {0, 5}


def test_a_hand_wholly_outside_or_behind():
    found = label(plate(200, 20))[0]["right"]
    assert (found.alone_hand, found.scene_hand) == (0, 0)
    assert found.cause.tolist() == [5] * 5
    assert np.isnan(found.box_visible_px).all()
    behind = label(plate(10, 20, z=-2.0))[0]["right"]
    assert np.isnan([behind.alone_hand, behind.scene_hand]).all()
    assert not behind.alone_vertex.any()
    assert behind.cause.tolist() == [5] * 5


def test_a_hand_that_reaches_behind_the_camera():
    hand = posed(RIGHT, "right", 3, (0, 0, 0.07))
    assert hand.verts_m[:, 2].min() < 0 < hand.verts_m[:, 2].max()
    scene = Scene((hand,), K, SIZE)
    found = visibility.label_scene(scene, RIGHT, None)[0]["right"]
    face_id, _ = raster.face_ids(hand.verts_m, hand.faces, K, SIZE)
    row, column = np.nonzero(face_id >= 0)
    assert found.scene_hand == 1
    assert 0 < found.alone_hand < 1
    assert found.box_visible_px[0] == column.min() - 0.5
    assert found.box_visible_px[3] == np.ptp(row) + 1
    front = inside(hand, scene) & (hand.verts_m[:, 2] >= raster.NEAR_M)
    expected = sees(hand.verts_m, hand.faces, np.arange(778)) & front
    assert (found.alone_vertex == expected).all()
    assert expected.sum() > 10


def test_each_hand_has_its_own_labels_and_its_own_forearm():
    """Left plate before the right one; a forearm counts as its own hand's, by the nearer wrist."""
    near, far = plate(10, 20, "left", z=1.0), plate(13, 20, "right", z=2.0)
    labels, segmentation = label(far, near)
    assert labels["left"].scene_hand == 1
    assert labels["right"].scene_hand == pytest.approx(3 / 117)
    assert labels["right"].cause.tolist() == [3] * 5
    assert (segmentation[20:77, 10:127] == 2).all()
    behind = plate(10, 20, "left", z=3.0)
    for owner, cause in ((far, 1), (behind, 3)):
        arm = sheet(0, 0, 159, 99, "forearm", z=0.5)
        wrist = owner.verts_m[PLATE.wrist_loop].mean(0)
        arm = Mesh(np.concatenate([arm.verts_m, [wrist]]), arm.faces, "forearm")
        labels, segmentation = label(far, behind, arm)
        assert labels["right"].cause.tolist() == [cause] * 5
        assert labels["left"].cause.tolist() == [4 - cause] * 5
        assert labels["right"].scene_hand == 0
        assert not segmentation.any()


def test_a_hand_hides_its_own_finger():
    """The plate folded: its right half lies before its left half."""
    mesh = plate(10, 20)
    verts = mesh.verts_m.reshape(20, 40, 3).copy()
    verts[:, 20:] = verts[:, 19::-1] * 0.5
    found = label(Mesh(verts.reshape(-1, 3), mesh.faces, "right"))[0]["right"]
    assert found.alone_vertex.reshape(20, 40)[:, :19].sum() == 0
    assert found.cause.tolist()[:2] == [1, 1]
    assert (found.alone_finger_count == found.scene_finger_count).all()


def test_the_official_mask_decides_what_counts():
    mask = np.zeros((100, 160), np.uint8)
    mask[:, :30], mask[:, 30:50], mask[:, 50:70], mask[:, 70:95] = 1, 4, 2, 3
    found = label(plate(10, 20), mask=mask)[0]["right"]
    assert found.scene_hand == pytest.approx(40 / 117)
    assert found.alone_hand == 1
    column = 10 + STEP * np.arange(40)
    assert (found.scene_vertex.reshape(20, 40) == (column < 50)).all()
    assert found.cause.tolist() == [0, 3, 2, 255, 255]
    assert found.box_visible_px.tolist() == [9.5, 19.5, 40, 57]
    with pytest.raises(ShapeError, match="mask"):
        label(plate(10, 20), mask=mask.T)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10_000),
    st.tuples(st.floats(-0.08, 0.08), st.floats(-0.08, 0.08), st.floats(0.1, 0.5)),
    st.sampled_from(["occluder", "object", "forearm"]),
)
def test_an_occluder_never_makes_anything_more_visible(seed, at, kind):
    hand = posed(RIGHT, "right", seed)
    before = visibility.label_scene(Scene((hand,), K, SIZE), RIGHT, None)[0]["right"]
    scene = Scene((hand, ball(at, 0.03, kind)), K, SIZE)
    after = visibility.label_scene(scene, RIGHT, None)[0]["right"]
    assert not (after.scene_vertex & ~before.scene_vertex).any()
    assert (after.scene_finger_count <= before.scene_finger_count).all()
    assert after.scene_hand <= before.scene_hand == 1
    assert (after.alone_vertex == before.alone_vertex).all()
    assert after.alone_hand == before.alone_hand
    assert (before.scene_vertex == before.alone_vertex).all()


def test_scenes_that_cannot_be_labelled():
    with pytest.raises(DataError, match="two right hands"):
        label(plate(0, 0), plate(5, 5))
    with pytest.raises(DataError, match="kind 'table'"):
        label(sheet(0, 0, 9, 9, "table"))
    with pytest.raises(DataError, match="no hand model"):
        visibility.label_scene(Scene((plate(0, 0),), EYE, (20, 20)), None, PLATE)
    with pytest.raises(ShapeError, match="a right hand has 800 vertices"):
        visibility.label_scene(Scene((plate(0, 0),), EYE, (20, 20)), RIGHT, LEFT)
    assert label()[0] == {}
