"""A page, CSV and JSON of how splits are occluded, with their figures."""

import html
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from handbench.checking.check import percent
from handbench.checking.coverage import WITHIN_DEG, Coverage
from handbench.checking.occlusion import Occlusion
from handbench.console import amount
from handbench.files import write_json, write_text
from handbench.frames import FINGERS
from handbench.rules import DEFAULT, LEVELS, RULES
from handbench.showing.report import Section, figures, page
from handbench.showing.statistics import PARTS, draw

Rows = Sequence[Sequence[str]]
NOTES = (
    "Hidden is what the named rule calls hidden, in the whole scene. released: fewer than 30 of a "
    "finger's vertices fall on pixels of their own part, or less than 40 % of a hand's pixels do; "
    "paper: more than 50 of a finger's vertices do not, or less than half of a hand shows.",
    "Runs over time: consecutive frames of one sequence, camera and clip. A run that the end of a "
    "clip cuts counts as long as it was watched (Kaplan and Meier 1958).",
    "Rotation coverage: the angle from each test hand to the train hand whose palm is turned most "
    "alike in the camera frame, left hands mirrored.",
)


def write(
    found: Sequence[Occlusion], coverages: Sequence[Coverage], folder: Path, rule: str = DEFAULT
) -> list[Path]:
    """Everything about these splits under folder: stats.csv, stats.json, plots/, stats.html."""
    drawn = draw(found, coverages, folder / "plots", rule)
    write_text(folder / "stats.csv", long_table(found, coverages).to_csv(index=False))
    told = [each.as_json() for each in found]
    turns = [each.as_json() for each in coverages]
    write_json(folder / "stats.json", {"splits": told, "rotation_coverage": turns})
    tables = table_html("Share of hands in which a part is hidden", *rows_of_shares(found))
    tables += table_html(f"Runs of hidden frames, rule {rule}", *rows_of_runs(found, rule))
    if coverages:
        caption = "Test hands with a train hand turned alike"
        tables += table_html(caption, *rows_of_coverage(coverages))
    sections = [Section("Tables", tables), Section("Figures", "".join(figures(drawn)))]
    write_text(folder / "stats.html", page(sections, "Occlusion statistics", NOTES))
    plotted = [path for _, paths in drawn for path in paths]
    return [folder / "stats.csv", folder / "stats.json", *plotted, folder / "stats.html"]


def long_table(found: Sequence[Occlusion], coverages: Sequence[Coverage]) -> pd.DataFrame:
    """One number a row: split, what, rule, part, value."""
    rows: list[tuple] = []
    for each in found:
        told = each.as_json()
        rows += [
            (each.name, "hands", "", "", each.hands),
            (each.name, "labelled", "", "", each.labelled),
        ]
        for rule in RULES:
            rows += [(each.name, "hidden", rule, k, v) for k, v in told["hidden"][rule].items()]
            for i, row in zip(FINGERS, told["hidden_together"][rule]):
                pairs = zip(FINGERS, row)
                rows += [
                    (each.name, "hidden_together", rule, f"{j} given {i}", v) for j, v in pairs
                ]
            counts = enumerate(told["hands_by_hidden_fingers"][rule])
            rows += [(each.name, "hands_by_hidden_fingers", rule, str(k), n) for k, n in counts]
            for part, runs in told["runs"][rule].items():
                rows += [(each.name, f"runs_{k}", rule, part, v) for k, v in runs.items()]
        levels = told["hands_by_level"].items()
        rows += [(each.name, "hands_by_level", "", k, n) for k, n in levels]
        for cause, fingers in told["causes"].items():
            items = fingers.items()
            rows += [
                (each.name, f"cause_{cause.replace(' ', '_')}", DEFAULT, k, n) for k, n in items
            ]
    for cover in coverages:
        numbers = [(k, v) for k, v in cover.as_json().items() if k not in ("test", "train")]
        rows += [(cover.test, f"rotation_{k}", "", cover.train, v) for k, v in numbers]
    return pd.DataFrame(rows, columns=["split", "what", "rule", "part", "value"])


def rows_of_shares(found: Sequence[Occlusion]) -> tuple[list[str], list[list[str]]]:
    """Heading and rows of text: hidden shares by rule, and hands by level."""
    heading = [
        "split",
        "hands",
        "labelled",
        "rule",
        *PARTS,
        *(f"level {name} %" for name in LEVELS),
    ]
    rows = []
    for each in found:
        levels = [percent(n / max(each.labelled, 1)) for n in each.levels]
        first = [each.name, f"{each.hands:,}", f"{each.labelled:,}"]
        for rule in RULES:
            shares = map(percent, each.rates[rule])
            rows.append([*first, rule, *shares, *(levels if rule == DEFAULT else [""] * 4)])
            first = ["", "", ""]
    return heading, rows


def rows_of_runs(found: Sequence[Occlusion], rule: str) -> tuple[list[str], list[list[str]]]:
    """Heading and rows of text: runs of hidden frames of each finger and the hand."""
    heading = ["split", "what", "runs", "begun in sight", "whole", "half are over after", "longest"]
    rows = []
    for each in found:
        for part, runs in each.runs[rule].items():
            told = runs.summary()
            half = told["median_frames"]
            rows.append(
                [each.name, part, f"{told['runs']:,}", f"{told['begun_inside']:,}"]
                + [f"{told['whole']:,}", "–" if half is None else amount(half, "frame")]
                + [amount(told["longest_frames"], "frame")]
            )
    return heading, rows


def rows_of_coverage(coverages: Sequence[Coverage]) -> tuple[list[str], list[list[str]]]:
    """Heading and one row a pair of splits."""
    heading = ["test", "train", "hands", *(f"within {d} deg" for d in WITHIN_DEG), "farthest deg"]
    rows = [
        [each.test, each.train, f"{len(each.nearest_deg):,}"]
        + [percent(each.within(degrees)) for degrees in WITHIN_DEG]
        + [f"{each.nearest_deg.max():.1f}"]
        for each in coverages
    ]
    return heading, rows


def table_html(caption: str, heading: Sequence[str], rows: Rows) -> str:
    """A plain table in the page's style; the first cell of a row is its heading."""
    head = "".join(f"<th>{html.escape(text)}</th>" for text in heading)
    body = "".join(
        f"<tr><th scope='row'>{html.escape(row[0])}</th>"
        + "".join(f"<td>{html.escape(text)}</td>" for text in row[1:])
        + "</tr>"
        for row in rows
    )
    return (
        f"<figure class='table'><figcaption>{html.escape(caption)}</figcaption>"
        f"<div class='scroll'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        "</div></figure>\n"
    )
