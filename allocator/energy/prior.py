"""What is believed about joules before any meter was read: a profile's milliseconds, or FLOPs, and how far to trust."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from allocator.choice import Floats
from allocator.energy.windows import SERVING, Name
from allocator.joules import Quality
from models.errors import FixFile
from models.profile_joules import BusyWatts
from models.spec import CascadeSpec

FLOPS_PER_JOULE = 1e9
"""What a joule is assumed to buy: an order of magnitude for small models on a CPU."""
CALL_MS, REQUEST_MS = 2.0, 0.4
"""CPU time around the models: of a micro-batch (the calls that its stages take), and of each request in it."""
TYPICAL_ITEMS = 1000
LEAST_SHARE = 0.02
"""No coefficient is believed to be less than this share of its variant's joules: a prior of zero could never grow."""


@dataclass(frozen=True, slots=True)
class VariantJoules:
    """Joules of a run beyond its items, and of each item; both > 0."""

    call_j: float
    item_j: float

    def __post_init__(self) -> None:
        if not (0 < self.call_j < np.inf and 0 < self.item_j < np.inf):
            raise ValueError(f"a prior's joules must be positive and finite, got {self}")


@dataclass(frozen=True, slots=True)
class Spread:
    """Standard deviations of a prior, as shares of it.

    common  by which all variants are off together: watts per core, FLOPs per joule
    variant by which one variant is off, its calls and items together
    part    by which calls or items of one variant are off
    """

    common: float
    variant: float
    part: float


PROFILED = Spread(common=0.5, variant=0.2, part=0.3)
GUESSED = Spread(common=6.0, variant=1.0, part=0.5)


@dataclass(frozen=True, slots=True)
class Prior:
    """What is believed at first, how firmly, and how that came about.

    idle_w  watts of a pool on which nothing runs; None takes half of what is drawn in a pool's first window
    core_w  of a busy processor, with which joules were worked out from seconds; None where they were not
    """

    variants: Mapping[Name, VariantJoules]
    spread: Spread
    quality: Quality
    statement: str
    idle_w: float | None = None
    core_w: float | None = None

    def covariance(self) -> Floats:
        """Of idle watts, then all variants' calls, then all their items, each over its prior mean: (1 + 2 V, 1 + 2 V).

        Idle watts are believed within their own size, and to err by themselves.
        """
        count = len(self.variants)
        same = np.tile(np.eye(count), (2, 2))
        coefficients = self.spread.common**2 + self.spread.variant**2 * same + self.spread.part**2 * np.eye(2 * count)
        whole = np.zeros((1 + 2 * count, 1 + 2 * count))
        whole[0, 0] = 1.0
        whole[1:, 1:] = coefficients
        return whole


def from_flops(spec: CascadeSpec, flops_per_joule: float = FLOPS_PER_JOULE) -> Prior:
    """Joules in proportion to FLOPs: a request's to its call, an item's to the item.

    `spec` is that of an opened cascade, whose FLOPs are counted.
    """
    variants = {}
    for stage in spec.stages:
        for variant in stage.variants:
            assert variant.flops is not None, "an opened cascade has its FLOPs counted"
            call_j, item_j = variant.flops.row / flops_per_joule, variant.flops.item / flops_per_joule
            variants[stage.name, variant.name] = positive(call_j, item_j, max(stage.items, default=TYPICAL_ITEMS))
    statement = f"assumed: one joule buys {flops_per_joule / 1e9:g} GFLOPs"
    core_w = BusyWatts().core_w
    return Prior({**variants, SERVING: serving(core_w)}, GUESSED, Quality.ASSUMED, statement, core_w=core_w)


def serving(core_w: float) -> VariantJoules:
    """Of the work around the models, from the CPU time that it was seen to take on one machine."""
    return VariantJoules(CALL_MS / 1e3 * core_w, REQUEST_MS / 1e3 * core_w)


def positive(call_j: float, item_j: float, items: float) -> VariantJoules:
    """The two, each raised to LEAST_SHARE of a run with so many items."""
    run_j = max(call_j + item_j * items, 1e-9)
    return VariantJoules(max(call_j, LEAST_SHARE * run_j), max(item_j, LEAST_SHARE * run_j / items))


class _Fit(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    stage: str
    variant: str
    call_j: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    item_j: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    typical_items: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    quality: Quality


class _Profile(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    watts_per_core: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    joules: Annotated[tuple[_Fit, ...], Field(min_length=1)]


def from_profile(spec: CascadeSpec, path: Path) -> Prior:
    """The joules in what `greenflow profile --json` printed for this cascade.

    Raises FixFile when it is no such file, or lacks a variant of the cascade.
    """
    profile = _read(path)
    fits = {(fit.stage, fit.variant): fit for fit in profile.joules}
    variants = {}
    for name in ((stage.name, variant.name) for stage in spec.stages for variant in stage.variants):
        fit = fits.get(name)
        if fit is None:
            lacking = f"lacks {name[0]}/{name[1]}; run greenflow profile --json on this cascade again"
            raise FixFile(path, "joules", lacking)
        variants[name] = positive(fit.call_j, fit.item_j, fit.typical_items)
    measured = all(fits[name].quality is Quality.MEASURED for name in variants)
    statement = (
        "measured: joules that greenflow profile read from this machine's sensors"
        if measured
        else f"modelled: milliseconds of greenflow profile, times {profile.watts_per_core:g} W assumed for a busy core"
    )
    quality = Quality.MEASURED if measured else Quality.MODELLED
    core_w = None if measured else profile.watts_per_core
    around = serving(profile.watts_per_core)
    return Prior({**variants, SERVING: around}, PROFILED, quality, statement, core_w=core_w)


def _read(path: Path) -> _Profile:
    try:
        return _Profile.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise FixFile(path, "", "no such file; greenflow profile --json prints one") from None
    except (ValidationError, ValueError, OSError):
        raise FixFile(path, "joules", "is not what greenflow profile --json prints; run it again") from None
