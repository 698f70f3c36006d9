"""A cascade under users who change: what every chain earns before and after, and traffic with its log."""

import shutil
from dataclasses import dataclass, replace
from math import nan
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from allocator.arms import HOLDBACK, POLICY, Assignment
from allocator.chains import ChainSpace
from allocator.choice import Floats, rewards_of
from allocator.optimum import bisect_price
from allocator.policy import Policy
from allocator.replay import Replay
from allocator.reward import RewardModel, context_of
from allocator.rewards import ClickChance
from allocator.table import held_out
from cluster.commands.first_reward import first_reward
from cluster.control_settings import reward_model_name
from cluster.outcomes.log import FileLog
from cluster.outcomes.log_settings import LogSettings
from cluster.outcomes.log_tables import Head
from cluster.outcomes.records import Decisions, PolicyRow, Reward
from models.features import UserQuery
from models.loading import Cascade
from models.spec import write_spec
from models.worlds.shifted import ShiftedTruth
from models.worlds.simulate import synthetic_world
from models.worlds.synthetic import SyntheticConfig

ROWS = 64
BATCH = 500
BEGAN_S = 1_800_000_000.0
LASTS_S = 86_400.0
HORIZON_S = 1800.0
HOLDBACK_SHARE = 0.02
BROKEN = "dien"
SHIFTS, NOTHING = ("tastes", "ranker"), "nothing"


