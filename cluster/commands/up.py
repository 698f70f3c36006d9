"""`greenflow up`, `greenflow status`, `greenflow down`."""

import contextlib
import io
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import click
from rich.console import Console

from cluster.config import Settings, ray_address
from cluster.launching import hurried, overview, ray_joined, readiness, serve_env, stopping
from cluster.launching.instances import Registry, default_root
from cluster.launching.launch import LaunchOptions, Running, launched, refuse_conflicts

_WATCH_S = 0.5
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")

_state_dir = click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=default_root,
    show_default="~/.local/state/greenflow/<host>",
    help="Folder where running instances are noted.",
)


@click.command(context_settings={"show_default": True})
@click.option(
    "--cascade", type=click.Path(path_type=Path), show_default="the shipped demo", help="Folder of the cascade."
)
@click.option(
    "--host", default="127.0.0.1", help="Address to listen on; 0.0.0.0 opens the HTTP front end to the network."
)
@click.option("--port", type=click.IntRange(1, 65535), default=8000, help="Port of the HTTP front end.")
@click.option(
    "--placement", type=click.Choice(["file", "inline", "own"]), show_default="file", help="Where variants run."
)
@click.option(
    "--cpu-replicas", type=click.IntRange(1), show_default="1", help="Replicas of each CPU variant's deployment."
)
@click.option("--gpu-replicas", type=click.IntRange(1), show_default="1", help="Replicas of each CUDA variant.")
@click.option(
    "--ingress-replicas",
    type=click.IntRange(1),
    show_default="1; as many as cores, at most 4, where the static chain runs inline",
    help="Replicas of the ingress.",
)
@click.option(
    "--flops-per-s",
    "allocator_flops_per_s",
    type=click.FloatRange(0, min_open=True),
    show_default="none",
    help="FLOPs a second that the allocator keeps to, by prices.",
)
@click.option(
    "--expected-rps",
    "allocator_expected_rps",
    type=click.FloatRange(0, min_open=True),
    show_default="unknown",
    help="Requests a second to be ready for: what the first price under a limit is made for.",
)
@click.option(
    "--allocator/--no-allocator",
    "allocator_enabled",
    default=None,
    show_default="if the cascade has a reward model",
    help="Choose each request's chain by a policy; without it the static chain runs.",
)
@click.option(
    "--safe-chain",
    "allocator_safe_chain",
    show_default="the static chain, or the best within a limit",
    help="Id of the chain that runs when nobody can choose in time.",
)
@click.option(
    "--allocator-placement",
    type=click.Choice(["inline", "own"]),
    show_default="inline",
    help="Where chains are chosen: inside the ingress, or in a deployment of its own.",
)
@click.option(
    "--dashboard-port",
    type=click.IntRange(1, 65535),
    default=8265,
    help="Port of Ray's dashboard; the next free one if it is taken.",
)
@click.option("--no-dashboard", is_flag=True, help="Leave Ray's dashboard out, which saves memory.")
@_state_dir
def up(host: str, port: int, dashboard_port: int, no_dashboard: bool, state_dir: Path, **overrides: object) -> None:
    """Serve a cascade on Ray until Ctrl-C.

    Starts Ray on this machine, or joins the cluster that RAY_ADDRESS names. Everything listens on loopback unless
    --host says otherwise. Ctrl-C, SIGTERM and `greenflow down` stop all that was started. A live page of watts, limits
    and savings is at the server's own address.

    All else is set by environment variables GREENFLOW_…: power limits, meters, carbon, holdback, log. `greenflow
    settings` says what there is.

    \b
    Examples:
      greenflow up
      greenflow up --cascade my-cascade --port 8080 --ingress-replicas 2
      greenflow up --flops-per-s 1e9
      GREENFLOW_LIMITS_POWER_W=150 greenflow up
    """
    settings = Settings.from_environment(overrides)
    options = LaunchOptions(
        host=host,
        port=port,
        address=ray_address(),
        dashboard_port=None if no_dashboard else dashboard_port,
        cascade=str(settings.cascade),
        logs=settings.logs,
    )
    if options.address is None:  # of a Ray of its own that is one node
        settings = settings.model_copy(update={"keeper_resource": None})
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)  # a shell starts background jobs deaf to it
    code = _serve(settings, options, Registry(state_dir), Console(highlight=False, soft_wrap=True))
    # All is stopped. Ray's own handlers at exit would look for a cluster that may have been cut short, and wait for it.
    sys.stdout.flush()
    os._exit(code)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _serve(settings: Settings, options: LaunchOptions, registry: Registry, console: Console) -> int:
    """Check, launch, announce, watch. Returns the exit status: 0 when it was asked to stop, 1 when Ray broke."""
    failure: str | None = None
    try:
        with _progress(console) as progress:
            progress("checking the cascade")
            serve_env.prepare(local=options.address is None)
            refuse_conflicts(options, registry)
            from cluster.app import build, check

            check(settings)
            with (
                _calm(console),
                launched(lambda: build(settings), options, registry, progress, hurried.take_over) as running,
            ):
                _announce(running, console, metered=settings.energy.enabled)
                progress("serving; Ctrl-C stops")
                failure = _watch(running)
                console.print(f"[red]error:[/red] {failure}; stopping")
    except (KeyboardInterrupt, SystemExit):  # while Ray starts, its own handler turns SIGTERM into SystemExit
        console.print("stopped")
        return 0
    return 1


