"""The Allocator's deployment, and what an ingress replica decides and reports by."""

import asyncio
import contextlib
import contextvars
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from ray.exceptions import RayActorError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from allocator.chains import ChainSpace
from allocator.energy.windows import Name
from allocator.reward import RewardModel
from cluster.config import AllocatorSettings, Settings
from cluster.control_settings import reward_model_name, safe_chain, wants_allocator, wants_experiment
from cluster.deciding import Allocation, Decided, Decider, Explained, LocalDecider
from cluster.follower import Follower, Tie
from cluster.garbage import spare_what_stays
from cluster.host import host_pool
from cluster.latency import TimeLeft
from cluster.metrics import Metrics
from cluster.metrics_ray import RayMetrics
from cluster.outcomes.recorder import Recorder
from cluster.plain_calls import plain
from cluster.promotion.adopting import Loaded, Models
from cluster.remote_desk import MODEL_S, RemoteDesk
from cluster.serve_logs import open_logs, ready
from cluster.tally import Tally
from cluster.told_to_end import cancelled_there, told_to_end
from cluster.work import Workbook
from models.batch import UserRows
from models.errors import Late, TryAgain
from models.loading import Cascade
from models.spec import CascadeSpec

if TYPE_CHECKING:  # a replica needs nothing of what the controller imports
    from cluster.controller import Controller

FIRST_POLICY_S = 10.0
FAILURES, PAUSE_S = 3, 0.25
EXPLAIN_S = 2.0
SAMPLE_BYTES, MB = 1 << 20, 1e6
Sleep = Callable[[float], Awaitable[None]]
logger = logging.getLogger(__name__)


class Allocator:
    """A replica that decides for micro-batches of any ingress. Without state but for the snapshot."""

    def __init__(self, settings: Settings, controller: "DeploymentHandle[Controller]") -> None:
        open_logs()
        cascade = Cascade.open(settings.cascade)
        space = ChainSpace(cascade.spec, len(cascade.items))
        models = models_of(cascade, space, controller)
        book, metrics = Workbook(host_pool()), RayMetrics()
        follower, tally = tied(settings, cascade.spec, space, controller, book, models=models, metrics=metrics)
        self._decider = local_decider(settings.allocator, models, follower, tally)
        self._run = asyncio.get_running_loop().create_task(follower.run())
        ready("the allocator")
        spare_what_stays()

    async def decide(self, users: UserRows, time: TimeLeft | None = None) -> Decided:
        """As `cluster.deciding.Decider.decide`."""
        return await self._decider.decide(users, time)

    async def explain(self, users: UserRows) -> Explained:
        """As `cluster.deciding.Decider.explain`."""
        return await self._decider.explain(users)

    def check_health(self) -> None:
        """Called by Serve, which replaces a replica that has stopped to follow the controller."""
        if self._run.done():
            self._run.result()


class RemoteDecider:
    """The Allocator's deployment, as `cluster.deciding.Decider`.

    After FAILURES in a row no micro-batch waits for it any more, until it has answered a call that nobody waits for. A
    single late answer pauses nothing, which would degrade far more requests than those that waited for it.
    """

    def __init__(self, handle: DeploymentHandle[Allocator], timeout_s: float, sleep: Sleep = asyncio.sleep) -> None:
        self._handle, self._timeout_s, self._sleep = handle, timeout_s, sleep
        self._failures, self._context = 0, contextvars.copy_context()
        self._probing: asyncio.Task[None] | None = None

    async def decide(self, users: UserRows, time: TimeLeft | None = None) -> Decided:
        """As `cluster.deciding.Decider.decide`."""
        decided: Decided = await self._answered(self._decide.remote, (users, time), self._timeout_s)
        return decided

    @cached_property
    def _decide(self) -> DeploymentHandle[Allocator]:
        return plain(self._handle, "decide")

    async def explain(self, users: UserRows) -> Explained:
        """As `cluster.deciding.Decider.explain`. Nobody hurries, and there is more to tell."""
        timeout_s = max(self._timeout_s, EXPLAIN_S)
        explained: Explained = await self._answered(self._handle.explain.remote, (users,), timeout_s)
        return explained

    async def _answered(self, call: Callable[..., Awaitable[Any]], about: tuple[Any, ...], timeout_s: float) -> Any:
        if self._probing is not None:
            raise TryAgain("the allocator failed a moment ago")
        try:
            with cancelled_there("the allocator"):
                async with asyncio.timeout(timeout_s):
                    answer = await call(*about)
        except TimeoutError:
            self._failed(about[0])
            raise Late(f"the allocator did not answer in {timeout_s:g} s") from None
        except (RayActorError, RayServeException) as error:
            self._failed(about[0])
            raise TryAgain(f"the allocator: {type(error).__name__}") from error
        self._failures = 0
        return answer

    def _failed(self, users: UserRows) -> None:
        self._failures += 1
        if self._failures >= FAILURES and self._probing is None:
            probe = self._probe(users.take(np.array([0])))  # Serve cancels what was called in a request's context
            self._probing = asyncio.get_running_loop().create_task(probe, context=self._context.copy())

    async def _probe(self, users: UserRows) -> None:
        """Try again and again whether it is back, by what counts for nothing."""
        while True:
            await self._sleep(PAUSE_S)
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._handle.explain.remote(users)
            except (TimeoutError, RayActorError, RayServeException):
                continue
            except asyncio.CancelledError:
                if told_to_end():
                    raise
                continue
            except Exception:
                logger.debug("the allocator answers, if only that it cannot decide", exc_info=True)
            self._failures, self._probing = 0, None
            return


