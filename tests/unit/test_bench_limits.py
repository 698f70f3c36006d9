"""The arithmetic of the benchmarks of limits; what they measure is looked at by hand (tests/bench/README.md)."""

import asyncio
import time
from array import array
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from cluster.traffic.report import OK, Answer, LoadReport, Recorder

BENCH = Path(__file__).parents[1] / "bench"
RATE = 100.0


@pytest.fixture
def phases(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCH))
    import limits_phases

    return limits_phases


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCH))
    import limits_steady

    return limits_steady


@pytest.fixture
def reach(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCH))
    import reach

    return reach


def load() -> LoadReport:
    return Recorder(0.0, 1.0, array("d"), array("d")).report("", None, RATE, 0.0)


def look(phases: ModuleType, least_w: float, free_w: float) -> object:
    def of(watts: float) -> object:
        return phases.Played(phases.Phase("", 20, 0.0, RATE), [watts] * 20, load())

    return phases.Look(of(free_w), of(least_w))


def found(phases: ModuleType, cap_w: float, watts: list[float], *looks: object) -> object:
    return phases.found(phases.Played(phases.Phase("", len(watts), cap_w, RATE), watts, load()), looks)


def test_a_cap_between_all_looks_is_the_goal_itself(phases: ModuleType) -> None:
    looks = look(phases, 80, 120), look(phases, 85, 140)
    assert found(phases, 100.0, [100.0] * 40, *looks).goal_w == (100.0, 100.0)
    assert found(phases, 1.0, [82.0] * 40, *looks).goal_w == (80.0, 85.0)
    assert found(phases, 130.0, [120.0] * 40, *looks).goal_w == (120.0, 130.0)


def test_a_phase_is_reached_when_it_comes_near_in_time_and_stays(phases: ModuleType) -> None:
    between = look(phases, 50, 200)
    slow = found(phases, 100.0, [150.0] * 15 + [100.0] * 45, between)
    assert slow.verdict == "missed: late"
    assert slow.near_s == 14.0
    assert found(phases, 100.0, [150.0] * 5 + [100.0] * 45, between).reached
    wild = found(phases, 100.0, [100.0] * 20 + [110.0] * 40 + [100.0] * 20, between)
    assert wild.verdict == "missed: not held"
    assert found(phases, 100.0, [100.0] * 20 + [110.0] * 15 + [100.0] * 20, between).reached
    assert found(phases, 100.0, [150.0] * 40, between).verdict == "missed: never near"


def test_a_goal_that_could_be_anything_is_no_verdict_in_favour(phases: ModuleType) -> None:
    looks = look(phases, 80, 110), look(phases, 80, 150)
    assert found(phases, 140.0, [120.0] * 40, *looks).verdict == "unclear: the machine wandered"
    assert found(phases, 140.0, [170.0] * 40, *looks).verdict.startswith("missed")


def test_where_caps_can_do_next_to_nothing_nothing_is_reached(phases: ModuleType) -> None:
    assert found(phases, 101.0, [101.0] * 40, look(phases, 100, 104)).verdict == "unclear: caps can do too little"


def test_the_floor_is_what_poisson_arrivals_and_their_joules_do(steady: ModuleType) -> None:
    chosen, joules = np.array([0.5, 0.5]), np.array([0.1, 0.3])
    watts = steady.drawn(RATE, chosen, joules, windows=200_000)
    assert watts.mean() == pytest.approx(0.0, abs=0.02)
    assert watts.var() == pytest.approx(RATE * (chosen @ joules**2), rel=0.02)  # of a compound Poisson process
    held = steady.Held.of(100.0 + watts, 100.0)
    assert held.utilisation == pytest.approx(1 - held.overuse, abs=1e-3)
    assert held.overuse == pytest.approx(held.spread / np.sqrt(2 * np.pi), rel=0.05)


def test_joules_of_requests_follow_from_watts_at_two_rates_and_of_two_mixes(
    phases: ModuleType, steady: ModuleType
) -> None:
    def of(watts: float, chain: str) -> object:
        ran = load().model_copy(update={"chains": {chain: 10}})
        return phases.Played(phases.Phase("", 20, 0.0, RATE), [watts] * 20, ran)

    look = phases.Look(of(150.0, "dear"), of(120.0, "cheap"), third_w=150.0 - RATE * 2 / 3 * 0.5)
    joules = steady.request_joules(look, {"dear": 3e6, "cheap": 1e6})
    assert joules(np.array([3e6, 1e6, 0.0])) == pytest.approx([0.5, 0.2, 0.05])


def test_the_spread_of_a_version_ends_with_the_last_older_answer(reach: ModuleType) -> None:
    def seen(sent_s: float, version: int, limit_w: float = float("nan")) -> object:
        return reach.Seen(reach.POLICY, sent_s, sent_s + 0.1, version, limit_w)

    answers = [seen(0, 1), seen(1.0, 2), seen(1.2, 1), seen(1.4, 2), seen(2.0, 3), seen(2.2, 3)]
    assert reach.spread(answers) == pytest.approx([0.3, 0.0])
    limited = [seen(0, 1, 50.0), seen(1.0, 2, 80.0), seen(1.2, 1, 50.0), seen(1.5, 2, 80.0), seen(9.0, 2, 80.0)]
    assert reach.known_after(limited, [(0.5, 80.0), (8.0, 90.0)]) == pytest.approx([0.8])


def test_no_request_is_lost_between_two_legs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    import limits_traffic

    class Slow:
        sent = 0

        def __init__(self, *_: object) -> None: ...

        async def send(self, _: bytes) -> object:
            type(self).sent += 1
            await asyncio.sleep(0.02)
            return Answer(OK, 200, "c")

        async def close(self) -> None: ...

    monkeypatch.setattr(limits_traffic, "Client", Slow)
    traffic = limits_traffic.Traffic("", [b""], 400.0)
    reports = []
    for rate in (400.0, 200.0, 400.0):
        traffic.rate(rate)
        time.sleep(0.2)
        reports.append(traffic.cut())
    traffic.close()
    last = traffic._leg.recorder.all_sent
    assert sum(report.sent for report in reports) + last == Slow.sent > 100
    assert all(report.answered == report.sent for report in reports)
