"""What a host's processors are called in reports of work: one pool, however many Ray nodes run there."""

from cluster.power.host import HostFiles


def pool_of(host: str) -> str:
    """The pool of what a host's processors and memory draw."""
    return f"{host}/cpu"


def host_pool() -> str:
    """That of this host, by its boot id, which is the same in all of its containers."""
    return pool_of(HostFiles().boot_id())
