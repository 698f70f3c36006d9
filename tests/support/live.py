"""A launched application for end-to-end tests: one per module, on free ports, gone at the module's end."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from cluster.config import Settings
from cluster.experiment_settings import ExperimentSettings
from cluster.launching import serve_env
from cluster.launching.instances import Registry
from cluster.launching.launch import LaunchOptions, Running, launched
from cluster.launching.serve_env import Variable

SOON = (Variable("RAY_metrics_report_interval_ms", "1000", "tests wait for what metrics say"),)


def free_port() -> int:
    """A port that nothing listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def live(settings: Settings, state: Path) -> Iterator[Running]:
    """The application of these settings, started in this process. Its metrics are a second old, rather than ten.

    Nobody is held back where the settings do not say how many: which users would be is drawn anew for each application.
    """
    if "experiment" not in settings.model_fields_set:
        settings = settings.model_copy(update={"experiment": ExperimentSettings(holdback=0.0)})
    serve_env.prepare()
    from cluster.app import build

    options = LaunchOptions(port=free_port(), dashboard_port=None, cpus=4, cascade=str(settings.cascade))
    with serve_env.applied(SOON), launched(lambda: build(settings), options, Registry(state)) as running:
        yield running


def replicas_of(running: Running, deployment: str) -> list[psutil.Process]:
    """The processes of a deployment's replicas."""
    title = f"ray::ServeReplica:{running.instance.app}:{deployment}"
    found = []
    for process in psutil.process_iter():
        try:
            ours = process.environ().get(serve_env.MARKER) == running.instance.name
            if ours and title in " ".join(process.cmdline()):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def kill(process: psutil.Process) -> None:
    """As the kernel's out-of-memory killer would."""
    os.kill(process.pid, signal.SIGKILL)


@contextmanager
def suspended(process: psutil.Process) -> Iterator[None]:
    """It does nothing meanwhile, and nobody is told: as on a machine that is held up."""
    os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process.pid, signal.SIGCONT)
