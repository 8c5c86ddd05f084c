"""Things with a grip: tools, cutlery, pens; and the shapes that cross the picture as occluders."""

import numpy as np
from numpy.typing import NDArray

from handbench.synthesis.builder import Builder
from handbench.synthesis.shapes import (
    arc,
    bend,
    box,
    ellipsoid,
    move,
    revolve,
    tube,
    turn_about,
)
from handbench.synthesis.vessels import stripes

STEEL = np.array([0.72, 0.73, 0.75])


def marker(b: Builder) -> None:
    r, h = b.vary(0.0095, 0.13)
    ink, shell = b.colour(), b.grey(0.9)
    low = [(0, -0.5), (0.9, -0.5), (1, -0.48), (1, -0.42), (1, 0.1), (1, 0.18), (0.88, 0.185)]
    high = [(0.97, 0.19), (0.97, 0.46), (0.7, 0.5), (0, 0.5)]
    part = revolve([(x * r, z * h) for x, z in low + high], 20)
    b.add(part, stripes(shell, (-h, -0.42 * h, ink), (0.1 * h, 0.18 * h, ink), (0.185 * h, h, ink)))
    b.bar((0, 0, -0.45 * h), (0, 0, 0.45 * h))
    b.symmetries = (("z", 0),)


def screwdriver(b: Builder) -> None:
    r, h, shaft = b.vary(0.0155, 0.1, 0.095)
    grip, ring = b.colour(), b.colour(0.2, 0.25)
    waist = [(0.7, 0.0), (1, 0.06), (1, 0.45), (0.95, 0.55), (0.68, 0.78), (0.85, 0.9), (0.8, 1)]
    part = revolve([(0, 0), *((x * r, z * h) for x, z in waist), (0, h)], 18, 1, 2.6)
    b.add(part, stripes(grip, (0.55 * h, 0.78 * h, ring), (0, 0.06 * h, ring)))
    rod = [(0.003, h - 0.002), (0.003, h + shaft - 0.01), (0.0045, h + shaft - 0.006)]
    tip = [(0.004, h + shaft)]
    b.add(revolve([(0, h - 0.002), *rod, *tip, (0, h + shaft)], 8, 0.6), STEEL)
    b.bar((0, 0, 0.1 * h), (0, 0, 0.85 * h))


def spatula(b: Builder) -> None:
    grip, shaft, wide, tall = b.vary(0.11, 0.07, 0.075, 0.085)
    z = np.linspace(0, 1, 10)
    girth = np.interp(z, [0, 0.06, 0.5, 1], [0.007, 0.0105, 0.009, 0.007])
    path = np.stack([0 * z, 0.003 * np.sin(3 * z), grip * z], 1)
    b.add(tube(path, girth, 12, 0.7), b.colour(0.7, 0.4))
    rod = np.linspace([0, 0, grip - 0.01], [0, 0.006, grip + shaft + 0.005], 6)
    b.add(tube(rod, 0.0035, 8), STEEL)
    slots = np.linspace(-0.6, 0.6, 4)

    def splay(v: NDArray) -> NDArray:
        v[:, 0] *= 0.8 + 0.2 * (v[:, 2] / tall + 0.5)
        v[:, 1] += 0.006 * (v[:, 2] / tall + 0.5) ** 2
        return v

    blade = bend(box((wide, 0.003, tall), 0.001, (slots, (), np.linspace(-0.8, 0.8, 5))), splay)
    colour = b.colour(0.6, 0.5)
    b.add(move(blade, (0, 0.006, grip + shaft + tall / 2)), colour)
    b.bar((0, 0, 0.1 * grip), (0, 0, 0.9 * grip))


