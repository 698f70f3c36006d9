"""The Controller's deployment: the one replica that owns limits, prices and the account of joules."""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayError

from allocator.chains import ChainSpace
from allocator.energy.model import EnergyModel
from allocator.energy.prior import Prior, from_flops, from_profile
from allocator.limits import Limit
from cluster.accountant import Accountant
from cluster.accounts import Books, Report, Window
from cluster.availability import Roster, without
from cluster.bookkeeping import Bookkeeper, Payload, Told
from cluster.capacity import capacity_limit
from cluster.carbon.base import CarbonProvider, grams_per_j, keep_fresh
from cluster.carbon.select import open_remembered
from cluster.carbon.transport import HttpTransport
from cluster.config import Settings
from cluster.control_settings import control_of, start_of, wants_allocator, wants_experiment
from cluster.counting import keep_counted, ledgered
from cluster.desk import ControllerDesk
from cluster.events import Event, Seldom, happened
from cluster.garbage import spare_what_stays
from cluster.kept import SAVINGS, SAVINGS_S, Handed, Kept, parts_of, served_part
from cluster.ledger.prune import Retention
from cluster.ledger.store import Ledger
from cluster.limit_desk import LocalLimitDesk, in_force
from cluster.limits.book import LimitBook
from cluster.live.actions import Actions
from cluster.live.book import LiveBook, Sources
from cluster.live.desk import Look
from cluster.live.past import points_from
from cluster.live.ring import SPAN_S, STEP_S
from cluster.live.spent import spent_from
from cluster.means import Means
from cluster.meters import Meters
from cluster.metrics import Metrics
from cluster.metrics_ray import RayMetrics
from cluster.noticing import Noticing
from cluster.pacer import QuotaPacer
from cluster.placing import own_variants, scaled_variants, usual_ingress_replicas
from cluster.promotion.model import Model
from cluster.promotion.opening import open_model_desk
from cluster.promotion.port import LocalPromotionDesk
from cluster.publishing import ControlMetrics
from cluster.purse import Purse
from cluster.serve_logs import open_logs, ready
from cluster.served import Served, software
from cluster.snapshot import Answer, Standing
from cluster.to_date import keep_told, to_date
from cluster.warming import Warmer, pinging
from models.checking import sha256_of
from models.errors import GreenFlowError
from models.loading import Cascade
from models.spec import FILE_NAME, CascadeSpec

DAY_S = 86_400.0
TAKE_UP_S = 1.0
FILLED_S = 2.0
"""What those who look wait for the history of before this controller, which is read from the ledger."""
CAPACITY_S = 5.0
"""Between two looks at how many processors the cluster has."""
logger = logging.getLogger(__name__)


