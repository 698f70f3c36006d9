"""A saved energy model goes on as if it had never stopped, and one that does not fit is refused."""

import io
from dataclasses import replace

import numpy as np
import pytest
from energy_world import World

from allocator.energy.attribution import Debts, attribute
from allocator.energy.model import EnergyModel
from allocator.energy.prior import Prior
from allocator.energy.saved import dumped, restored
from allocator.energy.state import SETTLES_S, EnergyState
from allocator.energy.windows import gathered

WORLD = World()
PRIOR = WORLD.prior(off=2.0)
MODEL = EnergyModel(block_s=1.0)


def after(state: EnergyState, debts: Debts, windows: int, seed: int) -> tuple[EnergyState, Debts, list[float]]:
    paid = []
    for devices, work in WORLD.windows(windows, seed):
        seen = gathered(state.names, devices, work)
        state = MODEL.learned(state, seen)
        found, debts = attribute(debts, state, seen)
        paid.append(found.pools[0].idle_j)
    return state, debts, paid


def test_what_is_restored_goes_on_alike() -> None:
    state, debts, _ = after(MODEL.init(PRIOR), Debts(), 200, 1)
    again, owed = restored(PRIOR, dumped(state, debts))
    settled = {name: replace(pool, settles_s=0.0) for name, pool in again.pools.items()}
    again = replace(again, pools=settled)
    one, _, paid = after(state, debts, 50, 2)
    other, _, alike = after(again, owed, 50, 2)
    assert paid == alike
    np.testing.assert_array_equal(one.pools[WORLD.pool].coefficients, other.pools[WORLD.pool].coefficients)


def test_what_is_restored_learns_nothing_until_reports_have_settled() -> None:
    """Replicas tell of work again whose joules were billed before, or will never be."""
    state, debts, _ = after(MODEL.init(PRIOR), Debts(), 50, 1)
    again, owed = restored(PRIOR, dumped(state, debts))
    assert again.pools[WORLD.pool].settles_s == SETTLES_S
    settling, owed, _ = after(again, owed, int(SETTLES_S) - 1, 2)
    assert settling.pools[WORLD.pool].blocks == state.pools[WORLD.pool].blocks
    assert after(settling, owed, 3, 3)[0].pools[WORLD.pool].blocks > state.pools[WORLD.pool].blocks


def test_what_busy_seconds_told_is_restored() -> None:
    busy = replace(WORLD, core_j=12.0)
    state, debts = MODEL.init(busy.prior()), Debts()
    for devices, work in busy.windows(50, 1):
        state = MODEL.step(state, devices, work)
    kept, again = state.pools[WORLD.pool], restored(busy.prior(), dumped(state, debts))[0].pools[WORLD.pool]
    assert (again.core_j, again.busy_noise) == (kept.core_j, kept.busy_noise)
    np.testing.assert_array_equal(again.belief.mean, kept.belief.mean)
    assert kept.told
    assert not again.told, "nobody has told since it was restored"


@pytest.mark.parametrize(("source", "metered"), [("rapl", 0), ("estimate", None)])
def test_whether_meters_have_taught_it_is_remembered(source: str, metered: int | None) -> None:
    devices, work = next(iter(WORLD.windows(1, 0)))
    state = MODEL.step(MODEL.init(PRIOR), [replace(devices[0], source=source)], work)
    assert restored(PRIOR, dumped(state, Debts()))[0].pools[WORLD.pool].metered == metered


def test_nothing_learned_can_be_saved_as_well() -> None:
    state, debts = restored(PRIOR, dumped(MODEL.init(PRIOR), Debts()))
    assert (state.pools, debts.pools) == ({}, {})
    assert after(state, debts, 3, 0)[0].pools


def test_variants_may_be_listed_in_another_order() -> None:
    state, debts, _ = after(MODEL.init(PRIOR), Debts(), 20, 1)
    turned = replace(PRIOR, variants=dict(reversed(PRIOR.variants.items())))
    assert restored(turned, dumped(state, debts))[0].names == state.names


def other_variants(prior: Prior) -> Prior:
    return replace(prior, variants=dict(list(prior.variants.items())[1:]))


def test_another_cascades_model_is_refused() -> None:
    data = dumped(MODEL.init(PRIOR), Debts())
    with pytest.raises(ValueError, match="other variants"):
        restored(other_variants(PRIOR), data)


@pytest.mark.parametrize("number", [1, 3, 99])
def test_another_format_is_refused(number: int) -> None:
    """The first knew no busy seconds, the second not who taught it."""
    sink = io.BytesIO()
    np.savez(sink, about=f'{{"format": {number}}}', **dict.fromkeys(PARTS, np.zeros(0)))
    with pytest.raises(ValueError, match=f"of format {number}"):
        restored(PRIOR, sink.getvalue())


PARTS = ("scale", "mean", "covariance", "point", "per_s", "figures", "debts")


@pytest.mark.parametrize("data", [b"", b"no archive", dumped(MODEL.init(PRIOR), Debts())[:200]])
def test_bytes_that_are_no_saved_model_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        restored(PRIOR, data)
