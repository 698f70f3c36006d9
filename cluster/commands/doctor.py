"""`greenflow doctor`: what is metered on every node and what not, and whether all that is configured works."""

import asyncio
import json
import random
import sys
import time
from pathlib import Path

import click
from rich.console import Console

from cluster.carbon.base import CarbonProvider
from cluster.carbon.select import open_carbon
from cluster.carbon.settings import CarbonSettings
from cluster.carbon.transport import HttpTransport
from cluster.config import Settings, ray_address
from cluster.diagnosis import page
from cluster.diagnosis.application import carbon_findings, cascade_finding, ledger_finding, port_finding
from cluster.diagnosis.findings import Diagnosis, Finding, NodeFindings, State
from cluster.diagnosis.node import Questions, examine
from cluster.diagnosis.together import across, keeper_findings
from cluster.launching import serve_env
from cluster.launching.instances import Instance, Registry, default_root
from cluster.launching.launch import LaunchOptions, refuse_conflicts
from cluster.power.settings import PowerSettings
from models.checking import check_cascade, sha256_of
from models.spec import FILE_NAME


@click.command("doctor", context_settings={"show_default": True})
@click.option(
    "--cascade", type=click.Path(path_type=Path), show_default="the shipped demo", help="Folder of the cascade."
)
@click.option("--host", default="127.0.0.1", help="Address that `up` would listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=8000, help="Port that `up` would listen on.")
@click.option(
    "--address",
    show_default="RAY_ADDRESS, the cluster that `up` has joined, or else this machine",
    help="Ray cluster whose nodes are examined.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(1, 600),
    default=60.0,
    help="Seconds that a node may take to answer.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=default_root,
    show_default="~/.local/state/greenflow/<host>",
    help="Folder where running instances are noted.",
)
def command(
    cascade: Path | None, host: str, port: int, address: str | None, timeout_s: float, as_json: bool, state_dir: Path
) -> None:
    """Look at everything that GreenFlow needs, and say what is wrong and how to mend it.

    Per node: which power sensors are read and what they say now, which are not and why, GPUs, and what ONNX Runtime can
    run on. For the whole: the cascade, the grid's carbon intensity, the ledger, the port. Nothing is changed.

    The exit status is 0 when all that is configured works, else 1. A meter that is not there is no fault as long as
    nobody asked for it by name.

    \b
    Examples:
      greenflow doctor
      greenflow doctor --address 10.0.0.5:6379 --json
    """
    settings = Settings.from_environment({"cascade": cascade})
    instances = Registry(state_dir).alive()
    address = address or ray_address() or next((one.joined for one in instances if one.joined), None)
    options = LaunchOptions(host=host, port=port, address=address, cascade=str(settings.cascade))
    console = Console(stderr=True)
    with console.status("looking"):
        diagnosis = _diagnose(settings, options, instances, Registry(state_dir), timeout_s)
    if as_json:
        click.echo(json.dumps(diagnosis.as_json(), indent=1))
    else:
        page.show(diagnosis, Console(highlight=False))
    sys.exit(1 if diagnosis.wrong else 0)


def _diagnose(
    settings: Settings, options: LaunchOptions, instances: list[Instance], registry: Registry, timeout_s: float
) -> Diagnosis:
    found, cascade = cascade_finding(lambda: check_cascade(settings.cascade))
    nodes = _nodes(Questions(_power(settings), settings.cascade), options.address, timeout_s)
    digest = sha256_of(settings.cascade / FILE_NAME) if cascade is not None else ""
    application = (
        found,
        *across(nodes, cascade.spec if cascade is not None else None, settings.cascade, digest),
        *keeper_findings(nodes, settings.keeper_resource),
        *_listening(options, instances, registry),
        *carbon_findings(settings.carbon, _opened, time.time()),
        _ledger(settings, options),
    )
    return Diagnosis(application, nodes)


def _power(settings: Settings) -> PowerSettings | None:
    return settings.power if settings.energy.enabled else None


def _nodes(questions: Questions, address: str | None, timeout_s: float) -> tuple[NodeFindings, ...]:
    if address is None:
        return (examine(questions),)
    serve_env.prepare(local=False)
    from cluster.diagnosis.over_ray import examine_nodes

    return examine_nodes(address, questions, timeout_s)


def _listening(options: LaunchOptions, instances: list[Instance], registry: Registry) -> tuple[Finding, ...]:
    """A joined cluster listens where it was told to; its port is not ours to judge."""
    if options.address is not None:
        return ()
    serving = next((one.url for one in instances if one.port == options.port), None)
    return (port_finding(options.port, lambda: refuse_conflicts(options, registry), serving),)


def _ledger(settings: Settings, options: LaunchOptions) -> Finding:
    """A cluster's ledger lies on the node of its controller, whichever that is: not to be judged from here."""
    file = settings.energy.ledger_file
    if options.address is None:
        return ledger_finding(file)
    return Finding("ledger", State.NOTE, f"{file} on the node where the controller runs; not looked at from here")


def _opened(settings: CarbonSettings) -> CarbonProvider:
    return open_carbon(settings, HttpTransport(), time.time, asyncio.sleep, random.Random())
