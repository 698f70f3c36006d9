"""Windows that wait to be written: as one they hold what they held."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from ledger_windows import device, pool_of, share, window

from allocator.joules import Quality, WindowAccount
from allocator.limits import HOUR_S
from cluster.unwritten import MOST, joined, waiting

JOULES = st.floats(0.0, 100.0)
QUALITIES = st.sampled_from(list(Quality))


@st.composite
def windows(draw: st.DrawFn) -> WindowAccount:
    """Some devices of two pools, with shares of what they drew."""
    devices, shares, pools = [], [], []
    for pool in draw(st.sets(st.sampled_from(["a/cpu", "b/cpu"]))):
        quality, epoch = draw(QUALITIES), draw(st.sampled_from(["boot-1", "boot-2"]))
        of_pool = [replace(device(draw(JOULES), f"{pool}-{n}", pool, quality=quality), epoch=epoch) for n in range(2)]
        drawn_j = sum(one.energy_j for one in of_pool)
        of_shares = [share(drawn_j * draw(st.floats(0.0, 0.5)), variant=v, pool=pool) for v in ("din", "mlp")]
        devices += of_pool
        shares += of_shares
        pools.append(pool_of(of_pool, of_shares, 0.0))
    return window(
        draw(st.integers(1, 9)), devices=devices, shares=shares, pools=pools, requests=draw(st.integers(0, 9))
    )


@examples(max_examples=100)
@given(many=st.lists(windows(), min_size=1, max_size=6))
def test_together_they_hold_what_each_of_them_held(many: list[WindowAccount]) -> None:
    one: WindowAccount | None = None
    for account in many:
        one = joined(one, account)
    assert one is not None
    assert (one.number, one.end_s) == (many[-1].number, many[-1].end_s)
    assert one.window_s == pytest.approx(sum(account.window_s for account in many))
    assert one.requests == sum(account.requests for account in many)
    assert one.items == sum(account.items for account in many)
    for quality in Quality:
        assert math.fsum(d.energy_j for d in one.devices if d.quality is quality) == pytest.approx(
            math.fsum(d.energy_j for account in many for d in account.devices if d.quality is quality)
        )
    assert sum(s.calls for s in one.shares) == sum(s.calls for account in many for s in account.shares)
    assert sum(s.items for s in one.shares) == sum(s.items for account in many for s in account.shares)
    for pool in {p.pool for p in one.pools}:
        drawn_j = math.fsum(d.energy_j for d in one.devices if d.pool == pool)
        parts_j = math.fsum(s.energy_j for s in one.shares if s.pool == pool)
        parts_j += math.fsum(p.idle_j + p.unattributed_j for p in one.pools if p.pool == pool)
        assert drawn_j == pytest.approx(parts_j, abs=1e-9)
        assert drawn_j == pytest.approx(math.fsum(p.energy_j for p in one.pools if p.pool == pool), abs=1e-9)


def test_hours_of_windows_take_no_more_room_than_one() -> None:
    one = joined(None, window(1))
    for _ in range(100):
        one = joined(one, window(1))
    assert (len(one.devices), len(one.shares), len(one.pools)) == (1, 1, 1)
    assert one.devices[0].energy_j == pytest.approx(1010.0)


def test_the_first_is_left_as_it_is() -> None:
    account = window(1)
    assert joined(None, account) is account


def test_a_device_is_fresh_when_it_was_in_any_of_them_and_stands_where_the_last_left_it() -> None:
    waits = replace(device(0.0, counter_j=7.0), fresh=False)
    counted = device(5.0, counter_j=12.0)
    one = joined(window(1, devices=(counted,)), window(2, devices=(replace(waits, counter_j=12.5),)))
    assert (one.devices[0].fresh, one.devices[0].counter_j, one.devices[0].energy_j) == (True, 12.5, 5.0)
    assert not joined(window(1, devices=(waits,)), window(2, devices=(waits,))).devices[0].fresh


def test_joules_of_two_boots_and_of_two_qualities_stay_apart() -> None:
    kinds = (device(1.0), replace(device(2.0), epoch="boot-2"), device(4.0, quality=Quality.MODELLED))
    one: WindowAccount | None = None
    for kind in kinds:
        one = joined(one, window(1, devices=(kind,), shares=()))
    assert one is not None
    assert [(d.epoch, d.quality, d.energy_j) for d in one.devices] == [
        ("boot-1", Quality.MEASURED, 1.0),
        ("boot-2", Quality.MEASURED, 2.0),
        ("boot-1", Quality.MODELLED, 4.0),
    ]


def at(minute: float, **footing: object) -> WindowAccount:
    """A window that begins so many minutes after an hour did, and lasts a minute."""
    return replace(window(7, end_s=HOUR_S * 100 + (minute + 1) * 60.0), window_s=60.0, **footing)


def test_windows_of_one_hour_wait_as_one_and_those_of_another_by_themselves() -> None:
    kept: tuple[WindowAccount, ...] = ()
    for minute in range(150):
        kept = waiting(kept, at(minute))
    assert [one.number for one in kept] == [7, 8, 9]
    assert [one.window_s for one in kept] == [3600.0, 3600.0, 1800.0]
    assert [one.end_s / HOUR_S for one in kept] == [101.0, 102.0, 102.5]


@pytest.mark.parametrize(
    "footing",
    [
        {"intensity_g_per_kwh": 7.0},
        {"intensity_quality": Quality.MODELLED},
        {"pue": 1.7},
        {"pue_quality": Quality.MODELLED},
    ],
)
def test_on_another_grid_or_in_another_building_they_wait_by_themselves(footing: dict[str, object]) -> None:
    kept = waiting(waiting(waiting((), at(0)), at(1)), at(2, **footing))
    assert [one.window_s for one in kept] == [120.0, 60.0]


def test_of_too_many_the_oldest_are_one_and_nothing_is_lost() -> None:
    kept: tuple[WindowAccount, ...] = ()
    for hour in range(MOST + 50):
        kept = waiting(kept, at(60.0 * hour))
    assert len(kept) == MOST
    assert sum(one.window_s for one in kept) == (MOST + 50) * 60.0
    assert [one.number for one in kept] == list(range(7, 7 + MOST))
