"""The energy model: it finds the joules of simulated machines, says how sure it is, and learns nothing from gaps."""

from dataclasses import replace

import numpy as np
import pytest
from energy_world import DEMO, History, World

from allocator.energy.figures import coefficients, marginal_j
from allocator.energy.model import EnergyModel
from allocator.energy.prior import PROFILED
from allocator.energy.state import EnergyState
from allocator.energy.windows import SERVING
from allocator.joules import DeviceJoules, Quality, Work

POOL = "host/cpu"
MODELS = tuple(variant for variant in DEMO if variant.name != SERVING)
WORLD = World(variants=MODELS, noise=0.02)
DAY = 86_400


def learned(history: History, model: EnergyModel, off: float = 1.5, seed: int = 0) -> EnergyState:
    """The state after all of it, from a profile that is off by a factor altogether, and by 30% in each coefficient."""
    state = model.init(history.world.prior(off, PROFILED, seed, by=0.3))
    for devices, work in history:
        state = model.step(state, devices, work)
    return state


def errors(state: EnergyState, history: History) -> dict[str, tuple[float, float]]:
    """Of each variant's joules at its usual calls and items: relative error, and relative standard error."""
    found = {}
    growth = float(history.world.growth(np.array(len(history.read))))
    for variant in history.world.variants:
        calls, items = history.usual()[variant.name]
        estimate = marginal_j(state, POOL, variant.name, calls, items)
        true = (variant.call_j * calls + variant.item_j * items) * growth
        found[variant.variant] = (estimate.joules / true - 1, estimate.error_j / true)
    return found


def total_error(state: EnergyState, history: History) -> float:
    usual = history.usual()
    found = sum(marginal_j(state, POOL, name, *of).joules for name, of in usual.items())
    true = sum(v.call_j * usual[v.name][0] + v.item_j * usual[v.name][1] for v in history.world.variants)
    return found / true - 1


def test_from_readings_that_are_off_by_a_tenth_two_days_find_every_variant_to_a_twentieth() -> None:
    history = World(variants=MODELS, noise=0.1).windows(2 * DAY, 1)
    state = learned(history, EnergyModel(), seed=1)
    found, shares = errors(state, history), history.shares()
    large = [v.variant for v in MODELS if shares[v.name] >= 0.05]
    assert len(large) >= 5
    assert {name: found[name][0] for name in large if abs(found[name][0]) > 0.05} == {}
    assert coefficients(state, POOL).idle_w == pytest.approx(25.0, rel=0.02)
    assert coefficients(state, POOL).noise == pytest.approx(0.1, rel=0.15)


def test_it_says_how_sure_it_is() -> None:
    """Errors over their standard errors: of about the size that they claim, and never far out."""
    ratios = []
    for seed in range(6):
        history = WORLD.windows(1500, seed)
        ratios += [error / sure for error, sure in errors(learned(history, EnergyModel(), seed=seed), history).values()]
    assert 0.25 < np.sqrt(np.mean(np.square(ratios))) < 1.2
    assert np.abs(ratios).max() < 3.5


def test_an_hour_without_noise_to_speak_of_is_better_than_a_minute() -> None:
    short, long = (
        max(sure for _, sure in errors(learned(history, EnergyModel()), history).values())
        for history in (WORLD.windows(60, 7), WORLD.windows(3600, 7))
    )
    assert long < short / 2


def test_a_prior_that_is_five_times_too_high_is_mended_as_a_whole_within_minutes() -> None:
    history = WORLD.windows(180, 3)
    assert abs(total_error(learned(history, EnergyModel(), off=5.0), history)) < 0.05


def test_where_the_mix_never_varies_the_sum_is_found_and_the_split_stays_the_priors() -> None:
    """Nothing can tell such variants apart; what is said of their certainty shows it."""
    history = World(variants=MODELS, noise=0.02, wander=0.0).windows(2000, 5)
    state = learned(history, EnergyModel(), off=1.0, seed=5)
    assert abs(total_error(state, history)) < 0.02
    for error, sure in errors(state, history).values():
        assert abs(error) < 3 * sure
    assert errors(state, history)["tower-s"][1] > 0.1


