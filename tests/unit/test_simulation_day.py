"""Short simulated days: quotas are met near the optimum, grams go where they are clean, no joule is billed twice."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from simulated_days import against_flat_cap, kwh_in, meter_error, play, scenario

from allocator.emissions import JOULES_PER_KWH
from allocator.limits import CAPACITY, Kind
from cluster.simulation.day import Day
from cluster.simulation.hindsight import Hindsight
from cluster.simulation.limits import schedules
from cluster.simulation.outcome import LimitOutcome, Outcome, outcome_of
from cluster.simulation.parts import LimitPart
from cluster.simulation.world import World

SHORT = {"window_s": 900.0, "users": 300, "capacity_share": 0.0}
"""Ninety-six windows, and one price: less than a second of work."""
Short = Callable[..., World]


@pytest.fixture(scope="module")
def short() -> Short:
    worlds: dict[str, World] = {}

    def made(name: str, **changes: object) -> World:
        key = f"{name} {sorted(changes.items())}"
        if key not in worlds:
            worlds[key] = World(scenario(name, **{**SHORT, **changes}))
        return worlds[key]

    return made


def stated(outcome: Outcome) -> LimitOutcome:
    return next(one for one in outcome.limits if one.name != CAPACITY)


def assert_billed_once(outcome: Outcome, world: World) -> None:
    """Exactly what counters counted, and what was drawn within the meters' noise."""
    assert outcome.billed_j == pytest.approx(outcome.counted_j, rel=1e-9)
    assert outcome.billed_j == pytest.approx(outcome.joules, rel=4 * meter_error(outcome, world))


def test_a_days_quota_is_met_and_earns_nearly_what_hindsight_would(short: Short, tmp_path: Path) -> None:
    world = short("diurnal")
    outcome = play(world, ledger=tmp_path / "day.sqlite")
    assert stated(outcome).most == pytest.approx(1.0, abs=0.01)
    assert 0.99 < (outcome.of_optimum or 0) <= 1.001
    assert outcome.reward > (outcome.best_fixed or np.inf)
    assert outcome.joules < 0.75 * outcome.static.joules
    assert outcome.degraded == 0
    assert_billed_once(outcome, world)
    assert kwh_in(tmp_path / "day.sqlite") == pytest.approx(outcome.billed_j / JOULES_PER_KWH)


def test_a_carbon_quota_earns_more_than_a_flat_cap_with_equal_grams(short: Short) -> None:
    world = short("dirty-grid-evening")
    hindsight = Hindsight(world)
    (asked, *_) = schedules(world, world.scenario.limits, hindsight.costs.takes)
    reward, grams = against_flat_cap(world, asked.any.limit)
    assert reward > 1.001
    assert grams < 1.001


def test_hours_of_clean_power_take_nothing_of_a_carbon_quota(short: Short) -> None:
    world = short("diurnal", grid={"series": [300.0, 0.0, 300.0]}, limits=[{"kind": "carbon", "limit": "80%"}])
    outcome = play(world)
    assert stated(outcome).most == pytest.approx(1.0, abs=0.01)
    assert 0.99 < (outcome.of_optimum or 0) <= 1.001


def test_without_a_limit_every_request_has_its_best_chain(short: Short) -> None:
    outcome = play(short("diurnal", holdback=0.0), limits=())
    assert outcome.of_optimum == pytest.approx(1.0, abs=1e-4)
    assert outcome.joules == pytest.approx(outcome.free.joules, rel=0.01)


def test_while_sensors_are_silent_the_cap_holds_and_their_joules_are_billed_once_later(short: Short) -> None:
    lost = [{"group": "alpha", "at_h": 6, "hours": 2, "estimated": False}]
    lost += [{"group": group, "at_h": 19, "hours": 0.5, "estimated": False} for group in ("alpha", "beta", "gamma")]
    world = short("sensor-loss", sensors_lost=lost)
    outcome = play(world)
    assert outcome.silent == 8 + 2
    assert stated(outcome).most < 1.07
    assert stated(outcome).over < 0.005
    assert (outcome.of_optimum or 0) > 0.99
    assert_billed_once(outcome, world)


@pytest.mark.parametrize("hours", [0.75, 1.0])
def test_where_an_estimate_stands_in_for_sensors_no_joule_is_billed_again(short: Short, hours: float) -> None:
    lost = [{"group": "alpha", "at_h": 18, "hours": hours}]
    world = short("sensor-loss", sensors_lost=lost)
    outcome = play(world)
    assert stated(outcome).most < 1.07
    assert outcome.billed_j == pytest.approx(outcome.joules, rel=4 * meter_error(outcome, world))


def test_a_region_that_fails_is_served_by_another_and_comes_back_without_a_joule_too_many(short: Short) -> None:
    world = short("region-failover")
    outcome = play(world)
    down = world.alive[:, 0] == 0
    assert down.any()
    assert world.requests[down, 0].sum() == 0
    assert outcome.refused == 0
    assert stated(outcome).most == pytest.approx(1.0, abs=0.02)
    assert (outcome.of_optimum or 0) > 0.99
    assert_billed_once(outcome, world)


