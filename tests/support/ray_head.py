"""A small Ray cluster that somebody else started: one node, ports of its own on loopback, gone afterwards."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from live import free_port

from cluster.launching import ray_local

START_S, STOP_S = 60.0, 20.0
STARTED = "Ray runtime started"


@contextmanager
def ray_head(cpus: int = 2) -> Iterator[str]:
    """Yields its address, as RAY_ADDRESS takes it."""
    folder, port = ray_local.make_folder(), free_port()
    log = folder / "start.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            _command(folder, port, cpus),
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"},
            start_new_session=True,
        )
    try:
        wait_started(process, log)
        yield f"127.0.0.1:{port}"
    finally:
        end_family(process)
        shutil.rmtree(folder, ignore_errors=True)


def _command(folder: Path, port: int, cpus: int) -> list[str]:
    ports = ("ray-client-server-port", "dashboard-agent-listen-port", "metrics-export-port")
    return [
        *(sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start", "--head", "--block"),
        *("--node-ip-address", "127.0.0.1", "--port", str(port), "--num-cpus", str(cpus)),
        *("--min-worker-port", "0", "--max-worker-port", "0", "--include-dashboard", "false"),
        *("--temp-dir", str(folder), "--object-store-memory", str(ray_local.OBJECT_STORE_BYTES)),
        *(part for name in ports for part in (f"--{name}", str(free_port()))),
        "--disable-usage-stats",
    ]


def wait_started(process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until the log says that the node is up."""
    ends_s = time.monotonic() + START_S
    while STARTED not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < ends_s, log.read_text()
        time.sleep(0.1)


def end_family(process: "subprocess.Popen[bytes]") -> None:
    """End it and all that it started, also what outlives it."""
    family = [process, *psutil.Process(process.pid).children(recursive=True)] if process.poll() is None else []
    if family:
        process.send_signal(signal.SIGTERM)
    _, alive = psutil.wait_procs([psutil.Process(p.pid) for p in family if psutil.pid_exists(p.pid)], timeout=STOP_S)
    for one in alive:
        one.kill()
    process.wait(STOP_S)
