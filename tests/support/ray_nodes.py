"""A second Ray node beside a head of `ray_head`, which joins and leaves when a test says so."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from live import free_port
from ray_head import STARTED, end_family, wait_started

from cluster.launching import ray_local


@dataclass
class RayNode:
    """A node of this machine that is part of a cluster."""

    process: "subprocess.Popen[bytes]"

    def crash(self) -> None:
        """As when the machine is switched off: nothing of it gets to say goodbye."""
        for one in [psutil.Process(self.process.pid), *self.children()]:
            one.send_signal(signal.SIGKILL)
        self.process.wait()

    def children(self) -> list[psutil.Process]:
        """All that it started."""
        return list(psutil.Process(self.process.pid).children(recursive=True))


@contextmanager
def ray_node(address: str, folder: Path, cpus: int = 1) -> Iterator[RayNode]:
    """Yields it as soon as it is up; gone afterwards. Its log goes into `folder`."""
    log = folder / f"node-{free_port()}.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            _command(address, cpus),
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "PYTHONPATH": os.pathsep.join(sys.path)},
            start_new_session=True,
        )
    try:
        wait_started(process, log)
        yield RayNode(process)
    finally:
        end_family(process)


def _command(address: str, cpus: int) -> list[str]:
    return [sys.executable, __file__, address, str(cpus)]


def _run(address: str, cpus: int) -> None:
    """Be a node until SIGTERM. `ray start` refuses to let a second node be on loopback."""
    from ray._private.node import Node
    from ray._private.parameter import RayParams

    params = RayParams(
        gcs_address=address,
        redis_address=address,
        node_ip_address="127.0.0.1",
        num_cpus=cpus,
        num_gpus=0,
        min_worker_port=0,
        max_worker_port=0,
        node_manager_port=0,
        object_store_memory=ray_local.OBJECT_STORE_BYTES,
        dashboard_agent_listen_port=free_port(),
        metrics_export_port=free_port(),
        include_log_monitor=False,
    )
    Node(params, head=False, shutdown_at_exit=True, spawn_reaper=True)
    print(STARTED, flush=True)
    signal.pause()


if __name__ == "__main__":
    _run(sys.argv[1], int(sys.argv[2]))
