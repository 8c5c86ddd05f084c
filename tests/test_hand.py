import json
import pickle
import sys
import types

import numpy as np
import pytest
from scipy import sparse
from scipy.spatial.transform import Rotation

from handbench import frames
from handbench.errors import DataError, ShapeError
from handbench.hand import PARENTS, Hand, default_hand, has_left_shape_fault, models_of
from handbench.mesh.boundary import boundary_loop


def pose_by_definition(hand: Hand, pose, shape):
    """Linear blend skinning of one hand written down slowly: every vertex, every joint."""
    rest = hand.v_template.copy()
    for k in range(10):
        rest += shape[k] * hand.shapedirs[:, :, k]
    rest_joints = hand.J_regressor @ rest
    turns = Rotation.from_rotvec(pose.reshape(16, 3)).as_matrix()
    for k, excess in enumerate((turns[1:] - np.eye(3)).ravel()):
        rest = rest + excess * hand.posedirs[:, :, k]
    world = []
    for j in range(16):
        local = np.eye(4)
        local[:3, :3] = turns[j]
        local[:3, 3] = rest_joints[j] - (rest_joints[PARENTS[j]] if j else 0)
        world.append(world[PARENTS[j]] @ local if j else local)
    verts = np.zeros((778, 3))
    for j in range(16):
        moved = (rest - rest_joints[j]) @ world[j][:3, :3].T + world[j][:3, 3]
        verts += hand.weights[:, j : j + 1] * moved
    joints = np.stack([w[:3, 3] for w in world])
    named = {"wrist": joints[0]}
    for finger, start in {"index": 1, "middle": 4, "little": 7, "ring": 10, "thumb": 13}.items():
        tip = verts[hand.tip_ids[frames.FINGERS.index(finger)]]
        for k, place in enumerate([*joints[start : start + 3], tip]):
            named[f"{finger}{k}"] = place
    return verts, np.stack([named[name] for name in frames.JOINTS])


def random_arrays(seed: int = 0) -> dict:
    """Arrays of MANO's layout without any geometry: dense weights, everything filled."""
    rng = np.random.default_rng(seed)
    weights, regressor = rng.random((778, 16)), rng.random((16, 778))
    open_hand = Hand.open()
    return {
        "v_template": rng.normal(0, 0.05, (778, 3)),
        "shapedirs": rng.normal(0, 0.002, (778, 3, 10)),
        "posedirs": rng.normal(0, 0.001, (778, 3, 135)),
        "J_regressor": regressor / regressor.sum(1, keepdims=True),
        "weights": weights / weights.sum(1, keepdims=True),
        "faces": open_hand.faces,
        "hands_mean": rng.normal(0, 0.2, 45),
        "hands_components": np.linalg.qr(rng.normal(size=(45, 45)))[0],
    }


def random_poses(count: int, seed: int = 1):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.7, (count, 48)), rng.normal(0, 1.5, (count, 10))


HANDS = {
    "open right": lambda: Hand.open(),
    "open left": lambda: Hand.open("left"),
    "arrays": lambda: Hand.from_arrays(**random_arrays()),
    "arrays left": lambda: Hand.from_arrays(**random_arrays(), is_left=True),
}


@pytest.mark.parametrize("name", HANDS)
def test_pose_obeys_the_definition(name):
    hand = HANDS[name]()
    poses, shapes = random_poses(6)
    poses[0] = 0
    verts, joints = hand.pose(poses, shapes)
    for i in range(len(poses)):
        truth = pose_by_definition(hand, poses[i], shapes[i])
        np.testing.assert_allclose(verts[i], truth[0], atol=1e-12)
        np.testing.assert_allclose(joints[i], truth[1], atol=1e-12)


def test_many_hands_equal_one_by_one_and_one_shape_serves_all():
    hand = Hand.open()
    poses, shapes = random_poses(600)
    verts, joints = hand.pose(poses, shapes[:1])
    for i in (0, 255, 256, 599):
        alone = hand.pose(poses[i : i + 1], shapes[:1])
        np.testing.assert_allclose(verts[i], alone[0][0], atol=1e-14)
        np.testing.assert_allclose(joints[i], alone[1][0], atol=1e-14)


