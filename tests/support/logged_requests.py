"""Requests to a tiny cascade that were served, answered with rewards and logged, as a cluster does it."""

from math import nan
from pathlib import Path

import numpy as np
from tiny_cascade import TinyCascade
from tiny_reward import space_of

from allocator.arms import HOLDBACK, POLICY, Assignment
from allocator.policy import Policy
from allocator.reward import RewardModel, context_of
from cluster.control_settings import reward_model_name
from cluster.outcomes.log import FileLog
from cluster.outcomes.log_settings import LogSettings
from cluster.outcomes.log_tables import Head
from cluster.outcomes.records import Decisions, PolicyRow, Reward
from models.features import UserQuery
from models.loading import Cascade

BEGAN_S = 1_800_000_000.0
HORIZON_S = 60.0
PRICE = 0.05
"""Reward that is taken off for the dearest chain's FLOPs."""


def write_log(
    tiny: TinyCascade,
    folder: Path,
    requests: int = 3000,
    explores: float = 0.5,
    contexts: bool = True,
    seed: int = 0,
    horizon_s: float | None = None,
    served: str | None = None,
    codes: str = "",
    writer: str = "test",
) -> None:
    """A log in which dear chains earn less than the reward model predicts: twice as much less as it thinks more."""
    cascade, space, rng = Cascade.open(tiny.folder), space_of(tiny), np.random.default_rng(seed)
    spec = cascade.spec
    ids = [
        *tiny.user_ids.tolist(),
        *(f"guest {at}" if tiny.user_ids.dtype.kind == "U" else 1000 + at for at in range(60)),
    ]
    users = cascade.users.rows([UserQuery(user_id) for user_id in ids])
    inputs = context_of(users)
    predicted = RewardModel.open(tiny.folder, spec, space).predict(inputs)
    worth = predicted.mean(axis=1, keepdims=True) - 1.0 * (predicted - predicted.mean(axis=1, keepdims=True))
    price = PRICE / space.flops.max()
    policy = Policy(
        7,
        BEGAN_S,
        np.array([price]),
        space.flops[:, None],
        np.ones(len(space), bool),
        "m",
        space.static.index,
        explores,
    )
    log = FileLog(
        LogSettings(folder=folder, contexts=contexts),
        Head(spec.name, served or reward_model_name(spec), tuple(chain.id for chain in space), horizon_s, codes),
        writer,
        BEGAN_S,
    )
    log.add_policy(PolicyRow(7, BEGAN_S, (space.flops * price).astype(np.float32)))
    units = [Assignment(0.1, "salt").of(user_id) for user_id in ids]
    for begin in range(0, requests, 100):
        drawn = rng.integers(0, len(ids), 100)
        decided = policy.decide(predicted[drawn], rng)
        arms = np.array([units[row].arm for row in drawn], np.int8)
        chains = np.where(arms == POLICY, decided.chains, space.static.index)
        names = tuple(f"r{begin + at}" for at in range(100))
        log.add_decisions(
            Decisions(
                time_s=BEGAN_S + begin,
                request_ids=names,
                users=np.array([units[row].mark for row in drawn], np.uint64),
                groups=np.array([units[row].group for row in drawn], np.int16),
                arms=arms,
                contexts=inputs[drawn].astype(np.float32),
                chains=chains.astype(np.int32),
                propensities=np.where(arms == HOLDBACK, 1.0, decided.propensities).astype(np.float32),
                predicted=predicted[drawn, chains],
                flops=space.flops[chains],
                energy_j=np.full(100, nan, np.float32),
                static_j=nan,
                error_j=nan,
                grams_per_j=nan,
                policy_version=7,
                degraded=np.zeros(100, bool),
            )
        )
        earned = worth[drawn, chains] + rng.normal(0, 0.05, 100)
        log.add_outcomes([Reward(n, float(r), BEGAN_S + begin + 1) for n, r in zip(names, earned, strict=True)])
    log.flush(BEGAN_S + requests + 2 * HORIZON_S, everything=True)
