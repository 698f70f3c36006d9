"""Decisions made up for tests: what matters is said, the rest is drawn."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from allocator.arms import GROUPS
from cluster.outcomes.log_tables import Head
from cluster.outcomes.records import Decisions

BEGAN_S = 1_700_000_000.0
CHAINS = 5
HEAD = Head("cascade-1", "model-1", tuple(f"chain-{at}" for at in range(CHAINS)))


def decisions(ids: Sequence[str], time_s: float = BEGAN_S, width: int = 3, **given: Any) -> Decisions:
    """A micro-batch of these requests."""
    count, rng = len(ids), np.random.default_rng(abs(hash((tuple(ids), time_s))))
    made = {
        "users": rng.integers(0, 2**64, count, np.uint64),
        "groups": rng.integers(0, GROUPS, count).astype(np.int16),
        "arms": rng.integers(0, 3, count).astype(np.int8),
        "contexts": rng.random((count, width), np.float32),
        "chains": rng.integers(0, CHAINS, count).astype(np.int32),
        "propensities": rng.random(count, np.float32),
        "predicted": np.where(rng.random(count) < 0.2, np.nan, rng.random(count)).astype(np.float32),
        "flops": rng.random(count) * 1e9,
        "energy_j": np.where(rng.random(count) < 0.2, np.nan, rng.random(count)).astype(np.float32),
        "static_j": 2.0, "error_j": 0.1, "grams_per_j": 1e-4, "policy_version": 7,
        "degraded": rng.random(count) < 0.1,
    }  # fmt: skip
    return Decisions(time_s=time_s, request_ids=tuple(ids), **{**made, **given})


def numbered(count: int, prefix: str = "r", begin: int = 0) -> tuple[str, ...]:
    """So many request ids."""
    return tuple(f"{prefix}{at}" for at in range(begin, begin + count))
