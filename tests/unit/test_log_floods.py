"""Whatever requests do, the log gets a bounded number of lines."""

import logging
from dataclasses import replace
from math import nan
from typing import Any

import pytest
from ingress_client import MAX_BODY, Client
from tiny_cascade import TinyCascade
from tiny_serving import open_recommender

from cluster.ingress import make_app
from cluster.outcomes.drift import Alarm, DriftView
from cluster.outcomes.drift_evidence import Side
from cluster.outcomes.drift_told import Drifting
from cluster.outcomes.drift_window import Calibration
from cluster.outcomes.hurry_told import Hurrying
from cluster.outcomes.joiner import JoinCounts
from cluster.schemas import RecommendRequest

REQUEST = ("POST", "/v1/recommend", {"json": {"user_id": 2}})
BAD = ("POST", "/v1/recommend", {"json": {"user_id": 2, "k": 99}})
CALM = DriftView("m", 1000, Calibration(ratio=1.01), 0.1, None, 0, 0.0, 100.0, 1e6)
LOW = replace(CALM, alarm=Alarm(Side.LOW, 0.0, 1000), calibration=Calibration(ratio=0.6))


def ours(caplog: pytest.LogCaptureFixture) -> list[Any]:
    return [record for record in caplog.records if record.name.startswith("cluster.")]


def test_requests_that_are_refused_tell_nothing(tiny: TinyCascade, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with open_recommender(tiny.folder) as recommender:
        answers = Client(make_app(recommender, MAX_BODY)).together([BAD] * 300)
    assert {answer.status_code for answer in answers} == {422}
    assert ours(caplog) == []


def test_requests_that_fail_tell_the_first_with_its_traceback(
    tiny: TinyCascade, caplog: pytest.LogCaptureFixture
) -> None:
    with open_recommender(tiny.folder) as recommender:

        class Broken:
            def __getattr__(self, name: str) -> Any:
                return getattr(recommender, name)

            async def recommend(self, request: RecommendRequest, came_s: float) -> None:
                raise ZeroDivisionError("nobody foresaw this")

        answers = Client(make_app(Broken(), MAX_BODY)).together([REQUEST] * 300)  # type: ignore[arg-type]
    assert {answer.status_code for answer in answers} == {500}
    (told,) = ours(caplog)
    assert (told.event, told.levelname) == ("request_failed", "ERROR")
    assert "nobody foresaw this" in caplog.text


def test_drift_is_told_when_it_begins_turns_and_ends(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    drifting, high = Drifting(), replace(LOW, alarm=Alarm(Side.HIGH, 9.0, 2000), calibration=Calibration(ratio=nan))
    for view in (CALM, LOW, LOW, replace(LOW, requests=2000), high, high, CALM, CALM):
        drifting.look(view)
    assert [record.event for record in ours(caplog)] == ["drift_began", "drift_began", "drift_ended"]
    assert "requests earn less than m predicts (0.6 times it)" in caplog.text


def test_that_requests_cannot_wait_for_their_rewards_is_told_once_and_only_where_any_are_told_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hurrying = Hurrying()
    for hurried, hears in ((0, True), (9, False), (10, True), (11, True), (11, False), (12, True)):
        hurrying.look(JoinCounts(matured=20, hurried=hurried), hears)
    (told,) = ours(caplog)
    assert (told.event, told.levelname) == ("feedback_hurried", "WARNING")
    assert "Raise it, or shorten feedback.horizon_s" in caplog.text
