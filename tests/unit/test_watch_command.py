"""`greenflow watch`, against a server whose stream follows a script."""

import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fastapi import FastAPI
from live_script import NOON_S, event, history, scripted, window
from on_loopback import served
from rich.console import Console

from cluster.cli import greenflow
from cluster.live.schemas import GoneEvent, HistoryEvent, WindowEvent
from cluster.watching.course import Course
from cluster.watching.events import Event, events
from cluster.watching.follow import AGAIN_S, LONGEST_S, Look, Lost, looks
from cluster.watching.plain import PlainLines
from cluster.watching.screen import Screen
from models.errors import FixRequest, FixSetup, TryAgain

Connections = Sequence[Sequence[bytes] | dict[str, Any]]
ONE = [history(), event("window", window(), NOON_S)]
NOTE = {"level": "warning", "code": "sensor_lost", "text": "The meter of host-0 is lost: see greenflow doctor."}


@contextmanager
def server(app: FastAPI) -> Iterator[str]:
    serving = served(app)
    try:
        yield next(serving)
    finally:
        next(serving, None)


def command(*arguments: str) -> Result:
    return CliRunner().invoke(greenflow, ["watch", *arguments])


def of(**changes: Any) -> WindowEvent:
    return WindowEvent.model_validate(window(**changes))


def shown(screen: Screen, width: int = 80) -> str:
    sink = io.StringIO()
    Console(file=sink, width=width, height=60).print(screen)
    return sink.getvalue()


def heard(connections: Connections, most: int, asked: list[str | None] | None = None) -> tuple[list[Look], list[float]]:
    slept = list[float]()
    with server(scripted(connections, asked)) as url:
        return list(islice(looks(url, slept.append), most)), slept


def test_one_look_is_printed_and_ends() -> None:
    with server(scripted([ONE])) as url:
        result = command("--url", url, "--once")
    assert result.exit_code == 0, result.output
    for text in ("host-0/package-0", "cap", "tower-l@8,000 80.0%", "39.1% (33.3% to 44.8%)", "1.25 kWh", "p99 12.0 ms"):
        assert text in result.stdout


def test_one_look_as_json_is_the_window_that_the_server_told() -> None:
    with server(scripted([ONE])) as url:
        result = command("--url", url, "--once", "--json")
    assert json.loads(result.stdout) == json.loads(json.dumps(window()))


def test_no_server_another_one_and_too_many_who_look_are_told_apart() -> None:
    assert isinstance(command("--url", "http://127.0.0.1:9", "--once").exception, FixSetup)
    assert isinstance(command("--url", "nowhere", "--once").exception, FixRequest)
    with server(FastAPI()) as url:
        error = command("--url", url).exception
        assert isinstance(error, FixSetup)
        assert "is it another server, or an older version?" in str(error)
    with server(scripted([{"detail": "too many look"}])) as url:
        error = command("--url", url, "--once").exception
        assert isinstance(error, TryAgain)
        assert "too many look" in str(error)


def test_when_nobody_can_tell_one_look_says_so_and_fails() -> None:
    with server(scripted([[history(), event("gone", {"detail": "the controller is away"})]])) as url:
        error = command("--url", url, "--once").exception
    assert isinstance(error, TryAgain)
    assert "the controller is away" in str(error)


def test_a_stream_that_breaks_is_taken_up_where_it_broke() -> None:
    asked = list[str | None]()
    later = [history(), event("window", window(NOON_S + 5), NOON_S + 5)]
    found, slept = heard([ONE, later], 5, asked)
    assert [type(look) for look in found] == [HistoryEvent, WindowEvent, Lost, HistoryEvent, WindowEvent]
    assert asked == [None, str(NOON_S)]
    assert slept == [AGAIN_S]


def test_a_server_that_stays_away_is_asked_less_and_less_often() -> None:
    refused = {"detail": "starting"}
    found, slept = heard([ONE, *[refused] * 8], 10)
    assert [type(look) for look in found[2:]] == [Lost] * 8
    assert slept == sorted(slept)
    assert slept[-1] == LONGEST_S
    assert "starting" in found[-1].why


def test_what_is_no_window_counts_as_a_lost_connection() -> None:
    found, _ = heard([[*ONE, event("window", {"time_s": "soon"})]], 3)
    assert isinstance(found[-1], Lost)
    assert "does not answer as GreenFlow does" in found[-1].why


def test_events_are_read_as_the_standard_has_them() -> None:
    lines = (
        b": a comment\nid: 7\nevent: window\ndata: one\ndata: two\nretry: 2000\n\ndata:three\r\n\r\n\n\nevent: lost\n\n"
    )
    cut = b"event: window\ndata: cut sho"
    found = list(events((lines + cut).splitlines(keepends=True)))
    assert found == [Event("window", "one\ntwo", "7"), Event("message", "three", "7")]


