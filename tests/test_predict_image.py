"""One's own pictures: where a hand stands, what is written, and what is said of bad input."""

import json
from types import SimpleNamespace

import cv2
import h5py
import numpy as np
import pytest
import torch
from small_split import SIZE as SIZE_PX
from small_split import K, hand_record
from toy_runs import make

from handbench import checkpoint
from handbench.errors import DataError, HandbenchError
from handbench.frames import project
from handbench.hand import default_hand
from handbench.inference import outputs, placing
from handbench.inference.photographs import find, read_boxes, read_joints
from handbench.inference.pictures import predict_pictures, wanted
from handbench.inference.predict import predict
from handbench.rotations import axis_angle_to_matrix
from handbench.store import open_split
from handbench.training import recipe
from handbench.training.train import train

BOX = "20,10,100,90"


class Knowing(torch.nn.Module):
    """Knows one hand: gives its joints, mesh and pixels for whatever picture it is shown."""

    inputs, crop_px, frames, hands = ("image",), 16, 1, 1
    VARIANTS = {"full": {}, "three": {"frames": 3}, "asks": {"asks": True}, "flat": {"flat": True}}
    PRESETS = {"tiny": {}, "paper": {}}

    def __init__(self, hand, frames: int = 1, asks: bool = False, flat: bool = False) -> None:
        super().__init__()
        self.frames, self.flat = frames, flat
        self.inputs = ("image", "crop_matrix", *(["joints_crop"] if asks else []))
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.record = hand_record(np.random.default_rng(3), False)
        self.seen = []

    def forward(self, batch):
        self.seen.append(batch)
        joints = torch.tensor(self.record.joints_m)[None]
        verts, rest = default_hand().pose(
            self.record.mano_pose[None].astype(float), self.record.mano_shape[None].astype(float)
        )
        mesh = torch.tensor(verts - rest[:, :1], dtype=torch.float32)
        pixels = torch.tensor(self.record.joints_px)[None]
        matrix = batch["crop_matrix"]
        flat = (pixels @ matrix[:, :, :2].mT + matrix[:, None, :, 2]) / self.crop_px
        out = {"joints_m": joints - joints[:, :1], "verts_m": mesh}
        logits = torch.tensor([[2.0, -2, 0, 5, -5, 0], [0, 0, 0, 0, 0, 0]])[None]
        extra = {"joints_crop": flat, "occlusion_logits": logits}
        return out if self.flat else {**out, **extra}

    def losses(self, out, batch):
        return {"none": self.weight.sum() * 0}


class Streaming(Knowing):
    """Sees each frame of a video once."""

    VARIANTS = {"full": {"frames": 3}}
    shapes: list = []

    def __init__(self, hand, frames: int = 3) -> None:
        super().__init__(hand, frames, flat=True)
        self.inputs = ("image",)

    def forward(self, batch):
        self.shapes.append(tuple(batch["image"].shape))
        return super().forward({**batch, "crop_matrix": torch.zeros(1, 2, 3)})

    def stream(self, step):
        assert step == 1
        return SimpleNamespace(push=lambda image: self.forward({"image": image}))


@pytest.fixture(autouse=True)
def places(toy_places, monkeypatch) -> None:
    import handbench.methods

    for name in ("Knowing", "Streaming"):
        monkeypatch.setitem(handbench.methods.TABLE, name.lower(), f"{__name__}:{name}")


def knowing(variant: str = "full"):
    return train(recipe.make("knowing", variant, "tiny", "small", ["clip=0"], steps=1, batch=4))


@pytest.fixture
def picture(tmp_path):
    image = np.full((SIZE_PX[1], SIZE_PX[0], 3), 128, np.uint8)
    path = tmp_path / "hand.png"
    cv2.imwrite(str(path), cv2.circle(image, (60, 50), 20, (40, 80, 200), -1))
    return path


