"""`greenflow doctor` on a Ray cluster that somebody else started."""

import json
import os
import subprocess
import sys
from pathlib import Path

from live import free_port
from ray_head import ray_head

from cluster.config import DEMO


def doctor(address: str, tmp_path: Path, *more: str) -> tuple[int, dict[str, object]]:
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "GREENFLOW_POWER_SENSORS": "estimate"}
    where = ["--state-dir", str(tmp_path / "up"), "--port", str(free_port()), "--address", address, "--json"]
    main = "from cluster.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", main, "doctor", *where, *more],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_every_node_of_a_cluster_examines_itself(tmp_path: Path) -> None:
    with ray_head(1) as address:
        code, document = doctor(address, tmp_path)
        assert (code, document["works"]) == (0, True), document
        (node,) = document["nodes"]  # type: ignore[misc]
        assert {one["subject"]: one["state"] for one in document["application"]}["ledger"] == "note"  # type: ignore[attr-defined]
        assert len(node["node"]) == 56
        assert any(one.get("power_w", 0) > 0 for one in node["findings"])
        assert [one["folder"] for one in document["application"] if "folder" in one] == [str(DEMO)]  # type: ignore[attr-defined]
        code, document = doctor(address, tmp_path, "--timeout", "1")  # less than it takes to watch the counters
        (node,) = document["nodes"]  # type: ignore[misc]
        assert (code, node["findings"][0]["says"]) == (1, "did not answer within 1 s")
