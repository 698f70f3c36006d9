"""Parcels: each the same until it is taken, so that a desk that fails, is late or dies loses nothing, counting once."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from fake_time import FakeTime
from small_space import SPACE

from cluster.outcomes import shipper as shipping
from cluster.outcomes.recorder import Recorder
from cluster.outcomes.shipper import Parcel, Payload, Shipper, every_s, shipped
from models.errors import Late, TryAgain

Fault = Callable[[], Awaitable[None]]
EVERY_S = 1.0


class Desk:
    """Takes parcels; before or after it has, a fault may happen.

    came   all that was sent, and `taken` what came to the account: each parcel once
    """

    def __init__(self) -> None:
        self.before: Fault | None = None
        self.after: Fault | None = None
        self.came: list[Parcel] = []
        self._last = 0
        self.rewards: list[str] = []

    async def take(self, parcel: Parcel) -> None:
        self.came.append(parcel)
        if self.before is not None:
            await self.before()
        if parcel.number > self._last:
            self._last = parcel.number
            self.rewards += [one.request_id for one in parcel.shipment.rewards]
        if self.after is not None:
            await self.after()

    async def savings(self) -> Payload:
        return {}


class Room:
    """A recorder, a shipper, and a desk."""

    def __init__(self) -> None:
        self.time, self.desk = FakeTime(), Desk()
        self.recorder = Recorder(SPACE, self.time, most_rows=1000)
        self.shipper = Shipper("replica", self.recorder, self.desk, EVERY_S, self.time.sleep)

    def earns(self, *ids: str) -> None:
        self.recorder.rewarded([(one, 1.0) for one in ids])

    @property
    def numbers(self) -> list[int]:
        return [parcel.number for parcel in self.desk.came]


async def failing() -> None:
    raise TryAgain("nobody there")


async def late() -> None:
    raise Late("no answer in 10 s")


async def broken() -> None:
    raise ZeroDivisionError


async def cancelled() -> None:
    raise asyncio.CancelledError


async def never() -> None:
    await asyncio.Event().wait()


FAULTS = [failing, late, broken, cancelled]


def test_what_is_remembered_is_shipped_every_so_many_seconds_and_nothing_is_not() -> None:
    async def main() -> None:
        run = asyncio.create_task(room.shipper.run())
        room.earns("a", "b")
        await room.time.advance(0.9 * EVERY_S)
        assert room.numbers == []
        await room.time.advance(3 * EVERY_S)
        room.earns("c")
        await room.time.advance(3 * EVERY_S)
        run.cancel()

    room = Room()
    asyncio.run(main())
    assert room.numbers == [1, 2], "the number rises, and nothing is shipped where there is nothing"
    assert {parcel.replica for parcel in room.desk.came} == {"replica"}
    assert room.desk.rewards == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("horizon_s", "expected_s"), [(86_400.0, 5.0), (1800.0, 5.0), (100.0, 5.0), (60.0, 3.0), (6.0, 1.0), (1.0, 1.0)]
)
def test_parcels_are_few_and_never_travel_for_a_good_part_of_the_time_that_rewards_have(
    horizon_s: float, expected_s: float
) -> None:
    assert every_s(horizon_s) == pytest.approx(expected_s)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_parcel_is_sent_unchanged_until_it_is_taken_and_counts_once(
    fault: Fault, when: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    async def main() -> None:
        run = asyncio.create_task(room.shipper.run())
        room.earns("a", "b")
        setattr(room.desk, when, fault)
        for at in range(4):
            await room.time.advance(EVERY_S)
            room.earns(f"later-{at}")
        setattr(room.desk, when, None)
        await room.time.advance(2 * EVERY_S)
        assert not run.done()
        run.cancel()

    room = Room()
    asyncio.run(main())
    assert room.numbers == [1, 1, 1, 1, 1, 2]
    assert len({id(parcel) for parcel in room.desk.came}) == 2
    assert room.desk.rewards == ["a", "b", "later-0", "later-1", "later-2", "later-3"]
    said = [record.message.split(":")[0] for record in caplog.records if record.name == shipping.__name__]
    assert said == ["outcomes cannot be passed on, and are kept", "outcomes are passed on again"]


def test_one_that_ends_while_a_parcel_is_under_way_sends_it_again_and_then_the_rest() -> None:
    async def main() -> None:
        async with shipped(room.shipper):
            room.earns("a")
            room.desk.after = never
            await room.time.advance(EVERY_S)
            assert room.desk.rewards == ["a"], "taken, and not answered"
            room.earns("b")
            room.desk.after = None

    room = Room()
    asyncio.run(main())
    assert room.numbers == [1, 1, 2]
    assert room.desk.rewards == ["a", "b"]


def test_one_that_ends_ships_what_is_left() -> None:
    async def main() -> None:
        async with shipped(room.shipper):
            room.earns("a")
            await room.time.advance(EVERY_S)
            room.earns("b", "c")

    room = Room()
    asyncio.run(main())
    assert room.desk.rewards == ["a", "b", "c"]


def test_one_that_ends_waits_for_nobody_for_long(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> float:
        clock = asyncio.get_running_loop().time
        began_s = clock()
        async with shipped(room.shipper):
            room.earns("a")
            room.desk.before = never
        return clock() - began_s

    monkeypatch.setattr(shipping, "LAST_S", 0.1)
    room = Room()
    assert asyncio.run(main()) < 5.0
    assert (room.numbers, room.desk.rewards) == ([1], [])
    assert "could not be passed on" in caplog.text


@pytest.mark.parametrize("fault", FAULTS)
def test_an_end_during_a_failure_raises_nothing(fault: Fault) -> None:
    async def main() -> None:
        async with shipped(room.shipper):
            room.earns("a")
            room.desk.before = fault

    room = Room()
    asyncio.run(main())
    assert room.desk.rewards == []


def test_whoever_cancels_the_shipping_ends_it() -> None:
    async def main() -> None:
        room.earns("a")
        room.desk.before = never
        task = asyncio.create_task(room.shipper.once())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    room = Room()
    asyncio.run(main())
    assert room.numbers == [1]
