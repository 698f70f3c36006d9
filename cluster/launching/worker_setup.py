"""What each Ray worker of a cluster that `greenflow up` started does first (Ray's `worker_process_setup_hook`)."""

from collections.abc import Callable

from cluster.launching.haproxy_guard import LOOPBACK, die_with_parent


def prepare() -> None:
    """Keep the worker on loopback, and tie its life to its raylet's.

    Every replica opens a gRPC port for calls from other deployments, on all interfaces and without authentication; its
    messages are pickles, so whoever reaches the port can run code. Ray has no setting for its address. The server is
    opened through one helper, which this replaces before Serve's replica module imports it. Should a later Ray no
    longer have the helper, the end-to-end test that looks at the listening sockets says so.

    Without the second part a raylet that is killed hard leaves its workers behind for a minute, HAProxy's actor among
    them, and the ports stay taken.
    """
    die_with_parent()
    from ray._common import tls_utils

    bind: Callable[[object, str], object] = tls_utils.add_port_to_grpc_server

    def bind_to_loopback(server: object, address: str) -> object:
        return bind(server, address.replace("[::]:", f"{LOOPBACK}:", 1))

    tls_utils.add_port_to_grpc_server = bind_to_loopback
