"""What an ingress replica remembers of its answers, and of rewards, until it ships both. No Ray here."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import isfinite, nan

import numpy as np
from numpy.typing import NDArray

from allocator.arms import NAMED, Unit
from allocator.chains import ChainSpace
from allocator.choice import Floats, Ints
from allocator.request_joules import Rates
from allocator.reward import context_of
from cluster.answers import Given
from cluster.outcomes.records import Decisions, PolicyRow, Reward
from cluster.snapshot import Snapshot
from models.batch import UserRows
from models.errors import Overloaded

MOST_ROWS = 20_000
MOST_POLICIES = 600
"""Policies that wait to be shipped, one a window: of more, the oldest are forgotten."""
SPAN_S = 5.0
"""Requests that were answered further apart are never put together, for all of a part have one time."""
NO_UNIT = Unit(NAMED, 0, 0)
Row = tuple[str, int, int, int, float, float, bool]
"""Of a request: its id, mark, group, arm, propensity, predicted reward, and whether it is degraded."""


@dataclass(frozen=True, slots=True, eq=False)
class Joules:
    """What a micro-batch is told that it cost.

    each_j    (B,) by request
    static_j  of each, had all run the static chain
    rates     by which
    """

    each_j: Floats
    static_j: float
    rates: Rates


@dataclass(frozen=True, slots=True, eq=False)
class Shipment:
    """What a replica has not shipped yet.

    policies  that are new to it since; where none is, the newest once more, as whoever keeps the account may have been
              started anew and know of none
    dropped   requests that were too many to be remembered
    """

    decisions: tuple[Decisions, ...] = ()
    rewards: tuple[Reward, ...] = ()
    policies: tuple[PolicyRow, ...] = ()
    dropped: int = 0

    def __bool__(self) -> bool:
        return bool(self.decisions or self.rewards or self.policies or self.dropped)


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """What is kept of a micro-batch: no more of its requests than will be shipped, since they may be large.

    version  of the policy that decided any of it, else 0
    """

    time_s: float
    rows: Sequence[Row]
    version: int
    chains: Ints
    joules: Joules | None
    contexts: NDArray[np.float32]

    @property
    def kind(self) -> tuple[object, ...]:
        """What is one for all requests of a shipment's part."""
        joules = self.joules
        known = None if joules is None else (joules.rates.grams_per_j, joules.rates.saving_error_j)
        return self.version, self.contexts.shape[1], known, self.time_s // SPAN_S