def test_a_hand_is_put_where_its_joints_are_seen():
    record = hand_record(np.random.default_rng(1), False)
    joints = record.joints_m.astype(np.float64)
    relative, pixels = joints - joints[:1], project(joints, K)
    found = placing.translation(relative, pixels, K)
    np.testing.assert_allclose(found, joints[0], atol=1e-9)
    noisy = pixels + np.random.default_rng(0).normal(0, 1, pixels.shape)
    near = placing.translation(relative, noisy, K)
    np.testing.assert_allclose(near, joints[0], atol=0.02)
    assert placing.residual_px(relative + near, noisy, K) < 1.6
    # another focal length moves the hand along its ray, and the pixels stay
    longer = placing.translation(relative, pixels, placing.camera((160, 120), 400.0))
    assert longer[2] == pytest.approx(2 * joints[0, 2], rel=0.1)
    assert placing.translation(relative, np.full((21, 2), 50.0), K) is None
    box = np.array([30.0, 20, 60, 60])
    seen = project(relative + placing.inside_box(relative, box, K), K)
    assert np.ptp(seen, axis=0).max() == pytest.approx(60, rel=0.3)
    np.testing.assert_allclose((seen.min(0) + seen.max(0)) / 2, [60, 50], atol=12)
    assert placing.camera((400, 300))[0, 0] == 480
    assert placing.camera((401, 301))[:2, 2].tolist() == [200, 150]  # the middle pixel's centre


def test_joints_and_mesh_count_from_the_predicted_wrist():
    joints, verts = torch.randn(2, 21, 3), torch.randn(2, 778, 3)
    arrays = {"is_left": np.array([0, 1]), "crop_matrix": np.tile(np.eye(2, 3), (2, 1, 1))}
    found = outputs.native(arrays, {"joints_m": joints, "verts_m": verts}, 16)
    apart = (verts - joints[:, :1]).numpy() * [[[1, 1, 1]], [[-1, 1, 1]]]
    np.testing.assert_allclose(found["verts_m"], apart, atol=1e-6)
    assert not found["joints_m"][:, 0].any()


def test_pictures_get_json_mesh_and_overlay(picture, tmp_path, capsys):
    run = knowing()
    asked = wanted(box=BOX, focal=200.0)
    (path,) = predict_pictures(run, [picture], asked, tmp_path / "out", "cpu")
    told = json.loads(path.with_suffix(".json").read_text())
    (hand,) = told["hands"]
    assert (told["focal_px"], told["focal_source"]) == (200.0, "given")
    assert (hand["box_source"], hand["side"]) == ("given", "right")
    record = hand_record(np.random.default_rng(3), False)
    np.testing.assert_allclose(hand["joints_px"], record.joints_px, atol=1e-3)
    centre = [79.5, 59.5] - K[:2, 2]  # the assumed principal point is the picture's middle
    np.testing.assert_allclose(
        hand["joints_camera_m"], record.joints_m, atol=0.01 + abs(centre).max() * 0.5 / 200
    )
    assert hand["reprojection_px"] < 0.5
    assert np.round(hand["finger_visible"], 3).tolist() == [0.881, 0.119, 0.5, 0.993, 0.007]
    lines = path.with_suffix(".obj").read_text().splitlines()
    assert sum(line.startswith("v ") for line in lines) == 778
    mesh = np.array([line.split()[1:] for line in lines if line.startswith("v ")], float)
    assert np.linalg.norm(mesh - hand["translation_m"], axis=1).min() < 0.03
    assert cv2.imread(str(path)).shape == (600, 1400, 3)
    said = capsys.readouterr().err
    assert "no --box" not in said
    assert "taken as right hands" in said
    (path,) = predict_pictures(run, [picture], wanted(), None, "cpu")
    assert path == run.path / "pictures" / "hand.png"
    told = json.loads(path.with_suffix(".json").read_text())
    assert told["hands"][0]["box_source"] == "whole picture"
    assert told["focal_px"] == 192
    said = capsys.readouterr().err
    assert "no --box: each whole picture" in said
    assert "1.2 x the longer side is assumed" in said


