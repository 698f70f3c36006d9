"""What the energy model says, and how certain it is. Marginal joules only: idle watts are never in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from allocator.chains import ChainSpace
from allocator.choice import Floats
from allocator.energy.state import EnergyState, PoolState
from allocator.energy.windows import SERVING, Name
from allocator.joules import Quality, worst

RowsPerRun = float | Mapping[Name, float]
"""Requests that share a run: of all variants alike, or by variant (1 where it is not named)."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Joules and their standard error."""

    joules: float
    error_j: float


@dataclass(frozen=True, slots=True, eq=False)
class Coefficients:
    """A pool's coefficients and their standard errors. V variants, in the order of `names`.

    idle_w, idle_error_w  watts
    call_j, call_error_j  (V,) joules of a run beyond its items
    item_j, item_error_j  (V,) joules of an item
    noise                 relative standard deviation of a second's joules around the model
    quality               modelled, or worse where the meters' own joules are
    """

    names: tuple[Name, ...]
    idle_w: float
    idle_error_w: float
    call_j: Floats
    call_error_j: Floats
    item_j: Floats
    item_error_j: Floats
    noise: float
    quality: Quality


def coefficients(state: EnergyState, pool: str) -> Coefficients:
    """What is known of a pool. Raises KeyError for one that no meter has told of."""
    known, count = state.pools[pool], len(state.names)
    joules = known.coefficients
    errors = np.sqrt(np.diagonal(known.covariance)) * known.scale
    return Coefficients(
        state.names,
        float(joules[0]),
        float(errors[0]),
        joules[1 : 1 + count],
        errors[1 : 1 + count],
        joules[1 + count :],
        errors[1 + count :],
        known.noise,
        worst((Quality.MODELLED, known.quality)),
    )


def marginal_j(state: EnergyState, pool: str, name: Name, calls: float, items: float) -> Estimate:
    """Joules of so many runs of a variant with so many items in all, without any idle watts. KeyError: see above."""
    return _estimate(state.pools[pool], _one(state, name, calls, items))


def mean_joules(state: EnergyState) -> Floats:
    """Joules of calls, then of items, (2 V,): of each variant the mean over pools by the items that it infers there.

    A variant that ran nowhere is the mean over all pools; before any pool is known, the prior holds.
    """
    if not state.pools:
        of = [state.prior.variants[name] for name in state.names]
        return np.array([*(one.call_j for one in of), *(one.item_j for one in of)])
    joules = np.array([pool.coefficients[1:] for pool in state.pools.values()])
    mean: Floats = (_weights(state) * joules).sum(axis=0)
    return mean


def chain_joules(state: EnergyState, space: ChainSpace, rows_per_run: RowsPerRun, pool: str | None = None) -> Floats:
    """Marginal joules of one request under each chain, (J,): on one pool, or by `mean_joules`.

    A request bears its equal part of the runs it is in, its items, and its part of the work around the models, which
    is the same under every chain.
    """
    joules = mean_joules(state) if pool is None else state.pools[pool].coefficients[1:]
    row, item = _per_request(state, joules, rows_per_run)
    at = _places(state, space.variants)
    serving = state.names.index(SERVING)
    chains = space.costs(row[at][:, None], item[at][:, None])[:, 0]
    total: Floats = chains + row[serving] + item[serving]
    return total


def chain_errors(state: EnergyState, space: ChainSpace, rows_per_run: RowsPerRun, pool: str | None = None) -> Floats:
    """Standard errors of `chain_joules`, (J,). Pools are taken to err independently; NaN before any is known."""
    if not state.pools:
        return np.full(len(space), np.nan)
    return _errors(state, _use(state, space, rows_per_run), pool)


def difference_error(state: EnergyState, space: ChainSpace, rows_per_run: RowsPerRun, mix: Floats) -> float:
    """Standard error of what a request under the static chain costs more than the mean of requests in this `mix`.

    mix  (J,) shares of requests by chain, that sum to one

    What both do alike, such as the work around the models, makes no error. NaN before any pool is known.
    """
    if not state.pools:
        return np.nan
    use = _use(state, space, rows_per_run)
    return float(_errors(state, (use[space.static.index] - mix @ use)[None])[0])


def _errors(state: EnergyState, use: Floats, pool: str | None = None) -> Floats:
    """Standard errors of the joules of so many runs and items, (n, 2 V) -> (n,)."""
    chosen = state.pools if pool is None else {pool: state.pools[pool]}
    weights = _weights(state) if pool is None else np.ones((1, 2 * len(state.names)))
    variance = np.zeros(len(use))
    for weight, known in zip(weights, chosen.values(), strict=True):
        part = use * (weight * known.scale[1:])
        variance += np.einsum("jn,nm,jm->j", part, known.covariance[1:, 1:], part, optimize=True)
    return np.sqrt(variance)


def _weights(state: EnergyState) -> Floats:
    """(pools, 2 V), each column summing to one."""
    count = len(state.names)
    items = np.array([pool.per_s[count:] for pool in state.pools.values()])
    total = items.sum(axis=0)
    shares = np.divide(items, total, out=np.full_like(items, 1 / len(items)), where=total > 0)
    return np.tile(shares, 2)


def _per_request(state: EnergyState, joules: Floats, rows_per_run: RowsPerRun) -> tuple[Floats, Floats]:
    count = len(state.names)
    return joules[:count] / _rows(state, rows_per_run), joules[count:]


def _rows(state: EnergyState, rows_per_run: RowsPerRun) -> Floats:
    if isinstance(rows_per_run, Mapping):
        return np.array([max(rows_per_run.get(name, 1.0), 1.0) for name in state.names])
    return np.full(len(state.names), max(rows_per_run, 1.0))


def _places(state: EnergyState, names: Sequence[Name]) -> list[int]:
    place = {name: at for at, name in enumerate(state.names)}
    return [place[name] for name in names]


def _use(state: EnergyState, space: ChainSpace, rows_per_run: RowsPerRun) -> Floats:
    """Runs and items of a request under each chain, (J, 2 V)."""
    count = len(state.names)
    at = _places(state, space.variants)
    unit = np.eye(len(at))
    called = space.costs(unit, np.zeros_like(unit))
    inferred = space.costs(np.zeros_like(unit), unit)
    use = np.zeros((len(space), 2 * count))
    use[:, at] = called
    use[:, [count + place for place in at]] = inferred
    serving = state.names.index(SERVING)
    use[:, [serving, count + serving]] = 1.0
    use[:, :count] /= _rows(state, rows_per_run)
    return use


def _one(state: EnergyState, name: Name, calls: float, items: float) -> Floats:
    x = np.zeros(1 + 2 * len(state.names))
    at = 1 + state.names.index(name)
    x[at], x[at + len(state.names)] = calls, items
    return x


def _estimate(pool: PoolState, x: Floats) -> Estimate:
    scaled = x * pool.scale
    return Estimate(float(scaled @ pool.point), float(scaled @ pool.covariance @ scaled) ** 0.5)
