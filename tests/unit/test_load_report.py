"""What a load run sends, and what its report makes of the answers."""

import json
import math
from array import array
from itertools import islice, takewhile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from load_server import NOWHERE

from cluster.traffic.bodies import request_bodies
from cluster.traffic.client import read_answer
from cluster.traffic.load import arrivals
from cluster.traffic.report import OK, Answer, Recorder, latency_of


def test_an_open_loop_counts_latency_from_the_arrival_when_the_client_is_late() -> None:
    recorder = Recorder(begins_s=0.0, ends_s=10.0)
    recorder.add(due_s=1.0, sent_s=1.4, done_s=1.5, answer=Answer(OK, 200, "big"))
    report = recorder.report(NOWHERE, None, 1.0, 0.0)
    assert report.latency_ms is not None
    assert report.latency_ms.max == pytest.approx(500)
    assert report.client_lag_ms == pytest.approx(400)


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


@given(st.floats(0.2, 1.0), st.integers(0, 2**32))
def test_arrivals_that_swing_rise_and_fall_around_their_rate(swing: float, seed: int) -> None:
    times = np.array(list(takewhile(lambda at_s: at_s < 103.0, arrivals(3.0, 200.0, seed, swing, 20.0)))) - 3.0
    assert len(times) == pytest.approx(20_000, rel=0.05)
    phases = np.histogram(times % 20.0, bins=[0, 5, 10, 15, 20])[0] / 5000
    expected = 1 + np.array([1, 1, -1, -1]) * swing * 2 / np.pi
    assert phases == pytest.approx(expected, abs=0.08)


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
