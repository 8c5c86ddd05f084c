"""Mesh errors and F-scores of very many samples, a few hundred at a time, on all cores."""

import multiprocessing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from handbench.console import progress
from handbench.errors import DataError
from handbench.machine import usable_cores
from handbench.official.curves import Curves
from handbench.official.hands import Points
from handbench.scoring.align import procrustes
from handbench.scoring.fscore import fscores

SLICE = 100


@dataclass
class MeshScores:
    """raw, aligned: None where vertex counts differ; per_sample: metric name -> (N,)."""

    raw: Curves | None
    aligned: Curves | None
    per_sample: dict[str, NDArray]


@dataclass(frozen=True)
class Trafo:
    """Joint transforms of each sample, for meshes without vertex correspondence."""

    R: NDArray  # (N, 3, 3)
    scale: NDArray  # (N,)
    shift: NDArray  # (N, 3)


def joint_trafo(points: NDArray, target: NDArray) -> Trafo:
    """What HO-3D's evaluator hands from the joints to a mesh of another topology.

    Its align_by_trafo applies R, s and the target's norm but not the division by the points' own
    norm, so the mesh shrinks by that norm. That is the official number; it is kept here.
    """
    t1, t2 = target.mean(1, keepdims=True), points.mean(1, keepdims=True)
    a, b = target - t1, points - t2
    s1 = np.sqrt((a**2).sum((1, 2), keepdims=True)) + 1e-8
    s2 = np.sqrt((b**2).sum((1, 2), keepdims=True)) + 1e-8
    U, s, Vt = np.linalg.svd(np.swapaxes(a / s1, 1, 2) @ (b / s2))
    return Trafo(U @ Vt, s.sum(1) * s1[:, 0, 0], (t1 - t2)[:, 0])


def score_meshes(
    pred: Points,
    true: Points,
    trafo: Trafo | None,
    on_nan: str = "error",
    workers: int | None = None,
) -> MeshScores:
    """All samples of two lists; trafo is given when their vertex counts differ.

    on_nan: what a non-finite mesh does: "error" stops, naming the sample; "drop" leaves NaN;
    "worst" counts every vertex as 1 m away.
    """
    total = len(true)
    parts = [(start, min(start + SLICE, total)) for start in range(0, total, SLICE)]
    one = partial(_score_slice, pred, true, trafo, on_nan)
    raw = aligned = None
    rows: dict[str, NDArray] = {}
    with progress("score meshes", total, "hands") as advance:
        for (start, stop), (curves, found) in zip(parts, _mapped(one, parts, workers)):
            if not rows:
                rows = {name: np.empty((total, *v.shape[1:])) for name, v in found.items()}
            for name, values in found.items():
                rows[name][start:stop] = values
            if curves is not None:
                if raw is None or aligned is None:
                    raw, aligned = curves
                else:
                    raw.merge(curves[0])
                    aligned.merge(curves[1])
            advance(stop - start)
    return MeshScores(raw, aligned, rows)


def check_finite(true: Points, read: NDArray, start: int) -> None:
    """Raises DataError naming the first true sample (read from `start` on) with a NaN."""
    broken = np.flatnonzero(~np.isfinite(read).all((1, 2)))
    if len(broken):
        raise DataError(f"{true.path}: sample {start + broken[0]} of the truth is not finite")


def _mapped(function, parts, workers: int | None) -> Iterator:
    workers = min(workers or usable_cores(), len(parts))
    if workers < 2:
        yield from map(function, parts)
        return
    # fork shares the compiled kernels and the index; where it is not to be had, spawn works too
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    # the initializer hands the points over once a worker, not once a slice
    with context.Pool(workers, _begin, (function,)) as pool:
        yield from pool.imap(_run, parts)


_task: Callable | None = None


def _begin(function: Callable) -> None:
    global _task
    _task = function


def _run(part: tuple[int, int]):
    assert _task is not None
    return _task(part)


def _score_slice(
    pred: Points, true: Points, trafo: Trafo | None, on_nan: str, part: tuple[int, int]
):
    start, stop = part
    p, t = pred.read(start, stop), true.read(start, stop)
    check_finite(true, t, start)
    broken = ~np.isfinite(p).all((1, 2))
    if not broken.any():
        return _score_finite(p, t, trafo, slice(start, stop))
    if on_nan == "error":
        raise DataError(
            f"{pred.path}: the mesh of sample {start + int(np.flatnonzero(broken)[0])} is not "
            "finite: mend it, or choose --on-nan drop or --on-nan worst"
        )
    curves, rows = _score_finite(p[~broken], t[~broken], trafo, np.flatnonzero(~broken) + start)
    fill = np.nan if on_nan == "drop" else 0.0
    whole = {name: np.full(len(p), fill) for name in rows}
    for name, values in rows.items():
        whole[name][~broken] = values
        if on_nan == "worst" and name.endswith("mm"):
            whole[name][broken] = 1000.0
    if on_nan == "worst" and curves is not None:
        for curve in curves:
            curve.add(np.ones((int(broken.sum()), p.shape[1])))
    return curves, whole


def _score_finite(p: NDArray, t: NDArray, trafo: Trafo | None, rows: slice | NDArray):
    if trafo is not None:
        centre = p.mean(1, keepdims=True)
        R, scale = trafo.R[rows], trafo.scale[rows, None, None]
        moved = (p - centre) @ np.swapaxes(R, 1, 2) * scale + trafo.shift[rows, None] + centre
        return None, _f_rows(p, moved, t)
    moved = procrustes(p, t)
    errors, similar = np.linalg.norm(t - p, axis=-1), np.linalg.norm(t - moved, axis=-1)
    raw, aligned = Curves(p.shape[1]), Curves(p.shape[1])
    found = {
        "mpvpe_mm": errors.mean(1) * 1000,
        "pa_mpvpe_mm": similar.mean(1) * 1000,
        "auc50_verts": raw.add(errors),
        "pa_auc50_verts": aligned.add(similar),
    }
    return (raw, aligned), found | _f_rows(p, moved, t)


def _f_rows(raw: NDArray, moved: NDArray, true: NDArray) -> dict[str, NDArray]:
    found, aligned = fscores(raw, true), fscores(moved, true)
    return {
        "f5": found[:, 0],
        "f15": found[:, 1],
        "pa_f5": aligned[:, 0],
        "pa_f15": aligned[:, 1],
    }
