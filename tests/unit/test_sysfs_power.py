"""The stand-in for RAPL itself: its truth is what its counters say, and it goes on where it was ended."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import sysfs_power
import sysfs_tree
from sysfs_power import SysfsPower, driven
from sysfs_tree import SysfsTree


def counter_j(tree: SysfsTree, zone_id: str) -> float:
    return int((tree.powercap / zone_id / "energy_uj").read_text()) / 1e6


def test_counters_and_truth_follow_the_stated_formula(tmp_path: Path) -> None:
    tree = SysfsTree.build(tmp_path / "machine", sysfs_tree.intel_two_sockets())
    power = SysfsPower(tree, start_j=-100.0)
    power.advance(10.0, busy=0.25)
    assert power.truth_j == {name: pytest.approx(400.0 if "/" not in name else 60.0) for name in power.truth_j}
    assert counter_j(tree, "intel-rapl:0") == pytest.approx(300.0, abs=1e-5), "through the wrap"
    assert counter_j(tree, "intel-rapl-mmio:0") == counter_j(tree, "intel-rapl:0")
    assert json.loads((tree.root / "truth.json").read_text())["total_j"] == pytest.approx(920.0)


def test_truth_goes_on_through_resets_and_absence(tmp_path: Path) -> None:
    tree = SysfsTree.build(tmp_path / "machine", sysfs_tree.amd())
    power = SysfsPower(tree, start_j=500.0)
    power.advance(1.0, busy=0.0)
    power.reset("intel-rapl:0")
    assert counter_j(tree, "intel-rapl:0") == 0.0
    power.vanish("intel-rapl:0")
    power.advance(1.0, busy=0.0)
    power.come_back("intel-rapl:0")
    assert counter_j(tree, "intel-rapl:0") == pytest.approx(20.0, abs=1e-5)
    assert power.truth_j == {"package-0": 40.0}


def test_a_thread_follows_the_cpu_time_of_this_machine(tmp_path: Path) -> None:
    power = SysfsPower(SysfsTree.build(tmp_path / "machine", sysfs_tree.amd()))
    began_s = time.monotonic()
    with driven(power, tick_s=0.02):
        time.sleep(0.2)
    most_s = time.monotonic() - began_s
    assert 20 * 0.2 * 0.99 <= power.truth_j["package-0"] <= 100 * most_s * 1.01


def test_as_a_script_it_obeys_commands_and_goes_on_after_it_was_killed(tmp_path: Path) -> None:
    root = tmp_path / "machine"
    command = [sys.executable, sysfs_power.__file__, str(root), "--board", "amd", "--tick-s", "0.02"]
    (tmp_path / "machine").mkdir()
    with subprocess.Popen(command) as first:
        wait_for_joules(root, 1.0)
        (root / "commands").write_text("vanish intel-rapl:0\n")
        wait_until(lambda: not (root / "sys/class/powercap/intel-rapl:0").exists())
        os.kill(first.pid, signal.SIGKILL)
    before_j = total_j(root)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as second:
        wait_for_joules(root, before_j + 1.0)
        with (root / "commands").open("a") as commands:
            commands.write("return intel-rapl:0\n")
        wait_until((root / "sys/class/powercap/intel-rapl:0").exists)
        second.terminate()
        told, _ = second.communicate(timeout=10)
    assert second.returncode == 0
    assert json.loads(told) == {"package-0": pytest.approx(total_j(root))}
    tree = SysfsTree(root, sysfs_tree.amd())
    assert counter_j(tree, "intel-rapl:0") == pytest.approx(total_j(root), abs=1e-5), "it counted on all the time"


class KilledError(Exception):
    """A driver is killed here."""


@pytest.mark.parametrize("step", ["vanish", "come_back"])
@pytest.mark.parametrize("done", [False, True])
def test_a_driver_that_is_killed_while_a_zone_goes_or_comes_leaves_nothing_half_done(
    tmp_path: Path, step: str, done: bool
) -> None:
    tree = SysfsTree.build(tmp_path, sysfs_tree.intel_two_sockets())
    (tmp_path / "commands").write_text("vanish intel-rapl:0\n")
    power = SysfsPower(tree)
    if step == "come_back":
        power.obey_new()
        (tmp_path / "commands").write_text("vanish intel-rapl:0\nreturn intel-rapl:0\n")
    true = getattr(tree, step)

    def killed(zone_id: str) -> None:
        if done:
            true(zone_id)
        raise KilledError

    setattr(tree, step, killed)
    with pytest.raises(KilledError):
        power.obey_new()
    setattr(tree, step, true)
    again = SysfsPower(tree)
    again.obey_new()
    again.advance(1.0, 0.5)
    here = (tree.powercap / "intel-rapl:0").exists()
    assert here == (step == "come_back")
    assert not here or counter_j(tree, "intel-rapl:0") == pytest.approx(again.truth_j["package-0"], abs=1e-5)


def total_j(root: Path) -> float:
    return float(json.loads((root / "truth.json").read_text())["total_j"])


def wait_for_joules(root: Path, joules: float) -> None:
    wait_until(lambda: (root / "truth.json").exists() and total_j(root) > joules)


def wait_until(holds: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end_s, "it did not happen"
        time.sleep(0.02)
