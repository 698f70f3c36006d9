"""Load runs against a small server of this file, over real sockets on loopback."""

import asyncio
import json
import math
import signal
import subprocess
import sys
import time
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cluster.commands.load import load
from cluster.traffic.bodies import request_bodies, user_ids
from cluster.traffic.client import read_answer
from cluster.traffic.load import LoadPlan, arrivals, run_load
from cluster.traffic.report import OK, Answer, LoadReport, Progress, Recorder, latency_of
from models.errors import FixFile, FixRequest, FixSetup

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
BODIES = [b'{"user_id":1}', b'{"user_id":2}']
NOWHERE = "http://127.0.0.1:9"


def answer(chain: str = "big", items: int = 2, degraded: bool = False) -> web.Response:
    listed = [{"item_id": i, "score": 1.0} for i in range(items)]
    return web.json_response({"items": listed, "chain": {"id": chain, "stages": []}, "degraded": degraded})


async def good(_: web.Request) -> web.Response:
    return answer()


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """A server whose POST /v1/recommend is `handler`, on a free port; yields its URL."""

    async def recommend(request: web.Request) -> web.StreamResponse:
        return await handler(request)

    app = web.Application()
    app.router.add_post("/v1/recommend", recommend)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def measure(handler: Handler, **plan: Any) -> LoadReport:
    async def run() -> LoadReport:
        async with serving(handler) as url:
            return await run_load(LoadPlan(url, plan.pop("bodies", BODIES), **plan))

    return asyncio.run(run())


class Turns:
    """Answers in turn with each of the given responses (or whatever the call does)."""

    def __init__(self, *makers: Callable[[web.Request], web.StreamResponse]) -> None:
        self.makers, self.served = makers, 0

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        self.served += 1
        return self.makers[(self.served - 1) % len(self.makers)](request)


def hang_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.Response()


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

    measure(handler, bodies=[b'{"user_id":%d}' % i for i in range(4)], clients=1, seconds=0.2)
    assert len(seen) > 8
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


def test_an_open_loop_counts_latency_from_the_arrival_when_the_client_is_late() -> None:
    recorder = Recorder(begins_s=0.0, ends_s=10.0)
    recorder.add(due_s=1.0, sent_s=1.4, done_s=1.5, answer=Answer(OK, 200, "big"))
    report = recorder.report(NOWHERE, None, 1.0, 0.0)
    assert report.latency_ms is not None
    assert report.latency_ms.max == pytest.approx(500)
    assert report.client_lag_ms == pytest.approx(400)


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


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"items":[1],"chain":null,"degraded":false}', b'{"items":3}'])
def test_a_200_that_is_no_recommendation_is_no_good_answer(body: bytes) -> None:
    assert read_answer(200, body).kind == "not a recommendation"


@given(st.lists(st.floats(0, 100), min_size=1, max_size=300))
def test_quantiles_are_the_nearest_ranks(latencies_s: list[float]) -> None:
    got = latency_of(array("d", latencies_s))
    assert got is not None
    ranked = np.sort(np.array(latencies_s)) * 1e3
    for value, share in ((got.p50, 0.5), (got.p90, 0.9), (got.p99, 0.99), (got.p99_9, 0.999), (got.max, 1.0)):
        assert value == ranked[math.ceil(round(share * len(ranked), 9)) - 1]


@given(st.lists(st.tuples(st.floats(0, 20), st.floats(0, 5), st.sampled_from([OK, "http 503", "timeout"]))))
def test_counts_add_up_whatever_happens(requests: list[tuple[float, float, str]]) -> None:
    recorder = Recorder(begins_s=5.0, ends_s=15.0)
    for due_s, took_s, kind in requests:
        recorder.add(due_s, due_s, due_s + took_s, Answer(kind))
    report = recorder.report(NOWHERE, 1, None, 1.0)
    assert report.sent == sum(due_s >= 5 for due_s, _, _ in requests)
    assert report.answered + report.failed == report.sent
    assert sum(report.errors.values()) == report.failed
    in_time = sum(5 <= d + t < 15 for d, t, kind in requests if kind == OK)
    assert report.throughput_per_s * 10 == pytest.approx(in_time)


@given(st.floats(0.1, 1e4), st.integers(0, 2**32))
def test_arrivals_ascend_at_their_rate_and_repeat_with_the_seed(rate_per_s: float, seed: int) -> None:
    times = list(islice(arrivals(3.0, rate_per_s, seed), 3000))
    assert times == list(islice(arrivals(3.0, rate_per_s, seed), 3000))
    gaps = np.diff([3.0, *times])
    assert (gaps >= 0).all()
    assert gaps.mean() * rate_per_s == pytest.approx(1.0, abs=0.15)
    assert gaps.std() * rate_per_s == pytest.approx(1.0, abs=0.25)


ids_of_either_kind = st.one_of(
    st.lists(st.integers(-(2**40), 2**40), min_size=1, unique=True).map(sorted),
    st.lists(st.sampled_from(["a", "b", "unknown-0", "unknown-1", "unknown-1-"]), min_size=1, unique=True).map(sorted),
)


