"""The Controller's deployment: the one replica that owns the prices and the account of joules."""

import asyncio
import random
import time
from collections.abc import Awaitable
from typing import Any

from ray import serve
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from allocator.chains import ChainSpace
from allocator.energy.model import EnergyModel
from allocator.energy.prior import Prior, from_flops, from_profile
from cluster.accountant import Accountant
from cluster.accounts import Report
from cluster.bookkeeping import Bookkeeper, Payload
from cluster.carbon.base import keep_fresh
from cluster.carbon.select import open_carbon
from cluster.carbon.transport import HttpTransport
from cluster.config import Settings
from cluster.control_settings import control_of, start_of
from cluster.desk import ControllerDesk
from cluster.ledger.prune import Retention
from cluster.ledger.store import Ledger
from cluster.meters import Meters
from cluster.metrics_ray import RayMetrics
from cluster.snapshot import Answer
from models.errors import GreenFlowError, Late, TryAgain
from models.loading import Cascade
from models.spec import CascadeSpec

DAY_S = 86_400.0
CALL_S = 10.0
"""What somebody who asks for the account waits at most."""


class Controller:
    """The one replica that owns the prices and the account of joules."""

    def __init__(self, settings: Settings) -> None:
        cascade = Cascade.open(settings.cascade)
        space = ChainSpace(cascade.spec, len(cascade.items))
        start = start_of(settings.allocator, cascade, space)
        self._desk = ControllerDesk(control_of(settings, cascade.spec, space, start), time.monotonic, time.time)
        self._bookkeeper: Bookkeeper | None = None
        loop = asyncio.get_running_loop()  # Serve constructs replicas on their loop
        self._runs = [loop.create_task(self._desk.run())]
        if settings.energy.enabled:
            self._runs += self._account(settings, cascade.spec, loop)

    async def report(self, report: Report) -> Answer:
        """As `cluster.desk.Desk.report`."""
        return await self._desk.report(report)

    async def power(self) -> Payload:
        """As `cluster.bookkeeping.EnergyDesk.power`."""
        return await self._books.power()

    async def energy(self, windows: int) -> Payload:
        """As `cluster.bookkeeping.EnergyDesk.energy`."""
        return await self._books.energy(windows)

    def check_health(self) -> None:
        """Called by Serve, which replaces a replica of which something has stopped."""
        for run in self._runs:
            if run.done():
                run.result()

    @property
    def _books(self) -> Bookkeeper:
        assert self._bookkeeper is not None, "nobody asks where joules are not accounted for"
        return self._bookkeeper

    def _account(
        self, settings: Settings, spec: CascadeSpec, loop: asyncio.AbstractEventLoop
    ) -> list[asyncio.Task[None]]:
        carbon = open_carbon(settings.carbon, HttpTransport(), time.time, asyncio.sleep, random.Random())
        ledger = Ledger(settings.energy.ledger_file, Retention(settings.energy.retention_days * DAY_S))
        meters = Meters(settings.power, owner=serve.get_replica_context().app_name)
        accountant = Accountant(EnergyModel(), prior_of(settings, spec), ledger, carbon, settings.carbon.building)
        window_s = settings.allocator.window_s
        self._bookkeeper = Bookkeeper(accountant, ledger, self._desk, meters, window_s, time.time, RayMetrics())
        runs = (meters.run(), self._bookkeeper.run(), keep_fresh(carbon, asyncio.sleep))
        return [loop.create_task(run) for run in runs]


def prior_of(settings: Settings, spec: CascadeSpec) -> Prior:
    """What the energy model starts from. Raises FixFile for a profile that is none, or of another cascade."""
    profile = settings.energy.profile
    return from_flops(spec) if profile is None else from_profile(spec, profile)


class RemoteDesk:
    """The Controller's deployment, as `cluster.desk.Desk`, and as `cluster.bookkeeping.EnergyDesk`."""

    def __init__(self, handle: DeploymentHandle[Controller], timeout_s: float) -> None:
        self._handle, self._timeout_s = handle, timeout_s

    async def report(self, report: Report) -> Answer:
        """As `cluster.desk.Desk.report`."""
        answer: Answer = await self._answered(self._handle.report.remote(report))
        return answer

    async def power(self) -> Payload:
        """As `cluster.bookkeeping.EnergyDesk.power`."""
        payload: Payload = await self._answered(self._handle.power.remote())
        return payload

    async def energy(self, windows: int) -> Payload:
        """As `cluster.bookkeeping.EnergyDesk.energy`."""
        payload: Payload = await self._answered(self._handle.energy.remote(windows))
        return payload

    async def _answered(self, response: Awaitable[Any]) -> Any:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await response
        except TimeoutError:
            raise Late(f"the controller did not answer in {self._timeout_s:g} s") from None
        except RayTaskError as error:
            if isinstance(error.cause, GreenFlowError):  # as it was raised there, without the traceback of that process
                raise error.cause from None
            raise
        except (RayActorError, RayServeException) as error:
            raise TryAgain(f"the controller: {type(error).__name__}") from error
