"""Starts HAProxy for Serve, bound where we want it, and never outliving the actor that started it.

Serve writes HAProxy's configuration itself. Its template binds the metrics and the statistics page on all interfaces,
and offers no setting for that; and when a raylet is killed hard, HAProxy lives on as an orphan that keeps its ports.
Serve does let the operator name the binary (`RAY_SERVE_HAPROXY_BINARY_PATH`). So `install` writes a two-line wrapper,
which runs this file, which rewrites the `bind` lines of the configuration it is given, asks the kernel to kill it when
its parent dies, and becomes the real HAProxy by `exec`: same pid, same arguments, as Serve expects of its binary.

This file runs as a script in an isolated interpreter (`python -I -S`), so it imports the standard library alone.
"""

import ctypes
import os
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

LOOPBACK = "127.0.0.1"
_FRONT = re.compile(r"(?ms)^(frontend http_frontend$.*?^\s*bind )\S+:(\d+)")
_EVERYWHERE = re.compile(r"(?m)^(\s*bind )\*?:(\d+)")
_UNHEARD_LOG = re.compile(r"(?m)^\s*log 127\.0\.0\.1:514 .*\n")
UNWATCHED = "http-request set-header x-request-disconnect-disabled ?1 if METH_POST { path_end /v1/recommend }"
"""Serve need not watch our recommendations for clients that leave: cluster/leaving.py does, for less."""
_PR_SET_PDEATHSIG = 1


def rebind(config: str, front_host: str) -> str:
    """The same configuration with its HTTP front end on `front_host` and everything else on loopback.

    Serve's default log target, a syslog service at port 514 that hardly a machine has, is left out: HAProxy would send
    a datagram there for every request.
    """
    inside = _EVERYWHERE.sub(rf"\g<1>{LOOPBACK}:\g<2>", _UNHEARD_LOG.sub("", config))
    host = "*" if front_host in ("0.0.0.0", "::") else front_host
    once = inside.replace(f"\n    {UNWATCHED}", "")
    return _FRONT.sub(rf"\g<1>{host}:\g<2>\n    {UNWATCHED}", once)


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies. Does nothing where there is no such call (not Linux).

    Stays in force across `exec`. If the parent is gone already, the process ends at once.
    """
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def install(folder: Path, binary: str, front_host: str) -> Path:
    """Write the wrapper into `folder` and return its path, for `RAY_SERVE_HAPROXY_BINARY_PATH`."""
    wrapper = folder / "haproxy"
    words = " ".join(_quoted(w) for w in (sys.executable, "-I", "-S", __file__, binary, front_host))
    wrapper.write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="utf-8")
    wrapper.chmod(0o700)
    return wrapper


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


def _main(binary: str, front_host: str, *arguments: str) -> None:
    if "-f" in arguments:
        path = Path(arguments[arguments.index("-f") + 1])
        path.write_text(rebind(path.read_text(encoding="utf-8"), front_host), encoding="utf-8")
    die_with_parent()
    _replace_process([binary, *arguments])


def _replace_process(command: Sequence[str]) -> None:
    os.execv(command[0], list(command))


if __name__ == "__main__":
    _main(*sys.argv[1:])
