"""The live page's history: steps are means of their windows, and what was resumed makes up the whole."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_windows import device
from live_moments import ACTIONS, moment, standing, took, used
from small_space import SPACE

from cluster.live.moment import MOST_DEVICES, OTHERS, Moment, latency_ms, point_of, watts_by_device
from cluster.live.ring import Ring
from cluster.live.schemas import HistoryPoint

KNOWN = st.none() | st.floats(0.0, 1e4)
STEP_S, SPAN_S = 10.0, 600.0


@st.composite
def histories(draw: st.DrawFn) -> list[Moment]:
    """Windows of any lengths, in order."""
    moments, at_s = [], draw(st.floats(0.0, 1e9))
    for _ in range(draw(st.integers(1, 40))):
        window_s = draw(st.floats(0.1, 15.0))
        at_s += window_s
        moments.append(
            moment(
                at_s,
                window_s=window_s,
                power_w=draw(KNOWN),
                g_per_kwh=draw(KNOWN),
                requests_per_s=draw(st.floats(0.0, 1e4)),
                took=took(*draw(st.lists(st.floats(1e-3, 10.0), max_size=4))),
            )
        )
    return moments


def told(ring: Ring, since_s: float = -1.0) -> list[dict[str, Any]]:
    points = [json.loads(data) for _, data in ring.since(since_s)]
    for one in points:
        HistoryPoint.model_validate(one)
    return points


def ring_of(moments: list[Moment]) -> Ring:
    ring = Ring(ACTIONS, STEP_S, SPAN_S)
    for one in moments:
        ring.add(one)
    return ring


def by_step(moments: list[Moment]) -> dict[float, list[Moment]]:
    steps: dict[float, list[Moment]] = {}
    for one in moments:
        steps.setdefault(one.time_s // STEP_S, []).append(one)
    return steps


def weighted(moments: list[Moment], name: str) -> float | None:
    known = [(getattr(one, name), one.window_s) for one in moments if getattr(one, name) is not None]
    return float(np.average([one for one, _ in known], weights=[weight for _, weight in known])) if known else None


@given(histories())
def test_a_point_is_the_mean_of_the_windows_of_its_step(moments: list[Moment]) -> None:
    steps = {key: of for key, of in by_step(moments).items() if of[-1].time_s > moments[-1].time_s - SPAN_S}
    points = told(ring_of(moments))
    assert [one["time_s"] for one in points] == [of[-1].time_s for of in steps.values()]
    for one, of in zip(points, steps.values(), strict=True):
        for name, key in (("power_w", "power_w"), ("g_per_kwh", "g_per_kwh"), ("requests_per_s", "requests_per_s")):
            assert (
                one[key] == pytest.approx(weighted(of, name), rel=1e-4)
                if weighted(of, name) is not None
                else (one[key] is None)
            )
        latency = latency_ms(np.sum([each.took for each in of], axis=0))
        assert (one["latency_p99_ms"] is None) == (latency is None)


@given(histories(), st.data())
def test_what_is_resumed_and_what_was_known_make_up_the_whole(moments: list[Moment], data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(moments)))
    known = {one["time_s"] // STEP_S: one for one in told(ring_of(moments[:cut]))}
    whole = ring_of(moments)
    later = told(whole, since_s=moments[cut - 1].time_s)
    assert all(one["time_s"] > moments[cut - 1].time_s for one in later)
    known.update({one["time_s"] // STEP_S: one for one in later})
    alive = {key: one for key, one in known.items() if one["time_s"] > moments[-1].time_s - SPAN_S}
    assert list(alive.values()) == told(whole)


@given(histories())
def test_every_point_is_bytes_made_once_and_no_older_than_the_span(moments: list[Moment]) -> None:
    ring = ring_of(moments)
    first, second = ring.since(0.0), ring.since(0.0)
    assert all(one is other for one, other in zip(first, second, strict=True))
    assert all(time_s > moments[-1].time_s - SPAN_S for time_s, _ in first)


def test_points_of_before_come_before_those_that_are_known() -> None:
    ring = ring_of([moment(1005.0), moment(1012.0)])
    ring.fill([{"time_s": t, "power_w": 1.0} for t in (970.0, 985.0, 1004.0, 1011.0)])
    assert [time_s for time_s, _ in ring.since(0.0)] == [970.0, 985.0, 1005.0, 1012.0]
    empty = Ring(ACTIONS)
    empty.fill([{"time_s": 970.0}])
    empty.add(moment(1005.0))
    assert [time_s for time_s, _ in empty.since(0.0)] == [970.0, 1005.0]


def test_a_clock_that_is_set_back_leaves_nothing_that_is_later_than_now() -> None:
    ring = ring_of([moment(t) for t in (1001.0, 1011.0, 1012.0, 1003.0, 1004.0)])
    assert [time_s for time_s, _ in ring.since(0.0)] == [1004.0]
    assert told(ring)[0]["requests_per_s"] == 2.0


def test_a_point_tells_of_joules_limits_and_mix() -> None:
    first = moment(1001.0, own_j=3.0, answered=2, used=used(c0=3.0), standings=(standing(spend=80.0, price=1.0),))
    later = standing(limit=70.0, spend=60.0, price=2.0)
    free = standing(name="flops", limit=float("inf"))
    second = moment(1002.0, own_j=None, answered=0, used=used(c0=0.0, c9=1.0), standings=(later, free))
    third = moment(1003.0, own_j=9.0, answered=4, used=used(), standings=(later, free))
    found = point_of([first, second, third], ACTIONS)
    assert found["energy_j_per_request"] == pytest.approx(12.0 / 6)
    assert found["constraints"] == {
        "cap": {"limit": 70.0, "spend": pytest.approx(200 / 3), "price": pytest.approx(5 / 3)}
    }
    chains = [SPACE.chains[0], SPACE.chains[9]]
    for at, stage in enumerate(("s0", "s1", "s2")):
        shares: dict[str, float] = {}
        for chain, share in zip(chains, (0.75, 0.25), strict=True):
            action = chain.actions[at]
            key = "skip" if action.variant is None else f"{action.variant}@{action.items}"
            shares[key] = shares.get(key, 0.0) + share
        assert found["mix"][stage] == pytest.approx(shares)


def test_watts_are_told_by_device_and_of_too_many_by_host() -> None:
    few = [device(10.0, "host-a/package-0"), device(5.0, "GPU-1")]
    assert watts_by_device(few) == {"host-a/package-0": 10.0, "host-a/GPU-1": 5.0}
    many = [device(1.0, f"GPU-{n}") for n in range(MOST_DEVICES + 1)]
    assert watts_by_device(many) == {"host-a": MOST_DEVICES + 1.0}


def test_watts_of_very_many_hosts_are_told_of_some_and_of_the_rest_together() -> None:
    hosts = [replace(device(1.0, f"h{n:03}/package-0"), host=f"h{n:03}") for n in range(100)]
    found = watts_by_device(hosts)
    assert len(found) == MOST_DEVICES
    assert found[OTHERS] == 100 - (MOST_DEVICES - 1)


def test_a_device_that_has_not_told_yet_is_not_taken_for_one_that_draws_nothing() -> None:
    assert watts_by_device([replace(device(0.0, "GPU-1"), fresh=False)]) == {"host-a/GPU-1": None}
