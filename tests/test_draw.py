"""Drawings: the right pixels change, in the right colour, and nothing else does."""

import numpy as np
import pytest

from handbench.errors import ShapeError
from handbench.frames import project
from handbench.hand import Hand
from handbench.showing import draw

GREY = np.full((120, 160, 3), 90, np.uint8)
K = np.array([[300.0, 0, 79.5], [0, 300, 59.5], [0, 0, 1]])


@pytest.fixture(scope="module")
def posed():
    """The open hand half a metre away, its back to the camera: drawing with joints and mesh."""
    hand = Hand.open()
    pose = np.zeros((1, 48))
    pose[0, 0] = np.pi / 2
    verts, joints = hand.pose(pose, np.zeros((1, 10)))
    shift = np.array([0, 0, 0.5]) - verts[0].mean(0)
    return draw.Drawing(
        joints_px=project(joints[0] + shift, K),
        verts_m=verts[0] + shift,
        faces=hand.faces,
        face_part=hand.face_part,
    )


def at(image, point):
    x, y = np.round(point).astype(int)
    return image[y, x].tolist()


def test_skeleton_puts_each_finger_in_its_colour(posed):
    image = draw.skeleton(GREY, posed.joints_px)
    assert (GREY == 90).all()
    for joint, point in enumerate(posed.joints_px):
        if joint in (4, 8, 12, 16, 20):
            assert at(image, point) == draw.COLOURS[joint // 4].tolist()
    low, high = posed.joints_px.min(0) - 8, posed.joints_px.max(0) + 8
    y, x = np.nonzero((image != GREY).any(-1))
    assert (x >= low[0]).all() and (x <= high[0]).all() and (y >= low[1]).all()


def test_joints_of_an_occluded_finger_are_hollow(posed):
    hidden = draw.skeleton(GREY, posed.joints_px, np.array([1, 0, 1, 1, 255]), scale=2)
    shown = draw.skeleton(GREY, posed.joints_px, np.array([1, 1, 1, 1, 1]), scale=2)
    assert at(hidden, posed.joints_px[8]) == [0, 0, 0]
    assert at(shown, posed.joints_px[8]) == draw.COLOURS[2].tolist()
    assert at(hidden, posed.joints_px[20]) == draw.COLOURS[5].tolist()


def test_missing_and_far_joints_are_left_out():
    joints = np.full((21, 2), np.nan)
    assert (draw.skeleton(GREY, joints) == GREY).all()
    joints[:] = 1e9
    assert (draw.skeleton(GREY, joints) == GREY).all()
    with pytest.raises(ShapeError, match=r"\(20, 2\), expected \(21, 2\)"):
        draw.skeleton(GREY, joints[1:])


def test_mesh_covers_its_projection_and_hatches_what_is_occluded(posed):
    parts = (posed.faces, K, posed.face_part)
    plain = draw.mesh(GREY, posed.verts_m, *parts)
    changed = (plain != GREY).any(-1)
    pixels = project(posed.verts_m, K)
    assert changed.any()
    y, x = np.nonzero(changed)
    assert x.min() >= np.floor(pixels[:, 0].min()) and x.max() <= np.ceil(pixels[:, 0].max())
    hatched = draw.mesh(GREY, posed.verts_m, *parts, np.array([1, 1, 0, 1, 1]))
    different = (plain != hatched).any(-1)
    middle = draw.mesh(GREY, posed.verts_m, *parts, np.array([1, 1, 1, 1, 1]))
    assert (middle == plain).all()
    assert 0.3 < different.sum() / (near_part(posed, 3)).sum() < 0.7
    opaque = draw.mesh(GREY, posed.verts_m, *parts, alpha=0.0)
    assert (opaque == GREY).all()


def near_part(posed, part):
    from handbench.raster import face_ids

    face, _ = face_ids(posed.verts_m, posed.faces, K, (160, 120))
    return (face >= 0) & (posed.face_part[face] == part)


def test_mesh_outside_the_picture_changes_nothing(posed):
    away = posed.verts_m + [10, 0, 0]
    assert (draw.mesh(GREY, away, posed.faces, K) == GREY).all()


def test_enlarging_moves_points_with_their_pixels():
    image = np.zeros((100, 60, 3), np.uint8)
    image[40:43, 20:23] = 255
    large, factor = draw.enlarged(image, 512)
    assert min(large.shape[:2]) >= 512 and large.shape[0] / large.shape[1] == 100 / 60
    y, x = np.nonzero(large[..., 0] > 127)
    centre = (np.array([21, 41]) + 0.5) * factor - 0.5
    np.testing.assert_allclose([x.mean(), y.mean()], centre, atol=0.01)
    point = np.array([[0.02, -0.01, 0.4]])
    moved = project(point, draw.enlarged_K(K, factor))
    np.testing.assert_allclose(moved, (project(point, K) + 0.5) * factor - 0.5)


def test_close_up_moves_everything_along(posed):
    drawing = draw.replace(posed, box_px=np.array([60.0, 40, 30, 20]))
    image = GREY.copy()
    x, y = np.round(posed.joints_px[9]).astype(int)
    image[y, x] = 255, 0, 0
    part, (moved,), K_part = draw.close_up(image, [drawing], K, margin=1.5)
    assert part.shape[0] == part.shape[1]
    assert at(part, moved.joints_px[9]) == [255, 0, 0]
    np.testing.assert_allclose(
        project(posed.verts_m, K_part) - project(posed.verts_m, K),
        np.broadcast_to(moved.joints_px[0] - posed.joints_px[0], (778, 2)),
        atol=1e-9,
    )
    nothing = draw.Drawing(joints_px=np.full((21, 2), np.nan))
    assert draw.close_up(image, [nothing], K)[0] is image


def test_overlay_of_a_small_picture_is_readable_and_complete(posed):
    small = np.full((256, 256, 3), 60, np.uint8)
    drawing = draw.replace(posed, box_px=np.array([20.0, 30, 90, 80]), mark="R", lines=("right",))
    image = draw.overlay(small, [drawing], K, title=("name",))
    assert image.shape == (512, 512, 3)
    assert (image[:20, :40] == draw.INK).all(-1).any()
    assert (image[-20:, :40] == draw.INK).all(-1).any()
    assert (image[60:62, 41:220].max(0) > 120).all(-1).sum() > 100


def test_side_view_fills_its_panel(posed):
    view = draw.side_view([posed], (200, 150))
    assert view.shape == (150, 200, 3)
    y, x = np.nonzero((view[25:] != draw.BACKDROP).any(-1))
    assert np.ptp(y) > 80 or np.ptp(x) > 80
    empty = draw.side_view([draw.Drawing()], (50, 40))
    assert (empty == draw.BACKDROP).all()


def test_contact_sheet_keeps_shapes_and_order():
    images = [
        np.full(shape, value, np.uint8) for shape, value in (((40, 80, 3), 200), ((9, 9, 3), 50))
    ]
    sheet = draw.contact_sheet(images * 3, columns=4, cell=64)
    assert sheet.shape == (2 * 68 + 4, 4 * 68 + 4, 3)
    assert sheet[36, 36].tolist() == [200] * 3
    assert sheet[10, 36].tolist() == list(draw.BACKDROP)
    assert sheet[36, 104].tolist() == [50] * 3
    with pytest.raises(ShapeError, match="at least one"):
        draw.contact_sheet([])
    with pytest.raises(ShapeError, match="uint8"):
        draw.contact_sheet([np.zeros((4, 4, 3))])
    with pytest.raises(ShapeError, match="same height"):
        draw.beside(*images)
