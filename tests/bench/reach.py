"""How soon a policy is known to every replica of a server under traffic: for overhead.py.

Threads ask all the time, each time on a connection of its own, so that every replica is asked again and again: what
policy an ingress replica holds (/v1/policy), and which version decided a request (/v1/recommend: the allocator's
replicas). Nobody says which replica answered. But when the last answer by an older version has come, all have the new
one: what passes until then from the first answer by the new one is the spread, the time of both requests included.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import nan

import numpy as np
from limits_stand import Stand
from limits_traffic import Traffic
from rich.table import Table

from cluster.config import DEMO
from cluster.traffic.bodies import request_bodies, user_ids

POLICY, RECOMMEND = "/v1/policy", "/v1/recommend"
THREADS, PAUSE_S = 2, 0.01
WINDOW_S, MOST_WINDOWS = 1.0, 1.0
CHANGE_S, RATE = 3.0, 60.0
NO_W = 1e6


@dataclass(frozen=True)
class Seen:
    """One answer. `limit_w` is that of the cap, where it is told."""

    path: str
    sent_s: float
    done_s: float
    version: int
    limit_w: float = nan


@dataclass(frozen=True)
class Reached:
    """In windows.

    spreads  by path: of each version
    limits   of each change: from asking for it until no replica held an older policy any more
    replicas by what they are, how many there were
    """

    spreads: dict[str, list[float]]
    limits: list[float]
    replicas: dict[str, int]
    answers: dict[str, int]
    failed: int

    @property
    def line(self) -> str:
        """What was to be shown."""
        most = max((max(spreads) for spreads in self.spreads.values() if spreads), default=nan)
        if np.isnan(most):
            return f"how soon a policy reaches all replicas is unclear: none changed; failed {self.failed}"
        word = "reached" if most <= MOST_WINDOWS else "missed"
        return f"a policy reaches all replicas within {most:.2f} windows: {word}; failed {self.failed}"

    def plain(self) -> dict[str, object]:
        """For JSON."""
        return dict(self.__dict__)


def changed(stand: Stand, changes: int) -> Reached:
    """Change the cap so many times while everybody is asked."""
    stand.put(NO_W)
    traffic = Traffic(stand.server.url, request_bodies(user_ids(DEMO), seed=0), RATE)
    seen: list[Seen] = []
    puts: list[tuple[float, float]] = []
    try:
        with _asking(stand, seen):
            began_s = time.time()
            time.sleep(2 * CHANGE_S)
            free_w = stand.truth.mean_w(began_s, time.time() - 0.2)
            for number in range(changes):
                cap_w = round(stand.idle_w + (0.7 + 0.2 * (number % 2)) * (free_w - stand.idle_w), 1)
                puts.append((time.perf_counter(), cap_w))
                stand.put(cap_w)
                time.sleep(CHANGE_S)
        failed = traffic.cut().failed
    finally:
        traffic.close()
    since_s = puts[0][0]  # from then on prices change in every window
    spreads = {path: spread([s for s in seen if s.path == path and s.sent_s > since_s]) for path in (POLICY, RECOMMEND)}
    replicas = {part: len(stand.server.group.titled(part)) for part in ("ingress", "allocator")}
    answers = {path: sum(one.path == path for one in seen) for path in (POLICY, RECOMMEND)}
    return Reached(spreads, known_after(seen, puts), replicas, answers, failed)


def spread(seen: Sequence[Seen]) -> list[float]:
    """Windows between the first answer by each version, or a newer one, and the last one by an older one.

    The oldest is left out, for nobody saw it come. None is negative: a version that nobody held together with an older
    one has no spread.
    """
    spreads = []
    for version in sorted({one.version for one in seen})[1:]:
        first_s = min(one.sent_s for one in seen if one.version >= version)
        last_s = max(one.done_s for one in seen if one.version < version)
        spreads.append(max(0.0, last_s - first_s) / WINDOW_S)
    return spreads


def known_after(seen: Sequence[Seen], puts: Sequence[tuple[float, float]]) -> list[float]:
    """Windows from asking for each limit until the last answer by a policy older than the first with that limit."""
    ends = [at_s for at_s, _ in puts[1:]] + [float("inf")]
    after = []
    for (put_s, cap_w), end_s in zip(puts, ends, strict=True):
        between = [one for one in seen if put_s <= one.done_s < end_s]
        with_it = [one.version for one in between if abs(one.limit_w - cap_w) < 1e-6]
        if with_it:
            older = [one.done_s for one in between if one.version < min(with_it)]
            after.append((max(older, default=put_s) - put_s) / WINDOW_S)
    return after


def reach_table(one: Reached) -> Table:
    """A row for what was asked."""
    there = ", ".join(f"{count} of {part}" for part, count in one.replicas.items())
    table = Table("", "answers", "versions", "median windows", "most", caption=f"replicas: {there}")
    for path, spreads in one.spreads.items():
        table.add_row(f"spread, {path}", str(one.answers[path]), str(len(spreads)), *_middle(spreads))
    table.add_row("until all hold a new limit", "", str(len(one.limits)), *_middle(one.limits))
    return table


def _middle(values: Sequence[float]) -> tuple[str, str]:
    return (f"{np.median(values):.2f}", f"{max(values):.2f}") if values else ("-", "-")


@contextmanager
def _asking(stand: Stand, seen: list[Seen]) -> Iterator[None]:
    ended = threading.Event()
    threads = [
        threading.Thread(target=_ask, args=(stand, path, seen, ended), daemon=True)
        for path in (POLICY, RECOMMEND)
        for _ in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def _ask(stand: Stand, path: str, seen: list[Seen], ended: threading.Event) -> None:
    body = request_bodies(user_ids(DEMO), seed=1)[0] if path == RECOMMEND else None
    while not ended.wait(PAUSE_S):
        sent_s = time.perf_counter()
        try:
            told = stand.get(path, body)
        except (OSError, ValueError):
            continue
        version = told["version"] if path == POLICY else told["policy_version"]
        limits = [one["limit"] for one in told.get("constraints", ()) if one["name"] == "cap"]
        if version is not None:
            limit_w = nan if not limits or limits[0] is None else float(limits[0])
            seen.append(Seen(path, sent_s, time.perf_counter(), version, limit_w))
