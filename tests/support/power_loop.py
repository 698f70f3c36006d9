"""The control loop on a machine whose every joule is known: real energy model, attribution, purse and prices; no Ray.

Requests come by a Poisson process; each chain truly costs its own joules, machines draw idle watts, other programs some
more; meters scatter. What is not known to the loop, it has to learn.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from small_space import SPACE, concave_rewards

from allocator.chains import ChainSpace
from allocator.constraints import Resource, flops_per_second
from allocator.energy import saved
from allocator.energy.attribution import Debts, attribute
from allocator.energy.model import EnergyModel
from allocator.energy.prior import GUESSED, Prior, VariantJoules
from allocator.energy.state import EnergyState
from allocator.energy.windows import SERVING, gathered
from allocator.joules import DeviceJoules, Quality, WindowAccount, Work
from allocator.limits import Kind, Limit
from allocator.price.select import strategy
from allocator.price.start import Start
from allocator.request_joules import Rates
from cluster.accountant import MODEL_FORMAT, MODEL_KEY, Closed
from cluster.accounts import Window
from cluster.computing import BUSY, ROWS
from cluster.control import Control, ControlState
from cluster.kept import COSTS_S, Kept, Part, prices_part
from cluster.ledger.marks import State
from cluster.ledger.store import Ledger
from cluster.purse import Purse
from cluster.spending import Allowance, Billed, Pacer, Rate
from cluster.work import Counts, Key

Floats = NDArray[np.float64]
POOL = "web/cpu"
MODEL_S = 30
"""Windows between two times that the energy model is kept: a restart loses what it learned since."""
REWARDS = concave_rewards(4000, 11).astype(np.float32)


class EvenPace:
    """A quota's pace for tests that have none."""

    def seen(self, now_s: float, window_s: float, window: Window, billed: Sequence[Billed] = ()) -> None:
        """Nothing is learned."""

    def allowance(self, limit: Limit, rates: Mapping[Resource, Rate], window_s: float, now_s: float) -> Allowance:
        """An even share of it."""
        assert limit.period_s is not None
        return Allowance(limit.quota / limit.period_s * window_s, 0.0)


def watts(name: str, limit: float) -> Limit:
    """A power cap."""
    return Limit(name, Kind.POWER, limit, "W")


@dataclass
class Machine:
    """What truly happens.

    joules_per_flop  of models; `request_j` around them, of each request
    core_j           joules of a processor's busy second, which meters tell of
    noise            relative standard deviation of a reading
    blind            windows whose readings do not come; the first one after them tells of the joules of all of these
    late             windows whose books are not closed in time: they are told with the next one's
    off              by how much the prior's joules are wrong
    g_per_kwh        of the grid; None while nobody knows it
    began_s          Unix time of the first window
    """

    rate: Callable[[int], float] = lambda _: 300.0
    idle_w: float = 48.0
    others_w: Callable[[int], float] = lambda _: 0.0
    joules_per_flop: float = 2e-5
    request_j: float = 0.05
    core_j: float = 40.0
    busy_s_per_flop: float = 5e-7
    noise: float = 0.01
    blind: Callable[[int], bool] = lambda _: False
    late: Callable[[int], bool] = lambda _: False
    off: float = 0.3
    seed: int = 0
    g_per_kwh: Callable[[int], float | None] = lambda _: None
    began_s: float = 1000.0
    space: ChainSpace = field(default_factory=lambda: SPACE)

    def prior(self) -> Prior:
        """What is believed at first."""
        joules = {
            (s.name, v.name): VariantJoules((v.flops.row + 1) * self._guess, v.flops.item * self._guess)
            for s in self.space._spec.stages
            for v in s.variants
            if v.flops is not None
        }
        serving = VariantJoules(self.request_j * self.off, self.request_j * self.off)
        return Prior({**joules, SERVING: serving}, GUESSED, Quality.ASSUMED, "made up", core_w=10.0)

    @property
    def _guess(self) -> float:
        return self.joules_per_flop * self.off

    def chain_joules(self) -> Floats:
        """(J,) what a request truly costs."""
        costs: Floats = self.space.flops * self.joules_per_flop + self.request_j
        return costs


@dataclass
class Played:
    """What happened, window by window."""

    watts: list[float] = field(default_factory=list)
    least_w: list[float] = field(default_factory=list)
    most_w: list[float] = field(default_factory=list)
    reward: list[float] = field(default_factory=list)
    states: list[ControlState] = field(default_factory=list)
    models: list[EnergyState] = field(default_factory=list)
    accounts: list[WindowAccount] = field(default_factory=list)


