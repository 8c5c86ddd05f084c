"""What a method's `inspect` gives, as pictures: features, and the attention of one place.

What a map is follows from its name and shape (one sample's, channels first):
- attention, products, softmax, asks or weights in the name: relations. (heads,N,N) over the N
  cells of a square map, or over as many `points`; (heads,Q,K) with as many columns as joints, or
  any other, is drawn as a table;
- heatmaps (J,s,s): their maximum over joints; *gate (heads,s,s): the mean over heads;
- (1,s,s) or (s,s): as it is; (C,s,s): the mean magnitude over channels.
A leading axis of frames is taken at the current frame, the first.
"""

import math
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from handbench.errors import HandbenchError
from handbench.showing import draw
from handbench.showing.canvas import canvas, save

RELATIONS = ("attention", "products", "softmax", "asks", "_ask_", "weights")
Maps = dict[str, NDArray]
COLUMNS = 5


def features(crop: NDArray, maps: Maps, joints_crop: NDArray | None, stem: Path) -> list[Path]:
    """The crop (S,S,3) u8 with the predicted 2D joints (21,2) in 0..1, and every map.

    Writes a PDF, a PNG and a CSV of each map's range. Raises HandbenchError when there is no map.
    """
    drawn = {name: flat for name in maps if (flat := flattened(name, maps[name])) is not None}
    if not drawn:
        raise HandbenchError(f"this method gives no maps of a picture: it has {', '.join(maps)}")
    figure, axes = grid(1 + len(drawn))
    picture(axes[0], with_joints(crop, joints_crop), "2D joints" if joints_crop is not None else "")
    rows = []
    for axis, (name, values) in zip(axes[1:], drawn.items()):
        heat(axis, values, name)
        rows.append((name, *values.shape, float(values.min()), float(values.max())))
    return save(figure, stem, pd.DataFrame(rows, columns=["map", "rows", "columns", "min", "max"]))


def attention(
    crop: NDArray, maps: Maps, query: tuple[float, float], stem: Path
) -> tuple[list[Path], list[str]]:
    """Every relation as seen from a place (x, y) in pixels of the crop, marked there.

    Relations of cells are shown over the crop, those of points at the nearest one, others as
    a table. Also returns a line on each. Raises HandbenchError without any, or outside the crop.
    """
    size = crop.shape[0]
    if not all(0 <= value < size for value in query):
        raise HandbenchError(f"--query {query[0]:g},{query[1]:g} is outside the crop of {size} px")
    relations = {name: first_frame(maps, name) for name in maps if is_relation(name)}
    if not relations:
        raise HandbenchError(f"this method gives no attention: it has {', '.join(maps)}")
    figure, axes = grid(1 + len(relations))
    picture(axes[0], crop, "query")
    star(axes[0], query)
    rows, told = [], []
    for axis, (name, values) in zip(axes[1:], relations.items()):
        mean = values.mean(0) if values.ndim == 3 else np.atleast_2d(values)
        side, places = math.isqrt(mean.shape[1]), placed(maps, mean)
        if places is not None:
            near = int(np.linalg.norm(places * size - query, axis=1).argmin())
            row = mean[near] if len(mean) == len(places) else mean.mean(0)
            scattered(axis, crop, places * size, row, name)
            what = f"from point {near}" if len(mean) == len(places) else "mean over its rows"
        elif mean.shape[0] == mean.shape[1] == side**2 and side > 1 and is_cells(maps, side):
            x, y = (int(value * side / size) for value in query)
            row = mean[y * side + x]
            overlay(axis, crop, row.reshape(side, side), name)
            star(axis, query)
            what = f"from cell {x},{y}"
        else:
            row = mean.mean(0)
            table(axis, mean, name)
            what = "a table of all"
        told.append(f"{name}: {what}; sum {row.sum():.3g}, largest {row.max():.3g}")
        rows += [(name, place, float(value)) for place, value in enumerate(row)]
    columns = ["relation", "place", "weight"]
    return save(figure, stem, pd.DataFrame(rows, columns=columns)), told


def is_relation(name: str) -> bool:
    return any(word in name for word in RELATIONS)


