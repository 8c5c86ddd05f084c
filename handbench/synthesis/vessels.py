"""Things that hold something: cans, cartons, bottles, cups, bowls; and fruit."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from handbench.synthesis.builder import Builder
from handbench.synthesis.shapes import arc, bend, box, ellipsoid, revolve, tube


def stripes(base: NDArray, *bands: tuple[float, float, NDArray]) -> Callable[[NDArray], NDArray]:
    """Paints height ranges (m) of a body; later bands win."""

    def paint(centres: NDArray) -> NDArray:
        colours = np.tile(base, (len(centres), 1))
        for low, high, colour in bands:
            colours[(centres[:, 2] > low) & (centres[:, 2] < high)] = colour
        return colours

    return paint


def can(b: Builder, diameter: float, height: float, flat: float = 1, power: float = 2) -> None:
    d, h = b.vary(diameter, height)
    r, top = d / 2, h / 2
    body, label, metal = b.colour(), b.colour(0.3, 0.95), b.grey(0.75)
    patch = b.colour(0.8, 0.5)
    rows = np.array([-0.86, -0.45, 0.0, 0.45, 0.86]) * top
    wall = [(r - 0.002, -top), (r, -top + 0.002), *((r, z) for z in rows)]
    lid = [(r, top - 0.002), (r - 0.002, top), (r - 0.004, top - 0.003)]
    part = revolve([(0, -top), *wall, *lid, (0, top - 0.003)], 36, flat, power)
    wrap = stripes(metal, (rows[0], rows[-1], body), (rows[1], rows[3], label))

    def paint(centres: NDArray) -> NDArray:
        colours = wrap(centres)
        angle = np.degrees(np.arctan2(centres[:, 1] / flat, centres[:, 0]))
        inside = (np.abs(centres[:, 2]) < rows[3]) & (np.abs(np.abs(angle) - 90) < 30)
        colours[inside & (np.hypot(*centres[:, :2].T) > 0.3 * r)] = patch
        return colours

    b.add(part, paint)
    b.bar((0, 0, -top), (0, 0, top))
    b.symmetries = (("z", 0), ("x", 2)) if flat == 1 else (("z", 2), ("x", 2))


def carton(b: Builder, x: float, y: float, z: float, plain: bool = False) -> None:
    """Box with a printed frame, panel and stripe on its faces."""
    x, y, z = b.vary(x, y, z)
    size = (x, y, z)
    ground, panel, print_, side = b.colour(), b.colour(0.4, 0.9), b.colour(), b.colour(0.5)
    edge, inner = 0.7, 0.3
    cuts = np.array([-edge, -inner, inner, edge])
    half = np.array(size) / 2

    def paint(centres: NDArray) -> NDArray:
        q = centres / half
        axis = np.abs(q).argmax(1)
        u, v = (np.abs(q[np.arange(len(q)), (axis + k) % 3]) for k in (1, 2))
        colours = np.tile(ground, (len(q), 1))
        if plain:
            return colours * (1 - 0.06 * axis[:, None])
        colours[axis == 1] = side
        colours[(axis != 2) & (u < edge) & (v < edge)] = panel
        colours[(axis == 0) & (u < edge) & (v < inner)] = print_
        colours[(axis == 2) & (u < inner)] = print_
        return colours

    b.add(box(size, 0.0025, (cuts, cuts, cuts)), paint)
    for axis in range(3):
        end = np.eye(3)[axis] * half[axis]
        b.bar(tuple(-end), tuple(end))
    b.symmetries = (("x", 2), ("y", 2), ("z", 2))


def bottle(b: Builder, profile: list[tuple[float, float]], flat: float, power: float) -> None:
    """Squeeze bottle: profile as fractions of (half width 1, height 1), cap above 0.84."""
    r, h = b.vary(0.048, 0.2)
    body, label, cap = b.colour(0.6, 0.9), b.colour(), b.colour(0.8)
    part = revolve([(x * r, (z - 0.5) * h) for x, z in profile], 28, flat, power)
    b.add(part, stripes(body, (-0.36 * h, -0.02 * h, label), (0.34 * h, h, cap)))
    b.bar((0, 0, -0.45 * h), (0, 0, 0.15 * h))
    b.symmetries = (("z", 2),)


def bleach_bottle(b: Builder) -> None:
    shoulder = [(1, 0.48), (1, 0.62), (0.88, 0.78), (0.52, 0.84), (0.42, 0.86), (0.42, 0.99)]
    bottle(b, [(0, 0), (0.95, 0), (1, 0.03), (1, 0.14), (1, 0.3), *shoulder, (0, 1)], 0.66, 3)


def mustard_bottle(b: Builder) -> None:
    top = [(1, 0.48), (0.9, 0.68), (0.6, 0.79), (0.38, 0.84), (0.3, 0.88), (0.1, 0.995)]
    bottle(b, [(0, 0), (0.95, 0), (1, 0.03), (1, 0.14), (1, 0.3), *top, (0, 1)], 0.6, 2.6)


def cup(b: Builder, d: float, h: float, flare: float, loop: float, bar: float) -> None:
    """Open vessel with a handle on +x: d bottom diameter, flare top / bottom radius."""
    d, h, loop = b.vary(d, h, loop)
    r, wall, top = d / 2, 0.0035, h / 2
    levels = np.linspace(-1, 1, 6)
    width = r * (1 + (flare - 1) * (levels + 1) / 2)
    inner = [(w - wall, z * top) for w, z in zip(width[:0:-1], levels[:0:-1])]
    outer = [(w, z * top) for w, z in zip(width, levels)]
    outer[0] = (r, -top + 0.003)
    floor = -top + 0.006
    profile = [(0, -top), (r - 0.003, -top), *outer, *inner, (r - wall, floor), (0, floor)]
    body, band, lining = b.colour(), b.colour(0.4, 0.9), b.colour(0.1, 0.95)

    def paint(centres: NDArray) -> NDArray:
        colours = stripes(body, (-0.2 * top, 0.2 * top, band))(centres)
        radius = r * (1 + (flare - 1) * (centres[:, 2] / top + 1) / 2)
        colours[(np.hypot(*centres[:, :2].T) < radius - 0.8 * wall) & (centres[:, 2] > floor)] = (
            lining
        )
        return colours

    b.add(revolve(profile, 32), paint)
    middle = r * (1 + flare) / 2
    tall = 0.62 * top
    path = arc((middle - 0.004, 0), (loop + bar, tall), -84, 84, 15)
    b.add(tube(path, bar, 10, 1.4), body)
    reach = middle - 0.004 + loop + bar
    b.bar((reach, 0, -0.6 * tall), (reach, 0, 0.6 * tall), "handle", (-1, 0, 0))
    if middle < 0.045:
        b.bar((0, 0, -top), (0, 0, top))


def bowl(b: Builder) -> None:
    r, h = b.vary(0.072, 0.055)
    t = np.linspace(0.12, 1, 8)
    out = [(0.45 * r + 0.55 * r * np.sin(x * np.pi / 2), h * (x**1.6 - 0.5)) for x in t]
    inner = [(x - 0.0035, max(z, -h / 2 + 0.005)) for x, z in out[::-1]]
    profile = [(0, -h / 2), (0.45 * r, -h / 2), *out, *inner, (0, -h / 2 + 0.005)]
    b.add(revolve(profile, 36), stripes(b.colour(), (0.28 * h, h, b.colour(0.3, 0.9))))
    b.symmetries = (("z", 0),)


def fruit(b: Builder, radii: tuple[float, float, float], base: NDArray, stem: bool) -> None:
    rx, ry, rz = b.vary(*radii)

    def dimple(v: NDArray) -> NDArray:
        axis = np.hypot(v[:, 0] / rx, v[:, 1] / ry)
        if stem:
            v[:, 2] *= 1 - 0.3 * np.exp(-((axis / 0.3) ** 2))
        else:
            v[:, :2] *= (1 - 0.45 * (np.abs(v[:, 2]) / rz) ** 6)[:, None]
        return v

    blush = np.clip(base * [1.05, 0.75, 0.8], 0, 1)
    cut = b.rng.uniform(-0.3, 0.3) * rx
    body = bend(ellipsoid((rx, ry, rz), 24, 13), dimple)
    b.add(body, lambda c: np.where((c[:, :1] > cut), base, blush))
    if stem:
        path = np.linspace([0, 0, 0.6 * rz], [0.003, 0, 0.95 * rz], 4)
        b.add(tube(path, 0.0016, 6), np.array([0.3, 0.22, 0.12]))
    b.bar((0, 0, -0.6 * rz), (0, 0, 0.6 * rz))
    b.bar((-0.6 * rx, 0, 0), (0.6 * rx, 0, 0))
    b.symmetries = (("z", 0),)


def ball(b: Builder, radius: float, base: NDArray) -> None:
    """A ball with a wavy seam, as on a tennis ball."""
    (r,) = b.vary(radius)
    seam, base = b.grey(0.92), np.clip(base + b.rng.uniform(-0.15, 0.15, 3), 0, 1)

    def paint(c: NDArray) -> NDArray:
        wave = 0.45 * r * np.cos(2 * np.arctan2(c[:, 1:2], c[:, :1]))
        return np.where(np.abs(c[:, 2:] - wave) < 0.09 * r, seam, base)

    b.add(ellipsoid((r, r, r), 32, 19), paint)
    for axis in np.eye(3):
        b.bar(tuple(-0.6 * r * axis), tuple(0.6 * r * axis))
    b.symmetries = (("x", 0), ("y", 0), ("z", 0))


def banana(b: Builder) -> None:
    radius, girth = b.vary(0.105, 0.018)
    t = np.linspace(-1, 1, 23)
    turn = np.radians(60 * t)
    path = np.stack([radius * np.sin(turn), 0 * t, radius * (1 - np.cos(turn))], 1)
    thick = girth * np.sqrt(np.clip(1 - np.abs(t) ** 5, 0, 1)) * (1 - 0.12 * t) + 0.003
    yellow = np.array([0.93, 0.8, 0.2]) + b.rng.uniform(-0.06, 0.05, 3)
    limit = 0.92 * path[:, 0].max()
    brown = np.array([0.35, 0.25, 0.1])
    b.add(tube(path, thick, 12), lambda c: np.where(np.abs(c[:, :1]) > limit, brown, yellow))
    for k in (6, 11, 16):
        step = (path[k + 1] - path[k - 1]) * 1.5
        b.bar(tuple(path[k] - step), tuple(path[k] + step))
