"""What stands behind the hands: rooms and tables made of noise, out of focus; no photographs.

Each split has texture families of its own, so a test picture's surroundings are new in kind.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from handbench.errors import DataError

Texture = Callable[[np.random.Generator, int], NDArray]


def draw_background(
    split: str, size: int, rng: np.random.Generator, folder: Path | None = None
) -> NDArray[np.float32]:
    """Linear RGB (size,size,3): a wall above a table, or a table seen from above, and clutter.

    folder: photographs to take crops of instead. Raises DataError when it holds none.
    """
    if folder is not None:
        return _photograph(folder, size, rng)
    names, drawn = FAMILIES[split], size * 5 // 8  # out of focus: fewer pixels say as much
    wall = TEXTURES[names[rng.integers(len(names))]](rng, drawn).astype(np.float32)
    if rng.random() < 0.7:
        table = TEXTURES[names[rng.integers(len(names))]](rng, drawn).astype(np.float32)
        wall = _join(wall, _lean(table), rng)
    picture: NDArray = wall * _light(rng, drawn)
    for _ in range(rng.integers(1, 6)):
        _put_clutter(picture, rng)
    picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.5, 2.2))
    picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.pow(np.clip(picture, 0, 1), 2.2), np.float32)


def fractal(
    rng: np.random.Generator, size: int, octaves: Sequence[int], stretch: float = 1.0
) -> NDArray[np.float32]:
    """Noise (size,size) about 0, the sum of smooth noises with that many cells a side."""
    total = np.zeros((size, size), np.float32)
    weight = 1.0
    for cells in octaves:
        coarse = rng.standard_normal((max(2, int(cells)), max(2, int(cells / stretch))), np.float32)
        total += weight * cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
        weight *= 0.6
    return total


def _shades(rng: np.random.Generator, hues: tuple[float, float], strength: float) -> NDArray:
    """A muted colour with a hue (in turns) from a range, RGB 0..1."""
    hue, value = rng.uniform(*hues), rng.uniform(0.3, 0.88)
    wheel = np.clip(np.abs((6 * hue + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    return value * (1 - strength * rng.uniform(0.4, 1) * (1 - wheel))


def _tint(colour: NDArray, tone: NDArray) -> NDArray[np.float32]:
    return (colour * tone[..., None]).astype(np.float32)


def _wood(rng: np.random.Generator, size: int) -> NDArray:
    colour = np.array([0.62, 0.43, 0.27]) * rng.uniform(0.45, 1.35) + rng.normal(0, 0.02, 3)
    grain = fractal(rng, size, (40, 80, 160), stretch=14)
    rings = np.sin(9 * fractal(rng, size, (4, 8), stretch=5))
    planks = np.zeros((size, 1), np.float32)
    width = int(rng.integers(30, 90))
    for start in range(int(rng.integers(width)), size, width):
        planks[start:] += rng.normal(0, 0.08)
        planks[start : start + 2] -= 0.25
    return _tint(colour, 1 + 0.09 * grain + 0.06 * rings + planks - planks.mean())


def _plaster(rng: np.random.Generator, size: int) -> NDArray:
    return _tint(_shades(rng, (0.0, 1.0), 0.35), 1 + 0.035 * fractal(rng, size, (3, 6, 24, 96)))


def _weave(rng: np.random.Generator, size: int) -> NDArray:
    x = np.arange(size) * rng.uniform(0.5, 1.6)
    thread = np.sin(x)[:, None] * np.sin(x)[None] * 0.1
    return _tint(
        _shades(rng, (0.5, 1.1), 0.45), 1 + thread + 0.07 * fractal(rng, size, (4, 64, 160))
    )


def _stripes(rng: np.random.Generator, size: int) -> NDArray:
    x = np.arange(size) / rng.uniform(5, 18)
    band = (np.sin(x)[None] > rng.uniform(-0.5, 0.5))[..., None]
    cloth = _shades(rng, (0.0, 1.0), 0.4) * band + _shades(rng, (0.0, 1.0), 0.25) * ~band
    return cloth * (1 + 0.05 * fractal(rng, size, (4, 32, 120)))[..., None]


def _concrete(rng: np.random.Generator, size: int) -> NDArray:
    spots = np.clip(fractal(rng, size, (60, 120)) - 1.6, 0, 1)
    tone = 1 + 0.09 * fractal(rng, size, (4, 8, 16, 32, 64)) - 0.5 * spots
    return _tint(_shades(rng, (0.05, 0.2), 0.1), tone)


def _felt(rng: np.random.Generator, size: int) -> NDArray:
    return _tint(_shades(rng, (0.25, 0.65), 0.5), 1 + 0.1 * fractal(rng, size, (100, 160, 256)))


def _tiles(rng: np.random.Generator, size: int) -> NDArray:
    edge, gap = int(rng.integers(28, 80)), int(rng.integers(2, 5))
    start = rng.integers(edge, size=2)
    rows, columns = (np.arange(size) + start[0]) // edge, (np.arange(size) + start[1]) // edge
    shade = rng.normal(1, 0.06, (rows.max() + 1, columns.max() + 1))[rows][:, columns]
    grout = ((np.arange(size) + start[0]) % edge < gap)[:, None] | (
        (np.arange(size) + start[1]) % edge < gap
    )[None]
    tone = shade + 0.03 * fractal(rng, size, (6, 24, 96))
    return np.where(
        grout[..., None], _shades(rng, (0.0, 1.0), 0.1), _tint(_shades(rng, (0.0, 1.0), 0.45), tone)
    )


def _marble(rng: np.random.Generator, size: int) -> NDArray:
    warp = fractal(rng, size, (3, 6, 12, 24))
    vein = 1 - np.abs(np.sin(2.2 * warp + np.arange(size)[:, None] / size * 5))
    tone = 1 - 0.35 * vein**6 + 0.03 * fractal(rng, size, (8, 64))
    return _tint(np.clip(_shades(rng, (0.0, 1.0), 0.12) + 0.15, 0, 0.92), tone)


def _knit(rng: np.random.Generator, size: int) -> NDArray:
    x = np.arange(size) * rng.uniform(0.3, 0.7)
    loops = np.abs(np.sin(x[:, None] + np.abs(np.sin(x * 0.5))[None] * 2.5)) * 0.25
    return _tint(_shades(rng, (0.0, 1.0), 0.35), 0.9 + loops + 0.05 * fractal(rng, size, (5, 90)))


def _foliage(rng: np.random.Generator, size: int) -> NDArray:
    blobs = np.clip(fractal(rng, size, (8, 16, 32, 64)) * 0.35 + 0.5, 0, 1)[..., None]
    return blobs * np.array([0.45, 0.6, 0.28]) + (1 - blobs) * np.array([0.12, 0.2, 0.1])


TEXTURES: dict[str, Texture] = {
    "wood": _wood, "plaster": _plaster, "weave": _weave, "stripes": _stripes,
    "concrete": _concrete, "felt": _felt,
    "tiles": _tiles, "marble": _marble, "knit": _knit, "foliage": _foliage,
}  # fmt: skip
FAMILIES = {
    "train": ("wood", "wood", "plaster", "weave", "stripes"),
    "val": ("concrete", "felt"),
    "test": ("tiles", "marble", "knit", "foliage"),
}


def _lean(texture: NDArray) -> NDArray[np.float32]:
    """The texture as a table top that runs away from the viewer."""
    size = len(texture)
    flat = np.array([(0, 0), (size, 0), (size, size), (0, size)], np.float32)
    seen = np.array([(0.25, 0), (0.75, 0), (1.5, 1), (-0.5, 1)], np.float32) * size
    warp = cv2.getPerspectiveTransform(flat, seen)
    leaning = cv2.warpPerspective(texture, warp, (size, size), borderMode=cv2.BORDER_REFLECT)
    return np.asarray(leaning, np.float32)


def _join(wall: NDArray, table: NDArray, rng: np.random.Generator) -> NDArray:
    """Table below a slightly tilted edge, wall above, with the shade between the two."""
    size = len(wall)
    edge = size * (rng.uniform(0.15, 0.7) + rng.normal(0, 0.08) * np.linspace(-0.5, 0.5, size))
    below = (np.arange(size)[:, None] - edge[None]).astype(np.float32)
    share = np.clip(below, 0, 1)[..., None]
    contact = 1 - 0.3 * np.exp(-np.abs(below) / 9)[..., None]
    bright = np.float32(rng.uniform(0.75, 1.15))
    return (wall * (1 - share) + table * share * bright) * contact


def _light(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    """Falling-off light and one soft shadow."""
    angle, ramp = rng.uniform(0, 2 * np.pi), np.linspace(-0.5, 0.5, size, dtype=np.float32)
    slope = np.cos(angle) * ramp[None] + np.sin(angle) * ramp[:, None]
    spot = np.float32(rng.uniform(0.75, 1.2)) * (1 + rng.uniform(0.1, 0.7) * slope)
    soft = np.clip(fractal(rng, size, (2, 4)) * 0.8, 0, 1)
    return (spot * (1 - 0.25 * soft)).astype(np.float32)[..., None]


def _put_clutter(picture: NDArray, rng: np.random.Generator) -> None:
    """Paint one thing of the room in place: a shaded box or disc with its shadow."""
    size = len(picture)
    centre, half = rng.uniform(-0.1, 1.1, 2) * size, rng.uniform(0.04, 0.22, 2) * size
    colour = _shades(rng, (0.0, 1.0), 0.4) * rng.uniform(0.5, 1.1)
    mask = np.zeros((2, size, size), np.float32)
    turn = np.radians(rng.normal(0, 18))
    for k, shift in enumerate((half.mean() * 0.25, 0.0)):
        at = centre + shift
        if rng.random() < 0.35:
            axes = (int(half[0]), int(half[1]))
            cv2.ellipse(mask[k], (int(at[0]), int(at[1])), axes, np.degrees(turn), 0, 360, 1.0, -1)
        else:
            corner = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half
            spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
            cv2.fillPoly(mask[k], [(corner @ spin.T + at).astype(np.int32)], 1.0)
    shadow = cv2.blur(mask[0], (9, 9))[..., None]
    picture *= 1 - np.float32(0.35) * shadow
    slope = np.linspace(1.15, 0.8, size, dtype=np.float32)[:, None, None]
    picture += mask[1][..., None] * (colour.astype(np.float32) * slope - picture)


def _photograph(folder: Path, size: int, rng: np.random.Generator) -> NDArray[np.float32]:
    kinds = (".jpg", ".jpeg", ".png")
    found = sorted(p for p in folder.glob("*") if p.suffix.lower() in kinds)
    if not found:
        raise DataError(f"no .jpg or .png in the backgrounds folder {folder}")
    path = found[rng.integers(len(found))]
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise DataError(f"{path} is not an image; remove it from the backgrounds folder")
    scale = max(size / min(picture.shape[:2]), rng.uniform(0.4, 1))
    picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    i, j = (int(rng.integers(max(1, picture.shape[k] - size + 1))) for k in (0, 1))
    crop = cv2.resize(picture[i : i + size, j : j + size, ::-1], (size, size))
    crop = cv2.GaussianBlur(crop, (0, 0), rng.uniform(0.5, 2.5))
    return np.asarray(cv2.pow(crop.astype(np.float32) / 255, 2.2), np.float32)
