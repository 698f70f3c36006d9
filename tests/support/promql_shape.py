"""Whether a query sums over Ray's workers: every series of ours stands within an aggregation."""

import re

OURS = re.compile(r"\bray_greenflow_\w+")
_AGGREGATES = {"sum", "max", "min", "avg", "count", "absent"}
_BY = re.compile(r"\b(by|without)\s*\(([^()]*)\)")


def unsummed(expr: str) -> list[str]:
    """The series of ours that stand outside of every aggregation, or in one that keeps the worker."""
    assert "WorkerId" not in expr
    assert not re.search(r"\bwithout\b", expr), "would keep the worker"
    plain = _BY.sub(lambda found: " " * len(found[0]), expr)
    return [found[0] for found in OURS.finditer(plain) if not _AGGREGATES & set(_around(plain[: found.start()]))]


def _around(before: str) -> list[str]:
    """The functions whose parentheses are still open at the end of the text."""
    opened: list[str] = []
    for found in re.finditer(r"(\w*)\s*\(|\)", before):
        if found[0] == ")":
            opened.pop()
        else:
            opened.append(found[1])
    return opened
