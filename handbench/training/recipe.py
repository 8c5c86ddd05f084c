"""How one run is trained: a recipe file, `-o key=value` overrides and flags, in one dataclass."""

import inspect
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from fnmatch import fnmatchcase
from importlib import resources
from typing import Any

from handbench import registry
from handbench.console import say
from handbench.errors import HandbenchError, UnknownName
from handbench.loading import neighbours
from handbench.loading.augment import Augmentation
from handbench.loading.crop import FACTOR, SOURCES, WAYS
from handbench.training import ranges

OPTIMIZERS = ("adamw", "adam")
SCHEDULES = ("cosine", "multistep", "constant")
CHOICES = ("last", "best")
ON_NONFINITE = ("stop", "skip")
PRECISIONS = ("fp32", "bf16", "fp16")
VALIDATIONS = ("split", "recordings", "released")
NORMS = ("local", "sync", "frozen")
SCALINGS = ("linear", "sqrt", "none")


@dataclass(frozen=True)
class Recipe:
    """All that decides a run's weights. A file methods/recipes/METHOD_DATA.toml sets its keys.

    batch: samples of a step, over all processes and `accumulate` parts together. lr belongs to the
    batch it was written for: another batch scales it by scale_lr. steps counts optimizer steps;
    0 means `epochs` passes over the data. precision: of forward passes (precision.py); batch_norm:
    see norms.py; ema: decay of averaged weights, 0 none. warmup: steps of linear rise.
    milestones: fractions of the run at which a multistep schedule multiplies lr by gamma.
    clip: largest gradient norm, 0 none. augmentation: fields of augment.Augmentation, empty for
    none. validate_every: steps, 0 for a quarter of the run. validation: the data's own split, or
    held out by selection.held_out. checkpoint: "last", or "best" on validation. pictures: exact
    interpolation, or fast in bytes (patches.py). frame_step, frame_rule, frame_jitter: earlier
    frames of methods that see several (neighbours.py). label: ends the folder's name. options go to
    the method, over its preset's and variant's. backbone: the SHA-256 of the file the backbone
    started from; start: name and SHA-256 of the run that all weights started from; "" for none.
    on_nonfinite: stop or skip the step. more_data: names of further data sets, whose training
    splits join; backbone_rate: times lr, the learning rate of the method's `backbone`.
    """

    method: str
    variant: str = "full"
    preset: str = "tiny"
    data: str = "synthetic"
    seed: int = 0
    batch: int = 32
    steps: int = 0
    epochs: int = 10
    optimizer: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.01
    warmup: int = 0
    schedule: str = "cosine"
    milestones: list[float] = field(default_factory=list)
    gamma: float = 0.1
    clip: float = 0.0
    augmentation: dict[str, float] = field(default_factory=dict)
    box_source: str = "visible_mask"
    box_factor: float = FACTOR
    frame_step: int = 1
    frame_rule: str = "clean"
    frame_jitter: int = 0
    pictures: str = "exact"
    visibility_rule: str = "released"
    validate_every: int = 0
    checkpoint: str = "last"
    on_nonfinite: str = "stop"
    backbone: str = ""
    start: str = ""
    accumulate: int = 1
    precision: str = "fp32"
    batch_norm: str = "local"
    ema: float = 0.0
    scale_lr: str = "linear"
    validation: str = "split"
    label: str = ""
    more_data: str = ""
    backbone_rate: float = 1.0
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def augment(self) -> Augmentation | None:
        return Augmentation(**self.augmentation) if self.augmentation else None

    def total_steps(self, per_epoch: int) -> int:
        return self.steps or self.epochs * per_epoch


KEYS = {f.name: f for f in fields(Recipe)}
# Say which run it is: not for a recipe file or -o, each has its own flag.
FLAGS = ("method", "variant", "preset", "data", "seed", "backbone", "start", "label")
LIMITED = {
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "checkpoint": CHOICES,
    "on_nonfinite": ON_NONFINITE,
    "box_source": tuple(SOURCES),
    "pictures": WAYS,
    "frame_rule": neighbours.RULES,
    "precision": PRECISIONS,
    "batch_norm": NORMS,
    "scale_lr": SCALINGS,
    "validation": VALIDATIONS,
}
# occlusion_augment = true paints an occluder on this share of the training samples.
OCCLUSION, OCCLUDED = "occlusion_augment", 0.5
TABLES = {"augmentation": tuple(f.name for f in fields(Augmentation))}


