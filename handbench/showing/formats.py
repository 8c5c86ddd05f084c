"""One table as LaTeX, CSV, Markdown and HTML. Pure text in, text out."""

import csv
import html
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from handbench.scoring.stats import Estimate

NOT_RUN = "not run"
DASH = "–"
BEGINNING = "initialisation"  # the method condition of that name


@dataclass(frozen=True)
class Cell:
    """One number with its interval; kind says where it comes from.

    kind: "measured" (by handbench), "reported" (printed in a paper), "not run", or what is derived
    from both: "interval", "difference"; "not printed" is a dash. text, where given, is shown
    instead of the rounded value.
    """

    estimate: Estimate | None
    kind: str = "measured"
    text: str = ""

    @property
    def value(self) -> float:
        return self.estimate.value if self.estimate is not None else float("nan")


@dataclass(frozen=True)
class Column:
    """key: the metric; title with unit in the header; better: "lower", "higher" or neither."""

    key: str
    title: str
    better: str
    digits: int
    intervals: bool = True


@dataclass(frozen=True)
class Row:
    """label, cells by column key, plain-text extras by title; rows of one tier compete."""

    label: str
    cells: dict[str, Cell]
    extras: dict[str, str] = field(default_factory=dict)
    tier: str = ""


@dataclass(frozen=True)
class Table:
    """name is the file's stem; caption states protocol and sample count; notes stand below."""

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    notes: Sequence[str] = ()
    extras: Sequence[str] = ()

    def groups(self) -> Iterator[tuple[str, list[Row]]]:
        """Rows of one tier together under its name; no name where all are of one."""
        named = len({row.tier for row in self.rows}) > 1
        for tier, rows in groupby(self.rows, key=lambda row: row.tier):
            yield (tier if named else ""), list(rows)

    def rank(self, row: Row, column: Column) -> int:
        """1 best, 2 second best among the measured cells of the row's tier; 0 otherwise."""
        if row.cells[column.key].kind != "measured" or column.better not in ("lower", "higher"):
            return 0
        rivals = {
            each.cells[column.key].value
            for each in self.rows
            if each.tier == row.tier and each.cells[column.key].kind == "measured"
        }
        known = sorted(value for value in rivals if math.isfinite(value))
        if column.better == "higher":
            known.reverse()
        shown = list(dict.fromkeys(f"{value:.{column.digits}f}" for value in known))
        mine = f"{row.cells[column.key].value:.{column.digits}f}"
        if len(shown) < 2 or mine not in shown[:2]:
            return 0
        return shown.index(mine) + 1


def number(cell: Cell, column: Column) -> str:
    """A cell's value as text, without its interval."""
    if cell.kind == "not run":
        return NOT_RUN
    if cell.text:
        return cell.text
    if not math.isfinite(cell.value):
        return DASH
    return f"{cell.value:.{column.digits}f}"


def interval(cell: Cell, column: Column) -> str:
    """ "[low high]" or nothing."""
    estimate = cell.estimate
    if estimate is None or not column.intervals or not math.isfinite(estimate.low):
        return ""
    return f"[{estimate.low:.{column.digits}f} {estimate.high:.{column.digits}f}]"


def latex(table: Table) -> str:
    """A booktabs table environment; best bold, second underlined, intervals in small type."""
    wide = len(table.columns) + len(table.extras) > 8
    size, gap = ("scriptsize", "2.4pt") if wide else ("footnotesize", "4pt")
    lines = [
        r"\begin{table}[htbp]",
        rf"\centering\{size}\setlength{{\tabcolsep}}{{{gap}}}",
        rf"\caption{{{escape(table.caption)}}}",
        rf"\label{{tab:{table.name.replace('_', '-')}}}",
        rf"\begin{{tabular}}{{l{'r' * len(table.columns)}{'l' * len(table.extras)}}}",
        r"\toprule",
        " & ".join(
            [
                "Method",
                *(_heading(c.title, len(table.columns)) for c in table.columns),
                *(_lines(title.replace("_", " ")) for title in table.extras),
            ]
        )
        + r" \\",
    ]
    width = 1 + len(table.columns) + len(table.extras)
    for tier, rows in table.groups():
        lines.append(r"\midrule")
        if tier:
            lines.append(rf"\multicolumn{{{width}}}{{l}}{{\textit{{{escape(tier)}}}}} \\")
        lines += [_latex_row(table, row) for row in rows]
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\smallskip{{\scriptsize {escape(note)}}}" for note in table.notes]
    lines.append(r"\end{table}")
    return "\n".join(lines) + "\n"


