"""`greenflow monitoring up`: Prometheus and Grafana beside a running server."""

import contextlib
import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

import click

from cluster.config import ray_address, ray_grafana_folder
from cluster.launching import ports, prometheus_targets, ray_joined, serve_env
from cluster.launching.instances import Registry, default_root
from cluster.launching.ray_dashboards import CORE, ray_dashboards
from cluster.monitoring.children import Child
from cluster.monitoring.grafana import UID
from cluster.monitoring.provisioning import DASHBOARDS, SOURCE_NAME
from cluster.monitoring.scraping import Targets
from cluster.monitoring.stand import Stand, binary_of, keep_row, start_grafana, start_prometheus, write_dashboards
from models.errors import FixSetup

PROMETHEUS_PORT, GRAFANA_PORT = 9090, 3000
"""Where Ray's dashboard looks for them unless it is told otherwise."""
_WATCH_S = 0.5
NO_PROMETHEUS = (
    "Prometheus is not installed (no `prometheus` on the path): apt-get install prometheus, or "
    "https://prometheus.io/download; then run this again"
)
NO_GRAFANA = (
    "Grafana is not installed (no `grafana-server` or `grafana` on the path): "
    "https://grafana.com/grafana/download; then run this again"
)


@click.command("up", context_settings={"show_default": True})
@click.option("--port", type=click.IntRange(1, 65535), show_default="the only one", help="Of the instance to watch.")
@click.option(
    "--service-discovery", "where", metavar="FILE|URL", show_default="Ray's own", help="List of nodes to scrape."
)
@click.option("--host", default="127.0.0.1", help="Address that Prometheus and Grafana listen on.")
@click.option("--prometheus-port", type=click.IntRange(1, 65535), default=PROMETHEUS_PORT, help="Or the next free one.")
@click.option("--grafana-port", type=click.IntRange(1, 65535), default=GRAFANA_PORT, help="Or the next free one.")
@click.option("--scrape-s", type=click.IntRange(1, 300), default=10, help="Between two looks at the metrics.")
@click.option("--keep", default="15d", help="How long Prometheus keeps what it saw.")
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=default_root,
    show_default="~/.local/state/greenflow/<host>",
    help="Folder where running instances are noted, and where the data go.",
)
def up(
    port: int | None,
    where: str | None,
    host: str,
    prometheus_port: int,
    grafana_port: int,
    scrape_s: int,
    keep: str,
    state_dir: Path,
) -> None:
    """Run Prometheus, and Grafana where it is installed, over a running server, until Ctrl-C.

    Prometheus scrapes every Ray node by Ray's own list, with GreenFlow's rules and alerts. Grafana gets a dashboard of
    GreenFlow, and its most important panels at the end of Ray's Core dashboard, which Ray's dashboard shows.

    \b
    Examples:
      greenflow monitoring up
      greenflow monitoring up --prometheus-port 9190 --keep 90d
      greenflow monitoring up --service-discovery http://127.0.0.1:8265/api/prometheus/sd    on a cluster's head
    """
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)  # a shell starts background jobs deaf to it
    children: list[Child] = []
    try:
        targets = _targets(where, port, state_dir)
        stand = _stand(state_dir / "monitoring", host, scrape_s, keep)
        write_dashboards(stand.dashboards, ray_dashboards(), CORE, keep=ray_grafana_folder() is not None)
        _start(children, stand, targets, prometheus_port, grafana_port)
        _tell(children, stand)
        _watch(children, stand.dashboards / CORE)
    except KeyboardInterrupt:
        click.echo("stopped")
    finally:
        for child in reversed(children):
            child.stop()


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _targets(where: str | None, port: int | None, state_dir: Path) -> Targets:
    if where is not None:
        found = prometheus_targets.given(where)
    else:
        serve_env.prepare(local=False)
        found = prometheus_targets.of_running(Registry(state_dir), port, ray_address())
    return with_token(found, ray_joined.token(), state_dir / "monitoring")


