"""A machine whose devices draw, replicas that serve, and an accountant whose ledger fails where a test says."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from allocator.emissions import Kind, Pue
from allocator.energy.model import EnergyModel
from allocator.energy.prior import GUESSED, Prior, VariantJoules
from allocator.energy.windows import SERVING, Name
from allocator.joules import Quality, WindowAccount
from cluster.accountant import Accountant, Closed, Done
from cluster.carbon.base import CarbonProvider
from cluster.carbon.fixed import FixedCarbon
from cluster.ledger.marks import Mark, State
from cluster.ledger.read import devices_by, known_period
from cluster.ledger.store import Last, Ledger
from cluster.power.base import Counter
from cluster.power.fake import FakeSensor
from cluster.power.meter import HostId, Meter, MeterReport
from cluster.work import Counts, Key
from models.errors import FixFile, FixSetup, GreenFlowError, TryAgain

UNIX_S = 1_764_028_800.0
RANGE_J, MOST_W = 262_144.0, 400.0
DIN, MLP = ("rank", "din"), ("rank", "mlp")
PUE = Pue(1.4, Quality.ASSUMED)
ERRORS = (TryAgain("locked"), FixSetup("the disk is full"), FixFile("ledger.db", "", "is damaged"))
"""Of a ledger, of each kind that there is."""


def prior_of(*names: Name) -> Prior:
    """A guess for these variants, and the work around them."""
    joules = {name: VariantJoules(0.01, 0.001) for name in (*names, SERVING)}
    return Prior(joules, GUESSED, Quality.ASSUMED, "made up")


class FlakyBook:
    """A ledger that raises.

    down      raised by everything
    unwritten raised by a write, of which nothing is then written
    unheard   raised by a write that is written nevertheless
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.down: GreenFlowError | None = None
        self.unwritten: GreenFlowError | None = None
        self.unheard: GreenFlowError | None = None
        self.accounts: list[WindowAccount] = []

    def mend(self) -> None:
        self.down = self.unwritten = self.unheard = None

    def write(
        self,
        account: WindowAccount,
        marks: Sequence[Mark],
        states: Sequence[State],
        intensity: Kind,
        before: Sequence[WindowAccount] = (),
    ) -> bool:
        for error in (self.down, self.unwritten):
            if error is not None:
                raise error
        written = self.ledger.write(account, marks, states, intensity, before)
        self.accounts += [*before, account]
        if self.unheard is not None:
            raise self.unheard
        return written

    def last(self) -> Last:
        return self._asked().last()

    def marks(self) -> tuple[Mark, ...]:
        return self._asked().marks()

    def state(self, key: str) -> State | None:
        return self._asked().state(key)

    def _asked(self) -> Ledger:
        if self.down is not None:
            raise self.down
        return self.ledger


class Host:
    """A machine with a package and a GPU, and the meter that reads them."""

    def __init__(self, name: str, boot: str) -> None:
        self.id = HostId(boot, name)
        self.at_s = 100.0
        self.drawn_j = {f"{name}/package-0": 0.0, f"GPU-{name}": 0.0}
        self.sensor = FakeSensor(
            _counter("package-0", "cpu", "package", 261_000.0), _counter(f"GPU-{name}", f"GPU-{name}", "gpu", 5.0)
        )
        self.lives = 0
        self.restart()

    def restart(self) -> None:
        """The meter dies, and another one begins."""
        self.lives += 1
        self.meter = Meter(f"node-{self.id.name}", self.id, f"{self.id.name}-{self.lives}", [self.sensor])
        self.meter.poll()

    def run(self, seconds: float, watts: float) -> None:
        """The package draws so much, and the GPU twice as much."""
        self.at_s += seconds
        joules = {"package-0": seconds * watts, f"GPU-{self.id.name}": 2 * seconds * watts}
        self.sensor.draw(joules, self.at_s)
        for device, energy_j in zip(self.drawn_j, joules.values(), strict=True):
            self.drawn_j[device] += energy_j
        self.meter.poll()

    def report(self) -> MeterReport:
        self.meter.poll()
        return self.meter.report()