def test_recall_and_serving_are_known_together_better_than_each() -> None:
    history = World(noise=0.02).windows(3000, 6)
    pool = learned(history, EnergyModel(), seed=6).pools[POOL]
    use = np.zeros((len(DEMO), len(pool.scale)))
    for at, variant in enumerate(DEMO):
        use[at, 1 + at], use[at, 1 + at + len(DEMO)] = history.usual()[variant.name]
    covariance = (use * pool.scale) @ pool.covariance @ (use * pool.scale).T
    both = [at for at, v in enumerate(DEMO) if v.stage in ("recall", "serving")]
    joint, each = covariance[np.ix_(both, both)].sum() ** 0.5, np.sqrt(np.diagonal(covariance)[both])
    assert joint < 0.5 * each.sum()
    true = sum(v.call_j * use[at, 1 + at] + v.item_j * use[at, 1 + at + len(DEMO)] for at, v in enumerate(DEMO[:2]))
    true += sum(np.array(history.usual()[DEMO[-1].name]) * (DEMO[-1].call_j, DEMO[-1].item_j))
    found = sum(float(use[at] @ pool.coefficients) for at in both)
    assert abs(found - true) < 3 * joint


@pytest.mark.parametrize("by", [0.6, 2.0])
def test_a_machine_that_is_changed_is_known_again_within_an_hour(by: float) -> None:
    """Until then the change is taken for other programs, as it may well be."""
    history = replace(WORLD, changes_at=3600, changes_by=by).windows(7200, 3)
    assert abs(total_error(learned(history, EnergyModel()), history) + 1 - by) < 0.1 * by


def test_a_machine_that_draws_a_tenth_more_every_hour_is_followed() -> None:
    history = replace(WORLD, drift_per_h=0.1).windows(7200, 8)
    found = errors(learned(history, EnergyModel()), history)
    assert abs(found["dien"][0]) < 0.05
    assert abs(found["din"][0]) < 0.06


def test_counters_that_are_updated_now_and_then_teach_the_same() -> None:
    history = replace(WORLD, stale=0.4).windows(2000, 9)
    assert abs(total_error(learned(history, EnergyModel()), history)) < 0.03


def test_reports_that_do_not_end_with_the_window_matter_little_in_longer_blocks() -> None:
    history = replace(WORLD, late_s=1.0).windows(2500, 10)
    by_block = {s: abs(total_error(learned(history, EnergyModel(block_s=s)), history)) for s in (1.0, 15.0)}
    assert by_block[15.0] < 0.04
    assert by_block[1.0] > 0.2


def test_other_programs_leave_the_variants_sum_nearly_alone() -> None:
    history = replace(WORLD, others_w=20.0).windows(7200, 12)
    assert history.others.mean() > 9
    assert abs(total_error(learned(history, EnergyModel()), history)) < 0.15


def test_no_coefficient_is_ever_negative() -> None:
    rng = np.random.default_rng(0)
    model = EnergyModel(block_s=1.0)
    state = model.init(World().prior())
    for _ in range(300):
        work = [Work(*v.name, POOL, int(rng.integers(0, 50)), int(rng.integers(0, 5000)), 0.0) for v in DEMO]
        state = model.step(state, [device(float(rng.exponential(50)))], work)
        assert (state.pools[POOL].coefficients >= 0).all()
        assert np.linalg.eigvalsh(state.pools[POOL].belief.covariance[:-1, :-1]).min() > 0


def device(energy_j: float, name: str = "p0", pool: str = POOL, **how: object) -> DeviceJoules:
    fixed = {"quality": Quality.MEASURED, "window_s": 1.0, "epoch": "boot", "fresh": True} | how
    return DeviceJoules(name, pool, "n", "h", "package", "rapl", energy_j=energy_j, counter_j=0.0, **fixed)


