"""Watts of all machines, as meters tell of them, late, one after the other, or not at all."""

from math import isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.joules import DeviceJoules, PoolAccount, Quality, WindowAccount
from allocator.request_joules import Rates
from cluster.accountant import Closed
from cluster.spending import SETTLES_S, Drawn

IDLE_W = 40.0


def window(told: list[float | None], idle_j: float | None = None, window_s: float = 1.0) -> Closed:
    """A window of some devices in one pool: the joules that each told, None where it did not."""
    devices = tuple(
        DeviceJoules(
            f"web/package-{at}", "web/cpu", "n", "web", "package", "rapl", Quality.MEASURED,
            joules or 0.0, window_s, 0.0, "boot", joules is not None,
        )
        for at, joules in enumerate(told)
    )  # fmt: skip
    total = sum(device.energy_j for device in devices)
    idle_j = min(IDLE_W * window_s, total) if idle_j is None else idle_j
    pools = (PoolAccount("web/cpu", total, idle_j, 0.0, Quality.MEASURED),)
    account = WindowAccount(1, 1.0, window_s, 0, 0, 1, devices, (), pools, None, Quality.ASSUMED, 1.0, Quality.ASSUMED)
    return Closed(1.0, devices, (), Rates({}, None, Quality.MODELLED, Quality.MODELLED), account=account)


def after(*windows: Closed) -> Drawn:
    drawn = Drawn()
    for one in windows:
        drawn = drawn.after(one)
    return drawn


def test_watts_are_those_of_all_devices() -> None:
    drawn = after(window([60.0, 50.0]))
    assert (drawn.power_w, drawn.fixed_w, drawn.known) == (110.0, IDLE_W, True)


def test_one_silent_device_of_many_is_taken_to_draw_what_it_drew() -> None:
    drawn = after(window([30.0] * 10), window([30.0] * 9 + [None]), window([30.0] * 9 + [None]))
    assert drawn.power_w == 300.0
    assert drawn.after(window([30.0] * 9 + [90.0])).power_w == 300.0, "its joules are those of three windows"


def test_while_most_is_silent_nothing_is_known_and_then_all_of_it() -> None:
    drawn = after(window([60.0, 50.0]), window([None, 50.0]), window([None, None]))
    assert isnan(drawn.power_w)
    assert drawn.fixed_w == IDLE_W
    drawn = drawn.after(window([180.0, 100.0], idle_j=2 * IDLE_W))
    assert drawn.power_w == pytest.approx(110.0)
    assert drawn.fixed_w == pytest.approx(IDLE_W), "idle of two windows was paid in one"


def test_a_device_that_was_never_heard_leaves_the_whole_unknown() -> None:
    assert isnan(after(window([60.0, None])).power_w)
    assert isnan(after(window([])).power_w)


def test_watts_that_chains_cannot_change_are_smoothed_and_the_one_before_is_kept() -> None:
    drawn = after(window([100.0]), window([120.0], idle_j=60.0))
    assert drawn.before_w == IDLE_W
    assert drawn.fixed_w == pytest.approx(60.0 + np.exp(-1 / SETTLES_S) * (IDLE_W - 60.0))


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=30))
def test_whoever_is_silent_for_however_long_steady_watts_are_told_as_they_are(heard: list[list[bool]]) -> None:
    watts, owed = np.array([50.0, 30.0, 20.0]), np.zeros(3)
    drawn = after(window(watts.tolist()))
    for told in heard:
        owed += watts
        drawn = drawn.after(window([float(j) if heard else None for j, heard in zip(owed, told, strict=True)]))
        owed[np.array(told)] = 0.0
        assert isnan(drawn.power_w) or drawn.power_w == pytest.approx(100.0)
        assert isnan(drawn.power_w) == (watts[np.array(told)].sum() <= 50.0)
        assert 0 <= drawn.fixed_w <= 100.0
