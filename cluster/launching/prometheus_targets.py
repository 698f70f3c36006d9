"""Where Prometheus hears which nodes a running cluster has."""

import time
from collections.abc import Callable
from pathlib import Path

from cluster.launching import ray_joined
from cluster.launching.instances import Instance, Registry
from cluster.monitoring.scraping import Targets
from models.errors import FixSetup

FILE = Path("session_latest/prom_metrics_service_discovery.json")
LIST = "/api/prometheus/sd"
_APPEARS_S = 15.0
"""Ray writes the list within seconds of its start."""


def given(where: str) -> Targets:
    """As somebody has named it: a URL or a file. Raises FixSetup for a file that is not there."""
    if where.startswith(("http://", "https://")):
        return Targets(url=where)
    if not Path(where).is_file():
        raise FixSetup(f"--service-discovery {where}: there is no such file")
    return Targets(file=Path(where).absolute())


def of_running(
    registry: Registry, port: int | None, address: str | None, sleep: Callable[[float], None] = time.sleep
) -> Targets:
    """Of the instance that runs here, or of the cluster at `address`. Raises FixSetup where there is none, or several.

    port  of the instance, where several run
    """
    found = [one for one in registry.alive() if port in (None, one.port)]
    if len(found) > 1:
        known = ", ".join(str(one.port) for one in found)
        raise FixSetup(f"several instances run, on the ports {known}: name one with --port")
    if found:
        return _of(found[0], sleep)
    if address is not None and port is None:
        return _of_dashboard(ray_joined.dashboard_of(address))
    where = "" if port is None else f" on port {port}"
    raise FixSetup(f"no `greenflow up` runs{where}: start one first, or name a list of nodes with --service-discovery")


def _of(instance: Instance, sleep: Callable[[float], None]) -> Targets:
    if instance.joined:
        return _of_dashboard(instance.dashboard)
    if not instance.dashboard and instance.state == "running":
        raise FixSetup(
            f"the instance on port {instance.port} runs without Ray's dashboard, which lists the nodes for Prometheus: "
            "start it without --no-dashboard, or name a list of nodes with --service-discovery"
        )
    file = Path(instance.folder) / FILE
    for _ in range(round(_APPEARS_S / 0.5)):
        if file.is_file():
            return Targets(file=file)
        sleep(0.5)
    raise FixSetup(f"{file}: Ray has not listed its nodes yet; try again when `greenflow up` says that it serves")


def _of_dashboard(dashboard: str) -> Targets:
    if not dashboard:
        raise FixSetup(
            "the Ray cluster runs without its dashboard, which lists the nodes for Prometheus: "
            "name a list of nodes with --service-discovery"
        )
    return Targets(url=dashboard + LIST)
