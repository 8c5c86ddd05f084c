"""Pictures of any size and shape from what draws squares; large ones are drawn smaller."""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from handbench.synthesis import film
from handbench.synthesis.render import Stage, render

MOST_PX = 800  # larger pictures are drawn smaller and enlarged


def drawn_side(size: tuple[int, int]) -> int:
    """Pixels a side of the square that a picture (w, h) is cut from."""
    return _reduced(size)[1]


def _reduced(size: tuple[int, int]) -> tuple[int, int]:
    """By how much a picture is reduced for drawing, and the side of the square it is cut from."""
    step = -(-max(size) // MOST_PX)
    return step, -(-max(size) // step)


def draw_front(
    stage: Stage | None, bodies: list[NDArray], K: NDArray, size: tuple[int, int]
) -> NDArray[np.float32]:
    """The take's foreground (s,s,4) in a square whose upper left part is the picture."""
    step, side = _reduced(size)
    if stage is None:
        return np.zeros((side, side, 4), np.float32)
    small = K.copy()
    small[:2, 2] += 0.5
    small[:2] /= step
    small[:2, 2] -= 0.5
    return render(stage, bodies, small, side).front


def develop(
    front: NDArray,
    back: NDArray,
    size: tuple[int, int],
    style: film.Film,
    rng: np.random.Generator,
) -> bytes:
    """JPEG bytes of the picture at its full size."""
    step, _ = _reduced(size)
    cut = slice(0, -(-size[1] // step)), slice(0, -(-size[0] // step))
    front, back = np.ascontiguousarray(front[cut]), np.ascontiguousarray(back[cut])
    if step > 1:
        front, back = (
            cv2.resize(layer, None, fx=step, fy=step)[: size[1], : size[0]]
            for layer in (front, back)
        )
    return film.develop(front, back, style, _noise(max(size) + 64), rng)


@lru_cache(maxsize=2)
def _noise(size: int) -> NDArray[np.float32]:
    return film.make_noise(size=size)
