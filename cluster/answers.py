"""What passes through the Recommender: a request that was checked, the chain it was given, and its answer."""

from dataclasses import dataclass
from math import inf
from typing import Any

from allocator.arms import HOLDBACK, Unit
from allocator.chains import ActionChain
from allocator.request_joules import Rates
from models.features import UserQuery

Payload = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A request, checked: who asks, for how many items, under which chain; None leaves the chain to the policy.

    unit        who it is to the standing experiment, None where there is none. One that is held back runs the static
                chain, unless its deadline leaves that out
    named       whether the request itself names that chain
    deadline_s  on the event loop's clock, infinity for none
    """

    query: UserQuery
    k: int
    chain: ActionChain | None
    request_id: str = ""
    unit: Unit | None = None
    named: bool = False
    deadline_s: float = inf

    @property
    def held_back(self) -> bool:
        """Whether it runs the static chain for comparison."""
        return self.unit is not None and self.unit.arm == HOLDBACK


@dataclass(frozen=True, slots=True)
class Given:
    """The chain that a request runs, and why: `reward` and `version` where a policy decided, else None.

    degraded    nobody could decide in time; or no chain was expected to meet the deadline and this is the quickest; or
                the one that was chosen could not be run
    propensity  the probability with which a policy that decided gives it this chain
    """

    call: Call
    chain: ActionChain
    reward: float | None = None
    version: int | None = None
    degraded: bool = False
    propensity: float = 1.0


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


Done = Answer | Exception
"""What became of a request."""


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
