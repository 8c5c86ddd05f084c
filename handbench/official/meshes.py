"""Mesh errors and F-scores of very many samples, a few hundred at a time, on all cores."""

import multiprocessing
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from handbench.align import procrustes
from handbench.console import progress
from handbench.errors import DataError
from handbench.fscore import fscores
from handbench.official.curves import Curves
from handbench.official.jsonpoints import PointList

SLICE = 200


@dataclass
class MeshScores:
    """raw and aligned: Curves, or None where vertex counts differ; per sample in mm and shares."""

    raw: Curves | None
    aligned: Curves | None
    mpvpe_mm: NDArray | None
    pa_mpvpe_mm: NDArray | None
    f: NDArray  # (N, 2)
    pa_f: NDArray  # (N, 2)


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
    pred: PointList, true: PointList, trafo: Trafo | None, workers: int | None = None
) -> MeshScores:
    """All samples of two lists; trafo is given when their vertex counts differ."""
    total = len(true)
    parts = [(start, min(start + SLICE, total)) for start in range(0, total, SLICE)]
    one = partial(_score_slice, pred, true, trafo)
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
    return MeshScores(
        raw, aligned, rows.get("mpvpe_mm"), rows.get("pa_mpvpe_mm"), rows["f"], rows["pa_f"]
    )


def _mapped(function, parts, workers: int | None) -> Iterator:
    workers = min(workers or os.cpu_count() or 1, len(parts))
    if workers < 2:
        yield from map(function, parts)
        return
    # fork shares the compiled kernels and the index; where it is not to be had, spawn works too
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    with multiprocessing.get_context(method).Pool(workers) as pool:
        yield from pool.imap(function, parts)


def _score_slice(pred: PointList, true: PointList, trafo: Trafo | None, part: tuple[int, int]):
    start, stop = part
    p, t = pred.read(start, stop), true.read(start, stop)
    if not np.isfinite(p).all():
        bad = start + int(np.flatnonzero(~np.isfinite(p).all((1, 2)))[0])
        raise DataError(f"{pred.path}: the mesh of sample {bad} is not finite")
    if trafo is not None:
        centre = p.mean(1, keepdims=True)
        R, scale = trafo.R[start:stop], trafo.scale[start:stop, None, None]
        moved = (p - centre) @ np.swapaxes(R, 1, 2) * scale + trafo.shift[start:stop, None] + centre
        return None, {"f": fscores(p, t), "pa_f": fscores(moved, t)}
    moved = procrustes(p, t)
    errors, similar = np.linalg.norm(t - p, axis=-1), np.linalg.norm(t - moved, axis=-1)
    raw, aligned = Curves(p.shape[1]), Curves(p.shape[1])
    raw.add(errors)
    aligned.add(similar)
    return (raw, aligned), {
        "mpvpe_mm": errors.mean(1) * 1000,
        "pa_mpvpe_mm": similar.mean(1) * 1000,
        "f": fscores(p, t),
        "pa_f": fscores(moved, t),
    }
