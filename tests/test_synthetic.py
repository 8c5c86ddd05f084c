"""The synthetic reader: reproducible pictures whose records, geometry and occlusion agree."""

import pickle

import cv2
import numpy as np
import pytest

from handbench import frames
from handbench.datasets.synthetic import Synthetic
from handbench.errors import DataError, UnknownName
from handbench.hand import Hand
from handbench.records import Frame
from handbench.synthesis import covering, occluder, shade
from handbench.synthesis.background import FAMILIES, draw_background
from handbench.synthesis.compose import OCCLUDER_SEEDS, Shares, draw_take
from handbench.synthesis.library import load_grasps
from handbench.synthesis.motion import BASE, draw_turns
from handbench.synthesis.scene import seeded
from handbench.synthesis.variety import nearest_train_mm, variety
from handbench.visibility import label_scene

HANDS = {"right": Hand.open("right"), "left": Hand.open("left")}
PX = 96  # small pictures: geometry and logic are the same


def _read(split: str, sequences: int, **options) -> list[Frame]:
    reader = Synthetic(split, sequences=sequences, image_px=PX, **options)
    return [frame for plan in reader.plan() for frame in reader.frames(plan)]


@pytest.fixture(scope="module")
def takes() -> list[Frame]:
    """Enough takes for both sides, two hands, occluders and second cameras to come up."""
    return _read("test", 24, frames=3)


def _hands(found: list[Frame]):
    for frame in found:
        for side in ("right", "left"):
            record = getattr(frame, side)
            if record is not None:
                yield frame, side, record


def test_any_order_and_any_process_gives_the_same_bytes():
    reader = Synthetic("train", sequences=3, image_px=PX, frames=2)
    plans = reader.plan()
    first = {plan: [f.image for f in reader.frames(plan)] for plan in plans}
    again = pickle.loads(pickle.dumps(reader))
    for plan in reversed(plans):
        assert [f.image for f in again.frames(plan)] == first[plan]
    other = Synthetic("train", sequences=3, image_px=PX, frames=2, seed=1)
    assert [f.image for f in other.frames(other.plan()[0])] != first[plans[0]]


def test_a_longer_split_begins_with_the_shorter_one():
    few = Synthetic("val", sequences=2, image_px=PX)
    many = Synthetic("val", sequences=5, image_px=PX)
    assert many.plan()[: len(few.plan())] == few.plan()


