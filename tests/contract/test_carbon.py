"""What every source of carbon intensity promises, on all of them."""

import asyncio
import math
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from carbon_server import Route, carbon_server, maps_forecast, maps_latest, uk_national, uk_period, uk_regional
from fake_time import FakeTime

from allocator.emissions import Kind
from allocator.joules import Quality
from cluster.carbon.ahead import steps_ahead
from cluster.carbon.base import CarbonProvider, Span, keep_fresh
from cluster.carbon.fake import ScriptedCarbon
from cluster.carbon.fixed import FixedCarbon, UnknownCarbon
from cluster.carbon.remembered import RememberedCarbon
from cluster.carbon.select import open_carbon
from cluster.carbon.settings import CarbonSettings
from cluster.carbon.transport import HttpTransport

NOON = datetime(2024, 3, 6, 12, 0, tzinfo=UTC).timestamp()
HALF_HOURS = (
    uk_period("2024-03-06T12:00Z", "2024-03-06T12:30Z", 266, 263),
    uk_period("2024-03-06T12:30Z", "2024-03-06T13:00Z", 250),
    uk_period("2024-03-06T13:00Z", "2024-03-06T13:30Z", 240),
)


def opened(time: FakeTime, **settings: object) -> CarbonProvider:
    found = CarbonSettings.model_validate(settings)
    return open_carbon(found, HttpTransport(), time, time.sleep, random.Random(1))


class CarbonContract:
    """Subclass it and give the fixture `provider`, of figures that hold at NOON, refreshed once or not."""

    def test_it_knows_the_intensity_at_noon(self, provider: CarbonProvider) -> None:
        asyncio.run(provider.refresh())
        found = provider.now(NOON + 60)
        assert found is not None
        assert provider.problem is None
        assert 0 < found.g_per_kwh < 1000
        assert found.kind is Kind.AVERAGE
        assert found.source == provider.source != ""
        assert found.at_s <= NOON + 60
        assert (found.age_s, found.stale) == (0, False)

    def test_asking_changes_nothing(self, provider: CarbonProvider) -> None:
        asyncio.run(provider.refresh())
        before = provider.now(NOON)
        provider.now(NOON + 1e6)
        provider.ahead(NOON, NOON + 1e6)
        assert provider.now(NOON) == before

    def test_a_figure_only_ages_and_a_stale_one_is_assumed(self, provider: CarbonProvider) -> None:
        asyncio.run(provider.refresh())
        seen = [found for hours in range(200) if (found := provider.now(NOON + 3600 * hours)) is not None]
        assert len(seen) == 200
        assert all(found.age_s >= 0 for found in seen)
        assert all(found.quality is Quality.ASSUMED for found in seen if found.stale)
        assert [found.stale for found in seen] == sorted(found.stale for found in seen)

    def test_what_lies_ahead_is_in_order_and_within_the_times_asked_for(self, provider: CarbonProvider) -> None:
        asyncio.run(provider.refresh())
        spans = provider.ahead(NOON + 10, NOON + 7000)
        assert spans
        assert all(NOON + 10 <= span.from_s < span.to_s <= NOON + 7000 for span in spans)
        assert all(a.to_s <= b.from_s for a, b in pairwise(spans))

    def test_what_lies_ahead_is_what_now_will_say(self, provider: CarbonProvider) -> None:
        asyncio.run(provider.refresh())
        for span in provider.ahead(NOON, NOON + 5000):
            found = provider.now((span.from_s + span.to_s) / 2)
            assert found is not None
            assert (found.g_per_kwh, found.quality) == (span.g_per_kwh, span.quality)

    def test_steps_ahead_are_means_of_the_spans_that_lie_in_them(self, provider: CarbonProvider) -> None:
        asyncio.run(provider.refresh())
        until_s = NOON + 5000  # the last of them is 500 seconds long
        steps = steps_ahead(provider, NOON, until_s, 900.0)
        assert len(steps) == 6
        for begin_s, found in zip(range(int(NOON), int(until_s), 900), steps, strict=True):
            spans = provider.ahead(begin_s, min(begin_s + 900, until_s))
            assert (found is None) == (not spans)
            if found is not None:
                known_s = sum(span.to_s - span.from_s for span in spans)
                mean = sum(span.g_per_kwh * (span.to_s - span.from_s) for span in spans) / known_s
                assert found == pytest.approx(mean)
        assert steps[0] is not None
        assert steps[0] == pytest.approx(provider.now(NOON).g_per_kwh)  # type: ignore[union-attr]

    def test_a_refresh_says_when_the_next_is_due(self, provider: CarbonProvider) -> None:
        assert asyncio.run(provider.refresh()) >= 30


class TestFixed(CarbonContract):
    @pytest.fixture
    def provider(self) -> CarbonProvider:
        return opened(FakeTime(NOON), g_per_kwh=300, zone="here")


class TestCountry(CarbonContract):
    @pytest.fixture
    def provider(self) -> CarbonProvider:
        return opened(FakeTime(NOON), provider="country", zone="fr")


class TestFile(CarbonContract):
    @pytest.fixture
    def provider(self, tmp_path: Path) -> CarbonProvider:
        path = tmp_path / "grid.csv"
        path.write_text("time,g_per_kwh\n2024-03-06T12:00Z,300\n2024-03-06T13:00+00:00,200\n")
        return opened(FakeTime(NOON), file=path)


class TestScripted(CarbonContract):
    @pytest.fixture
    def provider(self) -> CarbonProvider:
        return ScriptedCarbon([Span(NOON, NOON + 3600, 300, Quality.MEASURED)])


