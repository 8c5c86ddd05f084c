"""All occlusion labels of one frame, and face drawing alone, against Embree ray casting.

The scene is the open hand holding a can-sized cylinder, about 5,000 faces together. The reference
casts a ray through every pixel of the scene's box (whole scene, then the hand alone) and one to
every vertex, building its trees anew for each frame as moving scenes must.
"""

from functools import partial

import numpy as np
import trimesh
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from report import Row, compare, interleave, main

from handbench.hand import default_hand
from handbench.raster import face_ids
from handbench.records import Mesh, Scene
from handbench.visibility import label_scene

ROUNDS = 40


def grasp(size: tuple[int, int], focal_px: float) -> Scene:
    """The bent open hand around a cylinder, half a metre before the camera."""
    pose = np.zeros((1, 48))
    pose[0, 5::9] = 0.6
    hand = default_hand("right")
    verts, joints = hand.pose(pose, np.zeros((1, 10)))
    turn = trimesh.transformations.euler_matrix(0.6, 0.8, 0.3)[:3, :3]
    verts = (verts[0] - joints[0, 9]) @ turn.T + [0, 0, 0.5]
    can = trimesh.creation.cylinder(radius=0.033, height=0.1, sections=24).subdivide_to_size(0.009)
    can_m = np.asarray(can.vertices) + [0.01, 0.02, 0.47]
    K = np.array([[focal_px, 0, size[0] / 2], [0, focal_px, size[1] / 2], [0, 0, 1]])
    meshes = Mesh(verts, hand.faces, "right"), Mesh(can_m, np.asarray(can.faces), "object")
    return Scene(meshes, K, size)


def join(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    hand, other = scene.meshes
    faces = np.concatenate([hand.faces, other.faces + len(hand.verts_m)])
    return np.concatenate([hand.verts_m, other.verts_m]), faces


def box_rays(scene: Scene, verts: np.ndarray) -> np.ndarray:
    """Directions through the pixel centres of the vertices' bounding box."""
    pixels = (verts @ scene.K.T)[:, :2] / verts[:, 2:]
    x0, y0 = np.maximum(np.floor(pixels.min(0)), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(pixels.max(0)) + 1, scene.size).astype(int)
    y, x = np.mgrid[y0:y1, x0:x1].reshape(2, -1)
    return np.stack([x, y, np.ones(len(x))], 1) @ np.linalg.inv(scene.K).T


def cast_faces(scene: Scene, verts: np.ndarray, faces: np.ndarray) -> EmbreeScene:
    """Build Embree's tree and cast a ray through every pixel of the box."""
    tree = EmbreeScene()
    TriangleMesh(tree, verts.astype(np.float32), faces.astype(np.int32))
    rays = box_rays(scene, verts).astype(np.float32)
    tree.run(np.zeros_like(rays), rays)
    return tree


def cast_labels(scene: Scene) -> None:
    """The rays that the same labels need, without the counting after them."""
    hand = scene.meshes[0]
    ends = (hand.verts_m * (1 - 2e-5)).astype(np.float32)
    for verts, faces in ((hand.verts_m, hand.faces), join(scene)):
        cast_faces(scene, verts, faces).run(ends, -ends, query="OCCLUDED")


def run() -> list[Row]:
    """Rows: labels and face drawing, at 640x480 and 256x256."""
    hand = default_hand("right")
    rows = []
    for size, focal_px in (((640, 480), 617.0), ((256, 256), 450.0)):
        scene = grasp(size, focal_px)
        verts, faces = join(scene)
        name = f"{size[0]}x{size[1]}, {len(faces)} faces"
        pairs = {
            "labels": (partial(cast_labels, scene), partial(label_scene, scene, hand, None)),
            "faces": (
                partial(cast_faces, scene, verts, faces),
                partial(face_ids, verts, faces, scene.K, scene.size),
            ),
        }
        for what, pair in pairs.items():
            times = interleave(pair, ROUNDS)
            rows.append(compare(f"{what} {name}", "embree, all rays", "ms", times, 3, 1e3))
    return rows


if __name__ == "__main__":
    main(run)