class Loop:
    """Plays windows of a second; limits may be changed between two of them. What a controller keeps goes into a ledger
    as it would, and a controller that begins anew knows that and nothing else."""

    def __init__(
        self, machine: Machine, limits: Sequence[Limit], pacer: Pacer | None = None, start: bool = True, name: str = ""
    ) -> None:
        self.machine, self.limits, self.played = machine, list(limits), Played()
        self.rng, self.at = np.random.default_rng(machine.seed), 0
        self.unread_j = 0.0
        self.pacer = pacer or EvenPace()
        chosen = strategy(name) if name else strategy()
        users = Start(REWARDS[:512]) if start else None
        none = (flops_per_second(np.inf),)
        self.control = Control(machine.space, none, chosen, "m", machine.space.static.index, start=users)
        self.ledger = Ledger(None)
        self.boot()

    def boot(self) -> None:
        """A controller begins, with what the ledger has."""
        self.remembered: Mapping[str, float] = {}
        self.state: ControlState | None = None
        self.purse = Purse(self.machine.space, 1.0, lambda: self.limits, self.pacer, self.machine.prior(), self._grams)
        self.counts: dict[Key, Counts] = {}
        self.untold: list[Closed] = []
        desk: Any = self  # as much of one as is kept
        costs = Part((BUSY, ROWS), COSTS_S, self.purse.dumped, self.purse.resume_costs)
        self.kept = Kept(self.ledger, (prices_part(desk, self.purse), costs), self._wall)
        assert asyncio.run(self.kept.take_up())
        model = self.ledger.state(MODEL_KEY)
        if model is None:
            self.model, self.debts = EnergyModel().init(self.machine.prior()), Debts()
        else:
            self.model, self.debts = saved.restored(self.machine.prior(), model.value)

    def _wall(self) -> float:
        return self.machine.began_s + self.at

    def _keep(self) -> None:
        """As the controller does with every window, the energy model now and then."""
        learned = State(MODEL_KEY, saved.dumped(self.model, self.debts), MODEL_FORMAT, self._wall())
        self.ledger.remember([*self.kept.states(), *([learned] if self.at % MODEL_S == 0 else [])])

    def _grams(self, now_s: float) -> float | None:
        grid = self.machine.g_per_kwh(round(now_s - self.machine.began_s))
        return None if grid is None else grid / 3.6e6

    def run(self, windows: int) -> Played:
        """Some windows more."""
        for _ in range(windows):
            self._window()
        return self.played

    def _window(self) -> None:
        machine, at = self.machine, self.at
        requests = int(self.rng.poisson(machine.rate(at)))
        rows = REWARDS[self.rng.integers(0, len(REWARDS), requests)]
        costs = machine.chain_joules()
        chains = np.full(requests, machine.space.static.index)
        if self.state is not None and requests:
            chains = self.state.policy.decide(rows).chains
        work_j = float(costs[chains].sum())
        true_w = machine.idle_w + machine.others_w(at) + work_j
        self._note(true_w, requests * costs, rows, chains)
        executed = np.bincount(chains, minlength=len(costs)).astype(float)
        window = Window(executed, float(requests), rows[:128])
        closed = self._closed(true_w, work_j + machine.others_w(at), executed, at)
        late, self.untold = self.untold, [closed] if machine.late(at) else []
        now = None if machine.late(at) else closed
        means = self.purse.means(window, self._counted(executed), now, machine.began_s + at, late=late)
        if self.state is None:
            self.state = self.control.init(machine.began_s + at, means=means, remembered=self.remembered)
        else:
            self.state = self.control.step(self.state, window, machine.began_s + at, means)
        self.played.states.append(self.state)
        self._keep()
        self.at += 1

    def _note(self, true_w: float, per_chain: Floats, rows: NDArray[np.float32], chains: NDArray[np.int64]) -> None:
        fixed = self.machine.idle_w + self.machine.others_w(self.at)
        self.played.watts.append(true_w)
        self.played.least_w.append(fixed + float(per_chain.min()))
        self.played.most_w.append(fixed + float(per_chain.max()))
        self.played.reward.append(float(rows[np.arange(len(rows)), chains].sum()))

    def _closed(self, true_w: float, busy_w: float, executed: Floats, at: int) -> Closed:
        machine = self.machine
        read = self.unread_j + max(true_w * (1 + machine.noise * self.rng.standard_normal()), 0.0)
        blind = machine.blind(at)
        self.unread_j = read if blind else 0.0
        device = DeviceJoules(
            "web/package-0", POOL, "n", "web", "package", "rapl", Quality.MEASURED,
            0.0 if blind else read, 1.0, 0.0, "boot", not blind, busy_w / machine.core_j,
        )  # fmt: skip
        seen = gathered(self.model.names, [device], self._work(executed))
        self.model = EnergyModel().learned(self.model, seen)
        found, self.debts = attribute(self.debts, self.model, seen)
        self.played.models.append(self.model)
        account = WindowAccount(
            at, machine.began_s + at, 1.0, 0, 0, 1, (device,), found.shares, found.pools, machine.g_per_kwh(at),
            Quality.ASSUMED, 1.0, Quality.ASSUMED,
        )  # fmt: skip
        self.played.accounts.append(account)
        rates = Rates({}, None, Quality.MODELLED, Quality.MODELLED)
        return replace(Closed(machine.began_s + at, (device,), (), rates), account=account, model=self.model)

    def _counted(self, executed: Floats) -> dict[Key, Counts]:
        """As replicas report: cumulative, one second of a processor for so many FLOPs."""
        flops = {(s.name, v.name): v.flops for s in self.machine.space._spec.stages for v in s.variants}
        for one in self._work(executed):
            of = flops.get((one.stage, one.variant))
            busy_s = 0.0 if of is None else (of.row * one.calls + of.item * one.items) * self.machine.busy_s_per_flop
            key = (one.stage, one.variant, one.pool)
            self.counts = {**self.counts, key: self.counts.get(key, Counts()) + Counts(one.calls, one.items, busy_s)}
        return self.counts

    def _work(self, executed: Floats) -> list[Work]:
        """One run a request: rows per run are one."""
        counts: dict[tuple[str, str], list[float]] = {}
        for chain, times in zip(self.machine.space, executed.tolist(), strict=True):
            for action in chain.actions:
                if action.variant is not None and times:
                    one = counts.setdefault((action.stage, action.variant), [0.0, 0.0])
                    one[0] += times
                    one[1] += times * action.items
        total = int(executed.sum())
        work = [Work(*name, POOL, int(calls), int(items), 0.0) for name, (calls, items) in counts.items()]
        return [*work, Work(*SERVING, POOL, total, total, 0.0)] if total else work


def averaged(values: Sequence[float], over: int = 10) -> Floats:
    """Moving averages over so many windows."""
    return np.convolve(values, np.ones(over) / over, mode="valid")
