"""Limits as people type them: 150W, 2.5kWh/day, 40g/h."""

import re
from collections.abc import Mapping

from allocator.limits import UNITS, Kind

NUMBER = re.compile(r"(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)\s*(\S*)")
ALIASES: Mapping[Kind, Mapping[str, tuple[float, str]]] = {
    Kind.POWER: {"kW": (1e3, "W"), "MW": (1e6, "W")},
    Kind.ENERGY: {"Wh/day": (1e-3, "kWh/day"), "MWh/day": (1e3, "kWh/day")},
    Kind.CARBON: {"kg/h": (1e3, "g/h"), "kg/day": (1e3, "g/day"), "t/day": (1e6, "g/day")},
    Kind.COMPUTE: {},
    Kind.FLOPS: {"MFLOP/s": (1e6, "FLOP/s"), "GFLOP/s": (1e9, "FLOP/s"), "TFLOP/s": (1e12, "FLOP/s")},
}
"""Units that people use besides: how many of which of the API's they are."""


def read_quantity(kind: Kind, text: str) -> tuple[float, str]:
    """The number and the unit as the API takes them. The unit may be left out where the kind has only one.

    Raises ValueError that says what would be right.
    """
    found = NUMBER.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no number with a unit, such as {example(kind)}")
    number, unit = float(found[1]), found[2]
    if not unit and len(UNITS[kind]) == 1:
        return number, next(iter(UNITS[kind]))
    if unit in UNITS[kind]:
        return number, unit
    if unit not in ALIASES[kind]:
        known = " or ".join([*UNITS[kind], *ALIASES[kind]])
        raise ValueError(f"{text!r}: the unit must be {known}, as in {example(kind)}")
    size, base = ALIASES[kind][unit]
    return number * size, base


def example(kind: Kind) -> str:
    """A limit of the kind."""
    numbers = {Kind.POWER: "150", Kind.ENERGY: "2.5", Kind.CARBON: "40", Kind.COMPUTE: "1.5", Kind.FLOPS: "2e9"}
    return numbers[kind] + next(iter(UNITS[kind]))
