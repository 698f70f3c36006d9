"""Load runs against a small server, over real sockets on loopback."""

import asyncio
import time

import pytest
from aiohttp import web
from load_server import BODIES, NOWHERE, Turns, answer, good, hang_up, measure, serving

from cluster.traffic.load import LoadPlan, run_load
from cluster.traffic.report import LoadReport, Progress
from models.errors import FixRequest, FixSetup


def test_a_closed_loop_keeps_exactly_its_clients_in_flight() -> None:
    flying, most = 0, 0

    async def handler(_: web.Request) -> web.Response:
        nonlocal flying, most
        flying, most = flying + 1, max(most, flying + 1)
        await asyncio.sleep(0.02)
        flying -= 1
        return answer()

    report = measure(handler, clients=5, seconds=0.5)
    assert most == 5
    assert report.clean
    assert report.complete
    assert (report.loop, report.clients, report.rate_per_s) == ("closed", 5, None)
    assert report.latency_ms is not None
    assert report.latency_ms.p50 >= 20
    assert 20 <= report.throughput_per_s <= 5 / 0.02


def test_every_request_that_the_server_saw_is_in_the_report() -> None:
    turns = Turns(lambda _: answer("big"), lambda _: answer("small", degraded=True))
    report = measure(turns, clients=3, seconds=0.3)
    assert report.sent == report.answered == turns.served
    assert sum(report.chains.values()) == turns.served
    assert set(report.chains) == {"big", "small"}
    assert report.degraded == report.chains["small"]
    assert report.statuses == {"200": turns.served}
    assert report.client_cpu_s_per_request > 0


def test_bodies_are_sent_in_turn_and_start_again() -> None:
    seen: list[int] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((await request.json())["user_id"])
        await asyncio.sleep(0.005)
        return answer()

    measure(handler, bodies=[b'{"user_id":%d}' % i for i in range(4)], clients=1, seconds=0.5)
    assert len(seen) > 4, "all have been sent, and the first again"
    assert seen == [i % 4 for i in range(len(seen))]


def test_failures_are_told_apart_by_status_and_kind() -> None:
    turns = Turns(
        lambda _: answer(),
        lambda _: web.json_response({"detail": "no healthy replica"}, status=503),
        lambda _: web.Response(text="<html>"),
        hang_up,
        lambda _: answer(items=0),
    )
    report = measure(turns, clients=1, seconds=0.7)
    assert not report.clean
    assert set(report.errors) == {"http 503", "not a recommendation", "connection broken", "no items"}
    assert report.answered + sum(report.errors.values()) == report.answered + report.failed == report.sent
    assert report.statuses["503"] == report.errors["http 503"]
    assert "no healthy replica" in report.examples["http 503"]