def test_machines_that_cannot_serve_all_refuse_the_rest(short: Short) -> None:
    crowd = [{"at_h": 1, "hours": 1, "times": 5.0}]
    traffic = {"regions": {"world": {"rps": 180000}}, "crowds": crowd}
    world = short("diurnal", hours=3.0, traffic=traffic, limits=())
    rows = list(Day(world, ()).rows())
    assert any(row.refused for row in rows)
    for row, asked in zip(rows, world.requests.sum(axis=1).tolist(), strict=True):
        assert row.executed.sum() + row.refused == pytest.approx(asked, abs=1)
        assert row.spent == {}


def test_while_no_machine_is_up_all_requests_are_refused_and_nothing_is_drawn(short: Short) -> None:
    world = short("diurnal", hours=3.0, failures=[{"group": "fleet", "at_h": 1, "hours": 1}])
    outcome = play(world)
    down = world.alive[:, 0] == 0
    assert outcome.refused == world.unserved.sum() > 0
    assert (world.unserved > 0).tolist() == down.tolist()
    assert [watts == 0 for watts in outcome.series.power_w] == down.tolist()
    assert_billed_once(outcome, world)


def test_the_capacity_that_is_left_shortens_chains_before_requests_are_refused(short: Short) -> None:
    crowd = [{"at_h": 1, "hours": 1.5, "times": 2.0}]
    traffic = {"regions": {"world": {"rps": 180000}}, "crowds": crowd}
    changes = {
        "hours": 2.5,
        "window_s": 300.0,
        "traffic": traffic,
        "nodes": {"fleet": {"region": "world", "count": 1000, "cores": 16}},
    }
    own, none = (play(short("diurnal", **changes, capacity_share=share), ()) for share in (0.9, 0.0))
    assert none.overloaded == 18, "all windows of the crowd"
    assert own.overloaded < 6, "those until the price has found it"
    assert own.refused < 0.2 * none.refused
    assert next(one for one in own.limits if one.name == CAPACITY).prices[2] > 0


def test_the_same_seed_gives_the_same_day_and_another_one_another(short: Short) -> None:
    first, again, other = (
        play(World(scenario("region-failover", **SHORT, hours=2.0, seed=seed))) for seed in (3, 3, 4)
    )
    assert first.joules == again.joules
    assert first.reward == again.reward
    assert first.joules != other.joules


def test_a_day_that_is_stopped_is_told_as_far_as_it_went(short: Short) -> None:
    world = short("diurnal")
    hindsight = Hindsight(world)
    made = schedules(world, world.scenario.limits, hindsight.costs.takes)
    day = Day(world, made)
    for _, row in zip(range(10), day.rows(), strict=False):
        assert row.requests > 0
    outcome = outcome_of(day, world, made, hindsight)
    assert not outcome.complete
    assert outcome.windows == 10
    assert outcome.requests == world.requests[:10].sum()
    assert outcome.joules < outcome.static.joules < 10 * 900 * 2e5
    assert outcome.of_optimum is None


def test_limits_may_change_through_the_day_and_be_lifted(short: Short) -> None:
    world = short("diurnal", hours=6.0, limits=())
    changes = ({"at_h": 2, "limit": "70%"}, {"at_h": 4, "limit": None})
    part = LimitPart.model_validate({"kind": "power", "limit": "95%", "changes": changes})
    made = schedules(world, (part,), Hindsight(world).costs.takes)
    assert made[0].any.limit == pytest.approx(0.95 * Hindsight(world).costs.takes(Kind.POWER).max() / 900)
    rows = list(Day(world, made).rows())
    allowed = np.array([row.allowed.get("power", np.inf) for row in rows[1:]])
    most = float(Hindsight(world).costs.takes(Kind.POWER).max())
    expected = np.repeat([0.95 * most, 0.7 * most, np.inf], 8)[1:]
    np.testing.assert_allclose(allowed, expected, rtol=1e-6)


@pytest.mark.parametrize("limit", [("energy", "85%"), ("power", "80%"), ("carbon", "70%"), ("flops", "60%")])
def test_no_run_earns_more_than_hindsight_says_is_possible(short: Short, limit: tuple[str, str]) -> None:
    world = short("sensor-loss", hours=24.0)
    part = LimitPart(kind=Kind(limit[0]), limit=limit[1])
    hindsight = Hindsight(world)
    (made, *_) = schedules(world, (part,), hindsight.costs.takes)
    best = hindsight.optimum((made,))
    assert best < hindsight.free.reward
    tighter = part.model_copy(update={"limit": "60%" if limit[0] != "flops" else "40%"})
    (less, *_) = schedules(world, (tighter,), hindsight.costs.takes)
    assert hindsight.optimum((less,)) < best
    assert hindsight.optimum((less, made)) == hindsight.optimum((less,))
