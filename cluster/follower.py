"""A replica's tie to the controller: reports once a window, holds the newest snapshot, knows how old it is."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from allocator.energy.windows import Name
from allocator.policy import Policy
from cluster.accounts import Report, Totals
from cluster.desk import Clock, Desk, Sleep
from cluster.events import Event, happened
from cluster.metrics import Metrics, NullMetrics
from cluster.promotion.adopting import Models
from cluster.snapshot import Snapshot
from cluster.tally import Tally
from models.errors import TryAgain

LAST_S = 1.0
"""What a replica that ends spends on telling what it still did."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tie:
    """How a replica is tied to the controller.

    replica       unique for each life of a replica
    chains        size of the replica's chain space
    reward_model  what the reward model of its cascade's file is called
    window_s      how often it reports when nobody says otherwise
    stale_s       a snapshot that has not been confirmed for so long is stale
    serves        the variants that others reach by it
    absent        which it cannot send a request to now; None where it sends none
    """

    replica: str
    chains: int
    reward_model: str
    window_s: float
    stale_s: float
    serves: tuple[Name, ...] = ()
    absent: Callable[[], tuple[Name, ...]] | None = None


class Follower:
    """Holds the newest snapshot while its loop runs. The request path only reads.

    Where the replica predicts, a snapshot for another reward model is held from the moment on at which that model
    predicts, too; until then the model and the snapshot of before decide.

    models   what the replica predicts with; None where it does not
    metrics  are told once a window whether the policy is stale
    """

    def __init__(
        self,
        tie: Tie,
        tally: Tally,
        desk: Desk,
        clock: Clock,
        sleep: Sleep = asyncio.sleep,
        models: Models | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.tie, self._models, self._metrics = tie, models, metrics or NullMetrics()
        self._tally, self._desk, self._clock, self._sleep = tally, desk, clock, sleep
        if models is not None:
            tally.predicted_by(models.now.name)
        self._newest: Snapshot | None = None
        self._newest_s = 0.0
        self._adopting: asyncio.Task[None] | None = None
        self._refused = ""
        self._acked = Totals.none(clock(), tie.chains)
        self._confirmed_s = clock()
        self._lost = self._was_stale = False
        self.snapshot: Snapshot | None = None
        self.first = asyncio.Event()

    @property
    def policy(self) -> Policy:
        """The policy to decide by. Raises TryAgain before the first snapshot has come."""
        return self.held.policy

    @property
    def held(self) -> Snapshot:
        """The snapshot that is held. Raises TryAgain before the first has come."""
        if self.snapshot is None:
            raise TryAgain("no policy yet: the controller has not been heard")
        return self.snapshot

    @property
    def age_s(self) -> float:
        """How long ago the controller confirmed the snapshot."""
        return self._clock() - self._confirmed_s

    @property
    def stale(self) -> bool:
        """Whether that is too long ago. A stale policy is still decided by: its prices hold."""
        return self.age_s > self.tie.stale_s

    async def run(self) -> None:
        """Report for ever."""
        try:
            while True:
                next_in_s = await self.once()
                self._metrics.set("greenflow_policy_stale", float(self.stale), {})
                await self._sleep(next_in_s)
        finally:
            if self._adopting is not None:
                self._adopting.cancel()

    async def once(self) -> float:
        """Report, and take what comes back; in how many seconds the next report is due. Never raises what a
        controller's failure can cause."""
        try:
            report = self._report()
            answer = await self._desk.report(report)
            self._acked = report.totals
            if answer.snapshot is not None:
                self._take(answer.snapshot)
        except Exception as error:  # whatever is wrong over there, decisions go on here, and so does this loop
            self._log(error)
            return self.tie.window_s
        self._log(None)
        return answer.next_in_s

    async def last(self) -> None:
        """What was counted since the last report, for a replica that ends."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_S):
                await self.once()

    def _report(self) -> Report:
        held = self.snapshot
        prices = np.zeros(0) if held is None else held.policy.prices
        version = 0 if held is None else held.policy.version
        tie, totals = self.tie, self._tally.totals(self._clock())
        sample = self._tally.take_sample()
        absent = None if tie.absent is None else tie.absent()
        model = self._tally.reward_model
        return Report(tie.replica, totals, self._acked, sample, version, prices, tie.serves, absent, model)

    def _take(self, snapshot: Snapshot) -> None:
        policy, held = snapshot.policy, self.snapshot
        if len(policy.costs) != self.tie.chains:
            return  # of another cascade, while one application replaces another
        if held is not None and policy.version < held.policy.version:
            return
        self._newest, self._newest_s = snapshot, self._clock()
        if self._models is None or policy.reward_model == self._models.now.name:
            self._hold()
        elif self._adopting is None or self._adopting.done():
            self._adopting = asyncio.create_task(self._adopt(self._models, policy.reward_model))

    def _hold(self) -> None:
        self.snapshot, self._confirmed_s = self._newest, self._newest_s
        self.first.set()

    async def _adopt(self, models: Models, name: str) -> None:
        """Let another model predict, with the newest snapshot for it. One that cannot is tried again with a later."""
        try:
            loaded = await models.loaded(name)
        except Exception as error:  # whatever is wrong with it, the one of before can still decide
            if name != self._refused:
                text = "reward model %s cannot predict here yet: %s: %s"
                happened(logger, Event.MODEL_UNUSABLE, text, name, type(error).__name__, error)
            self._refused = name
            return
        self._refused = ""
        if self._newest is None or self._newest.policy.reward_model != name:
            return  # another one is wanted by now
        models.now = loaded
        self._tally.predicted_by(name)
        self._hold()

    def _log(self, error: Exception | None) -> None:
        """Say once that the controller is lost, and once that it is back."""
        if error is not None and not self._lost:
            text = "the controller does not answer, prices hold: %s: %s"
            happened(logger, Event.CONTROLLER_LOST, text, type(error).__name__, error)
        elif error is None and self._lost:
            happened(logger, Event.CONTROLLER_BACK, "the controller answers again")
        self._lost = error is not None
        self._log_age()

    def _log_age(self) -> None:
        """Say once that prices hold for longer than they should, and once that they follow again."""
        stale = self.snapshot is not None and self.stale
        if stale and not self._was_stale:
            happened(logger, Event.POLICY_STALE, "the controller has not confirmed the policy for %.0f s", self.age_s)
        elif not stale and self._was_stale:
            happened(logger, Event.POLICY_FRESH, "the policy is confirmed again")
        self._was_stale = stale
