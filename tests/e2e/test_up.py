"""`greenflow up`, `status` and `down` as a user runs them: processes, ports and sockets of a real local Serve."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grafana_stand_in
import psutil
import pytest
import yaml
from live import free_port
from monitored import NEEDS_PROMETHEUS, monitoring
from tiny_cascade import TinyCascade
from ups import FEW, START_S, STOP_S, Command, Start, Up, assert_nothing_is_left, clear, exited, started
from waiting import until

from cluster.commands.monitoring_up import ray_settings
from cluster.launching import instances, ports, ray_joined, readiness, serve_env
from cluster.launching.instances import Instance, Registry
from cluster.launching.ray_dashboards import CORE
from cluster.monitoring.grafana import with_our_row

LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


@pytest.fixture
def command(tmp_path: Path, tiny: TinyCascade) -> Command:
    return Command(tmp_path / "state", tiny.folder)


@pytest.fixture
def start(command: Command, tmp_path: Path) -> Iterator[Start]:
    """Start `up` without a dashboard, as a single replica; whatever is left at the end of the test is stopped."""
    running: list[Up] = []

    def begin(port: int, *options: str, **environment: str) -> Up:
        log = tmp_path / f"up-{port}.log"
        running.append(started(command, log, port, "--no-dashboard", *options, **{**FEW, **environment}))
        return running[-1]

    yield begin
    for up in running:
        if up.process.poll() is None:
            up.process.kill()
            up.process.wait()
    clear(command)


@dataclass(frozen=True)
class Watchers:
    """Where Ray's dashboard looks for Prometheus and Grafana, and the folder that it writes dashboards into."""

    prometheus: int
    grafana: int
    dashboards: Path

    @property
    def settings(self) -> dict[str, str]:
        return ray_settings(self._url(self.prometheus), self._url(self.grafana), self.dashboards)

    def _url(self, port: int) -> str:
        return f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def watchers(tmp_path_factory: pytest.TempPathFactory) -> Watchers:
    return Watchers(free_port(), free_port(), tmp_path_factory.mktemp("dashboards"))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, tiny: TinyCascade, watchers: Watchers) -> Iterator[Up]:
    """One instance with a dashboard, shared by the tests that only look, and by the one that is its end."""
    folder = tmp_path_factory.mktemp("served")
    options = ("--dashboard-port", str(free_port()))
    command = Command(folder / "state", tiny.folder)
    up = started(command, folder / "up.log", free_port(), *options, **watchers.settings)
    try:
        up.wait_for("Ctrl-C stops")
        yield up
    finally:
        up.process.terminate()
        up.process.wait(STOP_S)
        clear(up.command)


# A running instance


