"""Keypoints from heatmaps: true maps, detection, joint tokens, and which joint a point is.

After the Keypoint Transformer (Hampali et al. 2022) and OccRobNet (choices 4 to 10 and 20 of
docs/methods/occrobnet.md). Points are x, y in 0..1 of the crop; a map's cell i has its centre
at (i + 1/2) / s.
"""

import math
from typing import NamedTuple

import torch
from torch.nn import functional

FULL_SCALE = 255.0  # of published heatmaps; here they reach 1


class Points(NamedTuple):
    """place (B,K,2) in 0..1 of the crop, valid (B,K) bool, strength (B,K) 0..1."""

    place: torch.Tensor
    valid: torch.Tensor
    strength: torch.Tensor


def centres(side: int, like: torch.Tensor) -> torch.Tensor:
    """Centres (side,) of a map's cells, 0..1."""
    return (torch.arange(side, device=like.device, dtype=like.dtype) + 0.5) / side


def gaussians(
    points: torch.Tensor, valid: torch.Tensor, side: int, sigma: float = 1.25
) -> torch.Tensor:
    """True heatmaps (B,P,side,side) of points (B,P,2): peaks of 1, sigma in cells; 0 not valid."""
    away = (points[..., None] - centres(side, points)) * side  # (B,P,2,side)
    drop = (-(away**2) / (2 * sigma**2)).exp()
    return drop[:, :, 1, :, None] * drop[:, :, 0, None, :] * valid[:, :, None, None]


def detect(heat: torch.Tensor, count: int, radius: int, threshold: float) -> Points:
    """The `count` strongest local maxima of maps (B,s,s), places refined within the cell.

    A maximum is no smaller than all within `radius` cells. The strongest point of a map is
    valid even below the threshold, so that there is always something to attend to.
    """
    side = heat.shape[-1]
    highest = functional.max_pool2d(heat[:, None], 2 * radius + 1, 1, radius)[:, 0]
    peaks = torch.where(heat >= highest, heat, -torch.inf).flatten(1)
    strength, cell = peaks.topk(min(count, side * side), 1)
    valid = strength > threshold
    valid = torch.cat([torch.ones_like(valid[:, :1]), valid[:, 1:]], 1)
    row, column = cell // side, cell % side
    middle = torch.stack([column, row], -1) + 0.5
    place = (middle + shift_within(heat, row, column)) / side
    return pad(Points(place, valid, strength.clamp(0, 1)), count)


def strongest(heat: torch.Tensor, count: int, threshold: float) -> Points:
    """The strongest cell of each of the maps (B,J,s,s), refined within the cell, J <= count."""
    side = heat.shape[-1]
    strength, cell = heat.flatten(2).max(2)
    row, column = cell // side, cell % side
    alone = heat.flatten(0, 1)
    shift = shift_within(alone, row.view(-1, 1), column.view(-1, 1)).view(*row.shape, 2)
    place = (torch.stack([column, row], -1) + 0.5 + shift) / side
    valid = strength > threshold
    valid = valid | (strength == strength.amax(1, keepdim=True))
    return pad(Points(place, valid, strength.clamp(0, 1)), count)