def test_windows_of_a_counter_that_is_not_updated_are_merged_with_the_next() -> None:
    model = EnergyModel(block_s=1.0)
    work = [Work(*MODELS[0].name, POOL, 3, 3000, 0.0)]
    apart = model.step(model.init(WORLD.prior()), [device(0.0, fresh=False)], [])
    assert apart.pools == {}  # the next reading holds joules of a time that nobody has told of
    start = model.step(model.init(WORLD.prior()), [device(50.0)], work)
    merged = model.step(model.step(start, [device(0.0, fresh=False)], work), [device(120.0)], work)
    whole = [Work(*MODELS[0].name, POOL, 6, 6000, 0.0)]
    at_once = model.step(start, [device(120.0, window_s=2.0)], whole)
    np.testing.assert_allclose(merged.pools[POOL].coefficients, at_once.pools[POOL].coefficients)
    assert merged.pools[POOL].blocks == 1


def test_other_sensors_of_a_pool_make_it_less_sure_of_what_the_former_ones_told() -> None:
    model = EnergyModel(block_s=1.0)
    start = model.step(model.step(model.init(WORLD.prior()), [device(50.0)], []), [device(50.0)], [])
    model = EnergyModel(block_s=100.0)
    start = replace(start, pools={POOL: replace(start.pools[POOL], blocks=100)})
    same, other = (model.step(start, [device(50.0, name)], []) for name in ("p0", "host"))
    sure, doubting = (coefficients(state, POOL) for state in (same, other))
    assert doubting.idle_error_w > 1.5 * sure.idle_error_w
    assert doubting.idle_w == sure.idle_w


@pytest.mark.parametrize("change", [{"epoch": "another boot"}, {"name": "p1"}])
def test_nothing_is_learned_from_work_whose_joules_are_lost(change: dict[str, str]) -> None:
    """A reboot, or another set of devices: the next reading does not cover the work that is held."""
    model = EnergyModel(block_s=1.0)
    lost = [Work(*MODELS[0].name, POOL, 10**6, 10**9, 0.0)]
    start = model.step(model.init(WORLD.prior()), [device(50.0)], [])
    held = model.step(start, [], lost)
    after = model.step(held, [device(50.0, **change)], [])
    straight = model.step(start, [device(50.0, **change)], [])
    np.testing.assert_array_equal(after.pools[POOL].coefficients, straight.pools[POOL].coefficients)


def test_a_device_that_stops_drawing_anything_is_learned_from() -> None:
    model = EnergyModel(block_s=1.0)
    state = model.step(model.init(WORLD.prior()), [device(1.0)], [])
    for _ in range(100):
        state = model.step(state, [device(0.0)], [])
    assert coefficients(state, POOL).idle_w == pytest.approx(0.0, abs=0.01)


def test_a_step_changes_no_state_that_was_handed_in() -> None:
    model = EnergyModel(block_s=1.0)
    history = WORLD.windows(3, 0)
    state = model.init(WORLD.prior())
    for devices, work in history:
        again = [model.step(state, devices, work) for _ in range(2)]
        np.testing.assert_array_equal(again[0].pools[POOL].coefficients, again[1].pools[POOL].coefficients)
        state = again[0]


def test_of_many_pools_only_some_are_learned_from_in_one_step_and_none_is_forgotten() -> None:
    model = EnergyModel(block_s=2.0, most_pools=3)
    state = model.init(WORLD.prior())
    work = [Work(*MODELS[0].name, f"h{n}", 3, 3000, 0.0) for n in range(10)]
    learned_from = []
    for _ in range(45):
        before = {name: pool.blocks for name, pool in state.pools.items()}
        state = model.step(state, [device(50.0, f"h{n}/p0", f"h{n}") for n in range(10)], work)
        learned_from.append(sum(pool.blocks > before.get(name, 0) for name, pool in state.pools.items()))
    assert max(learned_from) == 3
    assert min(pool.blocks for pool in state.pools.values()) >= 10


def test_a_pool_that_stays_silent_for_an_hour_is_forgotten() -> None:
    model = EnergyModel()
    state = model.step(model.init(WORLD.prior()), [device(50.0)], [])
    for _ in range(3599):
        state = model.step(state, [], [])
    assert POOL in state.pools
    assert model.step(state, [], []).pools == {}
