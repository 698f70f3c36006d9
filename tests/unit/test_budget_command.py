"""`greenflow budget` as a command, against the real routes over a real book."""

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fastapi import FastAPI
from on_loopback import served

from allocator.limits import Kind, Limit
from cluster.cli import greenflow
from cluster.ledger.store import Ledger
from cluster.limit_desk import LocalLimitDesk
from cluster.limits.book import LimitBook
from cluster.limits.holdable import Holdable
from cluster.limits.routes import add_limits
from cluster.limits.tokens import tokens_of
from cluster.snapshot import Standing
from models.errors import FixFile, FixRequest, FixSetup, GreenFlowError, TryAgain

ANNA, BO = "sesame-sesame-1234", "another+token/9876="
VARIABLE = "GREENFLOW_ADMIN_TOKEN"
NOON_S = 1_764_072_000.0  # 2025-11-25T12:00Z
STANDS = Standing("power", "power", "W", 150.0, 151.5, 0.25, 150.0, 151.5, False)


@dataclass
class World:
    """A server, and what is behind it."""

    url: str
    book: LimitBook

    def run(self, *arguments: str | Path, token: str | None = f"anna:{ANNA}") -> Result:
        """The command, with the server's address."""
        return command(*arguments, "--url", self.url, token=token)


def command(*arguments: str | Path, token: str | None = ANNA) -> Result:
    return CliRunner().invoke(greenflow, ["budget", *map(str, arguments)], env={VARIABLE: token})


@pytest.fixture(scope="module")
def opened() -> Iterator[tuple[str, list[LimitBook]]]:
    """One server for all tests; the book that it asks is the list's last."""
    books = list[LimitBook]()
    app = FastAPI()

    class Newest:
        def __getattr__(self, name: str) -> Any:
            return getattr(LocalLimitDesk(books[-1], books[-1].limits, lambda: (STANDS,), lambda: NOON_S), name)

    add_limits(app, Newest(), tokens_of(f"anna:{ANNA},bo:{BO}"), 4096)
    for url in served(app):
        yield url, books


@pytest.fixture
def world(opened: tuple[str, list[LimitBook]]) -> World:
    url, books = opened
    books.append(LimitBook([Limit("power", Kind.POWER, 150.0, "W")], Ledger.open(None), Holdable(grams=False)))
    return World(url, books[-1])


def limits_of(world: World) -> list[str]:
    return [f"{one.name}: {one.limit:g} {one.unit}" for one in world.book.limits()]


@pytest.mark.parametrize(
    ("option", "text", "limit"),
    [
        ("--power", "150.5W", "x: 150.5 W"),
        ("--power", "1.5 kW", "x: 1500 W"),
        ("--power", "80", "x: 80 W"),
        ("--energy", "2.5kWh/day", "x: 2.5 kWh/day"),
        ("--energy", "500Wh/day", "x: 0.5 kWh/day"),
        ("--compute", "1.5", "x: 1.5 busy_s/s"),
        ("--flops", "2e9", "x: 2e+09 FLOP/s"),
        ("--flops", "2.5GFLOP/s", "x: 2.5e+09 FLOP/s"),
        ("--flops", ".5MFLOP/s", "x: 500000 FLOP/s"),
    ],
)
def test_a_limit_is_set_as_people_type_it(world: World, option: str, text: str, limit: str) -> None:
    result = world.run("set", "x", option, text)
    assert result.exit_code == 0, (result.output, result.exception)
    assert limits_of(world) == ["power: 150 W", limit]
    assert limit.removeprefix("x: ") in result.stdout


def test_one_is_replaced_and_removed_in_the_name_of_the_token(world: World) -> None:
    assert world.run("set", "power", "--power", "90W").exit_code == 0
    assert limits_of(world) == ["power: 90 W"]
    assert world.run("clear", "power", token=f"bo:{BO},anna:{ANNA}").exit_code == 0
    assert limits_of(world) == []
    told = [(change.author, change.before, change.after) for change in world.book.changes(9)]
    first, now = Limit("power", Kind.POWER, 150.0, "W"), Limit("power", Kind.POWER, 90.0, "W")
    assert told == [("bo", now, None), ("anna", first, now)]


