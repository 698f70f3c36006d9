"""What the ledger keeps of limits that were set live: format 1 of the state `limits`, JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from allocator.limits import Kind, Limit
from cluster.ledger.marks import State
from cluster.limits.stated import document
from models.errors import FixFile

KEY, FORMAT = "limits", 1


@dataclass(frozen=True, slots=True)
class Override:
    """What was set live in place of what settings say of a name.

    seed   what they said then, None for nothing: the override holds as long as they say that
    value  what was set, None for no limit
    """

    name: str
    seed: Limit | None
    value: Limit | None
    author: str
    at_s: float


Overrides = Mapping[str, Override]


def to_state(overrides: Overrides, at_s: float, author: str) -> State:
    """What to remember of all that are in force."""
    listed = [
        {
            "name": one.name,
            "seed": one.seed and document(one.seed),
            "value": one.value and document(one.value),
            "author": one.author,
            "at_s": one.at_s,
        }
        for one in overrides.values()
    ]
    return State(KEY, json.dumps({"overrides": listed}).encode(), FORMAT, at_s, author)


def from_state(state: State | None) -> Overrides:
    """The overrides that were remembered, none for None. Raises FixFile for what this version cannot read."""
    if state is None:
        return {}
    remedy = "run the GreenFlow that wrote it, or move the ledger aside"
    if state.version != FORMAT:
        raise FixFile("the ledger", f"state {KEY}", f"is of format {state.version}, this one reads {FORMAT}: {remedy}")
    try:
        listed = json.loads(state.value)["overrides"]
        found = [
            Override(
                str(one["name"]),
                _limit(one["name"], one["seed"]),
                _limit(one["name"], one["value"]),
                str(one["author"]),
                float(one["at_s"]),
            )
            for one in listed
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise FixFile("the ledger", f"state {KEY}", f"cannot be read ({error!r}): {remedy}") from None
    return {one.name: one for one in found}


def _limit(name: str, stated: Mapping[str, Any] | None) -> Limit | None:
    if stated is None:
        return None
    return Limit(name, Kind(stated["kind"]), float(stated["limit"]), stated["unit"])
