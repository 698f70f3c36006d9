"""What passes through the Recommender: a request that was checked, the chain it was given, and its answer."""

from dataclasses import dataclass
from math import inf
from typing import Any

from allocator.chains import ActionChain
from allocator.request_joules import Rates
from models.features import UserQuery

Payload = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A request, checked: who asks, for how many items, under which chain; None leaves the chain to the policy.

    named       whether the request itself names that chain
    deadline_s  on the event loop's clock, infinity for none
    """

    query: UserQuery
    k: int
    chain: ActionChain | None
    named: bool = False
    deadline_s: float = inf


@dataclass(frozen=True, slots=True)
class Given:
    """The chain that a request runs, and why: `reward` and `version` where a policy decided, else None.

    degraded  nobody could decide in time; or no chain was expected to meet the deadline and this is the quickest; or
              the one that was chosen could not be run
    named     the request itself names it
    """

    chain: ActionChain
    reward: float | None = None
    version: int | None = None
    degraded: bool = False
    named: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """Item ids and scores, best first, under the chain that the request was given.

    energy_j  what it cost by these rates; None while there are none
    """

    item_ids: list[int | str]
    scores: list[float]
    given: Given
    energy_j: float | None = None
    rates: Rates | None = None


def chain_payload(chain: ActionChain) -> Payload:
    """As `cluster.schemas.ChainOut`."""
    stages = [{"stage": a.stage, "variant": a.variant, "items": a.items} for a in chain.actions]
    return {"id": chain.id, "stages": stages}


def cost_payload(chain: ActionChain, energy_j: float | None = None, rates: Rates | None = None) -> Payload:
    """As `cluster.schemas.CostOut`."""
    cost: Payload = {"flops": chain.flops, "energy_j": energy_j, "co2e_g": None, "quality": None}
    if energy_j is not None and rates is not None:
        grams = None if rates.grams_per_j is None else energy_j * rates.grams_per_j
        cost |= {"co2e_g": grams, "quality": rates.quality.value}
    return cost
