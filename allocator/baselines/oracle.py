"""The oracle: the best that any allocation could do, knowing every request's true rewards."""

from allocator.choice import Floats, Rewards
from allocator.optimum import Offline, bisect_price


def oracle(true_rewards: Rewards, cost: Floats, budget: float) -> Offline:
    """The optimum in hindsight for a mean cost of `budget` a request: true rewards (N, J), cost (J,).

    `bound` is the linear programme's optimum; `chains` reach it but for the one request that it would split. Source:
    the offline optimum of GreenFlow (arXiv 2312.16176) and DCAF (arXiv 2006.09684). Nothing is simplified; nobody can
    run it.

    Raises FixRequest when the cheapest chain costs more than the budget.
    """
    return bisect_price(true_rewards, cost, budget * len(true_rewards))
