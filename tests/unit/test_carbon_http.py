"""cluster.carbon.http, uk and electricity_maps: pace, retries, ageing and odd answers, against a server on loopback."""

import asyncio
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from carbon_server import CarbonServer, Route, carbon_server, maps_forecast, maps_latest, uk_national, uk_period
from fake_time import FakeTime

from allocator.joules import Quality
from cluster.carbon.api import GridApi
from cluster.carbon.electricity_maps import ElectricityMaps
from cluster.carbon.http import HttpCarbon, Pace
from cluster.carbon.transport import Answer, Ask, HttpTransport
from cluster.carbon.uk import CarbonIntensityUk
from models.errors import TryAgain

NOON = datetime(2024, 3, 6, 12, 0, tzinfo=UTC).timestamp()
LATEST = uk_period("2024-03-06T12:00Z", "2024-03-06T12:30Z", 266, 263)


@dataclass
class ScriptedTransport:
    """Answers in turn what the test says, an error included, the last one again and again."""

    answers: list[Answer | TryAgain]
    asks: list[Ask] = field(default_factory=list)

    async def get(self, ask: Ask, timeout_s: float) -> Answer:
        self.asks.append(ask)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, TryAgain):
            raise answer
        return answer


@dataclass
class Sleeps:
    """Sleeps that pass at once, remembered."""

    seconds: list[float] = field(default_factory=list)

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def ok(document: object) -> Answer:
    return Answer(200, json.dumps(document).encode())


def carbon_of(
    transport: ScriptedTransport, sleeps: Sleeps, clock: Callable[[], float], api: GridApi | None = None, **pace: object
) -> HttpCarbon:
    found = Pace(**{"forecast": False, **pace})  # type: ignore[arg-type]
    return HttpCarbon(api or CarbonIntensityUk(), transport, found, clock, sleeps, random.Random(3))


def refreshed(carbon: HttpCarbon) -> float:
    return asyncio.run(carbon.refresh())


def test_a_figure_from_metered_generation_is_measured_and_a_forecast_modelled() -> None:
    transport = ScriptedTransport(
        [ok(uk_national(LATEST)), ok(uk_national(uk_period(LATEST["from"], LATEST["to"], 250)))]
    )
    carbon = carbon_of(transport, Sleeps(), FakeTime(NOON))
    refreshed(carbon)
    metered = carbon.now(NOON)
    refreshed(carbon)
    forecast = carbon.now(NOON)
    assert metered is not None
    assert forecast is not None
    assert (metered.g_per_kwh, metered.quality, metered.zone) == (263, Quality.MEASURED, "GB")
    assert (forecast.g_per_kwh, forecast.quality) == (250, Quality.MODELLED)


@pytest.mark.parametrize(("estimated", "quality"), [(True, Quality.MODELLED), (False, Quality.MEASURED)])
def test_electricity_maps_says_whether_it_estimates(estimated: bool, quality: Quality) -> None:
    transport = ScriptedTransport([ok(maps_latest("DE", "2024-03-06T12:00:00.000Z", 216, estimated))])
    carbon = carbon_of(transport, Sleeps(), FakeTime(NOON), ElectricityMaps("DE", "secret"))
    refreshed(carbon)
    found = carbon.now(NOON + 3599)
    assert found is not None
    assert (found.g_per_kwh, found.quality, found.at_s, found.age_s) == (216, quality, NOON, 0)


def test_a_failed_try_is_repeated_after_a_random_share_of_a_pause_that_doubles() -> None:
    sleeps = Sleeps()
    transport = ScriptedTransport([TryAgain("down"), Answer(503, b""), ok(uk_national(LATEST))])
    carbon = carbon_of(transport, sleeps, FakeTime(NOON), backoff_s=10.0)
    refreshed(carbon)
    assert carbon.problem is None
    assert carbon.now(NOON) is not None
    assert len(sleeps.seconds) == 2
    assert 0 < sleeps.seconds[0] < 10
    assert 0 < sleeps.seconds[1] < 20
    assert sleeps.seconds != [10.0, 20.0], "jitter"


def test_after_the_last_try_the_problem_is_told_and_what_was_known_stays() -> None:
    transport = ScriptedTransport([ok(uk_national(LATEST)), Answer(500, b"")])
    sleeps = Sleeps()
    carbon = carbon_of(transport, sleeps, FakeTime(NOON), tries=4)
    refreshed(carbon)
    assert refreshed(carbon) >= 300
    assert "answered 500 for zone GB" in (carbon.problem or "")
    assert len(sleeps.seconds) == 3
    assert carbon.now(NOON).g_per_kwh == 263  # type: ignore[union-attr]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 301])
