"""One check as a row: what was looked at, the verdict, what was measured and what was expected."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

OK, WARN, FAIL, NONE = "ok", "warn", "fail", "n/a"


@dataclass(frozen=True)
class Check:
    """verdict: ok, warn (look at it), fail (wrong), or n/a (there is nothing to look at)."""

    name: str
    verdict: str
    measured: str
    expected: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def verdict(value: float, ok: float, fail: float) -> str:
    """ok up to `ok` and fail from beyond `fail`, warn between; the order of the two tells which
    direction is good. NaN fails."""
    if ok <= fail:
        return OK if value <= ok else WARN if value <= fail else FAIL
    return OK if value >= ok else WARN if value >= fail else FAIL


def failed(checks: Iterable[Check]) -> int:
    return sum(check.verdict == FAIL for check in checks)


def counted(checks: Iterable[Check]) -> str:
    """ "12 ok · 1 warn · 2 n/a"."""
    verdicts = [check.verdict for check in checks]
    kinds = (OK, WARN, FAIL, NONE)
    return " · ".join(f"{verdicts.count(kind)} {kind}" for kind in kinds if kind in verdicts)


def percent(share: float) -> str:
    """ "98.5 %"; never 100 % of what is not all, nor 0 % of what is something."""
    if share != share:
        return "–"
    text = f"{100 * share:.1f}"
    if (text == "100.0" and share < 1) or (text == "0.0" and share > 0):
        text = "> 99.9" if share > 0.5 else "< 0.1"
    return f"{text.removesuffix('.0')} %"
