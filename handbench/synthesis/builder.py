"""ObjectMesh, and the workbench on which the makers of one kind of thing put it together."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handbench.synthesis.shapes import Part

Paint = NDArray | Callable[[NDArray], NDArray]


@dataclass(frozen=True)
class ObjectMesh:
    """A closed surface with one colour a face.

    verts_m (V, 3); faces (F, 3) i4, counter-clockwise from outside; face_colours (F, 3) RGB 0..1;
    symmetries: (axis, fold) pairs of the shape, fold 0 = any angle; bars (B, 2, 3): ends of
    the stretches a hand can close round, bar_kinds "body" or "handle" for each, bar_fronts (B, 3)
    the side of a handle that points away from the palm, zeros where any may.
    """

    name: str
    seed: int
    verts_m: NDArray[np.float64]
    faces: NDArray[np.int32]
    face_colours: NDArray[np.float32]
    symmetries: tuple[tuple[str, int], ...]
    diameter_m: float
    bars: NDArray[np.float64]
    bar_kinds: tuple[str, ...]
    bar_fronts: NDArray[np.float64]


class Builder:
    """Collects coloured parts and bars while a maker runs."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.parts: list[tuple[Part, NDArray]] = []
        self.bars: list[tuple[NDArray, NDArray]] = []
        self.kinds: list[str] = []
        self.fronts: list[tuple] = []
        self.symmetries: tuple[tuple[str, int], ...] = ()

    def vary(self, *sizes: float, spread: float = 0.1) -> tuple[float, ...]:
        """Sizes scaled together by up to `spread` and each by up to half of it."""
        common = 1 + self.rng.uniform(-spread, spread)
        return tuple(s * common * (1 + self.rng.uniform(-spread, spread) / 2) for s in sizes)

    def colour(self, saturation: float = 0.75, value: float = 0.8) -> NDArray:
        """A random hue as RGB 0..1."""
        hue = self.rng.uniform(0, 6)
        wheel = np.clip(np.abs((hue + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
        saturation = np.clip(saturation + self.rng.uniform(-0.2, 0.2), 0, 1)
        return np.clip(value + self.rng.uniform(-0.15, 0.1), 0, 1) * (1 - saturation * (1 - wheel))

    def grey(self, value: float) -> NDArray:
        return np.full(3, np.clip(value + self.rng.uniform(-0.08, 0.08), 0, 1))

    def add(self, part: Part, colour: Paint) -> None:
        """colour: RGB, or a function from face centres (F, 3) to RGB (F, 3)."""
        centres = part[0][part[1]].mean(1)
        painted = colour(centres) if callable(colour) else np.tile(colour, (len(centres), 1))
        self.parts.append((part, painted))

    def bar(self, start: tuple, end: tuple, kind: str = "body", front: tuple = (0, 0, 0)) -> None:
        """A place to hold the object by: the segment start to end; front: where its front faces."""
        self.bars.append((np.array(start, float), np.array(end, float)))
        self.kinds.append(kind)
        self.fronts.append(front)

    def finish(self, name: str, seed: int) -> ObjectMesh:
        """All parts as one mesh about the middle of its box."""
        starts = np.cumsum([0] + [len(part[0]) for part, _ in self.parts])
        verts = np.concatenate([part[0] for part, _ in self.parts])
        faces = np.concatenate([part[1] + s for (part, _), s in zip(self.parts, starts)])
        centre = (verts.min(0) + verts.max(0)) / 2
        verts = verts - centre
        bars = np.array(self.bars).reshape(-1, 2, 3) - centre
        colours = np.concatenate([c for _, c in self.parts]).clip(0, 1).astype(np.float32)
        diameter = 2 * float(np.linalg.norm(verts, axis=1).max())
        return ObjectMesh(
            name=name,
            seed=seed,
            verts_m=verts,
            faces=faces.astype(np.int32),
            face_colours=colours,
            symmetries=self.symmetries,
            diameter_m=diameter,
            bars=bars,
            bar_kinds=tuple(self.kinds),
            bar_fronts=np.array(self.fronts, float).reshape(-1, 3),
        )
