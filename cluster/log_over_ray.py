"""Reads a log where it lies: in a task of a Ray cluster, which hands back the joined rows."""

import pickle
from typing import Any

from cluster.commands.retrain_rows import Reading
from cluster.launching import ray_joined
from models.errors import FixFile, FixSetup, GreenFlowError


def read_over_ray(address: str, reading: Reading) -> Any:
    """What `Reading.read` gives, worked out by one task of the cluster at `address`.

    Its folder must lie at the same path on the nodes. Raises FixSetup when no cluster answers or the task cannot run,
    else as `Reading.read` does.
    """
    import ray

    with ray_joined.connected(address):
        task = ray.remote(num_cpus=1, max_retries=3)(_read)
        try:
            found = pickle.loads(ray.get(task.remote(reading)))
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, GreenFlowError):
                raise error.cause from None
            raise FixSetup(f"the cluster at {address} cannot read the log: {_line(error.cause)}") from None
        except ray.exceptions.RayError as error:
            raise FixSetup(f"the cluster at {address} cannot read the log: {_line(error)}") from None
        return found


def _read(reading: Reading) -> bytes:
    if not reading.folder.is_dir():
        raise FixFile(reading.folder, "", "is no folder on the node of the cluster that was to read it")
    # As bytes: arrays would lie in the cluster's memory, and be gone with the connection to it.
    return pickle.dumps(reading.read(), pickle.HIGHEST_PROTOCOL)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
