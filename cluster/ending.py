"""Whether Serve has asked this replica to end."""

from typing import Any

import ray


def replica_ends(inside: Any = ray) -> bool:
    """Whether it has, as far as Ray lets that be known. `inside` is Ray's module.

    Serve then waits for all that is under way, and tells the replica's own code only afterwards: a stream that is meant
    to last would hold it up until Serve's patience (20 s) is over. Ray has no public way to this, so it must do no harm
    when this one ends: streams are then cut, and whoever looks comes back to another replica.
    """
    worker: Any = getattr(getattr(inside, "_private", None), "worker", None)
    worker = getattr(worker, "global_worker", None)
    actor = getattr(worker, "actors", {}).get(getattr(worker, "actor_id", None))
    return bool(getattr(getattr(actor, "_replica_impl", None), "_shutting_down", False))
