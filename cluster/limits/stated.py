"""From what somebody states to a Limit, or to a refusal that names the field; and back."""

from typing import Any

from allocator.limits import Kind, Limit
from models.errors import FixRequest

MOST = 1e24
"""A limit above this means a slip, and could overflow what is worked out from it."""


def limit_of(name: str, kind: str, limit: float, unit: str) -> Limit:
    """The limit. Raises FixRequest with the field (name, kind, limit or unit) and what would be right."""
    if kind not in list(Kind):
        raise FixRequest("kind", f"must be one of {', '.join(Kind)}")
    try:
        made = Limit(name, Kind(kind), float(limit), unit)
    except ValueError as error:
        field, _, problem = str(error).partition(": ")
        raise FixRequest(field, problem) from None
    if made.limit > MOST:
        raise FixRequest("limit", f"must not be above {MOST:g}")
    return made


def document(limit: Limit) -> dict[str, Any]:
    """What is stated of a limit, but for its name: as JSON has it, over HTTP and in the ledger."""
    return {"kind": limit.kind.value, "limit": limit.limit, "unit": limit.unit}


def said(limit: Limit | None) -> str:
    """The limit in words."""
    return "none" if limit is None else f"{limit.limit:g} {limit.unit}"
