"""A window as one line of text, for logs and pipes; and what is new, on lines of its own."""

from collections.abc import Iterator

from cluster.live.schemas import GoneEvent, HistoryEvent, WindowEvent
from cluster.watching import said
from cluster.watching.follow import Look, Lost


class PlainLines:
    """What to print for each thing that is heard. Notes are told when they come and when they go."""

    def __init__(self) -> None:
        self._notes: dict[str, str] = {}
        self._lost = False

    def of(self, look: Look) -> Iterator[str]:
        """Lines without their end."""
        if isinstance(look, Lost):
            if not self._lost:
                yield f"no connection: {look.why}; it is tried again"
            self._lost = True
        elif isinstance(look, GoneEvent):
            yield f"nobody can tell now: {look.detail}"
        elif isinstance(look, HistoryEvent):
            if self._lost:
                yield "connected again"
            self._lost = False
        else:
            yield line(look)
            yield from self._news(look)

    def _news(self, window: WindowEvent) -> Iterator[str]:
        now = {note.code: f"{note.level}: {note.text}" for note in window.notes}
        for code, text in now.items():
            if code not in self._notes:
                yield text
        for code in self._notes.keys() - now.keys():
            yield f"no longer: {code.replace('_', ' ')}"
        self._notes = now


def line(window: WindowEvent) -> str:
    """The figures of a window."""
    return "  ".join(part for part in _parts(window) if part)


def _parts(window: WindowEvent) -> Iterator[str]:
    yield said.at(window.time_s)
    if window.power is not None:
        yield f"{said.watts(window.power.power_w)} {window.power.quality or ''}".rstrip()
    yield f"{said.number(window.requests.per_s)} req/s"
    yield said.latency(window)
    if bad := said.degraded(window):
        yield f"degraded {bad}"
    for limit in window.constraints:
        yield f"{limit.name} {said.number(limit.spend)}/{said.number(limit.limit)} {limit.unit}"
        if limit.price:
            yield f"price {said.number(limit.price)}"
    if window.energy is not None:
        yield f"today {said.energy(window.energy.today)} {said.grams(window.energy.today)}"
    for name, text in said.savings(window):
        if window.savings is not None and window.savings.energy_j.relative is not None:
            yield f"saved {name} {text}"
