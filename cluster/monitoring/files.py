"""All files for Prometheus and Grafana, by their path: what deploy/ holds."""

from collections.abc import Mapping
from pathlib import Path

from cluster.monitoring.grafana import our_dashboard, text_of
from cluster.monitoring.provisioning import (
    DASHBOARDS,
    INI_FILE,
    PROVIDERS_FILE,
    PROVISIONING,
    SOURCES_FILE,
    grafana_ini,
    providers_yaml,
    sources_yaml,
)
from cluster.monitoring.rules import rules_yaml
from cluster.monitoring.scraping import CONFIG_FILE, RULES_FILE, shipped_yaml
from cluster.monitoring.table import metrics_table

TABLE_FILE, DASHBOARD_FILE = "METRICS.md", "greenflow_dashboard.json"
INSTALLED = "/etc/greenflow/grafana"
"""Where the shipped files of Grafana expect to lie."""
_PLACES = f"""\
# Made by `greenflow monitoring files`. The folder grafana/ is to lie at {INSTALLED}; or change the paths, here and in
# {INI_FILE}. With --ray-dashboards Ray's own dashboards are written beside ours, with our row in the one that Ray's
# dashboard shows; start Ray with RAY_GRAFANA_HOST and RAY_PROMETHEUS_HOST then.
"""


def shipped_files() -> Mapping[str, str]:
    """Contents by path below deploy/. They expect Prometheus and Grafana on the machine of Ray's head."""
    prometheus, grafana = "prometheus", "grafana"
    return {
        f"{prometheus}/{CONFIG_FILE}": shipped_yaml(),
        f"{prometheus}/{RULES_FILE}": rules_yaml(),
        f"{prometheus}/{TABLE_FILE}": metrics_table(),
        f"{grafana}/{DASHBOARDS}/{DASHBOARD_FILE}": text_of(our_dashboard()),
        f"{grafana}/{SOURCES_FILE}": sources_yaml("http://127.0.0.1:9090", 10.0),
        f"{grafana}/{PROVIDERS_FILE}": _PLACES + providers_yaml(f"{INSTALLED}/{DASHBOARDS}"),
        f"{grafana}/{INI_FILE}": grafana_ini("127.0.0.1", 3000, "/var/lib/grafana", f"{INSTALLED}/{PROVISIONING}"),
    }


def write(files: Mapping[str, str], folder: Path) -> list[Path]:
    """Write each where it belongs below `folder`, over what is there; the paths."""
    written = []
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written
