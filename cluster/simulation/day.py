"""A simulated day under the control loop, window by window."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

import numpy as np

from allocator.choice import Floats, Ints, Rewards
from allocator.constraints import Resource
from allocator.policy import Policy
from cluster.accounts import MOST_ROWS, Report
from cluster.control import ControlState
from cluster.power.meter import MeterReport
from cluster.simulation.hosts import Host
from cluster.simulation.limits import Schedule, in_force
from cluster.simulation.operator import Operator
from cluster.simulation.world import METERS, SERVED, World

ITEMS = 10
"""That a recommendation is said to hold."""


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """What truly happened in one window, and what was aimed at.

    refused    requests that the machines could not have served in time
    joules     of all machines, truly, and `billed_j` as the ledger has them
    reward     realised, and `predicted` by the reward model of the same chains
    executed   (J,) requests that ran each chain
    allowed    what the window might spend, by limit, in the resource's unit; spent: what it truly did
    prices     reward per unit of the resource, by limit
    unreachable  limits that no choice of chains could hold, as far as the controller knew
    silent     whether the sensors of some machines could not be read
    """

    requests: int
    refused: int
    joules: float
    billed_j: float
    reward: float
    predicted: float
    executed: Floats
    allowed: dict[str, float]
    spent: dict[str, float]
    prices: dict[str, float]
    unreachable: tuple[str, ...] = ()
    silent: bool = False

    @property
    def degraded(self) -> bool:
        """Whether something of the window was not as it should be."""
        return self.silent or bool(self.unreachable) or self.refused > 0


@dataclass
class Played:
    """All windows so far; `counted_j` is what the counters of all machines have counted in them."""

    rows: list[Row] = field(default_factory=list)
    counted_j: float = 0.0


class Day:
    """Runs the world under limits. `rows` may be left at any time: what was played until then stays played."""

    def __init__(self, world: World, limits: Sequence[Schedule], ledger: Path | None = None) -> None:
        self._world, self._limits = world, tuple(limits)
        self.played = Played()
        groups = enumerate(world.scenario.nodes.items())
        self._hosts = [Host(name, n, world.fleet, group.meter_noise) for n, (name, group) in groups]
        self._at_s = world.start_s
        self._operator = Operator(world, lambda: in_force(self._limits, self._at_s), ledger)
        self._served, self._meters = world.rng(SERVED), world.rng(METERS)
        self._silent, self._unheard = world.silent(), world.silent(only=False)

    def rows(self) -> Iterator[Row]:
        """Window after window."""
        self._boot(0)
        self._operator.begin([host.meter(silent=False) for host in self._hosts if host.up])
        for window in range(self._world.scenario.windows):
            row = self._window(window)
            self.played.rows.append(row)
            self.played.counted_j = sum(host.counted_j for host in self._hosts)
            yield row

    def close(self) -> None:
        """Let go of the ledger."""
        self._operator.close()

    def _window(self, window: int) -> Row:
        world, state = self._world, self._operator.state
        for host, alive in zip(self._hosts, world.alive[window], strict=True):
            if alive == 0:
                host.fail()
        policy = None if state is None else state.policy
        counts, chains, executed = self._decided(window, policy)
        served = self._served_shares(window, executed)
        joules = self._run(window, executed, served)
        share = float(served.sum())
        earned = self._earned(counts, chains, executed, share)
        self._at_s = float(world.starts_s[window]) + world.window_s
        self._boot(window + 1)
        silent = self._silent[window]
        told = self._operator.tick(self._reports(window, policy), self._heard(window), self._at_s)
        billed_j = sum(device.energy_j for device in told.devices)
        spent = self._spent(window, joules, executed * share, served)
        asked, lost = int(world.requests[window].sum()), int(world.unserved[window])
        return Row(
            requests=asked + lost,
            refused=lost + (round(asked * (1 - share)) if asked else 0),
            joules=joules,
            billed_j=billed_j,
            reward=earned[0],
            predicted=earned[1],
            executed=executed * share,
            spent={one.name: spent[one.any.resource] for one in self._limits},
            silent=bool(silent[world.alive[window] > 0].any()),
            **_aimed(state),
        )

    def _decided(self, window: int, policy: Policy | None) -> tuple[Ints, Ints, Floats]:
        """How often each user asks the policy, (U,), the chain that each gets, (U,), and requests by chain, (J,)."""
        world, rng = self._world, self._served
        asked, static = int(world.requests[window].sum()), world.space.static.index
        held = int(rng.binomial(asked, world.scenario.holdback))
        users = len(world.users.predicted)
        counts: Ints = rng.multinomial(asked - held, np.full(users, 1 / users)).astype(np.int64)
        chains: Ints = np.full(users, static, dtype=np.int64)
        if policy is not None:
            chains = policy.decide(world.users.predicted).chains
        executed: Floats = np.bincount(chains, weights=counts, minlength=len(world.space)).astype(np.float64)
        executed[static] += held
        self._held = held
        return counts, chains, executed

    def _served_shares(self, window: int, executed: Floats) -> Floats:
        """Which share of all requests each group serves, (G,); a group serves no more than its processors can."""
        world, total = self._world, float(executed.sum())
        if total <= 0:
            return np.zeros(len(self._hosts))
        share = world.requests[window] / world.requests[window].sum()
        needed_s = share * (world.fleet.chain_s @ executed)
        there_s = world.fleet.cores(world.alive[window]) * world.window_s
        fits = np.divide(there_s, needed_s, out=np.ones_like(needed_s), where=needed_s > there_s)
        served: Floats = share * fits
        return served

    def _run(self, window: int, executed: Floats, served: Floats) -> float:
        world, unpriced = self._world, np.zeros(len(executed))
        unpriced[world.space.static.index] = self._held
        idle_w, joules = world.fleet.idle_w(world.alive[window]), 0.0
        for host, watts, share in zip(self._hosts, idle_w.tolist(), served.tolist(), strict=True):
            if host.up:
                joules += host.run(world.window_s, watts, executed * share, unpriced * share, self._meters)
        return joules

    def _earned(self, counts: Ints, chains: Ints, executed: Floats, share: float) -> tuple[float, float]:
        """Realised and predicted reward."""
        users, static, held = self._world.users, self._world.space.static.index, self._held
        rows = np.arange(len(chains))

        def of(rewards: Rewards) -> float:
            chosen = float(counts @ rewards[rows, chains].astype(np.float64))
            return share * (chosen + held * float(rewards[:, static].mean(dtype=np.float64)))

        predicted = of(users.predicted)
        if users.true is not None:
            return of(users.true), predicted
        return float(self._served.poisson(max(predicted, 0.0))), predicted

    def _reports(self, window: int, policy: Policy | None) -> list[Report]:
        asked = self._world.requests[window]
        share = asked / max(asked.sum(), 1)
        version, prices = (0, np.zeros(0)) if policy is None else (policy.version, policy.prices)
        found = []
        for host, part in zip(self._hosts, share.tolist(), strict=True):
            if host.up:
                rows = self._served.integers(0, len(self._world.users.predicted), round(MOST_ROWS * part))
                found.append(host.report(self._world.users.predicted[rows], version, prices, ITEMS))
        return found

    def _heard(self, window: int) -> list[MeterReport]:
        told = zip(self._hosts, self._silent[window].tolist(), self._unheard[window].tolist(), strict=True)
        return [host.meter(silent, estimated=not unheard) for host, silent, unheard in told if host.up]

    def _boot(self, window: int) -> None:
        """Machines that serve in this window are there before it begins, and their meters are heard."""
        if window < len(self._world.alive):
            for host, alive in zip(self._hosts, self._world.alive[window], strict=True):
                if alive > 0 and not host.up:
                    host.boot(self._at_s)

    def _spent(self, window: int, joules: float, executed: Floats, served: Floats) -> dict[Resource, float]:
        world = self._world
        each = served / served.sum() if served.sum() > 0 else served
        return {
            Resource.JOULES: joules,
            Resource.GRAMS: joules * float(world.g_per_j[window]),
            Resource.COMPUTE: float(each @ (world.fleet.chain_s @ executed)),
            Resource.FLOPS: float(world.space.flops @ executed),
        }


class _Aimed(TypedDict):
    allowed: dict[str, float]
    prices: dict[str, float]
    unreachable: tuple[str, ...]


def _aimed(state: ControlState | None) -> _Aimed:
    """What the controller aimed at in the window that it follows from."""
    if state is None:
        return _Aimed(allowed={}, prices={}, unreachable=())
    names = [aim.name for aim in state.means.aims]
    return _Aimed(
        allowed={aim.name: aim.limit for aim in state.means.aims},
        prices=dict(zip(names, map(float, state.policy.prices), strict=True)),
        unreachable=tuple(name for name, holds in zip(names, state.reachable.tolist(), strict=True) if not holds),
    )
