"""Checks of units, joint order, camera, hand model and sides: in 3D and projected."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbench.checking.check import FAIL, NONE, OK, WARN, Check, percent, verdict
from handbench.checking.hands import SplitHands, spread_rows
from handbench.console import amount
from handbench.frames import BONES, FPHA, HO3D, INTERHAND, OPENGL, project
from handbench.rules import VERTICES

PALM_MM = (50.0, 130.0)  # wrist to the middle finger's first joint, of children to large men
DEPTH_M = (0.05, 5.0)
PIXELS = (0.05, 1.0)  # reprojection: float32 everywhere; official 2D points may be off by more
KINEMATIC_MM = (0.1, 1.0)
FIT_MM = (20.0, 40.0)
UNITS = {"millimetres": 1000.0, "centimetres": 100.0, "decimetres": 10.0, "kilometres": 0.001}
ORDERS = {"HO-3D's (MANO's) order": HO3D, "InterHand2.6M's order": INTERHAND, "FPHA's order": FPHA}
BONE_MM = (8.0, 130.0)
SHORTER = 0.9  # another order must make all bones together so much shorter
MOST_HANDS = 4000  # posed with the hand model
ROTATION = 1e-4  # float32 matrices
SAME_PLACE_MM = (1.0, 10.0)


def units(hands: SplitHands) -> Check:
    """Wrist to the middle finger's first joint, which tells metres from other units."""
    length = 1000 * np.linalg.norm(hands.joints_m[:, 9] - hands.joints_m[:, 0], axis=-1)
    length = length[np.isfinite(length)]
    low, high = PALM_MM
    expected = f"{low:.0f} to {high:.0f} mm"
    if not len(length):
        return Check("unit", NONE, "no hand with both joints", expected)
    middle, odd = float(np.median(length)), float(((length < low) | (length > high)).mean())
    told = f"wrist to middle finger {middle:.1f} mm (median), {percent(odd)} of hands beyond"
    if low <= middle <= high:
        return Check("unit", OK if odd <= 0.01 else WARN, told, expected)
    named = [name for name, times in UNITS.items() if low <= middle / times <= high]
    told += f"; looks like {named[0]} given for metres" if named else ""
    return Check("unit", FAIL, told, expected)


def joint_order(hands: SplitHands) -> Check:
    """Bones of plausible length, and no other joint order makes them shorter."""
    joints = hands.joints_m[hands.whole]
    expected = f"bones of {BONE_MM[0]:.0f} to {BONE_MM[1]:.0f} mm, ours the shortest order"
    if not len(joints):
        return Check("joint order", NONE, "no hand with all joints", expected)
    each = np.median(_bones_mm(joints), axis=0)
    own = float(np.median(_bones_mm(joints).sum(1)))
    told = f"bones {each.min():.0f} to {each.max():.0f} mm (medians)"
    shorter = {
        name: float(np.median(_bones_mm(joints[:, order]).sum(1))) for name, order in ORDERS.items()
    }
    likely, total = min(shorter.items(), key=lambda item: item[1])
    if total < SHORTER * own:
        return Check("joint order", FAIL, f"{told}; looks like {likely}", expected)
    fine = BONE_MM[0] <= each.min() and each.max() <= BONE_MM[1]
    return Check("joint order", OK if fine else FAIL, told, expected)


def _bones_mm(joints_m: NDArray) -> NDArray[np.float64]:
    return 1000 * np.linalg.norm(joints_m[:, BONES[:, 0]] - joints_m[:, BONES[:, 1]], axis=-1)


def depth(hands: SplitHands) -> Check:
    """All joints lie in front of the camera, at arm's length."""
    z = hands.joints_m[..., 2][hands.valid]
    expected = f"{DEPTH_M[0]} to {DEPTH_M[1]:.0f} m in front"
    if not len(z):
        return Check("depth", NONE, "no joint", expected)
    behind = float((z <= 0).mean())
    told = f"{np.min(z):.2f} to {np.max(z):.2f} m"
    if behind:
        turned = "; looks like OpenGL axes (y up, z back)" if behind > 0.9 else ""
        return Check("depth", FAIL, f"{told}, {percent(behind)} behind{turned}", expected)
    fine = DEPTH_M[0] <= z.min() and z.max() <= DEPTH_M[1]
    return Check("depth", OK if fine else WARN, told, expected)


