"""Our PNG writer against OpenCV's reader."""

import cv2
import numpy as np
import pytest

from handbench.errors import ShapeError
from handbench.png import encode_grey
from handbench.store import decode


@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (480, 640)])
def test_what_is_written_is_read(shape):
    picture = np.random.default_rng(0).choice(np.array([0, 1, 2, 255], np.uint8), shape)
    for each in (picture, np.asfortranarray(picture), picture[::-1]):
        found = decode(encode_grey(each), cv2.IMREAD_UNCHANGED)
        assert found.shape == shape
        assert (found == each).all()
    with pytest.raises(ShapeError):
        encode_grey(picture.astype(np.int64))
    with pytest.raises(ShapeError):
        encode_grey(np.dstack([picture] * 3))
