"""Sees to it that a ledger has one writer. The operating system lets go of the lease when the writer dies."""

import contextlib
import fcntl
import json
import os
import platform
from pathlib import Path

from models.errors import FixSetup


class Lease:
    """An exclusive lock on FILE.lock, where pid and host of its holder stand for people to read."""

    def __init__(self, file: Path) -> None:
        self._file, self._lock = file, file.with_name(file.name + ".lock")
        self._held: int | None = None

    def take(self) -> None:
        """Take the lease; nothing happens if it is held already.

        Raises FixSetup that names the holder if there is another, or that says why there can be no lock.
        """
        if self._held is not None:
            return
        try:
            held = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise FixSetup(f"{self._lock}: cannot be written ({error.strerror}); name another ledger file") from None
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            said = self._refusal(held, error)
            os.close(held)
            raise FixSetup(said) from None
        with contextlib.suppress(OSError):  # a full disk: then nobody can read who holds it, but it is held
            os.ftruncate(held, 0)
            os.write(held, json.dumps({"pid": os.getpid(), "host": platform.node()}).encode())
        self._held = held

    def release(self) -> None:
        """Let another writer have it. The lock's file stays: removing it could let two writers in."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def _refusal(self, held: int, error: OSError) -> str:
        if not isinstance(error, BlockingIOError):
            return f"{self._lock}: cannot be locked ({error.strerror}); name a file on a local disk"
        problem = f"is being written by {_holder(held)}, and a ledger has one writer"
        return f"{self._file}: {problem}: stop that one, or name another file"


def _holder(held: int) -> str:
    try:
        known = json.loads(os.pread(held, 1024, 0))
        return f"process {int(known['pid'])} on {known['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
