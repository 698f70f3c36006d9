"""Whether a replica is about to end is found out inside Ray, and where Ray hides it nothing breaks."""

from types import SimpleNamespace
from typing import Any

import pytest

from cluster.ending import replica_ends


def ray_with(shutting_down: bool) -> Any:
    replica = SimpleNamespace(_replica_impl=SimpleNamespace(_shutting_down=shutting_down))
    worker = SimpleNamespace(actor_id="a", actors={"a": replica})
    return SimpleNamespace(_private=SimpleNamespace(worker=SimpleNamespace(global_worker=worker)))


@pytest.mark.parametrize("shutting_down", [True, False])
def test_a_replica_ends_once_serve_has_asked_it_to(shutting_down: bool) -> None:
    assert replica_ends(ray_with(shutting_down)) is shutting_down


def test_a_process_that_is_no_replica_does_not_end() -> None:
    assert replica_ends() is False


@pytest.mark.parametrize("path", ["_private", "_private.worker", "_private.worker.global_worker"])
def test_where_ray_hides_it_no_replica_ends(path: str) -> None:
    inside = ray_with(True)
    *parents, last = path.split(".")
    place = inside
    for name in parents:
        place = getattr(place, name)
    delattr(place, last)
    assert replica_ends(inside) is False


def test_an_actor_that_is_built_otherwise_does_not_end() -> None:
    inside = ray_with(True)
    inside._private.worker.global_worker.actors = {"a": object()}
    assert replica_ends(inside) is False
    inside._private.worker.global_worker.actors = {}
    assert replica_ends(inside) is False
