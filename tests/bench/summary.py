"""From single measurements to medians, ratios and tables."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True)
class Cell:
    """One server measured once with one number of clients.

    server_cpu_ms   CPU time of all of the server's processes per request
    client_cpu_ms   CPU time of the load client per request
    other_cores     cores that the rest of the machine kept busy meanwhile: high means the figures are disturbed
    """

    server: str
    repeat: int
    clients: int
    sent: int
    failed: int
    throughput_per_s: float
    p50_ms: float
    p99_ms: float
    server_cpu_ms: float
    client_cpu_ms: float
    other_cores: float


@dataclass(frozen=True)
class Start:
    """One start of a server: seconds until healthy, cores busy without traffic, and peak memory under load."""

    server: str
    repeat: int
    start_s: float
    idle_cores: float
    peak_pss_mb: float
    processes: int


@dataclass(frozen=True)
class Spread:
    """Median of the repeats, and their extremes."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The spread of at least one value."""
        return cls(statistics.median(values), min(values), max(values))

    def text(self, digits: int) -> str:
        """`median (least..most)`; the median alone where there is one value."""
        if self.least == self.most:
            return f"{self.median:,.{digits}f}"
        return f"{self.median:,.{digits}f} ({self.least:,.{digits}f}..{self.most:,.{digits}f})"


@dataclass(frozen=True)
class Goal:
    """A figure to reach, compared within each repeat, so that both servers saw the same state of the machine."""

    name: str
    left: str
    right: str
    clients: int
    at_least: float | None = None
    at_most_ms: float | None = None

    def values(self, cells: Sequence[Cell]) -> list[float]:
        """One value per repeat that measured both: a ratio of throughputs, or a difference of medians in ms."""
        pairs = self._pairs(cells)
        if self.at_most_ms is not None:
            return [left.p50_ms - right.p50_ms for left, right in pairs]
        return [left.throughput_per_s / max(right.throughput_per_s, 1e-9) for left, right in pairs]

    def disturbed(self, cells: Sequence[Cell]) -> bool:
        """Whether other work took so much of the machine, while it was measured, that it says nothing."""
        return disturbed([cell for pair in self._pairs(cells) for cell in pair])

    def _pairs(self, cells: Sequence[Cell]) -> list[tuple[Cell, Cell]]:
        at = {(c.server, c.repeat): c for c in cells if c.clients == self.clients}
        return [(at[s, r], at[self.right, r]) for s, r in at if s == self.left and (self.right, r) in at]

    def reached(self, value: float) -> bool:
        """Whether the value meets the goal."""
        if self.at_most_ms is not None:
            return value <= self.at_most_ms
        return value >= (self.at_least or 0.0)

    @property
    def bound(self) -> str:
        """The goal in words."""
        return f"≤ {self.at_most_ms:g} ms" if self.at_most_ms is not None else f"≥ {self.at_least:g}"


# What the kernel does for the traffic itself, in no process's name, stays below this.
NOISE_CORES = 0.2
GOALS = (
    Goal("throughput inline / peer", "inline", "peer", 64, at_least=1.0),
    Goal("throughput own / peer", "own", "peer", 64, at_least=0.8),
    Goal("throughput own / per-request", "own", "per-request", 64, at_least=3.0),
    Goal("p50 inline - p50 peer", "inline", "peer", 1, at_most_ms=5.0),
    Goal("throughput metered / allocating", "metered", "allocating", 32, at_least=0.98),
)

COLUMNS: tuple[tuple[str, Callable[[Cell], float], int], ...] = (
    ("req/s", lambda c: c.throughput_per_s, 0),
    ("p50 ms", lambda c: c.p50_ms, 1),
    ("p99 ms", lambda c: c.p99_ms, 1),
    ("server CPU ms/req", lambda c: c.server_cpu_ms, 2),
    ("client CPU ms/req", lambda c: c.client_cpu_ms, 2),
    ("other cores", lambda c: c.other_cores, 2),
    ("failed", lambda c: c.failed, 0),
)


def disturbed(cells: Sequence[Cell]) -> bool:
    """Whether other work took so much of the machine in any of these cells that they say nothing."""
    return max(cell.other_cores for cell in cells) > NOISE_CORES


def cells_table(cells: Sequence[Cell]) -> Table:
    """One line per number of clients and server: medians, and the extremes of the repeats."""
    table = Table("clients", "server", *(name for name, _, _ in COLUMNS), title="Closed loop, static chain")
    for clients in sorted({c.clients for c in cells}):
        for server in dict.fromkeys(c.server for c in cells):
            group = [c for c in cells if (c.clients, c.server) == (clients, server)]
            if group:
                values = [Spread.of([get(c) for c in group]).text(digits) for _, get, digits in COLUMNS]
                table.add_row(str(clients), server, *values)
        table.add_section()
    return table


def starts_table(starts: Sequence[Start]) -> Table:
    """One line per server: what it takes to have it."""
    names = ("server", "start s", "idle cores", "peak memory MB (PSS)", "processes")
    table = Table(*names, title="Per server, all of its processes")
    for server in dict.fromkeys(s.server for s in starts):
        group = [s for s in starts if s.server == server]
        table.add_row(
            server,
            Spread.of([s.start_s for s in group]).text(1),
            Spread.of([s.idle_cores for s in group]).text(2),
            Spread.of([s.peak_pss_mb for s in group]).text(0),
            Spread.of([s.processes for s in group]).text(0),
        )
    return table


def goals_table(cells: Sequence[Cell]) -> Table:
    """One line per goal that was measured."""
    table = Table("figure", "clients", "measured", "to reach", "", title="Ratios, repeat by repeat")
    for goal in GOALS:
        if values := goal.values(cells):
            spread = Spread.of(values)
            verdict = "reached" if goal.reached(spread.median) else "missed"
            if goal.disturbed(cells):
                verdict = "disturbed"
            table.add_row(goal.name, str(goal.clients), spread.text(2), goal.bound, verdict)
    return table


def goals_json(cells: Sequence[Cell]) -> list[dict[str, object]]:
    """The goals for a file."""
    measured = ((goal, goal.values(cells)) for goal in GOALS)
    return [
        {"figure": g.name, "clients": g.clients, "to_reach": g.bound, "values": v, "median": statistics.median(v)}
        for g, v in measured
        if v
    ]
