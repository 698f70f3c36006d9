"""What serves and is billed, for whoever audits a ledger later: version, cascade, share held back, source of carbon.
No Ray here."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version

SERVED, FORMAT = "served", 1
MOST_KEPT = 50
"""Terms that are kept; the oldest go first."""


@dataclass(frozen=True, slots=True)
class Served:
    """One term, until the next one begins or the ledger ends.

    since_s   Unix time
    software  version of this package
    cascade   its name, and `sha256` of its cascade.yaml, in which stand those of all its other files
    holdback  share of users on the static chain; None where nothing is held back, for nobody chooses
    carbon    where intensities come from
    """

    since_s: float
    software: str
    cascade: str
    sha256: str
    holdback: float | None
    carbon: str

    def same_as(self, other: "Served") -> bool:
        """Whether the same is served, whenever it began."""
        return replace(self, since_s=other.since_s) == other


def continued(before: tuple[Served, ...], now: Served) -> tuple[Served, ...]:
    """The terms with that of now; a restart that changes nothing adds nothing."""
    return before if before and before[-1].same_as(now) else (*before, now)[-MOST_KEPT:]


def dumped(terms: tuple[Served, ...]) -> bytes:
    """As bytes, to be kept."""
    return json.dumps({"format": FORMAT, "terms": [asdict(term) for term in terms]}).encode()


def restored(value: bytes | None) -> tuple[Served, ...]:
    """What `dumped` was given, oldest first; nothing where it is of another format, or none."""
    try:
        document = json.loads(value or b"{}")
        return tuple(_term(one) for one in document["terms"]) if document["format"] == FORMAT else ()
    except (ValueError, TypeError, KeyError, AttributeError):
        return ()


def _term(one: Mapping[str, object]) -> Served:
    names = ("software", "cascade", "sha256", "carbon")
    told = {name: str(one[name]) for name in names}
    holdback = one["holdback"]
    return Served(float(str(one["since_s"])), holdback=None if holdback is None else float(str(holdback)), **told)


def software() -> str:
    """The version that runs; "unknown" from a checkout that was never installed."""
    try:
        return version("greenflow")
    except PackageNotFoundError:
        return "unknown"
