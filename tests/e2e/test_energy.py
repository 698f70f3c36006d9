"""Joules of a served application, on a stand-in for RAPL that knows the truth, while what counts them breaks."""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
import ray
from browser import chromium, missing
from live import kill, replicas_of
from live_stream import LiveStream
from metered_app import ADMIN, TOKEN, Metered, account, metered, newest, without_packages
from page_driver import LivePage
from prometheus import counted, shown
from waiting import until

from cluster.app import CONTROLLER
from cluster.carbon.settings import CarbonSettings
from cluster.config import BatchSettings
from cluster.launching.launch import Running
from cluster.live.schemas import HistoryEvent, WindowEvent
from cluster.reporting.payload import EnergyResponse
from cluster.schemas import PowerResponse
from cluster.tracing.schemas import TraceResponse

G_PER_KWH, MOST_WAITING = 360.0, 64


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Metered]:
    folder, carbon = tmp_path_factory.mktemp("served"), CarbonSettings(g_per_kwh=G_PER_KWH)
    with metered(folder, start_j=-400.0, batch=BatchSettings(most_waiting=MOST_WAITING), carbon=carbon) as served:
        yield served


@pytest.fixture(scope="module")
def client(served: Metered) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.app.url, timeout=30) as client:
        yield client


def recommend(client: httpx.Client, count: int) -> list[dict[str, object]]:
    answers = [client.post("/v1/recommend", json={"user_id": user}) for user in range(1, count + 1)]
    assert [answer.status_code for answer in answers] == [200] * count
    return [answer.json() for answer in answers]


def first_cost(client: httpx.Client, most_s: float = 10.0) -> dict[str, float]:
    """What an answer says that it cost, once the ingress has heard of joules: by the snapshot after the first bill."""
    end_s = time.monotonic() + most_s
    while True:
        cost = recommend(client, 1)[0]["cost"]
        assert isinstance(cost, dict)
        if cost["energy_j"] is not None:
            return cost
        assert time.monotonic() < end_s
        time.sleep(0.2)


def assert_billed(client: httpx.Client, served: Metered, since: EnergyResponse, unknown_j: float = 0.0) -> None:
    """The ledger has what was truly drawn since, but for `unknown_j` that nobody could know."""
    now = newest(client)
    true_j = served.truth.at(now.windows[0].end_s) - served.truth.at(since.windows[0].end_s)
    billed_j = now.total.energy_j - since.total.energy_j
    # Windows' ends are known to a few hundredths of a second, of a machine that draws 50 to 200 W.
    assert true_j - unknown_j - 20.0 <= billed_j <= true_j + 20.0
    assert abs(now.total.closing_error_j) < 1e-6


def test_an_answer_says_what_it_cost_in_joules_and_grams(client: httpx.Client) -> None:
    newest(client)
    cost = first_cost(client)
    assert cost["energy_j"] > 0
    assert cost["co2e_g"] == pytest.approx(cost["energy_j"] / 3.6e6 * G_PER_KWH)
    assert cost["quality"] in ("assumed", "modelled"), "no meter reads a request"


def test_power_is_told_by_node_and_device_and_adds_up(client: httpx.Client) -> None:
    newest(client)
    power = PowerResponse.model_validate(client.get("/v1/power").json())
    (node,) = power.nodes
    kinds = sorted(device.kind for device in node.devices)
    assert kinds == ["dram", "dram", "package", "package"]
    assert power.power_w == pytest.approx(sum(device.power_w or 0.0 for device in node.devices))
    assert 40 < power.power_w < 250
    assert power.quality == "measured"
    assert power.ledger_error is None


def test_requests_and_items_stand_in_the_ledger(client: httpx.Client) -> None:
    before = newest(client).total
    recommend(client, 30)
    after = account(client, lambda answer: answer.total.requests >= before.requests + 30).total
    assert after.requests == before.requests + 30
    assert after.items == before.items + 300


