"""The Outcomes' deployment: the one replica that hears what became of decisions; and how an ingress reaches it."""

import asyncio
import hashlib
import logging
import time
import uuid
from collections.abc import Awaitable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ray.exceptions import RayActorError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from allocator.chains import ChainSpace
from cluster.config import Settings
from cluster.control_settings import reward_model_name
from cluster.events import Event, happened
from cluster.garbage import spare_what_stays
from cluster.metrics_ray import RayMetrics
from cluster.outcomes.account import KEY_BYTES, Experiment, OutcomesAccount
from cluster.outcomes.drift import Drift
from cluster.outcomes.drift_told import Drifting
from cluster.outcomes.hurry_told import Hurrying
from cluster.outcomes.joiner import Joiner
from cluster.outcomes.log import FileLog
from cluster.outcomes.log_base import Log, NoLog
from cluster.outcomes.log_tables import Head
from cluster.outcomes.publishing import OutcomesMetrics
from cluster.outcomes.shipper import Parcel
from cluster.plain_calls import plain
from cluster.serve_logs import ended, open_logs, ready
from cluster.told_to_end import cancelled_there
from models.errors import Late, TryAgain
from models.loading import Cascade
from models.spec import CascadeSpec

if TYPE_CHECKING:  # it needs nothing of what the controller imports
    from cluster.controller import Controller

STEP_S, KEEP_S, CALL_S = 1.0, 5.0, 10.0
TAKE_UP_S = 2.0
Payload = dict[str, Any]
logger = logging.getLogger(__name__)


class Keeping:
    """Has the controller keep the account's sums, so that they outlive this replica; first takes up what it has kept.

    known  whether that is taken up
    """

    def __init__(self, account: OutcomesAccount, controller: "DeploymentHandle[Controller]") -> None:
        self._account, self._controller = account, controller
        self.known = False

    async def keep(self) -> None:
        """Hand the sums on; later, where the controller is not there, or ends meanwhile."""
        try:
            with cancelled_there("the controller"):
                async with asyncio.timeout(CALL_S):
                    await self._exchange()
        except (TimeoutError, TryAgain, RayActorError, RayServeException) as error:
            logger.debug("savings are kept later: %s", error)

    async def _exchange(self) -> None:
        if not self.known:
            self._take_up(await self._controller.kept_savings.remote())
        await self._controller.keep_savings.remote(self._account.dumped())

    def _take_up(self, kept: bytes | None) -> None:
        self.known = True
        if kept is not None and (problem := self._account.resume(kept)):
            happened(logger, Event.EXPERIMENT_OPENED, "savings begin anew: %s", problem)


class Outcomes:
    """Keeps the account of outcomes: who was held back, what was earned, and the log. The controller's ledger keeps
    its sums."""

    def __init__(self, settings: Settings, controller: "DeploymentHandle[Controller]") -> None:
        open_logs()
        cascade = Cascade.open(settings.cascade)
        space = ChainSpace(cascade.spec, len(cascade.items))
        feedback = settings.feedback
        drift = Drift(len(space))
        drift.follow(reward_model_name(cascade.spec), 0)
        self._account = OutcomesAccount(
            _experiment(settings, cascade.spec, space),
            tuple(chain.id for chain in space),
            Joiner(feedback.horizon_s, feedback.most_pending),
            drift,
            _log(settings, cascade.spec, space),
            time.time,
            reward_model_name(cascade.spec),
        )
        self._drifting, self._hurrying = Drifting(), Hurrying()
        self._metrics = OutcomesMetrics(RayMetrics(), self._account)
        self._keeping = Keeping(self._account, controller)
        loop = asyncio.get_running_loop()  # a disk that hangs keeps the log waiting, and nothing else
        self._runs = [loop.create_task(run) for run in (self._work(), self._write())]
        held_back = 100 * self._account.experiment.holdback
        happened(logger, Event.EXPERIMENT_OPENED, "%g%% of the users are held back on the static chain", held_back)
        ready("the account of outcomes")
        spare_what_stays()

    async def take(self, parcel: Parcel) -> None:
        """As `cluster.outcomes.shipper.OutcomesDesk.take`."""
        self._account.take(parcel)

    async def savings(self) -> Payload:
        """As `cluster.outcomes.shipper.OutcomesDesk.savings`."""
        return self._account.payload()

    def check_health(self) -> None:
        """Called by Serve, which replaces a replica that has stopped."""
        for run in self._runs:
            if run.done():
                run.result()

    async def __del__(self) -> None:
        """Called by Serve when the replica ends in order."""
        for run in self._runs:
            run.cancel()
        await self._keeping.keep()
        await asyncio.to_thread(self._account.log.flush, time.time(), everything=True)
        ended("the account of outcomes")

    async def _work(self) -> None:
        """Let time pass in the account, and keep the sums, for ever."""
        kept_s = time.monotonic()
        while True:
            await asyncio.sleep(STEP_S)
            self._account.step()
            self._drifting.look(self._account.drift.view(time.time()))
            self._hurrying.look(self._account.joiner.counts, self._account.hears)
            self._metrics.tell(time.time())
            if time.monotonic() >= kept_s + (KEEP_S if self._keeping.known else TAKE_UP_S):
                await self._keeping.keep()
                kept_s = time.monotonic()

    async def _write(self) -> None:
        """Write the log, for ever."""
        while True:
            await asyncio.sleep(STEP_S)
            await asyncio.to_thread(self._account.log.flush, time.time())


class RemoteOutcomes:
    """As `cluster.outcomes.shipper.OutcomesDesk`."""

    def __init__(self, handle: DeploymentHandle[Outcomes]) -> None:
        self._handle = handle

    async def take(self, parcel: Parcel) -> None:
        """As `OutcomesDesk.take`."""
        await _answered(self._take.remote(parcel))

    @cached_property
    def _take(self) -> DeploymentHandle[Outcomes]:
        return plain(self._handle, "take")

    async def savings(self) -> Payload:
        """As `OutcomesDesk.savings`."""
        payload: Payload = await _answered(self._handle.savings.remote())
        return payload


async def _answered(response: Awaitable[Any]) -> Any:
    try:
        with cancelled_there("who keeps the account of outcomes"):
            async with asyncio.timeout(CALL_S):
                return await response
    except TimeoutError:
        raise Late(f"who keeps the account of outcomes did not answer in {CALL_S:g} s") from None
    except (RayActorError, RayServeException) as error:
        raise TryAgain(f"who keeps the account of outcomes: {type(error).__name__}") from error


def _experiment(settings: Settings, spec: CascadeSpec, space: ChainSpace) -> Experiment:
    assignment = settings.experiment.assignment
    told = repr((spec.name, space.static.id, assignment.share, assignment.salt))
    return Experiment(assignment.share, hashlib.blake2b(told.encode(), digest_size=KEY_BYTES).digest())


def _log(settings: Settings, spec: CascadeSpec, space: ChainSpace) -> Log:
    if settings.log.folder is None:
        return NoLog()
    chains = tuple(chain.id for chain in space)
    head = Head(spec.name, reward_model_name(spec), chains, settings.feedback.horizon_s, spec.codes)
    return FileLog(settings.log, head, uuid.uuid4().hex[:8], time.time())
