"""Ends an instance whose gentle stop was cut short: a program that takes the place of `up`, with its process id.

Ray's client ends its own process, with an error, once it misses the raylet. So the process that kills the raylet must
not hold a client of it.
"""

import os
import signal
import sys
from pathlib import Path

from cluster.launching import serve_env, stopping
from cluster.launching.instances import Instance, Registry
from models.errors import FixSetup


def take_over(registry: Registry, instance: Instance) -> None:
    """Go on as this program, which ends every process of the instance and forgets it. Does not return."""
    sys.stdout.flush()
    environment = {name: value for name, value in os.environ.items() if name != serve_env.MARKER}
    command = [sys.executable, "-m", "cluster.launching.hurried", str(registry.root), instance.name]
    os.execve(sys.executable, command, environment)


def main(root: str, name: str) -> int:
    """End the instance of that name in the registry's folder; the exit status."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # there is nothing quicker than this
    registry = Registry(Path(root))
    try:
        for instance in registry.all():
            if instance.name == name:
                stopping.clear(instance, registry, at_once=True)
    except FixSetup as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write("stopped\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
