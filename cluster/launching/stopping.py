"""Stops instances from another terminal, and clears up what hard kills left."""

import contextlib
import time

import psutil

from cluster.launching import instances, ports, teardown
from cluster.launching.instances import Instance, Registry
from models.errors import FixSetup

_POLL_S = 0.1


def stop(instance: Instance, registry: Registry, timeout_s: float = 60.0) -> None:
    """Ask the instance's `up` to stop, and return when all of it is gone: processes, port, file.

    After `timeout_s` it is killed. Raises FixSetup naming the pids that are still there after that.
    """
    owner = instance.process
    if owner is not None:
        with contextlib.suppress(psutil.Error):
            owner.terminate()
        instances.end([owner], timeout_s)
    clear(instance, registry)
    _wait_for_port(instance)


def clear(instance: Instance, registry: Registry, at_once: bool = False) -> None:
    """End every process of an instance whose `up` is gone, and forget it. Raises FixSetup if some would not go."""
    left = teardown.end_processes(instance.name, at_once=at_once)
    if left:
        raise FixSetup(f"processes of the instance on port {instance.port} would not stop: {left}")
    registry.forget(instance)


def _wait_for_port(instance: Instance, timeout_s: float = 5.0) -> None:
    if instance.joined:
        return
    deadline = time.monotonic() + timeout_s
    while not ports.is_free(instance.port, instance.host) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
