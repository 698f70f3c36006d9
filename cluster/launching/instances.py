"""The `greenflow up` instances of this user on this machine: a small file each, and the processes that belong to one.

A file outlives its instance when `up` is killed hard. Such a stale one is recognised by the pid and its start time,
counted from the machine's own start: the time of day at which a process began changes when the clock is set.
"""

import contextlib
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from cluster.config import state_folder
from cluster.launching.serve_env import MARKER

FOLDER_PREFIX = "greenflow-"
_KILL_S = 5.0
_SAME_S = 0.05


class Instance(BaseModel):
    """What is known of one `up`.

    pid, created  its process, and when that started (s since the machine did), so that a reused pid is not taken for it
    boot          which start of the machine that is
    url           where it answers
    dashboard     Ray's dashboard, "" without one
    joined        the address of the Ray cluster that it joined; "" where it started its own
    folder        its temporary folder, with Ray's session and HAProxy's files; "" where it joined
    """

    model_config = ConfigDict(frozen=True)

    name: str
    pid: int
    created: float
    boot: str
    state: Literal["starting", "running", "stopping"]
    host: str
    port: int
    url: str
    app: str
    cascade: str = ""
    dashboard: str = ""
    joined: str = ""
    folder: str = ""

    @property
    def process(self) -> psutil.Process | None:
        """The process that wrote this; None when it is gone or a zombie."""
        return _process(self.pid, self.created) if self.boot == boot() else None

    @property
    def is_alive(self) -> bool:
        """Whether the process that wrote this still runs."""
        return self.process is not None


def default_root() -> Path:
    """Where the instances of this user on this machine are noted; homes may be shared between machines."""
    return state_folder() / platform.node()


class Registry:
    """The folder of the instances' files; its name says for whom. Safe to use from several processes at once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def save(self, instance: Instance) -> None:
        """Write or replace the instance's file, readable by this user alone."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, path = tempfile.mkstemp(dir=self.root, suffix=".tmp")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(instance.model_dump_json(indent=1))
        Path(path).replace(self._file(instance.name))

    def forget(self, instance: Instance) -> None:
        """Remove the instance's file and its temporary folder; nothing happens if they are not there."""
        if Path(instance.folder).name.startswith(FOLDER_PREFIX):
            shutil.rmtree(instance.folder, ignore_errors=True)
        self._file(instance.name).unlink(missing_ok=True)

    def all(self) -> list[Instance]:
        """Every known instance, by port, the stale ones too. A file that does not parse is removed."""
        found = []
        for path in self.root.glob("*.json"):
            try:
                found.append(Instance.model_validate_json(path.read_text(encoding="utf-8")))
            except FileNotFoundError:
                continue
            except (ValidationError, UnicodeDecodeError):
                path.unlink(missing_ok=True)
        return sorted(found, key=lambda instance: instance.port)

    def alive(self) -> list[Instance]:
        """Those whose process runs."""
        return [instance for instance in self.all() if instance.is_alive]

    def sweep(self) -> list[Instance]:
        """The instances that were killed hard and have processes left. Those with none are forgotten."""
        left = []
        for instance in self.all():
            if instance.is_alive:
                continue
            if processes_of(instance.name):
                left.append(instance)
            else:
                self.forget(instance)
        return left

    def _file(self, name: str) -> Path:
        return self.root / f"{name}.json"


def boot() -> str:
    """Which start of the machine this is, "" where the kernel does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def created_s(candidate: psutil.Process) -> float:
    """When the process started, in seconds since the machine did. Raises psutil.Error when it is gone."""
    return psutil.Process(candidate.pid).create_time() - psutil.boot_time()


def _process(pid: int, created: float) -> psutil.Process | None:
    try:
        found = psutil.Process(pid)
        return found if abs(created_s(found) - created) < _SAME_S and runs(found) else None
    except psutil.Error:
        return None


def processes_of(name: str) -> list[psutil.Process]:
    """The processes that the instance started, wherever they hang in the tree by now. Zombies don't count.

    Those that carry the mark, and what they started: the title of Ray's agents is so long that nothing of their
    environment is left to read.
    """
    everyone = list(psutil.process_iter(["ppid", "status"]))
    alive = [p for p in everyone if p.info["status"] != psutil.STATUS_ZOMBIE]
    found = {p.pid: p for p in alive if _carries(p, name)}
    while more := {p.pid: p for p in alive if p.pid not in found and p.info["ppid"] in found}:
        found |= more
    return list(found.values())


def _carries(candidate: psutil.Process, name: str) -> bool:
    try:
        return _is_marked(candidate, name)
    except psutil.Error:
        return False


def _is_marked(candidate: psutil.Process, name: str) -> bool:
    """Whether the process was started with the instance's mark.

    Ray's processes write their titles over the front part of their environment, where psutil then stops reading.
    """
    environ = Path(f"/proc/{candidate.pid}/environ")
    if not environ.exists():
        return candidate.environ().get(MARKER) == name
    try:
        return f"{MARKER}={name}".encode() in environ.read_bytes().split(b"\0")
    except OSError:
        return False


def end(processes: Iterable[psutil.Process], grace_s: float) -> list[psutil.Process]:
    """End the processes: wait `grace_s` for them to go by themselves, then kill. Returns those that are still there."""
    waiting = _wait(list(processes), grace_s)
    for survivor in waiting:
        with contextlib.suppress(psutil.Error):
            survivor.kill()
    return _wait(waiting, _KILL_S)


def _wait(processes: list[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Those that still run after `timeout_s`. A zombie is gone: when it is reaped is up to its parent."""
    deadline = time.monotonic() + timeout_s
    while processes := [p for p in processes if runs(p)]:
        if time.monotonic() >= deadline:
            break
        time.sleep(0.05)
    return processes


def runs(candidate: psutil.Process) -> bool:
    """Whether it is there, is the same as ever, and is no zombie."""
    try:
        return candidate.is_running() and candidate.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
