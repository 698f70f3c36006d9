"""A grid's last figure outlives the controller: it holds while nobody answers, ages, and gives way to newer ones."""

import asyncio
import json
import logging
import random

import pytest
from fake_time import FakeTime

from allocator.emissions import Kind
from allocator.joules import Quality
from allocator.limits import Kind as LimitKind
from allocator.limits import Limit
from cluster.carbon.base import Span
from cluster.carbon.fake import ScriptedCarbon
from cluster.carbon.fixed import UnknownCarbon
from cluster.carbon.remembered import INTENSITY, RememberedCarbon
from cluster.carbon.select import open_remembered
from cluster.carbon.settings import CarbonSettings
from cluster.carbon.transport import Answer, Ask
from cluster.unheld import PATIENCE_S, Unheld
from models.errors import TryAgain

NOON = 1_709_726_400.0
STALE_S = 7200.0


def told(until_s: float = NOON + 1800.0, of: str = "uk GB") -> RememberedCarbon:
    """A source that knows the half hour after NOON."""
    return RememberedCarbon(ScriptedCarbon([Span(NOON, until_s, 210.0, Quality.MODELLED)], STALE_S), of, STALE_S)


def silent(of: str = "uk GB") -> RememberedCarbon:
    return RememberedCarbon(UnknownCarbon(), of, STALE_S)


def test_what_was_known_holds_and_ages_while_nobody_answers() -> None:
    later = silent()
    assert later.now(NOON) is None
    assert later.dumped(NOON) == {}
    later.resume(told().dumped(NOON + 600))
    fresh, stale = later.now(NOON + 900), later.now(NOON + 600 + STALE_S + 1)
    assert fresh is not None
    assert stale is not None
    assert (fresh.g_per_kwh, fresh.at_s, fresh.age_s, fresh.kind) == (210.0, NOON, 300.0, Kind.AVERAGE)
    assert (fresh.quality, fresh.stale) == (Quality.MODELLED, False)
    assert (stale.g_per_kwh, stale.quality, stale.stale) == (210.0, Quality.ASSUMED, True)


def test_it_is_handed_on_with_its_own_time_from_restart_to_restart() -> None:
    first, second, third = told(), silent(), silent()
    second.resume(first.dumped(NOON + 600))
    third.resume(second.dumped(NOON + 9000))
    assert third.now(NOON + 9999) == second.now(NOON + 9999)


def test_a_stale_figure_does_not_make_the_kept_one_younger() -> None:
    first = told(NOON + 60)
    at_noon = first.dumped(NOON + 60)
    assert first.dumped(NOON + STALE_S * 3) == at_noon


def test_what_the_source_tells_counts_as_soon_as_it_does() -> None:
    later = told()
    kept = json.loads(later.dumped(NOON)[INTENSITY])
    later.resume({INTENSITY: json.dumps({**kept, "g_per_kwh": 999.0}).encode()})
    assert later.now(NOON + 60).g_per_kwh == 210.0  # type: ignore[union-attr]


def test_a_figure_of_another_grid_is_left_alone() -> None:
    later = silent("electricity-maps DE")
    later.resume(told().dumped(NOON))
    assert later.now(NOON) is None


@pytest.mark.parametrize("change", [{"g_per_kwh": -1}, {"to_s": "nan"}, {"quality": "good"}, {"kind": None}])
def test_what_is_no_figure_is_told_and_left_alone(change: dict[str, object], caplog: pytest.LogCaptureFixture) -> None:
    kept, later = json.loads(told().dumped(NOON)[INTENSITY]), silent()
    later.resume({INTENSITY: json.dumps({**kept, **change}).encode()})
    assert later.now(NOON) is None
    assert "cannot be read" in caplog.text


class Down:
    """A server that does not answer."""

    async def get(self, ask: Ask, timeout_s: float) -> Answer:
        raise TryAgain("no route to host")


def test_a_server_that_is_down_at_a_restart_leaves_the_last_figure_in_use() -> None:
    async def story() -> None:
        time = FakeTime(NOON + 900)
        settings = CarbonSettings(provider="uk", zone="GB")
        found = open_remembered(settings, Down(), time, time.sleep, random.Random(1))
        found.resume(told(of="uk GB average ").dumped(NOON + 600))
        refresh = asyncio.create_task(found.refresh())
        for _ in range(5):
            await time.advance(60.0)
        await refresh
        assert "no route" in str(found.problem)
        assert found.now(NOON + 900).g_per_kwh == 210.0  # type: ignore[union-attr]

    asyncio.run(story())


def test_a_limit_that_nothing_is_known_for_is_named_once_with_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    unheld, limits = Unheld(), [Limit("hour", LimitKind.CARBON, 40.0, "g/h"), Limit("cap", LimitKind.POWER, 90.0, "W")]
    known = {limits[1].resource}
    for second in range(3 * int(PATIENCE_S)):
        unheld.look(limits, known, NOON + second)
        assert ("limit hour is not held" in caplog.text) == (second >= PATIENCE_S)
    assert caplog.text.count("is not held") == 1
    assert "greenflow doctor" in caplog.text
    unheld.look(limits, {limit.resource for limit in limits}, NOON + 100)
    assert caplog.text.count("is not held") == 1
