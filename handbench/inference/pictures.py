"""A trained run on one's own pictures: JSON, OBJ and an overlay of each; videos frame by frame."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handbench import files
from handbench.console import progress, say
from handbench.errors import HandbenchError
from handbench.inference import photographs, placing
from handbench.inference.looking import Seer, Wanted
from handbench.showing import draw
from handbench.showing.overlay import obj_text
from handbench.training.runs import Run

LONGEST = 1280  # pixels of an overlay's longer side: photographs may be much larger


def drawn(seer: Seer, image: NDArray, hands: list[dict[str, Any]], name: str) -> NDArray:
    """The picture with its hands over it, and beside it their meshes from the side."""
    scale = min(1.0, LONGEST / max(image.shape[:2]))
    size = [round(edge * scale) for edge in image.shape[1::-1]]
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
    drawings = [_drawing(seer, hand, scale) for hand in hands]
    K = placing.camera((image.shape[1], image.shape[0]), seer.wanted.focal_px)
    title = (name, f"{seer.recipe.method} {seer.recipe.variant} {seer.recipe.preset}")
    whole = draw.overlay(small, drawings, draw.enlarged_K(K, scale), 512, title)
    return draw.beside(whole, draw.side_view(drawings, (whole.shape[0], whole.shape[0])))


def _drawing(seer: Seer, hand: dict[str, Any], scale: float) -> draw.Drawing:
    model = seer.hands["left" if hand["is_left"] else "right"]
    seen = hand.get("visibility")
    points, box = hand.get("joints_px"), hand["box_px"]
    drawing = draw.Drawing(
        joints_px=None if points is None else (points + 0.5) * scale - 0.5,
        verts_m=hand.get("verts_m"),
        faces=model.faces,
        face_part=model.face_part,
        box_px=None if box is None else (box + [0.5, 0.5, 0, 0]) * scale - [0.5, 0.5, 0, 0],
        mark="L" if hand["is_left"] else "R",
    )
    if seen is None:
        return drawing
    return replace(drawing, fingers_visible=(seen >= 0.5).astype(int))


def as_json(seer: Seer, hands: list[dict[str, Any]], size: tuple[int, int]) -> dict[str, Any]:
    """What the JSON file of a picture holds; points in metres (camera frame) and pixels."""
    focal = seer.wanted.focal_px
    return {
        "run": seer.run.name,
        "checkpoint_sha256": seer.sha256,
        "image_size": list(size),
        "focal_px": focal or placing.ASSUMED * max(size),
        "focal_source": "given" if focal else f"assumed: {placing.ASSUMED} x the longer side",
        "hands": [_plain(hand) for hand in hands],
    }


def obj(seer: Seer, hands: list[dict[str, Any]]) -> str:
    """All meshes as one Wavefront OBJ in the camera frame; empty without any."""
    sides = ["left" if hand["is_left"] else "right" for hand in hands]
    return obj_text(
        (f"{side}_{i}", hand["verts_m"], seer.hands[side].faces)
        for i, (side, hand) in enumerate(zip(sides, hands))
        if "verts_m" in hand
    )


def _plain(hand: dict[str, Any]) -> dict[str, Any]:
    """A hand's numbers for JSON; the mesh has a file of its own."""
    found: dict[str, Any] = {
        "side": "left" if hand["is_left"] else "right",
        "box_px": None if hand["box_px"] is None else hand["box_px"].tolist(),
        "box_source": "whole picture" if hand["box_px"] is None else "given",
        "translation_m": hand["translation_m"].tolist(),
        "translation_source": hand["placed_by"],
        "joints_camera_m": hand["joints_m"].tolist(),
    }
    if "joints_px" in hand:
        found["joints_px"] = hand["joints_px"].tolist()
        fit = placing.residual_px(hand["joints_m"], hand["joints_px"], hand["K"])
        found["reprojection_px"] = round(fit, 3)
    if "visibility" in hand:
        found["finger_visible"] = hand["visibility"].tolist()
    return found


def wanted(
    side: str = "right",
    box: str | None = None,
    boxes: str | None = None,
    joints: str | None = None,
    focal: float | None = None,
) -> Wanted:
    """How pictures are to be read, from what a user typed. Raises HandbenchError."""
    if box and boxes:
        raise HandbenchError("--box is one box for all pictures, --boxes one for each: give one")
    if focal is not None and not (np.isfinite(focal) and focal > 0):
        raise HandbenchError(f"--focal {focal:g}: a focal length is over 0 pixels")
    return Wanted(
        side=side,
        box_px=photographs.parse_box(box) if box else None,
        boxes=photographs.read_boxes(Path(boxes)) if boxes else {},
        joints=photographs.read_joints(Path(joints)) if joints else {},
        focal_px=focal,
    )


