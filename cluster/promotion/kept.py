"""What the ledger keeps of reward models: format 1 of the state `reward_model`, JSON; and their files' contents."""

import json
from dataclasses import asdict, dataclass

from cluster.ledger.marks import State
from models.errors import FixFile

KEY, FORMAT = "reward_model", 1
SLOTS = ("reward_model a", "reward_model b")
"""Keys of two contents: of the model that predicts and of the one before. They are large, so no others are kept."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A model that predicts, or did until another was promoted.

    slot     key of its content, None for the cascade's own
    author   who promoted it, "" where nobody did
    since_s  Unix time from which on it has predicted, None from the start
    """

    sha256: str
    slot: str | None
    author: str = ""
    since_s: float | None = None


@dataclass(frozen=True, slots=True)
class Promotions:
    """The model that predicts, and the one before; `own` is the SHA-256 of the cascade's when that was decided."""

    own: str
    current: Entry
    previous: Entry | None = None


def to_state(kept: Promotions, author: str, at_s: float) -> State:
    """What to remember."""
    return State(KEY, json.dumps(asdict(kept)).encode(), FORMAT, at_s, author)


def from_state(state: State | None) -> Promotions | None:
    """What was remembered, None for nothing. Raises FixFile for what this version cannot read."""
    if state is None:
        return None
    remedy = "run the GreenFlow that wrote it, or move the ledger aside"
    if state.version != FORMAT:
        raise FixFile("the ledger", f"state {KEY}", f"is of format {state.version}, this one reads {FORMAT}: {remedy}")
    try:
        document = json.loads(state.value)
        previous = document["previous"]
        before = None if previous is None else Entry(**previous)
        return Promotions(str(document["own"]), Entry(**document["current"]), before)
    except (ValueError, KeyError, TypeError) as error:
        raise FixFile("the ledger", f"state {KEY}", f"cannot be read ({error!r}): {remedy}") from None
