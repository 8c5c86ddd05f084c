"""Quadric edge collapse (Garland and Heckbert 1997) to exact vertex and boundary counts.

The cost also knows skinning weights (edges along one bone go first) and a wanted density; parts
have quotas below which they lose no vertex.
"""

import heapq
from collections.abc import Sequence

import numpy as np


def quadric(normal: np.ndarray, point: np.ndarray, factor: float) -> np.ndarray:
    """(4, 4): the squared distance to the plane through point, times factor."""
    plane = np.append(normal, -normal @ point)
    return factor * np.outer(plane, plane)


def normal_and_area(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, float]:
    """Unit normal (3,) and area of the triangle a, b, c."""
    cross = np.cross(b - a, c - a)
    length = np.linalg.norm(cross)
    return cross / max(length, 1e-18), length / 2


class Decimation:
    """A mesh that loses its cheapest edge again and again.

    verts (V, 3), faces (F, 3), skinning weights (V, 16), wanted density (V,), part (V,); quota:
    vertices that each part keeps; boundary: vertices that the open edge keeps.
    """

    def __init__(
        self,
        verts: np.ndarray,
        faces: np.ndarray,
        weights: np.ndarray,
        density: np.ndarray,
        part: np.ndarray,
        quota: Sequence[int],
        boundary: int,
    ) -> None:
        self.verts, self.weights, self.density = verts.copy(), weights.copy(), density.copy()
        self.part, self.quota, self.boundary = part.copy(), np.asarray(quota), boundary
        self.part_count = np.bincount(part, minlength=len(self.quota))
        self.faces = {i: tuple(face) for i, face in enumerate(faces.tolist())}
        count = len(verts)
        self.around = [set() for _ in range(count)]
        self.quadrics = np.zeros((count, 4, 4))
        edges = {}
        for i, face in self.faces.items():
            normal, area = normal_and_area(*verts[list(face)])
            for k, v in enumerate(face):
                self.around[v].add(i)
                self.quadrics[v] += quadric(normal, verts[face[0]], area / 3)
                edges.setdefault(tuple(sorted((v, face[(k + 1) % 3]))), []).append(i)
        self.on_edge = np.zeros(count, bool)
        for (a, b), owners in edges.items():
            if len(owners) == 1:  # a wall across the boundary keeps its outline
                self.on_edge[[a, b]] = True
                along = verts[b] - verts[a]
                wall = np.cross(along, normal_and_area(*verts[list(self.faces[owners[0]])])[0])
                wall = quadric(wall / np.linalg.norm(wall), verts[a], 30 * (along @ along))
                self.quadrics[a] += wall
                self.quadrics[b] += wall
        self.alive = np.ones(count, bool)
        self.version = np.zeros(count, int)
        self.heap: list = []
        for a, b in edges:
            self.push(a, b)

    def neighbours(self, v: int) -> set[int]:
        """Vertices that share a face with v."""
        return {u for i in self.around[v] for u in self.faces[i]} - {v}

    def placement(self, a: int, b: int) -> tuple[float, np.ndarray]:
        """Cost and place of the vertex that edge a, b would collapse to."""
        q, pa, pb = self.quadrics[a] + self.quadrics[b], self.verts[a], self.verts[b]
        middle, length2 = (pa + pb) / 2, (pa - pb) @ (pa - pb)
        if self.on_edge[a] != self.on_edge[b]:
            places = [pa if self.on_edge[a] else pb]
        else:
            places = [pa, pb, middle]
            stiffness = 1e-9 * np.trace(q[:3, :3])  # never zero: it holds q at the middle
            best = np.linalg.solve(q[:3, :3] + stiffness * np.eye(3), stiffness * middle - q[:3, 3])
            if np.linalg.norm(best - middle) < np.sqrt(length2):
                places.append(best)
        costs = [np.append(x, 1) @ q @ np.append(x, 1) for x in places]
        best = int(np.argmin(costs))
        difference = ((self.weights[a] - self.weights[b]) ** 2).sum()
        cost = max(costs[best], 0) + 2e-3 * length2**2 * (1 + 200 * difference)
        return cost * (self.density[a] + self.density[b]) / 2, places[best]

    def push(self, a: int, b: int) -> None:
        """Put edge a, b among those to collapse, unless that would close the boundary."""
        a, b = min(a, b), max(a, b)
        if self.on_edge[a] and self.on_edge[b] and len(self.around[a] & self.around[b]) != 1:
            return
        cost, place = self.placement(a, b)
        heapq.heappush(self.heap, (cost, a, b, self.version[a], self.version[b], tuple(place)))

    def allowed(self, a: int, b: int, place: np.ndarray) -> bool:
        """Whether the mesh stays sound, and parts and boundary large enough, without edge a, b."""
        if self.on_edge[a] and self.on_edge[b] and self.on_edge.sum() <= self.boundary:
            return False
        if all(self.part_count[self.part[v]] <= self.quota[self.part[v]] for v in (a, b)):
            return False
        shared, near_a, near_b = (
            self.around[a] & self.around[b],
            self.neighbours(a),
            self.neighbours(b),
        )
        if len(near_a & near_b) != len(shared) or len(near_a | near_b) - 2 > 9:
            return False
        for i in (self.around[a] | self.around[b]) - shared:
            old = self.verts[list(self.faces[i])]
            new = np.array([place if v in (a, b) else self.verts[v] for v in self.faces[i]])
            (before, _), (after, area) = normal_and_area(*old), normal_and_area(*new)
            squares = ((new - np.roll(new, 1, 0)) ** 2).sum()
            # no face may turn far, vanish or become a needle
            if before @ after < 0.4 or area < 1e-12 or 4 * np.sqrt(3) * area / squares < 0.22:
                return False
        return True

    def collapse(self, a: int, b: int, place: np.ndarray) -> None:
        """b goes into a."""
        loser = b if self.part_count[self.part[b]] > self.quota[self.part[b]] else a
        self.part_count[self.part[loser]] -= 1
        self.part[a] = self.part[a] if loser == b else self.part[b]
        self.verts[a] = place
        self.quadrics[a] += self.quadrics[b]
        self.weights[a] = (self.weights[a] + self.weights[b]) / 2
        self.density[a] = (self.density[a] + self.density[b]) / 2
        self.on_edge[a] |= self.on_edge[b]
        self.on_edge[b] = self.alive[b] = False
        for i in self.around[a] & self.around[b]:
            for v in self.faces.pop(i):
                self.around[v].discard(i)
        for i in self.around[b]:
            self.faces[i] = tuple(a if v == b else v for v in self.faces[i])
            self.around[a].add(i)
        self.around[b] = set()
        self.version[[a, *self.neighbours(a)]] += 1
        for u in self.neighbours(a) | {a}:
            for v in self.neighbours(u):
                self.push(u, v)

    def run(self, wanted: int) -> tuple[np.ndarray, np.ndarray]:
        """verts (wanted, 3) and faces left."""
        left = len(self.verts)
        while left > wanted:
            _, a, b, version_a, version_b, place = heapq.heappop(self.heap)
            fresh = self.version[a] == version_a and self.version[b] == version_b
            if self.alive[a] and self.alive[b] and fresh and self.allowed(a, b, np.array(place)):
                self.collapse(a, b, np.array(place))
                left -= 1
        ids = np.flatnonzero(self.alive)
        return self.verts[ids], np.searchsorted(ids, np.array(list(self.faces.values())))
