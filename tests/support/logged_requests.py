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
VERSION, GUESTS = 7, 60
AT_ONCE = 100
"""Requests in a parcel of the log."""
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
    traffic = _Traffic(tiny, explores, seed)
    spec, space = traffic.spec, traffic.space
    log = FileLog(
        LogSettings(folder=folder, contexts=contexts),
        Head(spec.name, served or reward_model_name(spec), tuple(chain.id for chain in space), horizon_s, codes),
        writer,
        BEGAN_S,
    )
    price = traffic.policy.prices[0]
    log.add_policy(PolicyRow(VERSION, BEGAN_S, (space.flops * price).astype(np.float32)))
    for begin in range(0, requests, AT_ONCE):
        decisions, outcomes = traffic.next(begin)
        log.add_decisions(decisions)
        log.add_outcomes(outcomes)
    log.flush(BEGAN_S + requests + 2 * HORIZON_S, everything=True)


class _Traffic:
    """Users on file and guests, in any order, decided by one policy."""

    def __init__(self, tiny: TinyCascade, explores: float, seed: int) -> None:
        cascade, self.space, self._rng = Cascade.open(tiny.folder), space_of(tiny), np.random.default_rng(seed)
        self.spec = cascade.spec
        guests = (f"guest {at}" if tiny.user_ids.dtype.kind == "U" else 1000 + at for at in range(GUESTS))
        ids = [*tiny.user_ids.tolist(), *guests]
        self._units = [Assignment(0.1, "salt").of(user_id) for user_id in ids]
        self._inputs = context_of(cascade.users.rows([UserQuery(user_id) for user_id in ids]))
        self._predicted = RewardModel.open(tiny.folder, self.spec, self.space).predict(self._inputs)
        mean = self._predicted.mean(axis=1, keepdims=True)
        self._worth = mean - 1.0 * (self._predicted - mean)
        self.policy = Policy(
            version=VERSION,
            time_s=BEGAN_S,
            prices=np.array([PRICE / self.space.flops.max()]),
            costs=self.space.flops[:, None],
            available=np.ones(len(self.space), bool),
            reward_model="m",
            safe_chain=self.space.static.index,
            exploration=explores,
        )

    def next(self, begin: int) -> tuple[Decisions, list[Reward]]:
        """The requests from number `begin` on, AT_ONCE of them, and what each earned a second later."""
        drawn = self._rng.integers(0, len(self._units), AT_ONCE)
        decided = self.policy.decide(self._predicted[drawn], self._rng)
        arms = np.array([self._units[row].arm for row in drawn], np.int8)
        chains = np.where(arms == POLICY, decided.chains, self.space.static.index)
        names = tuple(f"r{begin + at}" for at in range(AT_ONCE))
        decisions = Decisions(
            time_s=BEGAN_S + begin,
            request_ids=names,
            users=np.array([self._units[row].mark for row in drawn], np.uint64),
            groups=np.array([self._units[row].group for row in drawn], np.int16),
            arms=arms,
            contexts=self._inputs[drawn].astype(np.float32),
            chains=chains.astype(np.int32),
            propensities=np.where(arms == HOLDBACK, 1.0, decided.propensities).astype(np.float32),
            predicted=self._predicted[drawn, chains],
            flops=self.space.flops[chains],
            energy_j=np.full(AT_ONCE, nan, np.float32),
            static_j=nan,
            error_j=nan,
            grams_per_j=nan,
            policy_version=VERSION,
            degraded=np.zeros(AT_ONCE, bool),
        )
        earned = self._worth[drawn, chains] + self._rng.normal(0, 0.05, AT_ONCE)
        at_s = BEGAN_S + begin + 1
        return decisions, [Reward(name, float(reward), at_s) for name, reward in zip(names, earned, strict=True)]
