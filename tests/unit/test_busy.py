"""Busy seconds: learned from any mix of windows, shared among requests, and not lost at a restart."""

import json
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_space import SPACE

from allocator.busy import BusyState, chain_busy_s, dumped, initial, learned, restored, spent_busy_s
from allocator.energy.prior import GUESSED, Prior, VariantJoules
from allocator.energy.windows import SERVING, Name
from allocator.joules import Quality, Work

NAMES = (*SPACE.variants, SERVING)
PRIOR = Prior({name: VariantJoules(0.02, 1e-5) for name in NAMES}, GUESSED, Quality.ASSUMED, "made up", core_w=10.0)
DEAR: Name = ("s2", "v2-1")
TRUE = {name: (1e-3 * (at + 1), 2e-6 * (at + 1)) for at, name in enumerate(NAMES)}


def ran(name: Name, calls: int, items: int, factor: float = 1.0, pool: str = "a/cpu") -> Work:
    run_s, item_s = TRUE[name]
    return Work(*name, pool, calls, items, factor * (run_s * calls + item_s * items))


def windows(count: int, seed: int = 0) -> Iterator[list[Work]]:
    rng = np.random.default_rng(seed)
    for _ in range(count):
        calls = rng.integers(1, 60, len(NAMES))
        yield [
            ran(name, int(n), int(n * rng.uniform(50, 3000)), float(rng.lognormal(0, 0.1)))
            for name, n in zip(NAMES, calls, strict=True)
        ]


def after(works: Iterator[list[Work]] | list[list[Work]]) -> BusyState:
    state = initial(PRIOR)
    for work in works:
        state = learned(state, work)
    return state


def test_before_anything_is_seen_joules_over_the_watts_of_a_core_hold() -> None:
    assert initial(PRIOR).line(DEAR) == pytest.approx((2e-3, 1e-6))


def test_a_measured_prior_without_watts_takes_those_of_a_usual_core() -> None:
    prior = Prior(PRIOR.variants, GUESSED, Quality.MEASURED, "read")
    assert initial(prior).line(DEAR) == pytest.approx((2e-3, 1e-6))


def test_what_runs_and_items_take_is_found() -> None:
    state = after(windows(120))
    for name, true in TRUE.items():
        assert state.line(name) == pytest.approx(true, rel=0.25)


def test_one_window_says_already_how_long_such_runs_take_in_all() -> None:
    state = after([[ran(DEAR, 50, 50_000)]])
    run_s, item_s = state.line(DEAR)
    assert 50 * run_s + 50_000 * item_s == pytest.approx(ran(DEAR, 50, 50_000).busy_s, rel=0.25)


def test_replicas_on_several_pools_count_together() -> None:
    apart = after([[ran(DEAR, 10, 900, pool="a/cpu"), ran(DEAR, 30, 100, pool="b/cpu")]])
    assert apart.line(DEAR) == pytest.approx(after([[ran(DEAR, 40, 1000)]]).line(DEAR))


def test_a_variant_that_nobody_takes_is_not_forgotten() -> None:
    known = after(windows(50))
    later = known
    for work in windows(500, seed=1):
        later = learned(later, [one for one in work if (one.stage, one.variant) != DEAR])
    assert later.line(DEAR) == known.line(DEAR)


def test_a_suspended_machine_makes_no_variant_dear_for_long_and_a_true_change_is_followed() -> None:
    state = after(windows(100))
    normal = state.line(DEAR)[0]
    stalled = learned(state, [Work(*DEAR, "a/cpu", 2, 2000, 3600.0)])
    assert stalled.line(DEAR)[0] < 2 * normal
    for work in windows(300, seed=2):
        state = learned(state, [Work(w.stage, w.variant, w.pool, w.calls, w.items, 4 * w.busy_s) for w in work])
    assert state.line(DEAR) == pytest.approx(tuple(4 * part for part in TRUE[DEAR]), rel=0.2)


@pytest.mark.parametrize(
    "work", [("s9", "v9", 1, 1, 1.0), (*DEAR, 0, 0, 1.0), (*DEAR, 3, 30, 0.0), (*DEAR, 3, 30, float("nan"))]
)
def test_work_that_says_nothing_teaches_nothing(work: tuple[str, str, int, int, float]) -> None:
    stage, variant, calls, items, busy_s = work
    assert not learned(initial(PRIOR), [Work(stage, variant, "a/cpu", calls, items, busy_s)]).sums


def test_a_request_bears_its_part_of_runs_its_items_and_its_part_of_the_work_around() -> None:
    state = after(windows(100))
    rows = dict.fromkeys(NAMES, 8.0)
    busy = chain_busy_s(state, SPACE, rows)
    around = state.line(SERVING)[0] / 8 + state.line(SERVING)[1]
    for chain in (SPACE.chains[0], SPACE.chains[-1]):
        lines = [(state.line((a.stage, str(a.variant))), a.items) for a in chain.actions]
        assert busy[chain.index] == pytest.approx(around + sum(run / 8 + item * n for (run, item), n in lines))
    assert (chain_busy_s(state, SPACE, 16.0) < busy).all()
    assert (chain_busy_s(state, SPACE, 1.0) == chain_busy_s(state, SPACE, {})).all()


def test_what_is_spent_is_what_runs_took() -> None:
    assert spent_busy_s([ran(DEAR, 1, 10), ran(SERVING, 2, 20)]) == pytest.approx(
        ran(DEAR, 1, 10).busy_s + ran(SERVING, 2, 20).busy_s
    )


WORK = st.builds(
    lambda at, calls, items, busy_s: Work(*NAMES[at], "a/cpu", calls, items, busy_s),
    st.integers(0, len(NAMES) - 1),
    st.integers(0, 10_000),
    st.integers(0, 10**9),
    st.floats(0, 1e6),
)


@given(st.lists(st.lists(WORK, max_size=6), max_size=8))
def test_costs_are_finite_and_never_below_nothing_and_survive_a_restart(works: list[list[Work]]) -> None:
    state = after(works)
    busy = chain_busy_s(state, SPACE, 4.0)
    assert np.isfinite(busy).all()
    assert (busy >= 0).all()
    assert (chain_busy_s(restored(PRIOR, dumped(state)), SPACE, 4.0) == busy).all()


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"\xff", b'{"format": 99, "sums": []}', b'{"format": 1, "sums": [1]}']
)
def test_what_cannot_be_read_is_told(data: bytes) -> None:
    with pytest.raises(ValueError, match="saved busy seconds"):
        restored(PRIOR, data)


def test_figures_that_are_not_finite_are_told_and_variants_that_are_gone_are_left_out() -> None:
    about = json.loads(dumped(after(windows(2))))
    about["sums"].append(["gone", "variant", *[1.0] * 8])
    assert set(restored(PRIOR, json.dumps(about).encode()).sums) == set(NAMES)
    about["sums"][0][-1] = float("inf")
    with pytest.raises(ValueError, match="finite"):
        restored(PRIOR, json.dumps(about).encode())
