"""Joules and grams of chains while nothing is metered: derived from FLOPs, or from measured milliseconds and a wattage.

Nothing here is measured energy, and `quality` says so wherever a figure is shown.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from allocator.chains import Action, ChainSpace
from allocator.choice import Floats
from allocator.emissions import grams_of
from allocator.joules import Quality as Quality
from models.errors import FixFile
from models.profile import TYPICAL_ROWS


class Carbon(BaseModel):
    """From joules of a device to grams: PUE is what the building spends per joule of its machines."""

    model_config = ConfigDict(frozen=True)

    pue: float
    grams_per_kwh: float

    def grams(self, joules: float) -> float:
        """Grams of CO2e: joules / 3.6e6 * PUE * intensity."""
        return grams_of(joules, self.pue, self.grams_per_kwh)

    @property
    def statement(self) -> str:
        """In words, for reports."""
        return (
            f"grams = joules / 3.6e6 x PUE x intensity, with a PUE of {self.pue:g} and {self.grams_per_kwh:g} g CO2e "
            "per kWh: both assumed, the same all day and everywhere"
        )


@dataclass(frozen=True, eq=False)
class Footprint:
    """joules (J,) of a request under each chain; how they came about, in a word and in a sentence."""

    joules: Floats
    quality: Quality
    statement: str


class _Timing(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    stage: str
    variant: str
    rows: int
    items: int
    run_ms: float


class _Profile(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    timings: tuple[_Timing, ...]


def from_flops(space: ChainSpace, flops_per_joule: float) -> Footprint:
    """Joules in proportion to FLOPs. Idle power, memory traffic and the calls between stages are not in it."""
    statement = (
        f"assumed: one joule buys {flops_per_joule / 1e9:g} GFLOPs, in every variant alike. No meter was read; idle "
        "power and the work around the models are not in it"
    )
    return Footprint(space.flops / flops_per_joule, Quality.ASSUMED, statement)


def from_profile(space: ChainSpace, path: Path, watts: float) -> Footprint:
    """Joules of a chain: the measured milliseconds of its variants, times the watts of a busy core.

    `path` holds what `greenflow profile --json` printed; of its numbers of requests per run the largest up to
    TYPICAL_ROWS counts. Raises FixFile when it is no such file, or lacks a variant or item number of the cascade.
    """
    timings = _read(path)
    rows = max((t.rows for t in timings if t.rows <= TYPICAL_ROWS), default=min(t.rows for t in timings))
    request_ms = {(t.stage, t.variant, t.items): t.run_ms / t.rows for t in timings if t.rows == rows}
    joules = [sum(_milliseconds(request_ms, action, path) for action in chain.actions) / 1e3 * watts for chain in space]
    statement = (
        f"modelled: milliseconds that greenflow profile measured with {rows} requests a run, times {watts:g} W assumed "
        "for a busy core. No meter was read; idle power and the work around the models are not in it"
    )
    return Footprint(np.array(joules), Quality.MODELLED, statement)


def _read(path: Path) -> tuple[_Timing, ...]:
    try:
        timings = _Profile.model_validate(json.loads(path.read_text(encoding="utf-8"))).timings
    except FileNotFoundError:
        raise FixFile(path, "", "no such file; greenflow profile --json prints one") from None
    except (ValidationError, ValueError, OSError):
        raise FixFile(path, "timings", "is not what greenflow profile --json prints; run it again") from None
    if not timings:
        raise FixFile(path, "timings", "is empty; run greenflow profile --json again")
    return timings


def _milliseconds(request_ms: Mapping[tuple[str, str, int], float], action: Action, path: Path) -> float:
    if action.variant is None:
        return 0.0
    found = request_ms.get((action.stage, action.variant, action.items))
    if found is None:
        wanted = f"{action.stage}/{action.variant} with {action.items} items"
        raise FixFile(path, "timings", f"lacks {wanted}; run greenflow profile --json on this cascade again")
    return found
