"""Makes cold variants warm before the prices' requests are let at them."""

from collections.abc import Awaitable, Callable

from ray import serve

from allocator.chains import ChainSpace
from allocator.choice import Rewards
from allocator.energy.windows import Name
from allocator.policy import Policy
from cluster.autoscale import Warmth, wanted
from cluster.placing import deployment_name
from cluster.reaching import Waker

Ping = Callable[[Name], Awaitable[object]]


class Warmer:
    """Looks once a window whether a variant without a replica is wanted. Used from one event loop.

    scaled  the variants that Serve's autoscaler looks after
    ping    a call that any replica of a variant answers
    """

    def __init__(self, space: ChainSpace, scaled: frozenset[Name], ping: Ping) -> None:
        self._space, self._scaled, self._ping = space, scaled, ping
        self._warmth = Warmth()
        self._wakers: dict[Name, Waker] = {}

    def look(self, policy: Policy, rewards: Rewards, away: frozenset[Name]) -> frozenset[Name]:
        """The variants that are asked to start, for which a call waits until a replica is warm.

        A window in which nobody asked for anything, with `rewards` of none, says nothing.
        """
        if not len(rewards):
            return frozenset()
        some = bool(away & self._scaled)
        wishes = wanted(self._space, policy, rewards, away, self._scaled) if some else frozenset()
        self._warmth = self._warmth.after(wishes)  # also without any: a wish from before a variant was warm is over
        for name in self._warmth.due:
            self._waker(name).wake()
        return self._warmth.due

    def _waker(self, name: Name) -> Waker:
        if name not in self._wakers:
            self._wakers[name] = Waker(lambda: self._ping(name))
        return self._wakers[name]


def pinging(app: str) -> Ping:
    """Pings replicas of that application of Serve."""

    async def ping(name: Name) -> None:
        await serve.get_deployment_handle(deployment_name(*name), app).ping.remote()

    return ping
