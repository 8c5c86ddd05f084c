"""Published figures against each other: between tables, between papers, and with their text."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from handbench.errors import DataError
from handbench.published.findings import Finding, exclude, finding, label, span
from handbench.published.reported import Claim, Reported, better, by_row, tabled, title


def same_cell_twice(cells: Sequence[Reported]) -> list[Finding]:
    """One method on one data set, the same metric, in two tables of one paper."""
    groups: dict[tuple[str, ...], list[Reported]] = {}
    for cell in cells:
        if cell.value and cell.paper != "landscape":
            key = (cell.paper, cell.method, cell.data, cell.part, cell.metric, cell.tier)
            groups.setdefault(key, []).append(cell)
    return [
        finding(
            "contradictory",
            "same cell twice",
            group[0],
            f"{title(group[0].metric)} of {group[0].method} differs between tables of one paper",
            "; ".join(f"{cell.place}: {span(cell)}" for cell in group),
        )
        for group in groups.values()
        if exclude(group)
    ]


def cited_differently(cells: Sequence[Reported]) -> list[Finding]:
    """One method on one data set, the same metric, printed differently by several sources."""
    groups: dict[tuple[str, ...], dict[tuple[str, str], list[Reported]]] = {}
    for cell in cells:
        if cell.value:
            metrics = groups.setdefault((cell.method, cell.data), {})
            metrics.setdefault(cell.cell, []).append(cell)
    found = []
    for (method, data), metrics in groups.items():
        apart = [g for g in metrics.values() if len(set(map(_source, g))) > 1 and exclude(g)]
        if not apart:
            continue
        lines = [f"{label(group[0])}: {'; '.join(_told(group))}" for group in apart]
        trusted = [[c for c in group if c.trust != "S"] for group in apart]
        grade = "contradictory" if any(map(exclude, trusted)) else "odd"
        what = f"{method} on {data} stands with different numbers in different sources"
        found.append(finding(grade, "cited differently", apart[0][0], what, *lines, row=False))
    return found


def text_against_cells(claim: Claim, cells: Sequence[Reported]) -> list[Finding]:
    """A sentence of the text against its cells. Raises DataError for an unknown row."""
    table = tabled(c for c in cells if c.paper == claim.paper).get((claim.paper, claim.table), [])
    rows = {name: {c.cell: c for c in row if c.value} for name, row in by_row(table).items()}
    for name in (claim.row, *claim.rivals):
        if name not in rows:
            raise DataError(
                f"text claim of {claim.paper} ({claim.where}): Table {claim.table} has no row "
                f"'{name}'"
            )
    if claim.kind == "relative":
        return _relative(claim, rows)
    if claim.kind == "equals":
        return _equals(claim, rows)
    lines, ties = [], []
    for key in claim.cells:
        mine = rows[claim.row][key]
        for name in claim.rivals or rows:
            if name == claim.row or key not in rows[name]:
                continue
            theirs = rows[name][key]
            gain = mine.exact - theirs.exact
            gain = gain if better(mine.metric) == "higher" else -gain
            line = f"{label(mine)}: {mine.value} against {theirs.value} ({name})"
            if gain < 0:
                lines.append(line)
            elif gain == 0 and claim.kind == "better":
                ties.append(f"{line}: equal as printed")
    if not lines and not ties:
        return []
    return [_text(claim, "contradictory" if lines else "odd", (*lines, *ties))]


def _relative(
    claim: Claim, rows: Mapping[str, Mapping[tuple[str, str], Reported]]
) -> list[Finding]:
    """A claimed per cent against the reduction of the error, and against old / new - 1."""
    claimed = float(claim.claimed)
    slack = 1.0 if "about" in claim.claim else 0.5
    lines, fits, near = [], False, False
    for key in claim.cells:
        new, old = span(rows[claim.row][key]), span(rows[claim.rivals[0]][key])
        low, high = 100 * (1 - new.high / old.low), 100 * (1 - new.low / old.high)
        ratio = 100 * (old.value / new.value - 1)
        fits |= low - slack <= claimed <= high + slack
        near |= abs(ratio - claimed) <= slack
        lines.append(
            f"{label(rows[claim.row][key])}: ({old.value:g} - {new.value:g}) / {old.value:g} = "
            f"{100 * (1 - new.value / old.value):.1f} % ({old.value:g} / {new.value:g} - 1 = "
            f"{ratio:.1f} %); claimed {claimed:g} %"
        )
    return [] if fits else [_text(claim, "odd" if near else "contradictory", tuple(lines))]


def _equals(claim: Claim, rows: Mapping[str, Mapping[tuple[str, str], Reported]]) -> list[Finding]:
    """A number of the text against the cell that it repeats, in the cell's unit."""
    wrong = []
    for key in claim.cells:
        cell = rows[claim.row][key]
        if exclude([cell, replace(cell, value=claim.claimed)]):
            wrong.append(f"{label(cell)}: {claim.claimed} in the text, {cell.value} in the cell")
    return [_text(claim, "contradictory", tuple(wrong))] if wrong else []


def _source(cell: Reported) -> tuple[str, str]:
    return cell.paper, cell.cites if cell.paper == "landscape" else ""


def _told(group: Sequence[Reported]) -> list[str]:
    """Every printed value once, with all the places that print it."""
    places: dict[str, list[str]] = {}
    for cell in group:
        places.setdefault(f"{cell.value} {cell.unit}".strip(), []).append(cell.place)
    return [f"{value} ({' | '.join(dict.fromkeys(where))})" for value, where in places.items()]


def _text(claim: Claim, grade: str, lines: tuple[str, ...]) -> Finding:
    where = f"{claim.paper} {claim.where}, Table {claim.table}"
    what = f"the text says: “{claim.claim}”"
    return Finding(grade, "text against cells", claim.paper, where, what, lines)
