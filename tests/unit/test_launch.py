"""What surrounds a launch, without Ray: noted instances, the environment, HAProxy's wrapper, the refusals."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import psutil
import pytest
import yaml
from live import free_port
from ray.serve.schema import ServeDeploySchema

from cluster.config import Settings
from cluster.launching import haproxy_guard, instances, launch, overview, serve_env, stopping, teardown
from cluster.launching.instances import Instance, Registry
from cluster.launching.launch import LaunchOptions, refuse_conflicts
from models.errors import FixSetup


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "state")


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that carries the mark of the instance `marked`."""
    with subprocess.Popen(["sleep", "60"], env={**os.environ, serve_env.MARKER: "marked"}) as process:
        while not instances.processes_of("marked"):
            time.sleep(0.01)
        yield process
        process.kill()


def instance(name: str = "one", port: int = 8000, **changes: object) -> Instance:
    me = psutil.Process()
    known = {"name": name, "pid": me.pid, "created": instances.created_s(me), "boot": instances.boot()}
    known |= {"state": "running", "host": "127.0.0.1"}
    return Instance.model_validate({**known, "port": port, "url": f"http://127.0.0.1:{port}", "app": "app", **changes})


def dead(**changes: object) -> Instance:
    """An instance whose `up` is gone: this process's pid, but another start time."""
    return instance(**{"created": 1.0, **changes})  # type: ignore[arg-type]


# Instances


def test_noted_instances_come_back_in_order_of_their_ports(registry: Registry) -> None:
    registry.save(instance("b", 9000))
    registry.save(instance("a", 8000))
    assert registry.all() == [instance("a", 8000), instance("b", 9000)]


def test_saving_again_replaces(registry: Registry) -> None:
    registry.save(instance(state="starting"))
    registry.save(instance(state="running"))
    assert [i.state for i in registry.all()] == ["running"]


def test_a_reused_pid_is_not_taken_for_the_instance(registry: Registry) -> None:
    registry.save(dead())
    assert registry.alive() == []


def test_an_instance_of_before_the_machine_started_anew_is_dead(registry: Registry) -> None:
    registry.save(instance(boot="another"))
    assert registry.alive() == []


