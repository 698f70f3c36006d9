"""From where billing goes on when the ledger turns out to stand elsewhere than the accountant thought. Pure."""

from collections.abc import Iterable
from dataclasses import replace

from cluster.ledger.marks import Mark
from cluster.power import billing, unwrap
from cluster.power.billing import Billing
from cluster.power.tabs import Tab
from cluster.power.unwrap import Event


def met(written: Billing, after: Billing) -> Billing:
    """Where the ledger stands, with devices and hosts that were heard since: each where its first reading left it."""
    tabs = {**after.tabs, **written.tabs}
    return replace(written, tabs=tabs, names={**after.names, **written.names})


def resumed(began: Billing, marks: Iterable[Mark]) -> Billing:
    """Where the ledger's marks say that devices are billed; one that it lacks, where it is in `began`."""
    known = billing.resume(marks)
    tabs = {device: _told(tab, began.tabs.get(device)) for device, tab in known.tabs.items()}
    return replace(began, tabs={**began.tabs, **tabs}, names={**known.names, **began.names}, since_s=None)


def _told(tab: Tab, heard: Tab | None) -> Tab:
    """The ledger's tab with what a meter can tell that was heard not long after it: all wraps from then on."""
    if heard is None or heard.last is None or heard.host != tab.host or heard.billed.epoch != tab.billed.epoch:
        return tab
    _, step = unwrap.step(tab.billed, heard.last.counter)
    if step.event not in (None, Event.WRAP):
        return tab
    return replace(tab, session=heard.session, energy_j=heard.energy_j - step.energy_j, events=heard.events)