def test_a_refusal_is_not_repeated_and_names_the_remedy_without_the_token(status: int) -> None:
    transport, sleeps = ScriptedTransport([Answer(status, b"{}")]), Sleeps()
    carbon = carbon_of(transport, sleeps, FakeTime(NOON), ElectricityMaps("DE", "s3cr3t"))
    refreshed(carbon)
    assert len(transport.asks) == 1
    assert sleeps.seconds == []
    assert f"answered {status} for zone DE; check the token (GREENFLOW_CARBON_TOKEN" in (carbon.problem or "")
    assert "s3cr3t" not in (carbon.problem or "") + repr(transport.asks)


def test_a_server_that_asks_for_a_pause_gets_it() -> None:
    sleeps = Sleeps()
    short = carbon_of(ScriptedTransport([Answer(429, b"", 20.0), ok(uk_national(LATEST))]), sleeps, FakeTime(NOON))
    refreshed(short)
    assert short.problem is None
    assert sleeps.seconds == [20.0]
    transport = ScriptedTransport([Answer(429, b"", 4000.0)])
    assert refreshed(carbon_of(transport, Sleeps(), FakeTime(NOON))) == 4000.0
    assert len(transport.asks) == 1, "a pause so long is not waited for in one refresh"


def test_the_next_refresh_comes_when_the_period_ends_and_never_in_step() -> None:
    time = FakeTime(NOON + 1800 - 100)
    pauses = {refreshed(carbon_of(ScriptedTransport([ok(uk_national(LATEST))]), Sleeps(), time)) for _ in range(1)}
    assert all(100 <= pause <= 110 for pause in pauses)
    time.now_s = NOON + 1800 - 1
    assert 30 <= refreshed(carbon_of(ScriptedTransport([ok(uk_national(LATEST))]), Sleeps(), time)) <= 33
    time.now_s = NOON
    carbon = carbon_of(ScriptedTransport([ok(uk_national(LATEST))]), Sleeps(), time)
    seen = [refreshed(carbon) for _ in range(20)]
    assert all(300 <= pause <= 330 for pause in seen)
    assert len(set(seen)) == 20


def test_a_late_figure_is_stood_in_for_by_the_forecast_and_then_ages() -> None:
    forecast = uk_national(LATEST, uk_period("2024-03-06T12:30Z", "2024-03-06T13:00Z", 111))
    carbon = carbon_of(
        ScriptedTransport([ok(uk_national(LATEST)), ok(forecast)]),
        Sleeps(),
        FakeTime(NOON),
        forecast=True,
        stale_s=600.0,
    )
    refreshed(carbon)
    seen = [carbon.now(NOON + after) for after in (1799, 1800, 3600, 3600 + 601)]
    assert [(one.g_per_kwh, one.quality, one.stale) for one in seen if one] == [
        (263, Quality.MEASURED, False),
        (111, Quality.MODELLED, False),
        (263, Quality.ASSUMED, True),
        (263, Quality.ASSUMED, True),
    ]


def test_the_forecast_is_fetched_each_half_hour_and_left_alone_for_a_day_where_it_is_refused() -> None:
    time = FakeTime(NOON)
    api = ElectricityMaps("DE", "secret")
    latest = ok(maps_latest("DE", "2024-03-06T12:00:00.000Z", 216))
    ahead = ok(maps_forecast("DE", ("2024-03-06T13:00:00.000Z", 200.0)))
    transport = ScriptedTransport([latest, ahead, latest, latest, latest, ahead, latest])
    carbon = carbon_of(transport, Sleeps(), time, api, forecast=True)
    for at in (0, 300, 600, 1800, 2100):
        time.now_s = NOON + at
        refreshed(carbon)
    asked = [ask.url.split("?")[0].rsplit("/", 1)[1] for ask in transport.asks]
    assert asked == ["latest", "forecast", "latest", "latest", "latest", "forecast", "latest"]
    refused = ScriptedTransport([latest, Answer(403, b""), latest])
    carbon = carbon_of(refused, Sleeps(), time, api, forecast=True)
    for _ in range(5):
        refreshed(carbon)
        assert carbon.problem is None, "a plan without forecasts is no problem"
        time.now_s += 3600
    assert sum("forecast" in ask.url for ask in refused.asks) == 1