def test_the_token_may_lie_in_a_file(world: World, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{BO}\n")
    result = world.run("set", "x", "--flops", "1", "--token-file", tmp_path / "token", token="wrong-wrong-wrong-wrong")
    assert result.exit_code == 0, result.exception
    assert world.book.changes(1)[0].author == "bo"


def test_a_limit_that_cannot_be_reached_is_told_so(world: World) -> None:
    result = world.run("set", "power", "--power", "150W")
    assert result.exit_code == 0
    assert "cannot be reached" in result.stderr


def test_limits_and_changes_are_shown_to_people(world: World) -> None:
    world.run("set", "x", "--flops", "2e9")
    result = world.run("show", token=None)
    assert result.exit_code == 0, result.exception
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in result.stdout.splitlines() if "│" in line]
    assert rows == [
        ["power", "power", "150", "W", "151.5", "0.25", "no"],
        ["x", "flops", "2e+09", "FLOP/s", "?", "?", "?"],
    ]
    assert "2025-11-25 12:00:00Z  anna  x: 2e+09 FLOP/s instead of no limit" in result.stdout


def test_limits_and_changes_are_shown_as_one_json_object(world: World) -> None:
    for number in (1, 2, 3):
        world.run("set", "x", "--flops", f"{number}")
    told = json.loads(world.run("show", "--json", "--last", "2").stdout)
    assert [one["name"] for one in told["constraints"]] == ["power", "x"]
    known = {"name": "power", "kind": "power", "limit": 150.0, "unit": "W", "spend": 151.5, "price": 0.25}
    assert told["constraints"][0] == {**known, "reachable": False}
    assert [one["after"]["limit"] for one in told["changes"]] == [3.0, 2.0]
    assert told["changes"][0] == {
        "at_s": NOON_S,
        "author": "anna",
        "name": "x",
        "before": {"kind": "flops", "limit": 2.0, "unit": "FLOP/s"},
        "after": {"kind": "flops", "limit": 3.0, "unit": "FLOP/s"},
    }


def test_that_nothing_is_limited_is_said(world: World) -> None:
    world.run("clear", "power")
    result = world.run("show", "--last", "0")
    assert "Nothing is limited" in result.stdout
    assert "instead of" not in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("set", "x"),
        ("set", "x", "--power", "150W", "--flops", "1"),
        ("set", "x", "--power", "150 g/h"),
        ("set", "x", "--power", "many"),
        ("set", "x", "--power", "-3W"),
        ("set", "x", "--power", "nanW"),
        ("set", "x", "--power", "150mW"),
        ("set", "x", "--carbon", "40"),
        ("set", "--power", "150W"),
        ("clear",),
        ("show", "--last", "-1"),
    ],
)
def test_what_was_typed_wrongly_is_refused_before_anybody_is_asked(world: World, arguments: tuple[str, ...]) -> None:
    result = world.run(*arguments)
    assert result.exit_code == 2
    assert "Error:" in result.stderr
    assert limits_of(world) == ["power: 150 W"]