def test_frames_are_as_planned_with_unique_ids(takes):
    reader = Synthetic("test", sequences=24, image_px=PX, frames=3)
    assert len(takes) == sum(plan.rows for plan in reader.plan())
    assert len({frame.id for frame in takes}) == len(takes)
    assert takes[0].id == "synthetic/test/000000/0/0"
    names = [(plan.name, plan.camera) for plan in reader.plan()]
    assert names == sorted(names)
    assert {frame.camera for frame in takes} == {"0", "1"}
    picture = cv2.imdecode(np.frombuffer(takes[0].image, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (PX, PX, 3)
    assert 5 < picture.mean() < 250


def test_records_agree_with_the_hand_model_and_the_camera(takes):
    for frame, side, record in _hands(takes):
        verts, joints = HANDS[side].pose(record.mano_pose[None], record.mano_shape[None])
        assert np.abs(joints[0] + record.mano_trans_m - record.joints_m).max() < 1e-7
        mesh = next(mesh for mesh in frame.scene.meshes if mesh.kind == side)
        assert np.abs(verts[0] + record.mano_trans_m - mesh.verts_m).max() < 1e-7
        assert np.abs(frames.project(record.joints_m, frame.K) - record.joints_px).max() < 1e-3
        inside = ((record.joints_px >= -0.5) & (record.joints_px < PX - 0.5)).all(1)
        assert np.array_equal(record.joints_valid, 1 + 2 * inside)
        assert (record.joints_m[:, 2] > 0.2).all()


def test_hands_have_the_side_they_claim(takes):
    seen = set()
    for _, side, record in _hands(takes):
        j = record.joints_m
        normal = np.cross(j[5] - j[0], j[17] - j[0])
        assert ((j[2] - j[0]) @ normal > 0) == (side == "right")
        seen.add(side)
    assert seen == {"right", "left"}
    assert any(frame.right is not None and frame.left is not None for frame in takes)


def test_object_poses_are_rigid_and_place_the_mesh(takes):
    from handbench.synthesis.objects import make

    mirrored = 0
    for frame in takes:
        T = frame.object.T_camera
        assert np.abs(T[:3, :3].T @ T[:3, :3] - np.eye(3)).max() < 1e-6
        assert np.linalg.det(T[:3, :3]) > 0
        name, _, is_mirrored = frame.object.name.partition("_mirrored")
        kind, _, seed = name.rpartition("_")
        model = make(kind, int(seed)).verts_m
        if frame.object.name.endswith("_mirrored"):
            mirrored += 1
            model = frames.mirror_points(model)
        mesh = next(mesh for mesh in frame.scene.meshes if mesh.kind == "object")
        assert np.abs(frames.to_camera(model, T) - mesh.verts_m).max() < 1e-9
        volume = np.einsum("ij,ij->i", *_corners(mesh)).sum()
        assert volume > 0  # faces look outwards, also in the mirror
    assert 0 < mirrored < len(takes)


def _corners(mesh):
    a, b, c = (mesh.verts_m[mesh.faces[:, k]] for k in range(3))
    return a, np.cross(b, c)


def test_cameras_of_a_take_see_the_same_hand(takes):
    views: dict[int, list[Frame]] = {}
    for frame in takes:
        views.setdefault(frame.instant, []).append(frame)
    pairs = [pair for pair in views.values() if len(pair) == 2]
    assert pairs
    for a, b in pairs:
        assert a.recording == b.recording and a.camera != b.camera
        side = "right" if a.right is not None and b.right is not None else "left"
        to_b = b.T_world_camera @ np.linalg.inv(a.T_world_camera)
        moved = frames.to_camera(getattr(a, side).joints_m, to_b)
        assert np.abs(moved - getattr(b, side).joints_m).max() < 1e-9


def test_annotated_hands_show_and_arms_join_them(takes):
    for frame in takes:
        labels, _ = label_scene(frame.scene, HANDS["right"], HANDS["left"])
        for side in ("right", "left"):
            record = getattr(frame, side)
            if record is not None and record.present == 1:
                assert labels[side].scene_hand > 0
        for hand, arm in zip(frame.scene.meshes, frame.scene.meshes[1:], strict=False):
            if arm.kind == "forearm":
                loop = hand.verts_m[HANDS[hand.kind].wrist_loop]
                ring = arm.verts_m[: len(loop)]
                apart = np.linalg.norm(loop[:, None] - ring, axis=2)
                assert apart.min(0).max() < 1e-12 and apart.min(1).max() < 1e-12


def test_the_seam_of_an_arm_names_the_vertices_that_it_repeats():
    for seed in range(8):
        take = draw_take("val", load_grasps("val")[0], 1, PX, seeded("s", seed), Shares(left=0.5))
        for track in take.tracks:
            ring = track.arm_m[0, : len(track.arm_loop)]
            assert np.abs(track.verts_m[0, track.arm_loop] - ring).max() < 1e-12


def test_occluders_come_and_go(takes):
    there = [any(mesh.kind == "occluder" for mesh in frame.scene.meshes) for frame in takes]
    assert 0.2 < np.mean(there) < 0.7
    for frame in np.array(takes, object)[np.array(there) & [f.camera == "0" for f in takes]]:
        depth = {mesh.kind: mesh.verts_m[:, 2] for mesh in frame.scene.meshes}
        assert depth["occluder"].max() < depth["object"].min()


def test_splits_share_no_grasp_object_shape_or_surroundings():
    sets = {}
    for split in ("train", "val", "test"):
        grasps = load_grasps(split)
        sets[split] = (
            {grasp.object_name for grasp in grasps}
            | set(FAMILIES[split])
            | set(OCCLUDER_SEEDS[split])
            | {grasp.shape.tobytes() for grasp in grasps}
            | {grasp.pose.tobytes() for grasp in grasps}
        )
    for a, b in (("train", "val"), ("train", "test"), ("val", "test")):
        assert not sets[a] & sets[b]
    used = {frame.object.name.rpartition("_0")[0] for frame in _read("train", 3, frames=1)}
    assert used <= sets["train"]


def test_orientations_spread_over_all_axes():
    turns = np.concatenate([draw_turns(2, seeded("turns", k)) for k in range(400)])
    from scipy.spatial.transform import Rotation

    relative = Rotation.from_matrix(turns) * BASE.inv()
    angles = relative.as_euler("xyz", degrees=True)
    low, high = np.percentile(angles, [5, 95], axis=0)
    assert (low < -60).all() and (high > 60).all()


def test_controlled_groups_meet_their_targets():
    found = _read("controlled", 4)
    assert len(found) == 20
    for start in range(0, 20, 5):
        group = found[start : start + 5]
        assert {frame.extra["controlled_group"] for frame in group} == {start // 5}
        targets = [float(frame.extra["controlled_target"]) for frame in group]
        assert targets == pytest.approx(list(covering.TARGETS))
        assert [frame.clip for frame in group] == [0, 1, 2, 3, 4]
        side = "right" if group[0].right is not None and group[0].right.present == 1 else "left"
        first = next(mesh for mesh in group[0].scene.meshes if mesh.kind != "forearm")
        meshes = [(mesh.verts_m, mesh.faces) for mesh in group[0].scene.meshes]
        clear = occluder.Silhouette.draw(meshes, group[0].K, PX)
        for frame, target in zip(group, targets, strict=True):
            hand = next(mesh for mesh in frame.scene.meshes if mesh.kind == first.kind)
            assert np.array_equal(hand.verts_m, first.verts_m)
            assert np.array_equal(frame.K, group[0].K)
            added = [mesh for mesh in frame.scene.meshes if mesh.kind == "occluder"]
            share = clear.covered(added[0].verts_m, added[0].faces) if added else 0.0
            assert bool(added) == (target > 0)
            assert abs(share - target) < 0.03
            assert share == pytest.approx(float(frame.extra["controlled_measured"]), abs=1e-6)
        assert getattr(group[0], side) is not None


def test_onset_pairs_hide_the_hand_for_the_planned_spell():
    found = _read("onset", 3)
    by_version: dict[tuple[int, int], list[Frame]] = {}
    for frame in found:
        key = int(frame.extra["onset_pair"]), int(frame.extra["onset_occluded"])
        by_version.setdefault(key, []).append(frame)
    for pair, length in enumerate(covering.spells(3)):
        clear, covered = by_version[pair, 0], by_version[pair, 1]
        assert len(clear) == len(covered) == length + 2 * covering.MARGIN
        since = [int(frame.extra["frames_since_seen"]) for frame in covered]
        margin = [0] * covering.MARGIN
        assert since == [*margin, *range(1, length + 1), *margin]
        assert not any(frame.extra["frames_since_seen"] for frame in clear)
        assert clear[0].recording == covered[0].recording
        assert clear[0].sequence != covered[0].sequence
        for a, b in zip(clear, covered, strict=True):
            mesh_a, mesh_b = a.scene.meshes[0], b.scene.meshes[0]
            assert np.array_equal(mesh_a.verts_m, mesh_b.verts_m)
        hidden, _ = label_scene(covered[covering.MARGIN].scene, HANDS["right"], HANDS["left"])
        seen, _ = label_scene(clear[covering.MARGIN].scene, HANDS["right"], HANDS["left"])
        side = covered[0].scene.meshes[0].kind
        assert hidden[side].scene_hand < 0.1 < seen[side].scene_hand


def test_spells_reach_from_one_to_sixty():
    assert covering.spells(12)[0] == 1 and covering.spells(12)[-1] == 60


def test_normals_of_a_tetrahedron_point_outwards():
    verts = np.array([(0.0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)])
    faces = np.array([(0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3)], np.int32)
    normals, flat = shade.vertex_normals(verts, faces)
    assert ((normals * (verts - verts.mean(0))).sum(1) > 0).all()
    assert flat[3] == pytest.approx(np.ones(3) / np.sqrt(3))


def test_variety_measures_what_the_columns_hold(takes):
    columns = {name: np.zeros(len(takes), int) for name in ("recording", "sequence", "camera")}
    columns["object/name"] = np.arange(len(takes)) % 7
    for side in ("right", "left"):
        records = [getattr(frame, side) for frame in takes]
        columns[f"{side}/present"] = np.array([0 if r is None else r.present for r in records])
        columns[f"{side}/mano_pose"] = np.array(
            [np.full(48, np.nan) if r is None else r.mano_pose for r in records]
        )
        columns[f"{side}/visibility/scene/finger"] = np.ones((len(takes), 5), np.uint8)
        columns[f"{side}/visibility/scene/hand"] = np.full(len(takes), 0.6, np.float32)
    measured = variety(columns, unseen=True)
    assert measured["objects"] == 7 and measured["recordings"] == 1
    assert measured["hands_by_occlusion_level"][1] == sum(measured["hands_by_occluded_fingers"])
    assert measured["sequences_with_changing_fingers"] == 0
    assert 0 < measured["nearest_train_pose_mm"]["least"] < 20
    assert nearest_train_mm(load_grasps("train")[3].pose[None])[0] < 1e-6


def test_backgrounds_come_from_a_folder_when_one_is_given(tmp_path):
    green = np.zeros((80, 90, 3), np.uint8)
    green[..., 1] = 255
    cv2.imwrite(str(tmp_path / "green.png"), green)
    picture = draw_background("test", 64, seeded("g"), tmp_path)
    assert picture.shape == (64, 64, 3)
    assert np.allclose(picture.mean((0, 1)), [0, 1, 0], atol=0.01)
    (tmp_path / "green.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="not an image"):
        draw_background("test", 64, seeded("g"), tmp_path)


def test_wrong_options_say_what_is_wrong(tmp_path):
    with pytest.raises(UnknownName, match="did you mean 'train'"):
        Synthetic("trian")
    with pytest.raises(DataError, match="no --raw"):
        Synthetic("train", raw=tmp_path)
    with pytest.raises(DataError, match="sequences of at least 1"):
        Synthetic("train", sequences=0)
    with pytest.raises(DataError, match="multiple of 4"):
        Synthetic("train", image_px=130)
    with pytest.raises(DataError, match="does not exist"):
        Synthetic("train", backgrounds=tmp_path / "none")


def test_a_left_handed_take_is_the_mirror_image_of_the_right_handed_one():
    grasp = load_grasps("test")[0]
    plain = {"two_hands": 0.0, "occluder": 0.0, "second_camera": 0.0}
    right = draw_take("test", grasp, 2, PX, seeded("m", 1), Shares(left=0.0, **plain))
    left = draw_take("test", grasp, 2, PX, seeded("m", 1), Shares(left=1.0, **plain))
    assert left.tracks[0].hand.is_left and not right.tracks[0].hand.is_left
    pairs = zip(*(take.meshes(1, take.cameras[0]) for take in (right, left)), strict=True)
    for a, b in pairs:
        assert np.abs(frames.mirror_points(a.verts_m) - b.verts_m).max() < 1e-12
