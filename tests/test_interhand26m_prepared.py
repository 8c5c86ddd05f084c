"""InterHand2.6M through `handbench prepare`: the miniature tree and the four real frames."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from interhand_scene import GOLDEN, hands, truth

from handbench import frames
from handbench.cli import group
from handbench.errors import DataError
from handbench.schema import SIDES
from handbench.store import Split, open_split

pytestmark = pytest.mark.usefixtures("no_mano")


def prepare(raw: Path, out: Path, *options: str) -> tuple[Split, str]:
    command = ["prepare", "interhand26m", "--raw", str(raw), "--split", "test", "--out", str(out)]
    result = CliRunner().invoke(group, [*command, *options])
    if result.exception:
        raise result.exception
    return open_split("interhand26m/test", out), result.output


@pytest.fixture(scope="module")
def real(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four real frames in the official tree; their JSON is split test with flat file names."""
    samples = shared / "real_samples" / "interhand26m"
    if not samples.is_dir():
        pytest.skip("no real InterHand2.6M frames here")
    root = tmp_path_factory.mktemp("interhand26m")
    folder = root / "annotations" / "test"
    folder.mkdir(parents=True)
    for kind in ("data", "camera", "joint_3d"):
        content = json.loads((samples / f"test_interhand2.6m_{kind}.json").read_text())
        if kind == "data":
            for image in content["images"]:
                place = f"Capture{image['capture']}/{image['seq_name']}/cam{image['camera']}"
                path = root / "images" / "test" / place / f"image{image['frame_idx']}.jpg"
                path.parent.mkdir(parents=True)
                shutil.copyfile(samples / image["file_name"], path)
                image["file_name"] = f"{place}/{path.name}"
        (folder / f"InterHand2.6M_test_{kind}.json").write_text(json.dumps(content))
    return root


def check_hands(split: Split) -> int:
    """What holds for every reader: projection, depth, bone length, handedness. Returns hands."""
    checked = 0
    for side, sign in zip(SIDES, (1, -1)):
        for row in np.flatnonzero(split.columns[f"{side}/present"] == 1):
            joints = split.columns[f"{side}/joints_m"][row].astype(np.float64)
            pixels = frames.project(joints, split.columns["K"][row])
            np.testing.assert_allclose(pixels, split.columns[f"{side}/joints_px"][row], atol=0.01)
            assert (joints[:, 2] > 0).all()
            assert 0.05 < np.linalg.norm(joints[9] - joints[0]) < 0.13
            normal = np.cross(joints[5] - joints[0], joints[17] - joints[0])
            thumb = sign * normal @ (joints[2] - joints[0]) / np.linalg.norm(normal)
            assert thumb > 0
            checked += 1
    R = split.columns["T_world_camera"][:, :3, :3]
    assert np.abs(R @ R.transpose(0, 2, 1) - np.eye(3)).max() < 1e-5
    assert len(set(split.columns["id"])) == len(split)
    return checked


def official_box(split: Split, row: int) -> np.ndarray:
    """1.2 times the extent of all joints that are annotated and inside the image."""
    points = np.concatenate(
        [
            split.columns[f"{side}/joints_px"][row][split.columns[f"{side}/joints_valid"][row] == 3]
            for side in SIDES
        ]
    ).astype(np.float64)
    low, high = points.min(0), points.max(0)
    return np.concatenate([(low + high) / 2 - 0.6 * (high - low), 1.2 * (high - low)])


