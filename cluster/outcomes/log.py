"""The log of decisions and outcomes: kept in memory for a while, then written, and never in the way of serving.

What adds to it returns at once; `flush` does all that can block, and is called in a thread of its own. A disk that is
full, or may not be written, loses what comes beyond the bound of memory: it is counted, said once, and tried again.
"""

import logging
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from cluster.events import Event, happened
from cluster.outcomes.log_base import LogCounts
from cluster.outcomes.log_buffer import Buffer, Sheet
from cluster.outcomes.log_files import LogFolder
from cluster.outcomes.log_settings import LogSettings
from cluster.outcomes.log_tables import (
    DECISIONS,
    OUTCOMES,
    Head,
    decisions_table,
    outcomes_table,
    policies_table,
)
from cluster.outcomes.records import Decisions, PolicyRow, Reward

BOUND = 2
"""Times `rotate_rows` that memory holds: what is being written, and what comes meanwhile."""
LEAST_SHARE = 1 / 16
"""Of `max_bytes`: what is smaller and finds no room is not cut any more."""
logger = logging.getLogger(__name__)


class FileLog:
    """A log in files of LogSettings.folder.

    writer  letters and digits that no other writer of that folder has, nor had
    now_s   Unix time from which on outcomes are listened for
    """

    def __init__(self, settings: LogSettings, head: Head, writer: str, now_s: float) -> None:
        if settings.folder is None:
            raise ValueError("a log needs a folder")
        self._settings, self._folder = settings, LogFolder(settings.folder, settings.max_bytes, writer)
        self._buffer = Buffer(head, BOUND * settings.rotate_rows, now_s)
        self._flushing = threading.Lock()
        self._files = self._deleted = self._size = 0
        self._next_s = now_s + settings.rotate_s
        self._error: str | None = None
        self._told_room = False

    @property
    def counts(self) -> LogCounts:
        """How it goes."""
        written, dropped = (MappingProxyType(count) for count in self._buffer.counts)
        return LogCounts(written, dropped, self._files, self._deleted, self._size, self._buffer.rows, self._error)

    def begin(self, reward_model: str) -> None:
        """What comes from now on is of this reward model, and of another one than before in files of its own."""
        self._buffer.begin(reward_model)

    def add_decisions(self, decisions: Decisions, prices: str = "{}") -> None:
        """Of one policy, with its prices as JSON by constraint."""
        if not self._settings.contexts:
            decisions = replace(decisions, contexts=decisions.contexts[:, :0])
        self._buffer.add(DECISIONS, [(decisions, prices)], len(decisions), decisions.time_s)

    def add_outcomes(self, rewards: Sequence[Reward]) -> None:
        """Each request's once."""
        if rewards:
            self._buffer.add(OUTCOMES, rewards, len(rewards), rewards[0].time_s)

    def add_policy(self, policy: PolicyRow) -> None:
        """Any; what is logged is as `Log.add_policy` says. Raises ValueError for a wrong J."""
        if policy.penalty.shape != (len(self._buffer.head.chains),):
            raise ValueError(f"a policy of {policy.penalty.shape} chains in a log of {len(self._buffer.head.chains)}")
        self._buffer.add_policy(policy)

    def flush(self, now_s: float, everything: bool = False) -> None:
        """Write what is due, or everything. Blocks; a second call waits for the first."""
        with self._flushing:
            full = self._buffer.rows >= self._settings.rotate_rows or self._buffer.has_sealed
            if everything or now_s >= self._next_s or (full and self._error is None):
                self._write(self._buffer.sheets(now_s), now_s)

    def _write(self, sheets: Sequence[Sheet], now_s: float) -> None:
        """Write them in their order, as far as the disk permits."""
        error, waiting = None, deque(sheets)
        while waiting and error is None:
            sheet = waiting.popleft()
            try:
                waiting.extendleft(reversed(self._write_one(sheet, now_s)))
            except OSError as refused:
                error = f"{refused.strerror or refused} ({refused.filename or self._folder.folder})"
            except (pa.ArrowException, ValueError):  # no disk's fault, so that it would fail for ever
                text = "%d rows of the log's %s cannot be written and are dropped"
                happened(logger, Event.LOG_ERROR, text, sheet.rows, sheet.table, trace=True)
                self._buffer.dropped(sheet)
        self._next_s = now_s + (self._settings.rotate_s if error is None else self._settings.retry_s)
        self._tell(error)

    def _write_one(self, sheet: Sheet, now_s: float) -> Sequence[Sheet]:
        """What is to be written in its place: its halves, where it is too large for the log."""
        done = self._folder.write(sheet.table, _table_of(sheet), self._files, now_s)
        if not done.fits and sheet.rows > 1 and done.size > LEAST_SHARE * self._settings.max_bytes:
            return self._buffer.halved(sheet)
        if not done.fits:
            self._leave_out(sheet)
            return ()
        self._buffer.written(sheet)
        self._files += 1
        self._deleted += done.deleted
        self._size += done.size
        return ()

    def _leave_out(self, sheet: Sheet) -> None:
        """There is no room for it, whatever leaves. That is said once, for it will be so again."""
        self._buffer.dropped(sheet)
        if not self._told_room:
            text = "log.max_bytes has no room for %s that come at one time: dropped; raise it, or lower log.rotate_rows"
            happened(logger, Event.LOG_ERROR, text, sheet.table)
        self._told_room = True

    def _tell(self, error: str | None) -> None:
        """Say once that nothing can be written, and once that it can be again."""
        if error is not None and self._error is None:
            text = "decisions are not logged: %s; tried again every %g s"
            happened(logger, Event.LOG_ERROR, text, error, self._settings.retry_s)
        elif error is None and self._error is not None:
            lost = sum(self.counts.dropped.values())
            happened(logger, Event.LOG_BACK, "decisions are logged again; %d rows were dropped so far", lost)
        self._error = error


def _table_of(sheet: Sheet) -> Any:
    if sheet.table == OUTCOMES:
        return outcomes_table(sheet.head, sheet.items, sheet.heard)
    return (decisions_table if sheet.table == DECISIONS else policies_table)(sheet.head, sheet.items)
