"""Thin Serve deployments around the allocator: Controller and Allocator, and what the ingress calls them by."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import numpy as np
from ray.exceptions import RayActorError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from allocator.chains import ActionChain, ChainSpace
from allocator.constraints import flops_per_second
from allocator.known_users import known_rewards
from allocator.price.select import strategy
from allocator.price.start import Start
from allocator.reward import RewardModel
from cluster.accounts import Report
from cluster.config import AllocatorSettings, Settings
from cluster.control import LEAST_ROWS, Control
from cluster.deciding import Allocation, Decided, Decider, LocalDecider
from cluster.desk import Clock, ControllerDesk
from cluster.follower import Follower, Tie
from cluster.host import host_pool
from cluster.snapshot import Answer
from cluster.tally import Tally
from cluster.work import Workbook
from models.batch import UserRows
from models.errors import FixSetup, Late, TryAgain
from models.loading import Cascade
from models.spec import CascadeSpec

FIRST_POLICY_S = 10.0
FAILURES, PAUSE_S = 3, 0.25
SAMPLE_BYTES, START_BYTES = 1 << 20, 64 << 20


class Controller:
    """The one replica that owns the prices."""

    def __init__(self, settings: Settings) -> None:
        cascade = Cascade.open(settings.cascade)
        space = ChainSpace(cascade.spec, len(cascade.items))
        start = start_of(settings.allocator, cascade, space)
        self._desk = ControllerDesk(control_of(settings, cascade.spec, space, start), time.monotonic, time.time)
        self._run = asyncio.get_running_loop().create_task(self._desk.run())  # Serve constructs replicas on their loop

    async def report(self, report: Report) -> Answer:
        """As `cluster.desk.Desk.report`."""
        return await self._desk.report(report)

    def check_health(self) -> None:
        """Called by Serve, which replaces a replica that has stopped to tick."""
        if self._run.done():
            self._run.result()


class RemoteDesk:
    """The Controller's deployment, as `cluster.desk.Desk`."""

    def __init__(self, handle: DeploymentHandle[Controller], timeout_s: float) -> None:
        self._handle, self._timeout_s = handle, timeout_s

    async def report(self, report: Report) -> Answer:
        """As `cluster.desk.Desk.report`."""
        try:
            async with asyncio.timeout(self._timeout_s):
                answer: Answer = await self._handle.report.remote(report)
                return answer
        except TimeoutError:
            raise Late(f"the controller did not answer in {self._timeout_s:g} s") from None
        except (RayActorError, RayServeException) as error:
            raise TryAgain(f"the controller: {type(error).__name__}") from error


class Allocator:
    """A replica that decides for micro-batches of any ingress. Without state but for the snapshot."""

    def __init__(self, settings: Settings, controller: DeploymentHandle[Controller]) -> None:
        cascade = Cascade.open(settings.cascade)
        space = ChainSpace(cascade.spec, len(cascade.items))
        follower, tally = tied(settings, cascade.spec, space, controller, Workbook(host_pool()))
        self._decider = local_decider(cascade, space, follower, tally)
        self._run = asyncio.get_running_loop().create_task(follower.run())

    async def decide(self, users: UserRows) -> Decided:
        """As `cluster.deciding.Decider.decide`."""
        return await self._decider.decide(users)

    def check_health(self) -> None:
        """Called by Serve, which replaces a replica that has stopped to follow the controller."""
        if self._run.done():
            self._run.result()


class RemoteDecider:
    """The Allocator's deployment, as `cluster.deciding.Decider`.

    After FAILURES in a row no call is made for PAUSE_S: micro-batches must not each wait for a timeout. A single late
    answer pauses nothing, which would degrade far more requests than those that waited for it.
    """

    def __init__(self, handle: DeploymentHandle[Allocator], timeout_s: float, clock: Clock) -> None:
        self._handle, self._timeout_s, self._clock = handle, timeout_s, clock
        self._failures, self._again_s = 0, -np.inf

    async def decide(self, users: UserRows) -> Decided:
        """As `cluster.deciding.Decider.decide`."""
        if self._clock() < self._again_s:
            raise TryAgain("the allocator failed a moment ago")
        try:
            async with asyncio.timeout(self._timeout_s):
                decided: Decided = await self._handle.decide.remote(users)
        except TimeoutError:
            self._failed()
            raise Late(f"the allocator did not answer in {self._timeout_s:g} s") from None
        except (RayActorError, RayServeException) as error:
            self._failed()
            raise TryAgain(f"the allocator: {type(error).__name__}") from error
        self._failures = 0
        return decided

    def _failed(self) -> None:
        self._failures += 1
        if self._failures >= FAILURES:
            self._again_s = self._clock() + PAUSE_S


