"""Prometheus and Grafana beside a running cluster: their files in a folder, and how each is started."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster.monitoring.children import Child, started, wait_until_ready
from cluster.monitoring.files import DASHBOARD_FILE, write
from cluster.monitoring.grafana import our_dashboard, text_of, with_our_row
from cluster.monitoring.provisioning import (
    INI_FILE,
    PROVIDERS_FILE,
    PROVISIONING,
    SOURCES_FILE,
    grafana_ini,
    providers_yaml,
    sources_yaml,
)
from cluster.monitoring.rules import rules_yaml
from cluster.monitoring.scraping import CONFIG_FILE, RULES_FILE, Targets, prometheus_yaml

READY_S = 60.0
_HOMES = ("/usr/share/grafana", "/opt/grafana", "/usr/local/share/grafana")
"""Where packages of Grafana put what its program needs besides itself."""


@dataclass(frozen=True, slots=True)
class Stand:
    """Where things are.

    folder      of all files, and of Prometheus' data
    dashboards  the folder that Grafana shows
    host        the address that both listen on
    scrape_s    between two looks at the metrics
    keep        how long Prometheus keeps what it saw, as Prometheus writes times
    """

    folder: Path
    dashboards: Path
    host: str = "127.0.0.1"
    scrape_s: float = 10.0
    keep: str = "15d"

    def url(self, port: int) -> str:
        """Of a port of ours, for people and programs on this machine."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def listens(self, port: int) -> str:
        """The address to listen on."""
        return f"[{self.host}]:{port}" if ":" in self.host else f"{self.host}:{port}"


def start_prometheus(stand: Stand, binary: str, targets: Targets, port: int) -> Child:
    """Prometheus over these targets with our rules; it answers when this returns. Raises FixSetup otherwise."""
    folder = stand.folder / "prometheus"
    write({CONFIG_FILE: prometheus_yaml(targets, stand.scrape_s), RULES_FILE: rules_yaml()}, folder)
    command = [
        binary,
        f"--config.file={folder / CONFIG_FILE}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--storage.tsdb.retention.time={stand.keep}",
        f"--web.listen-address={stand.listens(port)}",
    ]
    child = started("Prometheus", command, stand.url(port), folder / "prometheus.log")
    wait_until_ready(child, "/-/ready", READY_S)
    return child


def start_grafana(stand: Stand, binary: str, prometheus_url: str, port: int) -> Child:
    """Grafana with the dashboards; it answers when this returns. Raises FixSetup otherwise."""
    folder = stand.folder / "grafana"
    ini = folder / INI_FILE
    files = {
        INI_FILE: grafana_ini(stand.host, port, folder / "data", folder / PROVISIONING),
        SOURCES_FILE: sources_yaml(prometheus_url, stand.scrape_s),
        PROVIDERS_FILE: providers_yaml(stand.dashboards),
    }
    write(files, folder)
    server = [] if Path(binary).name == "grafana-server" else ["server"]
    home = _home(Path(binary))
    command = [binary, *server, f"--config={ini}", *([] if home is None else [f"--homepath={home}"])]
    child = started("Grafana", command, stand.url(port), folder / "grafana.log")
    wait_until_ready(child, "/api/health", READY_S)
    return child


def _home(binary: Path) -> Path | None:
    """The folder with Grafana's defaults; None leaves it to Grafana."""
    places = (binary.resolve().parent.parent, *map(Path, _HOMES))
    return next((place for place in places if (place / "conf" / "defaults.ini").is_file()), None)


def write_dashboards(folder: Path, rays: Mapping[str, str], core: str, keep: bool) -> None:
    """Ray's dashboards and ours in the folder that Grafana shows.

    core  the file of Ray's Core dashboard, which gets our row
    keep  whether those of Ray's that are there stay as they are: a running Ray has written them
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in rays.items():
        if not (keep and (folder / name).exists()):
            _replace(folder / name, text)
    _replace(folder / DASHBOARD_FILE, text_of(our_dashboard()))
    keep_row(folder / core)


def keep_row(core: Path) -> bool:
    """Put our row into Ray's Core dashboard where it lacks it, for Ray writes the file anew when it starts; whether it
    did. A file that is missing, or half written, is left for the next time."""
    try:
        before = core.read_text(encoding="utf-8")
        after = text_of(with_our_row(json.loads(before)))
    except (FileNotFoundError, ValueError, KeyError):
        return False
    if after == before:
        return False
    _replace(core, after)
    return True


def _replace(path: Path, text: str) -> None:
    """In one step: Grafana looks at any time."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def binary_of(*names: str) -> str | None:
    """The first of these programs that is installed."""
    return next((found for name in names if (found := shutil.which(name))), None)