def test_left_hand_is_the_mirror_image():
    for hand in (Hand.open(), Hand.from_arrays(**random_arrays())):
        poses, shapes = random_poses(4)
        verts, joints = hand.pose(poses, shapes)
        other = hand.mirrored()
        mirrored = other.pose(frames.mirror_pose(poses), shapes)
        np.testing.assert_allclose(mirrored[0], frames.mirror_points(verts), atol=1e-14)
        np.testing.assert_allclose(mirrored[1], frames.mirror_points(joints), atol=1e-14)
        assert other.is_left != hand.is_left
        back = other.mirrored()
        np.testing.assert_array_equal(back.posedirs, hand.posedirs)
        np.testing.assert_array_equal(back.faces, hand.faces)


@pytest.mark.parametrize("side", ["right", "left"])
def test_open_hand_is_a_sound_mesh(side):
    hand = Hand.open(side)
    assert (len(hand.v_template), len(hand.faces)) == (778, 1538)
    assert set(hand.faces.ravel()) == set(range(778))
    edges = np.sort(hand.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    unique, count = np.unique(edges, axis=0, return_counts=True)
    assert (count == 1).sum() == 16
    assert count.max() == 2
    assert 778 - len(unique) + 1538 == 1  # a sphere with one hole
    directed = {tuple(e) for e in hand.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)}
    assert len(directed) == 3 * 1538  # every face winds the same way
    # the cap over the wrist closes the mesh, and the volume inside is that of a hand, in m3
    loop, verts = (
        hand.wrist_loop,
        np.vstack([hand.v_template, hand.v_template[hand.wrist_loop].mean(0)]),
    )
    cap = [[loop[i - 1], loop[i], 778] for i in range(16)]
    corners = verts[np.concatenate([hand.faces, cap])]
    volume = np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6
    assert 2e-4 < volume < 6e-4
    found = boundary_loop(hand.faces)
    start = int(np.flatnonzero(found == loop[0])[0])
    np.testing.assert_array_equal(np.roll(found, -start), loop)


def test_parts_of_a_hand_follow_from_its_weights():
    hand = Hand.open()
    made = Hand.from_arrays(
        **{name: getattr(hand, name) for name in random_arrays()}, is_left=False
    )
    np.testing.assert_array_equal(made.vertex_part, hand.vertex_part)
    np.testing.assert_array_equal(made.face_part, hand.face_part)


def test_open_hand_has_parts_tips_and_limits():
    hand = Hand.open()
    assert np.bincount(hand.vertex_part).tolist() == [190, 102, 121, 122, 124, 119]
    assert np.bincount(hand.face_part, minlength=6).min() > 150
    assert (hand.vertex_part[hand.tip_ids] == [1, 2, 3, 4, 5]).all()
    np.testing.assert_allclose(hand.weights.sum(1), 1, atol=1e-6)
    assert (hand.weights >= 0).all()
    assert ((hand.weights > 0).sum(1) <= 4).all()
    np.testing.assert_allclose(hand.J_regressor.sum(1), 1, atol=1e-6)
    joints = hand.pose(np.zeros((1, 48)), np.zeros((1, 10)))[1][0]
    for finger in range(5):  # each tip is what reaches furthest from its finger's base
        base = joints[1 + 4 * finger]
        part = hand.v_template[hand.vertex_part == finger + 1]
        reach = np.linalg.norm(part - base, axis=1).max()
        assert np.linalg.norm(joints[4 + 4 * finger] - base) > reach - 0.002
    assert 0.15 < np.linalg.norm(joints[12] - joints[0]) < 0.21
    limits = hand.joint_limits_deg
    assert limits.shape == (16, 3, 2)
    assert (limits[..., 0] <= 0).all()
    assert (limits[..., 1] >= 0).all()
    np.testing.assert_allclose(
        np.einsum("jab,jcb->jac", hand.joint_axes, hand.joint_axes),
        np.tile(np.eye(3), (16, 1, 1)),
        atol=1e-6,
    )


