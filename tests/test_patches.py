"""Encoded pictures to crops: both ways, with and without the optional decoder."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from handbench.errors import DataError
from handbench.loading import crop, patches
from handbench.loading.augment import draw
from handbench.loading.batch import to_torch

SIZE = (200, 160)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    y, x = np.mgrid[: SIZE[1], : SIZE[0]].astype(np.float32)
    waves = [127 + 120 * np.sin(x / a + y / b) for a, b in ((9, 14), (23, -7), (31, 11))]
    return np.stack(waves, -1).astype(np.uint8)


def whole_frame(picture, matrix, size, gain):
    """The slow way: the whole picture in float, then the crop of it."""
    patch = cv2.warpAffine(picture.astype(np.float32), matrix, (size, size))
    return np.clip(patch * gain, 0, 255).transpose(2, 0, 1) / 255


@pytest.mark.parametrize(
    ("centre", "side", "turn", "mirrored"),
    [
        ((100, 80), 60, 0.0, False),
        ((20, 150), 130, 0.7, True),
        ((-300, 80), 50, 0.2, False),  # nothing of the picture inside
        ((100, 80), 900, -1.0, True),  # the whole picture inside
    ],
)
def test_window_alone_gives_the_crop_of_the_whole_picture(picture, centre, side, turn, mirrored):
    matrix = crop.affine(np.array([centre], float), np.array([float(side)]), 96, turn, mirrored)[0]
    gain = np.array([1.2, 0.8, 1.0], np.float32)
    out = np.empty((3, 96, 96), np.float32)
    patches.finish(patches.warp_exact(picture, matrix, 96), gain, out)
    expected = whole_frame(picture, matrix, 96, gain)
    assert np.abs(out - expected).max() * 255 < 0.01
    quick = torch.from_numpy(patches.warp_fast(picture, matrix, 96)[None])
    finished = patches.finish_on_device(quick, torch.from_numpy(gain[None]))[0].numpy()
    assert np.abs(finished - expected).max() * 255 < 0.75
    frames = patches.finish_on_device(quick[:, None], torch.from_numpy(gain[None]))
    assert frames.shape == (1, 1, 3, 96, 96)
    assert torch.equal(frames[0, 0], torch.from_numpy(finished))


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_decoders_agree(picture, suffix, monkeypatch):
    encoded = cv2.imencode(suffix, picture[:, :, ::-1])[1].tobytes()
    found = patches.decode(encoded)[..., :3].copy()
    monkeypatch.setattr(patches, "_simplejpeg", lambda: None)
    assert np.array_equal(patches.decode(encoded), found)
    if suffix == ".png":
        assert np.array_equal(found, picture)


def test_unreadable_picture_is_named_as_such(picture):
    encoded = cv2.imencode(".jpg", picture)[1].tobytes()
    for broken in (encoded[:12], b"\xff\xd8no picture", b"GIF89a"):
        with pytest.raises(DataError, match="not readable"):
            patches.decode(broken)
    with pytest.raises(DataError, match="not stored"):
        patches.decode(b"")


def test_jpeg_and_png_share_a_batch(picture):
    """The decoders give four and three bytes a pixel; windows shift what lies in a cropped one."""
    encoded = [
        cv2.imencode(suffix, picture[:, :, ::-1])[1].tobytes() for suffix in (".jpg", ".png")
    ]
    encoded.append(cv2.imencode(".png", picture[30:130, 40:180, ::-1])[1].tobytes())
    whole = [0, 0, *SIZE]
    split = SimpleNamespace(
        image_bytes=lambda row: encoded[row], windows=np.array([whole, whole, [40, 30, 180, 130]])
    )
    matrix = crop.affine(np.full((1, 2), [100.0, 80]), np.array([60.0]), 96, 0.3, True)
    drawn = draw(None, 0, 0, np.arange(3))
    for order in (np.array([0, 1, 2]), np.array([2, 1, 0])):
        for way in ("exact", "fast"):
            cutter = patches.Cutter(split, 96, way)
            made = cutter.cut(order[:, None], np.repeat(matrix[:, None], 3, 0), drawn)
            if way == "fast":
                made = to_torch(made)["image"].numpy()
            else:
                made = made["image"]
            of = dict(zip(order.tolist(), made))
            assert np.abs(of[1] - of[2]).max() < 1.1 / 255  # the same pixels, whole and cropped
            assert np.abs(of[0] - of[1]).mean() < 0.02  # JPEG loses a little
