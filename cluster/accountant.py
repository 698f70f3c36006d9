"""Closes the books of every window: what devices drew, who it is put down to, and a ledger that keeps it. No Ray here.

When a window cannot be written nothing is lost: it is kept, and written with the next one that can be, in the hour that
it belongs to. Should this process die before that, the next one bills from where the ledger stands, for counters count
on. A ledger that
stands elsewhere than it was left (it could not be read before, or its file is another one) knows best, and what it
lacks is billed from there.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from allocator import emissions
from allocator.emissions import Kind, Pue
from allocator.energy import saved
from allocator.energy.attribution import Attributed, Debts, attribute
from allocator.energy.model import EnergyModel
from allocator.energy.prior import Prior
from allocator.energy.state import EnergyState
from allocator.energy.windows import gathered
from allocator.joules import DeviceJoules, Quality, WindowAccount
from allocator.request_joules import Rates, rates_of
from cluster.carbon.base import CarbonProvider, Intensity
from cluster.events import Event, happened
from cluster.ledger.marks import Mark, State
from cluster.ledger.store import Last
from cluster.power import billing
from cluster.power.base import Refusal
from cluster.power.billing import Billing
from cluster.power.meter import MeterReport
from cluster.resuming import met, resumed
from cluster.unwritten import waiting
from cluster.work import NO_WORK, Counts, Key, WorkCounts, as_work, pool_of, work_since
from models.errors import GreenFlowError

MODEL_KEY, MODEL_FORMAT = "energy-model", 1
SAVE_S = 10.0, 60.0
"""Between two times that the energy model is saved: at least, at most, and half of the time that it has been kept."""
logger = logging.getLogger(__name__)


class Book(Protocol):
    """The ledger, as the accountant writes it. Errors are GreenFlowErrors and leave it usable."""

    def write(
        self,
        account: WindowAccount,
        marks: Sequence[Mark],
        states: Sequence[State],
        intensity: Kind,
        before: Sequence[WindowAccount] = (),
    ) -> bool:
        """As `cluster.ledger.store.Ledger.write`."""
        ...

    def last(self) -> Last:
        """The newest window."""
        ...

    def marks(self) -> tuple[Mark, ...]:
        """How far each device is billed."""
        ...

    def state(self, key: str) -> State | None:
        """What was remembered."""
        ...


@dataclass(frozen=True, slots=True)
class Done:
    """What replicas have done since the controller began: requests answered, items handed out, and variants' work."""

    requests: int = 0
    items: int = 0
    work: WorkCounts = field(default_factory=lambda: NO_WORK)


@dataclass(frozen=True, slots=True, eq=False)
class Stand:
    """Up to where the books are closed.

    last     the window that the ledger ends with; None while nobody knows
    end_s    Unix time
    saved_s  when the energy model was last written
    """

    last: Last | None
    end_s: float
    done: Done
    billing: Billing
    model: EnergyState
    debts: Debts
    saved_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Closed:
    """What is known after a window, for requests and for people.

    devices       as billed
    refusals      what meters cannot read, and why
    ledger_error  why nothing can be written; None when the window was
    written       what the ledger has got, with windows before that it lacked; none when it got nothing
    events        how often each has happened to a device's counter in the window
    intensity     of the grid; None while nobody knows it; and `pue` of the building
    account       of this window alone, written or not, and the energy model after it
    """

    end_s: float
    devices: tuple[DeviceJoules, ...]
    refusals: tuple[Refusal, ...]
    rates: Rates
    ledger_error: str | None = None
    written: tuple[WindowAccount, ...] = ()
    events: Mapping[tuple[str, str], int] = field(default_factory=dict)
    intensity: Intensity | None = None
    pue: float = 1.0
    account: WindowAccount | None = None
    model: EnergyState | None = None


