"""`greenflow up` and its like as processes of their own, as a terminal starts them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cluster.launching import instances, ports
from cluster.launching.instances import Instance, Registry

START_S, STOP_S = 120, 60


@dataclass(frozen=True)
class Command:
    """The greenflow command, with a state folder and a cascade of its own."""

    state: Path
    cascade: Path

    def line(self, *arguments: str) -> list[str]:
        call = "from cluster.cli import main; main()"
        return [sys.executable, "-c", call, *arguments, "--state-dir", str(self.state)]

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.line(*arguments),
            capture_output=True,
            text=True,
            timeout=START_S,
            env={**os.environ, **environment},
            check=False,
        )

    def only(self) -> Instance:
        (instance,) = Registry(self.state).all()
        return instance


@dataclass(frozen=True)
class Up:
    """A `greenflow up` under way, in a process group of its own, as a terminal would give it."""

    process: subprocess.Popen[str]
    log: Path
    command: Command

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + START_S
        while text not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def ctrl_c(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)


Start = Callable[..., Up]


FEW = {"GREENFLOW_PLACEMENT": "inline", "GREENFLOW_INGRESS_REPLICAS": "1", "GREENFLOW_ENERGY_ENABLED": "false"}


def started(command: Command, log: Path, port: int, *options: str, **environment: str) -> Up:
    line = command.line("up", "--port", str(port), "--cascade", str(command.cascade), *options)
    settings = {"PYTHONUNBUFFERED": "1", "GREENFLOW_REPLICA_CPUS": "0.1", **environment}
    with log.open("w") as file:
        process = subprocess.Popen(
            line,
            stdout=file,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, **settings},
        )
    return Up(process, log, command)


def clear(command: Command) -> None:
    """End what a test that failed has left."""
    for instance in Registry(command.state).all():
        instances.end(instances.processes_of(instance.name), 0)


def assert_nothing_is_left(name: str, port: int, within_s: float = 0) -> None:
    deadline = time.monotonic() + within_s
    while instances.processes_of(name) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert instances.processes_of(name) == []
    assert ports.is_free(port)


def exited(up: Up, timeout_s: float = STOP_S) -> int:
    return up.process.wait(timeout_s)
