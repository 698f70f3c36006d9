"""Asks every node of a running Ray cluster to examine itself."""

from dataclasses import replace
from typing import Any

from cluster.diagnosis.findings import Finding, NodeFindings, State
from cluster.diagnosis.node import Questions, examine
from cluster.launching import ray_joined

_NO_ANSWER = "look at Ray's dashboard for the node, or stop it; GreenFlow must be installed there, in this version"


def examine_nodes(address: str, questions: Questions, timeout_s: float) -> tuple[NodeFindings, ...]:
    """What each node that is alive says of itself, in the order of their host names. No CPU is reserved for it.

    A node that does not answer within `timeout_s` is wrong. Raises FixSetup when no cluster answers.
    """
    import ray

    with ray_joined.connected(address):
        nodes = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
        asked = {_asked(node["NodeID"], questions): node for node in nodes}
        ready, late = ray.wait(list(asked), num_returns=len(asked), timeout=timeout_s)
        found = [_answer(one, asked[one]) for one in ready]
        for one in late:
            ray.cancel(one, force=True)
            found.append(_silent(asked[one], f"did not answer within {timeout_s:g} s"))
    return tuple(sorted(found, key=lambda node: (node.host, node.node)))


def _asked(node: str, questions: Questions) -> Any:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task: Any = ray.remote(num_cpus=0, max_retries=0)(examine)
    here = NodeAffinitySchedulingStrategy(node, soft=False)
    return task.options(scheduling_strategy=here).remote(questions, node)


def _answer(one: Any, node: dict[str, Any]) -> NodeFindings:
    import ray

    try:
        found: NodeFindings = ray.get(one)
    except Exception as error:  # whatever breaks on a node is that node's finding
        return _silent(node, f"could not examine itself: {_last_line(error)}")
    return replace(found, resources=_resources(node))


def _silent(node: dict[str, Any], says: str) -> NodeFindings:
    name = str(node["NodeManagerHostname"])
    finding = Finding("node", State.WRONG, says, _NO_ANSWER)
    return NodeFindings(str(node["NodeID"]), name, (finding,), resources=_resources(node))


def _resources(node: dict[str, Any]) -> tuple[str, ...]:
    return tuple(sorted(name for name, amount in node["Resources"].items() if amount > 0))


def _last_line(error: Exception) -> str:
    """Where an error that went through Ray names itself."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1][:300]
