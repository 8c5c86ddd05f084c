"""What of an official download is there, split by split, and where to get the rest."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from handbench import registry
from handbench.checking.check import FAIL, NONE, OK, WARN, Check
from handbench.checking.environment import hand_model
from handbench.console import amount
from handbench.datasets.downloads import DOWNLOADS, Piece
from handbench.datasets.trees import page
from handbench.errors import HandbenchError


def check_raw(name: str, raw: str | Path, options: Mapping[str, Any]) -> Iterator[Check]:
    """Rows about the pieces of the download below raw, then about each split.

    Pieces come from the reader's `downloads`, else from datasets/downloads.py. A missing piece
    without which nothing works fails; a split whose reader refuses the tree fails only when none
    of the splits can be read.
    """
    reader_class = registry.load("dataset", name)
    root = Path(raw).expanduser()
    for piece in getattr(reader_class, "downloads", DOWNLOADS.get(name, ())):
        yield _piece(piece, root)
    yield hand_model()
    splits = [_split(reader_class, split, root, options) for split in reader_class.splits]
    useless = all(check.verdict == FAIL for check in splits)
    if useless and len({check.measured for check in splits}) == 1:
        yield Check("every split", FAIL, splits[0].measured, splits[0].expected)
        return
    for check in splits:
        # one split alone is a normal download
        state = WARN if check.verdict == FAIL and not useless else check.verdict
        yield Check(check.name, state, check.measured, check.expected)


def _piece(piece: Piece, root: Path) -> Check:
    found = sorted({path for pattern in piece.patterns for path in root.glob(pattern)})
    where = f"{piece.archive}: {piece.source}"
    if not found:
        state = FAIL if piece.needed else NONE
        told = f"no {' or '.join(piece.patterns)}"
        return Check(piece.name, state, told, where if piece.needed else f"optional; {where}")
    few = 0 < len(found) < piece.count
    told = f"{len(found):,} found" if len(found) > 1 or piece.count > 1 else found[0].name
    return Check(piece.name, WARN if few else OK, told, f"{piece.count:,}, {where}" if few else "")


def _split(reader_class: Any, split: str, root: Path, options: Mapping[str, Any]) -> Check:
    """Rows of the plan against what the reader expects; its own words where it refuses."""
    try:
        reader = reader_class(split, root, **options)
        plan = reader.plan()
        found = reader.attributes()
    except HandbenchError as error:
        return Check(split, FAIL, str(error), page(reader_class.name))
    rows = sum(each.rows for each in plan)
    missing, expected = int(found.get("missing", 0)), int(found.get("expected", -1))
    published = int(found.get("official_rows", -1))
    told = f"{amount(rows, 'image')} in {amount(len(plan), 'sequence')}"
    told += f"; {missing:,} missing" if missing else ""
    wanted = [f"{expected:,} listed"] if expected >= 0 else []
    wanted += [f"{published:,} published"] if published >= 0 else []
    short = missing or (published >= 0 and published != max(expected, rows))
    return Check(split, WARN if short else OK, told, ", ".join(wanted))