def test_a_wrong_unit_is_answered_with_the_right_ones(world: World) -> None:
    result = world.run("set", "x", "--carbon", "40")
    assert "g/h or g/day or kg/h or kg/day or t/day, as in 40g/h" in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "token", "error", "said"),
    [
        (("set", "x", "--power", "1W"), None, FixSetup, "set GREENFLOW_ADMIN_TOKEN, or name a file by --token-file"),
        (("clear", "power"), "", FixSetup, "set GREENFLOW_ADMIN_TOKEN"),
        (("clear", "power"), "no-no-no-no-no-no-no", FixSetup, "refuses the token: .*none of this server's"),
        (("clear", "power"), "short", FixSetup, "GREENFLOW_ADMIN_TOKEN: the token must have"),
        (("clear", "y"), ANNA, FixSetup, "no limit of this name; there are: power"),
        (("set", "X", "--power", "1W"), ANNA, FixRequest, "^name: 'X' must begin with a small letter"),
        (("set", "x", "--power", "1e30W"), ANNA, FixRequest, "^limit: must not be above"),
        (("set", "x", "--carbon", "1g/h"), ANNA, FixRequest, "^kind: carbon cannot be limited: nobody tells the grid"),
    ],
)
def test_what_is_refused_says_why(
    world: World, arguments: tuple[str, ...], token: str | None, error: type[GreenFlowError], said: str
) -> None:
    result = world.run(*arguments, token=token)
    assert type(result.exception) is error, result.output
    with pytest.raises(error, match=said):
        raise result.exception
    assert limits_of(world) == ["power: 150 W"]
    assert token is None or not token or token not in str(result.exception)


def test_a_token_file_that_holds_none_is_named(world: World, tmp_path: Path) -> None:
    for content in (None, "", "too short"):
        file = tmp_path / "token"
        if content is not None:
            file.write_text(content)
        result = world.run("clear", "power", "--token-file", file, token=ANNA)
        assert isinstance(result.exception, FixFile), content
        assert str(result.exception).startswith(str(file))


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8000", "ftp://127.0.0.1", "http://", "http://a b", "http://a:b", "http://u:p@host", ""]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    result = command("show", "--url", url)
    assert isinstance(result.exception, FixRequest)
    assert "url: " in str(result.exception)


def test_a_server_that_is_away_is_told_with_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for arguments in (("show",), ("clear", "x"), ("set", "x", "--flops", "1")):
        result = command(*arguments, "--url", f"http://127.0.0.1:{port}")
        assert isinstance(result.exception, FixSetup)
        assert "start one with `greenflow up`" in str(result.exception)


@pytest.fixture
def answering() -> Iterator[tuple[str, list[tuple[int, bytes]]]]:
    """A server that gives the list's first answer to everything; nothing at all for status 0."""
    answers = list[tuple[int, bytes]]()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers[0]
            if status:
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        do_DELETE = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", answers
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "body", "error", "said"),
    [
        (503, b'{"detail": "the disk is full"}', TryAgain, "the disk is full"),
        (403, b'{"detail": "no admin token is configured"}', FixSetup, "no admin token is configured"),
        (404, b'{"detail": "there is no allocator"}', FixSetup, "there is no allocator"),
        (404, b'{"detail": "Not Found"}', FixSetup, "another server, or an older version"),
        (404, b"<html>", FixSetup, "another server"),
        (502, b"", FixSetup, "HTTP 502"),
        (500, b"[1]", FixSetup, "HTTP 500"),
        (0, b"", FixSetup, "no server at"),
    ],
)
def test_other_answers_are_told_apart(
    answering: tuple[str, list[tuple[int, bytes]]], status: int, body: bytes, error: type[GreenFlowError], said: str
) -> None:
    url, answers = answering
    answers.append((status, body))
    for arguments in (("show",), ("clear", "x")):
        result = command(*arguments, "--url", url)
        assert type(result.exception) is error, result.exception
        assert said in str(result.exception)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b'{"constraints": [{"name": "x"}]}'])
def test_a_good_answer_of_another_server_is_not_taken(
    answering: tuple[str, list[tuple[int, bytes]]], body: bytes
) -> None:
    url, answers = answering
    answers.append((200, body))
    result = command("show", "--url", url)
    assert isinstance(result.exception, FixSetup)
    assert "another server" in str(result.exception)


def test_the_token_is_sent_to_no_proxy(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    assert world.run("set", "x", "--flops", "1").exit_code == 0


def test_help_teaches_with_examples() -> None:
    assert "greenflow budget set day --energy 2.5kWh/day" in command("--help").output
    told = command("set", "--help").output
    assert "--carbon 40g/h" in told
    assert "carbon-hour" in told