@contextlib.contextmanager
def _progress(console: Console) -> Iterator[Callable[[str], None]]:
    """A line that changes on a terminal; elsewhere each new step on a line of its own."""
    if console.is_terminal:
        with console.status("") as status:
            yield status.update
        return
    said: list[str] = []

    def say(step: str) -> None:
        if step not in said[-1:]:
            said.append(step)
            console.print(step, markup=False)

    yield say


@contextlib.contextmanager
def _calm(console: Console) -> Iterator[None]:
    """Shorten what Ray prints into this process to a line each: the session's logs have all of it."""

    def shorten(text: str) -> int:
        if line := _COLOURS.sub("", text).strip():
            console.print(f"Ray: {line.split('. ')[0][:200]}", style="dim", markup=False)
        return len(text)

    console.file = sys.stdout
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    stream.write = shorten  # type: ignore[method-assign]
    with contextlib.redirect_stdout(stream):
        yield


def _announce(running: Running, console: Console, metered: bool) -> None:
    url = running.url
    example = f"""curl -s {url}/v1/recommend -H 'content-type: application/json' -d '{{"user_id": 1}}'"""
    lines = [
        f"GreenFlow answers at {url}",
        f"  page        {url}/",
        f"  try         {example}",
        f"  API         {url}/docs",
    ]
    if metered:
        lines.append(f"  power       {url}/v1/power; what is metered and what not: greenflow doctor")
    if running.instance.dashboard:
        lines.append(f"  dashboard   {running.instance.dashboard}")
    if running.instance.folder:
        lines.append(f"  logs        {running.instance.folder}/session_latest/logs/serve, until this ends")
    console.print("\n".join(lines), markup=False)


def _watch(running: Running) -> str:
    """Return what broke, once something has."""
    while (failure := running.failure()) is None:
        time.sleep(_WATCH_S)
    return failure


@click.command(context_settings={"show_default": True})
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@_state_dir
def status(as_json: bool, state_dir: Path) -> None:
    """Show what runs: endpoint, health, deployments and their replicas, Ray's dashboard.

    The exit status is 0 when something runs and all of it is healthy, else 1.

    \b
    Example:
      greenflow status --json
    """
    registry = Registry(state_dir)
    left = registry.sweep()
    states = [overview.look(instance, ray_joined.details) for instance in registry.alive()]
    if as_json:
        document: dict[str, Any] = {"instances": [s.as_json() for s in states], "leftovers": [i.port for i in left]}
        click.echo(json.dumps(document, indent=1))
    else:
        console = Console(highlight=False, soft_wrap=True)
        for state in states:
            console.print(overview.table(state))
        for instance in left:
            console.print(f"An instance on port {instance.port} was killed hard; `greenflow down` clears up after it.")
        if not states:
            console.print("Nothing is running. Start it with `greenflow up`.")
    sys.exit(0 if states and all(s.problem is None for s in states) else 1)


@click.command(context_settings={"show_default": True})
@click.option("--port", type=click.IntRange(1, 65535), show_default="all", help="Stop only the instance on this port.")
@_state_dir
def down(port: int | None, state_dir: Path) -> None:
    """Stop what `greenflow up` started, and wait until it is gone.

    Clears up after instances that were killed hard, too. With RAY_ADDRESS set and nothing running here, the
    application is removed from that cluster, whoever deployed it; not with --port, which means an instance here.

    \b
    Examples:
      greenflow down
      greenflow down --port 8080
    """
    registry = Registry(state_dir)
    stopped = 0
    for instance in registry.sweep():
        if port in (None, instance.port):
            stopping.clear(instance, registry)
            click.echo(f"cleared up after the instance on port {instance.port}, which had been killed hard")
            stopped += 1
    for instance in registry.alive():
        if port in (None, instance.port):
            stopping.stop(instance, registry)
            click.echo(f"stopped {instance.url}")
            stopped += 1
    address = ray_address()
    if not stopped and port is None and address is not None:
        stopped += _remove_from(address)
    if not stopped:
        click.echo("nothing is running" + (f" on port {port}" if port else ""))


def _remove_from(address: str) -> int:
    """Remove the application from the cluster; how many were removed."""
    serve_env.prepare(local=False)
    app = LaunchOptions().app
    with ray_joined.connected(address):
        removed = readiness.remove(app, everything=False)
    if removed:
        click.echo(f"removed the application {app!r} from the Ray cluster at {address}")
    return int(removed)
