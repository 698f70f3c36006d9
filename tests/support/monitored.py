"""`greenflow monitoring up` beside a test, and what its Prometheus answers."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from live import free_port

READY_S, END_S = 60.0, 30.0
NEEDS_PROMETHEUS = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="needs the program prometheus (apt-get install prometheus)"
)
WINDOW = "15s"


@dataclass(frozen=True)
class Monitoring:
    """It runs. `said` is what it has printed."""

    url: str
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def said(self) -> str:
        return self.log.read_text()

    def wait(self) -> None:
        """Return once it has started all that it starts."""
        until_s = time.monotonic() + READY_S
        while "Ctrl-C stops" not in self.said:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < until_s, self.said
            time.sleep(0.1)

    def asked(self, path: str, **parameters: str) -> Any:
        """What Prometheus' HTTP API answers."""
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=10)
        assert answer.status_code == 200, f"{parameters}: {answer.text}"
        return answer.json()["data"]

    def result(self, expr: str) -> list[Any]:
        """Of a query, as Grafana would ask it: its variables are filled in."""
        filled = expr.replace("$__rate_interval", WINDOW).replace("$SessionName", ".+")
        found: list[Any] = self.asked("query", query=filled)["result"]
        return found


@contextmanager
def monitoring(
    folder: Path, options: Sequence[str], ports: tuple[int, int] | None = None, **environment: str
) -> Iterator[Monitoring]:
    """Started with these options, asking every second; ended by Ctrl-C.

    ports  of Prometheus and Grafana; None for free ones
    """
    log, (prometheus, grafana) = folder / "monitoring.log", ports or (free_port(), free_port())
    ends = ("--prometheus-port", str(prometheus), "--grafana-port", str(grafana), "--scrape-s", "1")
    call = "from cluster.cli import main; main()"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", call, "monitoring", "up", *ends, *options],
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
        )
    running = Monitoring(f"http://127.0.0.1:{prometheus}", log, process)
    try:
        running.wait()
        yield running
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(END_S) == 0, running.said
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def listed(folder: Path, address: str) -> Path:
    """A list of nodes, as Ray's head keeps one, of this one."""
    file = folder / "nodes.json"
    file.write_text(json.dumps([{"labels": {"job": "ray"}, "targets": [address]}]))
    return file