def allocation_of(
    settings: Settings,
    cascade: Cascade,
    space: ChainSpace,
    controller: "DeploymentHandle[Controller]",
    allocator: DeploymentHandle[Allocator] | None,
    book: Workbook,
    absent: Callable[[], tuple[Name, ...]] | None = None,
) -> Allocation:
    """What an ingress replica needs; decisions are worked out here where the allocator has no deployment.

    book    what the variants in this process do
    absent  which variants no request can be sent to from here
    """
    decider: Decider | None = None
    here = allocator is None and wants_allocator(settings.allocator, cascade.spec)
    models = models_of(cascade, space, controller) if here else None
    metrics = RayMetrics()
    follower, tally = tied(
        settings, cascade.spec, space, controller, book, absent=absent, models=models, metrics=metrics
    )
    if models is not None:
        decider = local_decider(settings.allocator, models, follower, tally)
    elif allocator is not None:
        decider = RemoteDecider(allocator, settings.allocator.timeout_ms / 1e3)
    allocation = Allocation(decider, tally, follower, safe_chain(settings.allocator, space))
    if not wants_experiment(settings, cascade.spec):
        return allocation
    recorder = Recorder(space, time.time, settings.log.folder is not None and settings.log.contexts)
    return replace(allocation, experiment=settings.experiment.assignment, recorder=recorder)


@asynccontextmanager
async def followed(follower: Follower, most_s: float) -> AsyncIterator[None]:
    """While it is entered, the follower runs. It is entered with a first policy, unless none comes in `most_s`."""
    run = asyncio.create_task(follower.run())
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(follower.first.wait(), most_s)
    try:
        yield
    finally:
        run.cancel()
        await follower.last()


def models_of(cascade: Cascade, space: ChainSpace, controller: "DeploymentHandle[Controller]") -> Models:
    """What this process predicts with: the cascade's own reward model, until the controller says another one. Raises
    FixFile when it cannot be loaded."""
    own = Loaded(reward_model_name(cascade.spec), RewardModel.open(cascade.folder, cascade.spec, space))
    fetch = RemoteDesk(controller, MODEL_S).reward_model_content
    return Models(own, fetch, lambda content, name: RewardModel.of_bytes(content, name, cascade, space))


def local_decider(settings: AllocatorSettings, models: Models, follower: Follower, tally: Tally) -> LocalDecider:
    """A decider in this process."""
    threads = ThreadPoolExecutor(1, thread_name_prefix="decide")
    return LocalDecider(models, follower, tally, threads, remember_bytes=round(settings.remember_mb * MB))


def tied(
    settings: Settings,
    spec: CascadeSpec,
    space: ChainSpace,
    controller: "DeploymentHandle[Controller]",
    book: Workbook,
    *,
    serves: tuple[Name, ...] = (),
    absent: Callable[[], tuple[Name, ...]] | None = None,
    models: Models | None = None,
    metrics: Metrics | None = None,
) -> tuple[Follower, Tally]:
    """A tally, and the follower that reports it with what the variants of this process did.

    serves  the variants that others reach by this replica
    absent  which it cannot send a request to now; None where it sends none
    models  what it predicts with; None where it does not
    metrics are told whether its policy is stale; None where it decides by none
    """
    allocator = settings.allocator
    model = reward_model_name(spec)
    tie = Tie(uuid.uuid4().hex, len(space), model, allocator.window_s, allocator.stale_s, serves, absent)
    rows = max(1, min(allocator.sample_rows, SAMPLE_BYTES // (4 * len(space))))
    tally = Tally(len(space), rows, np.random.default_rng(), book)
    desk = RemoteDesk(controller, timeout_s=2 * allocator.window_s + 1)
    return Follower(tie, tally, desk, time.monotonic, models=models, metrics=metrics), tally
