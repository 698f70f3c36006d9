"""The benchmark's arithmetic; its measurements are run by hand (tests/bench/README.md)."""

import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).parents[1] / "bench"
BURN = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"


@pytest.fixture
def summary(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCH))
    import summary

    return summary


@pytest.fixture
def process_group(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCH))
    import process_group

    return process_group


def test_ratios_are_taken_within_a_repeat_and_then_their_median(summary: ModuleType) -> None:
    def cell(server: str, repeat: int, rate: float, p50_ms: float, clients: int) -> object:
        return summary.Cell(server, repeat, clients, 1, 0, rate, p50_ms, 9.0, 1.0, 0.1, 0.0)

    rates = {"inline": (100.0, 50.0, 10.0), "peer": (50.0, 100.0, 10.0)}
    cells = [
        cell(s, r, rate, rate / 10, n) for s, all_of in rates.items() for r, rate in enumerate(all_of) for n in (1, 64)
    ]
    cells.append(cell("inline", 3, 1000.0, 1.0, 64))  # a repeat that the peer did not live to see
    throughput, _, _, latency, _ = summary.GOALS
    assert throughput.values(cells) == [2.0, 0.5, 1.0]
    assert latency.values(cells) == [5.0, -5.0, 0.0]
    assert throughput.reached(1.0)
    assert not throughput.reached(0.99)
    assert latency.reached(5.0)
    assert not latency.reached(5.01)
    assert summary.Spread.of(throughput.values(cells)).text(1) == "1.0 (0.5..2.0)"
    assert not summary.disturbed(cells)
    noisy = summary.Cell("inline", 0, 1, 1, 0, 100.0, 10.0, 9.0, 1.0, 0.1, other_cores=1.0)
    assert summary.disturbed([*cells, noisy])
    assert latency.disturbed([*cells, noisy]), "it is of the cells that this figure is made of"
    assert not throughput.disturbed([*cells, noisy])
    assert {g["figure"] for g in summary.goals_json(cells)} == {throughput.name, latency.name}


def test_the_cpu_time_of_grandchildren_counts_and_kill_leaves_none(process_group: ModuleType) -> None:
    group = process_group.ProcessGroup("test-bench")
    burn = f"{BURN}\nprint(1, flush=True)\ntime.sleep(60)"
    shell = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {burn!r}])"
    environment = {**os.environ, process_group.MARK: group.name}
    before = group.cpu_s()
    # The child ends at once, so the one that burns has lost its parent.
    parent = subprocess.Popen([sys.executable, "-c", shell], env=environment, stdout=subprocess.PIPE)
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"1\n"
        parent.wait(10)
        assert process_group.spent_between(before, group.cpu_s()) >= 0.25
        assert group.pss_bytes() > 0
    finally:
        assert len(group.kill()) == 1
    deadline_s = time.monotonic() + 5
    while list(group.members()) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert list(group.members()) == []
    assert parent.stdout.read() == b""
    parent.stdout.close()
