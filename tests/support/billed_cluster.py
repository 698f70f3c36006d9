"""Hosts with their meters and a controller that bills them, and what was truly counted."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from metered_world import Device, Sensor, World

from allocator.joules import DeviceJoules, Quality
from cluster.power import billing
from cluster.power.billing import Billing
from cluster.power.meter import HostId, Meter, MeterReport
from cluster.power.unwrap import TICK_S, Event

UNIX_S = 1.7e9
GPU = "GPU-0c1d"
PACKAGE = "web/package-0"


@dataclass
class Node:
    """A Ray node on a host; without `sensors` it reads all devices there are."""

    name: str
    world: World
    sensors: tuple[Sensor, ...] = ()
    meter: Meter | None = None
    lives: int = 0
    reports: list[MeterReport] = field(default_factory=list)

    def start(self) -> None:
        self.lives += 1
        self.meter = self.world.meter(f"{self.name}-{self.lives}", self.name, self.sensors)
        self.meter.poll()

    def stop(self) -> None:
        self.meter = None

    def report(self) -> MeterReport:
        assert self.meter is not None
        self.meter.poll()
        self.reports.append(self.meter.report())
        return self.reports[-1]


class BilledCluster:
    """Time passes on all hosts alike.

    rows      all that was billed and written down
    counted   what each device, by its name in the cluster, had truly counted by each time on its host's clock
    gaps      devices of which it was said that they may have wrapped once more
    """

    def __init__(self, nodes: Iterable[Node]) -> None:
        self.nodes = list(nodes)
        self.worlds = list({id(node.world): node.world for node in self.nodes}.values())
        self.billing = Billing()
        self.rows: list[DeviceJoules] = []
        self.opened_s: dict[str, float] = {}
        self.gaps: set[str] = set()
        self.counted: dict[str, dict[float, float]] = defaultdict(dict)
        for node in self.nodes:
            node.start()
        self._note()

    def run(self, seconds: float, watts: float) -> None:
        """Devices draw so much, and all meters read them."""
        for world in self.worlds:
            world.run(seconds, watts)
        self._note()
        for node in self.nodes:
            if node.meter is not None:
                node.meter.poll()

    def window(
        self, heard: Collection[Node] | None = None, again: Iterable[MeterReport] = (), written: bool = True
    ) -> tuple[DeviceJoules, ...]:
        """A window ends; by default all nodes are heard, and what others told is lost, or may come `again` later.

        One that cannot be written leaves no trace.
        """
        heard = self.nodes if heard is None else heard
        told = {node.name: node.report() for node in self.nodes if node.meter is not None}
        reports = [*again, *(told[node.name] for node in heard if node.name in told)]
        after, rows = billing.step(self.billing, reports, self.now_s)
        if written:
            self._write(after, rows)
        return rows

    def late(self, number: int) -> list[MeterReport]:
        """The report of that number of every node that has told so much already."""
        return [report for node in self.nodes for report in node.reports[number : number + 1]]

    def masked(self, mask: int) -> list[Node]:
        """Nodes whose bit is set."""
        return [node for bit, node in enumerate(self.nodes) if mask >> bit & 1]

    def happen(self, what: str, node: Node) -> None:
        """A meter dies, a node leaves or joins, or the controller dies."""
        if what == "meter dies" or (what == "node joins" and node.meter is None):
            node.start()
        elif what == "node leaves":
            node.stop()
        elif what == "controller dies":
            self.restart()

    def restart(self) -> None:
        """The controller is killed, and goes on from the ledger."""
        self.billing = billing.resume(billing.marks(self.billing))

    def billed_j(self, device: str = "") -> float:
        """Of that device, or of all."""
        return sum(row.energy_j for row in self.rows if device in ("", row.device))

    def owed_j(self, device: str) -> float:
        """What it counted from its first reading up to where it is billed."""
        counted = self.counted[device]
        return counted[self.billing.tabs[device].billed.at_s] - counted[self.opened_s[device]]

    @property
    def now_s(self) -> float:
        return UNIX_S + self.worlds[0].at_s

    def _write(self, after: Billing, rows: tuple[DeviceJoules, ...]) -> None:
        for (device, event), times in after.events.items():
            if event is Event.GAP and times > self.billing.events.get((device, event), 0):
                self.gaps.add(device)
        self.billing = after
        self.rows.extend(rows)
        for device, tab in after.tabs.items():
            self.opened_s.setdefault(device, tab.billed.at_s)

    def _note(self) -> None:
        for world in self.worlds:
            for device in world.devices:
                name = device.name if device.kind == "gpu" else f"{world.host.name}/{device.name}"
                self.counted[name][world.at_s] = device.counted_j


def gpu(tick_s: float = TICK_S) -> Device:
    """A counter that waits for its updates and does not wrap."""
    return Device(GPU, GPU, "gpu", float("inf"), live=False, tick_s=tick_s)


def one_host() -> BilledCluster:
    """Two nodes that read the same package."""
    world = World()
    return BilledCluster([Node("node-1", world), Node("node-2", world)])


def two_hosts() -> BilledCluster:
    """Two nodes on a host with a GPU, one on another host."""
    web, db = World([Device(), gpu()]), World([Device(true_j=20.0)], HostId("boot-2", "db"))
    return BilledCluster([Node("node-1", web), Node("node-2", web), Node("node-3", db)])


def package_and_estimate() -> BilledCluster:
    """Two containers of a host: one may read its package, the other can only estimate; both come to the same."""
    package = Device()
    host = Device("host", kind="host", range_j=float("inf"), true_j=0.0)
    world = World([package, host])
    counting = Sensor(world, "rapl", Quality.MEASURED, [package])
    estimating = Sensor(world, "estimate", Quality.MODELLED, [host])
    return BilledCluster([Node("node-1", world, (counting,)), Node("node-2", world, (estimating,))])
