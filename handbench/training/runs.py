"""Run folders: METHOD/VARIANT/DATA-PRESET-sSEED under the folder of runs."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from handbench import files, registry
from handbench.errors import HandbenchError, UnknownName
from handbench.training.recipe import Recipe, from_toml

# What a data set may call its parts, in the order in which they are looked for.
TRAIN, VAL, TEST = ("train", "training"), ("val",), ("test", "evaluation")


@dataclass(frozen=True)
class Run:
    """One run's folder and the files in it (which need not exist yet)."""

    path: Path

    @property
    def recipe_file(self) -> Path:
        return self.path / "recipe.toml"

    @property
    def log(self) -> Path:
        return self.path / "log.csv"

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.pt"

    @property
    def previous_checkpoint(self) -> Path:
        return self.path / "checkpoint.prev.pt"

    @property
    def name(self) -> str:
        """METHOD/VARIANT/DATA-PRESET-sSEED[-LABEL]."""
        return "/".join(self.path.resolve().parts[-3:])

    def recipe(self) -> Recipe:
        """Raises HandbenchError when recipe.toml is missing."""
        if not self.recipe_file.is_file():
            raise HandbenchError(f"{self.path} is no run: it has no recipe.toml")
        return from_toml(self.recipe_file.read_text(encoding="utf-8"))

    def folder(self, split: str, boxes: str | None = None) -> Path:
        """Where predictions and results for a split stand: the run itself for its test split,
        SPLIT inside it for another one of the same data set, NAME_SPLIT for another data set's;
        in boxes-SOURCE below that for another box source than the recipe's.
        """
        recipe = self.recipe()
        name, _, part = split.partition("/")
        folder = self.path
        if split != data_split(recipe.data, TEST):
            folder /= part if name == recipe.data.partition("/")[0] else f"{name}_{part}"
        return folder if boxes in (None, recipe.box_source) else folder / f"boxes-{boxes}"

    def predictions(self, split: str, boxes: str | None = None) -> Path:
        return self.folder(split, boxes) / "predictions.h5"


def run_of(recipe: Recipe) -> Run:
    """The folder a recipe trains into."""
    name = f"{recipe.data.replace('/', '_')}-{recipe.preset}-s{recipe.seed}"
    name += f"-{recipe.label}" if recipe.label else ""
    return Run(files.runs_dir() / recipe.method / recipe.variant / name)


def every() -> list[Run]:
    """All runs in the folder of runs, by name."""
    return [Run(file.parent) for file in sorted(files.runs_dir().glob("*/*/*/recipe.toml"))]


def find(text: str, others: Collection[str] = ()) -> Run:
    """A run by its path, or by METHOD, METHOD/VARIANT or METHOD/VARIANT/NAME where that is unique.

    others: names of methods, where the caller would have taken one too. Raises HandbenchError with
    the candidates, UnknownName when there is none.
    """
    if (Path(text) / "recipe.toml").is_file():
        return Run(Path(text))
    wanted = text.strip("/").split("/")
    known = every()
    hits = [run for run in known if run.name.split("/")[: len(wanted)] == wanted]
    if len(hits) > 1:
        names = ", ".join(run.name for run in hits)
        raise HandbenchError(f"'{text}' is the name of {len(hits)} runs, give one of: {names}")
    if not hits:
        if Path(text).is_dir():
            raise HandbenchError(f"{text} is no run: it has no recipe.toml")
        trained = {run.name.partition("/")[0] for run in known}
        if wanted[0] in registry.table("method").keys() - trained:
            raise HandbenchError(
                f"no run '{text}' in {files.runs_dir()}: handbench train {wanted[0]} makes one"
            )
        # a slip is nearer to a name of as many words than to a whole run's
        near = {"/".join(run.name.split("/")[: len(wanted)]) for run in known}
        kind = "method or run" if others else "run"
        raise UnknownName(kind, text, near.union(others), f"runs: {files.runs_dir()}")
    return hits[0]


def data_split(data: str, kind: tuple[str, ...]) -> str:
    """The prepared split NAME/SPLIT of a kind (TRAIN, VAL or TEST) that `--data` stands for.

    `NAME` has splits train, val, test; `dexycb/s0` has s0_train and so on. Of several spellings
    the one that is prepared is taken, else the first.
    """
    candidates = list(_spellings(data, kind))
    prepared = [c for c in candidates if (files.data_dir() / c / "index.h5").is_file()]
    return (prepared or candidates)[0]


def _spellings(data: str, kind: tuple[str, ...]) -> Iterator[str]:
    name, _, prefix = data.partition("/")
    for ending in kind:
        yield f"{name}/{prefix}_{ending}" if prefix else f"{name}/{ending}"
