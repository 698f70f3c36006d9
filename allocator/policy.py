"""The policy: an immutable snapshot of all that a decision needs, and the decision itself."""

from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from allocator.choice import Floats, Ints, Mask, Rewards, penalties, without
from models.errors import FixFile, TryAgain


@dataclass(frozen=True, slots=True)
class Decisions:
    """What a policy gives B requests.

    chains        (B,) index of each request's chain
    rewards       (B,) predicted reward of that chain
    costs         (B, M) its cost by resource
    propensities  (B,) the probability with which this policy gives this request this chain; 1 without exploration
    """

    chains: Ints
    rewards: Floats
    costs: Floats
    propensities: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """A snapshot. Its arrays are copies that nobody can write to, so readers need no lock and a swap is one assignment.

    version      rises with every snapshot
    time_s       when it was made, on the controller's clock
    prices       (M,) reward per unit of each resource; finite and >= 0
    costs        (J, M) cost of a request under each chain, by resource
    available    (J,) the chains that may be taken
    reward_model the file or hash of the model whose rewards it expects
    safe_chain   what a request takes when nobody can decide
    exploration  share of requests that take a chain at random
    """

    version: int
    time_s: float
    prices: Floats
    costs: Floats
    available: Mask
    reward_model: str
    safe_chain: int
    exploration: float = 0.0
    _penalty: Floats = field(init=False, repr=False)
    _cheapness: Ints = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name, kind in (("prices", np.float64), ("costs", np.float64), ("available", np.bool_)):
            object.__setattr__(self, name, _frozen(np.array(getattr(self, name), dtype=kind)))
        self._check()
        object.__setattr__(self, "_penalty", _frozen(penalties(self.costs, self.prices, self.available)))
        cheapest_first = np.lexsort(self.costs.T[::-1])
        cheapness = np.empty(len(self.costs), np.int64)
        cheapness[cheapest_first] = np.arange(len(self.costs))
        object.__setattr__(self, "_cheapness", _frozen(cheapness))

    @property
    def penalty(self) -> Floats:
        """What each chain's cost takes off its reward, (J,); infinite for one that is not available."""
        return self._penalty

    def __reduce__(self) -> tuple[Any, ...]:
        # Arrays come out of a pickle writable; made anew they are not, and what follows from them need not travel.
        return type(self), tuple(getattr(self, f.name) for f in fields(self) if f.init)

    def _check(self) -> None:
        chains, resources = self.costs.shape
        if self.prices.shape != (resources,) or self.available.shape != (chains,):
            shapes = f"prices {self.prices.shape}, costs {self.costs.shape}, available {self.available.shape}"
            raise ValueError(f"a policy's arrays must fit together, got {shapes}")
        if not (np.isfinite(self.prices).all() and (self.prices >= 0).all()):
            raise ValueError(f"prices must be finite and >= 0, got {self.prices}")
        if not np.isfinite(self.costs).all():
            raise ValueError("costs must be finite")
        if not 0 <= self.safe_chain < chains:
            raise ValueError(f"the safe chain must be one of {chains} chains, got {self.safe_chain}")
        if not 0.0 <= self.exploration <= 1.0:
            raise ValueError(f"exploration must be in [0, 1], got {self.exploration}")

    def next(self, time_s: float, **changes: Any) -> Self:
        """The following snapshot: version + 1, with the fields that `changes` names."""
        return replace(self, version=self.version + 1, time_s=time_s, **changes)

    def decide(
        self, rewards: Rewards, rng: np.random.Generator | None = None, allowed: Mask | None = None
    ) -> Decisions:
        """The chain with the best reward minus price times cost, for each row of `rewards` (B, J).

        Of equally good chains the cheaper one is taken (by the first resource, then the next), of equally cheap ones
        the first. With exploration a share of the requests takes any available chain, all equally likely, from `rng`.

        allowed  (B, J) which of the available chains each request may take, at least one; None for all

        Raises TryAgain when no chain is available, FixFile when the reward model's output is NaN, infinite, or of the
        wrong shape.
        """
        chains = self.chosen(rewards, allowed)
        propensities = np.ones(len(chains))
        if self.exploration > 0.0:
            if rng is None:
                raise ValueError("a policy that explores needs a random generator")
            chains, propensities = self._explored(chains, rng, allowed)
        predicted = rewards[np.arange(len(chains)), chains].astype(np.float64)
        return Decisions(chains, predicted, self.costs[chains], propensities)

    def chosen(self, rewards: Rewards, allowed: Mask | None = None) -> Ints:
        """The chains of `decide` where nothing is explored, (B,)."""
        if rewards.ndim != 2 or rewards.shape[1] != len(self.costs):
            expected = f"(requests, {len(self.costs)})"
            raise FixFile(self.reward_model, "reward", f"expected rewards {expected}, got {rewards.shape}")
        if not self.available.any():
            raise TryAgain("no chain is available: some stage has no healthy variant; retry when it is back")
        return self._best(rewards if allowed is None else without(rewards, allowed))

    def _best(self, rewards: Rewards) -> Ints:
        net: NDArray[Any] = rewards - self._penalty.astype(rewards.dtype)
        chains: Ints = net.argmax(axis=1)
        top = net[np.arange(len(chains)), chains]
        if not np.isfinite(top).all():  # argmax stops at the first NaN, so the top is NaN where any net value is
            raise FixFile(self.reward_model, "reward", "predicted a reward that is NaN or infinite; retrain the model")
        equal = net == top[:, None]
        if np.count_nonzero(equal) > len(chains):
            last = len(self.costs)
            chains = np.where(equal, self._cheapness, last).argmin(axis=1)
        return chains

    def _explored(self, best: Ints, rng: np.random.Generator, allowed: Mask | None) -> tuple[Ints, Floats]:
        """Some of them changed for any that is open, and the probability of each."""
        count = np.full(len(best), np.count_nonzero(self.available))
        if allowed is not None:
            allowed = allowed & self.available
            count = np.count_nonzero(allowed, axis=1)
        chains = best.copy()
        for row in np.flatnonzero(rng.random(len(best)) < self.exploration):
            chains[row] = rng.choice(np.flatnonzero(self.available if allowed is None else allowed[row]))
        share = self.exploration / count
        return chains, np.where(chains == best, 1.0 - self.exploration + share, share)


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.setflags(write=False)
    return array
