"""Miniature takes for the writers of official formats: several cameras, known geometry, pictures.

    takes = [Take("20200709_141754", subject=0, sides=("left",), objects=("025_mug",), moments=6)]
    cameras = cameras_around(("836212060125", "839512060362"), K, (640, 480))
    for shot in film_takes(takes, cameras, hands, (640, 480)): ...

A Shot is a records.Frame with the picture's JPEG bytes, T_world_camera, MANO parameters and
joints of its hands and the meshes that its labels follow from; what a format calls frame, sequence
or index is the writer's to choose.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from handbench.frames import mirror_pose
from handbench.hand import Hand
from handbench.raster import face_ids
from handbench.records import Frame, HandRecord, Mesh, ObjectRecord, Scene
from handbench.synthesis import film, look, motion
from handbench.synthesis.background import draw_background
from handbench.synthesis.compose import FLIP
from handbench.synthesis.library import SPLITS, LibraryGrasp, load_grasps
from handbench.synthesis.likeness import LOOKALIKES, object_mesh
from handbench.synthesis.motion import HandTrack
from handbench.synthesis.occluder import pose_mesh
from handbench.synthesis.partner import draw_partner
from handbench.synthesis.render import Stage
from handbench.synthesis.scene import Camera, make_object, open_hand, seeded
from handbench.synthesis.shots import hand_record
from handbench.synthesis.snapshot import develop, draw_front, drawn_side

FILL = 0.42  # a hand's length over the shorter side of the picture
WANDER_DEG = 12.0  # of the wrist during a take


@dataclass(frozen=True)
class Take:
    """A physical take. sides: "right", "left", both (the right one holds) or none.

    objects: names of LOOKALIKES, the held one first, the others stand on the table. moments:
    pictures a camera; late: how many of them pass before a hand comes into the scene.
    """

    name: str
    subject: int
    sides: tuple[str, ...] = ("right",)
    objects: tuple[str, ...] = ()
    moments: int = 3
    late: int = 0


@dataclass(frozen=True)
class Shot(Frame):
    """A Frame with all objects of its scene: `object` is the held one, `objects` begins with it.

    scene.meshes: the hands, the held object ("object"), the others ("occluder"). Forearms are in
    the picture alone: no official set annotates them. frame_number and order count from 0.
    """

    take: Take | None = None
    objects: tuple[ObjectRecord, ...] = ()


def cameras_around(
    names: Iterable[str], K: NDArray, size: tuple[int, int], spread_deg: float = 140.0
) -> dict[str, Camera]:
    """Cameras by name on an arc about the hands; the first one's frame is the world's.

    Focal lengths and centres differ a little between cameras, so that no two can be confused.
    """
    names = list(names)
    middle = np.array([0.0, 0.0, depth_of(K, size)])
    cameras = {}
    for at, name in enumerate(names):
        own = K.astype(np.float64)
        own[[0, 1], [0, 1]] *= 1 + 0.004 * at
        own[:2, 2] += [0.7 * at, -0.4 * at]
        turn = at * spread_deg / max(len(names) - 1, 1) * (-1) ** at
        T = np.eye(4)
        if at:
            tilt = Rotation.from_euler("yx", [turn, 4 * at], degrees=True).as_matrix()
            T[:3, :3], T[:3, 3] = tilt, middle - tilt @ middle
        cameras[name] = Camera(own, T)
    return cameras


def depth_of(K: NDArray, size: tuple[int, int]) -> float:
    """How far (m) hands are from the first camera."""
    return float(K[0, 0] * motion.HAND_M / (FILL * min(size)))


def film_takes(
    takes: Iterable[Take],
    cameras: Mapping[str, Camera],
    hands: Mapping[str, Hand],
    size: tuple[int, int],
    seed: int = 0,
    quality: int = 85,
) -> Iterator[Shot]:
    """All pictures (size w, h) of the takes: by take, then camera, then moment.

    cameras: `cameras_around`; hands: the model of each side, which the MANO parameters belong to;
    a take looks the same whatever others there are. Raises UnknownName.
    """
    for take in takes:
        staged = _Staged.draw(take, next(iter(cameras.values())), hands, size, seed)
        for name, camera in cameras.items():
            yield from staged.shoot(name, camera, size, seed, quality)


def subject_shape(subject: int, seed: int = 0) -> NDArray[np.float64]:
    """Shape (10,) of a subject's hands, the same for both, exact in float32."""
    drawn = seeded(seed, "subject", subject).normal(0, 0.6, 10)
    return drawn.astype(np.float32).astype(np.float64)


