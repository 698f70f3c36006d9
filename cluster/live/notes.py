"""What else is to be said of how things stand: sentences, each with what to do about it. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

Note = dict[str, str]
LEVELS = ("error", "warning", "info")


def note(level: str, code: str, text: str) -> Note:
    """As `cluster.live.schemas.NoteOut`."""
    return {"level": level, "code": code, "text": text}


def worst_first(notes: Iterable[Note]) -> list[Note]:
    """By level; those of one level in their order."""
    return sorted(notes, key=lambda one: LEVELS.index(one["level"]))


def drift_note(savings: Mapping[str, Any]) -> list[Note]:
    """What /v1/savings says of rewards that no longer come true."""
    drift = savings["reward"]["drift"]
    if drift is None or drift["alarm"] is None:
        return []
    less = "less" if drift["alarm"]["side"] == "low" else "more"
    ratio = "" if drift["ratio"] is None else f" ({drift['ratio']:.2f} times it)"
    said = (
        f"Requests earn {less} than the reward model predicts{ratio}: `greenflow train-reward --log` learns a new one."
    )
    return [note("warning", "drift", said)]


def stale_note(age_s: float) -> Note:
    """That prices hold."""
    said = f"The controller has not confirmed the policy for {age_s:.0f} s, and its prices hold; it is restarted by "
    return note("error", "stale", said + "itself: if it does not come back, `greenflow status` and Ray's logs say why.")
