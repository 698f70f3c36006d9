"""The controller's account of joules: closed after every tick, also where nobody serves; and what people are told."""

import asyncio
import itertools
import json
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import numpy as np
import pytest
from account_world import DIN, MLP, PUE, UNIX_S, Host, joules_in, prior_of, requests_in, work_in
from fake_time import FakeTime
from ledger_windows import device
from small_space import SPACE

from allocator.constraints import flops_per_second
from allocator.energy.model import EnergyModel
from allocator.joules import Quality
from allocator.price.select import strategy
from allocator.request_joules import Rates
from cluster.accountant import Accountant, Closed
from cluster.accounts import Report, Totals, Window
from cluster.bookkeeping import MOST_UNTOLD, Bookkeeper, Told, power_payload
from cluster.carbon.fixed import FixedCarbon
from cluster.control import Control
from cluster.desk import ControllerDesk
from cluster.ledger.store import Ledger
from cluster.power.base import Refusal
from cluster.power.meter import MeterReport
from cluster.reporting.payload import EnergyResponse
from cluster.schemas import PowerResponse
from cluster.snapshot import Answer
from cluster.work import Counts
from models.errors import TryAgain

PATIENCE_S = 5.0
RATES = Rates({}, None, Quality.MODELLED, Quality.MODELLED)


class Meters:
    """One host's meter. Each time that it is asked, a second has passed."""

    def __init__(self) -> None:
        self.host, self.asked = Host("web", "boot-1"), list[float]()

    async def reports(self, timeout_s: float) -> tuple[MeterReport, ...]:
        self.asked.append(timeout_s)
        self.host.run(1.0, 30.0)
        return (self.host.report(),)


class Room:
    """A controller's desk, its ledger, and who keeps the books."""

    def __init__(self, window_s: float = 1.0) -> None:
        self.time, self.ledger, self.meters = FakeTime(), Ledger(None), Meters()
        control = Control(SPACE, (flops_per_second(1e9),), strategy(), "m", SPACE.static.index)
        self.desk = ControllerDesk(control, self.time, self.time, self.time.sleep)
        carbon = FixedCarbon(300.0)
        accountant = Accountant(EnergyModel(), prior_of(DIN, MLP), self.ledger, carbon, PUE)
        seconds = itertools.count(1)
        self.books = Bookkeeper(
            accountant, self.ledger, self.desk, self.meters, window_s, lambda: UNIX_S + next(seconds)
        )
        self.desk.measure = self.measured
        self.told: list[Told] = []

    async def measured(self, window: Window) -> None:
        self.told.append(await self.books.soon())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(run) for run in (self.desk.run(), self.books.run())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def windows(self) -> int:
        return self.ledger.last().number

    def serves(self, requests: int, at_s: float) -> "asyncio.Task[Answer]":
        """A replica reports so many requests."""
        executed = np.zeros(len(SPACE), np.int64)
        executed[SPACE.static.index] = requests
        work = {(*DIN, "boot-1/cpu"): Counts(requests, 80 * requests, 0.5)}
        totals = Totals(at_s, executed, 0, 5 * requests, work)
        none = Totals.none(0.0, len(SPACE))
        report = Report("replica", totals, none, np.empty((0, len(SPACE)), np.float32), 0, np.zeros(1))
        return asyncio.create_task(self.desk.report(report))


