"""TCP ports of this machine: which are free, and who holds one that is not."""

import random
import socket
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

from models.errors import FixSetup

# Below the range that Linux gives to outgoing connections (32768 and up), so that none of them takes a port of ours
# between the look and the use; above what other services commonly use.
LOWEST, HIGHEST = 10_000, 32_000


@dataclass(frozen=True)
class Holder:
    """A process that listens on a port. `pid` is None where the system does not say (another user's process)."""

    port: int
    pid: int | None
    command: str
    is_orphan: bool

    @property
    def is_haproxy(self) -> bool:
        """Whether it is an HAProxy."""
        return "haproxy" in self.command.split(" ", 1)[0]

    def __str__(self) -> str:
        return f"process {self.pid} ({self.command[:120]})" if self.pid else "a process of another user"


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on host:port now. Connections that linger after a close do not count."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_block(size: int, rng: random.Random, taken: Iterable[range] = ()) -> range:
    """`size` neighbouring free ports that overlap none of the `taken` ranges.

    Raises FixSetup when a hundred random places have none.
    """
    avoid = list(taken)
    for _ in range(100):
        start = rng.randrange(LOWEST, HIGHEST - size)
        block = range(start, start + size)
        if any(block.start < t.stop and t.start < block.stop for t in avoid):
            continue
        if all(is_free(port) for port in block):
            return block
    raise FixSetup(
        f"no {size} neighbouring free TCP ports between {LOWEST} and {HIGHEST}; stop something that listens there"
    )


def first_free(port: int, tries: int = 50) -> int:
    """`port` if it is free, else the next one above that is. Raises FixSetup after `tries`."""
    for candidate in range(port, port + tries):
        if is_free(candidate):
            return candidate
    raise FixSetup(f"ports {port} to {port + tries - 1} are all in use")


def holder(port: int) -> Holder | None:
    """Who listens on `port`; None when nobody does, or the system does not let us look."""
    try:
        found = [
            c
            for c in psutil.net_connections("tcp")
            if c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port == port
        ]
    except psutil.AccessDenied:
        return None
    if not found:
        return None
    pid = next((c.pid for c in found if c.pid), None)
    if pid is None:
        return Holder(port, None, "", False)
    try:
        process = psutil.Process(pid)
        return Holder(port, pid, " ".join(process.cmdline()) or process.name(), process.ppid() == 1)
    except psutil.Error:
        return None


def require_free(port: int, host: str) -> None:
    """Raise FixSetup naming the port, who holds it, and the remedy, unless a server can listen on host:port."""
    if is_free(port, host):
        return
    found = holder(port)
    if found is None:
        raise FixSetup(
            f"cannot listen on {host}:{port}: in use, or the address is not one of this machine's; pick another --port"
        )
    if found.is_haproxy and found.is_orphan:
        raise FixSetup(
            f"port {port} is held by {found}, which outlived a Ray that was killed hard; "
            f"stop it with `kill {found.pid}`"
        )
    raise FixSetup(f"port {port} is in use by {found}; stop it or pick another --port")
