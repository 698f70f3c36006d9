"""Starts Ray and Serve for one application, waits until it answers, and stops everything that it started.

What listens where, for an instance that starts its own Ray (the default): everything on 127.0.0.1, that is the HTTP
front end, HAProxy's metrics and statistics, the replicas' direct HTTP and gRPC ports, the dashboard, and all of Ray's
own ports. Three measures do it: the node's address is 127.0.0.1 (serve_env.LOCAL_MODE), the wrapper of HAProxy
(haproxy_guard), and the hook of the workers (worker_setup). With `host="0.0.0.0"` the front end alone opens up.
A cluster that is joined keeps the addresses that it has.

Nothing outlives the process that called `launched`, however it ends: Ray's processes die with it, workers with their
raylet, HAProxy with its actor, each by a signal of the kernel on Linux. What is left all the same carries a mark in
its environment, by which `greenflow down` finds it.
"""

import os
import random
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from cluster.launching import instances, ports, ray_joined, ray_local, readiness, serve_env, teardown
from cluster.launching.instances import Instance, Registry
from models.errors import FixSetup

if TYPE_CHECKING:
    from ray.serve import Application

Build = Callable[[], "Application"]
Progress = Callable[[str], None]
Hurried = Callable[[Registry, Instance], None]

_LAST_WORDS_S = 5.0


@dataclass(frozen=True)
class LaunchOptions:
    """How to launch.

    host, port       where the HTTP front end listens
    address          the Ray cluster to join; None starts one here
    dashboard_port   of Ray's dashboard, or the next free one above; None leaves the dashboard out
    cpus             logical CPUs that Ray hands out; None: as many as the machine has
    start_timeout_s  longest wait for the application to answer
    app              name of the Serve application
    cascade          what is served, for `status` to show
    logs             what the lines of Serve's own log files are: text or json
    """

    host: str = "127.0.0.1"
    port: int = 8000
    address: str | None = None
    dashboard_port: int | None = 8265
    cpus: int | None = None
    start_timeout_s: float = 300.0
    app: str = "greenflow"
    cascade: str = ""
    logs: str = "text"


@dataclass(frozen=True)
class Running:
    """A launched application."""

    instance: Instance
    _raylet: psutil.Process | None

    @property
    def url(self) -> str:
        """Where it answers, without a slash at the end."""
        return self.instance.url

    def failure(self) -> str | None:
        """What has broken beyond repair, None while all is well. Replicas that die are Serve's to replace."""
        if self._raylet is None:
            return ray_joined.failure()
        if not instances.runs(self._raylet):
            return f"Ray's node process (raylet, pid {self._raylet.pid}) has died"
        return None


@contextmanager
def launched(
    build: Build,
    options: LaunchOptions,
    registry: Registry,
    progress: Progress = lambda _: None,
    hurried: Hurried = lambda _registry, _instance: None,
) -> Iterator[Running]:
    """Launch the application for the time of the `with` block. `build` is called once Ray runs.

    `serve_env.prepare()` must have been called before Ray was first imported. Ctrl-C (KeyboardInterrupt) stops
    everything at any time; a second one while it stops hurries it. Raises FixSetup for a port in use, an instance that
    is in the way, and an application that does not get healthy.

    hurried  called when a stop has been hurried, before anything is killed; may take this process over
    """
    serve_env.prepare(local=options.address is None)
    refuse_conflicts(options, registry)
    instance = _new_instance(options)
    registry.save(instance)
    launch = _Launch(instance, options, registry, hurried)
    try:
        launch.start(build, progress)
        yield launch.running()
    finally:
        launch.stop(progress)


def refuse_conflicts(options: LaunchOptions, registry: Registry) -> None:
    """Raise FixSetup when the port is taken: by an instance of ours, by what is left of one, or by something else."""
    if options.address is not None:
        return
    for left in registry.sweep():
        if left.port == options.port or not ports.is_free(options.port, options.host):
            pids = ", ".join(str(p.pid) for p in instances.processes_of(left.name))
            raise FixSetup(
                f"an instance on port {left.port} was killed hard and left processes behind (pid {pids}); "
                "stop them with `greenflow down`"
            )
    for other in registry.alive():
        if other.port == options.port:
            raise FixSetup(
                f"port {other.port} is in use by `greenflow up` (pid {other.pid}); stop it with "
                f"`greenflow down --port {other.port}` or pick another --port"
            )
    ports.require_free(options.port, options.host)