def test_metrics_on_the_nodes_prometheus_endpoint_say_what_the_ledger_does(client: httpx.Client) -> None:
    billed_j = newest(client).total.energy_j
    until(lambda: counted("device_energy_joules_total") >= billed_j, 40)
    devices = {labels["device"].partition("/")[2] for labels, _ in shown("device_power_watts", "gauge")}
    assert devices == {"package-0", "package-1", "package-0/dram", "package-1/dram"}
    assert [value for _, value in shown("ledger_ok", "gauge")] == [1.0]
    ((_, intensity),) = shown("grid_intensity_grams_per_kilowatt_hour", "gauge")
    assert intensity == G_PER_KWH


@pytest.mark.skipif(missing() is not None, reason=missing() or "")
def test_the_live_page_shows_what_the_api_says_and_sets_and_clears_a_limit(
    served: Metered, client: httpx.Client, tmp_path: Path
) -> None:
    recommend(client, 20)
    with chromium(tmp_path) as driver:
        page = LivePage(driver)
        page.open(f"{served.app.url}/")
        page.until(lambda: page.text("#power-w") == f"{client.get('/v1/power').json()['power_w']:.1f} W", "other watts")
        page.until(lambda: page.rows("#limits") == [one["name"] for one in constraints(client)], "other limits")
        page.set_limit("120", TOKEN)
        page.until_text("#power-says", "the limit cap of 120.0 W")
        assert [one["name"] for one in constraints(client)] == ["cap", "capacity"]
        page.trace("1")
        assert len(page.rows("#trace-result ol.items")) == 10
        page.clear_limit("cap")
        page.until(lambda: page.rows("#limits") == ["capacity"], "the limit stays")
        assert [one["name"] for one in constraints(client)] == ["capacity"]
        assert page.complaints() == []


def test_a_wrap_a_killed_meter_and_a_killed_controller_lose_nothing(served: Metered, client: httpx.Client) -> None:
    start = newest(client)
    (meter,) = meters(served.app)
    kill(meter)
    recommend(client, 20)
    (controller,) = replicas_of(served.app, CONTROLLER)
    killed_s = time.time()
    kill(controller)
    recommend(client, 20)
    account(client, lambda answer: answer.windows[0].end_s > start.windows[0].end_s + 8)
    with LiveStream(served.app.url) as stream:
        until(lambda: "window" in stream.names())
        watts = [(one["time_s"], one["power_w"]) for one in stream.data("history")[0]["points"] if one["power_w"]]
    assert watts[0][0] < killed_s, "nobody has looked before: it is the ledger that still knows"
    assert_billed(client, served, start)
    packages = [joules for name, joules in served.power.truth_j.items() if "dram" not in name]
    assert min(packages) > 400.0, "no counter wrapped"


def test_the_page_is_served_and_its_stream_shows_what_is_asked_and_drawn(served: Metered, client: httpx.Client) -> None:
    page = client.get("/")
    assert (page.status_code, page.headers["content-encoding"]) == (200, "gzip")
    with LiveStream(served.app.url) as stream, LiveStream(served.app.url) as beside:
        until(lambda: len(stream.data("window")) >= 2)
        recommend(client, 20)
        until(lambda: any(told["requests"]["per_s"] > 0 for told in stream.data("window")))
        until(lambda: stream.data("window")[-1]["energy"] is not None)
        assert stream.names()[0] == "history"
        HistoryEvent.model_validate(stream.data("history")[0])
        windows = [WindowEvent.model_validate(told) for told in stream.data("window")]
        busy = next(told for told in windows if told.requests.per_s > 0)
        assert busy.requests.latency_ms is not None
        assert 0 < busy.requests.latency_ms.p50 <= busy.requests.latency_ms.p99
        assert [stage.stage for stage in busy.mix if stage.actions] == ["recall", "prerank", "rank"]
        power = windows[-1].power
        assert power is not None
        assert 40 < (power.power_w or 0.0) < 250
        assert windows[-1].carbon is not None
        assert windows[-1].carbon.g_per_kwh == G_PER_KWH
        times = [told.time_s for told in windows]
        assert times == sorted(set(times)), "each window once"
        until(lambda: any(told["time_s"] >= times[-1] for told in beside.data("window")))


