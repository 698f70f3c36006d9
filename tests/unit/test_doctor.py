"""`greenflow doctor` and its page: what a person sees, and the exit status."""

import io
import json
import os
import re
import socket
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner, Result
from rich.console import Console
from tiny_cascade import TinyCascade

from cluster.commands.doctor import command
from cluster.diagnosis.findings import Diagnosis, Finding, NodeFindings, State
from cluster.diagnosis.page import show
from cluster.launching import ports
from cluster.launching.instances import Instance, Registry, boot, created_s

RULE = "write " + " ".join(f"word{n}" for n in range(60)) + " into the file"
FINDINGS = (
    Finding("nvml", State.OFF, "not read: " + "there is no driver, and so no library " * 4, RULE),
    Finding("rapl", State.OK, "package-0 is read [bold]as it says[/bold]"),
)
_STYLES = re.compile(r"\x1b\[[0-9;]*m")
WRONG = Finding("carbon", State.WRONG, "no such file")


def shown(diagnosis: Diagnosis, width: int = 80, terminal: bool = True) -> str:
    stream = io.StringIO()
    show(diagnosis, Console(file=stream, width=width, force_terminal=terminal, no_color=True, highlight=False))
    return _STYLES.sub("", stream.getvalue()) if terminal else stream.getvalue()


@pytest.mark.parametrize("width", [60, 80, 200])
def test_text_is_wrapped_to_the_terminal_and_a_remedy_can_be_copied_whole(width: int) -> None:
    text = shown(Diagnosis((), (NodeFindings("", "host", FINDINGS),)), width)
    plain = [line for line in text.splitlines() if "remedy:" not in line]
    assert all(len(line) <= min(width, 110) for line in plain)
    assert sum(RULE in line for line in text.splitlines()) == 1
    assert "[bold]as it says[/bold]" in text, "what a machine says is no markup"


def test_how_things_stand_is_told_without_colours() -> None:
    node = NodeFindings("0123456789abcdef", "host", FINDINGS)
    text = shown(Diagnosis((WRONG,), (node,)), terminal=False)
    assert "\x1b" not in text
    assert text.splitlines()[:2] == ["application", "  wrong  carbon    no such file"]
    assert "node host (01234567)" in text
    assert text.splitlines()[-1] == "1 thing that is configured cannot work."
    assert shown(Diagnosis((), (node,)), terminal=False).splitlines()[-1] == "All that is configured works."


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def run(tiny: TinyCascade, tmp_path: Path, *more: str, port: int | None = None) -> Result:
    given = port or ports.first_free(23_456)
    where = ["--cascade", str(tiny.folder), "--state-dir", str(tmp_path / "up"), "--port", str(given)]
    return CliRunner().invoke(command, [*where, *more])


def test_a_machine_on_which_all_works_ends_with_zero(
    tiny: TinyCascade, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GREENFLOW_POWER_SENSORS", "estimate")
    result = run(tiny, tmp_path, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["works"] is True
    subjects = [one["subject"] for one in document["application"]]
    assert subjects[:2] == ["cascade", "port"]
    assert {"carbon", "ledger"} <= set(subjects)
    (node,) = document["nodes"]
    assert any(one.get("power_w", 0) > 0 for one in node["findings"]), "the estimate is read"
    assert not (tmp_path / "state").exists(), "looking changes nothing"


def test_a_port_on_which_greenflow_answers_is_no_fault(tiny: TinyCascade, tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        port = int(listener.getsockname()[1])
        us = {"pid": os.getpid(), "created": created_s(psutil.Process()), "host": "127.0.0.1", "port": port}
        known = {
            "name": "us",
            "boot": boot(),
            "state": "running",
            "url": f"http://127.0.0.1:{port}",
            "app": "greenflow",
        }
        serving = Instance.model_validate(us | known)
        Registry(tmp_path / "up").save(serving)
        result = run(tiny, tmp_path, port=port)
    assert f"{port}: GreenFlow answers there, at http://127.0.0.1:{port}" in result.stdout
    assert result.exit_code == 0, result.output


def test_something_configured_that_cannot_work_ends_with_one(
    tiny: TinyCascade, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GREENFLOW_POWER_SENSORS", "rapl")
    monkeypatch.setenv("GREENFLOW_POWER_RAPL_ROOT", str(tmp_path / "nowhere"))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        result = run(tiny, tmp_path, port=int(listener.getsockname()[1]))
    assert result.exit_code == 1, result.output
    assert "2 things that are configured cannot work." in result.stdout
    assert "is configured, but" in result.stdout
    assert "is in use by process" in result.stdout
