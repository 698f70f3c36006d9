"""Fills the parts of a reward table over Ray tasks, on every node of a cluster."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from allocator.table import Rows
from allocator.tabulate import Work
from cluster.launching import ray_joined

IN_FLIGHT_PER_CPU = 2


def fill(address: str, work: Work, parts: Sequence[int]) -> Iterator[tuple[int, Rows]]:
    """Parts as they get ready, in any order; a part whose worker dies is run again elsewhere.

    Joins the cluster at `address`; the cascade's folder must lie at the same path on every node. What is still under
    way when the caller stops is cancelled. Raises FixSetup when no cluster answers.
    """
    import ray

    with ray_joined.connected(address):
        shared = ray.put(work)
        task = ray.remote(num_cpus=1, max_retries=3)(_part)
        most = max(1, int(ray.cluster_resources().get("CPU", 1)) * IN_FLIGHT_PER_CPU)  # type: ignore[no-untyped-call]
        yield from _bounded(lambda number: task.remote(shared, number), parts, most)


def _part(work: Work, number: int) -> tuple[int, Rows]:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    return number, work.start().part(number)


def _bounded(submit: Callable[[int], object], parts: Sequence[int], most: int) -> Iterator[tuple[int, Rows]]:
    import ray

    waiting, under_way = list(parts), list[Any]()
    try:
        while waiting or under_way:
            while waiting and len(under_way) < most:
                under_way.append(submit(waiting.pop(0)))
            ready, under_way = ray.wait(under_way)
            for one in ready:
                yield ray.get(one)
    finally:
        for one in under_way:
            ray.cancel(one, force=True)
