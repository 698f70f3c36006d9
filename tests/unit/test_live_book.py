"""What the controller tells those who look: counted by tick, put into words when asked, never waiting for a disk."""

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fake_time import FakeTime
from ledger_windows import MIDNIGHT_S, device, window
from live_moments import ACTIONS, standing, took
from small_space import SPACE

from allocator.emissions import Kind, Pue
from allocator.joules import Quality
from allocator.request_joules import Rates
from cluster.accountant import Closed
from cluster.accounts import Books, Window, opened
from cluster.bookkeeping import Told
from cluster.carbon.base import Intensity
from cluster.live.book import SPENT_S, LiveBook, Sources
from cluster.live.schemas import WindowEvent
from models.errors import TryAgain

SPENT = {"since_s": 0.0} | {
    name: {"start_s": 0.0, "energy_j": 1.0, "facility_j": 1.0, "grams": None, "requests": 1, "items": 1}
    | {"shares": {"measured": 1.0, "modelled": 0.0, "assumed": 0.0}}
    for name in ("today", "total")
}
LIMIT = {"name": "cap", "kind": "power", "limit": 100.0, "unit": "W", "spend": 90.0, "price": 0.5, "reachable": True}
INTENSITY = Intensity(250.0, MIDNIGHT_S, 0.0, Kind.AVERAGE, "DE", "fixed", Quality.ASSUMED, False)


def closed(end_s: float = MIDNIGHT_S + 1.0, requests: int = 10) -> Closed:
    account = window(1, end_s, requests=requests)
    rates = Rates({}, None, Quality.ASSUMED, Quality.ASSUMED)
    return Closed(end_s, account.devices, (), rates, intensity=INTENSITY, account=account)


class Bench:
    """A book on a clock of the test's own, and what it asks."""

    def __init__(
        self, spent: Callable[[Kind | None], Any] | None = None, window_s: float = 1.0, accounts: bool = True
    ) -> None:
        self.time, self.asked, self.listed = FakeTime(), list[Kind | None](), 0
        self.next_in_s, self.books = 0.9, opened(len(SPACE))

        async def constraints() -> list[dict[str, Any]]:
            self.listed += 1
            return [LIMIT]

        def asks(kind: Kind | None) -> Any:
            self.asked.append(kind)
            return SPENT if spent is None else spent(kind)

        sources = Sources(constraints, asks if accounts else None, Pue(1.2, Quality.MEASURED), lambda: self.next_in_s)
        self.book = LiveBook(ACTIONS, sources, self.time, lambda: MIDNIGHT_S + self.time.now_s, window_s)

    def tick(self, told: Told | None = None, seconds: float = 1.0, executed: float = 4.0, **counted: Any) -> None:
        self.time.now_s += seconds
        executed_per_s = np.zeros(len(SPACE))
        executed_per_s[SPACE.static.index] = executed
        self.books = Books(self.books.billed, **{"degraded": self.books.degraded, **counted})
        done = Window(executed_per_s, 3.0, np.empty((0, len(SPACE)), np.float32))
        self.book.ticked(done, self.books, (standing(),), told or Told())

    async def window(self) -> dict[str, Any]:
        look = await self.book.look(0.0)
        told: dict[str, Any] = json.loads(look.window)
        WindowEvent.model_validate({**told, "savings": None, "policy": None, "notes": look.notes})
        return told


def test_before_the_first_window_nobody_can_tell() -> None:
    with pytest.raises(TryAgain):
        asyncio.run(Bench().book.look(0.0))


def test_a_window_tells_of_power_joules_limits_requests_and_mix() -> None:
    async def main() -> dict[str, Any]:
        bench = Bench()
        bench.tick(Told(closed()))
        late = Told(closed(MIDNIGHT_S + 3.0), (closed(MIDNIGHT_S + 2.0),))
        bench.tick(late, seconds=2.0, degraded={"undecided": 3}, predicted=8.0, took=took(0.01, 0.01, 0.5))
        return await bench.window()

    told = asyncio.run(main())
    assert (told["time_s"], told["window_s"]) == (MIDNIGHT_S + 3.0, 2.0)
    assert told["power"]["power_w"] == 10.0
    assert told["energy"] == SPENT
    assert told["carbon"] == {
        "zone": "DE", "g_per_kwh": 250.0, "kind": "average", "quality": "assumed", "pue": 1.2,
        "pue_quality": "measured", "stale": False,
    }  # fmt: skip
    assert told["constraints"] == [LIMIT]
    latency = told["requests"].pop("latency_ms")
    assert told["requests"] == {
        "per_s": 4.0,
        "decided_per_s": 3.0,
        "degraded_per_s": {"undecided": 1.5},
        "reward_per_s": 4.0,
        "energy_j": 0.5,
    }
    assert latency["p50"] == pytest.approx(10.0, rel=0.2)
    assert latency["p99"] == pytest.approx(500.0, rel=0.2)
    actions = {one["stage"]: one["actions"] for one in told["mix"]}
    static = SPACE.static.actions
    assert actions == {
        action.stage: [{"variant": action.variant, "items": action.items, "share": 1.0}] for action in static
    }


