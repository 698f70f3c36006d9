"""Every environment variable that GreenFlow sets for Ray, with its reason. Nothing else writes the environment.

`MODE` is read when Ray is imported, here and in the workers, so it must be set first: `prepare` is called before the
first `import ray`. The rest is read by the processes that one `up` starts, and set only while it starts them, so that
several instances can run side by side.
"""

import os
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from models.errors import FixSetup

MARKER = "GREENFLOW_INSTANCE"


@dataclass(frozen=True)
class Variable:
    """An environment variable, its value, and why it is set."""

    name: str
    value: str
    why: str


MODE = (
    Variable(
        "RAY_SERVE_THROUGHPUT_OPTIMIZED",
        "1",
        "gRPC between replicas, user code on the replica's loop: 3 to 10 times the throughput",
    ),
    Variable("RAY_SERVE_ENABLE_HA_PROXY", "1", "HAProxy hands requests straight to the ingress replicas"),
    Variable("RAY_USAGE_STATS_ENABLED", "0", "nothing is sent to the outside"),
)
LOCAL_MODE = (
    Variable(
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0", "lets a node be 127.0.0.1, which keeps Ray's own ports on loopback"
    ),
)


@dataclass(frozen=True)
class LocalPorts:
    """Ports of one instance, besides those a user chooses."""

    metrics: int
    stats: int
    fallback_http: int
    fallback_grpc: int
    dashboard_metrics: int
    autoscaler_metrics: int
    direct_http: range
    direct_grpc: range


def instance_variables(name: str, folder: Path, haproxy: Path, ports: LocalPorts) -> tuple[Variable, ...]:
    """What the processes of one local instance are told."""
    return (*MODE, *LOCAL_MODE, *_core(name), *_haproxy(folder / "ha", haproxy), *_ports(ports), *_pace())


def _core(name: str) -> tuple[Variable, ...]:
    return (
        Variable(MARKER, name, "tells the processes of this instance from all others, orphans too"),
        Variable("RAY_worker_niceness", "0", "Ray's default of 15 starves replicas on a shared machine"),
        Variable("RAY_gcs_rpc_server_reconnect_timeout_s", "5", "workers without a cluster end soon"),
        Variable("RAY_prestart_worker_first_driver", "0", "a worker that no actor of ours can use, and that stays"),
    )


def _haproxy(folder: Path, binary: Path) -> tuple[Variable, ...]:
    own = "each instance has its own"
    return (
        Variable("RAY_SERVE_HAPROXY_BINARY_PATH", str(binary), "our wrapper: loopback, no orphans (haproxy_guard.py)"),
        Variable("RAY_SERVE_HAPROXY_CONFIG_FILE_LOC", str(folder / "haproxy.cfg"), own),
        Variable("RAY_SERVE_HAPROXY_SOCKET_PATH", str(folder / "admin.sock"), own),
        Variable("RAY_SERVE_HAPROXY_SERVER_STATE_BASE", str(folder), own),
        Variable("RAY_SERVE_HAPROXY_SERVER_STATE_FILE", str(folder / "server-state"), own),
        Variable("RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH", str(folder / "metrics.sock"), own),
    )


def _ports(ports: LocalPorts) -> tuple[Variable, ...]:
    own = "each instance has its own"
    return (
        Variable("RAY_SERVE_HAPROXY_METRICS_PORT", str(ports.metrics), own),
        Variable("RAY_SERVE_HAPROXY_STATS_PORT", str(ports.stats), own),
        Variable("RAY_SERVE_FALLBACK_PROXY_HTTP_PORT", str(ports.fallback_http), own),
        Variable("RAY_SERVE_FALLBACK_PROXY_GRPC_PORT", str(ports.fallback_grpc), own),
        Variable("DASHBOARD_METRIC_PORT", str(ports.dashboard_metrics), own),
        Variable("AUTOSCALER_METRIC_PORT", str(ports.autoscaler_metrics), own),
        Variable("RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT", str(ports.direct_http.start), own),
        Variable("RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT", str(ports.direct_http.stop), own),
        Variable("RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT", str(ports.direct_grpc.start), own),
        Variable("RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT", str(ports.direct_grpc.stop), own),
    )


