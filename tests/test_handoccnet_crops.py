import numpy as np
import pytest

from handbench.loading import crop
from handbench.loading.patches import warp_exact
from handbench.scoring.align import procrustes


def test_crops_are_the_released_ones(shared):
    with np.load(shared / "fixtures/networks/handoccnet_preproc.npz") as data:
        released = dict(data)
    size = np.array([[640, 480]])
    tight = crop.extent(released["joints_in"])
    boxes = released["get_then_process"]
    centre, side, usable = crop.square(tight, size.repeat(4, 0), 1.5)
    assert usable.all()
    assert centre == pytest.approx(boxes[:, :2] + boxes[:, 2:] / 2, abs=1e-4)
    assert side == pytest.approx(boxes[:, 2], abs=1e-4)
    given = released["boxes_in"]
    for factor in (1.0, 1.25, 1.5):  # boxes of HO-3D's evaluation are widened last
        theirs = released[f"process_bbox_{factor}"]
        middle, edge, _ = crop.square(given, size.repeat(5, 0), factor, shipped=True)
        assert middle == pytest.approx(theirs[:, :2] + theirs[:, 2:] / 2, abs=1e-3)
        assert edge == pytest.approx(theirs[:, 2], abs=1e-3)
    y, x = np.mgrid[:480, :640].astype(np.float32)
    waves = np.sin(x / 17 + y / 29), np.cos(x / 41 - y / 13)
    image = np.stack([127.5 + 127.5 * w for w in waves] + [255 * x / 639], -1)
    for i, (scale, degrees, mirrored) in enumerate(released["patch_cfg"]):
        middle, turned = centre[:1].copy(), np.deg2rad(-degrees)
        matrix = crop.affine(middle, scale * side[:1], 256, turned, bool(mirrored))[0]
        theirs = released[f"patch{i}_trans"].astype(float)
        if mirrored:  # they mirror the whole picture first
            theirs[:, 2] += 639 * theirs[:, 0]
            theirs[:, 0] *= -1
        assert matrix == pytest.approx(theirs, abs=1e-4), i
        patch = warp_exact(image.astype(np.float32), matrix, 256)[::8, ::8]
        assert np.abs(patch - released[f"patch{i}_img_sub8"]).max() < 0.01, i  # of 255
    for name in ("A", "C"):
        points, target = released[f"rigid_{name}"][None], released["rigid_B"][None]
        aligned = procrustes(points, target, reflection=False)
        assert aligned[0] == pytest.approx(released[f"rigid_{name}_aligned"], abs=1e-8)