def is_cells(maps: Maps, side: int) -> bool:
    """Whether some map of the method has so many cells a side."""
    return any(v.ndim >= 2 and v.shape[-1] == v.shape[-2] == side for v in maps.values())


def first_frame(maps: Maps, name: str) -> NDArray:
    return maps[name][0] if maps[name].ndim == 4 else maps[name]


def placed(maps: Maps, relation: NDArray) -> NDArray | None:
    """Places (K,2) in 0..1 of a relation's columns: points, or joints as given; else None."""
    for name in ("points", "joints_used"):
        if name in maps and relation.shape[1] == len(maps[name]):
            return maps[name]
    return None


def flattened(name: str, values: NDArray) -> NDArray | None:
    """A map as (s,s), or None for what is no map."""
    values = values[0] if values.ndim == 4 else values
    if is_relation(name) or values.ndim not in (2, 3) or values.shape[-1] != values.shape[-2]:
        return None
    if values.ndim == 2:
        return values if values.shape[0] > 3 else None  # a matrix of rotation is no map
    if name.endswith("heatmaps"):
        return values.max(0)
    if name.endswith("gate") or len(values) == 1:
        return values.mean(0)
    return np.abs(values).mean(0)


def with_joints(crop: NDArray, joints_crop: NDArray | None) -> NDArray:
    """The crop (S,S,3) enlarged, with joints (21,2) in 0..1 of it drawn in."""
    large, factor = draw.enlarged(crop, 384)
    if joints_crop is None:
        return large
    # a place of 0..1 spans the crop; pixel centres are integers
    return draw.skeleton(large, joints_crop * crop.shape[0] * factor - 0.5)


def grid(count: int) -> tuple[Figure, list[Axes]]:
    """A figure with so many empty axes."""
    columns = min(count, COLUMNS)
    rows = -(-count // columns)
    figure, axes = canvas(columns, rows, (2.2 * columns, 2.2 * rows))
    for axis in axes:
        axis.set_axis_off()
    return figure, axes


def picture(axis: Axes, image: NDArray, title: str) -> None:
    """An image under its title."""
    axis.imshow(image)
    axis.set_title(title, fontsize=8)


def heat(axis: Axes, values: NDArray, title: str) -> None:
    """Values (h,w) in colours, with their scale."""
    shown = axis.imshow(values, cmap="viridis")
    axis.set_title(title, fontsize=8)
    bar = axis.figure.colorbar(shown, ax=axis, fraction=0.046, pad=0.02)
    bar.ax.tick_params(labelsize=6)


def overlay(axis: Axes, crop: NDArray, values: NDArray, title: str) -> None:
    """A map over the grey crop, from its least to its largest value."""
    size = crop.shape[0]
    span = np.ptp(values) or 1.0
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    axis.imshow(grey, cmap="gray", vmin=-80, vmax=300)
    share = (values - values.min()) / span
    wide = cv2.resize(share.astype(np.float32), (size, size), interpolation=cv2.INTER_NEAREST)
    axis.imshow(wide, cmap="inferno", alpha=0.15 + 0.75 * wide, vmin=0, vmax=1)
    axis.set_title(f"{title}\n{values.min():.2g} to {values.max():.2g}", fontsize=7)


def scattered(axis: Axes, crop: NDArray, places: NDArray, weights: NDArray, title: str) -> None:
    """Places (K,2) px on the grey crop, as large and bright as their weights."""
    axis.imshow(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), cmap="gray", vmin=-80, vmax=300)
    share = weights / (weights.max() or 1.0)
    x, y = places.T
    axis.scatter(x, y, s=4 + 50 * share, c=weights, cmap="inferno", edgecolors="w", lw=0.4)
    axis.set_title(f"{title}\n{weights.min():.2g} to {weights.max():.2g}", fontsize=7)


def table(axis: Axes, values: NDArray, title: str) -> None:
    """Values (h,w) with their size in the title, each cell wide enough to be seen."""
    heat(axis, values, f"{title} {values.shape[0]} x {values.shape[1]}")
    axis.set_aspect("auto")


def star(axis: Axes, query: tuple[float, float]) -> None:
    axis.plot(*query, marker="*", color="#56B4E9", markeredgecolor="k", markersize=10)
