"""Occlusion on purpose: covered to a given share, and covered for a given number of frames."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from handbench.errors import DataError
from handbench.frames import project
from handbench.records import Frame
from handbench.synthesis.compose import OCCLUDER_SEEDS
from handbench.synthesis.motion import HandTrack
from handbench.synthesis.occluder import Screen, Silhouette, draw_screen, pose_mesh
from handbench.synthesis.scene import Take, seeded
from handbench.synthesis.shots import Photographer

TARGETS = (0.0, 0.25, 0.5, 0.75, 0.9)
TOLERANCE = 0.03
SOLID = ("book", "board", "cushion", "carton", "tin")  # without holes: covering is gradual
TAKES, TRIES = 12, 20
MARGIN = 8  # frames before and after a covered spell
LONGEST = 60
COVERED = 0.95  # of the hand's visible pixels: from here on it counts as not seen


def controlled(
    draw: Callable[[], Take], photographer: Photographer, group: int, rng: np.random.Generator
) -> Iterator[Frame]:
    """A take's only frame five times, an occluder pushed in to cover TARGETS of the hand.

    draw: gives takes to try until one can be covered gradually.

    Covered is the share of the holding hand's pixels, visible without the occluder, that the
    occluder hides. Extra columns controlled_target, controlled_measured f4, controlled_group i4.
    """
    take, (screen, pixels, measured) = _find(draw, _push_in, rng)
    poses = screen.poses(pixels, take.cameras[0].K)
    still = np.zeros(len(TARGETS), np.int64)
    tracks = tuple(_repeat(track, still) for track in take.tracks)
    posed = replace(
        take, tracks=tracks, T_world_object=take.T_world_object[still],
        screen=screen.mesh, T_world_screen=poses,
    )  # fmt: skip
    extra = [
        {
            "controlled_target": np.float32(target),
            "controlled_group": np.int32(group),
            "controlled_measured": np.float32(share),
        }
        for target, share in zip(TARGETS, measured)
    ]
    there = [target > 0 for target in TARGETS]
    # each picture is a clip of its own: they do not follow each other in time
    yield from photographer.shoot(
        posed, 0, rng, screens=there, extra=extra, clips=list(range(len(TARGETS)))
    )


def onset(
    draw: Callable[[], Take],
    photographer: Photographer,
    pair: int,
    covered: bool,
    rng: np.random.Generator,
) -> Iterator[Frame]:
    """A take during which the hand is hidden for a while, or the same take with nothing before it.

    Extra columns onset_pair i4, onset_occluded u1 (this is the covered version), frames_since_seen
    i4: 0 while less than COVERED of the hand is hidden, then 1, 2, … .
    """
    take, (screen, pixels, shares) = _find(draw, _pass_over, rng)
    shown = replace(
        take, screen=screen.mesh, T_world_screen=screen.poses(pixels, take.cameras[0].K)
    )
    since, unseen = [], 0
    for share in shares:
        unseen = unseen + 1 if covered and share >= COVERED else 0
        since.append(unseen)
    extra = [
        {
            "onset_pair": np.int32(pair),
            "onset_occluded": np.uint8(covered),
            "frames_since_seen": np.int32(count),
        }
        for count in since
    ]
    # both versions draw the same background and camera
    looks = seeded(int(rng.integers(2**31)))
    yield from photographer.shoot(shown, 0, looks, screens=[covered] * take.frames, extra=extra)


# an occluder, its places in the picture (…,2) px, the shares of the hand that it covers there
Cover = tuple[Screen, NDArray[np.float64], list[float]]


def _find(
    draw: Callable[[], Take],
    search: Callable[[Take, np.random.Generator], Cover | None],
    rng: np.random.Generator,
) -> tuple[Take, Cover]:
    for _ in range(TAKES):
        take = draw()
        cover = search(take, rng)
        if cover is not None:
            return take, cover
    raise DataError(f"none of {TAKES} takes could be covered as planned: choose another seed")


def spells(pairs: int) -> list[int]:
    """How many frames the hand is covered in each pair: from 1 to LONGEST in even ratios."""
    if pairs == 1:
        return [10]
    return [int(round(n)) for n in np.geomspace(1, LONGEST, pairs)]


def _push_in(take: Take, rng: np.random.Generator) -> Cover | None:
    """Places (5,2) at which an occluder covers TARGETS of the hand; None after TRIES."""
    K = take.cameras[0].K
    silhouette, centre, nearest, hand_px = _look(take, 0, step=1)
    for _ in range(TRIES):
        screen = draw_screen(
            OCCLUDER_SEEDS["test"], nearest, K[0, 0], hand_px * rng.uniform(1.4, 1.9), 1, rng, SOLID
        )
        angle = rng.uniform(0, 2 * np.pi)
        way = np.array([np.cos(angle), np.sin(angle)]) * hand_px * 2.2

        def cover(share: float, screen: Screen = screen, way: NDArray = way) -> float:
            pose = screen.poses((centre + share * way)[None], K)[0]
            return silhouette.covered(pose_mesh(screen.mesh, pose), screen.mesh.faces)

        if cover(1.0) > 0 or cover(0.0) < TARGETS[-1]:
            continue
        found = [(1.0, 0.0)] + [_bisect(cover, target) for target in TARGETS[1:]]
        measured = [share for _, share in found]
        if max(abs(m - t) for m, t in zip(measured, TARGETS)) < TOLERANCE:
            return screen, centre + np.array([place for place, _ in found])[:, None] * way, measured
    return None


def _bisect(cover: Callable[[float], float], target: float) -> tuple[float, float]:
    """The place between 0 (covers most) and 1 (covers nothing) nearest to target, and its share."""
    near, far = (0.0, cover(0.0)), (1.0, cover(1.0))
    for _ in range(12):
        middle = (near[0] + far[0]) / 2
        share = cover(middle)
        if share >= target:
            near = (middle, share)
        else:
            far = (middle, share)
    return min((near, far), key=lambda found: abs(found[1] - target))


def _pass_over(take: Take, rng: np.random.Generator) -> Cover | None:
    """Places (T,2) of one that comes after MARGIN frames, stays and leaves; None after TRIES."""
    K, frames = take.cameras[0].K, take.frames
    views = [_look(take, t, step=2) for t in range(frames)]
    nearest = min(view[2] for view in views)
    hand_px = max(view[3] for view in views)
    centres = np.stack([view[1] for view in views])
    inside = np.arange(MARGIN, frames - MARGIN)
    outside = np.maximum(
        np.maximum(inside[0] - np.arange(frames), np.arange(frames) - inside[-1]), 0
    )
    for _ in range(TRIES):
        screen = draw_screen(
            OCCLUDER_SEEDS["test"], nearest, K[0, 0], hand_px * rng.uniform(1.8, 2.6), frames, rng,
            SOLID, largest=3.0,
        )  # fmt: skip
        angle = rng.uniform(0, 2 * np.pi)
        way = np.array([np.cos(angle), np.sin(angle)]) * hand_px
        pixels = centres + outside[:, None] * way
        poses = screen.poses(pixels, K)
        shares = [
            view[0].covered(pose_mesh(screen.mesh, pose), screen.mesh.faces)
            for view, pose in zip(views, poses)
        ]
        hidden = np.array(shares) >= COVERED
        if (hidden == (outside == 0)).all():
            return screen, pixels, shares
    return None


def _look(take: Take, t: int, step: int) -> tuple[Silhouette, NDArray[np.float64], float, float]:
    """The holding hand at frame t: silhouette, middle (2,) px, depth of the nearest thing, size."""
    camera = take.cameras[0]
    meshes = [(mesh.verts_m, mesh.faces) for mesh in take.meshes(t, camera, screen=False)]
    silhouette = Silhouette.draw(meshes, camera.K, take.size, step)
    nearest = min(mesh[0][:, 2].min() for mesh in meshes[::2] + meshes[-1:])
    pixels = project(meshes[0][0], camera.K)
    low, high = pixels.min(0), pixels.max(0)
    return silhouette, (low + high) / 2, float(nearest), float((high - low).max())


def _repeat(track: HandTrack, rows: NDArray[np.int64]) -> HandTrack:
    """The track with its frames taken at rows."""
    names = ("pose", "trans_m", "verts_m", "joints_m", "arm_m")
    return replace(track, **{name: getattr(track, name)[rows] for name in names})
