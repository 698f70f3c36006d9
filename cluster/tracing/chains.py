"""All chains as they were weighed for one request. Pure."""

import numpy as np

from allocator.chains import ActionChain, ChainSpace
from allocator.choice import Floats
from allocator.limits import Kind
from allocator.request_joules import Rates
from cluster.answers import Payload, chain_payload, cost_payload
from cluster.deciding import Explained

MOST_CHAINS = 1000
UNITS = {Kind.POWER: "J", Kind.ENERGY: "J", Kind.CARBON: "g", Kind.COMPUTE: "s", Kind.FLOPS: "FLOP"}
"""What a price is per."""


def prices_payload(explained: Explained) -> list[Payload]:
    """As `cluster.tracing.schemas.PriceOut`, of all limits in force."""
    return [
        {"constraint": one.name, "unit": UNITS[Kind(one.kind)], "price": one.price}
        for one in explained.standings
        if one.limited
    ]


def chains_payload(
    space: ChainSpace,
    explained: Explained,
    ran: ActionChain,
    each_j: Floats | None,
    rates: Rates | None,
    most: int = MOST_CHAINS,
) -> list[Payload]:
    """As `cluster.tracing.schemas.WeighedChain`, the greatest net reward first: so many at most, and in any case the
    one that ran and the static one.

    each_j  joules of the request under each chain, (J,)
    """
    priced = explained.priced
    net = explained.rewards - priced
    listed = np.argsort(-net, kind="stable")
    kept = (np.arange(len(listed)) < most) | np.isin(listed, [ran.index, space.static.index])
    found = []
    for at in listed[kept].tolist():
        chain = space.chains[at]
        found.append(
            {
                **chain_payload(chain),
                "reward": float(explained.rewards[at]),
                "cost": cost_payload(chain, None if each_j is None else float(each_j[at]), rates),
                "priced": float(priced[at]),
                "net": float(net[at]),
                "available": bool(explained.policy.available[at]),
                "chosen": at == ran.index,
                "static": at == space.static.index,
            }
        )
    return found
