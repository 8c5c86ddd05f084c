"""One's own pictures: files, folders and videos, and where in them the hands are."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handbench.errors import DataError, HandbenchError
from handbench.files import read_json

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm")
WHOLE = np.full(4, np.nan)  # in place of a box: the whole picture
LEAST = 3  # pixels of a box's edge: of less no crop can be cut


@dataclass(frozen=True)
class Asked:
    """One hand that is asked for: box x y w h px or NaN, side, 2D joints (21,2) px or None."""

    box_px: NDArray
    is_left: bool
    joints_px: NDArray | None = None


def find(paths: Sequence[str | Path]) -> list[Path]:
    """Pictures and videos: the given files, and the pictures in given folders, by name.

    Raises DataError when a path does not exist, a folder has none, or a file has another ending.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in PICTURES)
            if not inside:
                raise DataError(f"{path} holds no picture ({', '.join(PICTURES)})")
            found += inside
        elif not path.exists():
            raise DataError(f"{path} does not exist")
        elif path.suffix.lower() not in PICTURES + VIDEOS:
            known = ", ".join(PICTURES + VIDEOS)
            raise DataError(f"{path} is no picture or video by its ending ({known})")
        else:
            found.append(path)
    return found


def is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEOS


def read(path: Path) -> NDArray[np.uint8]:
    """A picture (h,w,3) RGB, upright. Raises DataError when it is none."""
    encoded = np.fromfile(path, np.uint8)
    image: Any = cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB) if len(encoded) else None
    if image is None:
        raise DataError(f"{path} is no picture that can be read: is it whole?")
    return image


def video(path: Path) -> tuple[float, Iterator[NDArray[np.uint8]]]:
    """Frames a second and the frames (h,w,3) RGB of a video. Raises DataError when it has none."""
    capture = cv2.VideoCapture(str(path))
    known, first = capture.read()
    if not known:
        capture.release()
        raise DataError(f"{path} is no video that can be read: is it whole?")
    rate = capture.get(cv2.CAP_PROP_FPS)

    def frames() -> Iterator[NDArray[np.uint8]]:
        going, frame = True, first  # type: bool, Any
        try:
            while going:
                yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
                going, frame = capture.read()
        finally:
            capture.release()

    return (rate if 0 < rate < 1000 else 25.0), frames()


def parse_box(text: str) -> NDArray[np.float64]:
    """`X,Y,W,H` in pixels. Raises HandbenchError."""
    try:
        values = np.array([float(part) for part in text.split(",")])
    except ValueError:
        values = np.empty(0)
    if values.shape != (4,) or not np.isfinite(values).all() or (values[2:] <= 0).any():
        raise HandbenchError(
            f"--box {text}: give X,Y,W,H in pixels: left, top, width and height of the hand"
        )
    return values


def read_boxes(path: Path) -> dict[str, list[tuple[NDArray, bool | None]]]:
    """Boxes by picture: CSV with columns image, x, y, w, h and perhaps side (left or right), one
    line a hand; or JSON {image: [x, y, w, h]}. image: a file's name, or a video's frame number.

    Raises DataError naming the file and what is wrong.
    """
    if path.suffix.lower() == ".json":
        table = read_json(path)
        if not isinstance(table, dict):
            raise DataError(f"{path}: expected {{image: [x, y, w, h]}}")
        lines = [{"image": k, "box": v} for k, v in table.items()]
    else:
        lines = _lines(path)
    found: dict[str, list[tuple[NDArray, bool | None]]] = {}
    for line in lines:
        try:
            given = line["box"] if "box" in line else [line[name] for name in "xywh"]
            box = parse_box(",".join(str(value) for value in given))
            side = {"left": True, "right": False, "": None}[
                (line.get("side") or "").strip().lower()
            ]
        except (KeyError, TypeError, HandbenchError) as error:
            raise DataError(
                f"{path}: {line.get('image')!r} needs numbers x, y, w, h (w, h over 0) and, if "
                "any, side left or right"
            ) from error
        found.setdefault(str(line["image"]), []).append((box, side))
    return found


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        # spreadsheets put a mark before the first line
        with open(path, newline="", encoding="utf-8-sig") as file:
            lines = list(csv.DictReader(file))
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no CSV file ({error})") from error
    if not lines or not {"image", *"xywh"} <= set(lines[0]):
        raise DataError(f"{path}: expected columns image,x,y,w,h and perhaps side")
    return lines


def read_joints(path: Path) -> dict[str, NDArray]:
    """2D joints (21,2) px by picture, in the project's joint order: JSON {image: [[x, y], …]}.

    A bare list of 21 points is for every picture, under "". Raises DataError.
    """
    table = read_json(path)
    entries = table if isinstance(table, dict) else {"": table}
    found = {}
    for name, points in entries.items():
        try:
            values = np.array(points, np.float64)
        except (ValueError, TypeError):
            values = np.empty(0)
        if values.shape != (21, 2) or not np.isfinite(values).all():
            where = f" of {name}" if name else ""
            raise DataError(f"{path}: the joints{where} are not 21 points [x, y] in pixels")
        found[name] = values
    return found


def of_picture(table: Mapping[str, Any], name: str) -> Any:
    """A table's entry for a picture: by its file name, without ending, or "" for all; or None."""
    return next((table[key] for key in (name, Path(name).stem, "") if key in table), None)


def check_box(box_px: NDArray, size: tuple[int, int], name: str) -> None:
    """Raises DataError when a box has next to nothing of a picture (w, h) in it."""
    low, high = np.maximum(box_px[:2], 0), np.minimum(box_px[:2] + box_px[2:], size)
    if (high - low).min() < LEAST:
        told = ",".join(f"{value:g}" for value in box_px)
        raise DataError(
            f"{name}: less than {LEAST} pixels of the box {told} lie in the picture "
            f"({size[0]} x {size[1]})"
        )
