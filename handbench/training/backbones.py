"""Which file of pretrained weights a run's backbone starts from, as its paper's does."""

import os
from dataclasses import replace
from pathlib import Path

from handbench import files, registry
from handbench.errors import HandbenchError
from handbench.training.recipe import Recipe

NONE = "none"  # --backbone none: random weights, knowingly
FOLDER = "HANDBENCH_BACKBONES"


def chosen(recipe: Recipe, given: str | None) -> tuple[Recipe, Path | None]:
    """The recipe with its backbone's hash, and the file; as it is and None for random weights.

    given: a file, or NONE. Without one the paper preset of a method that names its PRETRAINED
    file takes that from $HANDBENCH_BACKBONES, unless all weights start from another run; other
    presets start at random. Raises HandbenchError where a paper preset finds none.
    """
    if given == NONE:
        return recipe, None
    path = Path(given).expanduser() if given else _of_paper(recipe)
    if path is None:
        return recipe, None
    if not path.is_file():
        raise HandbenchError(f"no backbone {path}: give a file of weights, or --backbone {NONE}")
    return replace(recipe, backbone=files.sha256(path)), path


def _of_paper(recipe: Recipe) -> Path | None:
    """The file that a method's paper starts from; None where it is not asked for."""
    cls = registry.load("method", recipe.method)
    name = getattr(cls, "PRETRAINED", "")
    blind = recipe.variant in getattr(cls, "WITHOUT_BACKBONE", ())
    if recipe.preset != "paper" or recipe.start or blind or not name:
        return None
    folder = os.environ.get(FOLDER)
    if folder and (path := Path(folder).expanduser() / name).is_file():
        return path
    where = f"it is not in {folder}" if folder else f"put it into ${FOLDER}"
    raise HandbenchError(
        f"{recipe.method}'s paper starts its backbone from {name}: give --backbone FILE ({where}), "
        f"or --backbone {NONE} for random weights, which are not the paper's recipe"
    )