def wants_allocator(settings: AllocatorSettings, spec: CascadeSpec) -> bool:
    """Whether a policy chooses chains. Raises FixSetup for settings that contradict themselves or the cascade."""
    remedy = "train one with `greenflow train-reward`, or leave the allocator out"
    if settings.enabled and spec.reward is None:
        raise FixSetup(f"setting allocator.enabled: the cascade {spec.name!r} has no reward model; {remedy}")
    if settings.flops_per_s is not None and spec.reward is None:
        raise FixSetup(f"setting allocator.flops_per_s: the cascade {spec.name!r} has no reward model; {remedy}")
    if settings.flops_per_s is not None and settings.enabled is False:
        raise FixSetup("setting allocator.flops_per_s: a limit needs the allocator; leave allocator.enabled out")
    return spec.reward is not None and settings.enabled is not False


def safe_chain(settings: AllocatorSettings, space: ChainSpace) -> ActionChain:
    """What a request takes when nobody can decide. Raises FixSetup when the setting names no chain of the space."""
    if settings.safe_chain is None:
        return space.static
    chain = space.get(settings.safe_chain)
    if chain is None:
        raise FixSetup(f"setting allocator.safe_chain: {space.problem(settings.safe_chain)}")
    return chain


def start_of(settings: AllocatorSettings, cascade: Cascade, space: ChainSpace) -> Start | None:
    """What prices begin from; None without a limit, for then there is no price. Raises FixFile as the reward model."""
    if settings.flops_per_s is None:
        return None
    model = RewardModel.open(cascade.folder, cascade.spec, space)
    users = max(1, min(LEAST_ROWS, START_BYTES // (4 * len(space))))
    return Start(
        known_rewards(cascade, model, users), np.inf if settings.expected_rps is None else settings.expected_rps
    )


def control_of(settings: Settings, spec: CascadeSpec, space: ChainSpace, start: Start | None = None) -> Control:
    """The control tick of these settings."""
    limit = settings.allocator.flops_per_s
    return Control(
        space,
        (flops_per_second(np.inf if limit is None else limit),),
        strategy(),
        reward_model_name(spec),
        safe_chain(settings.allocator, space).index,
        settings.allocator.window_s,
        start=start,
    )


def reward_model_name(spec: CascadeSpec) -> str:
    """What policies and replicas call the cascade's reward model: its file and the start of its hash; else ""."""
    return "" if spec.reward is None else f"{spec.reward.file}@{spec.reward.sha256[:12]}"


def allocation_of(
    settings: Settings,
    cascade: Cascade,
    space: ChainSpace,
    controller: DeploymentHandle[Controller],
    allocator: DeploymentHandle[Allocator] | None,
    book: Workbook,
) -> Allocation:
    """What an ingress replica needs; decisions are worked out here where the allocator has no deployment.

    book  what the variants in this process do
    """
    follower, tally = tied(settings, cascade.spec, space, controller, book)
    decider: Decider | None = None
    if not wants_allocator(settings.allocator, cascade.spec):
        pass
    elif allocator is None:
        decider = local_decider(cascade, space, follower, tally)
    else:
        decider = RemoteDecider(allocator, settings.allocator.timeout_ms / 1e3, time.monotonic)
    return Allocation(decider, tally, follower, safe_chain(settings.allocator, space))


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


def local_decider(cascade: Cascade, space: ChainSpace, follower: Follower, tally: Tally) -> LocalDecider:
    """A decider in this process. Raises FixFile when the reward model cannot be loaded."""
    model = RewardModel.open(cascade.folder, cascade.spec, space)
    return LocalDecider(model, follower, tally, ThreadPoolExecutor(1, thread_name_prefix="decide"))


def tied(
    settings: Settings,
    spec: CascadeSpec,
    space: ChainSpace,
    controller: DeploymentHandle[Controller],
    book: Workbook,
) -> tuple[Follower, Tally]:
    """A tally, and the follower that reports it with what the variants of this process did."""
    allocator = settings.allocator
    tie = Tie(uuid.uuid4().hex, len(space), reward_model_name(spec), allocator.window_s, allocator.stale_s)
    rows = max(1, min(allocator.sample_rows, SAMPLE_BYTES // (4 * len(space))))
    tally = Tally(len(space), rows, np.random.default_rng(), book)
    desk = RemoteDesk(controller, timeout_s=2 * allocator.window_s + 1)
    return Follower(tie, tally, desk, time.monotonic), tally
