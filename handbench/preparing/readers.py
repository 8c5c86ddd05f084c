"""Opening readers as the command line asks for it: splits and options, else one clear line."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from handbench.console import say
from handbench.datasets.trees import page
from handbench.errors import DataError, HandbenchError, UnknownName

OWN = ("self", "split", "raw", "strict")  # what the driver itself gives
Options = dict[str, Any]


def chosen_options(
    reader_class: Any, given: Sequence[str], flags: Mapping[str, Any], strict: bool = False
) -> Options:
    """The reader's options from KEY=VALUE texts and from flags that were given (not None).

    Raises UnknownName or DataError when the reader does not take one of them.
    """
    known = dict(inspect.signature(reader_class.__init__).parameters)
    accepted = {key: _kind(known[key]) for key in known if key not in OWN}
    options: Options = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals:
            raise DataError(f"-o {text}: write it as KEY=VALUE")
        if key not in accepted:
            raise UnknownName(f"option of {reader_class.name}", key, accepted)
        options[key] = _value(f"-o {text}", value, accepted[key])
    for key, value in flags.items():
        if value is None:
            continue
        if key not in accepted:
            raise DataError(f"{reader_class.name} takes no --{key}")
        options[key] = _value(f"--{key} {value}", str(value), accepted[key])
    if strict and "strict" in known:
        options["strict"] = True
    return options


def _kind(option: inspect.Parameter) -> type:
    """The plain type of an option: that of its default, else the one its annotation names."""
    if option.default is not None and option.default is not option.empty:
        return type(option.default)
    named = get_args(option.annotation) or (option.annotation,)
    return next((kind for kind in (bool, int, float) if kind in named), str)


def _value(what: str, text: str, kind: type) -> Any:
    """text as the type of the option."""
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise DataError(f"{what}: give true or false")
        return text.lower() == "true"
    if kind not in (int, float):
        return text
    try:
        return kind(text)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise DataError(f"{what}: give {wanted}") from None


def open_readers(
    reader_class: Any, splits: Sequence[str], raw: str | Path | None, options: Options
) -> Iterator[Any]:
    """A reader for each split asked for, or for each one that is present when none is.

    A prefix stands for those of its splits that are present: s0 for s0_train, s0_val, s0_test. All
    names are checked before the first split is opened. Raises UnknownName, DataError.
    """
    name = reader_class.name
    if raw is None and reader_class.needs_raw:
        raise DataError(
            f"{name} needs --raw DIR, the folder of the official download: {page(name)}"
        )
    if raw is not None and not reader_class.needs_raw:
        raise DataError(f"{name} is made here and takes no --raw")
    wanted = named_splits(reader_class, splits)
    if wanted and set(splits) <= set(reader_class.splits):
        return (reader_class(split, raw, **options) for split in wanted)
    return _present(reader_class, wanted or reader_class.splits, raw, options)


def named_splits(reader_class: Any, splits: Sequence[str]) -> list[str]:
    """The splits that names or prefixes stand for, each once. Raises UnknownName."""
    wanted: list[str] = []
    for split in splits:
        known = reader_class.splits
        members = [each for each in known if each == split or each.startswith(f"{split}_")]
        if not members:
            raise UnknownName(f"split of {reader_class.name}", split, known)
        wanted += members
    return list(dict.fromkeys(wanted))


def _present(
    reader_class: Any, splits: Sequence[str], raw: str | Path | None, options: Options
) -> Iterator[Any]:
    failures = []
    for split in splits:
        try:
            reader = reader_class(split, raw, **options)
        except HandbenchError as error:
            failures.append((split, error))
            continue
        yield reader
    if len(failures) == len(splits):
        raise failures[0][1]
    for split, reason in failures:
        say(f"not there:  {reader_class.name}/{split}: {reason}")