def test_a_clock_that_is_set_ends_nothing(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the clock moves, so does the time of day at which the machine started, from which psutil counts."""
    running, raylet = instance(), psutil.Process()
    raylet.create_time()  # which psutil keeps
    registry.save(running)
    moved_s = psutil.boot_time() + 2.0
    monkeypatch.setattr(psutil._psplatform, "boot_time", lambda: moved_s)
    assert psutil.Process().create_time() == raylet.create_time() + 2.0
    assert registry.alive() == [running]
    assert launch.Running(running, raylet).failure() is None


def test_sweeping_forgets_a_dead_instance_without_processes_and_its_folder(registry: Registry, tmp_path: Path) -> None:
    folder = tmp_path / f"{instances.FOLDER_PREFIX}x"
    folder.mkdir()
    registry.save(dead(folder=str(folder)))
    assert registry.sweep() == []
    assert registry.all() == []
    assert not folder.exists()


def test_a_folder_that_is_not_ours_is_never_deleted(registry: Registry, tmp_path: Path) -> None:
    registry.forget(instance(folder=str(tmp_path)))
    assert tmp_path.exists()


@pytest.mark.usefixtures("sleeper")
def test_sweeping_reports_a_dead_instance_that_left_processes(registry: Registry) -> None:
    registry.save(dead(name="marked"))
    assert [left.name for left in registry.sweep()] == ["marked"]


def test_a_damaged_file_is_dropped(registry: Registry, tmp_path: Path) -> None:
    registry.save(instance())
    (tmp_path / "state" / "two.json").write_text("{")
    assert [i.name for i in registry.all()] == ["one"]
    assert not (tmp_path / "state" / "two.json").exists()


def test_processes_are_found_by_their_mark_and_ended(sleeper: subprocess.Popen[bytes]) -> None:
    assert [p.pid for p in instances.processes_of("marked")] == [sleeper.pid]
    assert instances.processes_of("another") == []
    assert teardown.end_processes("marked") == []
    assert sleeper.wait(5) == -signal.SIGKILL


def test_what_a_marked_process_started_is_found_without_a_mark_of_its_own() -> None:
    script = "import subprocess, sys; c = subprocess.Popen(['sleep', '60'], env={}); print(c.pid, flush=True); c.wait()"
    marked = {**os.environ, instances.MARKER: "parent"}
    with subprocess.Popen([sys.executable, "-c", script], env=marked, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert {p.pid for p in instances.processes_of("parent")} == {parent.pid, child}
        assert teardown.end_processes("parent", at_once=True) == []
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_spared_processes_live_on(sleeper: subprocess.Popen[bytes]) -> None:
    teardown.end_processes("marked", spare="sleep")
    assert sleeper.poll() is None


def test_stopping_an_instance_asks_its_process_and_clears_the_rest(
    registry: Registry, sleeper: subprocess.Popen[bytes]
) -> None:
    with subprocess.Popen(["sleep", "60"]) as owner:
        running = instance("marked", free_port(), pid=owner.pid, created=instances.created_s(psutil.Process(owner.pid)))
        registry.save(running)
        stopping.stop(running, registry, timeout_s=5)
        assert owner.wait(5) == -signal.SIGTERM
    assert sleeper.wait(5) == -signal.SIGKILL
    assert registry.all() == []


# Refusals


def test_an_instance_of_ours_on_the_port_is_refused_with_the_remedy(registry: Registry) -> None:
    port = free_port()
    registry.save(instance(port=port))
    with pytest.raises(FixSetup, match=rf"pid {os.getpid()}\).*`greenflow down --port {port}`"):
        refuse_conflicts(LaunchOptions(port=port), registry)


def test_what_a_hard_kill_left_on_the_port_is_refused_with_pids_and_remedy(
    registry: Registry, sleeper: subprocess.Popen[bytes]
) -> None:
    port = free_port()
    registry.save(dead(name="marked", port=port))
    with pytest.raises(FixSetup, match=rf"killed hard.*pid {sleeper.pid}\).*`greenflow down`"):
        refuse_conflicts(LaunchOptions(port=port), registry)


def test_instances_on_other_ports_are_no_obstacle(registry: Registry) -> None:
    registry.save(instance(port=free_port()))
    refuse_conflicts(LaunchOptions(port=free_port()), registry)


# The environment


def test_variables_are_put_back_as_they_were() -> None:
    environment = {"A": "old", "C": "kept"}
    with serve_env.applied((serve_env.Variable("A", "1", ""), serve_env.Variable("B", "2", "")), environment):
        assert environment == {"A": "1", "B": "2", "C": "kept"}
    assert environment == {"A": "old", "C": "kept"}


def test_a_joined_cluster_keeps_its_own_addresses() -> None:
    local: dict[str, str] = {}
    joined: dict[str, str] = {}
    serve_env.prepare(True, local, {})
    serve_env.prepare(False, joined, {})
    assert set(local) - set(joined) == {v.name for v in serve_env.LOCAL_MODE}


def test_what_the_user_has_set_is_left_alone() -> None:
    environment = {"RAY_USAGE_STATS_ENABLED": "1"}
    serve_env.prepare(True, environment, {})
    assert environment["RAY_USAGE_STATS_ENABLED"] == "1"


@pytest.mark.parametrize("constant", [True, False])
def test_a_ray_imported_in_another_mode_is_refused(constant: bool) -> None:
    imported = ModuleType("constants")
    imported.RAY_SERVE_ENABLE_HA_PROXY = constant  # type: ignore[attr-defined]
    environment = {"RAY_SERVE_ENABLE_HA_PROXY": "0" if constant else "1"}
    with pytest.raises(FixSetup, match=r"before RAY_SERVE_ENABLE_HA_PROXY=\d was set; call .*prepare"):
        serve_env.prepare(True, environment, {"ray.serve._private.constants": imported})


def every_variable() -> tuple[serve_env.Variable, ...]:
    local = serve_env.LocalPorts(1, 2, 3, 4, 5, 6, range(10, 20), range(20, 30))
    return serve_env.instance_variables("x", Path("/f"), Path("/f/haproxy"), local)


def test_every_variable_says_why_and_is_named_once() -> None:
    variables = every_variable()
    assert all(v.why for v in variables)
    assert len({v.name for v in variables}) == len(variables)


# HAProxy's wrapper

CONFIG = """global
    log 127.0.0.1:514 local0 info
    stats socket /x/admin.sock mode 666
frontend prometheus
    bind :9101
    mode http
frontend http_frontend
    bind 127.0.0.1:8000
    log global
backend http-app
    server one 127.0.0.1:30000 check
listen stats
  bind *:8404
"""


def test_rebinding_puts_metrics_and_statistics_on_loopback() -> None:
    lines = haproxy_guard.rebind(CONFIG, "127.0.0.1").splitlines()
    assert [line.split()[1] for line in lines if "bind " in line] == [
        "127.0.0.1:9101",
        "127.0.0.1:8000",
        "127.0.0.1:8404",
    ]


@pytest.mark.parametrize(("host", "bound"), [("0.0.0.0", "*:8000"), ("::", "*:8000"), ("192.0.2.7", "192.0.2.7:8000")])
def test_a_public_host_opens_the_front_end_alone(host: str, bound: str) -> None:
    opened = haproxy_guard.rebind(CONFIG, host)
    assert f"    bind {bound}\n" in opened
    assert "bind 127.0.0.1:9101" in opened
    assert "bind 127.0.0.1:8404" in opened


def test_serve_is_told_to_leave_recommendations_unwatched() -> None:
    lines = haproxy_guard.rebind(CONFIG, "127.0.0.1").splitlines()
    front = lines.index("    bind 127.0.0.1:8000")
    assert lines[front + 1].strip() == haproxy_guard.UNWATCHED


def test_rebinding_twice_changes_nothing_more() -> None:
    once = haproxy_guard.rebind(CONFIG, "0.0.0.0")
    assert haproxy_guard.rebind(once, "0.0.0.0") == once


def test_the_log_that_nobody_hears_is_dropped_and_another_one_kept() -> None:
    assert "514" not in haproxy_guard.rebind(CONFIG, "127.0.0.1")
    heard = CONFIG.replace("127.0.0.1:514", "/dev/log")
    assert "log /dev/log local0 info" in haproxy_guard.rebind(heard, "127.0.0.1")


def test_the_wrapper_rewrites_the_file_and_becomes_the_binary(tmp_path: Path) -> None:
    config = tmp_path / "a config.cfg"
    config.write_text(CONFIG)
    binary = tmp_path / "real"
    binary.write_text('#!/bin/sh\necho "$$ $@"\n')
    binary.chmod(0o700)
    wrapper = haproxy_guard.install(tmp_path, str(binary), "0.0.0.0")
    with subprocess.Popen([str(wrapper), "-db", "-f", str(config)], stdout=subprocess.PIPE, text=True) as run:
        out, _ = run.communicate(timeout=20)
    assert out == f"{run.pid} -db -f {config}\n"
    assert config.read_text() == haproxy_guard.rebind(CONFIG, "0.0.0.0")


PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.argv[1], "60"], stdout=subprocess.DEVNULL)
print(child.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel call is Linux's")
def test_the_wrapped_binary_dies_with_its_parent(tmp_path: Path) -> None:
    wrapper = haproxy_guard.install(tmp_path, "/bin/sleep", "127.0.0.1")
    wrapper.write_text(wrapper.read_text().replace("'127.0.0.1' \"$@\"", "'127.0.0.1' 60"))
    command = [sys.executable, "-c", PARENT, str(wrapper)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        while child.name() != "sleep":
            time.sleep(0.02)
        parent.kill()
        parent.wait(5)
    psutil.wait_procs([child], timeout=5)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


# The overview


def test_deployments_are_read_from_what_the_dashboard_says() -> None:
    said = {
        "applications": {
            "app": {
                "deployments": {
                    "rank": {
                        "status": "UPDATING",
                        "message": "starting",
                        "target_num_replicas": 3,
                        "replicas": [{"state": "RUNNING"}, {"state": "STARTING"}, {"state": "RUNNING"}],
                    }
                }
            }
        }
    }
    found = overview.deployments_of(said, "app")
    assert found == (overview.DeploymentState("rank", "UPDATING", {"RUNNING": 2, "STARTING": 1}, 3, "starting"),)
    assert overview.deployments_of(said, "other") is None
    assert overview.deployments_of(None, "app") is None


def test_an_instance_that_does_not_answer_is_not_healthy() -> None:
    state = overview.look(instance(port=free_port()), lambda _: None)
    assert state.problem is not None
    assert "no answer" in state.problem
    assert state.as_json()["healthy"] is False
    assert state.as_json()["deployments"] is None


# Signals


def test_signals_are_counted_while_something_must_not_be_interrupted() -> None:
    before = signal.getsignal(signal.SIGINT)
    with teardown.counting_signals() as asked:
        assert not asked.is_set()
        os.kill(os.getpid(), signal.SIGINT)
        assert asked.wait(5)
    assert signal.getsignal(signal.SIGINT) is before


# The Serve config, and what Ray's nodes are told


def test_the_shipped_serve_config_is_valid_and_its_arguments_are_settings() -> None:
    path = Path(__file__).parents[2] / "deploy" / "serve.yaml"
    config = ServeDeploySchema.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    (application,) = config.applications
    assert application.import_path == "cluster.app:build"
    assert Settings.model_validate(application.args) == Settings(ingress_replicas=2)


def test_nodes_of_a_cluster_are_told_what_up_tells_its_own() -> None:
    path = Path(__file__).parents[2] / "deploy" / "ray.env"
    shell = ["sh", "-c", '. "$1"; exec env -0', "sh", str(path)]
    printed = subprocess.run(shell, check=True, capture_output=True, text=True, env={}).stdout
    told = dict(line.split("=", 1) for line in printed.split("\0") if line.startswith("RAY_"))
    assert told.pop("RAY_AUTH_MODE") == "token"
    ours = {v.name: v.value for v in every_variable()}
    assert told.items() <= ours.items()
    assert {v.name for v in serve_env.MODE} - {"RAY_USAGE_STATS_ENABLED"} <= told.keys()