def predict_pictures(
    run: Run, images: Sequence[str | Path], wanted: Wanted, out: Path | None, device: str = "auto"
) -> list[Path]:
    """Look at pictures with a run; returns the overlays written, one a picture or video.

    A method of several frames sees a picture repeated; given as many pictures as it takes frames,
    it sees them as one sample, the current one first; in a video the frames before, and the
    first one repeated. Raises HandbenchError in one line for what cannot be done.
    """
    paths, seer = photographs.find(images), Seer(run, device, wanted)
    folder = out or run.path / "pictures"
    _speak(wanted)
    together = seer.method.frames > 1 and len(paths) == seer.method.frames
    if together and not any(map(photographs.is_video, paths)):
        frames = [photographs.read(path) for path in paths]
        if len({frame.shape for frame in frames}) > 1:
            raise HandbenchError("the frames of one sample need one size: give pictures alike")
        return [_picture(seer, frames, paths[0].name, folder / paths[0].stem)]
    written: list[Path] = []
    with progress(f"predict {run.name}", len(paths), "pictures") as advance:
        for path, stem in zip(paths, _stems(paths)):
            if photographs.is_video(path):
                written.append(_video(seer, path, folder / stem))
            else:
                frames = [photographs.read(path)] * seer.method.frames
                if wanted.boxes and photographs.of_picture(wanted.boxes, path.name) is None:
                    say(f"{path.name}: --boxes has none for it, left out")
                else:
                    written.append(_picture(seer, frames, path.name, folder / stem))
            advance(1)
    if not written:
        raise HandbenchError("--boxes names none of the pictures: give their file names there")
    return written


def _speak(wanted: Wanted) -> None:
    """Says what was assumed."""
    if wanted.box_px is None and not wanted.boxes:
        say("no --box: each whole picture is taken for one hand's box")
    if wanted.focal_px is None:
        say(f"no --focal: {placing.ASSUMED} x the longer side is assumed; distance follows it")
    if not wanted.boxes:
        say(f"taken as {wanted.side} hands (--side)")


def _stems(paths: Sequence[Path]) -> list[str]:
    """Names of outputs; pictures of one name in several folders carry their folder's name."""
    stems = [path.stem for path in paths]
    twice = {stem for stem in stems if stems.count(stem) > 1}
    return [
        f"{path.resolve().parent.name}_{path.name}" if stem in twice else stem
        for path, stem in zip(paths, stems)
    ]


def _see(
    seer: Seer, frames: Sequence[NDArray], name: str, network: Any = None
) -> list[dict[str, Any]]:
    size = frames[0].shape[1], frames[0].shape[0]
    return [seer.look(frames, asked, network) for asked in seer.wanted.hands(name, size)]


def _picture(seer: Seer, frames: Sequence[NDArray], name: str, stem: Path) -> Path:
    """Writes STEM.json, STEM.obj where there is a mesh, and STEM.png."""
    hands = _see(seer, frames, name)
    size = frames[0].shape[1], frames[0].shape[0]
    files.write_json(_ending(stem, ".json"), {"image": name, **as_json(seer, hands, size)})
    text = obj(seer, hands)
    if text:
        files.write_text(_ending(stem, ".obj"), text)
    path = _ending(stem, ".png")
    files.write_bytes(path, draw.encoded(drawn(seer, frames[0], hands, name)))
    return path


def _ending(stem: Path, ending: str) -> Path:
    return stem.with_name(stem.name + ending)


def _video(seer: Seer, path: Path, stem: Path) -> Path:
    """Writes STEM.mp4, STEM.json with all frames, and the meshes as STEM/000000.obj and so on.

    Methods that can keep what earlier frames told see each frame once.
    """
    rate, frames = photographs.video(path)
    seen: deque[NDArray] = deque(maxlen=1 + (seer.method.frames - 1) * seer.recipe.frame_step)
    told: list[dict[str, Any]] = []
    target, network = _ending(stem, ".mp4"), seer.follow()
    with _movie(target, rate) as add:
        for number, frame in enumerate(frames):
            seen.appendleft(frame)
            places = [
                min(t * seer.recipe.frame_step, len(seen) - 1) for t in range(seer.method.frames)
            ]
            shown = [frame] if network else [seen[place] for place in places]
            hands = _see(seer, shown, str(number), network)
            size = frame.shape[1], frame.shape[0]
            told.append({"frame": number, **as_json(seer, hands, size)})
            text = obj(seer, hands)
            if text:
                files.write_text(stem / f"{number:06d}.obj", text)
            add(drawn(seer, frame, hands, f"{path.name} {number}"))
    files.write_json(_ending(stem, ".json"), {"video": path.name, "frames": told})
    return target


@contextmanager
def _movie(path: Path, rate: float) -> Iterator[Callable[[NDArray], None]]:
    """Yields add(picture (h,w,3) RGB): frames of an MP4 that appears under its name when whole."""
    writer: Any = None
    with files.replacing(path) as temporary:
        inner = temporary.with_name(temporary.name + ".mp4")  # the ending chooses the format

        def add(picture: NDArray) -> None:
            nonlocal writer
            if writer is None:
                even = picture.shape[1] // 2 * 2, picture.shape[0] // 2 * 2
                writer = cv2.VideoWriter(str(inner), cv2.VideoWriter.fourcc(*"mp4v"), rate, even)
                if not writer.isOpened():
                    raise HandbenchError(f"{path}: this OpenCV cannot write MP4 files")
            height, width = picture.shape[0] // 2 * 2, picture.shape[1] // 2 * 2
            writer.write(np.ascontiguousarray(picture[:height, :width, ::-1]))

        try:
            yield add
            if writer is None:
                raise HandbenchError(f"{path}: no frame was given")
            writer.release()
            os.replace(inner, temporary)
        finally:
            if writer is not None:
                writer.release()
            inner.unlink(missing_ok=True)
