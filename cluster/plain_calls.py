"""Calls between replicas whose arguments and answers are plain: arrays and dataclasses of ours."""

from typing import Any

from ray.serve.handle import DeploymentHandle


def plain(handle: DeploymentHandle[Any], method: str) -> DeploymentHandle[Any]:
    """The handle of one method that spares the work of cloudpickle, which takes several times as long as pickle.

    To be made once, at the first call and not before: a handle with options binds to the event loop that it is made on.
    """
    return handle.options(method_name=method, request_serialization="pickle", response_serialization="pickle")