class TestRemembered(CarbonContract):
    @pytest.fixture
    def provider(self) -> CarbonProvider:
        found = RememberedCarbon(ScriptedCarbon([Span(NOON, NOON + 3600, 300, Quality.MEASURED)]), "script", 3600.0)
        found.resume(RememberedCarbon(FixedCarbon(99.0), "script", 3600.0).dumped(NOON - 60))
        return found


class TestUkNational(CarbonContract):
    @pytest.fixture
    def provider(self) -> Iterator[CarbonProvider]:
        with carbon_server() as server:
            server.routes["/intensity"] = Route(uk_national(HALF_HOURS[0]))
            server.routes["/intensity/2024-03-06T12:00Z/fw48h"] = Route(uk_national(*HALF_HOURS))
            yield opened(FakeTime(NOON), provider="uk", url=server.url)


class TestUkRegional(CarbonContract):
    @pytest.fixture
    def provider(self) -> Iterator[CarbonProvider]:
        with carbon_server() as server:
            server.routes["/regional/regionid/13"] = Route(uk_regional(HALF_HOURS[0]))
            ahead = uk_regional(*HALF_HOURS, in_list=False)
            server.routes["/regional/intensity/2024-03-06T12:00Z/fw48h/regionid/13"] = Route(ahead)
            yield opened(FakeTime(NOON), provider="uk", zone="13", url=server.url)


class TestElectricityMaps(CarbonContract):
    @pytest.fixture
    def provider(self) -> Iterator[CarbonProvider]:
        with carbon_server() as server:
            latest = maps_latest("DE", "2024-03-06T12:00:00.000Z", 216)
            hours = [("2024-03-06T12:00:00.000Z", 220.0), ("2024-03-06T13:00:00.000Z", 180.0)]
            server.routes["/v3/carbon-intensity/latest?zone=DE"] = Route(latest)
            server.routes["/v3/carbon-intensity/forecast?zone=DE"] = Route(maps_forecast("DE", *hours))
            yield opened(FakeTime(NOON), provider="electricity-maps", zone="DE", token="secret", url=server.url)


def test_nobody_knows_what_nobody_said() -> None:
    provider = opened(FakeTime(NOON))
    assert isinstance(provider, UnknownCarbon)
    assert provider.now(NOON) is None
    assert provider.ahead(NOON, NOON + 1) == ()
    assert steps_ahead(provider, NOON, NOON + 1000, 900) == (None, None)
    assert asyncio.run(provider.refresh()) == math.inf


def test_what_never_changes_is_refreshed_once_and_what_changes_again_and_again() -> None:
    time = FakeTime(NOON)
    asyncio.run(keep_fresh(UnknownCarbon(), time.sleep))
    script = ScriptedCarbon([Span(NOON, NOON + 60, 300, Quality.MEASURED)], pause_s=60)

    async def story() -> None:
        task = asyncio.create_task(keep_fresh(script, time.sleep))
        await time.advance(1)
        script.spans = (Span(NOON, NOON + 600, 111, Quality.MEASURED),)
        await time.advance(50)
        assert script.now(NOON).g_per_kwh == 300  # type: ignore[union-attr]
        await time.advance(10)
        assert script.now(NOON).g_per_kwh == 111  # type: ignore[union-attr]
        script.failure = "the script says so"
        await time.advance(60)
        assert script.problem == "the script says so"
        assert script.now(NOON).g_per_kwh == 111, "what was known stays"  # type: ignore[union-attr]
        task.cancel()

    asyncio.run(story())


def test_a_step_of_which_only_a_part_is_known_has_the_mean_of_that_part() -> None:
    spans = [
        Span(NOON, NOON + 300, 100, Quality.MODELLED),
        Span(NOON + 300, NOON + 400, 500, Quality.MODELLED),
        Span(NOON + 2000, NOON + 1e6, 50, Quality.MODELLED),
    ]
    script = ScriptedCarbon(spans)
    assert steps_ahead(script, NOON - 100, NOON + 2300, 800) == (pytest.approx(200), None, pytest.approx(50))
    assert steps_ahead(script, NOON + 2000, NOON + 2000, 800) == ()
    assert steps_ahead(script, NOON - 1600, NOON, 800) == (None, None)


def test_the_hours_ahead_that_a_server_foretells_are_known_without_asking_it_again() -> None:
    with carbon_server() as server:
        server.routes["/intensity"] = Route(uk_national(HALF_HOURS[0]))
        server.routes["/intensity/2024-03-06T12:00Z/fw48h"] = Route(uk_national(*HALF_HOURS))
        provider = opened(FakeTime(NOON), provider="uk", url=server.url)
        assert steps_ahead(provider, NOON, NOON + 5400, 1800) == (None, None, None), "nothing was fetched yet"
        asyncio.run(provider.refresh())
        asked = len(server.paths)
        assert steps_ahead(provider, NOON, NOON + 7200, 1800) == (263, 250, 240, None)
        assert len(server.paths) == asked


def test_a_plan_without_forecasts_knows_the_present_hour_alone() -> None:
    with carbon_server() as server:
        latest = maps_latest("DE", "2024-03-06T12:00:00.000Z", 216)
        server.routes["/v3/carbon-intensity/latest?zone=DE"] = Route(latest)
        server.routes["/v3/carbon-intensity/forecast?zone=DE"] = Route({"error": "not in your plan"}, 403)
        provider = opened(FakeTime(NOON), provider="electricity-maps", zone="DE", token="secret", url=server.url)
        asyncio.run(provider.refresh())
        assert steps_ahead(provider, NOON, NOON + 3 * 3600, 3600) == (216, None, None)
