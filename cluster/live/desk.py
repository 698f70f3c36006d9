"""The port between ingress replicas and the controller for those who look. No Ray here."""

from dataclasses import dataclass
from typing import Protocol

from cluster.live.notes import Note
from cluster.live.ring import Point


@dataclass(frozen=True, slots=True)
class Look:
    """What the controller has to tell.

    points     of the history, those that were asked for, in order
    time_s     Unix time of the newest window's end
    window     JSON of an object with what the controller knows of it
    notes      what else it has to say
    next_in_s  when it will know more
    whole      whether the history of before this controller is in it, as far as there is one
    """

    points: tuple[Point, ...]
    time_s: float
    window: bytes
    notes: tuple[Note, ...]
    next_in_s: float
    whole: bool = True


class LiveDesk(Protocol):
    """Who knows how things stand. Raises TryAgain, or Late, when nobody can tell now."""

    async def look(self, since_s: float) -> Look:
        """The newest window, and all points of the history that are later than a Unix time."""
        ...
