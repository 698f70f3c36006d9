"""What a machine is called in the books: joules of one host are one account, however many Ray nodes run on it."""

from pathlib import Path

BOOT_ID = "proc/sys/kernel/random/boot_id"


def host_id(root: Path = Path("/")) -> str:
    """The kernel's boot id: the same in all containers of a machine, another one after each boot."""
    return (root / BOOT_ID).read_text(encoding="ascii").strip()


def pool_of(host: str) -> str:
    """The pool of what a host's processors and memory draw."""
    return f"{host}/cpu"


def host_pool(root: Path = Path("/")) -> str:
    """The pool of this host's processors."""
    return pool_of(host_id(root))