def with_token(targets: Targets, header: Mapping[str, str], folder: Path) -> Targets:
    """Ray's dashboard, and nobody else, is shown the user's token, which Prometheus reads from a file of this user's.

    header  with which the token is sent; empty where there is none
    """
    bearer = header.get("authorization", "").removeprefix("Bearer ")
    if not bearer or not targets.url.endswith(prometheus_targets.LIST):
        return targets
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = folder / "ray_token"
    with contextlib.suppress(FileNotFoundError):
        file.unlink()
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as written:
        written.write(bearer)
    return Targets(url=targets.url, token_file=file)


def _stand(folder: Path, host: str, scrape_s: int, keep: str) -> Stand:
    dashboards = ray_grafana_folder() or folder / "grafana" / DASHBOARDS
    return Stand(folder.absolute(), dashboards.absolute(), host, scrape_s, keep)


def _start(children: list[Child], stand: Stand, targets: Targets, prometheus_port: int, grafana_port: int) -> None:
    """Start what is installed, and say what is not. Raises FixSetup when nothing is."""
    prometheus, grafana = binary_of("prometheus"), binary_of("grafana-server", "grafana")
    if prometheus is not None:
        children.append(start_prometheus(stand, prometheus, targets, ports.first_free(prometheus_port)))
        click.echo(f"Prometheus answers at {children[-1].url} and scrapes what {targets} lists")
    else:
        click.echo(NO_PROMETHEUS, err=True)
    if grafana is not None:
        source = children[0].url if children else stand.url(prometheus_port)
        children.append(start_grafana(stand, grafana, source, ports.first_free(grafana_port)))
        click.echo(f"Grafana answers at {children[-1].url}/d/{UID}")
    else:
        click.echo(NO_GRAFANA, err=True)
    if not children:
        raise FixSetup("neither Prometheus nor Grafana is installed, so nothing was started")


def _tell(children: Sequence[Child], stand: Stand) -> None:
    """Say with which settings Ray's dashboard shows the panels."""
    urls = {child.name: child.url for child in children}
    usual = stand.url(PROMETHEUS_PORT), stand.url(GRAFANA_PORT)
    prometheus, grafana = urls.get("Prometheus", usual[0]), urls.get("Grafana", usual[1])
    if "Grafana" not in urls:
        click.echo(
            "Ray's dashboard shows panels (Metrics, Core) once a Grafana runs. `greenflow up` tells it where, by:"
        )
    elif (prometheus, grafana) == usual:
        click.echo(
            "Ray's dashboard shows the panels by itself (Metrics, Core). The same as settings of `greenflow up`:"
        )
    else:
        click.echo("Ray's dashboard shows the panels (Metrics, Core) where `greenflow up` was started with:")
    for name, value in ray_settings(prometheus, grafana, stand.dashboards).items():
        click.echo(f"  {name}={value}")
    click.echo("watching; Ctrl-C stops")


def ray_settings(prometheus_url: str, grafana_url: str, dashboards: Path) -> dict[str, str]:
    """Variables that Ray's dashboard reads when it starts; the last makes it write its own dashboards there, too."""
    return {
        "RAY_PROMETHEUS_HOST": prometheus_url,
        "RAY_PROMETHEUS_NAME": SOURCE_NAME,
        "RAY_GRAFANA_HOST": grafana_url,
        "RAY_GRAFANA_IFRAME_HOST": grafana_url,
        "RAY_METRICS_GRAFANA_DASHBOARD_OUTPUT_DIR": str(dashboards),
    }


def _watch(children: Sequence[Child], core: Path) -> None:
    """For ever; what Ray writes anew gets our row again. Raises FixSetup when a program has ended."""
    seen = 0
    while True:
        for child in children:
            if (failure := child.failure()) is not None:
                raise FixSetup(failure)
        if (written := _written(core)) != seen:
            keep_row(core)
            seen = written
        time.sleep(_WATCH_S)


def _written(file: Path) -> int:
    """When it was, in nanoseconds; 0 where it is not there."""
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