def test_an_answer_for_another_zone_is_refused() -> None:
    transport = ScriptedTransport([ok(maps_latest("DK-DK2", "2024-03-06T12:00:00.000Z", 60))])
    carbon = carbon_of(transport, Sleeps(), FakeTime(NOON), ElectricityMaps("ES", "secret"))
    refreshed(carbon)
    assert carbon.now(NOON) is None
    assert "answered for zone 'DK-DK2', not for 'ES'" in (carbon.problem or "")
    assert "disableCallerLookup=true" in transport.asks[0].url


ODD = [
    b"",
    b"<html>busy</html>",
    b"[]",
    b'{"data": null}',
    b'{"data": []}',
    b'{"data": [{}]}',
    b"[" * 100_000,
    json.dumps(uk_national({**LATEST, "to": LATEST["from"]})).encode(),
    json.dumps(uk_national({**LATEST, "from": "yesterday"})).encode(),
    json.dumps(uk_national({**LATEST, "intensity": {"forecast": None, "actual": None}})).encode(),
    json.dumps(uk_national({**LATEST, "intensity": {"forecast": -5, "actual": None}})).encode(),
    json.dumps(uk_national({**LATEST, "intensity": "high"})).encode(),
    b'{"data": [{"from": "2024-03-06T12:00Z", "to": "2024-03-06T12:30Z", "intensity": {"forecast": NaN}}]}',
]


@pytest.mark.parametrize("body", ODD)
def test_an_odd_answer_is_a_problem_and_no_figure(body: bytes) -> None:
    carbon = carbon_of(ScriptedTransport([Answer(200, body)]), Sleeps(), FakeTime(NOON))
    refreshed(carbon)
    assert carbon.problem is not None
    assert carbon.now(NOON) is None


@pytest.mark.parametrize("figure", [None, "216", True, -1, 1e9, 10**400, float("nan")])
def test_electricity_maps_without_a_plausible_figure_is_a_problem(figure: object) -> None:
    answer = {**maps_latest("DE", "2024-03-06T12:00:00.000Z", 0), "carbonIntensity": figure}
    carbon = carbon_of(ScriptedTransport([ok(answer)]), Sleeps(), FakeTime(NOON), ElectricityMaps("DE", "secret"))
    refreshed(carbon)
    assert "another shape" in (carbon.problem or "")


@pytest.mark.parametrize("zone", ["GB", "gb", "1", "17", "RG10", "sw1a", "N1"])
def test_zones_of_great_britain_are_known(zone: str) -> None:
    assert CarbonIntensityUk(zone).zone == zone.upper()


@pytest.mark.parametrize("zone", ["", "0", "18", "DE", "RG10 1AA", "../x"])
def test_other_zones_are_not(zone: str) -> None:
    with pytest.raises(ValueError, match="the zone must be GB"):
        CarbonIntensityUk(zone)


@pytest.fixture
def server() -> Iterator[CarbonServer]:
    with carbon_server() as running:
        yield running


def got(server: CarbonServer, path: str = "/x", timeout_s: float = 5.0) -> Answer:
    return asyncio.run(HttpTransport().get(Ask(f"{server.url}{path}", {"auth-token": "secret"}), timeout_s))


def test_a_document_comes_over_the_network_with_the_token_in_its_header(server: CarbonServer) -> None:
    server.routes["/x"] = Route({"a": 1}, 201, {"retry-after": "7"})
    assert got(server) == Answer(201, b'{"a": 1}', 7.0)
    assert server.asked[0][1]["auth-token"] == "secret"


def test_an_answer_that_takes_too_long_is_given_up(server: CarbonServer) -> None:
    server.routes["/x"] = Route({}, slow_s=1.0)
    with pytest.raises(TryAgain, match=r"did not answer within 0\.1 s"):
        got(server, timeout_s=0.1)


def test_a_redirect_is_not_followed_so_that_the_token_stays(server: CarbonServer) -> None:
    server.routes["/x"] = Route({}, 302, {"location": f"{server.url}/elsewhere"})
    assert got(server).status == 302
    assert server.paths == ["/x"]


def test_an_answer_without_end_is_given_up(server: CarbonServer) -> None:
    server.routes["/x"] = Route(b" " * (5 << 20))
    with pytest.raises(TryAgain, match="longer than"):
        got(server)


def test_nobody_at_the_address_means_try_again() -> None:
    with carbon_server() as gone:
        url = gone.url
    with pytest.raises(TryAgain, match="cannot be reached"):
        asyncio.run(HttpTransport().get(Ask(f"{url}/x"), 5.0))
