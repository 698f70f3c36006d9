"""How Grafana is told of Prometheus and of the dashboards, and that Ray's dashboard may embed it."""

from pathlib import Path

import yaml

SOURCE_NAME = "Prometheus"
"""Of the data source; Ray's dashboard looks for this one unless RAY_PROMETHEUS_NAME says otherwise."""
DASHBOARDS, PROVISIONING, INI_FILE = "dashboards", "provisioning", "grafana.ini"
SOURCES_FILE = f"{PROVISIONING}/datasources/greenflow.yml"
PROVIDERS_FILE = f"{PROVISIONING}/dashboards/greenflow.yml"


def sources_yaml(prometheus_url: str, scrape_s: float) -> str:
    """Prometheus as Grafana's source of data. By `scrape_s` Grafana chooses the ranges of rates."""
    source = {
        "name": SOURCE_NAME,
        "type": "prometheus",
        "url": prometheus_url,
        "access": "proxy",
        "isDefault": True,
        "jsonData": {"timeInterval": f"{scrape_s:g}s"},
    }
    text: str = yaml.safe_dump({"apiVersion": 1, "datasources": [source]}, sort_keys=False)
    return text


def providers_yaml(folder: Path | str) -> str:
    """The folder whose dashboards Grafana shows, and looks at again every few seconds."""
    provider = {
        "name": "greenflow",
        "folder": "Ray",
        "type": "file",
        "updateIntervalSeconds": 10,
        "options": {"path": str(folder)},
    }
    text: str = yaml.safe_dump({"apiVersion": 1, "providers": [provider]}, sort_keys=False)
    return text


def grafana_ini(host: str, port: int, data: Path | str, provisioning: Path | str) -> str:
    """Who opens it may look at everything and change nothing, inside Ray's dashboard, too; nothing is sent outside.

    There is no administrator, whose password everybody would know.
    """
    return f"""\
[server]
http_addr = {host}
http_port = {port}

[paths]
data = {data}
logs = {data}/log
plugins = {data}/plugins
provisioning = {provisioning}

[security]
allow_embedding = true
disable_initial_admin_creation = true

[auth.anonymous]
enabled = true
org_role = Viewer

[analytics]
reporting_enabled = false
check_for_updates = false
check_for_plugin_updates = false

[dashboards]
min_refresh_interval = 5s
"""