def make(
    method: str,
    variant: str = "full",
    preset: str | None = None,
    data: str = "synthetic",
    overrides: Sequence[str] = (),
    **flags: Any,
) -> Recipe:
    """The recipe of a run. Precedence: flags, then `key=value` overrides, then the recipe file
    (its [presets.NAME] and [variants.NAME] over its top level, but a variant's own options over
    what holds for all variants), then the method's preset. A method's RECIPE_KEYS are keys that its
    variants set on all data. occlusion_augment switches painted occluders on or off.

    preset: default tiny on synthetic data, else paper. flags: seed, steps, batch, backbone,
    start, label, precision; None is not given. Raises UnknownName for a name, HandbenchError for
    a value of the wrong type or out of bounds (ranges.py).
    """
    cls = registry.load("method", method)
    _refuse_split(data)
    preset = preset or ("tiny" if data.split("/")[0] == "synthetic" else "paper")
    for kind, name, known in (
        ("variant", variant, cls.VARIANTS),
        ("preset", preset, cls.PRESETS),
    ):
        if name not in known:
            raise UnknownName(f"{kind} of {method}", name, known)
    layers = _file_layers(method, data, preset, variant)
    layers.append((variant, getattr(cls, "RECIPE_KEYS", {}).get(variant, {})))
    layers.append(("-o", dict(_override(text) for text in overrides)))
    values: dict[str, Any] = {}
    for source, layer in layers:
        written = values.get("batch", KEYS["batch"].default)  # before -o, in the end
        for key, value in layer.items():
            _set(values, source, key, value, cls)
    values |= {key: value for key, value in flags.items() if value is not None}
    if (asked := values.pop(OCCLUSION, None)) is not None:
        values["augmentation"] = _occluded(values.get("augmentation"), asked)
    if "lr" not in layers[-1][1] and not hasattr(cls, "fit"):
        _scale_lr(values, written)
    recipe = Recipe(
        **{**values, "method": method, "variant": variant, "preset": preset, "data": data}
    )
    ranges.check(vars(recipe))
    return recipe


def _occluded(table: dict[str, float] | None, asked: bool) -> dict[str, float]:
    """The table of augmentation with painted occluders switched on or off, the rest as it was."""
    off = dict.fromkeys(("scale", "rotation_deg", "rotation_share", "colour"), 0.0)
    return {**(table or off), "occluders": OCCLUDED if asked else 0.0}


def _scale_lr(values: dict[str, Any], written: int) -> None:
    """Scales lr, written for batches of `written` samples, to the batch it is used with."""
    batch, rule = values.get("batch", written), values.get("scale_lr", KEYS["scale_lr"].default)
    if batch == written or batch < 1 or rule == "none":
        return
    before = values.get("lr", KEYS["lr"].default)
    factor = batch / written
    values["lr"] = float(f"{before * (factor if rule == 'linear' else factor**0.5):.6g}")
    say(
        f"learning rate {before:g} is for batches of {written}: {values['lr']:g} for {batch} "
        f"(-o scale_lr={rule}; -o lr=… sets it)"
    )


def _refuse_split(data: str) -> None:
    """--data names a data set (or its setup, dexycb/s0), whose three splits have their uses."""
    name, _, part = data.partition("/")
    setup, _, ending = part.rpartition("_")
    if ending in ("train", "training", "val", "test", "evaluation"):
        whole = f"{name}/{setup}" if setup else name
        raise HandbenchError(f"{data} names one split: give --data {whole}")


def method_options(recipe: Recipe) -> dict[str, Any]:
    """Keyword arguments of the method: preset, then variant, then the recipe's options."""
    cls = registry.load("method", recipe.method)
    return {**cls.PRESETS[recipe.preset], **cls.VARIANTS[recipe.variant], **recipe.options}


def _file_layers(
    method: str, data: str, preset: str, variant: str
) -> list[tuple[str, dict[str, Any]]]:
    """The recipe file's keys, lowest first: top level, its preset's table, its variant's.

    A variant's table is [variants.NAME], or of several ones [variants."PATTERN*"].
    """
    name = f"{method}_{data.split('/')[0]}.toml"
    file = resources.files("handbench.methods.recipes") / name
    if not file.is_file():
        return []
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise HandbenchError(f"recipe {name} is not TOML: {error}") from error
    presets, variants = table.pop("presets", {}), table.pop("variants", {})
    fixed = registry.load("method", method).VARIANTS[variant]  # a variant is the same on all data
    general = [_without(layer, fixed) for layer in (table, presets.get(preset, {}))]
    own = [layer for pattern, layer in variants.items() if fnmatchcase(variant, pattern)]
    return [(name, layer) for layer in (*general, *own)]


