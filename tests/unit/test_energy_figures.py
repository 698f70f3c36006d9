"""What the energy model says: joules of chains as their parts add up, errors, and means over pools."""

from dataclasses import replace

import numpy as np
import pytest
from small_space import SPACE

from allocator.energy.figures import (
    chain_errors,
    chain_joules,
    coefficients,
    difference_error,
    marginal_j,
    mean_joules,
)
from allocator.energy.model import EnergyModel
from allocator.energy.prior import PROFILED, Prior, VariantJoules
from allocator.energy.state import EnergyState
from allocator.energy.windows import SERVING, Name
from allocator.joules import DeviceJoules, Quality, Work

NAMES: tuple[Name, ...] = (*SPACE.variants, SERVING)
JOULES = {name: VariantJoules(1e-2 * (n + 1), 1e-4 * (n + 1)) for n, name in enumerate(NAMES)}
PRIOR = Prior(JOULES, PROFILED, Quality.MODELLED, "", idle_w=30.0)


def told(*pools: tuple[str, float, Quality]) -> EnergyState:
    """A state in which each pool did so much work: 100 times some of everything."""
    devices = [DeviceJoules(f"{p}/p0", p, "n", "h", "package", "rapl", q, 60.0, 1.0, 0.0, "boot") for p, _, q in pools]
    work = [Work(*name, p, int(100 * share), int(5000 * share), 0.0) for p, share, _ in pools for name in NAMES]
    model = EnergyModel()
    return model.step(model.init(PRIOR), devices, work)


STATE = told(("a", 1.0, Quality.MEASURED), ("b", 3.0, Quality.ASSUMED))


def by_hand(state: EnergyState, pool: str, rows: float) -> list[float]:
    found = coefficients(state, pool)
    at = {name: n for n, name in enumerate(found.names)}
    serving = found.call_j[at[SERVING]] / rows + found.item_j[at[SERVING]]
    joules = []
    for chain in SPACE:
        used = [(at[action.stage, action.variant], action.items) for action in chain.actions]
        joules.append(serving + sum(found.call_j[n] / rows + found.item_j[n] * items for n, items in used))
    return joules


@pytest.mark.parametrize("rows", [1.0, 8.0])
def test_a_chains_joules_are_those_of_its_parts(rows: float) -> None:
    np.testing.assert_allclose(chain_joules(STATE, SPACE, rows, "a"), by_hand(STATE, "a", rows))


def test_requests_a_run_may_be_told_by_variant() -> None:
    alike = chain_joules(STATE, SPACE, dict.fromkeys(NAMES, 8.0), "a")
    np.testing.assert_allclose(alike, chain_joules(STATE, SPACE, 8.0, "a"))
    np.testing.assert_allclose(chain_joules(STATE, SPACE, {}, "a"), chain_joules(STATE, SPACE, 1.0, "a"))


def test_before_any_meter_is_heard_the_prior_holds_and_nothing_is_sure() -> None:
    state = EnergyModel().init(PRIOR)
    joules = chain_joules(state, SPACE, 4.0)
    chain = SPACE.chains[0]
    expected = [JOULES[a.stage, str(a.variant)] for a in chain.actions]
    serving = JOULES[SERVING].call_j / 4 + JOULES[SERVING].item_j
    parts = sum(of.call_j / 4 + of.item_j * a.items for of, a in zip(expected, chain.actions, strict=True))
    assert joules[0] == pytest.approx(serving + parts)
    assert np.isnan(chain_errors(state, SPACE, 4.0)).all()


def test_the_mean_over_pools_counts_items() -> None:
    """Of two pools the one that infers three times as many items counts three times."""
    a, b = (STATE.pools[name].coefficients[1:] for name in ("a", "b"))
    np.testing.assert_allclose(mean_joules(STATE), (a + 3 * b) / 4)
    np.testing.assert_allclose(
        chain_joules(STATE, SPACE, 8.0),
        (chain_joules(STATE, SPACE, 8.0, "a") + 3 * chain_joules(STATE, SPACE, 8.0, "b")) / 4,
    )


def test_a_variant_that_ran_nowhere_is_the_mean_over_all_pools() -> None:
    still = replace(STATE, pools={n: replace(p, per_s=np.zeros_like(p.per_s)) for n, p in STATE.pools.items()})
    a, b = (STATE.pools[name].coefficients[1:] for name in ("a", "b"))
    np.testing.assert_allclose(mean_joules(still), (a + b) / 2)


def test_a_pools_chain_error_is_that_of_the_sum_of_its_parts() -> None:
    errors = chain_errors(STATE, SPACE, 8.0, "a")
    pool, chain = STATE.pools["a"], SPACE.chains[7]
    x = np.zeros(len(pool.scale))
    for name, items in [(SERVING, 1), *(((a.stage, str(a.variant)), a.items) for a in chain.actions)]:
        at = 1 + STATE.names.index(name)
        x[at], x[at + len(NAMES)] = 1 / 8, items
    scaled = x * pool.scale
    assert errors[7] == pytest.approx(float(scaled @ pool.covariance @ scaled) ** 0.5)


def test_two_pools_mean_is_surer_than_the_less_sure_of_them() -> None:
    both = chain_errors(STATE, SPACE, 8.0)
    each = [chain_errors(STATE, SPACE, 8.0, pool) for pool in ("a", "b")]
    assert (both < np.maximum(*each)).all()
    assert (both > 0).all()


def test_marginal_joules_hold_no_idle_watts() -> None:
    name = NAMES[1]
    assert marginal_j(STATE, "a", name, 0, 0).joules == 0
    found = coefficients(STATE, "a")
    assert marginal_j(STATE, "a", name, 2, 30).joules == pytest.approx(2 * found.call_j[1] + 30 * found.item_j[1])
    assert found.idle_w > 1


def test_figures_are_modelled_at_best_and_worse_where_the_meters_are() -> None:
    assert coefficients(STATE, "a").quality is Quality.MODELLED
    assert coefficients(STATE, "b").quality is Quality.ASSUMED


def test_the_error_of_a_saving_is_that_of_what_differs() -> None:
    """All on the static chain save nothing, surely; others save the less surely the more they differ from it."""
    static = np.eye(len(SPACE))[SPACE.static.index]
    assert difference_error(STATE, SPACE, 8.0, static) == pytest.approx(0.0, abs=1e-12)
    other = np.eye(len(SPACE))[0]
    whole, half = (difference_error(STATE, SPACE, 8.0, mix) for mix in (other, (other + static) / 2))
    assert whole == pytest.approx(2 * half)
    assert 0 < whole < chain_errors(STATE, SPACE, 8.0)[[0, SPACE.static.index]].sum()


def test_before_any_meter_is_heard_no_error_of_a_saving_is_known() -> None:
    assert np.isnan(difference_error(EnergyModel().init(PRIOR), SPACE, 4.0, np.eye(len(SPACE))[0]))
