"""The policy that a reward model makes: for each logged request, what it would have done at the prices of that time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allocator.choice import Floats, Ints, Mask, Rewards
from allocator.ope.logged import Target

Predict = Callable[[NDArray[Any]], Rewards]
"""Contexts (n, Fc) -> the reward of every chain, (n, J)."""
CHUNK_ROWS = 2048
RARELY = 0.5
"""A propensity below it is that of a request that explored."""


def newest(times_s: Floats, at_s: Floats) -> Ints:
    """Of policies that came into force at `times_s` (P,), ascending: the newest at or before each of `at_s` (N,).

    -1 where there was none yet.
    """
    found: Ints = np.searchsorted(times_s, at_s, side="right").astype(np.int64) - 1
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """N logged requests and what was in force when they came.

    contexts     (N, Fc) the reward models' input
    chains       (N,) the chain that each got
    policies     (N,) which row of the penalties was in force
    penalties    (P, J) what each chain's cost takes off its reward; infinite for a chain that is not available
    flops        (J,)
    kinds        (J,) the kind of each chain, from 0 on
    propensities (N,) as the serving policy said
    exploration  share of requests to which the target policies give any available chain, each as likely
    """

    contexts: NDArray[Any]
    chains: Ints
    policies: Ints
    penalties: Floats
    flops: Floats
    kinds: Ints
    propensities: Floats
    exploration: float = 0.0

    def __post_init__(self) -> None:
        if not np.isfinite(self.penalties).any(axis=1).all():
            raise ValueError("penalties: a policy leaves no chain available")
        if not 0.0 <= self.exploration <= 1.0:
            raise ValueError(f"exploration must be in [0, 1], got {self.exploration}")

    def __len__(self) -> int:
        return len(self.chains)


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Two policies on the same requests.

    targets    of each reward model, in the order in which they were given
    predicted  of each, what it predicts for the logged chains, (N,)
    by_first   of each, what the first model expects that it earns, (N,); `expected` of the targets is by the second
    agree      (N,) whether both take the same chain
    of_kind    (N,) the probability that the serving policy gave the request a chain of the logged one's kind
    """

    targets: tuple[Target, Target]
    predicted: tuple[Floats, Floats]
    by_first: tuple[Floats, Floats]
    agree: Mask
    of_kind: Floats


def judged(scene: Scene, models: tuple[Predict, Predict], tell: Callable[[float], None] = lambda _: None) -> Judged:
    """What the policies of two reward models would do.

    So many requests at a time that no matrix of all requests and chains is ever held.
    """
    parts = []
    for rows in _chunks(len(scene)):
        parts.append(_part(scene, rows, models))
        tell(rows.stop / len(scene))
    return Judged(
        targets=(_joined([part.targets[0] for part in parts]), _joined([part.targets[1] for part in parts])),
        predicted=(
            np.concatenate([part.predicted[0] for part in parts]),
            np.concatenate([part.predicted[1] for part in parts]),
        ),
        by_first=(
            np.concatenate([part.by_first[0] for part in parts]),
            np.concatenate([part.by_first[1] for part in parts]),
        ),
        agree=np.concatenate([part.agree for part in parts]),
        of_kind=np.concatenate([part.of_kind for part in parts]),
    )


def target_of(
    rewards: Rewards, model: Rewards, chains: Ints, penalties: Floats, of_chains: tuple[Floats, Ints], explores: float
) -> Target:
    """What argmax(reward - penalty), with exploration, does with requests that got these chains.

    rewards (N, J) decide, model (N, J) says what is expected; chains (N,), penalties (N, J); of the chains FLOPs and
    kinds, both (J,).
    """
    flops, kinds = of_chains
    best = best_of(rewards, penalties)
    everywhere = np.arange(len(best))
    available = np.isfinite(penalties)
    share = explores / available.sum(axis=1)

    def mean(of: Rewards) -> Floats:
        taken = of[everywhere, best].astype(np.float64)
        if explores == 0.0:
            return taken
        spread = np.where(available, of, 0.0).sum(axis=1, dtype=np.float64)
        mixed: Floats = (1.0 - explores) * taken + share * spread
        return mixed

    chances = (1.0 - explores) * (best == chains) + share * available[everywhere, chains]
    alike = kinds[None] == kinds[chains][:, None]
    of_kind = (1.0 - explores) * (kinds[best] == kinds[chains]) + share * (available & alike).sum(axis=1)
    return Target(chances, of_kind, mean(model), mean(penalties), mean(np.broadcast_to(flops, rewards.shape)))


def best_of(rewards: Rewards, penalties: Floats) -> Ints:
    """The chain with the largest `reward - penalty` of each row, (N,); both (N, J)."""
    chains: Ints = (rewards - penalties.astype(rewards.dtype)).argmax(axis=1)
    return chains


def kind_propensities(chains: Ints, propensities: Floats, penalties: Floats, kinds: Ints, believed: Ints) -> Floats:
    """The probability with which the policy that served gave requests a chain of the logged one's kind, (N,).

    It gave its choice, or with a small probability any available chain, each as likely. A propensity of at least a half
    is that of its choice; else its choice is taken to be `believed` (N,): what the current model would have chosen.
    """
    available = np.isfinite(penalties)
    count = available.sum(axis=1)
    chosen = propensities >= RARELY
    share = np.where(chosen, (1.0 - propensities) / np.maximum(count - 1, 1), propensities)
    choice = kinds[np.where(chosen, chains, believed)] == kinds[chains]
    alike = (available & (kinds[None] == kinds[chains][:, None])).sum(axis=1)
    found: Floats = share * alike + np.maximum(1.0 - share * count, 0.0) * choice
    return np.maximum(found, propensities)  # a chain that was not available by the policy that was logged last


def _part(scene: Scene, rows: slice, models: tuple[Predict, Predict]) -> Judged:
    contexts, chains = scene.contexts[rows], scene.chains[rows]
    penalties = scene.penalties[scene.policies[rows]]
    rewards = [model(contexts) for model in models]
    of_chains = scene.flops, scene.kinds
    targets = [
        [target_of(one, model, chains, penalties, of_chains, scene.exploration) for model in rewards] for one in rewards
    ]
    logged = [one[np.arange(len(chains)), chains].astype(np.float64) for one in rewards]
    best = [best_of(one, penalties) for one in rewards]
    of_kind = kind_propensities(chains, scene.propensities[rows], penalties, scene.kinds, best[0])
    return Judged(
        targets=(targets[0][1], targets[1][1]),
        predicted=(logged[0], logged[1]),
        by_first=(targets[0][0].expected, targets[1][0].expected),
        agree=best[0] == best[1],
        of_kind=of_kind,
    )


def _chunks(rows: int) -> Iterator[slice]:
    for start in range(0, rows, CHUNK_ROWS):
        yield slice(start, min(rows, start + CHUNK_ROWS))


def _joined(parts: list[Target]) -> Target:
    return Target(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Target)))