def _new_instance(options: LaunchOptions) -> Instance:
    return Instance(
        name=secrets.token_hex(8),
        pid=os.getpid(),
        created=instances.created_s(psutil.Process()),
        boot=instances.boot(),
        state="starting",
        host=options.host,
        port=options.port,
        url=f"http://{_reachable(options.host)}:{options.port}",
        app=options.app,
        cascade=options.cascade,
        joined=options.address or "",
        folder="" if options.address else str(ray_local.make_folder()),
    )


def _reachable(host: str) -> str:
    if host in ("0.0.0.0", "::"):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


class _Launch:
    """One launch from start to stop. `stop` may be called at any point, however far `start` came."""

    def __init__(self, instance: Instance, options: LaunchOptions, registry: Registry, hurried: Hurried) -> None:
        self._instance, self._options, self._registry, self._hurried = instance, options, registry, hurried
        self._raylet: psutil.Process | None = None
        self._serve_is_ours = options.address is None
        self._deployed = False

    def start(self, build: Build, progress: Progress) -> None:
        options = self._options
        if options.address is None:
            progress("starting Ray")
            self._start_ray()
        else:
            progress(f"joining Ray at {options.address}")
            self._join(options.address)
        progress("starting Serve")
        if self._serve_is_ours:
            host = options.host if options.address else "127.0.0.1"
            readiness.start_serve(host, options.port, options.logs)
        progress("deploying")
        application = build()
        self._deployed = True
        readiness.deploy(application, options.app)
        readiness.wait_until_running(options.app, options.start_timeout_s, progress, self._check)
        readiness.wait_until_answering(self._instance.url, options.start_timeout_s, self._check)
        self._update(state="running")

    def running(self) -> Running:
        return Running(self._instance, self._raylet)

    def stop(self, progress: Progress) -> None:
        """Stop gently; after another signal or 30 s, stop hard. Signals never interrupt it."""
        with teardown.counting_signals() as impatient:
            progress("stopping")
            self._update(state="stopping")
            gentle = teardown.start(self._stop_gently)
            teardown.wait(gentle, impatient, teardown.GRACE_S)
            if not self._instance.joined:
                self._stop_hard(gentle, impatient)
            self._registry.forget(self._instance)

    def _stop_gently(self) -> None:
        import ray

        if ray.is_initialized():
            with teardown.silenced():
                if (self._deployed or self._serve_is_ours) and self.running().failure() is None:
                    readiness.remove(self._instance.app, everything=self._serve_is_ours)
                ray.shutdown()

    def _stop_hard(self, gentle: threading.Thread, impatient: threading.Event) -> None:
        """End what the gentle stop has left: nothing, unless it was cut short or Ray had not started wholly.

        Where time allows, the GCS goes last: Ray's client ends this process seconds after it misses it.
        """
        name = self._instance.name
        if gentle.is_alive() and not impatient.is_set():
            teardown.end_processes(name, spare="gcs_server")
            teardown.wait(gentle, impatient, _LAST_WORDS_S)
        if gentle.is_alive() and impatient.is_set():
            self._hurried(self._registry, self._instance)
        left = teardown.end_processes(name, at_once=gentle.is_alive())
        if left:
            raise FixSetup(f"these processes would not stop: {left}")

    def _start_ray(self) -> None:
        options = self._options
        dashboard = None if options.dashboard_port is None else ports.first_free(options.dashboard_port)
        started = ray_local.start(
            self._instance.name,
            Path(self._instance.folder),
            (options.host, options.port),
            dashboard,
            options.cpus,
            random.Random(),
        )
        self._raylet = next((p for p in instances.processes_of(self._instance.name) if p.name() == "raylet"), None)
        self._update(dashboard=started.dashboard)

    def _join(self, address: str) -> None:
        joined = ray_joined.join(address, self._options.host, self._options.app)
        self._serve_is_ours = not joined.serves_already
        self._update(dashboard=joined.dashboard, url=joined.url or self._instance.url)

    def _check(self) -> None:
        failure = self.running().failure()
        if failure is not None:
            raise FixSetup(failure)

    def _update(self, **changes: str) -> None:
        self._instance = self._instance.model_copy(update=changes)
        self._registry.save(self._instance)