def test_left_hands_are_mirrored_and_back(picture, tmp_path):
    run = knowing("flat")  # without 2D joints: the box places the hand
    sides = {}
    for side in ("right", "left"):
        out = tmp_path / side
        (path,) = predict_pictures(run, [picture], wanted(side, BOX), out, "cpu")
        (hand,) = json.loads(path.with_suffix(".json").read_text())["hands"]
        assert hand["translation_source"] == "size of the box"
        sides[side] = np.array(hand["joints_camera_m"])
    right, left = (sides[side] - sides[side][0] for side in ("right", "left"))
    np.testing.assert_allclose(left, right * [-1, 1, 1], atol=1e-6)


def test_several_frames_boxes_and_2d_joints(picture, tmp_path, capsys):
    other = tmp_path / "in" / "b.jpg"
    other.parent.mkdir()
    cv2.imwrite(str(other), cv2.imread(str(picture))[:, ::-1])
    third = tmp_path / "in" / "c.png"
    cv2.imwrite(str(third), cv2.imread(str(picture)))
    three = knowing("three")
    assert len(predict_pictures(three, [picture, other, third], wanted(), None, "cpu")) == 1
    assert len(predict_pictures(three, [other.parent], wanted(), None, "cpu")) == 2
    boxes = tmp_path / "boxes.csv"
    boxes.write_text(
        "\ufeffimage,x,y,w,h,side\nb.jpg,1,2,30,40,Left\nb.jpg,50,2,30,40,\nz.jpg,1,1,2,2,\n"
    )
    asked = wanted(boxes=str(boxes))
    (path,) = predict_pictures(knowing(), [other.parent], asked, None, "cpu")
    hands = json.loads(path.with_suffix(".json").read_text())["hands"]
    assert [hand["side"] for hand in hands] == ["left", "right"]
    assert "c.png: --boxes has none for it, left out" in capsys.readouterr().err
    with pytest.raises(HandbenchError, match="names none of the pictures"):
        predict_pictures(knowing(), [picture], asked, None, "cpu")
    with pytest.raises(HandbenchError, match="needs joints_crop at test time.*give --joints FILE"):
        predict_pictures(knowing("asks"), [picture], wanted(), None, "cpu")
    joints = tmp_path / "joints.json"
    joints.write_text(json.dumps({"hand.png": [[50.0, 40.0 + k] for k in range(21)]}))
    predict_pictures(knowing("asks"), [picture], wanted(joints=str(joints)), None, "cpu")


def test_a_video_becomes_a_video(picture, tmp_path):
    clip = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"mp4v"), 10, SIZE_PX)
    for _ in range(3):
        writer.write(cv2.imread(str(picture)))
    writer.release()
    (path,) = predict_pictures(knowing("three"), [clip], wanted(box=BOX), None, "cpu")
    made = cv2.VideoCapture(str(path))
    frames = 0
    while made.read()[0]:
        frames += 1
    assert (path.name, frames, made.get(cv2.CAP_PROP_FPS)) == ("clip.mp4", 3, 10)
    told = json.loads(path.with_suffix(".json").read_text())["frames"]
    assert [frame["frame"] for frame in told] == [0, 1, 2]
    assert len(list((path.parent / "clip").glob("*.obj"))) == 3
    run = train(recipe.make("streaming", "full", "tiny", "small", ["clip=0"], steps=1, batch=4))
    Streaming.shapes.clear()
    (path,) = predict_pictures(run, [clip], wanted(box=BOX), None, "cpu")
    assert Streaming.shapes == [(1, 3, 16, 16)] * 3
    streamed = json.loads(path.with_suffix(".json").read_text())["frames"]
    assert streamed[0]["hands"][0]["side"] == "right"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"box": "1,2,3"}, "--box 1,2,3: give X,Y,W,H in pixels"),
        ({"box": "1,2,0,4"}, "give X,Y,W,H"),
        (
            {"box": "400,2,9,9"},
            r"hand.png: less than 3 pixels of the box 400,2,9,9 lie in the picture \(160 x 120\)",
        ),
        ({"box": "10,10,1,40"}, "less than 3 pixels of the box 10,10,1,40 lie in the picture"),
        ({"box": "158,10,30,30"}, "less than 3 pixels of the box"),
        ({"focal": -3.0}, "--focal -3: a focal length is over 0"),
        ({"box": BOX, "boxes": "b.csv"}, "give one"),
        ({"boxes": "nowhere.csv"}, "nowhere.csv does not exist"),
        ({"joints": "nowhere.json"}, "nowhere.json does not exist"),
    ],
)
def test_bad_requests_are_one_line(arguments, message, picture):
    with pytest.raises(HandbenchError, match=message) as caught:
        predict_pictures(knowing(), [picture], wanted(**arguments), None, "cpu")
    assert "\n" not in str(caught.value)