def shift_within(heat: torch.Tensor, row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
    """Weighted mean offset (B,K,2) in cells of the 3x3 cells around (row, column) (B,K)."""
    wide = heat.shape[-1] + 2
    around = functional.pad(heat.clamp(min=0), (1, 1, 1, 1)).flatten(1)
    steps = torch.tensor([(dx, dy) for dy in (-1, 0, 1) for dx in (-1, 0, 1)], device=heat.device)
    middle = (row + 1) * wide + column + 1
    cells = middle[..., None] + steps[:, 1] * wide + steps[:, 0]  # (B,K,9)
    weights = around[torch.arange(len(heat), device=heat.device)[:, None, None], cells]
    return weights @ steps.to(heat.dtype) / weights.sum(-1, keepdim=True).clamp(min=1e-6)


def pad(points: Points, count: int) -> Points:
    """Filled up with points that are not valid, to `count` of them."""
    lacking = count - points.place.shape[1]
    if lacking <= 0:
        return points
    return Points(
        functional.pad(points.place, (0, 0, 0, lacking), value=0.5),
        functional.pad(points.valid, (0, lacking)),
        functional.pad(points.strength, (0, lacking)),
    )


def true_points(joints: torch.Tensor, valid: torch.Tensor, count: int) -> Points:
    """The annotated joints (B,J,2) inside the crop as points, in order."""
    inside = (valid > 0) & ((joints >= 0) & (joints <= 1)).all(-1)
    inside = torch.cat([inside[:, :1] | ~inside.any(1, keepdim=True), inside[:, 1:]], 1)
    found = Points(joints.clamp(0, 1), inside, inside.to(joints.dtype))
    return pad(Points(*(each[:, :count] for each in found)), count)


def spread_points(mask: torch.Tensor, count: int, random: bool) -> Points:
    """`count` cells of object maps (B,s,s), 0..1, that are over 0.5.

    random: drawn without replacement, for training; else each the farthest from those before,
    from the strongest cell on, the same at every call. Fewer cells: the rest is not valid.
    """
    side, flat = mask.shape[-1], mask.flatten(1)
    inside = flat > 0.5
    if random:
        chosen = torch.where(inside, torch.rand_like(flat), -1.0).topk(count, 1)[1]
    else:
        line = centres(side, mask)
        grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).flatten(0, 1)
        picks = [flat.argmax(1)]
        away = torch.where(inside, torch.inf, -1.0).to(mask.dtype)
        for _ in range(count - 1):
            near = (grid - grid[picks[-1]][:, None]).square().sum(-1)
            away = torch.minimum(away, near)
            picks.append(away.argmax(1))
        chosen = torch.stack(picks, 1)
    order = torch.arange(count, device=mask.device)
    own = torch.arange(len(flat), device=flat.device)[:, None]
    valid = inside[own, chosen] & (order < inside.sum(1, keepdim=True))
    place = torch.stack([chosen % side, chosen // side], -1).to(mask.dtype)
    return Points((place + 0.5) / side, valid, flat[own, chosen].clamp(0, 1))


def sample(maps: list[torch.Tensor], place: torch.Tensor) -> torch.Tensor:
    """Features (B,K,sum C) of maps (B,C,s,s) at places (B,K,2), bilinear."""
    grid = (2 * place - 1)[:, :, None]
    found = [
        functional.grid_sample(each, grid, padding_mode="border", align_corners=False)[..., 0]
        for each in maps
    ]
    return torch.cat(found, 1).mT


def sine_code(place: torch.Tensor, width: int, temperature: float = 100.0) -> torch.Tensor:
    """Sines and cosines (B,K,width) of places (B,K,2), half of them of x (DETR)."""
    per_axis = width // 2
    step = torch.arange(per_axis, device=place.device) // 2 * 2 / per_axis
    angles = 2 * math.pi * place[..., None] / temperature ** step.to(place.dtype)
    even = torch.arange(per_axis, device=place.device) % 2 == 0
    return torch.where(even, angles.sin(), angles.cos()).flatten(2)


def associate(
    place: torch.Tensor,
    joints: torch.Tensor,
    valid: torch.Tensor,
    depth: torch.Tensor,
    gamma: float,
) -> torch.Tensor:
    """Which joint each point (B,K,2) is: 1 + its number among (B,J,2), or 0 for none, (B,K).

    Joints within gamma (of the crop) compete; the one nearest to the camera, by depth (B,J), wins.
    """
    near = torch.cdist(place, joints) < gamma
    near &= valid[:, None] > 0
    behind = torch.where(near, depth[:, None], torch.inf)
    return torch.where(near.any(-1), behind.argmin(-1) + 1, 0)