def _latex_row(table: Table, row: Row) -> str:
    cells = [escape(row.label)]
    for column in table.columns:
        text = escape(number(row.cells[column.key], column))
        rank = table.rank(row, column)
        text = {1: rf"\textbf{{{text}}}", 2: rf"\underline{{{text}}}"}.get(rank, text)
        if row.cells[column.key].kind == "reported":
            text = rf"\textit{{{text}}}"
        small = interval(row.cells[column.key], column)
        cells.append(text + (rf" {{\scriptsize {small}}}" if small else ""))
    cells += [_lines(row.extras.get(title, "")) for title in table.extras]
    return " & ".join(cells) + r" \\"


def _lines(text: str) -> str:
    """What stands in an extra column, in several lines where it is long."""
    if len(text) <= 12:
        return escape(text)
    return rf"\parbox[t]{{{min(24, max(15, len(text) // 2))}mm}}{{\raggedright {escape(text)}}}"


def _heading(title: str, columns: int) -> str:
    """A column's title, in several lines where one would make the table wider than the page."""
    width = min(32, 140 // max(columns, 1))
    if 1.5 * len(title) <= width:
        return escape(title)
    return rf"\parbox[b]{{{width}mm}}{{\raggedleft {escape(title)}}}"


def latex_document(names: Sequence[str]) -> str:
    """A document that shows the named tables; needs booktabs only."""
    inputs = "\n".join(rf"\input{{{name}.tex}}" for name in names)
    return (
        "\\documentclass[a4paper,landscape]{article}\n"
        "\\usepackage{booktabs}\n"
        "\\pdfpagewidth=297mm \\pdfpageheight=210mm\n"
        "\\setlength{\\textwidth}{265mm}\\setlength{\\oddsidemargin}{-9.4mm}\n"
        "\\setlength{\\textheight}{172mm}\\setlength{\\topmargin}{-12mm}\n"
        "\\setlength{\\headheight}{0mm}\\setlength{\\headsep}{0mm}\n"
        f"\\begin{{document}}\n{inputs}\n\\end{{document}}\n"
    )


def escape(text: str) -> str:
    """Plain text for LaTeX; the few signs outside ASCII that tables use become commands."""
    table = {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "≥": r"$\geq$",
        "≤": r"$\leq$",
        "→": r"$\to$",
        "·": r"$\cdot$",
        "×": r"$\times$",
        "±": r"$\pm$",
        "−": r"$-$",
        "↑": r"$\uparrow$",
        "↓": r"$\downarrow$",
        "†": r"$\dagger$",
        "‡": r"$\ddagger$",
        "[": "{[}",  # at the start of a row it would be an argument of the rule above it
        DASH: "--",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "“": "``",
        "”": "''",
        "’": "'",
    }
    return "".join(table.get(sign) or _latin(sign) for sign in text)


def _latin(sign: str) -> str:
    """The sign itself, or its number where LaTeX's own fonts lack it and would stop."""
    return sign if " " <= sign <= "~" or "¡" <= sign <= "ÿ" else f"U+{ord(sign):04X} "


def as_csv(table: Table) -> str:
    """Full precision: value, low, high, n and kind of each cell."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    parts = ("", "_low", "_high", "_n", "_kind")
    header = [f"{column.key}{part}" for column in table.columns for part in parts]
    writer.writerow(["method", "tier", *header, *table.extras])
    for row in table.rows:
        line: list[str] = [row.label, row.tier]
        for column in table.columns:
            cell = row.cells[column.key]
            e = cell.estimate
            line += [_full(x) for x in ((e.value, e.low, e.high) if e else ("", "", ""))]
            line += [str(e.n) if e and cell.kind != "reported" else "", cell.kind]
        writer.writerow([*line, *(row.extras.get(title, "") for title in table.extras)])
    return out.getvalue()


def markdown(table: Table) -> str:
    """The table as Markdown, groups of rows headed by their tier."""
    head = ["method", *(column.title for column in table.columns), *table.extras]
    align = ["---", *("---:" for _ in table.columns), *("---" for _ in table.extras)]
    lines = [f"**{table.caption}**", "", _pipe(head), _pipe(align)]
    for tier, rows in table.groups():
        if tier:
            lines.append(_pipe([f"*{tier}*", *[""] * (len(head) - 1)]))
        lines += [_markdown_row(table, row) for row in rows]
    lines += ["", *(f"{note}  " for note in table.notes)]
    return "\n".join(lines) + "\n"


def _markdown_row(table: Table, row: Row) -> str:
    cells = [row.label]
    for column in table.columns:
        text = number(row.cells[column.key], column)
        rank = table.rank(row, column)
        text = {1: f"**{text}**", 2: f"<u>{text}</u>"}.get(rank, text)
        if row.cells[column.key].kind == "reported":
            text = f"*{text}*"
        cells.append(f"{text} {interval(row.cells[column.key], column)}".strip())
    return _pipe([*cells, *(row.extras.get(title, "") for title in table.extras)])


def as_html(table: Table) -> str:
    """A <table> fragment; the page around it brings the style."""
    head = "".join(
        f"<th>{html.escape(title.replace('_', ' '))}</th>"
        for title in ("method", *(column.title for column in table.columns), *table.extras)
    )
    width = 1 + len(table.columns) + len(table.extras)
    body = []
    for tier, rows in table.groups():
        if tier:
            name = html.escape(tier)
            body.append(f"<tr class='tier'><th colspan='{width}' scope='rowgroup'>{name}</th></tr>")
        body += [_html_row(table, row) for row in rows]
    notes = "".join(f"<p class='note'>{html.escape(note)}</p>" for note in table.notes)
    return (
        f"<figure class='table'><figcaption>{html.escape(table.caption)}</figcaption>"
        f"<div class='scroll'><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table></div>{notes}</figure>\n"
    )


def _html_row(table: Table, row: Row) -> str:
    cells = [f"<th scope='row'>{html.escape(row.label)}</th>"]
    for column in table.columns:
        cell = row.cells[column.key]
        text = html.escape(number(cell, column))
        text = {1: f"<b>{text}</b>", 2: f"<u>{text}</u>"}.get(table.rank(row, column), text)
        small = interval(cell, column)
        small = f" <small>{small}</small>" if small else ""
        kind = cell.kind.replace(" ", "-")
        cells.append(f"<td class='{kind}'>{text}{small}</td>")
    for title in table.extras:
        cells.append(f"<td class='extra'>{html.escape(row.extras.get(title, ''))}</td>")
    return f"<tr>{''.join(cells)}</tr>"


def plain(table: Table) -> str:
    """For a terminal: caption, aligned columns with intervals, what weights began as, notes."""
    from tabulate import tabulate

    rows = []
    for tier, members in table.groups():
        if tier:
            rows.append([f"— {tier}"])
        for row in members:
            given = [(row.cells[column.key], column) for column in table.columns]
            rows.append([row.label, *(f"{number(*one)} {interval(*one)}".strip() for one in given)])
    head = ["method", *(column.title for column in table.columns)]
    body = tabulate(rows, head, tablefmt="simple", disable_numparse=True)
    return "\n".join(["", table.caption, body, *_beginnings(table), *table.notes])


def _beginnings(table: Table) -> list[str]:
    """One line: what the weights of each method were before training."""
    labels: dict[str, list[str]] = {}
    for row in table.rows:
        if BEGINNING in row.extras:
            labels.setdefault(row.extras[BEGINNING], []).append(row.label)
    alone = len(labels) == 1
    told = [what if alone else f"{what} ({', '.join(who)})" for what, who in labels.items()]
    return [f"{BEGINNING}: {'; '.join(told)}"] if told and BEGINNING in table.extras else []


def _pipe(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _full(value: float | str) -> str:
    if isinstance(value, str) or not math.isfinite(value):
        return ""
    return repr(float(value))


# name -> (renderer, file ending)
FORMATS = {
    "latex": (latex, "tex"),
    "csv": (as_csv, "csv"),
    "md": (markdown, "md"),
    "html": (as_html, "html"),
}
