"""Deciding for a micro-batch: the port, and the decider that works in this process. No Ray here."""

import asyncio
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol

from allocator.chains import ActionChain
from allocator.choice import Floats, Ints
from allocator.reward import RewardModel, context_of
from cluster.follower import Follower
from cluster.tally import Tally
from models.batch import UserRows


@dataclass(frozen=True, slots=True, eq=False)
class Decided:
    """What one policy gives the B requests of a micro-batch.

    chains          (B,) index of each request's chain
    rewards         (B,) its predicted reward
    policy_version  of the one policy that decided all of them
    """

    chains: Ints
    rewards: Floats
    policy_version: int


class Decider(Protocol):
    """Gives requests their chains, wherever that is worked out."""

    async def decide(self, users: UserRows) -> Decided:
        """One decision per row, all by one policy. Raises TryAgain when nobody can decide now, Late when nobody did in
        time; the requests then take the safe chain."""
        ...


class LocalDecider:
    """Decides in this process: the reward model's run in a thread, for it lets go of the GIL."""

    def __init__(self, model: RewardModel, follower: Follower, tally: Tally, threads: Executor) -> None:
        self._model, self._follower, self._tally, self._threads = model, follower, tally, threads

    async def decide(self, users: UserRows) -> Decided:
        """As `Decider.decide`; never Late. Raises FixFile when the model's rewards are NaN or infinite."""
        _ = self._follower.policy  # without one, the model need not run
        loop = asyncio.get_running_loop()
        rewards = await loop.run_in_executor(self._threads, self._model.predict, context_of(users))
        policy = self._follower.policy
        decisions = policy.decide(rewards)
        self._tally.decided(rewards)
        return Decided(decisions.chains, decisions.rewards, policy.version)


@dataclass(frozen=True, slots=True)
class Allocation:
    """What an ingress replica needs of the allocator.

    safe  the chain of a request that nobody could decide in time
    """

    decider: Decider
    tally: Tally
    follower: Follower
    safe: ActionChain
