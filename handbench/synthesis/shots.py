"""Photographing a take: pictures with their records and their geometry."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handbench.frames import project
from handbench.records import Frame, HandRecord, ObjectRecord, Scene, SequencePlan
from handbench.synthesis import film
from handbench.synthesis.background import draw_background
from handbench.synthesis.motion import HandTrack
from handbench.synthesis.render import Picture, Stage, render
from handbench.synthesis.scene import Camera, Take, object_name

FEW_PX, FEW_JOINTS = 64, 7  # a second hand with less in the picture is there, but not annotated
VERTICES = 2  # HandRecord.box_source


@dataclass(frozen=True)
class Photographer:
    """Takes the pictures of one sequence; prefix: "{dataset}/{split}"; looks: whose backgrounds."""

    prefix: str
    plan: SequencePlan
    looks: str
    backgrounds: Path | None

    def shoot(
        self,
        take: Take,
        camera: int,
        rng: np.random.Generator,
        screens: list[bool] | None = None,
        instants: list[int] | None = None,
        extra: Sequence[Mapping[str, Any]] | None = None,
        clips: list[int] | None = None,
    ) -> Iterator[Frame]:
        """All frames of the take by one of its cameras.

        screens: whether the occluder is there at each frame, default always; instants: frames of
        the take to show, default each once; extra: further columns of each picture; clips: default
        one clip.
        """
        view = take.cameras[camera]
        instants = list(range(take.frames)) if instants is None else instants
        background = draw_background(self.looks, take.size, rng, self.backgrounds)
        style = film.draw_film(rng)
        tracks = [track.moved(view.T_world_camera) for track in take.tracks]
        stages: dict[bool, Stage] = {}
        for order, t in enumerate(instants):
            there = take.screen is not None and (screens is None or screens[order])
            if there not in stages:
                stages[there] = take.stage(there)
            meshes = take.meshes(t, view, there)
            picture = render(stages[there], [mesh.verts_m for mesh in meshes], view.K, take.size)
            front = film.streak(picture.front, _speed(tracks[0], t, view.K) * style.shutter)
            image = film.develop(front, background, style, make_noise(take.size), rng)
            frame = self._frame(take, view, order, t, image, stages[there], picture, tracks)
            yield replace(
                frame,
                scene=Scene(meshes, view.K, (take.size, take.size)),
                extra={} if extra is None else extra[order],
                clip=0 if clips is None else clips[order],
            )

    def _frame(
        self,
        take: Take,
        view: Camera,
        order: int,
        t: int,
        image: bytes,
        stage: Stage,
        picture: Picture,
        tracks: list[HandTrack],
    ) -> Frame:
        plan, hands = self.plan, dict[str, HandRecord]()
        for k, track in enumerate(tracks):
            record = hand_record(track, t, view.K, (take.size, take.size))
            inside = int((record.joints_valid & 2 > 0).sum())
            if k and not inside:
                continue
            # after each hand comes its arm
            if k and (inside < FEW_JOINTS or _count_px(stage, picture, 2 * k) < FEW_PX):
                record = replace(record, present=2)
            hands["left" if track.hand.is_left else "right"] = record
        name = object_name(take.held, take.mirrored)
        return Frame(
            id=f"{self.prefix}/{plan.name}/{plan.camera}/{order}",
            sequence=plan.name,
            camera=plan.camera,
            recording=plan.recording,
            frame_number=order,
            order=order,
            image=image,
            image_path="",
            image_size=(take.size, take.size),
            K=view.K,
            object=ObjectRecord(name, view.T_world_camera @ take.T_world_object[t]),
            instant=int(plan.recording) * 1000 + t,
            T_world_camera=view.T_world_camera,
            right=hands.get("right"),
            left=hands.get("left"),
        )


@lru_cache(maxsize=1)
def make_noise(size: int) -> NDArray[np.float32]:
    """Sensor noise for pictures of size pixels a side, the same in every worker."""
    return film.make_noise(size=2 * size)


def _count_px(stage: Stage, picture: Picture, surface: int) -> float:
    """Pixels that show one surface of the stage; a picture has four samples a pixel."""
    shown = picture.face_id[picture.face_id >= 0]
    return float((stage.surface[shown] == surface).sum() / 4)


def _speed(track: HandTrack, t: int, K: NDArray) -> NDArray[np.float64]:
    """Pixels (2,) that the hand's middle moves between frames."""
    if len(track.joints_m) == 1:
        return np.zeros(2)
    t = min(t, len(track.joints_m) - 2)
    middle = project(track.joints_m[t : t + 2].mean(1), K)
    return middle[1] - middle[0]


def hand_record(track: HandTrack, t: int, K: NDArray, size: tuple[int, int]) -> HandRecord:
    """A track's hand at frame t as its camera (K, picture of size w, h) has it."""
    joints_px = project(track.joints_m[t], K)
    verts_px = project(track.verts_m[t], K)
    last = np.array(size) - 0.5
    low = np.clip(verts_px.min(0), -0.5, last)
    high = np.clip(verts_px.max(0), -0.5, last)
    inside = ((joints_px >= -0.5) & (joints_px < last)).all(1)
    return HandRecord(
        joints_m=track.joints_m[t],
        joints_valid=np.asarray(1 + 2 * inside, np.uint8),
        joints_px=joints_px,
        joints_kind=0,
        mano_pose=track.pose[t],
        mano_shape=track.shape,
        mano_trans_m=track.trans_m[t],
        mano_valid=1,
        box_px=np.array([*low, *(high - low)]),
        box_source=VERTICES,
        verts_m=track.verts_m[t],
    )
