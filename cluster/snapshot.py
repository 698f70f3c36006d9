"""What the controller publishes: the policy to decide by, and for people how its constraints stand."""

from dataclasses import dataclass
from math import inf

from allocator.policy import Policy
from allocator.request_joules import Rates


@dataclass(frozen=True, slots=True)
class Standing:
    """One constraint in the window that ended last.

    kind         the resource, and `unit` its unit per second
    limit_per_s  infinity where there is no limit
    price        of the window that runs, in reward per unit
    """

    name: str
    kind: str
    unit: str
    limit_per_s: float
    spend_per_s: float
    price: float

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return self.limit_per_s < inf


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """Immutable. Its policy is the same for all who hold its version; the rest may be of a later window.

    rates  by which requests are told what they cost; None where joules are not accounted for
    """

    policy: Policy
    standings: tuple[Standing, ...]
    rates: Rates | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What a report is answered with.

    snapshot   the newest one; None while the controller has none to give
    next_in_s  when it would like the next report
    """

    snapshot: Snapshot | None
    next_in_s: float
