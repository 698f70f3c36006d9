"""A writer that is killed at any point loses no joule that the counters still hold, and bills none twice."""

import json
import subprocess
import sys
from pathlib import Path

import ledger_killed

KILLS = 50


def test_fifty_kills_lose_no_joule_and_bill_none_twice(tmp_path: Path) -> None:
    script = Path(ledger_killed.__file__)
    root = script.parents[2]
    command = [sys.executable, str(script), str(tmp_path), str(KILLS), "0"]
    path = {"PYTHONPATH": str(root)}
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120, cwd=root, env=path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["truth"] > 0
    assert set(result["found"].values()) == {result["truth"]}, "exact: every figure is a power of two's multiple"
    assert result["counts"]["rows"] == result["counts"]["last"], "every number was used once"
    assert sum(result["phases"].values()) == KILLS
    assert result["phases"].get("writing", 0) >= KILLS // 10, f"kills must hit writes: {result['phases']}"
