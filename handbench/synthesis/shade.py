"""Deferred shading of drawn triangles: two lights, a shadow map, occlusion between near surfaces.

Everything is in linear light. The id buffer has twice the picture's resolution; a pixel whose four
samples show one smooth surface is shaded once, others four times: edges cost, insides do not.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from handbench.raster import edge_planes

# rows: specular share, gloss exponent, wrapped light r g b, grain amplitude, grains per metre
MATERIALS = np.array(
    [
        (0.045, 14.0, 0.38, 0.2, 0.14, 0.13, 55.0),  # skin: red light scatters farthest
        (0.05, 40.0, 0.05, 0.05, 0.05, 0.06, 30.0),  # plastic, tin, varnish
        (0.02, 10.0, 0.1, 0.1, 0.1, 0.12, 45.0),  # card, wood
        (0.0, 8.0, 0.2, 0.2, 0.2, 0.3, 120.0),  # cloth
    ]
)
SKIN, GLOSSY, MATT, CLOTH = range(4)
CREASE = 0.72  # a corner bent more than this cosine keeps its edge
AO_REACH_M = 0.022
SHADOW_BIAS_M = 0.006
_ANGLES = np.arange(8) * np.pi / 4
TAPS = np.stack([np.sin(_ANGLES), np.cos(_ANGLES)], 1) * np.tile([0.9, 0.4], 4)[:, None]


@njit(cache=True)
def vertex_normals(verts: NDArray, faces: NDArray) -> tuple[NDArray, NDArray]:
    """Normals of the vertices (V,3), weighted by area, and of the faces (F,3)."""
    normals = np.zeros_like(verts)
    flat = np.empty((faces.shape[0], 3))
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        square = 0.0
        for k in range(3):
            i, j = (k + 1) % 3, (k + 2) % 3
            n = (verts[b, i] - verts[a, i]) * (verts[c, j] - verts[a, j])
            n -= (verts[b, j] - verts[a, j]) * (verts[c, i] - verts[a, i])
            flat[f, k] = n
            square += n * n
            normals[a, k] += n
            normals[b, k] += n
            normals[c, k] += n
        for k in range(3):
            flat[f, k] /= max(np.sqrt(square), 1e-20)
    for v in range(verts.shape[0]):
        x, y, z = normals[v, 0], normals[v, 1], normals[v, 2]
        size = max(np.sqrt(x * x + y * y + z * z), 1e-20)
        for k in range(3):
            normals[v, k] /= size
    return normals, flat


@njit(cache=True, fastmath=True)
def grain(volume: NDArray, x: float, y: float, z: float) -> float:
    """Trilinear look-up in a periodic cube of noise (a power of two wide)."""
    mask = volume.shape[0] - 1
    fx, fy, fz = np.floor(x), np.floor(y), np.floor(z)
    i, j, k = int(fx) & mask, int(fy) & mask, int(fz) & mask
    u, v, w = x - fx, y - fy, z - fz
    i1, j1, k1 = (i + 1) & mask, (j + 1) & mask, (k + 1) & mask
    near = (volume[i, j, k] * (1 - u) + volume[i1, j, k] * u) * (1 - v) + (
        volume[i, j1, k] * (1 - u) + volume[i1, j1, k] * u
    ) * v
    far = (volume[i, j, k1] * (1 - u) + volume[i1, j, k1] * u) * (1 - v) + (
        volume[i, j1, k1] * (1 - u) + volume[i1, j1, k1] * u
    ) * v
    return near * (1 - w) + far * w


@njit(cache=True, fastmath=True)
def lit_share(shadow: NDArray, lamp: NDArray, px: float, py: float, pz: float) -> float:
    """Share of nine neighbouring shadow-map cells that the point (camera frame) is not behind.

    shadow: inverse depth from the lamp; lamp: its rotation (9), place (3), focal and centre.
    """
    dx, dy, dz = px - lamp[9], py - lamp[10], pz - lamp[11]
    x = lamp[0] * dx + lamp[1] * dy + lamp[2] * dz
    y = lamp[3] * dx + lamp[4] * dy + lamp[5] * dz
    z = lamp[6] * dx + lamp[7] * dy + lamp[8] * dz
    u = lamp[12] * x / z + lamp[13]
    v = lamp[12] * y / z + lamp[13]
    limit = 1.0 / (z - SHADOW_BIAS_M)
    i, j = int(np.floor(v)), int(np.floor(u))
    if i < 1 or j < 1 or i > shadow.shape[0] - 4 or j > shadow.shape[1] - 4:
        return 1.0
    fv, fu = v - i, u - j
    total = 0.0
    for a in range(-1, 3):
        wa = 1.0 - fv if a == -1 else (fv if a == 2 else 1.0)
        for b in range(-1, 3):
            if shadow[i + a, j + b] <= limit:
                total += wa * (1.0 - fu if b == -1 else (fu if b == 2 else 1.0))
    return total / 9.0


@njit(cache=True, fastmath=True)
def openness(inverse, camera, i, j, px, py, pz, nx, ny, nz):
    """1 in the open, less where nearby surfaces rise above the point's plane; eight taps."""
    focal, cx, cy = camera[0], camera[1], camera[2]
    reach = focal * AO_REACH_M / pz
    height, width = inverse.shape
    blocked = 0.0
    for tap in range(8):
        a, b = int(i + reach * TAPS[tap, 0]), int(j + reach * TAPS[tap, 1])
        if a < 0 or b < 0 or a >= height or b >= width or inverse[a, b] <= 0.0:
            continue
        z = 1.0 / inverse[a, b]
        dx, dy, dz = (b - cx) / focal * z - px, (a - cy) / focal * z - py, z - pz
        height_m = nx * dx + ny * dy + nz * dz
        square = dx * dx + dy * dy + dz * dz
        if height_m > 0 and square < 9 * AO_REACH_M * AO_REACH_M:
            rise = max(0.0, height_m / np.sqrt(square) - 0.12)
            blocked += rise / (1.0 + square / (AO_REACH_M * AO_REACH_M))
    return max(0.25, 1.0 - 0.3 * blocked)