@given(ids_of_either_kind, st.integers(0, 2**32), st.floats(0, 1))
def test_traffic_repeats_with_its_seed_and_strangers_are_in_no_table(
    ids: list[int] | list[str], seed: int, share: float
) -> None:
    bodies = request_bodies(ids, seed, share, "big", count=50)
    assert bodies == request_bodies(ids, seed, share, "big", count=50)
    documents = [json.loads(body) for body in bodies]
    assert all(d["chain"] == "big" and type(d["user_id"]) is type(ids[0]) for d in documents)
    strangers = [d for d in documents if d["user_id"] not in ids]
    if share in (0, 1):
        assert len(strangers) == share * 50


def test_about_the_asked_share_is_unknown_and_all_users_are_drawn() -> None:
    asked = [json.loads(body)["user_id"] for body in request_bodies(range(100), 0, 0.25, count=10_000)]
    assert sum(user >= 100 for user in asked) == pytest.approx(2500, abs=200)
    assert {user for user in asked if user < 100} == set(range(100))


@pytest.fixture
def cascade(tmp_path: Path) -> Path:
    """A cascade folder as far as `load` reads it: the file, and the user ids."""
    ref = {"sha256": "0" * 64}
    table = {
        "ids": {"file": "users.npy", **ref},
        "features": {"file": "x.npy", **ref},
        "columns": [{"name": "a", "codes": 3}],
    }
    variant = {"name": "two-tower", "model": {"file": "m.onnx", **ref}, "index": {"file": "i.npy", **ref}}
    users = {**table, "history": {"file": "h.npy", **ref}, "cold": [0]}
    document = {
        "format": 1,
        "name": "tiny",
        "k": 2,
        "tables": {"users": users, "items": table},
        "stages": [{"name": "recall", "variants": [variant]}],
        "static_chain": "two-tower",
    }
    (tmp_path / "cascade.yaml").write_text(json.dumps(document))  # JSON is YAML
    np.save(tmp_path / "users.npy", np.arange(10, 20))
    return tmp_path


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server in a thread, for tests whose main thread is the command; `request.param` is its handler."""
    handler: Handler = getattr(request, "param", good)
    started, stop, urls = Event(), Event(), []

    async def serve() -> None:
        async with serving(handler) as url:
            urls.append(url)
            started.set()
            await asyncio.to_thread(stop.wait)

    thread = Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert started.wait(10)
    yield urls[0]
    stop.set()
    thread.join()


def command(*arguments: str | Path) -> Any:
    return CliRunner().invoke(load, [str(a) for a in arguments])


def test_the_command_prints_one_json_object_and_progress_elsewhere(server: str, cascade: Path) -> None:
    result = command(server, "--cascade", cascade, "--seconds", "1.2", "--warmup", "0", "--json")
    assert result.exit_code == 0
    report = LoadReport.model_validate_json(result.stdout)
    assert (report.clients, report.clean, report.chains) == (8, True, {"big": report.sent})
    assert "answers" in result.stderr


def test_the_command_prints_a_table_for_people(server: str, cascade: Path) -> None:
    result = command(server, "--cascade", cascade, "--rate", "50", "--seconds", "0.4", "--warmup", "0")
    assert result.exit_code == 0
    for text in ("open loop", "50 requests/s", "latency p99.9", "chain big", "100.0%"):
        assert text in result.stdout


@pytest.mark.parametrize("server", [Turns(lambda _: web.Response(status=500))], indirect=True)
@pytest.mark.parametrize(("option", "status"), [((), 1), (("--allow-errors",), 0)])
def test_failed_requests_show_in_the_exit_status(
    server: str, cascade: Path, option: tuple[str, ...], status: int
) -> None:
    result = command(server, "--cascade", cascade, "--seconds", "0.2", "--warmup", "0", *option)
    assert result.exit_code == status
    assert "error: http 500" in result.stdout


def test_a_run_that_cannot_start_raises_what_the_command_line_prints(cascade: Path) -> None:
    result = command(NOWHERE, "--cascade", cascade)
    assert isinstance(result.exception, FixSetup)
    assert result.stdout == ""


def test_both_loops_at_once_are_refused(cascade: Path) -> None:
    both = command(NOWHERE, "--cascade", cascade, "--clients", "1", "--rate", "1")
    assert both.exit_code == 2
    assert "not both" in both.stderr


def test_a_broken_cascade_folder_is_named(cascade: Path) -> None:
    assert list(user_ids(cascade)) == list(range(10, 20))
    (cascade / "users.npy").write_bytes(b"not numpy")
    result = command(NOWHERE, "--cascade", cascade)
    assert isinstance(result.exception, FixFile)
    with pytest.raises(FixFile, match=r"users\.npy"):
        user_ids(cascade)


def test_interrupting_the_command_reports_what_was_measured(server: str, cascade: Path) -> None:
    code = "from cluster.commands.load import load; load()"
    arguments = [server, "--cascade", str(cascade), "--seconds", "600", "--warmup", "0", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        assert "answers" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    report = LoadReport.model_validate_json(out)
    assert (process.returncode, report.complete, report.clean) == (0, False, True), err
    assert report.sent > 0


def test_help_shows_an_example() -> None:
    assert "greenflow load --clients 32" in command("--help").output
