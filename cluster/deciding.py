"""Deciding for a micro-batch: the port, and the decider that works in this process. No Ray here."""

import asyncio
import time
from concurrent.futures import Executor
from dataclasses import dataclass
from math import inf
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from allocator.arms import Assignment
from allocator.chains import ActionChain, ChainSpace
from allocator.choice import Floats, Ints, Mask
from allocator.policy import Policy
from allocator.reward import context_of
from cluster.desk import Clock
from cluster.follower import Follower
from cluster.latency import TimeLeft, in_time
from cluster.outcomes.recorder import Recorder
from cluster.promotion.adopting import Loaded, Models
from cluster.remembered_rewards import RememberedRewards
from cluster.snapshot import Standing
from cluster.tally import Tally
from models.batch import FloatArray, UserRows

SHORT_S = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Decided:
    """What one policy gives the B requests of a micro-batch.

    chains          (B,) index of each request's chain
    rewards         (B,) its predicted reward
    policy_version  of the one policy that decided all of them
    propensities    (B,) the probability with which that policy gives the request this chain
    in_time         (B,) whether some available chain was expected to meet its deadline; None when all were
    """

    chains: Ints
    rewards: Floats
    policy_version: int
    propensities: Floats
    in_time: Mask | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """Why one request gets its chain.

    chain      index of the chain that it gets where nothing is explored
    rewards    (J,) what is predicted for it under each chain
    standings  of the constraints that the policy's prices are of, in their order
    """

    chain: int
    rewards: Floats
    policy: Policy
    standings: tuple[Standing, ...]

    @property
    def priced(self) -> Floats:
        """What each chain's cost comes to by these prices, (J,), in units of reward."""
        total: Floats = self.policy.costs @ self.policy.prices
        return total


class Decider(Protocol):
    """Gives requests their chains, wherever that is worked out."""

    async def decide(self, users: UserRows, time: TimeLeft | None = None) -> Decided:
        """One decision per row, all by one policy, among the chains that each row's deadline leaves; where it leaves
        none, the quickest available one. Raises TryAgain when nobody can decide now, Late when nobody did in time; the
        requests then take the safe chain."""
        ...

    async def explain(self, users: UserRows) -> Explained:
        """The decision of one row, which counts for nothing, with all that it is made of. Raises as `decide`."""
        ...


class LocalDecider:
    """Decides in this process.

    A run of the reward model that is short by what the last one took is made on the event loop, for handing it to a
    thread and back costs about as much; a longer one in a thread, so that others are served meanwhile. While it runs
    another model may be taken up, with a policy of its own: a micro-batch is decided by the policy of the model that
    predicted it.

    models  what predicts, which the follower replaces
    cpu  seconds of processor time of the thread that calls it
    rng  by which policies explore that do
    remember_bytes  what rewards of contexts that came before may take
    """

    def __init__(
        self,
        models: Models,
        follower: Follower,
        tally: Tally,
        threads: Executor,
        cpu: Clock = time.thread_time,
        rng: np.random.Generator | None = None,
        remember_bytes: int = 0,
    ) -> None:
        self._remember_bytes = remember_bytes
        self._remembered = models.now, RememberedRewards(remember_bytes)
        self._models, self._follower, self._tally, self._threads, self._cpu = models, follower, tally, threads, cpu
        self._rng = np.random.default_rng() if rng is None else rng
        self._row_s, self._timed = inf, models.now

    async def decide(self, users: UserRows, time: TimeLeft | None = None) -> Decided:
        """As `Decider.decide`; never Late. Raises FixFile when the model's rewards are NaN or infinite."""
        policy, loaded = self._follower.policy, self._models.now
        began_s = self._cpu()
        contexts = context_of(users)
        remembered = self._rewards_by(loaded)
        rewards, missing = remembered.known(contexts)
        took_s = 0.0
        if len(missing):
            contexts = contexts[missing]
            if self._timed is loaded and self._row_s * len(missing) <= SHORT_S:
                predicted, _ = self._predict(loaded, contexts)  # what it takes is in what this thread takes
            else:
                before_s = self._cpu() - began_s
                loop = asyncio.get_running_loop()
                predicted, took_s = await loop.run_in_executor(self._threads, self._predict, loaded, contexts)
                began_s, took_s = self._cpu(), took_s + before_s  # what others did meanwhile
            remembered.remember(contexts, predicted)
            rewards = _filled(rewards, missing, predicted)
        assert rewards is not None, "no micro-batch is empty"
        if self._models.now is loaded:
            policy = self._follower.policy  # prices may have changed meanwhile
        allowed, fits = (None, None) if time is None else in_time(time, policy.available)
        decisions = policy.decide(rewards, self._rng, allowed)
        earns = float(decisions.rewards.sum())
        self._tally.decided(rewards, took_s + self._cpu() - began_s, loaded.name, earns)
        return Decided(decisions.chains, decisions.rewards, policy.version, decisions.propensities, fits)

    async def explain(self, users: UserRows) -> Explained:
        """As `Decider.explain`."""
        snapshot, loaded = self._follower.held, self._models.now
        loop = asyncio.get_running_loop()
        rewards = await loop.run_in_executor(self._threads, loaded.model.predict, context_of(users))
        if self._models.now is loaded:
            snapshot = self._follower.held  # as in `decide`
        policy = snapshot.policy
        return Explained(int(policy.chosen(rewards)[0]), rewards[0].astype(np.float64), policy, snapshot.standings)

    def _rewards_by(self, loaded: Loaded) -> RememberedRewards:
        """What is remembered of that model's rewards; another model's are forgotten."""
        if self._remembered[0] is not loaded:
            self._remembered = loaded, RememberedRewards(self._remember_bytes)
        return self._remembered[1]

    def _predict(self, loaded: Loaded, contexts: NDArray[Any]) -> tuple[FloatArray, float]:
        """The rewards, and the processor time that they took."""
        start_s = self._cpu()
        rewards = loaded.model.predict(contexts)
        took_s = self._cpu() - start_s
        self._row_s, self._timed = took_s / len(contexts), loaded
        return rewards, took_s


def _filled(known: FloatArray | None, missing: Ints, predicted: FloatArray) -> FloatArray:
    """The known rewards (B, J), where there are any, with those that were predicted."""
    if known is None:
        return predicted
    known[missing] = predicted
    return known


@dataclass(frozen=True, slots=True)
class Allocation:
    """What an ingress replica needs of the allocator, and of the controller that it reports to.

    decider     None where no policy chooses chains: requests that name none run the static one
    safe        the chain of a request that nobody could decide in time, before a snapshot says which one
    experiment  which requests run the static chain for comparison; None where none do on purpose
    recorder    told of every answer
    """

    decider: Decider | None
    tally: Tally
    follower: Follower
    safe: ActionChain
    experiment: Assignment | None = None
    recorder: Recorder | None = None

    @property
    def available(self) -> Mask | None:
        """(J,) chains that may be taken by the newest policy; None before there is one."""
        snapshot = self.follower.snapshot
        return None if snapshot is None else snapshot.policy.available

    def safe_now(self, space: ChainSpace) -> ActionChain:
        """The safe chain as the controller has it now: under a limit it is one that keeps it."""
        snapshot = self.follower.snapshot
        return self.safe if snapshot is None else space.chains[snapshot.policy.safe_chain]