def _without(layer: dict[str, Any], names: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's layer without the method's options of these names."""
    kept = {key: value for key, value in layer.items() if key not in names}
    if "options" in kept:
        kept["options"] = {k: v for k, v in kept["options"].items() if k not in names}
    return kept


def _override(text: str) -> tuple[str, Any]:
    """`key=value` with a TOML value; what is no TOML value is a string."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise HandbenchError(f"-o {text}: write it as key=value, for example -o lr=0.001")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def _set(values: dict[str, Any], source: str, key: str, value: Any, cls: type) -> None:
    """Puts one key into values, checked. `table.key` and a method's option name reach inside."""
    head, _, tail = key.partition(".")
    options = method_keywords(cls)
    if head in ("augmentation", "options") and (tail or isinstance(value, dict)):
        for name, item in ({tail: value} if tail else value).items():
            _set_inside(values, source, head, name, item, options)
    elif key in FLAGS:
        flag = key if key != "method" else "its first argument"
        raise HandbenchError(f"{source}: '{key}' is no recipe key: it is given by --{flag}")
    elif key == OCCLUSION:
        if not isinstance(value, bool):
            raise HandbenchError(f"{source}: {key} takes true or false, not {value!r}")
        values[key] = value
    elif key in KEYS and key not in ("augmentation", "options"):
        values[key] = _checked(source, key, value, KEYS[key].type)
    elif key in options:
        values.setdefault("options", {})[key] = value
    else:
        known = [name for name in KEYS if name not in FLAGS] + [OCCLUSION, *options]
        raise UnknownName("recipe key", key, known, source)


def _set_inside(
    values: dict[str, Any], source: str, table: str, name: str, value: Any, options: Sequence[str]
) -> None:
    known = TABLES.get(table, options)
    if name not in known:
        raise UnknownName(f"key of {table}", name, known, source)
    if table == "augmentation":
        value = _checked(source, f"{table}.{name}", value, float)
    values.setdefault(table, {})[name] = value


def _checked(source: str, key: str, value: Any, kind: Any) -> Any:
    """The value in the key's type (an int is good for a float). Raises HandbenchError."""
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    wanted = {int: "a whole number", float: "a number", str: "a word"}.get(
        kind, "a list of numbers"
    )
    plain = kind if isinstance(kind, type) and kind in (int, float, str) else list
    if not isinstance(value, plain) or isinstance(value, bool):
        raise HandbenchError(f"{source}: {key} takes {wanted}, not {value!r}")
    if key in LIMITED and value not in LIMITED[key]:
        raise UnknownName(key, str(value), LIMITED[key], source)
    return value


def method_keywords(cls: type) -> list[str]:
    """Names of the options a method takes: the keywords of its __init__."""
    names = list(inspect.signature(cls).parameters.values())[1:]  # the first one is the hand
    return [p.name for p in names if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]


def to_toml(recipe: Recipe) -> str:
    """The recipe as TOML, tables last; from_toml reads it back."""
    values = asdict(recipe)
    tables = {key: values.pop(key) for key in ("augmentation", "options")}
    lines = [f"{key} = {_toml(value)}" for key, value in values.items()]
    for name, table in tables.items():
        lines += ["", f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def from_toml(text: str) -> Recipe:
    return from_dict(tomllib.loads(text))


def from_dict(values: Mapping[str, Any]) -> Recipe:
    """A recipe from what asdict or to_toml gave; keys of other versions are refused by name."""
    for key in values:
        if key not in KEYS:
            raise UnknownName("recipe key", key, KEYS, "written by another version?")
    return replace(Recipe(method=values["method"]), **values)


def _toml(value: Any) -> str:
    import json

    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return repr(value)


def differences(one: Recipe, other: Recipe) -> list[str]:
    """`key: a -> b` for each key that decides weights and differs."""
    a, b = asdict(one), asdict(other)
    keys = [key for key in a if key != "on_nonfinite" and a[key] != b[key]]
    return [f"{key}: {a[key]} -> {b[key]}" for key in keys]
