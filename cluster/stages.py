"""Thin Serve deployments around the ground floor: a variant's replica, and the ingress that holds the inline ones."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from functools import cached_property

from fastapi import FastAPI
from ray import serve
from ray.exceptions import RayActorError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from allocator.chains import ChainSpace
from cluster.allocation import FIRST_POLICY_S, Allocator, allocation_of, followed, tied
from cluster.cascade import CascadeExecutor, InlineRunner, StageRunner
from cluster.config import Settings
from cluster.controller import CALL_S, Controller, RemoteDesk
from cluster.deciding import Allocation
from cluster.host import gpu_pool, host_pool
from cluster.ingress import Lifespan, make_app
from cluster.service import Probe, Recommender
from cluster.work import CountedVariant, Workbook
from models.batch import IntArray, RaggedBatch, UserRows
from models.errors import Late, TryAgain
from models.loading import Cascade
from models.spec import Device, StageSpec, VariantSpec

PROBE_TIMEOUT_S = 2.0


class StageReplica:
    """One replica of one variant."""

    def __init__(
        self, settings: Settings, stage: str, variant: str, controller: DeploymentHandle[Controller] | None = None
    ) -> None:
        cascade = Cascade.open(settings.cascade)
        found = find_variant(cascade, stage, variant)
        book = Workbook(gpu_pool() if found[1].device is Device.CUDA else host_pool())
        self._variant = counted(cascade, *found, book)
        self._threads = ThreadPoolExecutor(settings.stage_threads, thread_name_prefix="run")
        self._reports: asyncio.Task[None] | None = None
        if controller is not None:
            space = ChainSpace(cascade.spec, len(cascade.items))
            follower, _ = tied(settings, cascade.spec, space, controller, book)
            self._reports = asyncio.get_running_loop().create_task(follower.run())

    async def run(self, users: UserRows, candidates: RaggedBatch | None, keep: IntArray) -> RaggedBatch:
        """As `models.loading.Variant.run`, in a thread: in throughput mode this loop is the replica's own."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._variant.run, users, candidates, keep)

    async def ping(self) -> None:
        """Answers when the replica lives."""

    def check_health(self) -> None:
        """Called by Serve, which replaces a replica that has stopped to report its work."""
        if self._reports is not None and self._reports.done():
            self._reports.result()


class RemoteRunner:
    """A variant in a deployment of its own."""

    def __init__(self, handle: DeploymentHandle[StageReplica], timeout_s: float) -> None:
        self._handle, self._timeout_s = handle, timeout_s

    @cached_property
    def _run(self) -> "DeploymentHandle[StageReplica]":
        # Plain arrays and dataclasses need nothing of cloudpickle, which takes several times as long. Not made before
        # the first call: a handle with options of its own binds to the event loop that it is made on.
        return self._handle.options(method_name="run", request_serialization="pickle", response_serialization="pickle")

    async def run(self, users: UserRows, candidates: RaggedBatch | None, keep: IntArray) -> RaggedBatch:
        """As `cluster.cascade.StageRunner.run`."""
        try:
            async with asyncio.timeout(self._timeout_s):
                result: RaggedBatch = await self._run.remote(users, candidates, keep)
                return result
        except TimeoutError:
            raise Late(f"{self._handle.deployment_name} did not answer in {self._timeout_s:g} s") from None
        except (RayActorError, RayServeException) as error:
            raise TryAgain(f"{self._handle.deployment_name}: {type(error).__name__}") from error

    async def probe(self) -> None:
        """Returns when a replica answers; raises when none does in time."""
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            await self._handle.ping.remote()


@serve.ingress()
class Ingress:
    """One replica of the front: HTTP, micro-batches, the executor, and the inline variants."""

    def __init__(
        self,
        settings: Settings,
        own: Mapping[str, DeploymentHandle[StageReplica]],
        controller: DeploymentHandle[Controller] | None = None,
        allocator: DeploymentHandle[Allocator] | None = None,
    ) -> None:
        cascade = Cascade.open(settings.cascade)
        book = Workbook(host_pool())
        runners, probes = _runners(settings, cascade, own, book)
        own_stages = sum(any(deployment_name(s.name, v.name) in own for v in s.variants) for s in cascade.spec.stages)
        allocation: Allocation | None = None
        if controller is not None:
            space = ChainSpace(cascade.spec, len(cascade.items))
            allocation = allocation_of(settings, cascade, space, controller, allocator, book)
        executor = CascadeExecutor(runners)
        recommender = Recommender(cascade, executor, settings.batch, probes, own_stages, allocation)
        energy = RemoteDesk(controller, CALL_S) if controller is not None and settings.energy.enabled else None
        self._app = make_app(recommender, settings.max_body_bytes, _lifespan(allocation), energy)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """The application that this replica serves."""
        return self._app


def _lifespan(allocation: Allocation | None) -> Lifespan | None:
    """The replica takes requests once it has a policy to decide by, if it is to decide by one."""
    if allocation is None:
        return None

    def lifespan(_: FastAPI) -> AbstractAsyncContextManager[None]:
        return followed(allocation.follower, FIRST_POLICY_S if allocation.decider else 0.0)

    return lifespan


def _runners(
    settings: Settings, cascade: Cascade, own: Mapping[str, DeploymentHandle[StageReplica]], book: Workbook
) -> tuple[dict[tuple[str, str], StageRunner], dict[str, Probe]]:
    """A runner and a probe for each variant; those without a deployment of their own are loaded here."""
    threads = ThreadPoolExecutor(settings.inline_threads, thread_name_prefix="inline")
    runners: dict[tuple[str, str], StageRunner] = {}
    probes: dict[str, Probe] = {}
    for stage in cascade.spec.stages:
        for variant in stage.variants:
            handle = own.get(deployment_name(stage.name, variant.name))
            if handle is None:
                runners[stage.name, variant.name] = InlineRunner(counted(cascade, stage, variant, book), threads)
                probes[f"{stage.name}/{variant.name}"] = _here
            else:
                remote = RemoteRunner(handle, settings.stage_timeout_s)
                runners[stage.name, variant.name] = remote
                probes[f"{stage.name}/{variant.name}"] = remote.probe
    return runners, probes


def counted(cascade: Cascade, stage: StageSpec, variant: VariantSpec, book: Workbook) -> CountedVariant:
    """A loaded variant whose runs are written into `book`."""
    loaded = cascade.variant(stage, variant)
    return CountedVariant(loaded, (stage.name, variant.name), book, len(cascade.items), variant.max_rows)


def deployment_name(stage: str, variant: str) -> str:
    """Name of the deployment of a variant with a placement of its own."""
    return f"{stage}-{variant}"


def find_variant(cascade: Cascade, stage: str, variant: str) -> tuple[StageSpec, VariantSpec]:
    """The specs of a stage and of its variant."""
    found = next(s for s in cascade.spec.stages if s.name == stage)
    return found, found.variant(variant)


async def _here() -> None:
    """An inline variant answers whenever its ingress does."""