class Recorder:
    """Remembers at most so many requests and so many rewards, and no more of them than will be shipped. Used from one
    event loop.

    wall       Unix time
    contexts   whether the reward model's input is remembered too
    """

    def __init__(
        self, space: ChainSpace, wall: Callable[[], float], contexts: bool = False, most_rows: int = MOST_ROWS
    ) -> None:
        self._flops, self._wall, self._contexts, self._most = space.flops, wall, contexts, most_rows
        self._batches: list[_Batch] = []
        self._rewards: list[Reward] = []
        self._policies: dict[tuple[int, str], PolicyRow] = {}
        self._newest: tuple[PolicyRow, ...] = ()
        self._known: Snapshot | None = None
        self._told: tuple[int, str] | None = None
        self._rows, self._dropped = 0, 0

    def know(self, snapshot: Snapshot) -> None:
        """Requests are decided by this snapshot's policy, under its limits."""
        if snapshot is self._known:
            return
        self._known = snapshot
        key = snapshot.policy.version, _budget(snapshot)
        if key != self._told:
            row = _policy_row(snapshot, self._wall())
            self._told, self._newest = key, (row,)
            self._policies[key] = row
            if len(self._policies) > MOST_POLICIES:
                del self._policies[next(iter(self._policies))]

    def answered(
        self, users: UserRows, given: Sequence[Given], chains: Ints, joules: Joules | None, snapshot: Snapshot | None
    ) -> None:
        """A micro-batch was answered under these chains, (B,) indices, while this snapshot was the newest."""
        if self._rows + len(given) > self._most:
            self._dropped += len(given)
            return
        if snapshot is not None:
            self.know(snapshot)
        contexts = context_of(users) if self._contexts else np.empty((len(given), 0))
        version = next((one.version for one in given if one.version is not None), 0)
        rows = [_row(one) for one in given]
        self._rows += len(given)
        self._batches.append(
            _Batch(self._wall(), rows, version, chains, joules, contexts.astype(np.float32, copy=False))
        )

    def rewarded(self, rewards: Sequence[tuple[str, float]]) -> None:
        """Requests have earned rewards, by id. Raises Overloaded, having taken none, when too many wait already, and
        ValueError for a reward that is no number."""
        if wrong := [one for one in rewards if not isfinite(one[1])]:
            raise ValueError(f"reward of {wrong[0][0]}: {wrong[0][1]}")
        if len(self._rewards) + len(rewards) > self._most:
            raise Overloaded("too many rewards wait to be passed on; send these again later")
        now_s = self._wall()
        self._rewards += [Reward(request_id, reward, now_s) for request_id, reward in rewards]

    def take(self) -> Shipment:
        """All that is remembered; nothing is then but the newest policy, which goes along with whatever comes."""
        batches, self._batches = self._batches, []
        rewards, self._rewards = self._rewards, []
        policies, self._policies = self._policies, {}
        dropped, self._dropped, self._rows = self._dropped, 0, 0
        runs = [tuple(run) for _, run in groupby(batches, key=lambda batch: batch.kind)]
        decisions = tuple(self._decisions(run) for run in runs)
        shipment = Shipment(decisions, tuple(rewards), tuple(policies.values()), dropped)
        again = bool(shipment) and not shipment.policies
        return replace(shipment, policies=self._newest) if again else shipment

    def _decisions(self, batches: Sequence[_Batch]) -> Decisions:
        """Of one kind, as one."""
        rows = [row for batch in batches for row in batch.rows]
        ids, marks, groups, arms, propensities, predicted, degraded = zip(*rows, strict=True)
        chains = np.concatenate([batch.chains for batch in batches])
        first = batches[0]
        return Decisions(
            time_s=first.time_s,
            request_ids=ids,
            users=np.array(marks, np.uint64),
            groups=np.array(groups, np.int16),
            arms=np.array(arms, np.int8),
            contexts=np.concatenate([batch.contexts for batch in batches]),
            chains=chains.astype(np.int32),
            propensities=np.array(propensities, np.float32),
            predicted=np.array(predicted, np.float32),
            flops=self._flops[chains],
            energy_j=np.concatenate([_energy_j(batch) for batch in batches]),
            static_j=_static_j(batches),
            error_j=nan if first.joules is None else first.joules.rates.saving_error_j,
            grams_per_j=_grams_per_j(first.joules),
            policy_version=first.version,
            degraded=np.array(degraded, np.bool_),
        )


def _row(given: Given) -> Row:
    unit = given.call.unit or NO_UNIT
    reward = nan if given.reward is None else given.reward
    return given.call.request_id, unit.mark, unit.group, unit.arm, given.propensity, reward, given.degraded


def _policy_row(snapshot: Snapshot, since_s: float) -> PolicyRow:
    policy = snapshot.policy
    prices = json.dumps({one.name: one.price for one in snapshot.standings})
    penalty, budget = policy.penalty.astype(np.float32), _budget(snapshot)
    return PolicyRow(policy.version, policy.time_s, penalty, prices, budget, policy.reward_model, since_s)


def _budget(snapshot: Snapshot) -> str:
    limits = [f"{one.name} {one.limit:g} {one.unit}" for one in snapshot.standings if one.limited and one.kind]
    return ", ".join(sorted(limits))


def _grams_per_j(joules: Joules | None) -> float:
    """Of clean power it is zero, which is no less known than another."""
    known = None if joules is None else joules.rates.grams_per_j
    return nan if known is None else known


def _energy_j(batch: _Batch) -> NDArray[np.float32]:
    if batch.joules is None:
        return np.full(len(batch.rows), nan, np.float32)
    return batch.joules.each_j.astype(np.float32)


def _static_j(batches: Sequence[_Batch]) -> float:
    """The mean over requests."""
    known = [(batch.joules.static_j, len(batch.rows)) for batch in batches if batch.joules is not None]
    return sum(j * rows for j, rows in known) / sum(rows for _, rows in known) if known else nan
