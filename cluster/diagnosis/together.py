"""What only shows when nodes are laid side by side: the same cascade on all, GPUs for the variants that want one, and
one disk for what is kept."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from cluster.diagnosis.findings import Finding, NodeFindings, State
from models.spec import CascadeSpec, Device


def across(nodes: Sequence[NodeFindings], spec: CascadeSpec | None, folder: Path, digest: str) -> tuple[Finding, ...]:
    """Findings about all nodes together.

    spec    of the checked cascade, None where that is broken
    digest  of its file where it was checked; a machine without a cluster has no other copy to compare
    """
    answered = [node for node in nodes if node.devices]
    elsewhere = [node for node in answered if node.node]
    return (*_same_cascade(elsewhere, folder, digest), *(_gpus(answered, spec) if spec is not None else ()))


def _same_cascade(nodes: Sequence[NodeFindings], folder: Path, digest: str) -> Iterator[Finding]:
    remedy = f"copy the folder to {folder} on every node"
    for node in nodes:
        if not node.cascade:
            yield Finding("cascade", State.WRONG, f"is not at {folder} on node {node.host}", remedy)
        elif digest and node.cascade != digest:
            yield Finding("cascade", State.WRONG, f"is another one at {folder} on node {node.host} than here", remedy)


def _gpus(nodes: Sequence[NodeFindings], spec: CascadeSpec) -> Iterator[Finding]:
    wanting = [
        f"{stage.name}/{variant.name}"
        for stage in spec.stages
        for variant in stage.variants
        if variant.device is Device.CUDA
    ]
    able = [node.host for node in nodes if node.gpus and Device.CUDA.value in node.devices]
    if wanting and not able:
        says = f"{', '.join(wanting)}: want a GPU, and no node has both a GPU and an ONNX Runtime that can use it"
        yield Finding(
            "cascade", State.WRONG, says, "install onnxruntime-gpu on a GPU node, or set device: cpu for them"
        )
    elif wanting:
        yield Finding("cascade", State.OK, f"{', '.join(wanting)}: can have a GPU on {', '.join(able)}")


def keeper_findings(nodes: Sequence[NodeFindings], resource: str | None) -> Iterator[Finding]:
    """Whether what is kept stays on one disk, wherever Ray starts who keeps it. Nothing where there is but one host.

    resource  of the nodes where that may run; None for any
    """
    hosts = {node.host for node in nodes if node.node}
    having = {node.host for node in nodes if node.node and resource in node.resources}
    name = resource or "greenflow-books"
    start = f"on the node whose disk is to keep it: ray start --resources='{{\"{name}\": 1}}'"
    if resource is not None and hosts and not having:
        says = f"no node has the resource {resource}: who keeps ledger and log could start nowhere"
        yield Finding("keeper", State.WRONG, says, start)
    elif resource is None and len(hosts) > 1:
        says = f"on {len(hosts)} hosts: when Ray starts the controller anew on another, it begins a ledger there"
        yield Finding("keeper", State.NOTE, says, f"{start}, and set GREENFLOW_KEEPER_RESOURCE={name}")
    elif len(having) > 1:
        says = f"{len(having)} hosts have the resource {resource}: ledger and log may be begun on each of them"
        yield Finding("keeper", State.NOTE, says, "leave it to one of them")
    elif having:
        yield Finding("keeper", State.OK, f"ledger and log stay on {having.pop()}")
