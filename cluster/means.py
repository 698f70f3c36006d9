"""What a control tick is told beside the requests: what may be spent, what was, and what chains cost. No Ray here."""

from dataclasses import dataclass, field
from math import inf, nan

from allocator.choice import Floats, Mask
from allocator.constraints import Resource


@dataclass(frozen=True, slots=True)
class Shown:
    """A limit as people know it: its kind and unit, the number, and what is spent of it.

    spend  of a quota, what its hour or day has spent so far; None shows what the last window spent a second
    """

    kind: str
    unit: str
    limit: float = inf
    spend: float | None = None


@dataclass(frozen=True, slots=True)
class Aim:
    """One constraint in one window, in the unit of its resource.

    limit  what the next window may spend in all; infinity where there is no limit
    fixed  what of that no choice of chains changes: machines at rest, other programs
    spent  by the window that ended, in all and with `last_fixed`; NaN where nobody measured it
    starts_free  whether it has no price before its spend was seen: one that is there in case, such as a capacity
    reachable  False where it is known that no choice of chains can hold the limit
    """

    name: str
    resource: Resource
    limit: float
    fixed: float = 0.0
    spent: float = nan
    last_fixed: float = 0.0
    shown: Shown = field(default_factory=lambda: Shown("", ""))
    reachable: bool = True
    starts_free: bool = False

    @property
    def key(self) -> str:
        """What tells it from others, also in a ledger: one name may stand for another resource later."""
        return f"{self.resource}:{self.name}"

    @property
    def left(self) -> float:
        """What chains may spend."""
        return max(self.limit - self.fixed, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Means:
    """All of them, M >= 1.

    costs      (J, M) what a request spends under each chain
    available  (J,) the chains that may be taken; None for all of them
    """

    aims: tuple[Aim, ...]
    costs: Floats
    available: Mask | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """What tells one set of constraints from another."""
        return tuple(aim.key for aim in self.aims)