def drill(b: Builder) -> None:
    """Body along +x (chuck forward), pistol grip down, battery foot."""
    (size,) = b.vary(1.0, spread=0.08)
    shell, dark = b.colour(0.85), b.grey(0.18)
    body = [(0, -0.075), (0.022, -0.075), (0.028, -0.066), (0.029, -0.03), (0.029, 0.03)]
    nose = [(0.027, 0.05), (0.02, 0.06), (0.0165, 0.063), (0.0165, 0.07), (0.013, 0.088)]
    bit = [(0.004, 0.09), (0.0035, 0.125), (0, 0.126)]
    part = revolve([(r * size, x * size) for r, x in body + nose + bit], 24)
    part = move(part, turn=turn_about("y", 90))
    b.add(part, lambda c: np.where(c[:, :1] > 0.055 * size, dark, shell))
    z = np.linspace(-0.012, -0.122, 12)
    path = np.stack([-0.012 + 0.2 * (z + 0.012), 0 * z, z], 1) * size
    girth = np.interp(-z, [0.01, 0.04, 0.07, 0.1, 0.125], [0.023, 0.018, 0.0195, 0.018, 0.021])
    band = b.colour(0.2, 0.3)
    b.add(tube(path, girth * size, 14, 0.82), lambda c: np.where(c[:, :1] > path[6, 0], dark, band))
    trigger = ellipsoid((0.006, 0.006, 0.012), 10, 5)
    b.add(move(trigger, (0.006 * size, 0, -0.036 * size)), b.grey(0.35))
    foot = box((0.078 * size, 0.056 * size, 0.034 * size), 0.005, ((), (), (0.4,)))
    place = (path[-1, 0] - 0.002, 0, -0.135 * size)
    b.add(move(foot, place), lambda c: np.where(c[:, 2:] > place[2] + 0.006, shell, dark))
    b.bar(tuple(path[10]), tuple(path[2]), "handle", (1, 0, 0))


def hammer(b: Builder) -> None:
    length, head = b.vary(0.235, 0.095)
    z = np.linspace(0, 1, 16)
    girth = np.interp(
        z, [0, 0.03, 0.25, 0.42, 0.5, 1], [0.011, 0.0155, 0.0145, 0.0155, 0.01, 0.009]
    )
    grip, wood = b.colour(0.7, 0.35), np.array([0.68, 0.5, 0.3]) + b.rng.uniform(-0.08, 0.08)
    path = np.stack([0 * z, 0 * z, length * z], 1)
    limit = 0.48 * length
    b.add(tube(path, girth, 14, 0.78), lambda c: np.where(c[:, 2:] < limit, grip, wood))
    face = [(0, 0.5), (0.013, 0.5), (0.0145, 0.47), (0.0145, 0.3), (0.011, 0.22), (0.011, -0.1)]
    part = revolve([(r, -x * head) for r, x in face] + [(0.009, 0.15 * head), (0, 0.15 * head)], 16)
    part = move(part, (0, 0, length - 0.006), turn_about("y", -90))
    b.add(part, STEEL)

    def curve(v: NDArray) -> NDArray:
        t = np.clip(v[:, 0] / (0.45 * head) + 0.5, 0, 1)
        v[:, 2] = v[:, 2] * (1 - 0.6 * t) - 0.02 * t**2
        return v

    claw = bend(box((0.45 * head, 0.02, 0.018), 0.002, (np.linspace(-0.8, 0.8, 6), (), ())), curve)
    b.add(move(claw, (-0.3 * head, 0, length - 0.006), turn_about("z", 180)), STEEL * 0.9)
    b.bar((0, 0, 0.06 * length), (0, 0, 0.45 * length), "handle", (1, 0, 0))


def scissors(b: Builder) -> None:
    blade, loop = b.vary(0.1, 0.026)
    grip = b.colour(0.8, 0.5)
    for s in (1, -1):
        ring = arc((s * 0.024, -0.052), (0.8 * loop, 1.35 * loop), 0, 345, 24) * [1, 1, 1]
        b.add(tube(ring, 0.0048, 8, closed=True), grip)

        def taper(v: NDArray, s: int = s) -> NDArray:
            t = v[:, 2] / blade + 0.5
            v[:, 0] = v[:, 0] * (1 - 0.75 * t**2) + s * 0.003 * (1 - t)
            return v

        leaf = bend(box((0.015, 0.0024, blade), 0.0008, ((), (), np.linspace(-0.8, 0.8, 7))), taper)
        b.add(move(leaf, (s * 0.004, s * 0.0013, 0.42 * blade), turn_about("y", s * 4)), STEEL)
        stem = np.linspace([s * 0.012, s * 0.001, -0.02], [s * 0.001, s * 0.001, 0.004], 4)
        b.add(tube(stem, 0.0045, 8), grip)
    b.add(
        move(
            revolve([(0, -0.004), (0.005, -0.004), (0.005, 0.004), (0, 0.004)], 12),
            (0, 0, 0.008),
            turn_about("x", 90),
        ),
        STEEL * 0.7,
    )


