"""What the controller notices is told once when it begins and once when it is over."""

import logging
from dataclasses import replace

import pytest
from fake_time import FakeTime
from ledger_windows import device

from allocator.emissions import Kind
from allocator.joules import DeviceJoules, Quality
from cluster.accountant import Closed
from cluster.carbon.base import Intensity
from cluster.noticing import CALM_S, START_S, UNREAD_S, Noticing
from cluster.power.base import Refusal
from cluster.snapshot import Standing

CAP = Standing("cap", "power", "W", 50.0, 40.0, 0.1, 50.0, 40.0, True)
GRID = Intensity(56.0, 0.0, 0.0, Kind.AVERAGE, "FR", "a source", Quality.MEASURED, False)


class Room:
    """A Noticing, its clock, and what it has told since somebody last asked."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        self.clock, self._caplog = FakeTime(), caplog
        self.noticing = Noticing(self.clock)

    def tick(
        self,
        standings: tuple[Standing, ...] = (),
        degraded: dict[str, int] | None = None,
        closed: Closed | None = None,
        seconds: float = 1.0,
    ) -> list[str]:
        """A tick, so many seconds later; the events of the lines that it told."""
        self.clock.now_s += seconds
        self.noticing.ticked(standings, degraded or {}, closed)
        return self.told()

    def told(self) -> list[str]:
        """Events since somebody last asked."""
        found = [record.event for record in self._caplog.records]
        self._caplog.clear()
        return found

    def said(self) -> str:
        """The text of what was told since then."""
        text = self._caplog.text
        self._caplog.clear()
        return text


@pytest.fixture
def room(caplog: pytest.LogCaptureFixture) -> Room:
    return Room(caplog)


def books(*devices: DeviceJoules, refusals: tuple[Refusal, ...] = (), intensity: Intensity | None = None) -> Closed:
    return Closed(0.0, devices, refusals, None, intensity=intensity)  # type: ignore[arg-type]


def test_a_flood_of_degraded_requests_is_two_lines(room: Room) -> None:
    told = [event for n in range(1, 600) for event in room.tick(degraded={"undecided": 1000 * n})]
    assert told == ["degraded_began"]
    for _ in range(int(CALM_S) - 1):
        assert room.tick(degraded={"undecided": 599_000}) == []
    room.clock.now_s += 1
    room.noticing.ticked((), {"undecided": 599_000}, None)
    assert "undecided: 599000 in 598 s" in room.said()
    assert room.tick(degraded={"undecided": 599_000}) == []


def test_reasons_are_told_apart_and_begin_again(room: Room) -> None:
    assert room.tick(degraded={"undecided": 1}) == ["degraded_began"]
    assert room.tick(degraded={"undecided": 1, "queue_full": 5}) == ["degraded_began"]
    assert room.tick(degraded={"undecided": 1, "queue_full": 5}, seconds=CALM_S) == ["degraded_ended"] * 2
    assert room.tick(degraded={"undecided": 2, "queue_full": 5}) == ["degraded_began"]


def test_of_replicas_that_start_one_after_another_nothing_is_said(room: Room) -> None:
    for away in (frozenset({("rank", "din")}), frozenset(), frozenset({("rank", "mlp")})):
        room.noticing.away(away)
        room.clock.now_s += START_S / 3
    assert room.told() == []
    room.noticing.away(frozenset({("rank", "mlp")}))
    assert room.told() == ["variant_lost"], "this one has not come"


def test_a_variant_is_told_when_it_is_lost_and_when_it_is_back(room: Room) -> None:
    room.clock.now_s += START_S
    for away in (frozenset({("rank", "din")}), frozenset({("rank", "din"), ("rank", "mlp")})) * 2:
        room.noticing.away(away)
    assert room.told() == ["variant_lost", "variant_lost", "variant_back", "variant_lost"]
    room.noticing.away(frozenset())
    assert room.told() == ["variant_back", "variant_back"]


def test_a_limit_out_of_reach_is_told_once_and_when_it_can_be_kept(room: Room) -> None:
    beyond = replace(CAP, reachable=False)
    assert room.tick((beyond,)) == ["limit_out_of_reach"]
    assert room.tick((beyond,)) == []
    assert room.tick((CAP,)) == ["limit_in_reach"]
    assert room.tick((beyond,)) == ["limit_out_of_reach"]
    assert room.tick(()) == [], "it is gone, not kept"


def test_a_device_that_is_not_measured_any_more_is_lost_until_it_is(room: Room) -> None:
    read, modelled = device(10.0, "host-a/gpu-0"), device(9.0, "host-a/gpu-0", quality=Quality.MODELLED)
    gone = Refusal("nvml", "gpu-0", "the GPU is lost", "reset it")
    assert room.tick(closed=books(read)) == []
    assert room.tick(closed=books(modelled)) == []
    assert room.tick(closed=books(modelled, refusals=(gone,)), seconds=UNREAD_S) == ["sensor_lost", "sensor_absent"]
    assert room.tick(closed=books(modelled, refusals=(gone,)), seconds=UNREAD_S) == []
    assert room.tick(closed=books(read)) == ["sensor_back"]
    room.tick(closed=books(refusals=(gone,)), seconds=UNREAD_S)
    assert room.tick(closed=books(read)) == ["sensor_back"]


def test_why_a_device_is_lost_is_said(room: Room) -> None:
    room.tick(closed=books(device(10.0, "host-a/gpu-0")))
    room.clock.now_s += UNREAD_S
    room.noticing.ticked((), {}, books(refusals=(Refusal("nvml", "gpu-0", "the GPU is lost", "reset it"),)))
    assert "host-a/gpu-0 is not measured any more: the GPU is lost; reset it" in room.said()


def test_what_is_not_read_from_the_start_is_told_once_with_its_remedy(room: Room) -> None:
    absent = Refusal("rapl", "", "there is no powercap", "meter on the host")
    assert room.tick(closed=books(refusals=(absent,))) == ["sensor_absent"]
    assert room.tick(closed=books()) == []
    assert room.tick(closed=books(refusals=(absent,))) == []


def test_an_intensity_is_told_when_it_comes_and_when_it_ends(room: Room) -> None:
    assert room.tick(closed=books()) == [], "nobody has stated one"
    assert room.tick(closed=books(intensity=GRID)) == ["intensity_fresh"]
    assert room.tick(closed=books(intensity=GRID)) == []
    assert room.tick(closed=books(intensity=replace(GRID, stale=True))) == ["intensity_stale"]
    assert room.tick(closed=books()) == []
