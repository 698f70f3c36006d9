"""The first windows of a controller that starts without anybody's prices: within the limit, and soon at it."""

from dataclasses import replace
from math import inf

import numpy as np
import pytest
from price_cold import Played, Rows, control_of, play
from reward_rows import chain_costs, draw

from allocator.optimum import bisect_price
from allocator.price.select import STRATEGIES
from allocator.price.start import Start
from cluster.accounts import Window

RATE = 4000
COST = chain_costs()
ON_FILE = draw(1024, 1).rewards
LIMIT = RATE * 0.25 * float(COST[ON_FILE.argmax(axis=1)].mean())


@pytest.fixture(scope="module")
def requests() -> Rows:
    return draw(8 * RATE, 2).rewards


def windows_of(requests: Rows, sizes: list[int]) -> list[Rows]:
    return np.split(requests[: sum(sizes)], np.cumsum(sizes)[:-1])


def cold(requests: Rows, sizes: list[int], start: Start | None, limit: float = LIMIT, **rest: object) -> Played:
    return play(control_of(COST, limit, start, **rest), windows_of(requests, sizes))


def test_from_zero_the_first_windows_overspend(requests: Rows) -> None:
    relative = cold(requests, [RATE] * 5, None).relative
    assert relative[0] > 3.5
    assert max(relative[1:]) < 1.1
    assert cold(requests, [RATE // 4, *[RATE] * 4], None).relative[1] > 1.5, "a part of a window was taken for a whole"


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("share", [1.0, 0.6, 0.25, 0.02])
def test_at_an_unknown_rate_no_first_window_overspends_whenever_traffic_begins(
    requests: Rows, share: float, name: str
) -> None:
    relative = cold(requests, [round(share * RATE), *[RATE] * 6], Start(ON_FILE), name=name).relative
    assert max(relative) < 1.1, "a tenth is what the sample is uncertain by"
    assert relative[2:].mean() == pytest.approx(1.0, abs=0.04), "and it lasts two windows"


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_at_the_expected_rate_the_limit_is_met_from_the_first_whole_window(requests: Rows, share: float) -> None:
    relative = cold(requests, [round(share * RATE), *[RATE] * 5], Start(ON_FILE, RATE)).relative
    assert relative[0] == pytest.approx(share, rel=0.08)
    assert relative[1:].tolist() == pytest.approx([1.0] * 5, abs=0.08)


def test_more_requests_than_expected_overspend_for_a_window_only(requests: Rows) -> None:
    relative = cold(requests, [RATE] * 6, Start(ON_FILE, RATE / 2)).relative
    assert relative[0] > 1.5
    assert max(relative[1:]) < 1.08


def test_fewer_requests_than_expected_never_overspend(requests: Rows) -> None:
    relative = cold(requests, [RATE] * 6, Start(ON_FILE, 2 * RATE)).relative
    assert max(relative) < 1.08
    assert min(relative[2:]) > 0.92


def test_a_trickle_before_the_traffic_costs_one_window(requests: Rows) -> None:
    for start in (None, Start(ON_FILE)):
        played = cold(requests, [1, 2, 1, 1, *[RATE] * 5], start)
        assert played.states[3].policy.prices[0] == 0.0
        assert max(played.relative[5:]) < 1.1


def test_a_limit_that_is_set_later_prices_the_next_window(requests: Rows) -> None:
    free = control_of(COST, inf, Start(ON_FILE))
    state = play(free, windows_of(requests, [RATE] * 2)).states[-1]
    assert state.policy.prices.tolist() == [0.0]
    limited = replace(free, constraints=control_of(COST, LIMIT).constraints)
    rows = requests[-RATE:]
    decided = state.policy.decide(rows)
    executed = np.bincount(decided.chains, minlength=len(COST)).astype(float)
    state = limited.step(state, Window(executed, float(RATE), rows[:128]), 3.0)
    assert state.policy.decide(rows).costs.sum() == pytest.approx(LIMIT, rel=0.1)


def test_prices_that_replicas_hold_go_before_start_prices() -> None:
    control = control_of(COST, LIMIT, Start(ON_FILE))
    assert control.init(5.0, 7, np.array([0.5])).policy.prices.tolist() == [0.5]
    assert control.init(5.0, 7, np.array([0.0])).policy.prices.tolist() == [0.0], "a limit that was not reached"
    assert control.init(5.0, 0, np.array([0.0])).policy.prices[0] > 0, "nobody held any"
    assert control.init(5.0, 7, np.array([0.5, 0.5])).policy.prices[0] > 0, "those of other constraints"


def test_a_limit_beyond_what_is_expected_has_no_price() -> None:
    dearest = float(COST.max())
    assert control_of(COST, 1.01 * RATE * dearest, Start(ON_FILE, RATE)).init(0.0).policy.prices.tolist() == [0.0]
    assert control_of(COST, inf, Start(ON_FILE)).init(0.0).policy.prices.tolist() == [0.0]


def test_a_stream_of_100000_requests_from_a_cold_start_earns_nearly_the_bound_within_its_quota() -> None:
    stream = draw(100_000, 3).rewards
    quota = LIMIT / RATE * len(stream)
    bound = bisect_price(stream, COST, quota).bound
    control = control_of(COST, quota / 100, Start(ON_FILE, len(stream) / 100))
    played = play(control, np.array_split(stream, 100), quota)
    assert played.reward >= 0.995 * bound
    assert played.spend == pytest.approx(quota, rel=0.005)
