"""Serve on a connected Ray: start it, deploy the application, wait until it answers, remove it."""

import http.client
import time
import urllib.error
from collections.abc import Callable
from typing import TYPE_CHECKING

from cluster.direct import DIRECT
from models.errors import FixSetup

if TYPE_CHECKING:
    from ray.serve import Application
    from ray.serve.schema import ApplicationStatusOverview

HEALTH_PATH = "/v1/health"
_POLL_S = 0.2


def start_serve(host: str, port: int, logs: str) -> None:
    """Start Serve with its HTTP front end on host:port, its own log as `logs` says (text, json), and no access log."""
    import logging

    from ray import serve
    from ray.serve.schema import LoggingConfig

    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    serve.start(
        http_options={"host": host, "port": port},
        logging_config=LoggingConfig(enable_access_log=False, encoding=logs.upper()),
    )


def deploy(application: "Application", name: str) -> None:
    """Hand the application to Serve at route `/`, without waiting for it."""
    from ray import serve

    serve.run_many(
        [serve.RunTarget(application, name=name, route_prefix="/")],
        wait_for_ingress_deployment_creation=False,
        wait_for_applications_running=False,
    )


def wait_until_running(name: str, timeout_s: float, progress: Callable[[str], None], check: Callable[[], None]) -> None:
    """Wait until Serve calls the application running, telling how many deployments are healthy by then.

    `check` is called all along and may raise. Raises FixSetup with Serve's message when the deployment fails, and
    after `timeout_s` with what is still missing.
    """
    from ray import serve

    deadline = time.monotonic() + timeout_s
    while True:
        check()
        state = serve.status().applications.get(name)
        if state is not None:
            progress(describe(state))
            if state.status == "RUNNING":
                return
            if state.status in ("DEPLOY_FAILED", "UNHEALTHY"):
                raise FixSetup(f"the application did not start: {_reason(state)}")
        if time.monotonic() > deadline:
            missing = "it never got to Serve" if state is None else _reason(state)
            raise FixSetup(f"the application was not ready after {timeout_s:.0f} s: {missing}")
        time.sleep(_POLL_S)


def describe(state: "ApplicationStatusOverview") -> str:
    """One line on how far a deployment is."""
    waiting = [name for name, d in state.deployments.items() if d.status != "HEALTHY"]
    healthy = len(state.deployments) - len(waiting)
    ready = f"{healthy} of {len(state.deployments)} deployments ready"
    return f"{ready}, waiting for {', '.join(waiting[:3])}" if waiting else ready


def _reason(state: "ApplicationStatusOverview") -> str:
    """Serve's message, and that of each deployment that is not healthy; the last lines, where an error names itself."""
    parts = [state.message, *(f"{n}: {d.message}" for n, d in state.deployments.items() if d.status != "HEALTHY")]
    return "\n".join(text.strip()[-1500:] for text in parts if text.strip()) or str(state.status)


def wait_until_answering(url: str, timeout_s: float, check: Callable[[], None]) -> None:
    """Wait until the health check answers 200 over HTTP. Raises FixSetup after `timeout_s` with the last answer."""
    deadline = time.monotonic() + timeout_s
    while True:
        check()
        problem = health_problem(url)
        if problem is None:
            return
        if time.monotonic() > deadline:
            raise FixSetup(f"{url}{HEALTH_PATH} did not get healthy in {timeout_s:.0f} s: {problem}")
        time.sleep(_POLL_S)


def health_problem(url: str, timeout_s: float = 5.0) -> str | None:
    """What the health check says is wrong, None when it answers 200."""
    try:
        with DIRECT.open(url + HEALTH_PATH, timeout=timeout_s) as answer:
            answer.read()
        return None
    except urllib.error.HTTPError as error:
        with error:
            return f"HTTP {error.code}: {error.read(300).decode(errors='replace')}"
    except (OSError, http.client.HTTPException) as error:
        return f"no answer ({error})"


def remove(name: str, everything: bool) -> bool:
    """Remove the application with its meters, and Serve if `everything` is ours. Returns when the replicas are gone.

    Says whether there was something to remove.
    """
    from ray import serve

    from cluster.meters import stop_meters

    present = name in serve.status().applications
    if everything:
        serve.shutdown()  # type: ignore[no-untyped-call]
    elif present:
        serve.delete(name)
    stop_meters(name)
    return present
