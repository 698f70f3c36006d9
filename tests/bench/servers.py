"""The servers that are compared, and how each one is started and stopped: as a user would start it."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from process_group import MARK, ProcessGroup

ROOT = Path(__file__).parents[2]
PEER = Path(__file__).parent / "peers" / "single_process.py"
START_S, STOP_S = 240.0, 120.0
ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Server:
    """One server to measure: `command` without port and cascade, and what its environment says besides."""

    name: str
    about: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    static: bool = True
    """Whether it runs the static chain, so that its answers must be those of the others."""


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    url: str
    group: ProcessGroup
    start_s: float


def _app(name: str, about: str, placement: str, static: bool = True, metered: bool = False, **settings: str) -> Server:
    command = (str(Path(sys.executable).with_name("greenflow")), "up", "--placement", placement)
    settings["allocator_enabled"] = str(not static).lower()
    settings["energy_enabled"] = str(metered).lower()
    # A closed loop of clients takes all there is, at which the limit of compute capacity would shorten chains, each
    # server's by another price: they are to do the same work.
    settings["limits_capacity_share"] = "0"
    environment = {f"GREENFLOW_{key.upper()}": value for key, value in settings.items()}
    return Server(name, about, command, environment, static)


# A request per call must not wait for another's: as many calls under way as there are clients.
SERVERS = (
    _app("inline", "app, all variants inside the ingress replica", "inline"),
    _app("own", "app, a deployment per variant", "own"),
    _app("file", "app, placement as cascade.yaml says", "file"),
    _app(
        "per-request",
        "app, a deployment per variant, a call per request and stage",
        "own",
        batch_max_rows="1",
        batch_wait_ms="0",
        batch_in_flight="64",
    ),
    _app("allocating", "as inline, with a chain chosen for every request, no limit set", "inline", static=False),
    _app("metered", "as allocating, with joules accounted for", "inline", static=False, metered=True),
    Server("peer", "one process: FastAPI, uvicorn, ONNX Runtime", (sys.executable, str(PEER)), ONE_THREAD),
)


@contextmanager
def running(server: Server, cascade: Path) -> Iterator[Running]:
    """Start the server on a free port, wait until it is healthy, and stop it: nothing of it is left afterwards.

    Raises RuntimeError with the end of its output when it does not come up.
    """
    _end_in_order()
    group = ProcessGroup(uuid.uuid4().hex)
    with tempfile.TemporaryDirectory(prefix="gfb-") as folder:
        log = Path(folder) / "log"
        port = _free_port()
        arguments = [*server.command, "--cascade", str(cascade), "--port", str(port)]
        if "up" in server.command:
            arguments += ["--state-dir", folder, "--dashboard-port", str(_free_port())]
        ledger = {"GREENFLOW_ENERGY_LEDGER": str(Path(folder) / "ledger.sqlite")}
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **ledger, **server.environment, MARK: group.name}
        began_s = time.perf_counter()
        with log.open("wb") as output:
            # A session of its own, so that Ctrl-C reaches the benchmark alone, which then stops the server in order.
            process = subprocess.Popen(
                arguments, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        url = f"http://127.0.0.1:{port}"
        try:
            _wait_until_healthy(process, url, log)
            yield Running(url, group, time.perf_counter() - began_s)
        finally:
            _stop(process, group, server.name)


def _end_in_order() -> None:
    """Let SIGTERM unwind as Ctrl-C does: a server has a session of its own, and would outlive the benchmark."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def _wait_until_healthy(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            raise RuntimeError(f"ended with status {process.returncode}:\n{_tail(log)}")
        try:
            with urlopen(f"{url}/v1/health", timeout=5) as response:
                if response.status == 200:
                    return
        except (URLError, OSError):
            pass
        time.sleep(0.3)
    raise RuntimeError(f"not healthy after {START_S:.0f} s:\n{_tail(log)}")


def _stop(process: "subprocess.Popen[bytes]", group: ProcessGroup, name: str) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            print(f"{name}: did not stop within {STOP_S:.0f} s", file=sys.stderr)
    deadline_s = time.monotonic() + 10
    while any(True for _ in group.members()) and time.monotonic() < deadline_s:
        time.sleep(0.2)
    if left := group.kill():
        print(f"{name}: left behind and ended here: {', '.join(left)}", file=sys.stderr)
    process.wait(10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _tail(log: Path, lines: int = 30) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