@njit(cache=True, fastmath=True)
def shade_sample(
    x, y, f, i, j, points, faces, normals, flat, rest, corner_rgb, material, volume,
    inverse, camera, lights, lamp, shadow, out,
):  # fmt: skip
    """Add the light of face f at the buffer's place (x, y) to out (4,), premultiplied."""
    a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
    p0, p1, p2, q0, q1, q2, r0, r1, r2, _ = edge_planes(points, a, b, c)
    # the middle of a pixel may lie just outside of the face that its first sample shows
    u = max(p0 * x + p1 * y + p2, 1e-12)
    v = max(q0 * x + q1 * y + q2, 1e-12)
    w = max(r0 * x + r1 * y + r2, 1e-12)
    total = u + v + w
    u, v, w = u / total, v / total, w / total
    z = 1.0 / inverse[i, j]
    px, py, pz = (j - camera[1]) / camera[0] * z, (i - camera[2]) / camera[0] * z, z
    nx = ny = nz = 0.0
    for corner in range(3):
        vertex = faces[f, corner]
        share = u if corner == 0 else (v if corner == 1 else w)
        bent = (
            normals[vertex, 0] * flat[f, 0]
            + normals[vertex, 1] * flat[f, 1]
            + normals[vertex, 2] * flat[f, 2]
        )
        if bent > CREASE or material[f] == SKIN:
            nx += share * normals[vertex, 0]
            ny += share * normals[vertex, 1]
            nz += share * normals[vertex, 2]
        else:
            nx += share * flat[f, 0]
            ny += share * flat[f, 1]
            nz += share * flat[f, 2]
    size = 1.0 / np.sqrt(nx * nx + ny * ny + nz * nz + 1e-20)
    away = np.sqrt(px * px + py * py + pz * pz)
    ex, ey, ez = -px / away, -py / away, -pz / away
    if nx * ex + ny * ey + nz * ez < 0 and material[f] != SKIN:
        size = -size  # the inside of a cup
    nx, ny, nz = nx * size, ny * size, nz * size

    m = MATERIALS[material[f]]
    gx = u * rest[a, 0] + v * rest[b, 0] + w * rest[c, 0]
    gy = u * rest[a, 1] + v * rest[b, 1] + w * rest[c, 1]
    gz = u * rest[a, 2] + v * rest[b, 2] + w * rest[c, 2]
    coarse = grain(volume, gx * m[6], gy * m[6], gz * m[6])
    fine = grain(volume, gx * m[6] * 6.3, gy * m[6] * 6.3, gz * m[6] * 6.3)
    texture = 1.0 + m[5] * (0.7 * coarse + 0.5 * fine)

    ao = openness(inverse, camera, i, j, px, py, pz, nx, ny, nz)
    lit = lit_share(shadow, lamp, px, py, pz)
    key = nx * lights[0, 0] + ny * lights[0, 1] + nz * lights[0, 2]
    fill = max(0.0, nx * lights[1, 0] + ny * lights[1, 1] + nz * lights[1, 2])
    hx, hy, hz = ex + lights[0, 0], ey + lights[0, 1], ez + lights[0, 2]
    half = (nx * hx + ny * hy + nz * hz) / np.sqrt(hx * hx + hy * hy + hz * hz + 1e-20)
    shine = 0.0
    if half > 0 and key > 0:
        shine = m[0] * (m[1] + 2) / 3 * half ** m[1] * lit * (1 + 0.6 * coarse)
    rim = (1 - max(0.0, nx * ex + ny * ey + nz * ez)) ** 4 * m[0] * 2
    sky = 0.5 - 0.5 * ny
    for k in range(3):
        wrap = m[2 + k]
        direct = max(0.0, (key + wrap) / (1 + wrap)) * (lit + (1 - lit) * 0.25 * wrap)
        ambient = (lights[2, k] * sky + lights[3, k] * (1 - sky)) * ao
        colour = (u * corner_rgb[f, 0, k] + v * corner_rgb[f, 1, k] + w * corner_rgb[f, 2, k]) * (
            1.0 + (texture - 1.0) * (1.0 if k > 0 or material[f] != SKIN else 0.5)
        )
        light = direct * lights[4, k] * (0.55 + 0.45 * ao) + fill * lights[5, k] * ao + ambient
        out[k] += colour * light + shine * lights[4, k] + rim * ambient
    out[3] += 1.0


