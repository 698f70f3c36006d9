"""`greenflow load` as a command."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from click.testing import CliRunner
from load_server import NOWHERE, Handler, Turns, good, serving

from cluster.commands.load import load
from cluster.traffic.bodies import user_ids
from cluster.traffic.report import LoadReport
from models.errors import FixFile, FixSetup


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
