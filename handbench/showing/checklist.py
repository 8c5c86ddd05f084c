"""Checks and leaks as text, CSV and a page with a contact sheet."""

import csv
import html
import io
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

import numpy as np

from handbench.checking.check import Check, counted
from handbench.checking.leakage import Shared
from handbench.console import amount
from handbench.files import write_bytes, write_json, write_text
from handbench.showing import overlay
from handbench.showing.draw import encoded
from handbench.showing.report import Section, figures, page
from handbench.store import Split

SHEET = 24
SEED = 0
WIDTHS = (80, 48)  # of the texts measured and expected in a terminal
MARKS = {"ok": "✓ ok", "warn": "! warn", "fail": "✗ fail", "n/a": "· n/a"}
NOTES = (
    "ok: as expected. warn: look at it. fail: wrong, or not what its place says. n/a: there is "
    "nothing to look at.",
    f"The sheet shows up to {SHEET} images drawn by seed {SEED}: joints (hollow where the finger "
    "is occluded), bones, mesh (hatched where occluded), tight box, and the image's row number.",
)
STYLE = (
    "<style>td.fail,td.warn{font-weight:700}td.fail{color:#b3261e}td.warn{color:#8a5a00}"
    "table.checks td,table.checks th{text-align:left;vertical-align:top}"
    "table.checks td{white-space:normal}"
    "@media(prefers-color-scheme:dark){td.fail{color:#ff8a80}td.warn{color:#ffcc80}}</style>"
)


def plain(checks: Sequence[Check]) -> str:
    """An aligned table for a terminal."""
    from tabulate import tabulate

    rows = [
        (check.name, MARKS[check.verdict], _folded(check.measured, WIDTHS[0]))
        + (_folded(check.expected, WIDTHS[1]),)
        for check in checks
    ]
    return tabulate(rows, ["check", "", "measured", "expected"], tablefmt="simple")


def _folded(text: str, width: int) -> str:
    return fill(text, width, break_on_hyphens=False, break_long_words=False)


def write(split: Split, checks: Sequence[Check], folder: Path) -> list[Path]:
    """checks.html (opens offline), checks.json and sheet.png in folder."""
    rng = np.random.default_rng(SEED)
    rows = sorted(rng.choice(len(split), min(SHEET, len(split)), replace=False).tolist())
    picture, page_, data = (folder / name for name in ("sheet.png", "checks.html", "checks.json"))
    write_bytes(picture, encoded(overlay.sheet(split, rows)))
    write_json(data, [check.as_json() for check in checks])
    caption = f"{split.name}, {amount(len(rows), 'image')} drawn by seed {SEED}"
    sections = [
        Section("Checks", STYLE + _table(checks)),
        Section("Contact sheet", "".join(figures([(caption, [picture])]))),
    ]
    write_text(page_, page(sections, f"{split.name}: {counted(checks)}", NOTES))
    return [page_, data, picture]


def _table(checks: Sequence[Check]) -> str:
    body = "".join(
        f"<tr><th scope='row'>{html.escape(check.name)}</th>"
        f"<td class='{check.verdict.replace('/', '')}'>{MARKS[check.verdict]}</td>"
        f"<td>{html.escape(check.measured)}</td><td>{html.escape(check.expected)}</td></tr>"
        for check in checks
    )
    head = "<tr><th>check</th><th>verdict</th><th>measured</th><th>expected</th></tr>"
    return (
        "<div class='scroll'><table class='checks'><thead>"
        f"{head}</thead><tbody>{body}</tbody></table></div>"
    )


def leakage_plain(found: Sequence[Shared]) -> str:
    """Pairs of splits as rows, kinds of things as columns: shared of those in the second split."""
    from tabulate import tabulate

    kinds = list(dict.fromkeys(each.kind for each in found))
    pairs = list(dict.fromkeys((each.a, each.b) for each in found))
    cells = {(each.a, each.b, each.kind): _cell(each) for each in found}
    rows = [[*pair, *(cells.get((*pair, kind), "") for kind in kinds)] for pair in pairs]
    align = ("left", "left", *("right" for _ in kinds))
    table = tabulate(rows, ["in", "and in", *kinds], tablefmt="simple", colalign=align)
    first = [
        f"{each.kind} in {each.a} and {each.b}: {', '.join(each.names[:3])}"
        + (", …" if len(each.names) > 3 else "")
        for each in found
        if each.shared
    ]
    return "\n".join([table, "shared of those in the second split", *first])


def _cell(each: Shared) -> str:
    return f"{each.shared:,} of {each.of_b:,}" if each.known else "unknown"


def leakage_csv(found: Sequence[Shared]) -> str:
    """One row for each kind and pair, the shared names in the last column."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    head = ("kind", "a", "b", "known", "shared", "of_a", "of_b", "images_a", "images_b")
    writer.writerow((*head, "names"))
    for each in found:
        values = each.as_json()
        writer.writerow((*(values[key] for key in head), "; ".join(each.names)))
    return out.getvalue()