@pytest.mark.parametrize("side", ["right", "left"])
def test_positive_flexion_closes_the_fingers_of_both_hands(side):
    hand = Hand.open(side)
    rest = hand.pose(np.zeros((1, 48)), np.zeros((1, 10)))[1][0]
    for first, finger in ((1, 2), (4, 3), (7, 5), (10, 4)):
        pose = np.zeros((1, 16, 3))
        pose[0, first] = np.radians(60) * hand.joint_axes[first, 0]
        tip = hand.pose(pose.reshape(1, 48), np.zeros((1, 10)))[1][0, 4 * finger]
        assert tip[1] < rest[4 * finger, 1] - 0.03  # the palm faces -y


def hand_like_arrays(side: str, seed: int) -> dict:
    """random_arrays at the places of a hand, as MANO's files are asked to be."""
    hand = Hand.open(side)
    return random_arrays(seed) | {
        "v_template": hand.v_template,
        "J_regressor": hand.J_regressor,
    }


def write_mano(path, arrays):
    """A file of MANO's keys at protocol 2, with chumpy's expressions where MANO has them."""
    chumpy = types.ModuleType("chumpy")
    for name in ("Ch", "Select"):
        setattr(chumpy, name, type(name, (), {"__module__": "chumpy"}))
    leaf, select = chumpy.Ch(), chumpy.Select()
    shapes = arrays["shapedirs"]
    leaf.x = np.concatenate([shapes, shapes], axis=2)
    select.a, select.preferred_shape = leaf, shapes.shape
    select.idxs = np.arange(leaf.x.size).reshape(leaf.x.shape)[:, :, :10].ravel()
    tree = np.stack([PARENTS, np.arange(16)]).astype(np.uint32)
    content = {key: value for key, value in arrays.items() if key != "faces"}
    content |= {
        "f": arrays["faces"].astype(np.uint32),
        "shapedirs": select,
        "J_regressor": sparse.csc_matrix(arrays["J_regressor"]),
        "kintree_table": tree,
        "bs_style": "lbs",
    }
    sys.modules["chumpy"] = chumpy
    try:
        path.write_bytes(pickle.dumps(content, protocol=2).replace(b"numpy._core", b"numpy.core"))
    finally:
        del sys.modules["chumpy"]


def test_mano_files_and_the_left_hands_fault(tmp_path, monkeypatch):
    right, left = hand_like_arrays("right", 0), hand_like_arrays("left", 5)
    left["shapedirs"] = right["shapedirs"] * [[-1], [1], [1]]
    faulty = {**left, "shapedirs": right["shapedirs"] + 1e-5}
    write_mano(tmp_path / "MANO_RIGHT.pkl", right)
    write_mano(tmp_path / "MANO_LEFT.pkl", faulty)

    hand = Hand.load(tmp_path / "MANO_RIGHT.pkl")
    assert (hand.kind, hand.is_left, len(hand.sha256)) == ("mano", False, 64)
    assert hand.tip_ids.tolist() == [745, 317, 444, 556, 673]
    poses, shapes = random_poses(3)
    truth = Hand.from_arrays(**right).pose(poses, shapes)[0]
    np.testing.assert_array_equal(hand.pose(poses, shapes)[0], truth)

    monkeypatch.setenv("HANDBENCH_MANO", str(tmp_path))
    as_released = default_hand("left")
    assert as_released.is_left
    assert as_released.tip_ids[2] == 445
    np.testing.assert_array_equal(as_released.shapedirs, faulty["shapedirs"])
    assert has_left_shape_fault(as_released.shapedirs, hand.shapedirs)
    fixed = Hand.load(tmp_path / "MANO_LEFT.pkl", fix_left_shape=True)
    np.testing.assert_array_equal(fixed.shapedirs, faulty["shapedirs"] * [[-1], [1], [1]])
    for made_with in (as_released, fixed, as_released.negated()):  # a split names its left hand
        found = models_of(f"{hand.sha256} {made_with.sha256}")
        np.testing.assert_array_equal(found[1].shapedirs, made_with.shapedirs)
    assert models_of("of nobody") is None
    with pytest.raises(DataError, match="not a left hand"):
        Hand.load(tmp_path / "MANO_RIGHT.pkl", fix_left_shape=True)

    write_mano(tmp_path / "MANO_LEFT.pkl", left)  # a file corrected before stays as it is
    fixed = Hand.load(tmp_path / "MANO_LEFT.pkl", fix_left_shape=True)
    np.testing.assert_array_equal(fixed.shapedirs, left["shapedirs"])
    assert models_of(json.dumps({"right": hand.sha256, "left": as_released.sha256})) is None
    assert models_of(json.dumps({"right": hand.sha256, "left": fixed.sha256})) is not None


