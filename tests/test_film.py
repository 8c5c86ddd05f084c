"""What a synthetic camera does to light: noise that grows with it, smearing that keeps it."""

import cv2
import numpy as np
import pytest

from handbench.synthesis.film import Film, develop, make_noise, streak


def exposed(level: float, noise: tuple[float, float]) -> np.ndarray:
    """A grey wall of so much light, as its decoded picture."""
    back, front = np.full((64, 64, 3), level, np.float32), np.zeros((64, 64, 4), np.float32)
    film = Film(np.ones(3), 0.0, noise, 0.0, 0.0, 100)
    data = develop(front, back, film, make_noise(size=128), np.random.default_rng(0))
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).astype(float)


def test_noise_is_that_of_the_film_and_grows_with_light():
    assert exposed(0.2, (0.0, 0.0)).std() < 1
    dark, bright = (exposed(level, (0.0, 0.02)) for level in (0.02, 0.3))
    assert dark.std() > 1 and bright.std() > 1
    assert exposed(0.02, (0.01, 0.0)).std() > 1
    # in linear light shot noise is the square root of the light
    linear = [((picture / 255) ** 2.2).std() for picture in (dark, bright)]
    assert linear[1] > 2 * linear[0]


def test_what_moved_is_smeared_along_its_way_and_keeps_its_light():
    layer = np.zeros((33, 33, 1), np.float32)
    layer[16, 16] = 1
    assert streak(layer, np.array([1.0, 0.0])) is layer  # too little to see
    moved = streak(layer, np.array([10.0, 0.0])).squeeze()
    assert moved.sum() == pytest.approx(1, abs=1e-4)
    rows, columns = np.nonzero(moved > 1e-6)
    assert set(rows) == {16}
    assert (columns.min(), columns.max()) == (11, 21)