class Accountant:
    """Used by one thread at a time.

    prior  what the energy model starts from when the ledger remembers none
    """

    def __init__(self, model: EnergyModel, prior: Prior, book: Book, carbon: CarbonProvider, pue: Pue) -> None:
        self._model, self._prior, self._book, self._carbon, self._pue = model, prior, book, carbon, pue
        self._written: Stand | None = None  # as the ledger has it; devices that it lacks, at their first reading
        self._live: Stand | None = None
        self._kept: tuple[WindowAccount, ...] = ()  # what lies between the two
        self._tried: Stand | None = None  # may be in the ledger although it did not say so
        self._began_s: float | None = None
        self._sure = False  # that the ledger stands where it was left
        self._error: str | None = None

    def close(
        self,
        reports: Sequence[MeterReport],
        done: Done,
        policy_version: int,
        now_s: float,
        remember: Sequence[State] = (),
    ) -> Closed:
        """Close the window that ends at `now_s`, Unix time. What is to be remembered is written with it, or not."""
        error = None if self._sure else self._ask(now_s)
        start = self._live or self._begun(now_s)
        after, window, kind = self._closed(start, reports, done, policy_version, now_s)
        accounts = waiting(self._kept, window)
        if error is None:
            after, error = self._write(after, accounts, kind, now_s, remember)
        if error is None:
            self._written, self._kept, self._sure = after, (), True
        else:
            written = self._written or start
            self._written = replace(written, billing=met(written.billing, after.billing))
            self._kept, self._sure = accounts, False
        self._live = after
        self._tell(error)
        intensity = self._carbon.now(now_s)
        return Closed(
            end_s=now_s,
            devices=window.devices,
            refusals=tuple(dict.fromkeys(refusal for report in reports for refusal in report.refusals)),
            rates=rates_of(after.model, self._pue, _figure(intensity)),
            ledger_error=self._error,
            written=() if error else accounts,
            events=_events(start.billing, after.billing),
            intensity=intensity,
            pue=self._pue.ratio,
            account=window,
            model=after.model,
        )

    def _closed(
        self, start: Stand, reports: Sequence[MeterReport], done: Done, policy_version: int, now_s: float
    ) -> tuple[Stand, WindowAccount, Kind]:
        billed, devices = billing.step(start.billing, reports, now_s)
        work = as_work(_named(work_since(done.work, start.done.work), billed))
        window = gathered(start.model.names, devices, work)
        model = self._model.learned(start.model, window)
        attributed, debts = attribute(start.debts, model, window)
        after = Stand(start.last, now_s, done, billed, model, debts, start.saved_s)
        intensity = self._carbon.now(now_s)
        account = self._account(start, after, devices, attributed, policy_version, intensity)
        return after, account, Kind.AVERAGE if intensity is None else intensity.kind

    def _account(
        self,
        start: Stand,
        after: Stand,
        devices: tuple[DeviceJoules, ...],
        attributed: Attributed,
        policy_version: int,
        intensity: Intensity | None,
    ) -> WindowAccount:
        return WindowAccount(
            number=1 if start.last is None else start.last.number + 1,
            end_s=after.end_s,
            window_s=max(0.0, after.end_s - start.end_s),
            requests=max(0, after.done.requests - start.done.requests),
            items=max(0, after.done.items - start.done.items),
            policy_version=policy_version,
            devices=devices,
            shares=attributed.shares,
            pools=attributed.pools,
            intensity_g_per_kwh=None if intensity is None else intensity.g_per_kwh,
            intensity_quality=Quality.ASSUMED if intensity is None else intensity.quality,
            pue=self._pue.ratio,
            pue_quality=self._pue.quality,
        )

    def _write(
        self, after: Stand, accounts: Sequence[WindowAccount], kind: Kind, now_s: float, remember: Sequence[State]
    ) -> tuple[Stand, GreenFlowError | None]:
        """Write the windows, and now and then the energy model. Where the books then stand, or why they do not."""
        learned: tuple[State, ...] = ()
        self._began_s = now_s if self._began_s is None else self._began_s
        wait_s = min(max((now_s - self._began_s) / 2, SAVE_S[0]), SAVE_S[1])
        if not 0 <= now_s - after.saved_s < wait_s:
            learned = (State(MODEL_KEY, saved.dumped(after.model, after.debts), MODEL_FORMAT, now_s),)
        *before, account = accounts
        last, saved_s = Last(account.number, account.end_s), now_s if learned else after.saved_s
        self._tried = replace(after, last=last, saved_s=saved_s)
        try:
            self._book.write(account, billing.marks(after.billing), (*learned, *remember), kind, before)
        except GreenFlowError as error:
            return after, error
        return self._tried, None

    def _ask(self, now_s: float) -> GreenFlowError | None:
        """Go on from where the ledger stands; why that cannot be told now."""
        try:
            last = self._book.last()
            if self._written is None or last != self._written.last:
                self._resume(last, now_s)
        except GreenFlowError as error:
            return error
        return None

    def _resume(self, last: Last, now_s: float) -> None:
        """The ledger is not where it was left: what it lacks is done anew, from its own marks where it has some."""
        marks, remembered = self._book.marks(), self._book.state(MODEL_KEY)
        if self._tried is not None and last == self._tried.last:
            began = self._tried  # it was written after all
        else:
            began = self._written or self._begun(now_s)
        model, debts = self._remembered(remembered) if not began.model.pools else (began.model, began.debts)
        self._written = self._live = replace(
            began,
            last=last,
            billing=resumed(began.billing, marks),
            model=model,
            debts=debts,
            saved_s=now_s,
        )
        self._kept, self._tried = (), None

    def _remembered(self, state: State | None) -> tuple[EnergyState, Debts]:
        """The energy model as the ledger has it, else anew."""
        if state is not None and state.version == MODEL_FORMAT:
            try:
                return saved.restored(self._prior, state.value)
            except ValueError as error:
                happened(logger, Event.BEGINS_ANEW, "the energy model begins anew: %s", error)
        return self._model.init(self._prior), Debts()

    def _begun(self, now_s: float) -> Stand:
        return Stand(None, now_s, Done(), billing.resume(()), self._model.init(self._prior), Debts())

    def _tell(self, error: GreenFlowError | None) -> None:
        """Say once that nothing can be written, and once that it can be again."""
        said = None if error is None else f"{type(error).__name__}: {error}"
        if said is not None and self._error is None:
            happened(logger, Event.LEDGER_ERROR, "the ledger cannot be written, counters hold what it lacks: %s", said)
        elif said is None and self._error is not None:
            happened(logger, Event.LEDGER_BACK, "the ledger is written again")
        self._error = said


def _named(work: WorkCounts, billed: Billing) -> WorkCounts:
    """The work with pools as meters name them: replicas know their host by its boot id, and a GPU as a part of it.

    A GPU that has no meter of its own is in its host's, as where a module's counter holds both.
    """
    named: dict[Key, Counts] = {}
    for (stage, variant, pool), counts in work.items():
        boot, _, device = pool.partition("/")
        known = device if device in billed.tabs else pool_of(billed.names.get(boot, boot))
        key = (stage, variant, known)
        named[key] = named.get(key, Counts()) + counts
    return named


def _events(before: Billing, after: Billing) -> dict[tuple[str, str], int]:
    """What has happened between the two, by device."""
    news = {key: times - before.events.get(key, 0) for key, times in after.events.items()}
    return {(device, event.value): times for (device, event), times in news.items() if times > 0}


def _figure(intensity: Intensity | None) -> emissions.Intensity | None:
    return None if intensity is None else intensity.figure