def draw_layers(scene: Scene) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
    """What each pixel (h,w) shows: the number of the scene's mesh, -1 none, and its depth in m.

    Segmentations and depth pictures follow from these; depth is 0 where there is no mesh.
    """
    shape = scene.size[::-1]
    if not scene.meshes:
        return np.full(shape, -1, np.int16), np.zeros(shape, np.float32)
    starts = np.cumsum([0, *(len(mesh.verts_m) for mesh in scene.meshes)])
    faces = np.concatenate([m.faces + start for m, start in zip(scene.meshes, starts)])
    owner = np.repeat(np.arange(len(scene.meshes)), [len(m.faces) for m in scene.meshes])
    verts = np.concatenate([mesh.verts_m for mesh in scene.meshes])
    face, depth = face_ids(verts, faces, scene.K, scene.size)
    shown = face >= 0
    return np.where(shown, owner[face], -1).astype(np.int16), np.where(shown, depth, 0)


def draw_owners(scene: Scene) -> NDArray[np.int16]:
    """Which mesh of the scene each pixel (h,w) shows, -1 none."""
    return draw_layers(scene)[0]


@dataclass(frozen=True)
class _Staged:
    """A take with its motion in the world frame; T_world_objects (T,4,4) of each object."""

    take: Take
    tracks: tuple[HandTrack, ...]
    T_world_objects: tuple[NDArray, ...]
    skin: look.Skin
    sleeve_rgb: NDArray
    lights: NDArray

    @classmethod
    def draw(
        cls,
        take: Take,
        camera: Camera,
        hands: Mapping[str, Hand],
        size: tuple[int, int],
        seed: int,
    ) -> "_Staged":
        rng = seeded(seed, take.name)
        K, depth = camera.K, depth_of(camera.K, size)
        left = take.sides == ("left",)
        grasp = _draw_grasp(take, rng)
        flip = FLIP if left else np.eye(4)
        turns = flip[:3, :3] @ motion.draw_turns(take.moments, rng, WANDER_DEG) @ flip[:3, :3]
        grip = motion.draw_grip(open_hand("right"), grasp, take.moments, rng)
        shape = subject_shape(take.subject, seed)
        hand = hands["left" if left else "right"]
        middle = hand.pose(np.zeros((1, 48)), shape[None])[1][0]
        near = min(size)
        places = motion.draw_places(take.moments, K, near, depth, rng)
        # draw_places aims at the middle of a square picture at the origin
        places[:, :2] += (np.array(size) - near) / 2 * places[:, 2:] / K[[0, 1], [0, 1]]
        wrists = places - turns @ (middle.mean(0) - middle[0])
        sleeve = int(rng.integers(4, 9)), float(rng.uniform(1.12, 1.35))
        fingers = mirror_pose(grip.pose) if left else grip.pose
        track = motion.place_hand(hand, fingers, shape, turns, wrists, sleeve)
        leave = grip.away_m[:, None] * (flip[:3, :3] @ grasp.approach)
        held = motion.carry(flip @ grasp.T_hand_object @ flip, leave, turns, wrists)
        tracks: tuple[HandTrack, ...] = (track,) if take.sides else ()
        if len(take.sides) == 2:
            solid = np.stack([pose_mesh(make_object(*_thing(take, grasp)), T) for T in held])
            loose = mirror_pose(grasp.pose_open * 0.7)
            tracks += (draw_partner(track, solid, turns, hands["left"], loose, shape, sleeve, rng),)
        stand = [_stand(k, depth, take.moments, rng) for k in range(1, len(take.objects))]
        return cls(
            take,
            tracks,
            (held, *stand) if take.objects else (),
            look.draw_skin(open_hand("right"), seeded(seed, "skin", take.subject)),
            look.draw_cloth(rng),
            look.draw_lights(rng),
        )

    def shoot(
        self, name: str, camera: Camera, size: tuple[int, int], seed: int, quality: int
    ) -> Iterator[Shot]:
        take, rng = self.take, seeded(seed, self.take.name, name)
        backdrop = draw_background(SPLITS[rng.integers(3)], drawn_side(size), rng)
        style = replace(film.draw_film(rng), quality=quality, blur_px=0.0)
        tracks = [track.moved(camera.T_world_camera) for track in self.tracks]
        stages: dict[bool, Stage] = {}
        for t in range(take.moments):
            there = t >= take.late
            seen = tracks if there else []
            objects = tuple(
                ObjectRecord(called, camera.T_world_camera @ T[t])
                for called, T in zip(take.objects, self.T_world_objects)
            )
            meshes = _meshes(seen, t, objects)
            if meshes and there not in stages:
                stages[there] = self._stage(seen)
            front = draw_front(stages.get(there), _bodies(seen, t, objects), camera.K, size)
            image = develop(front, backdrop, size, style, rng)
            records = {
                "left" if track.hand.is_left else "right": hand_record(track, t, camera.K, size)
                for track in seen
            }
            yield self._shot(name, camera, size, t, image, records, objects, meshes)

    def _shot(
        self,
        name: str,
        camera: Camera,
        size: tuple[int, int],
        t: int,
        image: bytes,
        records: Mapping[str, HandRecord],
        objects: tuple[ObjectRecord, ...],
        meshes: tuple[Mesh, ...],
    ) -> Shot:
        take = self.take
        return Shot(
            id=f"take/{take.name}/{name}/{t}",
            sequence=take.name,
            camera=name,
            recording=take.name,
            frame_number=t,
            order=t,
            image=image,
            image_path="",
            image_size=size,
            K=camera.K,
            right=records.get("right"),
            left=records.get("left"),
            object=objects[0] if objects else None,
            subject=take.subject,
            instant=t,
            T_world_camera=camera.T_world_camera,
            scene=Scene(meshes, camera.K, size),
            take=take,
            objects=objects,
        )

    def _stage(self, tracks: list[HandTrack]) -> Stage:
        """The looks of what `_bodies` lists, in its order."""
        out = []
        for track in tracks:
            out.append(look.hand_surface(track.hand, self.skin, open_hand("right")))
            out.append(
                look.arm_surface(
                    self.skin, track.arm_loop, track.arm_faces, track.arm_cloth, track.arm_m[0],
                    self.sleeve_rgb,
                )
            )  # fmt: skip
        out += [look.object_surface(object_mesh(name), "object") for name in self.take.objects]
        return Stage.build(tuple(out), self.lights)


