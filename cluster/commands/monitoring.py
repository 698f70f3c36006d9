"""`greenflow monitoring`: what watches a running server, its files, and the table of metrics."""

from pathlib import Path

import click

from cluster.commands.monitoring_up import up
from cluster.launching.ray_dashboards import CORE, ray_dashboards
from cluster.monitoring import files
from cluster.monitoring.provisioning import DASHBOARDS
from cluster.monitoring.stand import write_dashboards
from cluster.monitoring.table import metrics_table


@click.group("monitoring")
def group() -> None:
    """Watch a running server with Prometheus and Grafana, inside Ray's dashboard too."""


@group.command("metrics")
def metrics() -> None:
    """Print the table of all metrics, as Markdown."""
    click.echo(metrics_table(), nl=False)


@group.command("files", context_settings={"show_default": True})
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default="deploy", help="Folder to write into.")
@click.option("--ray-dashboards", "rays", is_flag=True, help="Ray's dashboards for Grafana too, with our row in Core.")
def write_files(out: Path, rays: bool) -> None:
    """Write the files for a Prometheus and a Grafana of your own: scraping, rules, alerts, dashboards."""
    for path in files.write(files.shipped_files(), out):
        click.echo(path)
    if rays:
        write_dashboards(out / "grafana" / DASHBOARDS, ray_dashboards(), CORE, keep=False)


group.add_command(up)
