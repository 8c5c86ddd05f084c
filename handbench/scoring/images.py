"""What concerns a whole picture: how its hands stand to each other, which there are, the object.

Every function gives one value an image, standing with the image's first hand, NaN elsewhere.
"""

import json
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from handbench.console import amount, say
from handbench.predictions import Predictions
from handbench.registry import load, table
from handbench.schema import SIDES
from handbench.scoring.mssd import Shape, kept_shape, mssd_mm
from handbench.scoring.truth import Truth
from handbench.store import Split, read_text, reading


def mrrpe_mm(predictions: Predictions, truth: Truth, order: NDArray) -> NDArray | None:
    """Mean relative root position error (M,): distance of the predicted and the true vector from
    the right to the left wrist (Moon et al. 2020, InterHand2.6M).

    For images with both wrists annotated. From `left_minus_right_m` of the images, or from both
    hands' own `root_m` where the method predicts it; None without either: roots taken from the
    truth would make the error zero.
    """
    made = predictions.attributes
    wrists = [truth.per_row(f"{side}/joints_m")[:, 0].astype(np.float64) for side in SIDES]
    valid = [(truth.per_row(f"{side}/joints_valid")[:, 0] & 1) > 0 for side in SIDES]
    if "left_minus_right_m" in predictions.per_image and "image_id" in predictions.per_image:
        found = of_image(predictions, "left_minus_right_m", truth.id)
        asked = truth.first_in_image() & valid[0] & valid[1]
        say_lacking("left_minus_right_m", "image", asked, np.isfinite(found).all(1))
    elif predictions.root_m is not None and made.get("root_source") == "predicted":
        found = _between_roots(predictions, truth, order)
    else:
        return None
    error = np.linalg.norm(found - (wrists[1] - wrists[0]), axis=-1) * 1000.0
    return np.where(truth.first_in_image() & valid[0] & valid[1], error, np.nan)


def handedness(predictions: Predictions, truth: Truth) -> NDArray | None:
    """Whether an image's hands are told rightly (M,): each side's score is over 0.5 exactly when
    the image has that hand. A hand without a prediction has score 0. None without scores.

    An image in which it is unknown whether a hand is there has no value.
    """
    if predictions.hand_score is None:
        return None
    keys = zip(predictions.id.tolist(), predictions.is_left.tolist())
    score = dict(zip(keys, predictions.hand_score.tolist()))
    told = np.array([[score.get((each, left), 0.0) for left in (False, True)] for each in truth.id])
    present = truth.present()
    known = (present <= 1).all(1) & np.isfinite(told).all(1) & truth.first_in_image()
    return np.where(known, ((told > 0.5) == (present == 1)).all(1), np.nan)


def object_mssd_mm(
    predictions: Predictions, truth: Truth, shapes: Mapping[str, Shape]
) -> NDArray | None:
    """MSSD (M,) of the held object, by the shapes of its split (name -> Shape).

    Predicted poses are in the camera, or, where attribute object_frame is "hand", relative to the
    right wrist (the left one of pictures without a right hand), in the camera's axes, as kypt's
    are. None without predicted poses; NaN for objects without a shape.
    """
    if not {"object/T_camera", "image_id"} <= set(predictions.per_image):
        return None
    pred = of_image(predictions, "object/T_camera", truth.id)
    true = truth.per_row("object/T_camera").astype(np.float64)
    if predictions.attributes.get("object_frame", "camera") == "hand":
        right, left = (truth.per_row(f"{side}/joints_m")[:, 0] for side in SIDES)
        true[:, :3, 3] -= np.where(np.isfinite(right), right, left)
    names = np.array([*truth.split.tables["objects"], ""])[truth.per_row("object/name")]
    found = np.full(len(truth), np.nan)
    first = truth.first_in_image()
    asked = first & np.isin(names, [*shapes]) & np.isfinite(true).all((1, 2))
    say_lacking("object/T_camera", "image", asked, np.isfinite(pred).all((1, 2)))
    for name in set(names[first].tolist()) & set(shapes):
        chosen = first & (names == name)
        found[chosen] = mssd_mm(pred[chosen], true[chosen], shapes[name])
    return found


def shapes_of(split: Split, predictions: Predictions) -> dict[str, Shape]:
    """Object name -> Shape, as the split's reader knows them; only where poses were predicted."""
    return object_shapes(split) if "object/T_camera" in predictions.per_image else {}


def object_shapes(split: Split) -> dict[str, Shape]:
    """Object name -> Shape, as the split's reader knows them, else as the index keeps them."""
    name = str(split.attributes.get("dataset", ""))
    reader = load("dataset", name) if name in table("dataset") else None
    make = getattr(reader, "object_shape", None)
    if make is not None:
        return {each: make(each) for each in split.tables["objects"]}
    with reading(split.folder / "index.h5", split.advice) as file:
        told = [json.loads(str(info)) for info in read_text(file["objects/info"])]
    known = zip(split.tables["objects"], told)
    return {str(name): kept_shape(info) for name, info in known if "hull_m" in info}


def say_lacking(name: str, noun: str, asked: NDArray, there: NDArray) -> None:
    """Says of how many of those asked for (M,) an array of the predictions has no finite value."""
    lacking = int((asked & ~there).sum())
    if lacking:
        of = f"{lacking:,} of {amount(int(asked.sum()), noun)}"
        say(f"{name} is missing or not finite for {of}: left out of what it is needed for")


def of_image(predictions: Predictions, name: str, ids: NDArray) -> NDArray:
    """A per-image array of the predictions for the images named in ids (M,); NaN where absent."""
    values = predictions.per_image[name]
    place = {each: row for row, each in enumerate(predictions.per_image["image_id"].tolist())}
    rows = np.array([place.get(each, -1) for each in ids.tolist()])
    known = (rows >= 0).reshape(-1, *[1] * (values.ndim - 1))
    return np.where(known, values[rows].astype(np.float64), np.nan)


def _between_roots(predictions: Predictions, truth: Truth, order: NDArray) -> NDArray:
    """Left minus right wrist (M,3) from the hands' own roots; NaN with a single hand."""
    assert predictions.root_m is not None
    wrist = predictions.root_m[order].astype(np.float64) + predictions.joints_m[order][:, 0]
    by_row = np.full((2, len(truth.split), 3), np.nan)
    by_row[truth.is_left.astype(int), truth.split.hands.row] = wrist
    return (by_row[1] - by_row[0])[truth.split.hands.row]
