"""Gives requests of a micro-batch their chains: their own, the static one, or what a policy decides. No Ray here."""

import logging
from collections.abc import Sequence

import numpy as np

from allocator.chains import ChainSpace
from cluster.answers import Call, Given
from cluster.deciding import Allocation
from cluster.events import Event, happened
from cluster.fallback import Fallback
from cluster.latency import TimeLeft
from models.batch import UserRows

UNDECIDED, TOO_LATE = "undecided", "too_late_for_any_chain"
"""Why requests are answered less well than they could be."""
logger = logging.getLogger(__name__)


class Chooser:
    """Used from one event loop.

    fallback    finds a chain that can be run where the safe one cannot
    allocation  what decides for requests that name no chain; without it there are none
    """

    def __init__(self, space: ChainSpace, fallback: Fallback, allocation: Allocation | None) -> None:
        self._space, self._fallback, self._allocation = space, fallback, allocation
        self._undecided = False

    async def given(self, calls: Sequence[Call], users: UserRows, left: TimeLeft | None) -> list[Given]:
        """The chain of each call: its own, the static one where it is held back, or what one decision gives all the
        rest together."""
        static = self._static_in_time(left, len(calls))
        given = [self._without_deciding(call, in_time) for call, in_time in zip(calls, static, strict=True)]
        rows = np.array([at for at, one in enumerate(given) if one is None], dtype=np.int64)
        if 0 < len(rows) < len(calls):
            users, left = users.take(rows), None if left is None else left.take(rows)
        undecided = [calls[at] for at in rows.tolist()]
        decided = iter(await self._decided(undecided, users, left) if undecided else ())
        return [next(decided) if one is None else one for one in given]

    def _without_deciding(self, call: Call, static_in_time: bool) -> Given | None:
        if call.chain is not None:
            return Given(call, call.chain)
        return Given(call, self._space.static) if call.held_back and static_in_time else None

    def _static_in_time(self, left: TimeLeft | None, calls: int) -> list[bool]:
        if left is None:
            return [True] * calls
        in_time: list[bool] = (left.chains_s[self._space.static.index] <= left.left_s).tolist()
        return in_time

    async def _decided(self, calls: Sequence[Call], users: UserRows, left: TimeLeft | None) -> list[Given]:
        """One decision for all these; the safe chain, degraded, when there is none to be had.

        Whatever goes wrong with the allocator, a recommendation can still be made.
        """
        assert self._allocation is not None
        assert self._allocation.decider is not None
        try:
            decided = await self._allocation.decider.decide(users, left)
        except Exception as error:
            self._log(error)
            self._allocation.tally.degraded(UNDECIDED, len(users))
            chain = self._allocation.safe_now(self._space)
            safe = self._fallback.instead(chain, frozenset(), self._allocation.available)
            return [Given(call, safe or chain, degraded=True) for call in calls]
        self._log(None)
        recorder, snapshot = self._allocation.recorder, self._allocation.follower.snapshot
        if recorder is not None and snapshot is not None:
            recorder.know(snapshot)  # by the answer, another one may be the newest
        late = [False] * len(users) if decided.in_time is None else (~decided.in_time).tolist()
        if any(late):
            self._allocation.tally.degraded(TOO_LATE, sum(late))
        columns = decided.chains.tolist(), decided.rewards.tolist(), late, decided.propensities.tolist()
        chains, version = self._space.chains, decided.policy_version
        return [
            Given(call, chains[chain], reward, version, is_late, propensity)
            for call, chain, reward, is_late, propensity in zip(calls, *columns, strict=True)
        ]

    def _log(self, error: Exception | None) -> None:
        """Say once that nobody decides, and once that somebody does again."""
        if error is not None and not self._undecided:
            happened(logger, Event.UNDECIDED, "requests take the safe chain: %s: %s", type(error).__name__, error)
        elif error is None and self._undecided:
            happened(logger, Event.DECIDED, "requests are decided again")
        self._undecided = error is not None