@dataclass
class AccountWorld:
    """Windows of a second or so, and the truth about them.

    billed_from  joules that each device had drawn when somebody first read it who could tell the ledger later
    before       requests, items and work in the ledger when this accountant began
    """

    ledger: Ledger
    hosts: list[Host] = field(default_factory=lambda: [Host("web", "boot-1")])
    carbon: CarbonProvider = field(default_factory=lambda: FixedCarbon(300.0))
    prior: Prior = field(default_factory=lambda: prior_of(DIN, MLP))
    unix_s: float = UNIX_S
    billed_from: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.book = FlakyBook(self.ledger)
        self.begin()

    def begin(self) -> None:
        """An accountant that knows nothing but the ledger; replicas are counted anew."""
        self.accountant = Accountant(EnergyModel(), self.prior, self.book, self.carbon, PUE)
        self.done = Done()
        known = {mark.device for mark in self.ledger.marks()}
        self.billed_from = {device: j for device, j in self.billed_from.items() if device in known}
        self.before = requests_in(self.ledger), work_in(self.ledger)

    def window(self, seconds: float = 1.0, watts: float = 30.0, requests: int = 7, heard: bool = True) -> Closed:
        """Time passes, requests are served, and the window is closed."""
        for host in self.hosts:
            host.run(seconds, watts)
        self.unix_s += seconds
        work = dict(self.done.work)
        for name, calls, items in ((DIN, 2, 50 * requests), (MLP, 1, 20 * requests), (SERVING, 1, requests)):
            key: Key = (*name, "boot-1/cpu")
            work[key] = work.get(key, Counts()) + Counts(calls, items, 0.1)
        self.done = Done(self.done.requests + requests, self.done.items + 10 * requests, work)
        reports = [host.report() for host in self.hosts] if heard else []
        if heard:
            for host in self.hosts:
                for device, drawn_j in host.drawn_j.items():
                    self.billed_from.setdefault(device, drawn_j)
        return self.accountant.close(reports, self.done, 3, self.unix_s)

    def true_j(self) -> dict[str, float]:
        """What the ledger owes of each device, if its last window heard of all."""
        drawn = {device: drawn_j for host in self.hosts for device, drawn_j in host.drawn_j.items()}
        return {device: drawn[device] - from_j for device, from_j in self.billed_from.items()}

    def served(self) -> tuple[tuple[int, int], dict[Name, tuple[int, int]]]:
        """Requests and items, and runs and pairs of each variant, that this accountant has put into the ledger."""
        (requests, items), work = self.before
        now_requests, now_items = requests_in(self.ledger)
        added = {
            name: (calls - work.get(name, (0, 0))[0], pairs - work.get(name, (0, 0))[1])
            for name, (calls, pairs) in work_in(self.ledger).items()
        }
        return (now_requests - requests, now_items - items), added

    def should_be_served(self) -> tuple[tuple[int, int], dict[Name, tuple[int, int]]]:
        work = {(stage, variant): (c.calls, c.items) for (stage, variant, _), c in self.done.work.items()}
        return (self.done.requests, self.done.items), work


def check(world: AccountWorld) -> None:
    """The ledger holds what was drawn since somebody first read it, and what was served; each once."""
    check_joules_only(world)
    assert world.served() == world.should_be_served()
    for key, (drawn_j, parts_j) in by_pool(world.ledger).items():
        assert math.isclose(drawn_j, parts_j, rel_tol=1e-9, abs_tol=1e-9), key


def check_joules_only(world: AccountWorld) -> None:
    assert joules_in(world.ledger) == pytest.approx(world.true_j(), rel=1e-9, abs=1e-6)


def joules_in(ledger: Ledger) -> dict[str, float]:
    """What the ledger says that each device drew, by its totals."""
    with ledger.use() as db:
        period = known_period(db, "hour")
        if period is None:
            return {}
        return {str(device): amount.energy_j for (device,), amount in devices_by(db, period, "n.device").items()}


def requests_in(ledger: Ledger) -> tuple[int, int]:
    with ledger.use() as db:
        requests, items = db.execute("SELECT sum(requests), sum(items) FROM window").fetchone()
        return requests or 0, items or 0


def work_in(ledger: Ledger) -> dict[Name, tuple[int, int]]:
    query = """SELECT n.stage, n.variant, sum(t.calls), sum(t.items) FROM part_window t JOIN part n ON n.id = t.part
        WHERE n.kind = 'share' GROUP BY 1, 2"""
    with ledger.use() as db:
        return {(stage, variant): (calls, items) for stage, variant, calls, items in db.execute(query)}


def by_pool(ledger: Ledger) -> Mapping[tuple[int, str], tuple[float, float]]:
    """Joules of devices, and of parts, by window and pool."""
    queries = (
        "SELECT window, pool, sum(energy_j) FROM device_window t JOIN device n ON n.id = t.device GROUP BY 1, 2",
        "SELECT window, pool, sum(energy_j) FROM part_window t JOIN part n ON n.id = t.part GROUP BY 1, 2",
    )
    with ledger.use() as db:
        drawn, parts = ({(window, pool): j for window, pool, j in db.execute(query)} for query in queries)
    return {key: (drawn.get(key, 0.0), parts.get(key, 0.0)) for key in drawn.keys() | parts.keys()}


def _counter(device: str, pool: str, kind: str, energy_j: float) -> Counter:
    return Counter(device, pool, kind, "rapl", Quality.MEASURED, 100.0, energy_j, RANGE_J, MOST_W, "boot")