def test_miniature_tree_to_hdf5_equals_the_scene(tmp_path):
    split, output = prepare(GOLDEN, tmp_path)
    assert "joints only" in output
    assert len(split) == 18
    true = {frame.id: frame for frame in truth()}
    for row, name in enumerate(split.columns["id"]):
        frame = true[name]
        assert split.image_bytes(row) == frame.image
        for side in SIDES:
            hand = getattr(frame, side)
            assert split.columns[f"{side}/present"][row] == (hand is not None)
            joints = split.columns[f"{side}/joints_m"][row]
            if hand is None:
                assert np.isnan(joints).all()
                continue
            np.testing.assert_allclose(joints, hand.joints_m, atol=1e-6)
            pixels = split.columns[f"{side}/joints_px"][row]
            np.testing.assert_allclose(pixels, hand.joints_px, atol=1e-3)
        np.testing.assert_allclose(
            split.columns["box_official_px"][row], official_box(split, row), 1e-4
        )
    assert check_hands(split) == 24
    takes = split.columns["recording"]
    assert len(set(takes)) == 3
    assert len(set(zip(takes, split.columns["instant"]))) == 9


def test_fits_give_labels_and_the_reason_for_their_absence(tmp_path, monkeypatch):
    from interhand_scene import write_mano

    monkeypatch.setenv("HANDBENCH_MANO", str(write_mano(tmp_path / "mano")))
    split, _ = prepare(GOLDEN, tmp_path / "data")
    source = split.hand_column("visibility/source")
    assert (source > 0).sum() == 22
    shares = split.hand_column("visibility/scene/hand")
    assert np.isfinite(shares).sum() == 22
    assert (split.hand_column("fit_error_mm")[source > 0] < 15).all()
    # the mean pose is included in the file: posing it again gives the triangulated joints
    models = hands()
    for side in SIDES:
        rows = split.columns[f"{side}/mano_valid"] == 1
        pose, shape, trans = (
            split.columns[f"{side}/mano_{name}"][rows] for name in ("pose", "shape", "trans_m")
        )
        joints = models[side].pose(pose, shape)[1] + trans[:, None]
        np.testing.assert_allclose(joints, split.columns[f"{side}/joints_m"][rows], atol=1e-6)


def test_skipped_frames_are_counted_by_reason_or_stop_a_strict_run(tmp_path):
    raw = Path(shutil.copytree(GOLDEN, tmp_path / "raw"))
    first = sorted(raw.rglob("*.jpg"))[0]
    first.write_bytes(first.read_bytes()[:2000])
    split, output = prepare(raw, tmp_path / "data")
    assert len(split) == 17
    assert "skipped 1: 1 JPEG cut short" in output
    assert split.columns["clip"][:2].tolist() == [1, 1]
    with pytest.raises(DataError, match=r"image2017\.jpg: JPEG cut short"):
        prepare(raw, tmp_path / "strict", "--strict")
    assert not (tmp_path / "strict/interhand26m/test/index.h5").exists()


def test_real_frames_prepare_to_what_they_show(real, tmp_path):
    split, _ = prepare(real, tmp_path)
    assert len(split) == 4
    assert check_hands(split) == 6
    for row in range(4):
        found, expected = split.columns["box_official_px"][row], official_box(split, row)
        np.testing.assert_allclose(found, expected, atol=1e-3)
        image = split.image(row)
        assert image.shape[1::-1] == tuple(split.columns["image_size"][row])
    assert split.hands.is_left.sum() == 3
    assert set(split.columns["image_size"].ravel()) == {334, 512}
    depth = split.hand_column("joints_m")[..., 2]
    assert 0.9 < depth.min() < depth.max() < 1.25
    # the hands' pixels are brighter than the picture: the joints lie on skin
    for row, left in zip(*split.hands):
        side = "left" if left else "right"
        x, y = np.round(split.columns[f"{side}/joints_px"][row]).astype(int).T
        brightness = split.image(row).mean(-1)
        assert np.median(brightness[y, x]) > 1.2 * np.median(brightness)


def test_real_frames_can_be_shown(real, tmp_path):
    prepare(real, tmp_path)
    out = tmp_path / "one.png"
    command = ["show", "interhand26m/test", "--index", "2", "--data-dir", str(tmp_path)]
    result = CliRunner().invoke(group, [*command, "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert out.read_bytes().startswith(b"\x89PNG")
