"""Somebody else's Ray: join it, see whether it serves already, ask its dashboard."""

import contextlib
import http.client
import json
import logging
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cluster.direct import DIRECT
from cluster.launching import serve_env, teardown
from models.errors import FixSetup

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Joined:
    """A joined cluster: its dashboard's URL, whether Serve ran there already, and then where it answers."""

    dashboard: str
    serves_already: bool
    url: str


def join(address: str, host: str, app: str) -> Joined:
    """Connect to the cluster at `address` ("auto", host:port of its GCS), to serve an application there.

    Raises FixSetup when it does not answer; when it has several nodes and `host` is loopback, since the front end on
    one node could then not reach the replicas on the others; and when what it serves already is in the way.
    """
    import ray

    context = _connect(address)
    dashboard = f"http://{context.dashboard_url}" if context.dashboard_url else ""
    if _serves():
        return Joined(dashboard, serves_already=True, url=_front_end(address, dashboard, app))
    nodes = len([node for node in ray.nodes() if node["Alive"]])  # type: ignore[no-untyped-call]
    if nodes > 1 and host in _LOOPBACK:
        raise FixSetup(
            f"the cluster at {address} has {nodes} nodes: give --host 0.0.0.0, so that they reach each other"
        )
    return Joined(dashboard, serves_already=False, url="")


@contextlib.contextmanager
def connected(address: str) -> Iterator[None]:
    """Connected to the cluster for the time of the `with` block. Raises FixSetup when it does not answer."""
    import ray

    _connect(address)
    try:
        yield
    finally:
        ray.shutdown()


def dashboard_of(address: str) -> str:
    """The URL of the dashboard of the cluster at `address`, "" without one. Raises FixSetup when it does not answer."""
    import ray

    context = _connect(address)
    try:
        return f"http://{context.dashboard_url}" if context.dashboard_url else ""
    finally:
        ray.shutdown()


def _connect(address: str) -> Any:
    import ray

    if address.startswith("ray://"):
        raise FixSetup(
            f"RAY_ADDRESS={address}: Ray Client is not supported; give the cluster's own address (host:6379)"
        )
    from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available

    for noisy in ("ray", "ray.serve", maybe_enable_token_auth_if_token_available.__module__):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    try:
        with teardown.our_sigterm():
            return ray.init(
                address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env={"env_vars": {v.name: v.value for v in serve_env.MODE}},
            )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise FixSetup(f"no Ray cluster answers at RAY_ADDRESS={address}: {str(error).splitlines()[0]}") from None


def _serves() -> bool:
    """Whether Serve runs in this cluster, be it without an application or a front end."""
    import ray
    from ray.serve._private.constants import SERVE_CONTROLLER_NAME, SERVE_NAMESPACE

    try:
        ray.get_actor(SERVE_CONTROLLER_NAME, namespace=SERVE_NAMESPACE)
        return True
    except ValueError:
        return False


def _front_end(address: str, dashboard: str, app: str) -> str:
    """Where the Serve that runs answers. Raises FixSetup when it has no front end, or serves that application."""
    from ray import serve

    status = serve.status()
    if app in status.applications:
        raise FixSetup(
            f"the cluster at {address} serves an application {app!r} already; stop it first: `greenflow down` where "
            f"`greenflow up` runs, else serve.delete({app!r}) or `serve shutdown`"
        )
    if not status.proxies:
        raise FixSetup(f"Serve runs in the cluster at {address} without an HTTP front end (proxy_location: Disabled)")
    options = (details(dashboard) or {}).get("http_options") or {}
    host = options.get("host") or "127.0.0.1"
    return f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{options.get('port', 8000)}"


def details(dashboard: str, timeout_s: float = 5.0) -> dict[str, Any] | None:
    """What Ray's dashboard says of Serve (GET /api/serve/applications/); None when it does not answer.

    Sends the user's token of Ray's token authentication, if there is one: a process that has not connected to Ray does
    not know whether it is asked for.
    """
    if not dashboard:
        return None
    request = urllib.request.Request(f"{dashboard}/api/serve/applications/", headers=token())
    try:
        with DIRECT.open(request, timeout=timeout_s) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except (OSError, ValueError, http.client.HTTPException):
        return None


def token() -> dict[str, str]:
    """The header with the user's token, empty without one."""
    from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]

    try:
        found: dict[str, str] = AuthenticationTokenLoader.instance().get_token_for_http_header(ignore_auth_mode=True)
        return found
    except Exception:  # an unreadable token file: the dashboard then answers without or refuses
        return {}


def failure() -> str | None:
    """What is wrong with the cluster that this process joined, None while it answers."""
    import ray

    try:
        ray.nodes()  # type: ignore[no-untyped-call]
        return None
    except Exception as error:  # whatever Ray's client raises: the cluster is not usable
        return f"the joined Ray cluster does not answer: {error}"
