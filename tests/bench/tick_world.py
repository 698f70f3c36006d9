"""A cluster for tick.py: hosts whose meters tell, and replicas that decide, run variants and report. No Ray.

Processors draw what the chains that ran cost, and something at rest, so that limits bind and prices have work to do.
"""

from collections.abc import Sequence

import numpy as np
from account_world import Host
from numpy.typing import NDArray
from power_loop import Machine

from allocator.chains import ChainSpace
from allocator.energy.windows import SERVING, Name
from allocator.policy import Policy
from cluster.accounts import Report, Totals
from cluster.power.meter import MeterReport
from cluster.work import Counts, Key

SAMPLE_ROWS, SAMPLE_BYTES = 128, 1 << 20
USERS = 4000
IDLE_W, GPU_W = 30.0, 40.0
"""Of a host at rest, and of its GPU, which runs none of the variants."""


class Replica:
    """What one process has done. `serves` is "" names for an ingress replica, which decides and sends requests."""

    def __init__(self, name: str, pool: str, chains: int, serves: tuple[Name, ...]) -> None:
        self.name, self.pool, self.serves = name, pool, serves
        self.executed = np.zeros(chains, np.int64)
        self.decided = 0
        self.work: dict[Key, Counts] = {}
        self.acked = Totals.none(0.0, chains)

    def ran(self, name: Name, calls: float, items: float, busy_s: float) -> None:
        """One of its variants, or what is around them."""
        part = Counts(max(1, int(calls)), max(1, int(items)), busy_s, busy_s)
        key = (*name, self.pool)
        self.work[key] = self.work.get(key, Counts()) + part

    def report(self, now_s: float, rewards: NDArray[np.float32], policy: Policy | None) -> Report:
        """What it tells the controller."""
        totals = Totals(now_s, self.executed.copy(), self.decided, 5 * self.decided, dict(self.work))
        prices = np.zeros(0) if policy is None else policy.prices
        version, acked, self.acked = 0 if policy is None else policy.version, self.acked, totals
        absent = None if self.serves else ()
        return Report(self.name, totals, acked, rewards, version, prices, self.serves, absent)


class Cluster:
    """All hosts, with a replica each: ingress replicas on the first ones, replicas of variants on the others.

    rate  requests a second, of all together
    cold  a variant that has no replica
    """

    def __init__(self, space: ChainSpace, nodes: int, ingresses: int, rate: float, cold: Name | None) -> None:
        self.space, self.rate, self.machine = space, rate, Machine(space=space)
        self.flops = {(s.name, v.name): v.flops for s in space._spec.stages for v in s.variants}
        self.rng = np.random.default_rng(0)
        self.hosts = [Host(f"host-{n}", f"boot-{n}") for n in range(nodes)]
        self.own = tuple(space.variants)
        warm = [name for name in self.own if name != cold]
        self.replicas = [
            Replica(f"r{n}", f"boot-{n}/cpu", len(space), () if n < ingresses else (warm[n % len(warm)],))
            for n in range(nodes)
        ]
        share = (space.flops - space.flops.min()) / float(np.ptp(space.flops))
        value = self.rng.gamma(2.0, size=(USERS, 1))
        self.rewards = (value * (1 - np.exp(-3 * share))[None, :]).astype(np.float32)
        self.rows = max(1, min(SAMPLE_ROWS, SAMPLE_BYTES // (4 * len(space))))

    def second(self, now_s: float, policy: Policy | None) -> tuple[list[Report], tuple[MeterReport, ...]]:
        """What replicas and meters tell after one more."""
        ingresses = [one for one in self.replicas if not one.serves]
        executed = np.zeros(len(self.space))
        samples = {}
        for one in ingresses:
            rows, chains = self._decided(len(ingresses), policy)
            counts = np.bincount(chains, minlength=len(self.space))
            executed += counts
            one.executed += counts
            one.decided += len(chains)
            one.ran(SERVING, len(chains) / 20, len(chains), 1e-4 * len(chains))
            samples[one.name] = rows[: self.rows]
        self._run(executed)
        self._draw(float(executed @ self.machine.chain_joules()) / len(self.hosts))
        none = np.empty((0, len(self.space)), np.float32)
        reports = [one.report(now_s, samples.get(one.name, none), policy) for one in self.replicas]
        return reports, tuple(host.report() for host in self.hosts)

    def _decided(self, ingresses: int, policy: Policy | None) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        requests = int(self.rng.poisson(self.rate / ingresses))
        rows = self.rewards[self.rng.integers(0, USERS, requests)]
        static = np.full(requests, self.space.static.index)
        return rows, static if policy is None else np.asarray(policy.decide(rows).chains, dtype=np.int64)

    def _run(self, executed: NDArray[np.float64]) -> None:
        """The variants' part of it, spread evenly over their replicas."""
        one = np.eye(len(self.own))
        calls, items = executed @ self.space.costs(one, 0 * one), executed @ self.space.costs(0 * one, one)
        for name, times, pairs in zip(self.own, calls.tolist(), items.tolist(), strict=True):
            serving: Sequence[Replica] = [replica for replica in self.replicas if name in replica.serves]
            for replica in serving:
                if times:
                    part = times / 20 / len(serving), pairs / len(serving)
                    replica.ran(name, *part, self._busy_s(name, times, pairs) / len(serving))

    def _busy_s(self, name: Name, calls: float, items: float) -> float:
        flops = self.flops[name]
        return 0.0 if flops is None else (flops.row * calls + flops.item * items) * self.machine.busy_s_per_flop

    def _draw(self, work_w: float) -> None:
        for host in self.hosts:
            host.at_s += 1.0
            package_w = IDLE_W + work_w + float(self.rng.standard_normal())
            host.sensor.draw({"package-0": package_w, f"GPU-{host.id.name}": GPU_W}, host.at_s)
            host.meter.poll()

    def watts(self, share: float) -> float:
        """Of all hosts, while chains spend this share of what the most rewarding ones do."""
        best = int(self.rewards.mean(axis=0).argmax())
        free_w = self.rate * float(self.machine.chain_joules()[best])
        return len(self.hosts) * (IDLE_W + GPU_W) + share * free_w

    def busy_s(self, share: float) -> float:
        """Busy seconds a second of all variants, likewise."""
        best = int(self.rewards.mean(axis=0).argmax())
        return share * self.rate * float(self.space.flops[best]) * self.machine.busy_s_per_flop