def intrinsics(hands: SplitHands) -> Check:
    """Focal lengths alike, principal point inside the picture."""
    K, size = hands.image("K").astype(np.float64), hands.image("image_size")
    known = np.isfinite(K).all((1, 2))
    expected = "square pixels, centre inside, focal length 0.3 to 10 sides"
    if not known.any():
        return Check("camera", NONE, "no intrinsics", expected)
    K, size = K[known], size[known]
    focal, centre = K[:, [0, 1], [0, 1]], K[:, :2, 2]
    apart = np.abs(focal[:, 0] / focal[:, 1] - 1)
    sides = focal[:, 0] / size.max(1)
    odd = (apart > 0.1) | (sides < 0.3) | (sides > 10) | (centre < 0).any(1)
    odd |= (centre > size).any(1)
    told = f"focal length {sides.min():.2f} to {sides.max():.2f} sides"
    told += f"; {percent(float(odd.mean()))} odd" if odd.any() else ""
    missing = 1 - float(known.mean())
    told += f"; {percent(missing)} without intrinsics" if missing else ""
    return Check("camera", WARN if odd.any() or missing else OK, told, expected)


def reprojection(hands: SplitHands) -> Check:
    """joints_m through K against joints_px; a likely mistake is named."""
    joints, pixels = hands.joints_m, hands["joints_px"].astype(np.float64)
    K = hands.image("K").astype(np.float64)
    error = _apart(project(joints, K), pixels)
    expected = f"within {PIXELS[0]} px"
    if not np.isfinite(error).any():
        return Check("reprojection", NONE, "no joints in both 3D and 2D", expected)
    middle, most = float(np.nanmedian(error)), float(np.nanmax(error))
    told = f"median {middle:.3g}, most {most:.3g} px"
    state = OK if most <= PIXELS[0] else WARN if middle <= PIXELS[1] else FAIL
    if state == FAIL:
        changed = {
            "OpenGL axes": _apart(project(joints * OPENGL, K), pixels),
            "x and y exchanged": _apart(project(joints, K)[..., ::-1], pixels),
            "mirrored hands": _apart(project(joints * [-1.0, 1.0, 1.0], K), pixels),
            "K of twice the size": _apart(project(joints, K) / 2, pixels),
            "K of half the size": _apart(project(joints, K) * 2, pixels),
        }
        best = min(changed, key=lambda name: float(np.nanmedian(changed[name])))
        if 3 * float(np.nanmedian(changed[best])) < middle:
            told += f"; looks like {best}"
    return Check("reprojection", state, told, expected)


def _apart(one: NDArray, other: NDArray) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        found = np.linalg.norm(one - other, axis=-1)
    return np.where(np.isfinite(found), found, np.nan)


def hand_model(hands: SplitHands) -> Check:
    """Joints of the stored pose and shape against the stored joints (not the tips)."""
    known = np.flatnonzero((hands["mano_valid"] > 0) & hands.whole)
    name = "pose and joints"
    expected = f"{KINEMATIC_MM[0]} mm where joints are the model's own, else {FIT_MM[0]:.0f} mm"
    if not len(known):
        return Check(name, NONE, "no pose parameters", expected)
    if hands.models is None:
        told = "the hand model is not here: set HANDBENCH_MANO to the folder of your MANO files"
        return Check(name, NONE, told, expected)
    error = np.full(len(hands), np.nan)
    bases = np.setdiff1d(np.arange(21), [4, 8, 12, 16, 20])  # tips are defined in several ways
    for is_left, model in zip((False, True), hands.models):
        side = known[hands.is_left[known] == is_left]
        picked = side[spread_rows(len(side), MOST_HANDS)] if len(side) else side
        if len(picked):
            posed = model.pose(hands["mano_pose"][picked], hands["mano_shape"][picked])[1]
            posed = posed + hands["mano_trans_m"][picked][:, None]
            apart = np.linalg.norm(posed - hands.joints_m[picked], axis=-1)
            error[picked] = 1000 * apart[:, bases].mean(1)
    own = (hands["joints_kind"] == 0) & np.isfinite(error)
    fitted = ~own & np.isfinite(error)
    states, told_all = [], []
    for mask, what, limits, value in (
        (own, "model's own joints", KINEMATIC_MM, np.max),
        (fitted, "fitted", FIT_MM, np.median),
    ):
        if mask.any():
            states.append(verdict(float(value(error[mask])), *limits))
            middle, most = np.median(error[mask]), np.max(error[mask])
            told_all.append(f"{what}: median {middle:.2g}, most {most:.2g} mm")
    state = FAIL if FAIL in states else WARN if WARN in states else OK
    return Check(name, state, ", ".join(told_all), expected)


def sides(hands: SplitHands) -> Check:
    """The thumb's side tells right from left; one vote a sequence, as odd thumbs exist."""
    joints = hands.joints_m
    across = np.cross(joints[:, 5] - joints[:, 0], joints[:, 17] - joints[:, 0])
    towards = (across * (joints[:, 2] - joints[:, 0])).sum(-1)
    known = np.isfinite(towards)
    expected = "the thumb on its side in every sequence"
    if not known.any():
        return Check("left and right", NONE, "no hand with the joints needed", expected)
    agree = np.where(hands.is_left, towards < 0, towards > 0)[known]
    video = 2 * hands.video[known] + hands.is_left[known]
    votes = np.bincount(video, agree) / np.maximum(np.bincount(video), 1)
    share = float((votes[np.unique(video)] > 0.5).mean())
    told = f"{percent(share)} of sequences, {percent(float(agree.mean()))} of hands"
    told += "; left and right seem to be exchanged" if share < 0.1 else ""
    return Check("left and right", verdict(share, 1.0, 0.9), told, expected)


