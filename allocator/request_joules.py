"""What one request is told that it cost: its share of the runs that it was in, by the energy model's joules."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan

import numpy as np

from allocator.chains import ChainSpace
from allocator.choice import Floats, Ints
from allocator.emissions import Intensity, Pue, grams_per_joule
from allocator.energy.figures import mean_joules
from allocator.energy.state import EnergyState
from allocator.energy.windows import SERVING, Name
from allocator.joules import Quality, worst


@dataclass(frozen=True, slots=True)
class Rates:
    """What runs and items cost, as the energy model has it now. Marginal joules: idle watts are not in them.

    joules         of a run beyond its items, and of an item, by stage and variant
    grams_per_j    CO2e of a joule of the machines, PUE and the grid's intensity in it; None while nobody knows it
    quality        of the joules: modelled at best, since no meter reads a request
    grams_quality  of the grams
    saving_error_j standard error, by the energy model, of what a request under the static chain costs more than one
                   under the chains that ran last; NaN while nobody knows
    """

    joules: Mapping[Name, tuple[float, float]]
    grams_per_j: float | None
    quality: Quality
    grams_quality: Quality
    saving_error_j: float = nan


def rates_of(state: EnergyState, pue: Pue, intensity: Intensity | None) -> Rates:
    """The rates under this state of the model, the mean over pools."""
    joules = mean_joules(state).tolist()
    count = len(state.names)
    known = worst([Quality.MODELLED, *(pool.quality for pool in state.pools.values())])
    if not any(pool.blocks for pool in state.pools.values()):  # nothing is learned yet
        known = worst((known, state.prior.quality))
    return Rates(
        dict(zip(state.names, zip(joules[:count], joules[count:], strict=True), strict=True)),
        None if intensity is None else grams_per_joule(pue, intensity),
        known,
        known if intensity is None else worst((known, pue.quality, intensity.quality)),
    )


class RequestJoules:
    """Shares the joules of a micro-batch's runs among its requests.

    A run's own part (what it draws beyond its items) is borne in equal parts by the requests in it, the items' part by
    each request for its own items: the Shapley value of the run's joules as the model has them. Of the work around the
    models every request of the micro-batch bears an equal part.

    max_rows  by stage and variant, most rows of one model run; more are that many runs
    """

    def __init__(self, space: ChainSpace, max_rows: Mapping[Name, int]) -> None:
        self._names = space.variants
        place = {name: at for at, name in enumerate(self._names)}
        skipped = len(place)
        self._variant = np.array(
            [[place.get((a.stage, a.variant or ""), skipped) for a in chain.actions] for chain in space], np.int64
        )
        one = np.eye(skipped)
        items = np.take_along_axis(space.costs(0 * one, one), np.minimum(self._variant, skipped - 1), axis=1)
        self._items = np.where(self._variant < skipped, items, 0.0)
        self._max_rows = np.array([*(max_rows[name] for name in self._names), 1])
        self._priced: _Priced | None = None
        self._alike: dict[tuple[int, int], float] = {}

    def of(self, rates: Rates, chains: Ints) -> Floats:
        """Joules of each request of a micro-batch, (B,), under these chains, (B,) indices."""
        priced = self._at(rates)
        variant = self._variant[chains]
        rows = np.bincount(variant.ravel(), minlength=len(priced.call_j))
        run_j = priced.call_j * -(-rows // self._max_rows) / np.maximum(rows, 1)
        total: Floats = run_j[variant].sum(axis=1) + priced.own_j[chains] + priced.batch_j / len(chains)
        return total

    def of_each(self, rates: Rates, chain: int, requests: int) -> float:
        """Joules of each request of a micro-batch of so many that all run the chain of this index. Worked out once for
        each rates and size."""
        self._at(rates)
        found = self._alike.get((chain, requests))
        if found is None:
            found = self._alike[chain, requests] = float(self.of(rates, np.full(requests, chain))[0])
        return found

    def alone(self, rates: Rates) -> Floats:
        """Joules of a request that is alone in its micro-batch, under each chain, (J,)."""
        total: Floats = self.by_stage(rates).sum(axis=1) + sum(rates.joules.get(SERVING, (0.0, 0.0)))
        return total

    def by_stage(self, rates: Rates) -> Floats:
        """Of these, what each stage takes, (J, stages): 0 for one that is skipped. The work around the models is in
        none of them."""
        priced = self._at(rates)
        joules: Floats = priced.call_j[self._variant] + priced.item_j[self._variant] * self._items
        return joules

    def _at(self, rates: Rates) -> "_Priced":
        """Worked out once for each rates, which hold for many micro-batches."""
        if self._priced is None or self._priced.rates is not rates:
            call_j, item_j = np.array([*(rates.joules[name] for name in self._names), (0.0, 0.0)]).T
            batch_j, request_j = rates.joules.get(SERVING, (0.0, 0.0))
            own_j = (item_j[self._variant] * self._items).sum(axis=1) + request_j
            self._priced, self._alike = _Priced(rates, call_j, item_j, own_j, batch_j), {}
        return self._priced


@dataclass(frozen=True, slots=True, eq=False)
class _Priced:
    """What follows from rates alone. A skipped stage counts as one variant more, of no joules.

    call_j, item_j  (V + 1,) joules of a run and of an item
    own_j           (J,) of a request under each chain, what it bears whoever else is in its micro-batch
    batch_j         of the work around a micro-batch
    """

    rates: Rates
    call_j: Floats
    item_j: Floats
    own_j: Floats
    batch_j: float
