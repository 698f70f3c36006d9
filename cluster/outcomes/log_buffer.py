"""What of the log is not on the disk yet, in bounded memory."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

import numpy as np

from cluster.outcomes.log_tables import DECISIONS, OUTCOMES, POLICIES, Head, Heard
from cluster.outcomes.records import Decisions, PolicyRow

POLICY_S = 60.0
"""Between two policies of one reward model that are logged, unless the one in between is in force for so long."""
ORDER = (OUTCOMES, POLICIES, DECISIONS)
"""Outcomes are written first: a decision whose outcome was lost on the way would seem to have earned nothing."""


@dataclass(slots=True, eq=False)
class Sheet:
    """Rows that will be one file; `heard` is what the file will say of when outcomes were listened for."""

    table: str
    head: Head
    items: list[Any] = field(default_factory=list)
    rows: int = 0
    heard: Heard | None = None

    def halves(self) -> list["Sheet"]:
        """The same in two, the first without what it says; for more rows than one."""
        items = self.items if len(self.items) > 1 else _cut(*self.items[0])
        middle = len(items) // 2
        first, last = (Sheet(self.table, self.head, part) for part in (items[:middle], items[middle:]))
        first.rows = len(first.items) if self.table != DECISIONS else sum(len(batch) for batch, _ in first.items)
        last.rows, last.heard = self.rows - first.rows, self.heard
        return [first, last]


class Buffer:
    """Safe to use from several threads.

    most     rows beyond which further ones are dropped and counted
    since_s  from when on outcomes are listened for
    """

    def __init__(self, head: Head, most: int, since_s: float) -> None:
        self._head, self._most, self._since_s = head, most, since_s
        self._lock = threading.Lock()
        self._open = _opened(head)
        self._latest: dict[str, PolicyRow] = {}  # the policy that was told last, by reward model
        self._before: PolicyRow | None = None  # the one that was in force when what is open began
        self._held: PolicyRow | None = None  # one that came too soon after the one before
        self._policy_s: float | None = None  # when the last one came that is logged
        self._sealed: list[Sheet] = []  # complete, and not written yet
        self._lost_outcomes = self._after_loss = False
        self._loss_s = -inf  # until when some may be lost
        self._rows = 0
        self._written, self._dropped = dict.fromkeys(ORDER, 0), dict.fromkeys(ORDER, 0)

    @property
    def head(self) -> Head:
        """Of the rows that come now."""
        return self._head

    @property
    def rows(self) -> int:
        """How many it holds."""
        return self._rows

    @property
    def has_sealed(self) -> bool:
        """Whether some can be written that no others will join."""
        return bool(self._sealed)

    @property
    def counts(self) -> tuple[dict[str, int], dict[str, int]]:
        """Rows by table: written, dropped."""
        with self._lock:
            return dict(self._written), dict(self._dropped)

    def begin(self, reward_model: str) -> None:
        """Rows from now on are of this reward model, and of another one than before in files of their own."""
        with self._lock:
            if reward_model != self._head.reward_model:
                self._seal(replace(self._head, reward_model=reward_model))
                self._policy_s = None

    def add(self, table: str, items: Sequence[Any], rows: int, time_s: float) -> None:
        """Decisions or outcomes of so many rows, the first of them of that time."""
        with self._lock:
            if self._put(table, items, rows):
                self._since_s = max(self._loss_s, min(self._since_s, time_s))

    def add_policy(self, policy: PolicyRow) -> None:
        """One that is in force from its time on. It may be from long before anybody listened."""
        with self._lock:
            latest = self._latest.get(self._head.reward_model)
            if latest is None or policy.time_s >= latest.time_s:
                self._latest[self._head.reward_model] = policy
            if self._policy_s is None or policy.time_s >= self._policy_s + POLICY_S:
                held, self._held, self._policy_s = self._held, None, policy.time_s
                lasted = [held] if held is not None and policy.time_s >= held.time_s + POLICY_S else []
                for one in (*lasted, policy):
                    self._put(POLICIES, [one], 1)
            elif self._held is None or policy.time_s >= self._held.time_s:
                self._held = policy

    def sheets(self, now_s: float) -> list[Sheet]:
        """All of it, in the order in which it is to be written; what is added from now on comes later.

        The last sheet of outcomes, without rows if need be, says from when to when none is missing.
        """
        with self._lock:
            self._seal(self._head)
            if not self._sealed:
                return []
            if self._lost_outcomes:
                self._since_s = self._loss_s = now_s
                self._lost_outcomes, self._after_loss = False, True
            heard = [sheet for sheet in self._sealed if sheet.table == OUTCOMES]
            if not heard:
                heard = [Sheet(OUTCOMES, self._head)]
                self._sealed += heard
            for sheet in heard:
                sheet.heard = Heard(self._since_s, now_s, self._after_loss) if sheet is heard[-1] else None
            self._sealed = [sheet for sheet in self._sealed if sheet.rows or sheet.heard]
            return list(self._sealed)

    def written(self, sheet: Sheet) -> None:
        """It is on the disk."""
        with self._lock:
            self._let_go(sheet)
            self._written[sheet.table] += sheet.rows
            if sheet.heard is not None:
                self._since_s, self._after_loss = sheet.heard.to_s, False

    def halved(self, sheet: Sheet) -> list[Sheet]:
        """Two that come in its place."""
        with self._lock:
            at, halves = self._sealed.index(sheet), sheet.halves()
            self._sealed[at : at + 1] = halves
            return halves

    def dropped(self, sheet: Sheet) -> None:
        """It will never be. Where it holds outcomes, none of the others says any more that it has all of them."""
        with self._lock:
            self._let_go(sheet)
            self._lose(sheet.table, sheet.rows)
            if self._lost_outcomes:
                for other in self._sealed:
                    other.heard = None

    def _seal(self, head: Head) -> None:
        """What is open is complete, and what comes now is of this head.

        Decisions take the policy along that was in force when they began, and the one that was when they ended: its
        first file leaves the folder before theirs, and while prices stay the same no other policy comes.
        """
        policies = self._open[POLICIES]
        if self._open[DECISIONS].rows:
            before, held = ([] if one is None else [one] for one in (self._before, self._held))
            policies.items[:] = [*before, *policies.items, *held]
            self._rows += len(policies.items) - policies.rows
            policies.rows = len(policies.items)
        self._sealed += [sheet for sheet in self._open.values() if sheet.rows]
        self._head, self._open, self._held = head, _opened(head), None
        self._before = self._latest.get(head.reward_model)

    def _put(self, table: str, items: Sequence[Any], rows: int) -> bool:
        """Whether there was room for them."""
        if self._rows >= self._most:
            self._lose(table, rows)
            return False
        sheet = self._open[table]
        sheet.items.extend(items)
        sheet.rows += rows
        self._rows += rows
        return rows > 0

    def _let_go(self, sheet: Sheet) -> None:
        self._sealed.remove(sheet)
        self._rows -= sheet.rows

    def _lose(self, table: str, rows: int) -> None:
        self._dropped[table] += rows
        self._lost_outcomes |= table == OUTCOMES and rows > 0


def _cut(batch: Decisions, prices: str) -> list[tuple[Decisions, str]]:
    """One micro-batch as two."""
    middle = len(batch) // 2
    return [(batch.take(np.arange(*part)), prices) for part in ((0, middle), (middle, len(batch)))]


def _opened(head: Head) -> dict[str, Sheet]:
    return {table: Sheet(table, head) for table in ORDER}
