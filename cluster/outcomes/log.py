"""The log of decisions and outcomes: kept in memory for a while, then written, and never in the way of serving.

What adds to it returns at once; `flush` does all that can block, and is called in a thread of its own. A disk that is
full, or may not be written, loses what comes beyond the bound of memory: it is counted, said once, and tried again.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from cluster.outcomes.log_base import LogCounts
from cluster.outcomes.log_files import LogFolder
from cluster.outcomes.log_settings import LogSettings
from cluster.outcomes.log_tables import (
    DECISIONS,
    OUTCOMES,
    POLICIES,
    TABLES,
    Head,
    decisions_table,
    outcomes_table,
    policies_table,
)
from cluster.outcomes.records import Decisions, PolicyRow, Reward

POLICY_S = 60.0
"""Between two policies of one reward model that are logged."""
BOUND = 2
"""Times `rotate_rows` that memory holds: what is being written, and what comes meanwhile."""
_TABLE_OF: Mapping[str, Callable[[Head, Sequence[Any]], Any]] = {
    DECISIONS: decisions_table,
    OUTCOMES: outcomes_table,
    POLICIES: policies_table,
}
logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Sheet:
    """Rows that will be one file."""

    table: str
    head: Head
    items: list[Any] = field(default_factory=list)
    rows: int = 0


class FileLog:
    """A log in files of LogSettings.folder, each of its rows once.

    writer  letters and digits that no other writer of that folder has
    now_s   from when on time until the first file is counted
    """

    def __init__(self, settings: LogSettings, head: Head, writer: str, now_s: float) -> None:
        if settings.folder is None:
            raise ValueError("a log needs a folder")
        self._settings, self._head = settings, head
        self._folder = LogFolder(settings.folder, settings.max_bytes, writer)
        self._lock, self._flushing = threading.Lock(), threading.Lock()
        self._open = _opened(head)
        self._sealed: list[_Sheet] = []  # complete, and not written yet
        self._rows = 0
        self._written, self._dropped = dict.fromkeys(TABLES, 0), dict.fromkeys(TABLES, 0)
        self._files = self._deleted = self._size = 0
        self._next_s = now_s + settings.rotate_s
        self._policy_s: float | None = None
        self._error: str | None = None

    @property
    def counts(self) -> LogCounts:
        """How it goes."""
        with self._lock:
            written, dropped = MappingProxyType(dict(self._written)), MappingProxyType(dict(self._dropped))
            return LogCounts(written, dropped, self._files, self._deleted, self._size, self._rows, self._error)

    def begin(self, head: Head) -> None:
        """What comes from now on is of another reward model, and stands in files of its own."""
        with self._lock:
            if head != self._head:
                self._seal()
                self._head, self._open, self._policy_s = head, _opened(head), None

    def add_decisions(self, decisions: Decisions, prices: str = "{}") -> None:
        """Of one policy, with its prices as JSON by constraint."""
        if not self._settings.contexts:
            decisions = replace(decisions, contexts=decisions.contexts[:, :0])
        self._add(DECISIONS, [(decisions, prices)], len(decisions))

    def add_outcomes(self, rewards: Sequence[Reward]) -> None:
        """Each request's once."""
        self._add(OUTCOMES, rewards, len(rewards))

    def add_policy(self, policy: PolicyRow) -> None:
        """Any; what is logged is one a minute, and the first of each reward model. Raises ValueError for a wrong J."""
        if policy.penalty.shape != (len(self._head.chains),):
            raise ValueError(f"a policy of {policy.penalty.shape} chains in a log of {len(self._head.chains)}")
        if self._policy_s is None or policy.time_s >= self._policy_s + POLICY_S:
            self._policy_s = policy.time_s
            self._add(POLICIES, [policy], 1)

    def _add(self, table: str, items: Sequence[Any], rows: int) -> None:
        with self._lock:
            if self._rows >= BOUND * self._settings.rotate_rows:
                self._dropped[table] += rows
            elif rows:
                sheet = self._open[table]
                sheet.items.extend(items)
                sheet.rows += rows
                self._rows += rows

    def _seal(self) -> None:
        self._sealed += [sheet for sheet in self._open.values() if sheet.rows]
        self._open = _opened(self._head)

    def flush(self, now_s: float, everything: bool = False) -> None:
        """Write what is due, or everything. Blocks; a second call waits for the first."""
        with self._flushing:
            with self._lock:
                full = self._error is None and self._rows >= self._settings.rotate_rows
                if not (everything or full or now_s >= self._next_s or (self._sealed and self._error is None)):
                    return
                self._seal()
                sheets = list(self._sealed)
            self._write(sheets, now_s)

    def _write(self, sheets: Sequence[_Sheet], now_s: float) -> None:
        """Write them in their order, decisions before their outcomes, as far as the disk permits."""
        error = None
        for sheet in sheets:
            try:
                self._write_one(sheet, now_s)
            except OSError as refused:
                error = f"{refused.strerror or refused} ({refused.filename or self._folder.folder})"
                break
            except (pa.ArrowException, ValueError):  # no disk's fault, so that it would fail for ever
                logger.exception("%d rows of the log's %s cannot be written and are dropped", sheet.rows, sheet.table)
                self._let_go(sheet, self._dropped)
        self._next_s = now_s + (self._settings.rotate_s if error is None else self._settings.retry_s)
        self._tell(error)

    def _write_one(self, sheet: _Sheet, now_s: float) -> None:
        rows = _TABLE_OF[sheet.table](sheet.head, sheet.items)
        done = self._folder.write(sheet.table, rows, self._files, now_s)
        self._let_go(sheet, self._written)
        with self._lock:
            self._files, self._deleted, self._size = (
                self._files + 1,
                self._deleted + done.deleted,
                self._size + done.size,
            )

    def _let_go(self, sheet: _Sheet, count: dict[str, int]) -> None:
        with self._lock:
            self._sealed.remove(sheet)
            self._rows -= sheet.rows
            count[sheet.table] += sheet.rows

    def _tell(self, error: str | None) -> None:
        """Say once that nothing can be written, and once that it can be again."""
        lost = sum(self._dropped.values())
        if error is not None and self._error is None:
            logger.error("decisions are not logged: %s; tried again every %g s", error, self._settings.retry_s)
        elif error is None and self._error is not None:
            logger.warning("decisions are logged again; %d rows were dropped so far", lost)
        self._error = error


def _opened(head: Head) -> dict[str, _Sheet]:
    return {table: _Sheet(table, head) for table in TABLES}
