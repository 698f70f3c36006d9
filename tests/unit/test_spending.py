"""Watts of all machines, as meters tell of them, late, one after the other, or not at all."""

from dataclasses import replace
from math import isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.joules import DeviceJoules, PoolAccount, Quality, Share, WindowAccount
from allocator.request_joules import Rates
from cluster.accountant import Closed
from cluster.spending import HELD_S, SETTLES_S, Drawn

IDLE_SHARE = 0.4
ASSUMED = Quality.ASSUMED


def window(
    told: list[float | None], idle: float = IDLE_SHARE, window_s: float = 1.0, there: list[bool] | None = None
) -> Closed:
    """A window of some hosts: the joules that each told, None where it did not; some may have no row at all."""
    devices, pools = [], []
    for at, joules in enumerate(told):
        if there is None or there[at]:
            devices.append(
                DeviceJoules(
                    f"host-{at}/package-0", f"host-{at}/cpu", "n", f"host-{at}", "package", "rapl", Quality.MEASURED,
                    joules or 0.0, window_s, 0.0, "boot", joules is not None,
                )
            )  # fmt: skip
            drawn = joules or 0.0
            pools.append(PoolAccount(f"host-{at}/cpu", drawn, idle * drawn, 0.0, Quality.MEASURED))
    account = WindowAccount(
        1, 1.0, window_s, 0, 0, 1, tuple(devices), (), tuple(pools), None, Quality.ASSUMED, 1.0, Quality.ASSUMED
    )
    return Closed(1.0, tuple(devices), (), Rates({}, None, Quality.MODELLED, Quality.MODELLED), account=account)


def after(*windows: Closed) -> Drawn:
    drawn = Drawn()
    for one in windows:
        drawn = drawn.after(one)
    return drawn


def test_watts_are_those_of_all_hosts() -> None:
    drawn = after(window([60.0, 50.0]))
    assert (drawn.power_w, drawn.fixed_w, drawn.known) == (110.0, pytest.approx(44.0), True)


def test_one_silent_host_of_many_is_taken_to_draw_what_it_drew_idle_too() -> None:
    drawn = after(window([30.0] * 10), *[window([30.0] * 9 + [None])] * 2)
    assert (drawn.power_w, drawn.fixed_w) == (300.0, pytest.approx(120.0))
    drawn = drawn.after(window([30.0] * 9 + [90.0]))
    assert (drawn.power_w, drawn.fixed_w) == (300.0, pytest.approx(120.0)), "its joules are those of three windows"


def test_whoever_is_silent_for_long_leaves_the_whole_unknown() -> None:
    drawn, windows = after(window([30.0] * 10)), 0
    while not isnan(drawn.power_w):
        drawn, windows = drawn.after(window([30.0] * 9 + [None])), windows + 1
    assert windows == HELD_S + 1
    assert drawn.fixed_w == pytest.approx(120.0)


def test_a_host_that_comes_back_with_the_joules_of_all_its_time_away_makes_no_peak() -> None:
    drawn = after(window([100.0] * 3))
    for second in range(61):
        drawn = drawn.after(window([100.0, 100.0, None], there=[True, True, second < 60]))
    assert drawn.power_w == 200.0, "it has left"
    drawn = drawn.after(window([100.0, 100.0, 6100.0]))
    assert drawn.power_w == pytest.approx(300.0)
    assert drawn.fixed_w == pytest.approx(120.0, rel=0.35), "smoothed"


def test_an_estimate_that_takes_over_tells_of_the_time_of_which_nobody_did_and_not_twice() -> None:
    drawn = after(window([100.0]), *[window([None])] * 5)
    taken_over = window([600.0], window_s=6.0)
    estimate = replace(taken_over.devices[0], device="host-0/estimate", source="estimate")
    assert taken_over.account is not None
    account = replace(taken_over.account, devices=(estimate,))
    drawn = drawn.after(replace(taken_over, devices=(estimate,), account=account))
    assert drawn.power_w == pytest.approx(100.0)


def test_a_host_that_serves_on_while_its_meter_is_gone_has_not_left() -> None:
    drawn = after(window([100.0] * 3))
    gone, share = (
        window([100.0, 100.0, None], there=[True, True, False]),
        Share("s", "v", "host-2/cpu", 3, 9, 0.0, ASSUMED),
    )
    assert gone.account is not None
    serving = replace(gone, account=replace(gone.account, shares=(share,)))
    assert isnan(drawn.after(serving).power_w), "what the others draw is not all that is drawn"
    assert drawn.after(serving).fixed_w == pytest.approx(120.0)
    assert drawn.after(gone).power_w == 200.0
    idle = replace(gone, account=replace(gone.account, shares=(replace(share, calls=0, items=0),)))
    assert drawn.after(idle).power_w == 200.0
    never = replace(gone, account=replace(gone.account, shares=(replace(share, pool="host-9/cpu"),)))
    assert drawn.after(never).power_w == 200.0, "of whom no meter ever told, nobody expects it"


def test_while_most_is_silent_nothing_is_known_and_then_all_of_it() -> None:
    drawn = after(window([60.0, 50.0]), window([None, 50.0]), window([None, None]))
    assert isnan(drawn.power_w)
    assert drawn.fixed_w == pytest.approx(44.0)
    drawn = drawn.after(window([180.0, 100.0]))
    assert drawn.power_w == pytest.approx(110.0)
    assert drawn.fixed_w == pytest.approx(44.0)


def test_a_host_that_was_never_heard_leaves_the_whole_unknown() -> None:
    assert isnan(after(window([60.0, None])).power_w)
    assert isnan(after(window([])).power_w)


def test_watts_that_chains_cannot_change_are_smoothed_and_the_one_before_is_kept() -> None:
    drawn = after(window([100.0]), window([100.0], idle=0.6))
    assert drawn.before_w == pytest.approx(40.0)
    assert drawn.fixed_w == pytest.approx(60.0 - 20.0 * np.exp(-1 / SETTLES_S))


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=25))
def test_whoever_is_silent_for_however_long_steady_watts_are_told_as_they_are(heard: list[list[bool]]) -> None:
    watts, owed = np.array([50.0, 30.0, 20.0]), np.zeros(3)
    drawn = after(window(watts.tolist()))
    for told in heard:
        owed += watts
        drawn = drawn.after(window([float(j) if heard else None for j, heard in zip(owed, told, strict=True)]))
        owed[np.array(told)] = 0.0
        assert isnan(drawn.power_w) or drawn.power_w == pytest.approx(100.0)
        assert isnan(drawn.power_w) == (watts[np.array(told)].sum() <= 50.0)
        assert drawn.fixed_w == pytest.approx(40.0)
