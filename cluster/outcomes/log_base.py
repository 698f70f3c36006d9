"""What a log of decisions and outcomes does for whoever serves; and the log that keeps nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from cluster.outcomes.log_tables import TABLES
from cluster.outcomes.records import Decisions, PolicyRow, Reward


@dataclass(frozen=True, slots=True)
class LogCounts:
    """Since the log was opened: rows written and dropped by table, files written and deleted, and bytes written.

    waiting  rows in memory
    error    why nothing can be written, None while it can
    """

    written: Mapping[str, int] = field(default_factory=lambda: MappingProxyType(dict.fromkeys(TABLES, 0)))
    dropped: Mapping[str, int] = field(default_factory=lambda: MappingProxyType(dict.fromkeys(TABLES, 0)))
    files: int = 0
    deleted: int = 0
    size: int = 0
    waiting: int = 0
    error: str | None = None


class Log(Protocol):
    """Where decisions and outcomes are kept. Safe to use from several threads; no disk ever makes it raise."""

    def begin(self, reward_model: str) -> None:
        """What comes from now on is of this reward model."""
        ...

    def add_decisions(self, decisions: Decisions, prices: str = "{}") -> None:
        """Of one policy, with its prices as JSON by constraint."""
        ...

    def add_outcomes(self, rewards: Sequence[Reward]) -> None:
        """Each request's once."""
        ...

    def add_policy(self, policy: PolicyRow) -> None:
        """Any; what is logged is one a minute, the first of each reward model, one that is in force for a minute or at
        the end of a file, and again what later decisions need."""
        ...

    def flush(self, now_s: float, everything: bool = False) -> None:
        """Write what is due, or everything. Blocks."""
        ...

    @property
    def counts(self) -> LogCounts:
        """How it goes."""
        ...


class NoLog:
    """Keeps nothing."""

    counts = LogCounts()

    def begin(self, reward_model: str) -> None:
        """Nothing."""

    def add_decisions(self, decisions: Decisions, prices: str = "{}") -> None:
        """Nothing."""

    def add_outcomes(self, rewards: Sequence[Reward]) -> None:
        """Nothing."""

    def add_policy(self, policy: PolicyRow) -> None:
        """Nothing."""

    def flush(self, now_s: float, everything: bool = False) -> None:
        """Nothing."""
