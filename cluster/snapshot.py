"""What the controller publishes: the policy to decide by, and for people how its constraints stand."""

from dataclasses import dataclass
from math import inf

from allocator.policy import Policy
from allocator.request_joules import Rates


@dataclass(frozen=True, slots=True)
class Standing:
    """One constraint in the window that ended last.

    kind         of limit, and the `unit` of `limit` and `spend`: of a quota, what its hour or day has spent so far
    limit_per_s  of the next window, in the resource's own unit (J, g, s, FLOPs); infinity where there is no limit
    spend_per_s  of the window, machines at rest and other programs included where they count
    price        of the window that runs, in reward per unit of the resource
    reachable    whether any choice of chains can hold it
    """

    name: str
    kind: str
    unit: str
    limit_per_s: float
    spend_per_s: float
    price: float
    limit: float = inf
    spend: float = 0.0
    reachable: bool = True

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return self.limit < inf


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """Immutable. Its policy is the same for all who hold its version; the rest may be of a later window.

    rates       by which requests are told what they cost; None where joules are not accounted for
    deciding_s  seconds of processor time that all decisions took since the controller began
    """

    policy: Policy
    standings: tuple[Standing, ...]
    rates: Rates | None = None
    deciding_s: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What a report is answered with.

    snapshot   the newest one; None while the controller has none to give
    next_in_s  when it would like the next report
    """

    snapshot: Snapshot | None
    next_in_s: float