def test_a_request_without_an_answer_in_time_has_failed() -> None:
    async def handler(_: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return answer()

    report = measure(handler, clients=2, seconds=0.2, timeout_s=0.1)
    assert report.errors["timeout"] == report.sent >= 2
    assert report.latency_ms is None
    assert report.throughput_per_s == 0


def test_a_server_that_goes_away_is_a_failure_and_not_a_storm() -> None:
    async def run() -> LoadReport:
        async with serving(good) as url:
            plan = LoadPlan(url, BODIES, clients=2, seconds=0.8)
            running = asyncio.create_task(run_load(plan))
            await asyncio.sleep(0.3)
        return await running

    report = asyncio.run(run())
    assert report.answered > 0
    assert 2 <= report.errors["no connection"] <= 40


def test_the_warm_up_does_not_count() -> None:
    began = time.perf_counter()
    turns = Turns(lambda _: answer() if time.perf_counter() - began > 0.3 else web.Response(status=503))
    report = measure(turns, clients=1, warmup_s=0.6, seconds=0.3)
    assert report.clean
    assert 0 < report.sent < turns.served
    assert report.seconds == pytest.approx(0.3)


def test_an_open_loop_counts_the_wait_of_requests_that_arrive_during_a_stall() -> None:
    released = asyncio.Event()

    async def handler(_: web.Request) -> web.Response:
        await released.wait()
        return answer()

    async def run() -> LoadReport:
        async with serving(handler) as url:
            asyncio.get_running_loop().call_later(0.5, released.set)
            return await run_load(LoadPlan(url, BODIES, rate_per_s=200, seconds=1.0))

    report = asyncio.run(run())
    assert report.clean
    assert report.sent == pytest.approx(200, abs=60)
    assert report.latency_ms is not None
    # Half of the arrivals meet the stall and wait 250 ms on average; a closed loop would have seen one of them.
    assert report.latency_ms.p90 > 250
    assert report.latency_ms.max > 400
    assert report.client_lag_ms is not None


def test_an_open_loop_is_bounded_and_counts_what_it_did_not_send() -> None:
    flying, most = 0, 0

    async def handler(_: web.Request) -> web.Response:
        nonlocal flying, most
        flying, most = flying + 1, max(most, flying + 1)
        await asyncio.sleep(0.1)
        flying -= 1
        return answer()

    report = measure(handler, rate_per_s=300, seconds=0.5, max_in_flight=4)
    assert most <= 4
    assert report.failed == 0
    assert report.overflow > report.sent
    assert not report.clean


def test_answers_after_the_window_count_for_latency_but_not_for_throughput() -> None:
    async def handler(_: web.Request) -> web.Response:
        await asyncio.sleep(0.4)
        return answer()

    report = measure(handler, rate_per_s=100, seconds=0.3)
    assert report.clean
    assert report.answered > 10
    assert report.throughput_per_s == 0


def test_stopping_ends_a_run_early_with_a_report() -> None:
    async def run() -> LoadReport:
        async with serving(good) as url:
            stop = asyncio.Event()
            asyncio.get_running_loop().call_later(0.3, stop.set)
            return await run_load(LoadPlan(url, BODIES, clients=2, seconds=60), stop=stop)

    began = time.perf_counter()
    report = asyncio.run(run())
    assert time.perf_counter() - began < 10
    assert not report.complete
    assert report.clean
    assert report.sent > 0
    assert 0.2 < report.seconds < 5


def test_a_stopped_run_does_not_wait_for_a_server_that_hangs() -> None:
    async def handler(_: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return answer()

    async def run() -> LoadReport:
        async with serving(handler) as url:
            stop = asyncio.Event()
            asyncio.get_running_loop().call_later(0.2, stop.set)
            return await run_load(LoadPlan(url, BODIES, rate_per_s=50, seconds=60, timeout_s=60), stop=stop)

    began = time.perf_counter()
    report = asyncio.run(run())
    assert time.perf_counter() - began < 10
    assert (report.sent, report.complete) == (0, False)


def test_progress_is_told_once_a_second() -> None:
    seconds: list[Progress] = []

    async def run() -> LoadReport:
        async with serving(good) as url:
            plan = LoadPlan(url, BODIES, clients=1, warmup_s=1.5, seconds=1.0)
            return await run_load(plan, seconds.append)

    report = asyncio.run(run())
    assert [s.warming for s in seconds] == [True, False]
    assert all(s.answered > 0 and s.p50_ms is not None and s.failed_so_far == 0 for s in seconds)
    assert report.clean


def test_a_plan_names_one_loop_and_some_bodies() -> None:
    for wrong in ({}, {"clients": 1, "rate_per_s": 1.0}):
        with pytest.raises(ValueError, match="either clients or rate_per_s"):
            LoadPlan(NOWHERE, BODIES, **wrong)
    with pytest.raises(ValueError, match="bodies"):
        LoadPlan(NOWHERE, [], clients=1)


def test_no_server_is_said_before_anything_is_sent() -> None:
    with pytest.raises(FixSetup, match=r"no server at http://127\.0\.0\.1:9 .*greenflow up"):
        asyncio.run(run_load(LoadPlan(NOWHERE, BODIES, clients=1)))


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "nonsense", "ftp://127.0.0.1:9"])
def test_an_address_that_is_none_is_said(url: str) -> None:
    with pytest.raises(FixRequest, match=r"url: .*is no address"):
        asyncio.run(run_load(LoadPlan(url, BODIES, clients=1)))
