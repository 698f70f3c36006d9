"""Which arm of the standing experiment a request belongs to: a stable hash of who asks decides, nothing is kept.

The unit of randomisation is the user, whose requests all fall into one arm: what one request shows a user changes what
the next one earns. A request of nobody in particular is a unit of its own.
"""

from dataclasses import dataclass
from hashlib import blake2b
from math import isfinite

POLICY, HOLDBACK, NAMED = 0, 1, 2
"""The policy chooses the chain; the static chain runs; the request names its chain, which keeps it out of both."""
ARMS = ("policy", "holdback", "named")
GROUPS = 256
"""Units fall into so many groups of each arm. Sums by group need bounded memory, and differ as units do."""
MOST_SALT = 32
_SPAN = float(1 << 32)


@dataclass(frozen=True, slots=True)
class Unit:
    """Who asks, as far as the experiment cares.

    arm    POLICY, HOLDBACK or NAMED
    group  from 0 to GROUPS - 1
    mark   64 bits that tell units apart, and do not tell who they are
    """

    arm: int
    group: int
    mark: int


@dataclass(frozen=True, slots=True)
class Assignment:
    """Assigns units to arms.

    share  of the units that are held back, from 0 to 1
    salt   what is hashed with a unit, at most MOST_SALT bytes of UTF-8: with another one, others are held back, and a
           mark cannot be tried out against a list of users by who does not know it
    """

    share: float
    salt: str = ""

    def __post_init__(self) -> None:
        if not (isfinite(self.share) and 0.0 <= self.share <= 1.0):
            raise ValueError(f"a share is from 0 to 1, got {self.share}")
        if len(self.salt.encode()) > MOST_SALT:
            raise ValueError(f"a salt has at most {MOST_SALT} bytes")

    def of(self, unit: int | str, named: bool = False) -> Unit:
        """Its arm: of equal units the same. A number and the same number in quotes are two units.

        named  whether the request names its chain; arm and mark of its other requests are what they are all the same
        """
        text = str(unit) if isinstance(unit, int) else f'"{unit}"'
        digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, key=self.salt.encode()).digest()
        held = int.from_bytes(digest[8:12], "little") < self.share * _SPAN
        arm = NAMED if named else HOLDBACK if held else POLICY
        return Unit(arm, digest[12], int.from_bytes(digest[:8], "little"))
