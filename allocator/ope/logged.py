"""Logged requests, as far as judging another policy by them needs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allocator.choice import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Logged:
    """N requests whose chains a policy chose at random, as it said.

    users         (N,) whose they are: the requests of a user are not independent of each other
    rewards       (N,) what each earned
    propensities  (N,) the probability with which the policy that served gave it the chain that it got

    Raises ValueError naming the column where one is not finite, or a propensity is not above 0 and at most 1.
    """

    users: NDArray[np.generic]
    rewards: Floats
    propensities: Floats

    def __post_init__(self) -> None:
        rows = (len(self.users),)
        if not rows[0] or any(column.shape != rows for column in (self.users, self.rewards, self.propensities)):
            shapes = f"users {self.users.shape}, rewards {self.rewards.shape}, propensities {self.propensities.shape}"
            raise ValueError(f"logged requests need at least one row, and columns of one length: got {shapes}")
        if not np.isfinite(self.rewards).all():
            raise ValueError("rewards: some are NaN or infinite")
        wrong = ~((self.propensities > 0) & (self.propensities <= 1))
        if wrong.any():
            at = int(wrong.argmax())
            raise ValueError(f"propensities: must be above 0 and at most 1, row {at} has {self.propensities[at]}")

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """What a policy to be judged would do with the same N requests.

    chances    (N,) the probability that it gives the request the logged chain
    of_kind    (N,) the probability that it gives the request a chain of the logged one's kind
    expected   (N,) what a model expects that it earns: sum over chains of its probability times the model's reward
    penalties  (N,) what it takes off for what it spends: the same sum of the chains' penalties
    flops      (N,) the same sum of the chains' FLOPs
    """

    chances: Floats
    of_kind: Floats
    expected: Floats
    penalties: Floats
    flops: Floats