def rotations(hands: SplitHands) -> Check:
    """Rotations of objects and cameras are rotations."""
    columns = hands.split.columns
    given = {"object": "object/T_camera", "camera": "T_world_camera"}
    found: dict[str, float] = {}
    for what, name in given.items():
        R = columns[name][:, :3, :3].astype(np.float64) if name in columns else np.empty((0, 3, 3))
        R = R[np.isfinite(R).all((1, 2))]
        if len(R):
            off = np.abs(np.swapaxes(R, 1, 2) @ R - np.eye(3)).max((1, 2))
            found[what] = float(np.where(np.linalg.det(R) > 0, off, 2.0).max())
    expected = f"orthonormal to {ROTATION:g}"
    if not found:
        return Check("rotations", NONE, "neither objects nor cameras are posed", expected)
    told = ", ".join(f"{what} {off:.1e}" for what, off in found.items())
    return Check("rotations", OK if max(found.values()) <= ROTATION else FAIL, told, expected)


def objects(hands: SplitHands) -> Check:
    """The held object's centre is in the picture more often than not."""
    columns = hands.split.columns
    T, K = columns["object/T_camera"].astype(np.float64), columns["K"].astype(np.float64)
    there = np.isfinite(T).all((1, 2)) & np.isfinite(K).all((1, 2))
    expected = "inside the image in more than 50 %"
    if not there.any():
        return Check("objects", NONE, "no object is posed", expected)
    centre = T[there, None, :3, 3]
    pixel = project(centre, K[there])[:, 0]
    seen = (pixel > 0).all(1) & (pixel < columns["image_size"][there]).all(1)
    share = float((seen & (centre[:, 0, 2] > 0)).mean())
    told = f"centre inside in {percent(share)} of {amount(int(there.sum()), 'image')}"
    return Check("objects", verdict(share, 0.5, 0.2), told, expected)


def cameras(hands: SplitHands) -> Check:
    """Cameras of one instant see the same joints in the world."""
    instant, T = hands.image("instant"), hands.image("T_world_camera")
    known = (instant >= 0) & hands.whole & np.isfinite(T).all((1, 2))
    key = np.stack([hands.image("recording"), instant, hands.is_left])[:, known]
    name, expected = "cameras together", f"the same world joints within {SAME_PLACE_MM[0]:.0f} mm"
    _, first, group, count = np.unique(
        key, axis=1, return_index=True, return_inverse=True, return_counts=True
    )
    if not (count > 1).any():
        return Check(name, NONE, "no instant with two cameras and known places", expected)
    world = _to_world(hands.joints_m[known], T[known])
    apart = 1000 * np.linalg.norm(world - world[first][group.reshape(-1)], axis=-1).mean(1)
    several = (count > 1)[group.reshape(-1)]
    middle, most = float(np.median(apart[several])), float(np.max(apart[several]))
    told = f"{int((count > 1).sum()):,} instants, median {middle:.2g}, most {most:.2g} mm"
    return Check(name, verdict(most, *SAME_PLACE_MM), told, expected)


def _to_world(joints_m: NDArray, T: NDArray) -> NDArray[Any]:
    """Joints (N,J,3) of cameras T (N,4,4) world -> camera, in the world."""
    return (joints_m - T[:, None, :3, 3]) @ T[:, :3, :3]


def meshes(hands: SplitHands) -> Check:
    """Stored vertices lie around the stored joints."""
    if not hands.has("verts_m"):
        return Check("vertices", NONE, "not stored: they follow from pose and shape")
    verts = hands["verts_m"]
    known = np.isfinite(verts).all((1, 2)) & hands.whole
    if not known.any():
        return Check("vertices", NONE, "stored for no hand")
    centre = np.linalg.norm(verts[known].mean(1) - hands.joints_m[known].mean(1), axis=-1).astype(
        np.float64
    )
    told = f"{int(known.sum()):,} meshes of {VERTICES}, centre {1000 * np.median(centre):.0f} mm "
    told += "from that of the joints"
    return Check("vertices", verdict(1000 * float(np.median(centre)), 40, 80), told, "within 40 mm")


CHECKS = (
    units,
    joint_order,
    depth,
    intrinsics,
    reprojection,
    hand_model,
    meshes,
    sides,
    rotations,
    objects,
    cameras,
)
