"""Do published figures agree with arithmetic, with each other, and with the text around them?

Every check allows for rounding: a printed 8.7 may be anything from 8.65 to 8.75. Grades:
"impossible" (no set of errors gives these numbers), "contradictory" (two statements exclude each
other), "odd" (possible, yet hard to believe or against the usual order).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from math import sqrt
from statistics import median

from handbench.published.findings import GRADES, Finding, Span, finding, less, span, spans
from handbench.published.reported import Claim, Count, Reported, better, by_row, tabled, title
from handbench.published.reported_sources import (
    cited_differently,
    same_cell_twice,
    text_against_cells,
)
from handbench.scoring.curves import AUC_RANGE_MM, AUC_STEPS

RANGE_MM = AUC_RANGE_MM[1]
STEP = 0.5 / (AUC_STEPS - 1)  # the trapezoid rule differs from the integral by at most this
FAR_MM = 75.0  # an aligned joint lies seldom further off: a hand is about 190 mm long
PEERS_APART = 0.05
POINTS = {"mpjpe_mm": ("auc50_joints", 21), "mpvpe_mm": ("auc50_verts", 778)}
ALIGNMENTS = ("", "raw_", "st_", "pa_")


def check(
    cells: Sequence[Reported],
    claims: Sequence[Claim] = (),
    counts: Mapping[tuple[str, str], Count] | None = None,
) -> list[Finding]:
    """All findings, the gravest first, then in print order."""
    found: list[Finding] = []
    for rows in map(by_row, tabled(cells).values()):
        for row in rows.values():
            for part in dict.fromkeys(cell.part for cell in row):
                values = spans(row, part)
                for test in ROW_CHECKS:
                    found += test(row[0], values)
        found += totals(rows, counts or {})
    found += arrows(cells)
    found += same_cell_twice(cells)
    found += cited_differently(cells)
    for claim in claims:
        found += text_against_cells(claim, cells)
    return sorted(found, key=lambda each: GRADES.index(each.grade))


def auc_below_bound(row: Reported, values: Mapping[str, Span]) -> list[Finding]:
    """AUC = mean of max(0, 1 - d/50) is at least 1 - mean(d)/50, less half a step of the rule."""
    found = []
    for name, mean, auc in _mean_and_auc(values):
        bound = 1 - mean.high / RANGE_MM - STEP
        if auc.high < bound:
            line = (
                f"{name} {mean} mm: AUC >= 1 - {mean.high:g}/{RANGE_MM:g} - 0.5/{AUC_STEPS - 1}"
                f" = {bound:.4f}; printed {auc}"
            )
            what = f"the AUC ({name}) is lower than its mean error allows"
            found.append(finding("impossible", "AUC bound", row, what, line))
    return found


def auc_needs_far_tail(row: Reported, values: Mapping[str, Span]) -> list[Finding]:
    """A high AUC beside a high mean needs a few enormous errors; after an alignment none fit."""
    found = []
    for name, mean, auc in _mean_and_auc(values):
        clipped = RANGE_MM * (1 - auc.low + STEP)
        if not name.startswith(("ST", "PA")) or mean.low <= clipped:
            continue
        share = clipped / RANGE_MM
        beyond = RANGE_MM + (mean.low - clipped) / share
        if beyond > FAR_MM:
            what = f"the AUC ({name}) and the mean error fit only with enormous aligned errors"
            lines = (
                f"AUC {auc}: mean of min(d, {RANGE_MM:g}) <= {RANGE_MM:g} x (1 - {auc.low:g}"
                f" + 0.5/{AUC_STEPS - 1}) = {clipped:.2f} mm, so at most {100 * share:.1f} % of "
                f"the errors exceed {RANGE_MM:g} mm",
                f"{name} {mean} mm: these would average at least {RANGE_MM:g} + ({mean.low:g}"
                f" - {clipped:.2f}) / {share:.4f} = {beyond:.0f} mm",
            )
            found.append(finding("odd", "AUC tail", row, what, *lines))
    return found


def alignment_order(row: Reported, values: Mapping[str, Span]) -> list[Finding]:
    """Procrustes minimises squares: mean <= root mean square <= that of any other similarity
    <= sqrt(K) times its mean over K points. Beyond that is impossible, a larger mean is odd.
    """
    found = []
    for (kind, (auc, count)), other in product(POINTS.items(), ("", "st_")):
        if f"pa_{kind}" in values and f"{other}{kind}" in values:
            pa, rest = values[f"pa_{kind}"], values[f"{other}{kind}"]
            limit = sqrt(count) * rest.high
            if pa.low > rest.high:
                what = f"{title('pa_' + kind)} is larger than {title(other + kind)}"
                line = (
                    f"{pa} mm > {rest} mm; squares only bound it by sqrt({count}) x "
                    f"{rest.high:g} = {limit:.1f} mm"
                )
                grade = "impossible" if pa.low > limit else "odd"
                found.append(finding(grade, "alignment order", row, what, line))
        pair = (f"pa_{auc}", f"{other}{auc}")
        found += less(row, values, *pair, "odd", "alignment order")
    for name in ("f5", "f15"):
        found += less(row, values, f"pa_{name}", name, "odd", "alignment order")
    return found


def f_score_order(row: Reported, values: Mapping[str, Span]) -> list[Finding]:
    """What lies within 5 mm lies within 15 mm."""
    found = []
    for prefix in ("", "pa_"):
        pair = (f"{prefix}f15", f"{prefix}f5")
        found += less(row, values, *pair, "impossible", "F-score order")
    return found


def share_range(row: Reported, values: Mapping[str, Span]) -> list[Finding]:
    """AUC and F-scores are shares."""
    return [
        finding("impossible", "range", row, f"{title(name)} is no share", f"{value}")
        for name, value in values.items()
        if ("auc" in name or name.removeprefix("pa_") in ("f5", "f15"))
        and (value.low > 1 or value.high < 0)
    ]


ROW_CHECKS: tuple[Callable[[Reported, Mapping[str, Span]], list[Finding]], ...] = (
    share_range,
    auc_below_bound,
    auc_needs_far_tail,
    alignment_order,
    f_score_order,
)


def totals(
    rows: Mapping[str, Sequence[Reported]], counts: Mapping[tuple[str, str], Count]
) -> list[Finding]:
    """A total over two parts implies the weight of the second; the data alone decide it, so it
    is the same in every row and bounded by the parts' sizes.
    """
    implied = {
        name: (row[0], parts, _weight(parts))
        for name, row in rows.items()
        if len(parts := {c.part: span(c) for c in row if c.value and c.metric == "mpjpe_mm"}) == 3
        and set(parts) == {"single", "interacting", "all"}
    }
    found = []
    for name, (row, parts, weight) in implied.items():
        peers = [other.value for key, (_, _, other) in implied.items() if key != name]
        usual = median(peers) if len(peers) >= 2 else weight.value
        single, both = (counts.get((row.data, part)) for part in ("single", "interacting"))
        ceiling = 1.0
        lines = [
            f"({parts['all'].value:g} - {parts['single'].value:g}) / "
            f"({parts['interacting'].value:g} - {parts['single'].value:g}) = {weight.value:.3f} "
            f"({weight.low:.3f} to {weight.high:.3f}); the other rows' median: {usual:.3f}"
        ]
        if single and both:
            hands = int(single.hands), int(both.hands)
            ceiling = hands[1] / sum(hands)
            lines.append(
                f"at most {hands[1]:,} of {sum(hands):,} hands are interacting: {ceiling:.3f}"
            )
        apart = max(weight.low - usual, usual - weight.high)
        if weight.high < 0 or weight.low > ceiling or apart > PEERS_APART:
            lines.append(
                f"with weight {usual:.3f} the total would be "
                f"{_mix(parts['single'].value, parts['interacting'].value, usual):.2f}"
            )
            what = "the total does not fit its parts: it implies another weight of the second part"
            found.append(finding("contradictory", "weighted total", row, what, *lines))
    return found


def arrows(cells: Sequence[Reported]) -> list[Finding]:
    """A printed arrow that points away from the better direction; one finding a column."""
    wrong: dict[tuple[str, ...], tuple[Reported, str]] = {}
    for cell in cells:
        right, other = ("↑", "↓") if better(cell.metric) == "higher" else ("↓", "↑")
        if other in cell.heading:
            text = f"printed '{cell.heading}', but {better(cell.metric)} is better ({right})"
            wrong.setdefault((cell.paper, cell.table, cell.metric), (cell, text))
    return [
        finding("odd", "arrow", cell, "the arrow of a column points the wrong way", text, row=False)
        for cell, text in wrong.values()
    ]


def _mean_and_auc(values: Mapping[str, Span]) -> Iterable[tuple[str, Span, Span]]:
    for prefix, (kind, (auc, _)) in product(ALIGNMENTS, POINTS.items()):
        if f"{prefix}{kind}" in values and f"{prefix}{auc}" in values:
            name = title(f"{prefix}{kind}")
            yield name, values[f"{prefix}{kind}"], values[f"{prefix}{auc}"]


def _weight(parts: Mapping[str, Span]) -> Span:
    ends = [(parts[name].low, parts[name].high) for name in ("single", "interacting", "all")]
    corners = [(a - s) / (i - s) for s, i, a in product(*ends) if i != s]
    s, i, a = (parts[name].value for name in ("single", "interacting", "all"))
    return Span((a - s) / (i - s) if i != s else 0.0, min(corners), max(corners))


def _mix(single: float, both: float, weight: float) -> float:
    return (1 - weight) * single + weight * both