def test_plain_lines_tell_figures_each_window_and_notes_when_they_come_and_go() -> None:
    plain = PlainLines()
    told = [list(plain.of(look)) for look in (of(), of(notes=[NOTE]), of(notes=[NOTE]), of())]
    assert [len(lines) for lines in told] == [1, 2, 1, 2]
    assert told[1][1] == f"warning: {NOTE['text']}"
    assert told[3][1] == "no longer: sensor lost"
    line = told[0][0]
    for text in ("12:00:00Z", "req/s", "p50 4.10 ms", "cap ", "/150 W", "price 0.00310", "today 1.25 kWh 310 g CO2e"):
        assert text in line


def test_plain_lines_tell_once_that_the_connection_is_lost_and_once_that_it_is_back() -> None:
    plain, back = PlainLines(), HistoryEvent(step_s=10, resumed=True, points=[])
    told = [list(plain.of(look)) for look in (Lost("reset", 1.0), Lost("reset", 2.0), back, back)]
    assert told == [["no connection: reset; it is tried again"], [], ["connected again"], []]


def test_without_a_terminal_lines_are_printed_until_the_server_refuses_for_good(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(_: float) -> None:
        raise KeyboardInterrupt

    for extra, first in (((), "12:00:00Z"), (("--json",), '{"time_s":')):
        with server(scripted([ONE])) as url, monkeypatch.context() as patched:
            patched.setattr("cluster.commands.watch.time.sleep", stop)
            result = command("--url", url, *extra)
        assert result.exit_code == 0, "who presses Ctrl-C means it"
        assert result.stdout.splitlines()[0].startswith(first)
        assert "no connection: the server has ended the stream" in result.output


@pytest.mark.parametrize("width", [80, 100, 200])
def test_the_picture_fits_the_terminal(width: int) -> None:
    screen = Screen("http://127.0.0.1:8000", lambda: NOON_S)
    screen.hear(of(nodes=30, notes=[NOTE]))
    lines = shown(screen, width).splitlines()
    assert max(len(line) for line in lines) <= width
    text = " ".join(" ".join(lines).split())
    for part in (
        "21 others",
        "cap",
        "/ 150 W",
        "━",
        "price 0.00310",
        "warning: The meter",
        "saved energy",
        "172 of 172 chains",
    ):
        assert part in text


def test_the_picture_says_what_is_wrong() -> None:
    made = window(NOON_S)
    made["power"] |= {"power_w": None, "unknown": "no meter has told of a device", "nodes": []}
    made["requests"]["degraded_per_s"] = {"queue_full": 2.0}
    made["constraints"][0] |= {"reachable": False, "spend": None}
    made["policy"]["stale"] = True
    made |= {"energy": None, "carbon": None, "savings": None, "mix": []}
    screen = Screen("http://127.0.0.1:8000", lambda: NOON_S)
    screen.hear(WindowEvent.model_validate(made))
    text = shown(screen)
    for part in ("no meter has told", "degraded: 2.00/s queue full", "out of reach", "? / 150 W", "stale: prices hold"):
        assert part in text


def test_the_screen_says_that_the_connection_is_lost_and_how_old_its_figures_are() -> None:
    now_s = [NOON_S]
    screen = Screen("http://127.0.0.1:8000", lambda: now_s[0])
    assert "waiting for the first window" in shown(screen)
    screen.hear(of())
    assert "s old" not in shown(screen)
    now_s[0] += 20
    screen.hear(Lost("reset by peer", 1.0))
    assert "no connection: reset by peer" in shown(screen)
    assert "figures are 20 s old" in " ".join(shown(screen).split())
    screen.hear(GoneEvent(detail="the controller is away"))
    assert "nobody can tell now: the controller is away" in " ".join(shown(screen).split())
    screen.hear(HistoryEvent(step_s=10, resumed=True, points=[]))
    screen.hear(of())
    assert "no connection" not in shown(screen)


def test_the_course_of_watts_is_of_steps_and_leaves_gaps_open() -> None:
    course = Course(5)
    assert str(course) == ""
    for time_s, value in ((0.0, 1.0), (9.0, 3.0), (10.0, 8.0), (31.0, 4.0), (32.0, None)):
        course.add(time_s, value)
    assert str(course) == "▂█ ▄"
    course.add(100.0, 8.0)
    assert str(course) == "    █", "what is long ago is left out"


def test_watts_of_nothing_are_drawn() -> None:
    course = Course(5)
    course.add(0.0, 0.0)
    assert str(course) == "▁"