def test_bad_files_are_one_line(tmp_path, picture):
    (tmp_path / "empty").mkdir()
    torn, text, dot = tmp_path / "torn.png", tmp_path / "text.txt", tmp_path / "dot.png"
    cv2.imwrite(str(dot), np.zeros((1, 1, 3), np.uint8))
    with pytest.raises(DataError, match="dot.png: less than 3 pixels of the box 0,0,1,1"):
        predict_pictures(knowing(), [dot], wanted(), None, "cpu")
    torn.write_bytes(picture.read_bytes()[:30])
    text.write_text("image,x\n1,2\n")
    for paths, message in {
        (tmp_path / "empty",): "holds no picture",
        (tmp_path / "none.png",): "does not exist",
        (text,): "is no picture or video by its ending",
    }.items():
        with pytest.raises(DataError, match=message):
            find(paths)
    with pytest.raises(DataError, match="torn.png is no picture that can be read"):
        predict_pictures(knowing(), [torn], wanted(), None, "cpu")
    with pytest.raises(DataError, match="expected columns image,x,y,w,h"):
        read_boxes(text)
    wrong = tmp_path / "wrong.json"
    for content, message in {
        '{"a": [1, 2, 3]}': "'a' needs numbers x, y, w, h",
        '{"a": [1, 2, 3, "x"]}': "'a' needs numbers x, y, w, h",
        "[1, 2]": "expected {image",
    }.items():
        wrong.write_text(content)
        with pytest.raises(DataError, match=message):
            read_boxes(wrong)
    wrong.write_text('{"a": [[1, 2], [3]]}')
    with pytest.raises(DataError, match="joints of a are not 21 points"):
        read_joints(wrong)


def test_prediction_files_hold_pixels_rotations_and_visibility(monkeypatch):
    """A method that knows the truth of its batch gives the split's own numbers for both sides."""
    import handbench.methods

    monkeypatch.setitem(handbench.methods.TABLE, "telling", f"{__name__}:Telling")
    run = train(make(method="telling"), "cpu")
    with h5py.File(predict(run, device="cpu")) as file:
        made = {name: file[name][()] for name in file if name != "id"}
    split = open_split("small/test")
    np.testing.assert_allclose(made["joints_px"], split.hand_column("joints_px"), atol=1e-3)
    pose = torch.tensor(split.hand_column("mano_pose")[:, :3])
    wanted_rotation = axis_angle_to_matrix(pose).numpy()
    np.testing.assert_allclose(made["root_rotation"], wanted_rotation, atol=1e-5)
    assert made["is_left"].any()
    assert np.allclose(made["visibility"], 1 / (1 + np.exp(-3)))
    several = outputs.visible(np.stack([np.zeros((2, 6)), np.ones((2, 6))])[None])
    assert (several == 0.5).all()
    assert checkpoint.newest(run)["finished"]


class Telling(torch.nn.Module):
    inputs, crop_px, frames, hands = ("joints_m", "joints_crop", "pose"), 16, 1, 1
    VARIANTS, PRESETS = {"full": {}}, {"tiny": {}, "paper": {}}

    def __init__(self, hand) -> None:
        super().__init__()

    def fit(self, batches) -> None:
        next(iter(batches))

    def forward(self, batch):
        logits = torch.zeros(len(batch["pose"]), 2, 6)
        logits[:, 0] = 3
        rotations = axis_angle_to_matrix(batch["pose"].view(-1, 16, 3))
        given = {name: batch[name] for name in ("joints_m", "joints_crop")}
        return {**given, "rotations": rotations, "occlusion_logits": logits}
