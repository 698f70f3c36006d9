"""Budgets side by side: what a day with less energy, power or carbon costs in reward."""

import re
from collections.abc import Iterable, Mapping

from allocator.limits import Kind
from cluster.simulation.parts import LimitPart, share_of
from models.errors import FixRequest

NAMED: Mapping[str, tuple[Kind, str]] = {
    "power": (Kind.POWER, "W"),
    "energy": (Kind.ENERGY, "kWh/day"),
    "carbon-day": (Kind.CARBON, "g/day"),
    "carbon-hour": (Kind.CARBON, "g/h"),
    "compute": (Kind.COMPUTE, "busy_s/s"),
    "flops": (Kind.FLOPS, "FLOP/s"),
}
"""Limits that can be asked for by name, as in the settings of limits."""
NONE = "none"


def limit_of(name: str, value: str) -> LimitPart | None:
    """The limit, None for `none`. Raises FixRequest naming what is wrong."""
    if name not in NAMED:
        raise FixRequest("limit", f"{name!r} is none of {', '.join(NAMED)}")
    if value == NONE:
        return None
    kind, unit = NAMED[name]
    try:
        amount: float | str = value if value.endswith("%") else float(value)
        share_of(amount)
        return LimitPart(kind=kind, unit=unit, limit=amount, name=name)
    except ValueError:
        raise FixRequest("limit", f"{name}={value}: give a number in {unit}, a share such as 80%, or none") from None


def cases(budgets: str | None, limits: Iterable[str]) -> dict[str, tuple[LimitPart, ...]]:
    """What is to be run: by label, which limits it has instead of all that the scenario states.

    budgets  values of the limit `energy`, parted by commas
    limits   NAME=VALUE or NAME=VALUE,VALUE each: several names hold together, several values are run one after another
    """
    asked = [("energy", budgets)] if budgets is not None else []
    for one in limits:
        name, equals, values = one.partition("=")
        if not equals:
            raise FixRequest("limit", f"{one!r} is no NAME=VALUE, such as power=80%")
        asked.append((name, values))
    found: dict[str, tuple[LimitPart, ...]] = {"": ()}
    for name, values in asked:
        if [other for other, _ in asked].count(name) > 1:
            raise FixRequest("limit", f"{name} is named more than once (--budget means energy): part values by commas")
        parts = [value for value in re.split(r"\s*,\s*", values.strip()) if value]
        if not parts:
            raise FixRequest("limit", f"{name} has no value")
        found = {
            ", ".join(filter(None, (label, f"{name} {value}"))): (*chosen, *_listed(limit_of(name, value)))
            for label, chosen in found.items()
            for value in dict.fromkeys(parts)
        }
    return found


def _listed(limit: LimitPart | None) -> tuple[LimitPart, ...]:
    return () if limit is None else (limit,)