async def until(happens: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not happens():
        assert time.monotonic() < end_s, "it does not happen"
        await asyncio.sleep(0.002)


class TestBooks:
    def test_they_are_closed_where_nobody_serves(self) -> None:
        async def story() -> None:
            room = Room(window_s=0.005)
            async with room.running():
                await until(lambda: room.windows >= 4)
            drawn = joules_in(room.ledger)
            assert drawn["web/package-0"] == pytest.approx(30.0 * (room.windows - 1))
            assert requests_in(room.ledger) == (0, 0)

        asyncio.run(story())

    def test_they_are_closed_in_each_tick(self) -> None:
        async def story() -> None:
            room = Room(window_s=60.0)
            async with room.running():
                for turn in range(1, 4):
                    report = room.serves(10 * turn, at_s=float(turn))
                    await asyncio.sleep(0)
                    assert room.windows == turn - 1, "not before the tick"
                    await room.time.advance(1.0)
                    await until(lambda turn=turn: len(room.told) == turn)  # type: ignore[misc]
                    assert room.windows == turn
                    await report
            assert requests_in(room.ledger) == (30, 150)
            assert work_in(room.ledger)[DIN] == (30, 2400)
            assert room.meters.asked == [15.0] * 3, "a quarter of a window is left for meters"
            closed = [one.closed for one in room.told]
            assert [one.account.requests for one in closed if one and one.account] == [10, 10, 10]
            assert [one.late for one in room.told] == [()] * 3

        asyncio.run(story())

    def test_rates_are_in_the_snapshot_of_the_same_tick(self) -> None:
        async def story() -> None:
            room = Room(window_s=60.0)
            async with room.running():
                report = room.serves(1, at_s=1.0)
                await room.time.advance(1.0)
                snapshot = (await report).snapshot
            assert snapshot is not None
            assert snapshot.rates is not None
            assert snapshot.rates.grams_per_j == pytest.approx(PUE.ratio * 300 / 3.6e6)

        asyncio.run(story())

    def test_a_meter_that_is_slow_holds_up_no_prices_and_its_window_is_closed_all_the_same(self) -> None:
        async def story() -> None:
            room = Room(window_s=0.4)
            answered = asyncio.Event()
            report = room.meters.reports

            async def slow(timeout_s: float) -> tuple[MeterReport, ...]:
                await answered.wait()
                return await report(timeout_s)

            room.meters.reports = slow  # type: ignore[method-assign]
            assert await room.books.soon() == Told()
            assert await room.books.soon() == Told(), "the same closing is waited for, no second one begun"
            answered.set()
            await until(lambda: room.windows == 1)
            told = await room.books.soon()
            assert [one.end_s for one in told.late] == [UNIX_S + 1], "of the window that was late"
            assert told.closed is not None
            assert told.closed.end_s == UNIX_S + 2

        asyncio.run(story())

    def test_whatever_is_late_each_window_is_told_once_and_in_order(self) -> None:
        async def story() -> None:
            room = Room(window_s=0.02)
            report, rng = room.meters.reports, random.Random(7)

            async def sometimes_slow(timeout_s: float) -> tuple[MeterReport, ...]:
                await asyncio.sleep(rng.choice([0.0, 0.0, 0.004, 0.01, 0.03]))
                return await report(timeout_s)

            room.meters.reports = sometimes_slow  # type: ignore[method-assign]
            for _ in range(40):
                room.told.append(await room.books.soon())
                await asyncio.sleep(0.01)
            room.meters.reports, room.books._window_s = report, 60.0  # type: ignore[method-assign]
            room.told.append(await room.books.soon())
            assert any(each.late for each in room.told)
            assert any(each.closed for each in room.told[:-1])
            told = [one for each in room.told for one in (*each.late, each.closed) if one is not None]
            accounts = [one.account for one in told if one.account is not None]
            assert [one.number for one in accounts] == list(range(1, room.windows + 1))
            drawn_j = sum(device.energy_j for one in accounts for device in one.devices)
            assert drawn_j == pytest.approx(sum(joules_in(room.ledger).values()))

        asyncio.run(story())

    def test_what_was_closed_where_nobody_served_is_told_once_somebody_asks(self) -> None:
        async def story() -> None:
            room = Room(window_s=0.005)
            runs = asyncio.create_task(room.books.run())
            await until(lambda: room.windows >= 5)
            runs.cancel()
            await asyncio.gather(runs, return_exceptions=True)
            room.books._window_s = 60.0
            told = await room.books.soon()
            assert told.closed is not None
            assert len(told.late) == room.windows - 1 >= 5
            assert (await room.books.soon()).late == ()

        asyncio.run(story())

    def test_days_of_windows_that_nobody_asks_for_are_put_together_and_lose_no_joule(self) -> None:
        async def story() -> None:
            room = Room(window_s=60.0)
            for _ in range(MOST_UNTOLD + 50):
                await room.books.once()
            told = await room.books.soon()
            assert len(told.late) == MOST_UNTOLD - 1
            assert told.closed is not None
            accounts = [one.account for one in (*told.late, told.closed) if one.account is not None]
            assert sum(one.window_s for one in accounts) == pytest.approx(room.windows - 1)
            drawn_j = sum(device.energy_j for one in accounts for device in one.devices)
            assert drawn_j == pytest.approx(sum(joules_in(room.ledger).values()))

        asyncio.run(story())

    def test_what_ends_them_is_not_hidden(self) -> None:
        async def story() -> None:
            room = Room(window_s=0.005)
            room.books._accountant.close = lambda *_: 1 / 0  # type: ignore[method-assign,assignment]
            with pytest.raises(ZeroDivisionError):
                await asyncio.wait_for(room.books.run(), PATIENCE_S)

        asyncio.run(story())


class TestPower:
    def test_nobody_can_tell_before_the_first_window(self) -> None:
        with pytest.raises(TryAgain, match="no window"):
            asyncio.run(Room().books.power())

    def test_it_is_what_devices_drew_in_the_last_window(self) -> None:
        async def story() -> dict[str, object]:
            room = Room()
            await room.books.once()
            await room.books.once()
            return await room.books.power()

        told = PowerResponse.model_validate_json(json.dumps(asyncio.run(story())), strict=True)
        assert (told.time_s, told.quality, told.unknown, told.ledger_error) == (UNIX_S + 2, "measured", None, None)
        assert told.power_w == pytest.approx(90.0)
        assert [(one.device, one.power_w) for one in told.nodes[0].devices] == [
            ("GPU-web", pytest.approx(60.0)),
            ("web/package-0", pytest.approx(30.0)),
        ]
        assert (told.nodes[0].node, told.nodes[0].host, told.nodes[0].power_w) == ("node-web", "web", told.power_w)

    def test_a_device_of_which_nothing_is_known_yet_has_no_watts(self) -> None:
        waits = replace(device(0.0), fresh=False)
        payload = power_payload(closed((waits, replace(device(12.0, "package-1"), window_s=3.0))))
        told = PowerResponse.model_validate(payload, strict=True)
        assert [one.power_w for one in told.nodes[0].devices] == [None, 4.0]
        assert told.power_w == 4.0

    def test_where_no_counter_has_moved_there_are_no_watts_rather_than_none_drawn(self) -> None:
        told = PowerResponse.model_validate(power_payload(closed((replace(device(0.0), fresh=False),))), strict=True)
        assert (told.power_w, told.nodes[0].power_w, told.nodes[0].devices[0].power_w) == (None, None, None)
        assert told.unknown == "no counter has moved in the last window"

    def test_after_first_readings_it_says_that_nothing_is_billed_yet(self) -> None:
        async def story() -> dict[str, object]:
            room = Room()
            await room.books.once()
            return await room.books.power()

        told = PowerResponse.model_validate(asyncio.run(story()), strict=True)
        assert (told.power_w, [one.power_w for one in told.nodes[0].devices]) == (None, [None, None])
        assert told.unknown == "nothing is billed yet: a meter's first reading is where its bill begins"

    def test_nodes_are_told_apart_and_add_up(self) -> None:
        devices = (device(1.0, "a", node="n2"), device(2.0, "b", node="n1"), device(4.0, "c", node="n2"))
        told = PowerResponse.model_validate(power_payload(closed(devices)), strict=True)
        assert [(one.node, one.power_w) for one in told.nodes] == [("n1", 2.0), ("n2", 5.0)]
        assert told.power_w == 7.0

    def test_its_quality_is_the_worst_of_its_devices(self) -> None:
        devices = (device(1.0), device(1.0, "b", quality=Quality.ASSUMED), device(1.0, "c", quality=Quality.MODELLED))
        assert power_payload(closed(devices))["quality"] == "assumed"

    def test_without_devices_it_says_why(self) -> None:
        refusals = (Refusal("rapl", "package-0", "no permission", "chmod it"),)
        payload = power_payload(replace(closed(()), refusals=refusals, ledger_error="FixSetup: the disk is full"))
        told = PowerResponse.model_validate(payload, strict=True)
        assert (told.power_w, told.quality, told.nodes) == (None, None, [])
        assert told.unknown is not None
        assert "no meter has told of a device" in told.unknown
        assert [(one.sensor, one.what, one.problem, one.remedy) for one in told.not_read] == [
            ("rapl", "package-0", "no permission", "chmod it")
        ]
        assert told.ledger_error == "FixSetup: the disk is full"


class TestEnergy:
    def test_it_is_what_the_ledger_holds(self) -> None:
        async def story() -> dict[str, object]:
            room = Room()
            for _ in range(5):
                await room.books.once()
            return await room.books.energy(3)

        told = EnergyResponse.model_validate_json(json.dumps(asyncio.run(story())))
        assert [one.number for one in told.windows] == [5, 4, 3]
        assert [one.energy_j for one in told.windows] == pytest.approx([90.0] * 3)
        for one in told.windows:
            assert one.energy_j == pytest.approx(one.attributed_j + one.idle_j + one.unattributed_j)
        assert told.windows[0].co2e_g == pytest.approx(90 / 3.6e6 * PUE.ratio * 300)

    def test_an_empty_ledger_has_no_beginning(self) -> None:
        told = EnergyResponse.model_validate(asyncio.run(Room().books.energy(3)))
        assert (told.since_s, told.windows) == (None, [])


def closed(devices: tuple[object, ...]) -> Closed:
    return Closed(UNIX_S, devices, (), RATES, None)  # type: ignore[arg-type]
