"""What control ticks and closed windows say in metrics. No Ray here."""

from collections.abc import Mapping, Sequence
from math import inf

import numpy as np

from allocator.choice import Ints
from allocator.emissions import grams_of
from allocator.joules import WindowAccount, worst
from cluster.accountant import Closed
from cluster.accounts import Books
from cluster.metrics import ENERGY, NO_ENERGIES, Metrics
from cluster.snapshot import Standing

Events = Mapping[tuple[str, str], int]

OWN_LABEL = 0.01
"""A chain with this share of all decisions so far has a label of its own from then on; the others are `other`."""
LEAST_DECISIONS = 100
"""Until there are so many, shares are of so many."""
OTHER = "other"


class ControlMetrics:
    """What every tick says, whether or not joules are accounted for, or outcomes. Used from one event loop.

    chains  ids of the chain space, in its order
    """

    def __init__(self, metrics: Metrics, chains: Sequence[str]) -> None:
        self._metrics, self._chains = metrics, chains
        self._named = np.zeros(len(chains), bool)
        self._billed: Ints = np.zeros(len(chains), np.int64)
        self._standings: Sequence[Standing] = ()
        self._degraded: Mapping[str, int] = {}
        self._energies = NO_ENERGIES

    def tell(self, standings: Sequence[Standing], books: Books) -> None:
        """A tick has ended. Gauges are set in every one; counters rise by what is new in the books."""
        self._metrics.inc("greenflow_control_windows_total", 1.0, {})
        for standing in standings:
            _constraint(self._metrics, standing)
        self._tell_cleared(standings)
        self._standings = standings
        for reason, times in books.degraded.items():
            if times > (before := self._degraded.get(reason, 0)):
                self._metrics.inc("greenflow_degraded_total", float(times - before), {"reason": reason})
        self._tell_decisions(books.billed)
        self._metrics.observe(ENERGY, books.energies - self._energies, {})
        self._degraded, self._energies = books.degraded, books.energies

    def _tell_decisions(self, billed: Ints) -> None:
        """What is new of `billed`, the requests that were answered so far by the chain that ran, (J,)."""
        self._named |= billed > OWN_LABEL * max(int(billed.sum()), LEAST_DECISIONS)
        new, self._billed = billed - self._billed, billed
        for chain in np.flatnonzero(self._named & (new > 0)).tolist():
            self._metrics.inc("greenflow_decisions_total", float(new[chain]), {"chain": self._chains[chain]})
        if rest := int(new[~self._named].sum()):
            self._metrics.inc("greenflow_decisions_total", float(rest), {"chain": OTHER})

    def _tell_cleared(self, standings: Sequence[Standing]) -> None:
        """Set the gauges of constraints that are no more once to what holds without them: nothing is spent or priced.
        Nobody sets them again, so they disappear, and so does a limit, which no number could say the lack of."""
        for name in {before.name for before in self._standings} - {standing.name for standing in standings}:
            _standing(self._metrics, name, spend_per_s=0.0, price=0.0, reachable=True)


def publish(metrics: Metrics, closed: Closed) -> None:
    """Counters rise by what was written into the ledger, and by nothing else; gauges are set in every window."""
    for device in closed.devices:
        if device.fresh and device.window_s > 0:
            labels = {"device": device.device, "host": device.host}
            metrics.set("greenflow_device_power_watts", device.energy_j / device.window_s, labels)
    metrics.set("greenflow_ledger_ok", float(bool(closed.written)), {})
    if not closed.written:
        metrics.inc("greenflow_ledger_errors_total", 1.0, {})
    for account in closed.written:
        _account(metrics, account)
    for (device_name, event), times in closed.events.items():
        metrics.inc("greenflow_meter_events_total", float(times), {"device": device_name, "event": event})
    metrics.set("greenflow_pue_ratio", closed.pue, {})
    if closed.intensity is not None:
        name = "greenflow_grid_intensity_grams_per_kilowatt_hour"
        metrics.set(name, closed.intensity.g_per_kwh, {"zone": closed.intensity.zone})


def _account(metrics: Metrics, account: WindowAccount) -> None:
    for device in account.devices:
        labels = {
            "device": device.device,
            "host": device.host,
            "kind": device.kind,
            "source": device.source,
            "quality": device.quality.value,
        }
        metrics.inc("greenflow_device_energy_joules_total", device.energy_j, labels)
        if account.intensity_g_per_kwh is not None:
            quality = worst((device.quality, account.intensity_quality, account.pue_quality))
            grams = grams_of(device.energy_j, account.pue, account.intensity_g_per_kwh)
            metrics.inc("greenflow_emissions_grams_total", grams, {"quality": quality.value})
    name = "greenflow_attributed_energy_joules_total"
    for share in account.shares:
        labels = {"stage": share.stage, "variant": share.variant, "part": "marginal"}
        metrics.inc(name, share.energy_j, labels)
    for pool in account.pools:
        metrics.inc(name, pool.idle_j, {"stage": "", "variant": "", "part": "idle"})
        metrics.inc("greenflow_unattributed_energy_joules_total", pool.unattributed_j, {})


def _constraint(metrics: Metrics, standing: Standing) -> None:
    if standing.limit_per_s < inf:
        metrics.set("greenflow_constraint_limit", standing.limit_per_s, {"constraint": standing.name})
    _standing(metrics, standing.name, standing.spend_per_s, standing.price, standing.reachable)


def _standing(metrics: Metrics, name: str, spend_per_s: float, price: float, reachable: bool) -> None:
    labels = {"constraint": name}
    metrics.set("greenflow_constraint_reachable", float(reachable), labels)
    metrics.set("greenflow_constraint_spend", spend_per_s, labels)
    metrics.set("greenflow_price", price, labels)