@njit(cache=True, fastmath=True)
def shade(
    face_id, inverse, surface, points, faces, normals, flat, rest, corner_rgb, material, volume,
    camera, lights, lamp, shadow, out,
):  # fmt: skip
    """Fill out (h,w,4), premultiplied linear RGB and coverage, from buffers of (2h,2w).

    surface (F,): number of the mesh a face belongs to; points: homogeneous in buffer pixels;
    camera: focal, centre x and y in buffer pixels; lights (6,3): direction to the key light and to
    the fill, sky, ground, key and fill colour.
    """
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j, :] = 0.0
            first = face_id[2 * i, 2 * j]
            whole = first >= 0
            nearest, farthest = inverse[2 * i, 2 * j], inverse[2 * i, 2 * j]
            for k in range(1, 4):
                other = face_id[2 * i + (k >> 1), 2 * j + (k & 1)]
                if other < 0 or (whole and surface[other] != surface[first]):
                    whole = False
                value = inverse[2 * i + (k >> 1), 2 * j + (k & 1)]
                nearest, farthest = max(nearest, value), min(farthest, value)
            whole = whole and nearest - farthest < 0.012 * nearest
            samples, middle = (1, 0.5) if whole else (4, 0.0)
            for k in range(samples):
                a, b = 2 * i + (k >> 1), 2 * j + (k & 1)
                if face_id[a, b] >= 0:
                    shade_sample(
                        b + middle, a + middle, face_id[a, b], a, b, points, faces, normals, flat,
                        rest, corner_rgb, material, volume, inverse, camera, lights, lamp, shadow,
                        out[i, j],
                    )  # fmt: skip
            for k in range(4):
                out[i, j, k] /= samples