def clamp(b: Builder) -> None:
    """Spring clamp: two crossing arms with jaw pads, a coil at the pivot."""
    reach, gap = b.vary(0.075, 0.034)
    arms, pads = b.colour(0.85, 0.3), b.colour(0.85, 0.85)
    for s in (1, -1):
        t = np.linspace(-1, 1, 15)
        x = s * np.where(
            t < 0, -gap * np.abs(t) ** 0.8 - 0.004 * (t < 0), 0.022 * np.sin(t * np.pi)
        )
        path = np.stack([x, s * 0.004 * (1 - np.abs(t)), reach * t], 1)
        b.add(tube(path, np.interp(t, [-1, 0, 1], [0.0085, 0.0095, 0.006]), 10, 1.25), arms)
        tip = (x[-1] + s * 0.005, 0, 0.97 * reach)
        b.add(move(box((0.009, 0.02, 0.016), 0.002), tip), pads)
        b.bar(tuple(path[1]), tuple(path[6]), "body")
    coil = revolve(
        [(0, -0.014), (0.012, -0.014), (0.013, -0.01), (0.013, 0.01), (0.012, 0.014), (0, 0.014)],
        16,
    )
    b.add(move(coil, turn=turn_about("x", 90)), STEEL * 0.8)


def plate(b: Builder) -> None:
    (r,) = b.vary(0.095)
    low = [(0, 0), (0.6 * r, 0), (0.65 * r, 0.004), (r, 0.014), (r, 0.017), (0.65 * r, 0.008)]
    rim = 0.7 * r
    colour, edge = b.grey(0.9), b.colour()
    part = revolve([*low, (0.6 * r, 0.005), (0, 0.005)], 40)
    b.add(part, lambda c: np.where(np.hypot(c[:, :1], c[:, 1:2]) > rim, edge, colour))


def book(b: Builder) -> None:
    x, y, z = b.vary(0.13, 0.02, 0.19)
    cover, title, pages = b.colour(0.6, 0.6), b.colour(0.3, 0.9), np.array([0.93, 0.9, 0.82])
    lines = np.array([-0.9, -0.5, -0.1, 0.5, 0.75])

    def paint(c: NDArray) -> NDArray:
        q = c / (np.array([x, y, z]) / 2)
        colours = np.tile(cover, (len(c), 1))
        colours[(np.abs(q[:, 1]) < 0.75) & ((q[:, 0] > 0.98) | (np.abs(q[:, 2]) > 0.98))] = pages
        front = np.abs(q[:, 1]) > 0.98
        colours[front & (np.abs(q[:, 0]) < 0.75) & (q[:, 2] > 0.5) & (q[:, 2] < 0.75)] = title
        return colours

    b.add(box((x, y, z), 0.0015, ([-0.75, 0, 0.75], [-0.75, 0.75], lines)), paint)


def plant(b: Builder) -> None:
    """A clump of leaves: flat, bent ellipsoids round a common stem."""
    green = np.array([0.2, 0.45, 0.15]) + b.rng.uniform(-0.1, 0.12, 3)
    for k in range(9):
        length, wide = b.vary(0.075, 0.024, spread=0.25)

        def droop(v: NDArray, length: float = length) -> NDArray:
            v[:, 0] += length
            v[:, 2] -= 0.25 * v[:, 0] ** 2 / length
            return v

        leaf = bend(ellipsoid((length, wide, 0.0025), 10, 8), droop)
        turn = turn_about("z", 40 * k + b.rng.uniform(-15, 15)) @ turn_about(
            "y", b.rng.uniform(-75, 5)
        )
        b.add(move(leaf, turn=turn), green * b.rng.uniform(0.75, 1.25))


def cushion(b: Builder) -> None:
    x, y, z = b.vary(0.1, 0.045, 0.085, spread=0.2)
    first, second = b.colour(0.5, 0.7), b.colour(0.5, 0.7)
    count = b.rng.integers(3, 7)
    body = bend(ellipsoid((1, 1, 1), 28, 14), lambda v: np.sign(v) * np.abs(v) ** 0.7 * [x, y, z])
    b.add(body, lambda c: np.where(np.sin(c[:, :1] / x * count * 2) > 0, first, second))


def board(b: Builder) -> None:
    x, y, z = b.vary(0.16, 0.012, 0.24, spread=0.2)
    wood = np.array([0.62, 0.45, 0.28]) * b.rng.uniform(0.6, 1.3)
    lines = np.linspace(-0.85, 0.85, 7)
    shade = b.rng.uniform(0.85, 1.1, 16)
    paint = lambda c: wood * shade[((c[:, 0] / x + 0.5) * 15).astype(int)][:, None]  # noqa: E731
    b.add(box((x, y, z), 0.003, (lines, (), lines)), paint)