class Controller:
    """The one replica that owns limits, prices and the account of joules."""

    def __init__(self, settings: Settings) -> None:
        open_logs()
        self._page_failed = Seldom(time.monotonic)
        cascade = Cascade.open(settings.cascade)
        space = ChainSpace(cascade.spec, len(cascade.items))
        start = start_of(settings.allocator, cascade, space)
        self._desk = ControllerDesk(control_of(settings, cascade.spec, space, start), time.monotonic, time.time)
        self._ledger = Ledger(settings.energy.ledger_file, Retention(settings.energy.retention_days * DAY_S))
        allocates = wants_allocator(settings.allocator, cascade.spec)
        self._book = LimitBook(settings.stated_limits, self._ledger, replace(settings.holdable, allocates=allocates))
        self._limits = LocalLimitDesk(self._book, self._limited, lambda: self._desk.standings, time.time)
        carbon = open_remembered(settings.carbon, HttpTransport(), time.time, asyncio.sleep, random.Random())
        building, window_s, meters = settings.carbon.building, settings.allocator.window_s, settings.energy.enabled
        self._pacer = QuotaPacer(carbon, building.ratio, lambda: self._desk.expected)
        prior, grams = prior_of(settings, cascade.spec), partial(grams_per_j, carbon, building)
        self._capacity = _capacity(settings, cascade.spec) if allocates else None
        self._purse = Purse(space, window_s, self._limited, self._pacer, prior, grams, meters)
        self._models = None if start is None else open_model_desk(cascade, space, start.rewards, self._ledger)
        self._desk.predicts = self._predicts
        self._savings = Handed(SAVINGS, SAVINGS_S)
        served = served_part(_served(settings, cascade))
        parts = (*parts_of(self._desk, self._purse, self._pacer, carbon, time.time), self._savings.part, served)
        self._kept = Kept(self._ledger, parts, time.time)
        self._bookkeeper: Bookkeeper | None = None
        metrics = RayMetrics()
        chains = tuple(chain.id for chain in space)
        self._told, self._tell = (Window.none(len(space)), Told()), ControlMetrics(metrics, chains).tell
        self._desk.measure, self._desk.tell = self._measured, self._ticked
        self._live = LiveBook(Actions(space), self._sources(settings), time.monotonic, time.time, window_s)
        self._space, own = space, own_variants(settings, cascade.spec)
        self._roster, self._noticing = Roster(own, window_s), Noticing(time.monotonic)
        self._desk.listen = self._roster.hear
        scaled = scaled_variants(settings, cascade.spec)
        self._warmer = Warmer(space, scaled, pinging(serve.get_replica_context().app_name))
        self._known = asyncio.Event()  # what an earlier controller left
        self._filled = asyncio.Event()
        runs = [self._desk.run(), self._take_up(), self._fill(settings)]
        if self._capacity is not None:
            runs.append(self._follow_capacity(settings, cascade.spec))
        if meters:
            runs += self._account(settings, cascade.spec, carbon, metrics)
        else:
            runs.append(self._kept.alone(asyncio.sleep))
        loop = asyncio.get_running_loop()  # Serve constructs replicas on their loop
        self._runs = [loop.create_task(run) for run in runs]
        ready("the controller")
        spare_what_stays()

    async def report(self, report: Report) -> Answer:
        """As `cluster.desk.Desk.report`."""
        return await self._desk.report(report)

    async def power(self) -> Payload:
        """As `cluster.bookkeeping.EnergyDesk.power`."""
        return await self._books.power()

    async def energy(self, windows: int) -> Payload:
        """As `cluster.bookkeeping.EnergyDesk.energy`."""
        return await self._books.energy(windows)

    async def look(self, since_s: float) -> Look:
        """As `cluster.live.desk.LiveDesk.look`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FILLED_S):
                await self._filled.wait()
                await self._desk.settled()
        return await self._live.look(since_s)

    async def constraints(self) -> list[Payload]:
        """As `cluster.limits.desk.LimitDesk.constraints`."""
        return await self._limits.constraints()

    async def put_limit(self, limit: Limit, author: str) -> Payload:
        """As `cluster.limits.desk.LimitDesk.put_limit`."""
        return await self._limits.put_limit(limit, author)

    async def clear_limit(self, name: str, author: str) -> None:
        """As `cluster.limits.desk.LimitDesk.clear_limit`."""
        await self._limits.clear_limit(name, author)

    async def limit_changes(self, most: int) -> list[Payload]:
        """As `cluster.limits.desk.LimitDesk.limit_changes`."""
        return await self._limits.limit_changes(most)

    async def reward_models(self) -> Payload:
        """As `cluster.promotion.port.PromotionDesk.reward_models`."""
        return await self._promotion.reward_models()

    async def put_reward_model(self, content: bytes, author: str) -> Payload:
        """As `cluster.promotion.port.PromotionDesk.put_reward_model`."""
        return await self._promotion.put_reward_model(content, author)

    async def reward_model_back(self, author: str) -> Payload:
        """As `cluster.promotion.port.PromotionDesk.reward_model_back`."""
        return await self._promotion.reward_model_back(author)

    async def reward_model_content(self, name: str) -> bytes:
        """As `cluster.promotion.adopting.Fetch`."""
        assert self._models is not None, "nobody asks where nobody predicts"
        return self._models.content(name)

    async def keep_savings(self, kept: bytes) -> None:
        """What the ledger is to keep of the standing experiment, instead of what it kept before."""
        self._savings.value = kept

    async def kept_savings(self) -> bytes | None:
        """What was kept of it, None for nothing. Raises TryAgain until the ledger can be read."""
        return self._savings.asked()

    def check_health(self) -> None:
        """Called by Serve, which replaces a replica of which something has stopped."""
        for run in self._runs:
            if run.done():
                run.result()

    @property
    def _promotion(self) -> LocalPromotionDesk:
        assert self._models is not None, "nobody asks where nobody predicts"
        return LocalPromotionDesk(self._models, time.time)

    def _predicts(self) -> Model | None:
        return None if self._models is None else self._models.current.model

    @property
    def _books(self) -> Bookkeeper:
        assert self._bookkeeper is not None, "nobody asks where joules are not accounted for"
        return self._bookkeeper

    def _account(
        self, settings: Settings, spec: CascadeSpec, carbon: CarbonProvider, metrics: Metrics
    ) -> list[Coroutine[Any, Any, None]]:
        meters = Meters(settings.power, owner=serve.get_replica_context().app_name)
        accountant = Accountant(EnergyModel(), prior_of(settings, spec), self._ledger, carbon, settings.carbon.building)
        window_s = settings.allocator.window_s
        self._bookkeeper = Bookkeeper(
            accountant, self._ledger, self._desk, meters, window_s, time.time, metrics, self._kept.states
        )
        counting = keep_counted(partial(ledgered, self._ledger), self._pacer.ledgered, time.time)
        told = keep_told(partial(to_date, self._ledger), metrics, time.time)
        return [meters.run(), self._bookkeeper.run(), keep_fresh(carbon, asyncio.sleep), counting, told]

    async def _measured(self, window: Window) -> Means:
        with contextlib.suppress(TimeoutError):  # a ledger that is locked makes nobody wait for long
            await asyncio.wait_for(self._known.wait(), TAKE_UP_S)
        told = Told() if self._bookkeeper is None else await self._bookkeeper.soon()
        away = self._roster.away()
        self._noticing.away(away)
        if self._desk.state is not None:
            self._warmer.look(self._desk.state.policy, window.rewards, away)
        available = without(self._space, away)
        means = self._purse.means(window, self._desk.books.work, told.closed, time.time(), available, told.late)
        self._desk.saving_error_j = self._purse.saving_error_j(window)
        self._told = window, told
        return means

    def _ticked(self, standings: Sequence[Standing], books: Books) -> None:
        self._tell(standings, books)
        self._noticing.ticked(standings, books.degraded, self._told[1].closed)
        try:
            self._live.ticked(self._told[0], books, standings, self._told[1])
        except Exception:  # what people look at must not stop what is controlled
            if (more := self._page_failed.passed()) is not None:
                happened(logger, Event.PAGE_FAILED, "the live page misses a window (%d more untold)", more, trace=True)

    def _sources(self, settings: Settings) -> Sources:
        file = settings.energy.ledger_file
        spent = (lambda kind: spent_from(file, time.time(), kind)) if settings.energy.enabled else None
        return Sources(self._limits.constraints, spent, settings.carbon.building, lambda: self._desk.next_in_s)

    async def _fill(self, settings: Settings) -> None:
        """Take the live page's history of before this controller from the ledger."""
        await self._known.wait()
        try:
            file, since_s = settings.energy.ledger_file, time.time() - SPAN_S
            self._live.ring.fill(await asyncio.to_thread(points_from, file, since_s, STEP_S))
        except GreenFlowError as error:  # a ledger that is not begun yet, as a rule
            logger.debug("the live page's history begins anew: %s", error)
        finally:
            self._live.whole = True
            self._filled.set()

    def _limited(self) -> Sequence[Limit]:
        """The limits in force, and what processors can do."""
        return in_force(self._book.limits(), self._capacity)

    async def _take_up(self) -> None:
        """Take up what an earlier controller left in the ledger, as soon as it can be read."""
        whole = False
        while not whole:
            kept = await self._kept.take_up()
            if self._models is not None:
                kept = await asyncio.to_thread(self._models.take_up, time.time()) and kept
            whole = await asyncio.to_thread(self._book.take_up, time.time()) and kept
            self._known.set()
            await asyncio.sleep(0.0 if whole else TAKE_UP_S)

    async def _follow_capacity(self, settings: Settings, spec: CascadeSpec) -> None:
        """Nodes join and leave; their processors are what chains may take."""
        while True:
            await asyncio.sleep(CAPACITY_S)
            try:
                self._capacity = await asyncio.to_thread(_capacity, settings, spec)
            except RayError as error:
                happened(logger, Event.NOT_KNOWN, "processors cannot be counted, the capacity stays: %s", error)


def _served(settings: Settings, cascade: Cascade) -> Served:
    holdback = settings.experiment.holdback if wants_experiment(settings, cascade.spec) else None
    carbon = f"{settings.carbon.provider} {settings.carbon.zone}".strip()
    sha256 = sha256_of(cascade.folder / FILE_NAME)
    return Served(time.time(), software(), cascade.spec.name, sha256, holdback, carbon)


def _capacity(settings: Settings, spec: CascadeSpec) -> Limit | None:
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    cores = sum(node["Resources"].get("CPU", 0.0) for node in nodes if node["Alive"])
    replicas = settings.ingress_replicas or usual_ingress_replicas(spec, settings)
    return capacity_limit(settings, spec, cores, replicas)


def prior_of(settings: Settings, spec: CascadeSpec) -> Prior:
    """What the energy model starts from. Raises FixFile for a profile that is none, or of another cascade."""
    profile = settings.energy.profile
    return from_flops(spec) if profile is None else from_profile(spec, profile)
