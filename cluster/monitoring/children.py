"""Programs that are run beside us: started, waited for until they answer, ended with us."""

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.direct import DIRECT
from cluster.launching.haproxy_guard import die_with_parent
from models.errors import FixSetup

_POLL_S, _END_S = 0.1, 10.0
_LAST_LINES = 5


@dataclass(frozen=True)
class Child:
    """A program that runs. `url` is where people find it, and `log` what it says."""

    name: str
    url: str
    log: Path
    process: "subprocess.Popen[bytes]"

    def failure(self) -> str | None:
        """Why it has ended, None while it runs."""
        if self.process.poll() is None:
            return None
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:]
        return "\n  ".join([f"{self.name} has ended (status {self.process.returncode}); {self.log} says", *lines])

    def stop(self) -> None:
        """End it, gently at first."""
        self.process.terminate()
        try:
            self.process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def started(name: str, command: Sequence[str], url: str, log: Path) -> Child:
    """Start it in a session of its own: Ctrl-C reaches us alone, and we end it. On Linux it dies with us anyway."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 (it takes no lock that a thread of ours may hold)
        )
    return Child(name, url, log, process)


def wait_until_ready(child: Child, path: str, timeout_s: float) -> None:
    """Return once it answers 200 to `path`. Raises FixSetup when it ends or is not ready in time; it is ended then."""
    deadline = time.monotonic() + timeout_s
    while not _answers(child.url + path):
        failure = child.failure()
        if failure is None and time.monotonic() < deadline:
            time.sleep(_POLL_S)
            continue
        child.stop()
        raise FixSetup(
            failure or f"{child.name} does not answer at {child.url}{path} after {timeout_s:g} s: {child.log}"
        )


def _answers(url: str) -> bool:
    try:
        with DIRECT.open(url, timeout=2.0) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False
