"""`greenflow down` stops what it is told to stop, and nothing else."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from cluster.cli import greenflow


def test_a_port_means_an_instance_here_and_never_the_application_of_a_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # whoever looked there would wait, and fail
    found = CliRunner().invoke(greenflow, ["down", "--port", "8081", "--state-dir", str(tmp_path)])
    assert (found.exit_code, found.output) == (0, "nothing is running on port 8081\n")
