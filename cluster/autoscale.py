"""Which variants scale, by what rules, and which cold ones the prices ask for. Pure; no Ray here.

A variant that no request takes falls to its least number of replicas by Serve's own rules: nothing calls it. What Serve
cannot know is when a variant without a replica is wanted again, for its chains are not available and so get no
requests. That is read from the rewards of requests: if the chain of the best reward less price times cost is one of a
cold variant, it is wanted.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from allocator.chains import ActionChain, ChainSpace
from allocator.choice import Floats, Ints, Mask, Rewards, best_chains, penalties, rewards_of
from allocator.energy.windows import Name
from allocator.policy import Policy
from cluster.autoscale_settings import AutoscaleSettings
from cluster.availability import without
from cluster.config import Settings
from cluster.ongoing import by_load

LEAST_SHARE = 0.02
"""Of the requests in a window, below which a variant is not worth a replica."""
MOST_ROWS = 512
STEADY_WINDOWS = 3
METRICS_S = 10.0
"""Serve's own pace of reports on calls; changing it is deprecated, and needed only to average over less than that."""


def kept_warm(settings: Settings, space: ChainSpace) -> frozenset[Name]:
    """The variants that always have a replica: those of a safe chain that is set, else those of the cheapest chain."""
    named = settings.allocator.safe_chain
    chain = space.chains[int(space.flops.argmin())] if named is None else space.get(named)
    return frozenset() if chain is None else used_by(chain)


def cold_variants(settings: Settings, space: ChainSpace) -> frozenset[Name]:
    """The variants that may be without a replica on purpose."""
    if not settings.autoscale.enabled or settings.autoscale.min_replicas > 0:
        return frozenset()
    return frozenset(space.variants) - kept_warm(settings, space)


def used_by(chain: ActionChain) -> frozenset[Name]:
    """The variants of a chain."""
    return frozenset((action.stage, action.variant) for action in chain.actions if action.variant is not None)


def scaling(settings: AutoscaleSettings, replicas: int, warm: bool) -> dict[str, object]:
    """A deployment's `autoscaling_config`. It starts with `replicas`, one at least, so that each variant is tried once.

    warm  whether there is always a replica
    """
    least = max(settings.min_replicas, 1 if warm else 0)
    config: dict[str, object] = {
        "min_replicas": least,
        "initial_replicas": min(max(replicas, least, 1), settings.max_replicas),
        "max_replicas": settings.max_replicas,
        "target_ongoing_requests": settings.target_ongoing,
        "upscale_delay_s": settings.upscale_delay_s,
        "downscale_delay_s": settings.downscale_delay_s,
        "look_back_period_s": settings.look_back_s,
        "policy": {"policy_function": f"{by_load.__module__}:{by_load.__name__}"},
    }
    if settings.look_back_s <= METRICS_S:
        config["metrics_interval_s"] = settings.look_back_s / 3
    return config


def wanted(
    space: ChainSpace, policy: Policy, rewards: Rewards, away: frozenset[Name], scaled: frozenset[Name]
) -> frozenset[Name]:
    """The variants away that requests would take under these prices, were they there.

    A chain of theirs must be strictly better than all that can run now, for LEAST_SHARE of the requests at least.

    rewards  (S, J) of requests of late; of many, MOST_ROWS are looked at
    away     variants that requests cannot be sent to; those among them that can be made warm are `scaled`
    """
    some = rewards[:: -(-len(rewards) // MOST_ROWS) or 1]
    usable = some[np.isfinite(some).all(axis=1)]
    could, can = without(space, away - scaled), without(space, away)
    if not (len(usable) and could.any()):
        return frozenset()
    chains, better = _best(usable, policy, could)
    if can.any():
        _, now = _best(usable, policy, can)
        chains = chains[better > now]
    share = space.calls[chains].sum(axis=0) / len(usable)
    names = zip(space.variants, share, strict=True)
    return frozenset(name for name, of in names if name in away and of >= LEAST_SHARE)


def _best(rewards: Rewards, policy: Policy, open_chains: Mask) -> tuple[Ints, Floats]:
    penalty = penalties(policy.costs, policy.prices, open_chains)
    chains = best_chains(rewards, penalty)
    return chains, rewards_of(rewards, chains) - penalty[chains]


@dataclass(frozen=True, slots=True)
class Warmth:
    """For how many windows in a row each cold variant has been wanted."""

    windows: dict[Name, int] = field(default_factory=dict)

    def after(self, now: Collection[Name]) -> "Warmth":
        """With one more window, in which these are wanted. One that told nothing of wishes is to be left out."""
        return Warmth({name: self.windows.get(name, 0) + 1 for name in now})

    @property
    def due(self) -> frozenset[Name]:
        """Those to be made warm: a passing price does not start a replica."""
        return frozenset(name for name, windows in self.windows.items() if windows >= STEADY_WINDOWS)
