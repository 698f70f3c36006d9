"""What devices, pools and hosts are called in the whole cluster, and meters' reports in these names. Pure."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from cluster.power.base import Counter
from cluster.power.meter import HostId, Metered, MeterReport

Names = Mapping[str, str]
"""Of hosts, by boot id."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A device as a meter's report tells it. `device`, `pool` and the host's `name` are unique in the cluster."""

    device: str
    pool: str
    name: str
    boot: str
    node: str
    session: str
    metered: Metered

    @property
    def counter(self) -> Counter:
        """Its last reading."""
        return self.metered.counter

    @property
    def at_s(self) -> float:
        """When that was, on the host's clock."""
        return self.metered.counter.at_s


def named(names: Names, hosts: Sequence[HostId], present: Collection[str]) -> dict[str, str]:
    """The names with those of these hosts in them.

    A host goes by its host name, also after a reboot, so that its devices stay the same ones. Where two hosts have one
    name, which containers may, the later one's boot id is added; where one has several, as its containers may, the one
    that was heard first stays.

    present  boot ids of hosts that were heard a moment ago: their names are not free
    """
    known = dict(names)
    for host in hosts:
        if host.boot in known:
            continue
        others = {boot for boot, name in known.items() if name == host.name}
        if others & set(present):
            known[host.boot] = f"{host.name}-{host.boot[:8]}"
        else:
            known = {boot: name for boot, name in known.items() if boot not in others} | {host.boot: host.name}
        present = {*present, host.boot}
    return known


def readings_of(reports: Sequence[MeterReport], names: Names) -> dict[str, list[Reading]]:
    """All that meters tell, by device."""
    found: dict[str, list[Reading]] = defaultdict(list)
    for report in reports:
        name, boot = names[report.host.boot], report.host.boot
        for metered in report.devices:
            counter = metered.counter
            device = counter.device if counter.kind == "gpu" else f"{name}/{counter.device}"
            pool = device if counter.pool == counter.device else f"{name}/{counter.pool}"
            found[device].append(Reading(device, pool, name, boot, report.node, report.session, metered))
    return dict(found)


def pool_of(device: str) -> str:
    """The pool of a device that nothing but its name is known of: a ledger remembers no more."""
    name, slash, _ = device.partition("/")
    return f"{name}/cpu" if slash else device


def names_of(hosts: Mapping[str, str]) -> dict[str, str]:
    """The names of hosts, by boot id, as the devices of a ledger tell them; `hosts` are boot ids by device."""
    return {boot: device.partition("/")[0] for device, boot in hosts.items() if "/" in device}