def test_up_says_where_it_answers_and_its_example_works(served: Up) -> None:
    said = served.log.read_text()
    url = served.command.only().url
    assert f"answers at {url}" in said
    assert re.search(r"dashboard +http://127\.0\.0\.1:\d+", said)
    assert re.search(r"power +http://127\.0\.0\.1:\d+/v1/power", said)
    example = re.search(r"curl -s (\S+) .* -d '(.*)'", said)
    assert example is not None
    request = urllib.request.Request(example[1], data=example[2].encode(), headers={"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert json.load(answer)["items"]


def test_what_up_prints_is_calm(served: Up) -> None:
    said = served.log.read_text()
    assert "WARNING" not in said
    assert "INFO" not in said
    assert len(said.splitlines()) < 30


def test_everything_listens_on_loopback_alone(served: Up) -> None:
    instance = served.command.only()
    pids = {instance.pid, *(p.pid for p in instances.processes_of(instance.name))}
    open_ports = {
        (c.laddr.ip, c.laddr.port) for c in psutil.net_connections("inet") if c.pid in pids and c.laddr and not c.raddr
    }
    assert ("127.0.0.1", instance.port) in open_ports
    assert len(open_ports) > 10
    assert {ip for ip, _ in open_ports} <= LOOPBACK


def test_status_shows_a_healthy_instance_with_its_deployments(served: Up) -> None:
    found = served.command.run("status", "--json")
    assert found.returncode == 0, found.stderr
    (one,) = json.loads(found.stdout)["instances"]
    assert one["healthy"] is True
    assert one["url"] == served.command.only().url
    assert "ingress" in {d["name"] for d in one["deployments"]}
    assert all(d["replicas"] == {"RUNNING": d["wanted"]} for d in one["deployments"])
    assert one["url"] in served.command.run("status").stdout


def test_a_second_up_on_the_port_is_refused_with_the_remedy(served: Up) -> None:
    instance = served.command.only()
    refused = served.command.run("up", "--port", str(instance.port), "--cascade", str(served.command.cascade))
    assert refused.returncode == 2
    assert f"port {instance.port} is in use by `greenflow up` (pid {instance.pid})" in refused.stderr
    assert f"greenflow down --port {instance.port}" in refused.stderr


def test_two_instances_run_side_by_side_and_down_stops_the_one_it_is_told(served: Up, start: Start) -> None:
    port = free_port()
    other = start(port)
    other.wait_for("Ctrl-C stops")
    name = other.command.only().name
    assert served.command.run("status").returncode == 0
    assert other.command.run("down", "--port", str(port)).returncode == 0
    assert exited(other) == 0
    assert_nothing_is_left(name, port)
    assert other.command.run("status").returncode == 1
    assert served.command.run("status").returncode == 0


def from_dashboard(up: Up, path: str) -> Any:
    """What Ray's dashboard answers, to its own user."""
    request = urllib.request.Request(up.command.only().dashboard + path, headers=ray_joined.token())
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


@NEEDS_PROMETHEUS
def test_monitoring_finds_the_instance_and_ray_s_dashboard_finds_monitoring(
    served: Up, watchers: Watchers, tmp_path: Path
) -> None:
    grafana_stand_in.install(tmp_path / "bin")
    settings = {**watchers.settings, "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    options, places = ("--state-dir", str(served.command.state)), (watchers.prometheus, watchers.grafana)
    with monitoring(tmp_path, options, places, **settings) as running:
        for name, value in watchers.settings.items():
            assert f"{name}={value}" in running.said
        until(lambda: any(one["health"] == "up" for one in running.asked("targets")["activeTargets"]), 20.0)
        assert from_dashboard(served, "/api/prometheus_health")["result"] is True
        found = from_dashboard(served, "/api/grafana_health")["data"]
        assert found["grafanaHost"] == watchers.settings["RAY_GRAFANA_IFRAME_HOST"]
        assert found["dashboardDatasource"] == "Prometheus"
        core = json.loads((watchers.dashboards / CORE).read_text())
        assert core["uid"] == found["dashboardUids"]["default"]
        assert core == with_our_row(core)
        assert {24, 41} < {panel["id"] for panel in core["panels"]}


def test_ray_s_dashboard_tells_which_sensors_a_meter_reads(served: Up) -> None:
    actors = from_dashboard(served, "/logical/actors")["data"]["actors"].values()
    (meter,) = (one["reprName"] for one in actors if one["className"] == "NodeMeter")
    assert meter.startswith("NodeMeter(")
    assert "reads estimate" in meter


# Refusals before anything starts


def test_a_broken_cascade_is_refused_before_ray_starts(command: Command, broken: TinyCascade) -> None:
    (broken.folder / "cascade.yaml").unlink()
    refused = command.run("up", "--port", str(free_port()), "--cascade", str(broken.folder))
    assert refused.returncode == 2
    assert "cascade.yaml" in refused.stderr
    assert "starting Ray" not in refused.stdout
    assert Registry(command.state).all() == []


def test_a_port_in_use_is_refused_with_the_port_and_the_process(command: Command) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        port = server.getsockname()[1]
        refused = command.run("up", "--port", str(port), "--cascade", str(command.cascade))
    assert refused.returncode == 2
    assert f"port {port} is in use by process {os.getpid()}" in refused.stderr


def test_nothing_running_is_said(command: Command) -> None:
    assert command.run("status").returncode == 1
    assert "nothing is running" in command.run("down").stdout


# Ends of all kinds


def test_ctrl_c_while_ray_starts_leaves_nothing(start: Start, command: Command) -> None:
    port = free_port()
    up = start(port)
    up.wait_for("starting Ray")
    while not Registry(command.state).all():
        time.sleep(0.01)
    name = command.only().name
    while not instances.processes_of(name):
        time.sleep(0.01)
    up.ctrl_c()
    assert exited(up) == 0
    assert_nothing_is_left(name, port)
    assert Registry(command.state).all() == []


def test_a_second_ctrl_c_hurries_and_leaves_nothing(start: Start, command: Command) -> None:
    port = free_port()
    up = start(port)
    up.wait_for("Ctrl-C stops")
    instance = command.only()
    up.ctrl_c()
    up.wait_for("stopping")
    up.ctrl_c()
    assert exited(up) == 0
    assert_nothing_is_left(instance.name, port)
    assert not Path(instance.folder).exists()


def test_a_raylet_killed_hard_ends_up_with_an_error_and_leaves_nothing(start: Start, command: Command) -> None:
    port = free_port()
    up = start(port)
    up.wait_for("Ctrl-C stops")
    name = command.only().name
    (raylet,) = [p for p in instances.processes_of(name) if p.name() == "raylet"]
    raylet.kill()
    assert exited(up) == 1
    assert f"raylet, pid {raylet.pid}) has died" in up.log.read_text()
    assert_nothing_is_left(name, port)


def test_up_killed_hard_frees_its_port_and_down_clears_the_rest(served: Up) -> None:
    instance, command = served.command.only(), served.command
    served.process.kill()
    served.process.wait()
    deadline = time.monotonic() + 5
    while not ports.is_free(instance.port) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert ports.is_free(instance.port)
    assert command.run("status").returncode == 1
    assert command.run("down").returncode == 0
    assert_nothing_is_left(instance.name, instance.port)
    assert Registry(command.state).all() == []
    assert not Path(instance.folder).exists()


# A cluster that runs already

CLUSTER = """
import random, sys
from pathlib import Path
from cluster.launching import ray_local, serve_env
serve_env.prepare()
folder = ray_local.make_folder()
public, dashboard = (int(word) for word in sys.argv[2:])
started = ray_local.start(sys.argv[1], folder, ("127.0.0.1", public), dashboard, 4, random.Random())
import ray
print(folder, ray.get_runtime_context().gcs_address, started.dashboard, flush=True)
sys.stdin.read()
ray.shutdown()
"""


@dataclass(frozen=True)
class Cluster:
    """Somebody's Ray: its address, its dashboard, and a port that Serve may have."""

    address: str
    dashboard: str
    port: int


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    port = free_port()
    line = [sys.executable, "-c", CLUSTER, "somebody", str(port), str(free_port())]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        folder, address, dashboard = owner.stdout.readline().split()
        yield Cluster(address, dashboard, port)
        owner.communicate("", timeout=STOP_S)
    instances.end(instances.processes_of("somebody"), 2)
    Registry(tmp_path_factory.mktemp("none")).forget(
        Instance(name="x", pid=0, created=0, boot="", state="running", host="", port=0, url="", app="", folder=folder)
    )


def test_up_joins_a_running_cluster_and_leaves_it_running(cluster: Cluster, start: Start, command: Command) -> None:
    local = {v.name: v.value for v in serve_env.LOCAL_MODE}  # as that cluster is on loopback
    up = start(cluster.port, RAY_ADDRESS=cluster.address, **local)
    up.wait_for("Ctrl-C stops")
    assert command.run("status").returncode == 0
    assert command.run("down").returncode == 0
    assert exited(up) == 0
    assert [p.name() for p in instances.processes_of("somebody") if p.name() == "raylet"] == ["raylet"]
    assert ports.is_free(cluster.port)


def test_the_shipped_serve_config_deploys_the_application(cluster: Cluster, tmp_path: Path) -> None:
    config = yaml.safe_load((Path(__file__).parents[2] / "deploy" / "serve.yaml").read_text(encoding="utf-8"))
    config["http_options"].update(host="127.0.0.1", port=cluster.port)
    config["applications"][0]["args"]["ingress_replicas"] = 1
    (tmp_path / "serve.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    command = [str(Path(sys.executable).with_name("serve")), "deploy", str(tmp_path / "serve.yaml")]
    environment = {**os.environ, "RAY_AUTH_MODE": "token"}
    subprocess.run([*command, "-a", cluster.dashboard], check=True, timeout=START_S, env=environment)
    url = f"http://127.0.0.1:{cluster.port}"
    readiness.wait_until_answering(url, START_S, lambda: None)
    assert readiness.health_problem(url) is None


def test_up_leaves_alone_who_serves_there_already(cluster: Cluster, start: Start) -> None:
    """The one before deployed it: `up` neither takes it over nor ends it, nor the Serve that it runs on."""
    local = {v.name: v.value for v in serve_env.LOCAL_MODE}
    up = start(free_port(), RAY_ADDRESS=cluster.address, **local)
    assert exited(up, START_S) == 2
    assert "serves an application 'greenflow' already" in up.log.read_text()
    assert readiness.health_problem(f"http://127.0.0.1:{cluster.port}") is None