def _pace() -> tuple[Variable, ...]:
    return (
        Variable(
            "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S",
            "1",
            "an ingress replica waits this long for HAProxy to leave it alone before it stops; HAProxy is on the same "
            "machine and is told within 0.2 s, so the default of 30 s only makes stopping slow",
        ),
        Variable(
            "RAY_SERVE_HAPROXY_METRICS_ENABLED",
            "0",
            "else HAProxy reports every request to a Python actor, at 0.1 ms of CPU; the ingress replicas count then",
        ),
        Variable(
            "RAY_SERVE_HAPROXY_RETRY_ON",
            "conn-failure empty-response",
            "a request whose ingress replica died before it answered is sent to another one; requests are idempotent",
        ),
        Variable("RAY_SERVE_HAPROXY_RETRIES", "2", "and a request that kills replicas does not go through all of them"),
        Variable(
            "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH",
            str(64 << 20),
            "a large micro-batch outgrows the default of 4 MB",
        ),
        Variable(
            "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS",
            "1000",
            "every replica, and every handle of one, sets Serve's metrics so often; Ray passes them on every 10 s, and "
            "at the default of 100 ms setting them is a fifth of what a replica takes at rest",
        ),
        Variable("RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S", "120", "the default is to wait for a replica without end"),
        Variable("RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S", "2", "an HAProxy that died is restarted within seconds"),
        Variable("RAY_SERVE_HAPROXY_NBTHREAD", str(min(4, os.cpu_count() or 1)), "no more threads than cores"),
    )


def python_path(root: Path, environment: Mapping[str, str] = os.environ) -> Variable:
    """The module path of the workers: `root` first, then what the user has set."""
    users = environment.get("PYTHONPATH")
    value = str(root) if not users else f"{root}{os.pathsep}{users}"
    return Variable("PYTHONPATH", value, "workers import worker_setup before they hear of the job's own path")


def prepare(
    local: bool = True,
    environment: MutableMapping[str, str] = os.environ,
    modules: Mapping[str, ModuleType] = sys.modules,
) -> None:
    """Set what Ray reads when it is imported. A variable that the user has set is left alone.

    `local` is whether a cluster is to be started here rather than joined. Raises FixSetup if Ray Serve was imported
    before, in another mode: then this process cannot be switched any more.
    """
    for variable in (*MODE, *(LOCAL_MODE if local else ())):
        environment.setdefault(variable.name, variable.value)
    _refuse_late_switch(environment, modules)


def _refuse_late_switch(environment: Mapping[str, str], modules: Mapping[str, ModuleType]) -> None:
    for module, constant, name in (
        ("ray.serve._private.constants", "RAY_SERVE_THROUGHPUT_OPTIMIZED", "RAY_SERVE_THROUGHPUT_OPTIMIZED"),
        ("ray.serve._private.constants", "RAY_SERVE_ENABLE_HA_PROXY", "RAY_SERVE_ENABLE_HA_PROXY"),
        ("ray._private.ray_constants", "ENABLE_RAY_CLUSTER", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"),
    ):
        imported, wanted = modules.get(module), environment.get(name)
        if (
            imported is not None
            and wanted is not None
            and getattr(imported, constant, wanted == "1") != (wanted == "1")
        ):
            raise FixSetup(f"Ray was imported before {name}={wanted} was set; call prepare() first")


@contextmanager
def applied(variables: tuple[Variable, ...], environment: MutableMapping[str, str] = os.environ) -> Iterator[None]:
    """Set the variables, and put back what was there at the end."""
    before = {v.name: environment.get(v.name) for v in variables}
    environment.update({v.name: v.value for v in variables})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                environment.pop(name, None)
            else:
                environment[name] = value
