"""Prometheus' own configuration: which nodes of a Ray cluster it asks, and by which rules it works."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

RULES_FILE, CONFIG_FILE = "greenflow.rules.yml", "prometheus.yml"
RAY_FILE = "/tmp/ray/session_latest/prom_metrics_service_discovery.json"
"""Where Ray lists its nodes on the head, unless it was started with another --temp-dir."""


@dataclass(frozen=True, slots=True)
class Targets:
    """Who tells which nodes there are: Ray's file on this machine, or its dashboard.

    file        as Ray's head keeps it up to date
    url         of the dashboard's list, where there is no file
    token_file  holds the token that the dashboard wants; None for none
    """

    file: Path | None = None
    url: str = ""
    token_file: Path | None = None

    def __str__(self) -> str:
        return self.url or str(self.file)

    def discovery(self) -> dict[str, Any]:
        """As part of a scrape configuration."""
        if self.file is not None:
            return {"file_sd_configs": [{"files": [str(self.file)], "refresh_interval": "10s"}]}
        found: dict[str, Any] = {"url": self.url, "refresh_interval": "10s"}
        if self.token_file is not None:
            found["authorization"] = {"credentials_file": str(self.token_file)}
        return {"http_sd_configs": [found]}


def prometheus_yaml(targets: Targets, scrape_s: float = 10.0) -> str:
    """The configuration; the rules are in RULES_FILE beside it."""
    every = f"{round(scrape_s * 1000)}ms"
    config = {
        "global": {"scrape_interval": every, "evaluation_interval": every},
        "rule_files": [RULES_FILE],
        "scrape_configs": [{"job_name": "ray", **targets.discovery()}],
    }
    text: str = yaml.safe_dump(config, sort_keys=False, width=1000)
    return text


def shipped_yaml() -> str:
    """The configuration for a cluster whose head runs where Prometheus does, with other ways as a comment."""
    head = """\
# Made by `greenflow monitoring files`; cluster/monitoring/scraping.py is where to change it.
# Ray's head keeps a list of its nodes in the file below; started with another --temp-dir, it is there.
# From another machine, ask Ray's dashboard for the list, if the head was started with a --dashboard-host that it can
# reach (with token authentication on, by a file with the token):
#     http_sd_configs:
#     - url: http://HEAD:8265/api/prometheus/sd
#       authorization: {credentials_file: /path/to/ray_token}
# Without either, name each node's metrics port (ray start --metrics-export-port=8080):
#     static_configs:
#     - targets: [10.0.0.1:8080, 10.0.0.2:8080]
"""
    return head + prometheus_yaml(Targets(Path(RAY_FILE)))
