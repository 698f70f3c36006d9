"""How far the energy model may be off in what the policy saves: from the window's chains to what replicas are told."""

import asyncio
from math import isnan

import numpy as np
import pytest
from account_world import UNIX_S
from fake_time import FakeTime
from power_loop import REWARDS, EvenPace, Loop, Machine, watts
from small_space import SPACE

from allocator.constraints import flops_per_second
from allocator.joules import Quality
from allocator.price.select import strategy
from allocator.request_joules import Rates
from cluster.accounts import Report, Totals, Window
from cluster.control import Control
from cluster.desk import ControllerDesk
from cluster.purse import Purse
from cluster.snapshot import Snapshot

STATIC, CHEAPEST = SPACE.static.index, int(SPACE.flops.argmin())


def window(**requests: float) -> Window:
    """So many requests a second that ran a chain, by `c<index>`."""
    executed = np.zeros(len(SPACE))
    for chain, count in requests.items():
        executed[int(chain[1:])] = count
    return Window(executed, float(executed.sum()), REWARDS[:4])


@pytest.fixture(scope="module")
def purse() -> Purse:
    """One that has learned for a while what chains cost."""
    loop = Loop(Machine(), [watts("cap", 115.0)])
    loop.run(10)
    return loop.purse


def test_where_all_ran_the_static_chain_nothing_can_be_off(purse: Purse) -> None:
    assert purse.saving_error_j(window(**{f"c{STATIC}": 30.0})) == 0.0


def test_the_more_ran_other_chains_the_more_may_be_off_in_the_mean(purse: Purse) -> None:
    whole = purse.saving_error_j(window(**{f"c{CHEAPEST}": 30.0}))
    half = purse.saving_error_j(window(**{f"c{CHEAPEST}": 15.0, f"c{STATIC}": 15.0}))
    assert whole > 0
    assert half == pytest.approx(whole / 2)
    assert purse.saving_error_j(window(**{f"c{CHEAPEST}": 3.0})) == pytest.approx(whole), "by shares, not by numbers"


def test_nothing_is_known_without_requests_meters_or_a_machine_that_was_seen(purse: Purse) -> None:
    some = window(**{f"c{CHEAPEST}": 30.0})
    assert isnan(purse.saving_error_j(window()))
    assert isnan(Purse(SPACE, 1.0, tuple, EvenPace(), Machine().prior(), meters=False).saving_error_j(some))
    assert isnan(Purse(SPACE, 1.0, tuple, EvenPace(), Machine().prior()).saving_error_j(some))


def test_it_is_told_with_the_rates_of_the_same_snapshot() -> None:
    async def main() -> list[Snapshot]:
        time, found = FakeTime(UNIX_S), list[Snapshot]()
        control = Control(SPACE, (flops_per_second(np.inf),), strategy(), "m", STATIC)
        desk = ControllerDesk(control, time, time, time.sleep)
        run = asyncio.create_task(desk.run())
        for rates, error_j in ((None, 0.5), (Rates({}, None, Quality.MODELLED, Quality.MODELLED), 0.25)):
            desk.rates, desk.saving_error_j = rates, error_j
            totals = Totals.none(time(), len(SPACE))
            call = asyncio.create_task(desk.report(Report("r", totals, totals, REWARDS[:0], 0, np.zeros(0))))
            await time.advance(1.8)  # so that the next report waits for its tick
            answer = await call
            assert answer.snapshot is not None
            found.append(answer.snapshot)
        run.cancel()
        return found

    without, told = asyncio.run(main())
    assert without.rates is None
    assert told.rates is not None
    assert told.rates.saving_error_j == 0.25