def test_a_traced_request_says_why_it_got_its_chain_and_is_no_request(client: httpx.Client) -> None:
    before = newest(client).total
    told = TraceResponse.model_validate(client.post("/v1/trace", json={"user_id": 42}).json())
    assert len(told.items) == 10
    assert told.chains[0].chosen
    assert told.net == max(one.net for one in told.chains)
    assert sum(stage.energy_j or 0.0 for stage in told.stages) < (told.cost.energy_j or 0.0)
    assert newest(client).total.requests == before.requests


def test_a_reset_counter_bills_nothing_that_was_not_drawn(served: Metered, client: httpx.Client) -> None:
    start = newest(client)
    served.power.reset("intel-rapl:1")
    # Hidden is what the package drew since it was read last: at most a window and a half of its 100 W.
    assert_billed(client, served, start, unknown_j=150.0)


def test_a_ledger_that_is_locked_stops_no_request_and_holds_all_joules_afterwards(
    served: Metered, client: httpx.Client
) -> None:
    start = newest(client)
    other = sqlite3.connect(served.ledger, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        end_s = time.monotonic() + 20
        while (said := client.get("/v1/power").json()["ledger_error"]) is None:
            assert time.monotonic() < end_s
            time.sleep(0.2)
        assert str(served.ledger) in said
        recommend(client, 20)
    finally:
        other.execute("ROLLBACK")
        other.close()
    assert_billed(client, served, start)
    assert client.get("/v1/power").json()["ledger_error"] is None


def flops_of(client: httpx.Client, count: int) -> list[float]:
    """What answers say that they took."""
    return [answer["cost"]["flops"] for answer in recommend(client, count)]  # type: ignore[index]


def until_flops(client: httpx.Client, wanted: Callable[[float], bool], most_s: float = 20.0) -> None:
    """Requests, until the chains of twenty in a row are as wanted in the mean."""
    end_s = time.monotonic() + most_s
    while not wanted(float(np.mean(flops_of(client, 20)))):
        assert time.monotonic() < end_s, "chains do not become as wanted"


def constraints(client: httpx.Client) -> list[dict[str, object]]:
    listed: list[dict[str, object]] = client.get("/v1/constraints").json()["constraints"]
    return listed


def told_unreachable(client: httpx.Client, name: str, most_s: float = 20.0) -> dict[str, object]:
    """The limit, once it is said to be out of reach: by a window with requests, and meters that have told."""
    end_s = time.monotonic() + most_s
    while True:
        recommend(client, 5)
        told = next(one for one in constraints(client) if one["name"] == name)
        if told["reachable"] is False:
            return told
        assert time.monotonic() < end_s, f"the last answer was {told}"


def shown_of(name: str, constraint: str) -> float | None:
    """The highest value of a constraint's gauge, whichever controller has set it; None where there is none."""
    values = [value for labels, value in shown(name, "gauge") if labels["constraint"] == constraint]
    return max(values, default=None)


def test_a_power_cap_is_set_holds_outlives_the_controller_and_is_cleared(served: Metered, client: httpx.Client) -> None:
    body, path = {"kind": "power", "limit": 1.0, "unit": "W"}, "/v1/constraints/cap"
    assert client.put(path, json=body).status_code == 401
    assert client.put(path, json=body, headers={"Authorization": "Bearer 0123456789abcdef-eve"}).status_code == 401
    assert client.put(path, json={**body, "unit": "kW"}, headers=ADMIN).status_code == 422
    assert [one["name"] for one in constraints(client)] == ["capacity"], "what processors can do"
    cheapest = min(chain["cost"]["flops"] for chain in client.get("/v1/chains").json()["chains"])
    free = float(np.mean(flops_of(client, 20)))
    little = free / 4  # the chain of fewest joules need not be that of fewest FLOPs
    assert little > 2 * cheapest

    assert client.put(path, json=body, headers=ADMIN).status_code == 200
    until_flops(client, lambda mean: mean < little)
    told = told_unreachable(client, "cap")
    assert (told["name"], told["limit"], told["unit"]) == ("cap", 1.0, "W")
    assert 40 < told["spend"] < 250
    assert 0 < told["price"] < 1e9

    (controller,) = replicas_of(served.app, CONTROLLER)
    with LiveStream(served.app.url) as stream:
        until(lambda: "window" in stream.names())
        kill(controller)
        assert float(np.mean(flops_of(client, 20))) < little, "replicas hold the prices meanwhile"
        newest(client)
        until(lambda: "gone" in stream.names() and stream.names()[-1] == "window")
        assert "cap" in {one["name"] for one in stream.data("window")[-1]["constraints"]}
    assert [one["name"] for one in constraints(client)] == ["cap", "capacity"]
    assert float(np.mean(flops_of(client, 40))) < little

    until(lambda: shown_of("constraint_limit", "cap") == 1.0)
    assert client.delete(path, headers=ADMIN).status_code == 204
    until(lambda: shown_of("price", "cap") in (0.0, None))
    until(lambda: shown_of("constraint_limit", "cap") is None)
    until_flops(client, lambda mean: mean > 0.8 * free)
    changes = client.get("/v1/constraints/changes").json()["changes"][:2]  # others set limits on this server, too
    assert [(change["author"], change["after"] is None) for change in changes] == [("anna", True), ("anna", False)]


def told_quality(client: httpx.Client, wanted: str, most_s: float = 30.0) -> PowerResponse:
    """Power, once it is known so well."""
    end_s = time.monotonic() + most_s
    while (power := PowerResponse.model_validate(client.get("/v1/power").json())).quality != wanted:
        recommend(client, 5)
        assert time.monotonic() < end_s, f"power is {power.quality}, not {wanted}"
    return power


def test_meters_that_are_lost_are_stood_in_for_as_modelled_and_no_request_fails(
    served: Metered, client: httpx.Client
) -> None:
    measured = told_quality(client, "measured")
    assert measured.power_w is not None
    with without_packages(served.power):
        modelled = told_quality(client, "modelled")
        assert modelled.power_w is not None
        assert 0.3 * measured.power_w < modelled.power_w < 3 * measured.power_w, "at the watts that meters last told"
        assert any("rapl" in refusal.sensor for refusal in modelled.not_read)
    told_quality(client, "measured")


def test_more_requests_than_can_wait_are_refused_at_once_and_the_others_answered(served: Metered) -> None:
    async def ask(client: httpx.AsyncClient, user: int) -> tuple[int, str | None, float]:
        began_s = time.monotonic()
        answer = await client.post("/v1/recommend", json={"user_id": user})
        return answer.status_code, answer.headers.get("Retry-After"), time.monotonic() - began_s

    async def burst() -> list[tuple[int, str | None, float]]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=served.app.url, timeout=60, limits=limits) as client:
            return await asyncio.gather(*(ask(client, user) for user in range(1, 501)))

    answers = asyncio.run(burst())
    assert {status for status, _, _ in answers} == {200, 503}
    assert all(retry == "1" for status, retry, _ in answers if status == 503)
    assert sum(status == 200 for status, _, _ in answers) >= MOST_WAITING


def test_open_streams_end_in_order_when_their_replica_does_and_do_not_hold_it_up(served: Metered) -> None:
    """The last test of this module: it asks the ingress replicas to end, as Serve does when it replaces them."""
    with LiveStream(served.app.url) as stream, LiveStream(served.app.url) as beside:
        until(lambda: "window" in stream.names() and "window" in beside.names())
        actors = ray.util.list_named_actors(all_namespaces=True)
        for one in (actor for actor in actors if f"{served.app.instance.app}#ingress#" in actor["name"]):
            ray.get_actor(one["name"], one["namespace"]).perform_graceful_shutdown.remote()
        until(lambda: stream.ended is not None and beside.ended is not None)
        assert (stream.ended, beside.ended) == ("in order", "in order"), (
            "cut, it had waited for Serve's patience to end"
        )


def meters(app: Running) -> list[psutil.Process]:
    """The processes of this application's meters."""
    return [process for process in app_processes(app) if "ray::NodeMeter" in " ".join(process.cmdline())]


def app_processes(app: Running) -> list[psutil.Process]:
    (controller,) = replicas_of(app, CONTROLLER)
    raylet = controller.parent()
    assert raylet is not None
    return list(raylet.children())