@dataclass(frozen=True, eq=False)
class Users:
    """All users of the cascade's table.

    folder  of the cascade
    lists    (U, J, k) items that each chain recommends
    held     (U,) users who never come by while the log is written: what is earned from them is the result
    contexts, predicted  (U, Fc), and (U, J) by the cascade's own reward model
    """

    folder: Path
    cascade: Cascade
    space: ChainSpace
    lists: NDArray[np.int32]
    contexts: NDArray[np.generic]
    predicted: NDArray[np.float32]
    held: NDArray[np.bool_]

    @classmethod
    def of(cls, folder: Path, cache: Path) -> "Users":
        """Run every chain for every user, about a minute; remembered in `cache`."""
        cascade = Cascade.open(folder)
        space = ChainSpace(cascade.spec, len(cascade.items))
        ids = cascade.users.ids.ids(np.arange(len(cascade.users.ids)))
        users = cascade.users.rows([UserQuery(user_id) for user_id in ids])
        if cache.exists():
            lists = np.load(cache)
        else:
            replay = Replay(cascade, space)
            parts = (np.arange(at, min(at + ROWS, len(users))) for at in range(0, len(users), ROWS))
            lists = np.concatenate([replay.run(users.take(rows)) for rows in parts])
            cache.parent.mkdir(parents=True, exist_ok=True)
            np.save(cache, lists)
        contexts = context_of(users)
        predicted = predictions(folder, cascade, space, contexts)
        return cls(folder, cascade, space, lists, contexts, predicted, held_out(ids))

    def with_first(self, folder: Path) -> "Users":
        """The same, of a copy of the cascade whose reward model is a guess (`train-reward --first`)."""
        shutil.copytree(self.folder, folder)
        write_spec(self.cascade.spec.model_copy(update={"reward": None}), folder)
        first_reward(Console(stderr=True, quiet=True), folder)
        cascade = Cascade.open(folder)
        predicted = predictions(folder, cascade, self.space, self.contexts)
        return replace(self, folder=folder, cascade=cascade, predicted=predicted)

    def chances(self, chance: ClickChance) -> NDArray[np.float32]:
        """The chance of a click on every item of every chain's list, (U, J, k)."""
        found = np.empty(self.lists.shape, np.float32)
        for at in range(0, len(self.lists), ROWS):
            lists = self.lists[at : at + ROWS]
            users = np.arange(at, at + len(lists))
            found[at : at + ROWS] = chance.click_probability(users, lists.reshape(len(lists), -1)).reshape(lists.shape)
        return found

    def with_broken_ranker(self, chances: NDArray[np.float32]) -> NDArray[np.float32]:
        """As if `BROKEN` scored all items alike: its chains recommend what they would without it."""
        found = chances.copy()
        for chain in self.space:
            if chain.actions[-1].variant == BROKEN:
                bare = self.space.get(">".join([*(action.id for action in chain.actions[:-1]), "skip"]))
                assert bare is not None
                found[:, chain.index] = chances[:, bare.index]
        return found

    def worlds(self, shift: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Chances before and after the shift; `NOTHING` is none."""
        truth = synthetic_world(SyntheticConfig())[1]
        before = self.chances(truth)
        if shift == NOTHING:
            return before, before
        after = self.with_broken_ranker(before) if shift == "ranker" else self.chances(ShiftedTruth(truth))
        return before, after

    def budget(self, share: float) -> float:
        """FLOPs of a request: so much of the way from the cheapest chain to the static one."""
        flops = self.space.flops
        return float(flops.min() + share * (flops[self.space.static.index] - flops.min()))

    def earned(self, predicted: NDArray[np.floating], truth: Floats, budget: float) -> Floats:
        """What an allocation by predicted rewards earns from the held-out users within a budget, (H,)."""
        total = budget * int(self.held.sum())
        chains = bisect_price(predicted[self.held].astype(np.float64), self.space.flops, total).chains
        return rewards_of(truth[self.held], chains)


def predictions(
    folder: Path, cascade: Cascade, space: ChainSpace, contexts: NDArray[np.generic], model: Path | None = None
) -> NDArray[np.float32]:
    """Of the cascade's reward model, or of another file of the kind, (n, J)."""
    from models.session import Session

    opened = RewardModel.open(folder, cascade.spec, space) if model is None else RewardModel(Session.open(model))
    return np.concatenate([opened.predict(contexts[at : at + ROWS]) for at in range(0, len(contexts), ROWS)])


@dataclass(frozen=True)
class Traffic:
    """What is served: so many requests within a day, at the price that meets the budget before the shift."""

    requests: int
    explored: float
    budget: float
    seed: int

    def log(self, users: Users, chances: NDArray[np.float32], folder: Path) -> float:
        """Serve it by the current model, click by chance, and log it as the cluster would; the price."""
        rng, space, spec = np.random.default_rng(self.seed), users.space, users.cascade.spec
        rows = np.flatnonzero(~users.held)
        offline = bisect_price(users.predicted[rows].astype(np.float64), space.flops, self.budget * len(rows))
        policy = Policy(
            1, BEGAN_S, offline.prices, space.flops[:, None], np.ones(len(space), bool), reward_model_name(spec),
            space.static.index, self.explored,
        )  # fmt: skip
        head = Head(spec.name, reward_model_name(spec), tuple(chain.id for chain in space))
        log = FileLog(LogSettings(folder=folder), head, "bench", BEGAN_S)
        log.add_policy(PolicyRow(1, BEGAN_S, (space.flops * offline.prices[0]).astype(np.float32)))
        units = [Assignment(HOLDBACK_SHARE, "bench").of(int(row)) for row in range(len(users.held))]
        for begin in range(0, self.requests, BATCH):
            drawn = rng.choice(rows, min(BATCH, self.requests - begin))
            now_s = BEGAN_S + LASTS_S * begin / self.requests
            arms = np.array([units[row].arm for row in drawn], np.int8)
            decided = policy.decide(users.predicted[drawn], rng)
            chains = np.where(arms == POLICY, decided.chains, space.static.index)
            propensities = np.where(arms == HOLDBACK, 1.0, decided.propensities)
            clicks = (rng.random((len(drawn), spec.k)) < chances[drawn, chains]).sum(axis=1)
            ids = tuple(f"r{begin + at}" for at in range(len(drawn)))
            nothing = np.full(len(drawn), nan, np.float32)
            log.add_decisions(
                Decisions(
                    time_s=now_s,
                    request_ids=ids,
                    users=np.array([units[row].mark for row in drawn], np.uint64),
                    groups=np.array([units[row].group for row in drawn], np.int16),
                    arms=arms,
                    contexts=users.contexts[drawn].astype(np.float32),
                    chains=chains.astype(np.int32),
                    propensities=propensities.astype(np.float32),
                    predicted=users.predicted[drawn, chains],
                    flops=space.flops[chains],
                    energy_j=nothing,
                    static_j=nan,
                    error_j=nan,
                    grams_per_j=nan,
                    policy_version=1,
                    degraded=np.zeros(len(drawn), bool),
                )
            )
            log.add_outcomes([Reward(i, float(c), now_s + 5.0) for i, c in zip(ids, clicks, strict=True) if c])
            log.flush(now_s)
        log.flush(BEGAN_S + LASTS_S + 2 * HORIZON_S, everything=True)
        if sum(log.counts.dropped.values()):
            raise RuntimeError("the log dropped rows")
        return float(offline.prices[0])
