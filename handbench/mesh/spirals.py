"""Spirals around mesh vertices, in the order that OpenMesh's half-edges give."""

import numpy as np
from numpy.typing import NDArray

from handbench.errors import DataError

LENGTH = 9  # vertices in a spiral, the centre included


class HalfEdges:
    """A triangle mesh as half-edges, built face by face as OpenMesh builds it.

    Which outgoing half-edge a vertex starts with decides where its spiral starts; it
    follows from the order of the faces. Half-edges are numbers, an edge's two differ in the last
    bit. Faces must be oriented alike. Raises DataError for a mesh that is no surface.
    """

    def __init__(self, faces: NDArray, count: int) -> None:
        self.start = [-1] * count  # vertex -> its outgoing half-edge
        self.to: list[int] = []  # half-edge -> the vertex it leads to
        self.next: list[int] = []
        self.prev: list[int] = []
        self.inner: list[bool] = []  # whether a face lies on its left
        self.between: dict[tuple[int, int], int] = {}
        for face in faces.tolist():
            self._add(face)

    def ring(self, vertex: int) -> list[int]:
        """Neighbours of a vertex, clockwise from its starting half-edge."""
        return [self.to[edge] for edge in self._outgoing(vertex)]

    def _outgoing(self, vertex: int) -> list[int]:
        first = edge = self.start[vertex]
        edges = []
        while edge >= 0:
            edges.append(edge)
            edge = self.next[edge ^ 1]
            if edge == first:
                break
        return edges

    def _add(self, face: list[int]) -> None:
        sides = [(face[i], face[(i + 1) % 3]) for i in range(3)]
        new = [side not in self.between for side in sides]
        links: list[tuple[int, int]] = []  # made after all corners were seen
        for i in range(3):
            if not new[i] and not new[i - 2]:
                links += self._reopen(self.between[sides[i]], self.between[sides[i - 2]])
        edges = [self._edge(*side) for side in sides]
        if any(self.inner[edge] for edge in edges):
            raise DataError(f"face {face} shares a side with a face turned the other way")
        crowded = []
        for i in range(3):
            entering, leaving, vertex = edges[i], edges[i - 2], face[i - 2]
            if not new[i] and not new[i - 2]:
                if self.start[vertex] == leaving:
                    crowded.append(vertex)
                continue
            links += self._join(vertex, entering, leaving, new[i], new[i - 2])
        for edge in edges:
            self.inner[edge] = True
        for one, following in links:
            self.next[one], self.prev[following] = following, one
        for vertex in crowded:
            self._prefer_boundary(vertex)

    def _edge(self, a: int, b: int) -> int:
        """The half-edge from a to b, made when there is none."""
        if (a, b) not in self.between:
            number = len(self.to)
            self.between[a, b], self.between[b, a] = number, number + 1
            self.to += [b, a]
            self.next += [-1, -1]
            self.prev += [-1, -1]
            self.inner += [False, False]
        return self.between[a, b]

    def _reopen(self, entering: int, leaving: int) -> list[tuple[int, int]]:
        """Links that bring two old sides of a corner together when other faces lie between."""
        if self.next[entering] == leaving:
            return []
        edge = leaving ^ 1
        for _ in self.to:
            edge = self.next[edge] ^ 1
            if not self.inner[edge]:
                break
        else:
            raise DataError("the mesh has an edge with more than two faces")
        return [
            (edge, self.next[entering]),
            (self.prev[leaving], self.next[edge]),
            (entering, leaving),
        ]

    def _join(
        self, vertex: int, entering: int, leaving: int, new_in: bool, new_out: bool
    ) -> list[tuple[int, int]]:
        """Links at a corner with a new side; chooses the vertex's starting half-edge."""
        out, into = entering ^ 1, leaving ^ 1  # the same two sides seen from outside
        links = [(entering, leaving)]
        if not new_out:
            links.append((self.prev[leaving], out))
            self.start[vertex] = out
        elif not new_in:
            following = self.next[entering]
            links.append((into, following))
            self.start[vertex] = following
        elif self.start[vertex] < 0:
            links.append((into, out))
            self.start[vertex] = out
        else:
            following = self.start[vertex]
            links += [(self.prev[following], out), (into, following)]
        return links

    def _prefer_boundary(self, vertex: int) -> None:
        for edge in self._outgoing(vertex):
            if not self.inner[edge]:
                self.start[vertex] = edge
                return


def spirals(verts: NDArray, faces: NDArray, length: int = LENGTH) -> NDArray[np.int64]:
    """Spirals (V, length): each vertex, its ring, the ring around that, cut off at length.

    verts (V,3) are used only where a piece of the mesh is smaller than a spiral: then the nearest
    vertices stand in. Lim et al. 2018 and Gong et al. 2019 (SpiralNet++), dilation 1.
    """
    mesh = HalfEdges(faces, len(verts))
    rings = [mesh.ring(v) for v in range(len(verts))]
    found = np.empty((len(verts), length), np.int64)
    for vertex in range(len(verts)):
        spiral, ring = [vertex], rings[vertex]
        while ring and len(spiral) < length:
            spiral += ring
            ring = _next_ring(rings, ring, set(spiral))
        if len(spiral) < length:
            far = np.linalg.norm(verts - verts[vertex], axis=1)
            spiral = np.argsort(far, kind="stable")[:length].tolist()
        found[vertex] = spiral[:length]
    return found


def _next_ring(rings: list[list[int]], ring: list[int], seen: set[int]) -> list[int]:
    """Unseen neighbours of a ring: each member's from its first one in the ring on, then before."""
    members, outer = set(ring), []
    for vertex in ring:
        around = rings[vertex]
        turn = next((i for i, v in enumerate(around) if v in members), 0)
        for v in around[turn:] + around[:turn]:
            if v not in seen:
                seen.add(v)
                outer.append(v)
    return outer
