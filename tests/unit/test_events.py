"""The log's vocabulary: every line that the cluster logs is one of its events, and README.md tells them all."""

import ast
import json
import logging
import re
from collections.abc import Iterator
from logging.handlers import MemoryHandler
from pathlib import Path

import pytest
from fake_time import FakeTime
from ray._common.formatters import JSONFormatter

import cluster
from cluster.events import Event, Seldom, happened
from cluster.serve_logs import OURS, SERVES, ToServe, is_news, logging_config, open_logs
from models.errors import FixRequest, TryAgain

CODE = Path(cluster.__file__).parent
README = CODE.parent / "README.md"
LEVELS = {"debug", "info", "warning", "error", "exception", "critical", "log"}


def calls(path: Path) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]


def test_every_line_above_debug_is_an_event() -> None:
    for path in CODE.rglob("*.py"):
        direct = [
            call.func.attr
            for call in calls(path)
            if isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "logger"
        ]
        assert set(direct) & (LEVELS - {"debug"}) == ({"log"} if path == CODE / "events.py" else set()), path


def test_every_event_is_told_somewhere() -> None:
    told = "".join(path.read_text() for path in CODE.rglob("*.py") if path.name != "events.py")
    assert [event.name for event in Event if f"Event.{event.name}" not in told] == []


def test_readme_tells_every_event_as_it_is() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*) \|$", README.read_text(), re.MULTILINE)
    assert rows == [(one.label, logging.getLevelName(one.level).lower(), one.means) for one in Event]


def test_names_are_unlike() -> None:
    assert len({event.label for event in Event}) == len(Event)


def test_what_is_let_through_seldom_says_how_many_were_not() -> None:
    clock = FakeTime()
    seldom = Seldom(clock, every_s=60.0)
    assert [seldom.passed() for _ in range(1000)] == [0, *[None] * 999]
    clock.now_s += 60
    assert seldom.passed() == 999


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[logging.Logger, Path]]:
    """Serve's logger as a replica in throughput mode has it: apart, and with a buffer of a thousand lines."""
    file = tmp_path / "replica.log"
    target = logging.FileHandler(file)
    serves = logging.getLogger(SERVES)
    before = serves.handlers, serves.propagate
    serves.handlers, serves.propagate = [MemoryHandler(1000, target=target)], False
    open_logs()
    open_logs()
    ours = logging.getLogger(OURS)
    yield serves, file
    for name in (OURS, ""):
        of_name = logging.getLogger(name)
        of_name.handlers = [one for one in of_name.handlers if not isinstance(one, ToServe)]
    ours.propagate = True
    ours.setLevel(logging.NOTSET)
    target.close()
    serves.handlers, serves.propagate = before
    serves.removeFilter(is_news)


def test_our_lines_reach_the_file_of_serve_at_once_and_once(served: tuple[logging.Logger, Path]) -> None:
    logger = logging.getLogger("cluster.limits.book")
    happened(logger, Event.LIMIT_SET, "limit %s: %s", "cap", "50 W")
    logger.debug("not this one")
    logging.getLogger("somebody.else").warning("theirs")
    logging.getLogger("somebody.else").info("not this one either")
    assert served[1].read_text().splitlines() == ["limit_set: limit cap: 50 W", "theirs"]


def test_as_json_the_event_is_a_key(served: tuple[logging.Logger, Path]) -> None:
    serves, file = served
    buffered = serves.handlers[0]
    assert isinstance(buffered, MemoryHandler)
    assert buffered.target is not None
    buffered.target.setFormatter(JSONFormatter())
    happened(logging.getLogger("cluster.meters"), Event.NODE_JOINED, "node %s is metered", "a1")
    told = json.loads(file.read_text())
    assert (told["event"], told["levelname"], told["message"]) == ("node_joined", "INFO", "node a1 is metered")


def test_what_serve_filters_out_is_left_out(served: tuple[logging.Logger, Path]) -> None:
    serves, file = served
    serves.handlers[0].addFilter(lambda record: "secret" not in record.getMessage())
    happened(logging.getLogger("cluster.x"), Event.NOT_KNOWN, "a secret")
    assert file.read_text() == ""


def test_refusals_of_calls_between_replicas_are_no_news(served: tuple[logging.Logger, Path]) -> None:
    serves, file = served
    for error in (TryAgain("too early"), FixRequest("limit", "must be above 0"), ValueError("nobody foresaw this")):
        try:
            raise error
        except Exception:
            serves.exception("Request failed.")
    serves.handlers[0].flush()
    assert file.read_text().count("Request failed.") == 1
    assert "nobody foresaw this" in file.read_text()


@pytest.mark.parametrize(("form", "encoding"), [("text", "TEXT"), ("json", "JSON")])
def test_no_request_makes_a_line_of_serves(form: str, encoding: str) -> None:
    config = logging_config(form)
    assert (config.encoding, config.enable_access_log, config.log_level) == (encoding, False, "WARNING")
