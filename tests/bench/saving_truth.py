"""What the truth says of the same requests, and what fixed chains would bring: no experiment is asked."""

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from saving_stand import Heard

from allocator import rows
from allocator.chains import ChainSpace
from allocator.energy import saved
from allocator.energy.figures import chain_joules
from allocator.energy.prior import from_flops
from allocator.replay import Replay
from allocator.rewards import ClickChance, ExpectedClicks
from cluster.accountant import MODEL_KEY
from cluster.computing import ROWS as ROWS_KEY
from cluster.traffic.clicks import Shown
from cluster.traffic.world_users import WorldUsers
from models.features import UserQuery
from models.loading import Cascade

Floats = NDArray[np.float64]
ROWS = 50


@dataclass(frozen=True)
class ArmTruth:
    """Means of an arm's requests: expected clicks and FLOPs, and joules by FLOPs where these are what draws."""

    requests: int
    reward: float
    flops: float
    energy_j: float | None


@dataclass(frozen=True)
class Fixed:
    """What a chain for all brings, as shares of the static chain's: reward and FLOPs; means over the same users."""

    chain: str
    reward: float
    flops: float


def by_arm(heard: Heard, world: WorldUsers, space: ChainSpace, j_per_flop: float | None) -> dict[str, ArmTruth]:
    """Of all that was answered."""
    found = {}
    for arm in ("policy", "holdback"):
        pairs = [(json.loads(b)["user_id"], a) for b, a in heard.pages if a.arm == arm]
        if not pairs:
            continue
        chances = world.chances([Shown("", user, answer.items) for user, answer in pairs])
        flops = float(np.mean([chain.flops for _, a in pairs if (chain := space.get(a.chain or ""))]))
        joules = None if j_per_flop is None else flops * j_per_flop
        found[arm] = ArmTruth(len(pairs), float(np.mean([c.sum() for c in chances])), flops, joules)
    return found


def some_pages(heard: Heard, most: int) -> list[Shown]:
    """Pages that the policy decided, at most so many, drawn with seed 0."""
    pairs = [(json.loads(body)["user_id"], answer.items) for body, answer in heard.pages if answer.arm == "policy"]
    drawn = np.random.default_rng(0).permutation(len(pairs))[:most]
    return [Shown("", *pairs[at]) for at in drawn]


def chain_rewards(cascade: Cascade, space: ChainSpace, chance: ClickChance, pages: Sequence[Shown]) -> Floats:
    """(J,) mean expected clicks that each chain would have earned on these requests."""
    replay, source = Replay(cascade, space), ExpectedClicks(chance)
    rows = cascade.users.ids.find([page.user for page in pages])
    total = np.zeros(len(space))
    for start in range(0, len(rows), ROWS):
        at = rows[start : start + ROWS]
        queries = [UserQuery(user_id) for user_id in cascade.users.ids.ids(at)]
        total += source(at, replay.run(cascade.users.rows(queries))).sum(axis=0)
    return total / len(rows)


def cheapest(space: ChainSpace, rewards: Floats, least: float) -> Fixed:
    """The fixed chain of fewest FLOPs that earns at least this share of the static chain's reward; else the best."""
    shares = rewards / rewards[space.static.index]
    enough = np.flatnonzero(shares >= min(least, float(shares.max())) - 1e-12)
    at = int(enough[np.argmin(space.flops[enough])])
    return Fixed(space.chains[at].id, float(shares[at]), float(space.flops[at] / space.static.flops))


def believed_j(ledger: Path, cascade: Cascade, space: ChainSpace) -> Floats:
    """(J,) joules of a request under each chain, as the server thought that kept this ledger, when it ended."""
    with closing(sqlite3.connect(ledger)) as there:
        kept = dict(there.execute("SELECT key, value FROM state").fetchall())
    model, _ = saved.restored(from_flops(cascade.spec), kept[MODEL_KEY])
    return chain_joules(model, space, rows.restored(space, kept[ROWS_KEY]).per_run)


def mean_cost(heard: Heard, space: ChainSpace, costs: Floats) -> float:
    """Mean of `costs` (J,) over all requests that the policy decided."""
    ran = [chain.index for _, a in heard.pages if a.arm == "policy" and (chain := space.get(a.chain or ""))]
    return float(costs[ran].mean())


def mixed(space: ChainSpace, rewards: Floats, least: float, costs: Floats) -> float:
    """What it costs, as a share of the static chain's, by `costs` (J,): the cheapest random mix of two fixed chains
    that earns this share.

    By the lower convex hull of (reward, cost): for each pair around `least`, the point between.
    """
    shares, relative = rewards / rewards[space.static.index], costs / costs[space.static.index]
    above, below = np.flatnonzero(shares >= least), np.flatnonzero(shares < least)
    if not len(above):
        return float("nan")
    if not len(below):
        return float(relative[above].min())
    weight = (least - shares[below])[:, None] / (shares[above][None, :] - shares[below][:, None])
    between = relative[below][:, None] * (1 - weight) + relative[above][None, :] * weight
    return float(min(between.min(), relative[above].min()))