def test_a_window_without_books_or_requests_is_told_of_as_far_as_it_is_known() -> None:
    async def main() -> dict[str, Any]:
        bench = Bench()
        bench.tick(executed=0.0)
        return await bench.window()

    told = asyncio.run(main())
    assert (told["power"]["power_w"], told["power"]["unknown"]) == (None, "no window has been billed yet")
    assert told["carbon"] is None
    assert (told["requests"]["latency_ms"], told["requests"]["energy_j"]) == (None, None)
    assert all(one["actions"] == [] for one in told["mix"])


def test_where_joules_are_not_accounted_for_nothing_is_said_of_power() -> None:
    async def main() -> dict[str, Any]:
        bench = Bench(accounts=False)
        bench.tick()
        return await bench.window()

    assert asyncio.run(main())["power"] is None


def test_nothing_is_put_into_words_or_asked_while_nobody_looks_and_once_a_window_however_many_do() -> None:
    async def main() -> None:
        bench = Bench()
        for _ in range(100):
            bench.tick(Told(closed()))
        assert (bench.listed, bench.asked) == (0, [])
        looks = [await bench.book.look(0.0) for _ in range(3)]
        assert bench.listed == 1
        assert looks[0].window is looks[1].window is looks[2].window
        bench.tick(Told(closed()))
        await bench.book.look(0.0)
        assert bench.listed == 2

    asyncio.run(main())


def test_the_history_since_a_time_comes_with_every_look() -> None:
    async def main() -> None:
        bench = Bench()
        for _ in range(30):
            bench.tick()
        look = await bench.book.look(0.0)
        assert [time_s - MIDNIGHT_S for time_s, _ in look.points] == [9.0, 19.0, 29.0, 30.0]
        later = await bench.book.look(MIDNIGHT_S + 19.0)
        assert [time_s - MIDNIGHT_S for time_s, _ in later.points] == [29.0, 30.0]

    asyncio.run(main())


def test_the_ledger_is_asked_seldom_and_for_grams_of_the_kind_in_use() -> None:
    async def main() -> None:
        bench = Bench()
        for _ in range(11):
            bench.tick(Told(closed()))
            await bench.window()
            await asyncio.sleep(0.01)
        assert bench.asked == [Kind.AVERAGE] * (1 + int(10 / SPENT_S))

    asyncio.run(main())


def test_a_ledger_that_is_slow_holds_up_nobody() -> None:
    let_go = threading.Event()

    async def main() -> None:
        bench = Bench(spent=lambda kind: SPENT if let_go.wait(10) else None)
        bench.tick()
        assert (await bench.window())["energy"] is None
        let_go.set()
        while (await bench.window())["energy"] is None:
            bench.tick()
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(main(), 20))


def test_a_ledger_that_cannot_be_read_leaves_out_what_it_would_tell() -> None:
    def locked(kind: Kind | None) -> Any:
        raise TryAgain("locked")

    async def main() -> None:
        bench = Bench(spent=locked)
        for _ in range(10):
            bench.tick()
            assert (await bench.window())["energy"] is None

    asyncio.run(main())


@pytest.mark.parametrize(("window_s", "due_s", "next_s"), [(1.0, 0.9, 0.9), (1.0, 0.2, 0.2), (0.1, 0.05, 1.05)])
def test_short_windows_are_told_of_once_a_second(window_s: float, due_s: float, next_s: float) -> None:
    async def main() -> None:
        bench = Bench(window_s=window_s)
        bench.next_in_s = due_s
        bench.tick()
        assert (await bench.book.look(0.0)).next_in_s == pytest.approx(next_s)

    asyncio.run(main())


def test_a_device_that_left_its_watts_unknown_is_null_and_not_nothing() -> None:
    async def main() -> dict[str, Any]:
        bench = Bench()
        account = window(1, devices=[device(0.0)], shares=[], pools=[])
        rates = Rates({}, None, Quality.ASSUMED, Quality.ASSUMED)
        silent = tuple(replace(one, fresh=False) for one in account.devices)
        bench.tick(Told(Closed(MIDNIGHT_S, silent, (), rates, account=replace(account, devices=silent))))
        return await bench.window()

    told = asyncio.run(main())
    assert told["power"]["power_w"] is None
    assert told["power"]["unknown"]