def _draw_grasp(take: Take, rng: np.random.Generator) -> LibraryGrasp:
    """A grasp of the held object; of anything for empty hands."""
    known = [grasp for split in SPLITS for grasp in load_grasps(split)]
    if take.objects:
        object_mesh(take.objects[0])
        wanted = LOOKALIKES[take.objects[0]]
        known = [g for g in known if (g.object_name, g.object_seed) == wanted]
    return known[rng.integers(len(known))]


def _thing(take: Take, grasp: LibraryGrasp) -> tuple[str, int]:
    return LOOKALIKES[take.objects[0]] if take.objects else (grasp.object_name, grasp.object_seed)


def _stand(k: int, depth: float, moments: int, rng: np.random.Generator) -> NDArray:
    """The k-th thing on the table behind the hand, upright and at rest: (T,4,4)."""
    T = np.eye(4)
    upright = Rotation.from_euler("x", 90, degrees=True)
    T[:3, :3] = (upright * Rotation.from_euler("z", rng.uniform(0, 360), degrees=True)).as_matrix()
    aside = (0.16 + 0.05 * (k // 2)) * (-1) ** k
    T[:3, 3] = [aside, 0.08, depth + 0.12 + rng.uniform(0, 0.05)]
    return np.repeat(T[None], moments, 0)


def _meshes(tracks: list[HandTrack], t: int, objects: tuple[ObjectRecord, ...]) -> tuple[Mesh, ...]:
    hands = [
        Mesh(track.verts_m[t], track.hand.faces, "left" if track.hand.is_left else "right")
        for track in tracks
    ]
    things = [
        Mesh(pose_mesh(mesh, each.T_camera), mesh.faces, "occluder" if k else "object")
        for k, each in enumerate(objects)
        for mesh in [object_mesh(each.name)]
    ]
    return (*hands, *things)


def _bodies(tracks: list[HandTrack], t: int, objects: tuple[ObjectRecord, ...]) -> list[NDArray]:
    """Vertices of all that is in the picture: each hand and its arm, then the objects."""
    bodies = [points for track in tracks for points in (track.verts_m[t], track.arm_m[t])]
    return bodies + [pose_mesh(object_mesh(each.name), each.T_camera) for each in objects]
