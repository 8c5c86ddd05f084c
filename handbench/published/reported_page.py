"""docs/reported_numbers.md: what the checks of published figures found, arithmetic shown."""

from collections import Counter
from collections.abc import Sequence

from handbench.published.findings import GRADES, Finding
from handbench.published.reported import SOURCES, Claim, Reported

INTRODUCTION = """# Do the published numbers add up?

Written by `handbench reported --check` from `results/reported/*.csv`; not edited by hand.

Every check allows for rounding: a printed 8.7 may stand for anything from 8.65 to 8.75, and a
finding is made only when no number in that span would do. What is found is about the printed
numbers; which of two numbers is the wrong one, and why, the arithmetic cannot tell.

| grade | means |
|---|---|
| impossible | no set of errors has these numbers |
| contradictory | two printed statements exclude each other |
| odd | possible, yet against the usual order or hard to believe |

What is checked:

- **AUC bound**: with errors d in mm, the AUC over 0-50 mm is the mean of max(0, 1 - d/50), which is
  at least 1 - mean(d)/50; the trapezoid rule over 100 thresholds takes away at most 0.5/99 more.
  Papers that print no range are taken to use 0-50 mm, as the official evaluators do.
- **AUC tail**: c := 50 (1 - AUC + 0.5/99) >= the mean of min(d, 50), so at most c/50 of the errors
  exceed 50 mm, and these average at least 50 + (mean - c)/(c/50). Odd when that is above 75 mm
  after an alignment.
- **alignment order**: Procrustes minimises squares over all similarities, so mean (Procrustes) <=
  root mean square (Procrustes) <= root mean square (other alignment) <= sqrt(K) x mean (other
  alignment) over K points. Beyond that impossible; a merely larger mean is odd, as is a lower AUC
  or F-score after Procrustes.
- **F-score order**, **range**: F@5 <= F@15; AUC and F-scores lie in 0..1.
- **weighted total**: a total over single and interacting hands implies the weight of the second
  part. The data alone decide it: it is the same in every row, and no more than the share of
  interacting hands.
- **same cell twice**: one method, data set and metric in two tables of one paper.
- **cited differently**: the same in different papers; odd where only a third-party summary differs.
- **text against cells**: sentences of the text (`text_claims.csv`) that say best, better, a number
  or a per cent. Per cent means the reduction of the error, with half a point of slack, one where
  the text says "about"; odd where only old/new - 1 fits.
- **arrow**: a printed arrow that points away from the better direction.
"""


def page(cells: Sequence[Reported], claims: Sequence[Claim], found: Sequence[Finding]) -> str:
    """The whole page in Markdown; the same input gives the same text."""
    parts = [INTRODUCTION, _counted(cells, claims, found)]
    for grade in GRADES:
        chosen = [each for each in found if each.grade == grade]
        parts.append(f"## {grade.capitalize()} ({len(chosen)})\n")
        for each in chosen:
            lines = "\n".join(f"    {line}" for line in each.arithmetic)
            parts.append(f"**{each.where}** ({each.check}): {_plain(each.what)}.\n\n{lines}\n")
    return "\n".join(parts)


def _counted(cells: Sequence[Reported], claims: Sequence[Claim], found: Sequence[Finding]) -> str:
    tally = Counter((each.paper, each.grade) for each in found)
    lines = [
        "## Counted\n",
        "| source | cells | sentences | " + " | ".join(GRADES) + " |",
        "|---|---:|---:|" + "---:|" * len(GRADES),
    ]
    for name in SOURCES:
        numbers = [
            sum(cell.paper == name for cell in cells),
            sum(claim.paper == name for claim in claims),
            *(tally[name, grade] for grade in GRADES),
        ]
        lines.append(f"| {name} | " + " | ".join(map(str, numbers)) + " |")
    lines.append("\nA finding between sources is counted where the number is printed first.\n")
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Without signs that Markdown would take for its own."""
    for sign in "*_[]":
        text = text.replace(sign, "\\" + sign)
    return text