def test_default_hand_without_mano(tmp_path, monkeypatch):
    monkeypatch.delenv("HANDBENCH_MANO", raising=False)
    assert default_hand("left").kind == "open"
    monkeypatch.setenv("HANDBENCH_MANO", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="is no folder"):
        default_hand()
    monkeypatch.setenv("HANDBENCH_MANO", str(tmp_path))
    with pytest.raises(DataError, match=r"holds no MANO_RIGHT\.pkl"):
        default_hand()
    (tmp_path / "MANO_RIGHT.pkl").write_bytes(pickle.dumps({"v_template": np.zeros((778, 3))}))
    with pytest.raises(DataError, match="it lacks weights"):
        default_hand()
    with pytest.raises(DataError, match="no side"):
        default_hand("both")


def test_mano_files_that_cannot_be_true(tmp_path, monkeypatch):
    folder = tmp_path / "mano_v1_2/models"  # as the archive unpacks
    folder.mkdir(parents=True)
    monkeypatch.setenv("HANDBENCH_MANO", str(tmp_path))
    right, left = hand_like_arrays("right", 0), hand_like_arrays("left", 5)
    write_mano(folder / "MANO_RIGHT.pkl", right)
    assert default_hand("right").kind == "mano"
    with pytest.raises(DataError, match=r"holds no MANO_LEFT\.pkl"):
        default_hand("left")
    for arrays, message in (
        (left, "holds a left hand under the name of a right one"),
        (right | {"v_template": right["v_template"] * 1000}, "expected a hand in metres, found 87"),
        (right | {"shapedirs": right["shapedirs"] * np.nan}, "shapedirs holds values that are not"),
    ):
        write_mano(folder / "MANO_RIGHT.pkl", arrays)
        with pytest.raises(DataError, match=message):
            default_hand("right")


def test_wrong_shapes_are_named():
    arrays = random_arrays()
    with pytest.raises(ShapeError, match=r"weights has shape \(778, 15\)"):
        Hand.from_arrays(**{**arrays, "weights": arrays["weights"][:, :15]})
    with pytest.raises(ShapeError, match="v_template is no array of numbers"):
        Hand.from_arrays(**{**arrays, "v_template": {"a": 1}})
    wide = sparse.csr_matrix((16, 1 << 40))  # 140 TB if it were filled in
    with pytest.raises(ShapeError, match=r"J_regressor has shape \(16, 1099511627776\)"):
        Hand.from_arrays(**{**arrays, "J_regressor": wide})
    with pytest.raises(ShapeError, match="outside 0 to 777"):
        Hand.from_arrays(**{**arrays, "faces": arrays["faces"] + 1})
    with pytest.raises(ShapeError, match="kintree_table"):
        Hand.from_arrays(**arrays, kintree_table=np.zeros((2, 16)))
    hand = Hand.open()
    with pytest.raises(ShapeError, match="pose has shape"):
        hand.pose(np.zeros((1, 45)), np.zeros((1, 10)))
    with pytest.raises(ShapeError, match="3 poses but 2 shapes"):
        hand.pose(np.zeros((3, 48)), np.zeros((2, 10)))


def test_sparse_regressor_and_provenance():
    arrays = random_arrays()
    dense = Hand.from_arrays(**arrays)
    loose = Hand.from_arrays(**{**arrays, "J_regressor": sparse.csc_matrix(arrays["J_regressor"])})
    assert dense.sha256 == loose.sha256
    assert dense.sha256 != Hand.from_arrays(**random_arrays(9)).sha256
    assert np.isnan(dense.pose(np.full((1, 48), np.nan), np.zeros((1, 10)))[0]).all()
