"""How the policy stands, for people: what /v1/policy says."""

from typing import Any

import numpy as np

from allocator.chains import ChainSpace
from cluster.deciding import Allocation
from cluster.snapshot import Standing
from models.errors import TryAgain

MOST_MASKED = 100


def policy_payload(allocation: Allocation, space: ChainSpace) -> dict[str, Any]:
    """As `cluster.schemas.PolicyResponse`, from what this replica holds. Raises TryAgain before it holds any."""
    follower = allocation.follower
    snapshot = follower.snapshot
    if snapshot is None:
        raise TryAgain("no policy yet: the controller has not been heard")
    policy = snapshot.policy
    masked = np.flatnonzero(~policy.available)[:MOST_MASKED].tolist()
    return {
        "version": policy.version,
        "time_s": policy.time_s,
        "age_s": follower.age_s,
        "stale": follower.stale,
        "reward_model": policy.reward_model,
        "constraints": [_constraint(standing) for standing in snapshot.standings],
        "available": int(policy.available.sum()),
        "masked": [space.chains[index].id for index in masked],
        "safe_chain": allocation.safe_now(space).id,
        "deciding_cpu_s": snapshot.deciding_s,
    }


def _constraint(standing: Standing) -> dict[str, Any]:
    return {
        "name": standing.name,
        "kind": standing.kind,
        "limit": standing.limit if standing.limited else None,
        "unit": standing.unit,
        "spend": standing.spend,
        "price": standing.price,
        "reachable": standing.reachable,
    }
