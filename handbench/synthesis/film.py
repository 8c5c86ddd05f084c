"""From linear light to a camera's JPEG: blur, vignette, white balance, sensor noise, tone curve."""

from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

STEPS = 4096


@dataclass(frozen=True)
class Film:
    """One camera's habits: gain (3,) of exposure and white balance, vignette at the corners 0..1,
    noise (read, shot) in linear light, blur_px of the lens, shutter: share of the time between
    frames that it is open, JPEG quality."""

    gain: NDArray
    vignette: float
    noise: tuple[float, float]
    blur_px: float
    shutter: float
    quality: int


def draw_film(rng: np.random.Generator) -> Film:
    """A camera's habits by chance."""
    exposure = rng.uniform(0.95, 1.4)
    return Film(
        exposure * (1 + rng.uniform(-0.06, 0.06, 3)),
        float(rng.uniform(0, 0.35)),
        (float(rng.uniform(0.001, 0.004)), float(rng.uniform(0.008, 0.03))),
        float(rng.choice([0.0, rng.uniform(0.35, 0.75)], p=[0.5, 0.5])),
        float(rng.uniform(0, 0.35)),
        int(rng.integers(90, 96)),
    )


def make_noise(seed: int = 0, size: int = 512) -> NDArray[np.float32]:
    """A tile (size,size,3) of unit Gaussian noise; frames cut theirs at random places of it."""
    return np.random.default_rng(seed).standard_normal((size, size, 3), np.float32)


def streak(layer: NDArray, motion_px: NDArray) -> NDArray:
    """The layer (h,w,C) smeared along motion_px (2,): what moved while the shutter was open."""
    length = float(np.hypot(*motion_px))
    if length < 1.2:
        return layer
    reach = int(np.ceil(length / 2))
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    for share in np.linspace(-0.5, 0.5, 4 * reach + 1):
        x, y = reach + share * motion_px[0], reach + share * motion_px[1]
        i, j, u, v = int(y), int(x), x - int(x), y - int(y)
        for a, b, weight in ((0, 0, (1 - u) * (1 - v)), (0, 1, u * (1 - v)), (1, 0, (1 - u) * v)):
            if i + a <= 2 * reach and j + b <= 2 * reach:
                kernel[i + a, j + b] += weight
    return cv2.filter2D(layer, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)


def develop(
    front: NDArray, back: NDArray, film: Film, noise: NDArray, rng: np.random.Generator
) -> bytes:
    """JPEG bytes of front (h,w,4), premultiplied linear RGB, over back (h,w,3), linear RGB."""
    light = np.empty_like(back)
    _over(front, back, film.vignette, film.gain.astype(np.float32), light)
    if film.blur_px:
        light = cv2.GaussianBlur(light, (0, 0), film.blur_px)
    height, width = light.shape[:2]
    i, j = (int(rng.integers(noise.shape[k] - light.shape[k] + 1)) for k in (0, 1))
    flip = -1 if rng.random() < 0.5 else 1
    picture = np.empty(light.shape, np.uint8)
    grain = noise[i : i + height, j : j + width][:, ::flip]
    _expose(light, grain, np.float32(film.noise[0]), np.float32(film.noise[1]), CURVE, picture)
    done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, film.quality])
    if not done:
        raise RuntimeError("OpenCV could not encode a JPEG")
    return data.tobytes()


def _curve() -> NDArray[np.uint8]:
    """Linear light 0..2 to 8 bits: power 1/2.2 with a soft shoulder above 0.8."""
    light = np.linspace(0, 2, STEPS)
    value = light ** (1 / 2.2)
    over = np.maximum(value - 0.85, 0)
    value = np.where(value > 0.85, 0.85 + 0.15 * (1 - np.exp(-over / 0.15)), value)
    return np.rint(255 * value).astype(np.uint8)


CURVE = _curve()


@njit(cache=True)
def _over(front, back, vignette, gain, out):
    height, width = back.shape[:2]
    for i in range(height):
        y = 2 * i / (height - 1) - 1
        for j in range(width):
            x = 2 * j / (width - 1) - 1
            dim = 1 - vignette * 0.5 * (x * x + y * y)
            clear = 1 - front[i, j, 3]
            for k in range(3):
                out[i, j, k] = (front[i, j, k] + back[i, j, k] * clear) * dim * gain[k]


@njit(cache=True)
def _expose(light, grain, read, shot, curve, out):
    """RGB light to BGR bytes; shot noise grows with the root of the light."""
    last = curve.shape[0] - 1
    for i in range(light.shape[0]):
        for j in range(light.shape[1]):
            for k in range(3):
                value = max(light[i, j, k], np.float32(0))
                value += grain[i, j, k] * (read + shot * np.sqrt(value))
                step = int(value * (last / 2) + 0.5)
                out[i, j, 2 - k] = curve[min(max(step, 0), last)]
