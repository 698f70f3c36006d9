"""What `greenflow status` shows: each instance, whether it answers, and its deployments and replicas."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from cluster.launching import readiness
from cluster.launching.instances import Instance

Details = Callable[[str], dict[str, Any] | None]


@dataclass(frozen=True)
class DeploymentState:
    """A deployment as Serve sees it. `replicas` counts them by state, `wanted` is how many there should be."""

    name: str
    status: str
    replicas: dict[str, int]
    wanted: int
    message: str


@dataclass(frozen=True)
class InstanceState:
    """An instance and its condition. `problem` is None when it is healthy; `deployments` None without a dashboard."""

    instance: Instance
    problem: str | None
    deployments: tuple[DeploymentState, ...] | None

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        known = self.instance.model_dump(exclude={"created", "folder"})
        deployments = None if self.deployments is None else [asdict(d) for d in self.deployments]
        return {**known, "healthy": self.problem is None, "problem": self.problem, "deployments": deployments}


def look(instance: Instance, details: Details) -> InstanceState:
    """Ask the instance's health check over HTTP, and Ray's dashboard through `details` for the deployments."""
    problem = readiness.health_problem(instance.url)
    if instance.state != "running":
        problem = f"{instance.state}; {problem}" if problem else instance.state
    deployments = deployments_of(details(instance.dashboard), instance.app)
    if problem is None and deployments is not None:
        problem = _unhealthy(deployments)
    return InstanceState(instance, problem, deployments)


def deployments_of(details: dict[str, Any] | None, app: str) -> tuple[DeploymentState, ...] | None:
    """The application's deployments from what Ray's dashboard says of Serve; None when it says nothing of it."""
    found = ((details or {}).get("applications") or {}).get(app)
    if found is None:
        return None
    return tuple(
        DeploymentState(
            name=name,
            status=str(one.get("status", "UNKNOWN")),
            replicas=dict(Counter(replica["state"] for replica in one.get("replicas", []))),
            wanted=int(one.get("target_num_replicas") or 0),
            message=str(one.get("message", "")),
        )
        for name, one in found["deployments"].items()
    )


def _unhealthy(deployments: tuple[DeploymentState, ...]) -> str | None:
    bad = [f"{d.name} is {d.status.lower()}" for d in deployments if d.status != "HEALTHY"]
    return ", ".join(bad) or None


def table(state: InstanceState) -> Table:
    """For people."""
    instance = state.instance
    shown = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    shown.add_row("endpoint", instance.url)
    shown.add_row("health", "healthy" if state.problem is None else f"not healthy: {state.problem}")
    shown.add_row("cascade", instance.cascade)
    shown.add_row("process", f"{instance.pid}" + (f", joined Ray at {instance.joined}" if instance.joined else ""))
    shown.add_row("dashboard", instance.dashboard or "none")
    for one in state.deployments or ():
        replicas = ", ".join(f"{count} {name.lower()}" for name, count in sorted(one.replicas.items())) or "none"
        shown.add_row(
            f"  {one.name}", f"{one.status.lower()}, replicas: {replicas} of {one.wanted} {one.message}".rstrip()
        )
    return shown
