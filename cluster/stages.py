"""Thin Serve deployments around the ground floor: a variant's replica, and the ingress that holds the inline ones."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import cached_property, partial
from typing import TYPE_CHECKING

from fastapi import FastAPI
from ray import serve
from ray.exceptions import RayActorError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from allocator.chains import ChainSpace
from allocator.energy.windows import Name
from cluster.allocation import FIRST_POLICY_S, Allocator, allocation_of, followed, tied
from cluster.autoscale import cold_variants
from cluster.cascade import CascadeExecutor, InlineRunner, StageRunner
from cluster.config import Settings, admin_tokens
from cluster.control_settings import wants_allocator
from cluster.deciding import Allocation
from cluster.ending import replica_ends
from cluster.garbage import spare_what_stays
from cluster.host import gpu_pool, host_pool
from cluster.ingress import Lifespan, make_app
from cluster.live.aside import Aside
from cluster.live.hub import Hub
from cluster.ongoing import LOAD, Ongoing
from cluster.outcomes.shipper import OutcomesDesk, Shipper, every_s, shipped
from cluster.outcomes_replica import RemoteOutcomes
from cluster.placing import deployment_name
from cluster.plain_calls import plain
from cluster.reaching import Reach, Waker
from cluster.remote_desk import CALL_S, RemoteDesk
from cluster.serve_logs import ended, open_logs, ready
from cluster.service import COLD, OK, Probe, Recommender
from cluster.told_to_end import cancelled_there
from cluster.work import CountedVariant, Workbook
from models.batch import IntArray, RaggedBatch, UserRows
from models.errors import Late, Lost, TryAgain
from models.loading import Cascade
from models.spec import Device, StageSpec, VariantSpec
from models.warm_up import warm_up

if TYPE_CHECKING:  # a replica needs nothing of what the controller imports
    from cluster.controller import Controller
    from cluster.outcomes_replica import Outcomes

PROBE_TIMEOUT_S = 2.0
LOOK_S = 5.0
"""What those who look wait for the controller before they are told that it is gone."""
Runners = Mapping[Name, StageRunner]


class StageReplica:
    """One replica of one variant. It reports that it serves once it is warm."""

    def __init__(
        self, settings: Settings, stage: str, variant: str, controller: "DeploymentHandle[Controller] | None" = None
    ) -> None:
        open_logs()
        cascade = Cascade.open(settings.cascade)
        found = find_variant(cascade, stage, variant)
        book = Workbook(gpu_pool() if found[1].device is Device.CUDA else host_pool())
        self._variant = counted(cascade, *found, book)
        self._threads = ThreadPoolExecutor(settings.stage_threads, thread_name_prefix="run")
        self._ongoing = Ongoing(time.monotonic)
        self._reports: asyncio.Task[None] | None = None
        if controller is not None:
            space = ChainSpace(cascade.spec, len(cascade.items))
            follower, _ = tied(settings, cascade.spec, space, controller, book, serves=((stage, variant),))
            self._reports = asyncio.get_running_loop().create_task(follower.run())
        ready(f"variant {stage}/{variant}")
        spare_what_stays()

    async def run(self, users: UserRows, candidates: RaggedBatch | None, keep: IntArray) -> RaggedBatch:
        """As `models.loading.Variant.run`, in a thread: in throughput mode this loop is the replica's own."""
        loop = asyncio.get_running_loop()
        with self._ongoing:
            return await loop.run_in_executor(self._threads, self._variant.run, users, candidates, keep)

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Called by Serve, for `cluster.ongoing.by_load`."""
        return {LOAD: self._ongoing.mean()}

    async def ping(self) -> None:
        """Answers when the replica lives."""

    def check_health(self) -> None:
        """Called by Serve, which replaces a replica that has stopped to report its work."""
        if self._reports is not None and self._reports.done():
            self._reports.result()


class RemoteRunner:
    """A variant in a deployment of its own.

    name  of the stage and the variant
    cold  whether it may have no replica on purpose; a call that finds none has one started then
    """

    def __init__(
        self, handle: DeploymentHandle[StageReplica], name: Name, timeout_s: float, cold: bool = False
    ) -> None:
        self._handle, self._name, self._timeout_s, self._cold = handle, name, timeout_s, cold
        self._reach = Reach(handle)
        self._waker = Waker(self._ping)

    @cached_property
    def _run(self) -> "DeploymentHandle[StageReplica]":
        return plain(self._handle, "run")

    async def run(self, users: UserRows, candidates: RaggedBatch | None, keep: IntArray) -> RaggedBatch:
        """As `cluster.cascade.StageRunner.run`. Raises Lost, at once, when there is no replica."""
        call = self._run
        if not await self._reach.present():
            raise self._lost()
        try:
            with cancelled_there(self._handle.deployment_name):
                async with asyncio.timeout(self._timeout_s) as limit:
                    with self._reach.watched(limit):
                        result: RaggedBatch = await call.remote(users, candidates, keep)
                        return result
        except TimeoutError:
            if self._reach.absent:
                raise self._lost() from None
            raise Late(f"{self._handle.deployment_name} did not answer in {self._timeout_s:g} s") from None
        except (RayActorError, RayServeException) as error:
            raise TryAgain(f"{self._handle.deployment_name}: {type(error).__name__}") from error

    @property
    def absent(self) -> bool:
        """Whether no replica is there to be called."""
        _ = self._run
        return self._reach.absent

    async def probe(self) -> str:
        """How it is: "ok" when a replica answers, "cold" where there is none on purpose; raises when none does in time.

        Nobody calls one that is cold: that would have it started.
        """
        _ = self._run
        if not await self._reach.present():
            if self._cold:
                return COLD
            raise self._lost()
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            await self._ping()
        return OK

    async def _ping(self) -> None:
        await self._handle.ping.remote()

    def _lost(self) -> Lost:
        if self._cold:
            self._waker.wake()
        return Lost(*self._name)


@serve.ingress()
class Ingress:
    """One replica of the front: HTTP, micro-batches, the executor, and the inline variants."""

    def __init__(
        self,
        settings: Settings,
        own: Mapping[str, DeploymentHandle[StageReplica]],
        controller: "DeploymentHandle[Controller] | None" = None,
        allocator: DeploymentHandle[Allocator] | None = None,
        outcomes: "DeploymentHandle[Outcomes] | None" = None,
    ) -> None:
        open_logs()
        cascade = Cascade.open(settings.cascade)
        book = Workbook(host_pool())
        runners, probes = _runners(settings, cascade, own, book)
        own_stages = sum(any(deployment_name(s.name, v.name) in own for v in s.variants) for s in cascade.spec.stages)
        allocation: Allocation | None = None
        if controller is not None:
            space = ChainSpace(cascade.spec, len(cascade.items))
            absent = partial(_absent, runners)
            allocation = allocation_of(settings, cascade, space, controller, allocator, book, absent)
        executor = CascadeExecutor(runners)
        recommender = Recommender(cascade, executor, settings.batch, probes, own_stages, allocation)
        desk = None if controller is None else RemoteDesk(controller, CALL_S)
        energy = desk if settings.energy.enabled else None
        limits = desk if wants_allocator(settings.allocator, cascade.spec) else None
        admins = admin_tokens(settings)
        hears = None if outcomes is None else RemoteOutcomes(outcomes)
        lifespan = _lifespan(allocation, hears, every_s(settings.feedback.horizon_s))
        most = settings.max_body_bytes
        hub = None
        if controller is not None:
            look = RemoteDesk(controller, LOOK_S)
            beside = Aside(allocation, hears, time.monotonic)
            hub = Hub(look, beside, settings.page.most_listeners, time.monotonic, replica_ends)
        self._app = make_app(recommender, most, lifespan, energy, limits, admins, hears, promotion=limits, live=hub)
        ready("the ingress")
        spare_what_stays()

    def __serve_build_asgi_app__(self) -> FastAPI:
        """The application that this replica serves."""
        return self._app


def _lifespan(allocation: Allocation | None, outcomes: OutcomesDesk | None, ships_s: float) -> Lifespan | None:
    """The replica takes requests once it has a policy to decide by, if it is to decide by one; and ships what became of
    them every so many seconds."""
    if allocation is None:
        return None

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with followed(allocation.follower, FIRST_POLICY_S if allocation.decider else 0.0):
            if outcomes is None or allocation.recorder is None:
                yield
            else:
                shipper = Shipper(allocation.follower.tie.replica, allocation.recorder, outcomes, ships_s)
                async with shipped(shipper):
                    yield
        ended("the ingress")

    return lifespan


def _absent(runners: Runners) -> tuple[Name, ...]:
    """The variants that no request can be sent to from here."""
    return tuple(name for name, one in runners.items() if isinstance(one, RemoteRunner) and one.absent)


def _runners(
    settings: Settings, cascade: Cascade, own: Mapping[str, DeploymentHandle[StageReplica]], book: Workbook
) -> tuple[Runners, dict[str, Probe]]:
    """A runner and a probe for each variant; those without a deployment of their own are loaded here."""
    threads = ThreadPoolExecutor(settings.inline_threads, thread_name_prefix="inline")
    goes_cold = cold_variants(settings, ChainSpace(cascade.spec, len(cascade.items)))
    runners: dict[Name, StageRunner] = {}
    probes: dict[str, Probe] = {}
    for stage in cascade.spec.stages:
        for variant in stage.variants:
            name = stage.name, variant.name
            handle = own.get(deployment_name(*name))
            if handle is None:
                runners[name] = InlineRunner(counted(cascade, stage, variant, book), threads)
                probes["/".join(name)] = _here
            else:
                remote = RemoteRunner(handle, name, settings.stage_timeout_s, name in goes_cold)
                runners[name], probes["/".join(name)] = remote, remote.probe
    return runners, probes


def counted(cascade: Cascade, stage: StageSpec, variant: VariantSpec, book: Workbook) -> CountedVariant:
    """A loaded variant, warm, whose runs are written into `book`."""
    loaded = cascade.variant(stage, variant)
    warm_up(cascade, stage, loaded)
    searched = len(cascade.items) if variant.approximate is None else variant.approximate.distances
    return CountedVariant(loaded, (stage.name, variant.name), book, searched, variant.max_rows, variant.threads)


def find_variant(cascade: Cascade, stage: str, variant: str) -> tuple[StageSpec, VariantSpec]:
    """The specs of a stage and of its variant."""
    found = next(s for s in cascade.spec.stages if s.name == stage)
    return found, found.variant(variant)


async def _here() -> str:
    """An inline variant answers whenever its ingress does."""
    return OK
