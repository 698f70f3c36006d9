"""`greenflow monitoring up`: what it watches, what it starts, what it says of what is missing, and how it ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grafana_stand_in
import psutil
import pytest
from live import free_port

from cluster.commands.monitoring_up import ray_settings, with_token
from cluster.launching import prometheus_targets
from cluster.launching.instances import Instance, Registry, boot, created_s
from cluster.monitoring.children import started, wait_until_ready
from cluster.monitoring.scraping import Targets
from models.errors import FixSetup

CALL = "from cluster.cli import main; main()"


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "state")


def noted(registry: Registry, port: int = 8000, **changes: str) -> Instance:
    """An instance whose `up` is this process."""
    me = psutil.Process()
    known = {"name": f"on{port}", "host": "127.0.0.1", "url": f"http://127.0.0.1:{port}", "app": "greenflow"}
    known |= {"boot": boot(), **changes}
    found = Instance(pid=me.pid, created=created_s(me), state="running", port=port, **known)  # type: ignore[arg-type]
    registry.save(found)
    return found


def with_list(folder: Path) -> Path:
    file = folder / prometheus_targets.FILE
    file.parent.mkdir(parents=True)
    file.write_text("[]")
    return file


# What is watched


def test_of_an_instance_that_runs_here_the_list_is_in_its_session(registry: Registry, tmp_path: Path) -> None:
    file = with_list(tmp_path / "ray")
    noted(registry, dashboard="http://127.0.0.1:8265", folder=str(tmp_path / "ray"))
    assert prometheus_targets.of_running(registry, None, None) == Targets(file=file)


def test_a_list_that_ray_has_yet_to_write_is_waited_for(registry: Registry, tmp_path: Path) -> None:
    noted(registry, dashboard="http://127.0.0.1:8265", folder=str(tmp_path / "ray"))
    found = prometheus_targets.of_running(registry, None, None, sleep=lambda _: with_list(tmp_path / "ray") and None)
    assert found.file is not None
    assert found.file.is_file()


def test_of_a_cluster_that_was_joined_the_dashboard_has_the_list(registry: Registry) -> None:
    noted(registry, dashboard="http://head:8265", joined="head:6379")
    assert prometheus_targets.of_running(registry, None, None).url == "http://head:8265/api/prometheus/sd"


def test_of_several_instances_one_is_to_be_named(registry: Registry, tmp_path: Path) -> None:
    for port in (8000, 8001):
        with_list(tmp_path / str(port))
        noted(registry, port, dashboard="http://127.0.0.1:8265", folder=str(tmp_path / str(port)))
    with pytest.raises(FixSetup, match="8000, 8001: name one with --port"):
        prometheus_targets.of_running(registry, None, None)
    found = prometheus_targets.of_running(registry, 8001, None)
    assert str(found).startswith(str(tmp_path / "8001"))


def test_where_nothing_runs_or_nobody_lists_nodes_the_remedy_is_said(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(FixSetup, match="start one first, or name a list of nodes with --service-discovery"):
        prometheus_targets.of_running(registry, None, None)
    noted(registry, folder=str(tmp_path / "ray"))
    with pytest.raises(FixSetup, match="start it without --no-dashboard"):
        prometheus_targets.of_running(registry, None, None)
    with pytest.raises(FixSetup, match="on port 9"):
        prometheus_targets.of_running(registry, 9, None)
    with pytest.raises(FixSetup, match="there is no such file"):
        prometheus_targets.given(str(tmp_path / "missing.json"))


def test_ray_is_told_of_both_programs_and_of_the_folder() -> None:
    told = ray_settings("http://127.0.0.1:9091", "http://127.0.0.1:3001", Path("/state/dashboards"))
    assert told == {
        "RAY_PROMETHEUS_HOST": "http://127.0.0.1:9091",
        "RAY_PROMETHEUS_NAME": "Prometheus",
        "RAY_GRAFANA_HOST": "http://127.0.0.1:3001",
        "RAY_GRAFANA_IFRAME_HOST": "http://127.0.0.1:3001",
        "RAY_METRICS_GRAFANA_DASHBOARD_OUTPUT_DIR": "/state/dashboards",
    }


@pytest.mark.parametrize(
    ("targets", "header", "shown"),
    [
        (Targets(url="http://head:8265/api/prometheus/sd"), {"authorization": "Bearer secret"}, True),
        (Targets(url="http://head:8265/api/prometheus/sd"), {}, False),
        (Targets(url="http://elsewhere/list"), {"authorization": "Bearer secret"}, False),
        (Targets(file=Path("/nodes.json")), {"authorization": "Bearer secret"}, False),
    ],
    ids=["Ray's dashboard", "no token", "another server", "a file"],
)
def test_only_ray_s_dashboard_is_shown_the_token(
    targets: Targets, header: dict[str, str], shown: bool, tmp_path: Path
) -> None:
    for _ in range(2):
        found = with_token(targets, header, tmp_path / "monitoring")
    assert (found.url, found.file) == (targets.url, targets.file)
    assert (found.token_file is not None) == shown
    if found.token_file is not None:
        assert found.token_file.read_text() == "secret"
        assert found.token_file.stat().st_mode & 0o777 == 0o600


# Programs


def test_a_program_that_ends_at_once_is_an_error_with_what_it_said(tmp_path: Path) -> None:
    child = started("Program", ["sh", "-c", "echo no room; exit 3"], "http://127.0.0.1:9", tmp_path / "log")
    with pytest.raises(FixSetup, match=r"status 3(.|\n)*no room"):
        wait_until_ready(child, "/", 10.0)


def test_a_program_that_never_answers_is_ended(tmp_path: Path) -> None:
    child = started("Program", ["sleep", "60"], f"http://127.0.0.1:{free_port()}", tmp_path / "log")
    with pytest.raises(FixSetup, match="does not answer"):
        wait_until_ready(child, "/", 0.2)
    assert child.process.poll() is not None


# The command


@pytest.fixture
def nodes(tmp_path: Path) -> Path:
    file = tmp_path / "nodes.json"
    file.write_text("[]")
    return file


def command(tmp_path: Path, nodes: Path, *options: str) -> list[str]:
    ports = ("--prometheus-port", str(free_port()), "--grafana-port", str(free_port()))
    known = ("--state-dir", str(tmp_path / "state"), "--service-discovery", str(nodes))
    return [sys.executable, "-c", CALL, "monitoring", "up", *known, *ports, *options]


def programs(tmp_path: Path) -> dict[str, str]:
    """An environment in which no Prometheus and no Grafana is installed."""
    (tmp_path / "bin").mkdir(exist_ok=True)
    return {**os.environ, "PATH": str(tmp_path / "bin"), "PYTHONUNBUFFERED": "1"}


def test_where_neither_is_installed_both_are_named_and_it_fails(tmp_path: Path, nodes: Path) -> None:
    found = subprocess.run(
        command(tmp_path, nodes), env=programs(tmp_path), capture_output=True, text=True, check=False
    )
    assert found.returncode == 2
    assert "apt-get install prometheus" in found.stderr
    assert "grafana.com/grafana/download" in found.stderr
    assert "nothing was started" in found.stderr


@pytest.fixture
def with_grafana(tmp_path: Path, nodes: Path) -> Iterator[tuple["subprocess.Popen[str]", Path]]:
    """The command with a Grafana and no Prometheus; the file in which Grafana notes what it was told."""
    heard = grafana_stand_in.install(tmp_path / "bin")
    both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command(tmp_path, nodes), env=programs(tmp_path), **both) as process:  # type: ignore[call-overload]
        yield process, heard
        process.kill()


def read_until(process: "subprocess.Popen[str]", text: str) -> str:
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if text in line:
            return said
    raise AssertionError(said)


def test_grafana_alone_is_started_with_its_files_and_ended_by_ctrl_c(
    with_grafana: tuple["subprocess.Popen[str]", Path], tmp_path: Path
) -> None:
    process, heard = with_grafana
    said = read_until(process, "Ctrl-C stops")
    assert "Prometheus is not installed" in said
    arguments, config = grafana_stand_in.heard(heard)
    folder = tmp_path / "state" / "monitoring" / "grafana"
    assert f"--config={folder / 'grafana.ini'}" in arguments
    assert f"http://127.0.0.1:{config['server']['http_port']}/d/greenflow" in said
    assert config["server"]["http_addr"] == "127.0.0.1"
    assert config["security"]["allow_embedding"] == "true"
    assert Path(config["paths"]["provisioning"]) == folder / "provisioning"
    shown = {path.name for path in (folder / "dashboards").iterdir()}
    assert {"default_grafana_dashboard.json", "greenflow_dashboard.json"} <= shown
    (child,) = psutil.Process(process.pid).children()
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert not child.is_running()


def test_a_program_that_dies_ends_it_with_an_error_and_one_that_is_killed_leaves_none(
    with_grafana: tuple["subprocess.Popen[str]", Path],
) -> None:
    process, _ = with_grafana
    read_until(process, "Ctrl-C stops")
    (child,) = psutil.Process(process.pid).children()
    child.kill()
    assert process.stdout is not None
    assert "Grafana has ended" in process.stdout.read()
    assert process.wait(30) == 2


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's call is Linux's")
def test_programs_die_with_a_command_that_is_killed_hard(with_grafana: tuple["subprocess.Popen[str]", Path]) -> None:
    process, _ = with_grafana
    read_until(process, "Ctrl-C stops")
    (child,) = psutil.Process(process.pid).children()
    process.kill()
    deadline = time.monotonic() + 10
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)
