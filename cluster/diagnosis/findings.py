"""What is found, in a form that people and programs read alike. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """How things stand.

    ok     works
    note   works, but less well than it could
    off    is not there, and nobody asked for it
    wrong  is configured and cannot work
    """

    OK = "ok"
    NOTE = "note"
    OFF = "off"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    subject  what, in a word or two
    says     how it stands, in words
    remedy   what to do, "" for nothing
    facts    the same for programs: names of JSON fields to plain values
    """

    subject: str
    state: State
    says: str
    remedy: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "subject": self.subject,
            "state": self.state.value,
            "says": self.says,
            "remedy": self.remedy,
            **dict(self.facts),
        }


@dataclass(frozen=True, slots=True)
class NodeFindings:
    """What one node found out about itself.

    node      its id in Ray, "" where there is no cluster
    host      what people call the machine
    cascade   digest of its cascade.yaml, "" where there is none
    devices   device classes of variants that can run there: cpu, cuda
    gpus      how many the driver shows
    resources what Ray has of it, by name
    """

    node: str
    host: str
    findings: tuple[Finding, ...]
    cascade: str = ""
    devices: tuple[str, ...] = ()
    gpus: int = 0
    resources: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {"node": self.node, "host": self.host, "findings": [one.as_json() for one in self.findings]}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All of it: the application as a whole, then node by node."""

    application: tuple[Finding, ...]
    nodes: tuple[NodeFindings, ...]

    @property
    def wrong(self) -> tuple[Finding, ...]:
        """What is configured and cannot work."""
        return tuple(one for one in self._all() if one.state is State.WRONG)

    def _all(self) -> Iterable[Finding]:
        yield from self.application
        for node in self.nodes:
            yield from node.findings

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        application = [one.as_json() for one in self.application]
        return {"works": not self.wrong, "application": application, "nodes": [one.as_json() for one in self.nodes]}
