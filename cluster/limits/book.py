"""The limits in force: those of the settings, overlaid by what was set live. No Ray here."""

import logging
import threading
from collections.abc import Sequence

from allocator.limits import Limit
from cluster.events import Event, happened
from cluster.ledger.changes import LimitChange
from cluster.ledger.store import Ledger
from cluster.limits.holdable import Holdable
from cluster.limits.kept import KEY, Override, Overrides, from_state, to_state
from cluster.limits.stated import said
from cluster.limits.tokens import BY_SETTINGS
from models.errors import FixRequest, GreenFlowError, NoSuch, TryAgain

MOST_LIMITS = 16
logger = logging.getLogger(__name__)


class LimitBook:
    """Owns the limits. Every change is in the ledger, with who made it and when, before it holds.

    What was set live holds across restarts, as long as the settings say the same of that name as they did then. When
    they say something else, they win: an operator has deployed them since.

    May be used from several threads. `put` and `clear` wait for the disk; `limits` never waits.

    seeds     what the settings say
    holdable  which kinds can be held here; what was set live of others is kept, but not in force
    """

    def __init__(self, seeds: Sequence[Limit], ledger: Ledger, holdable: Holdable) -> None:
        self._seeds = {limit.name: limit for limit in seeds}
        self._ledger, self._holdable = ledger, holdable
        self._lock = threading.Lock()
        self._taken_up, self._complained = False, ""
        self._overrides: Overrides = {}
        self._owed: tuple[LimitChange, ...] = ()
        self._all = dict(self._seeds)
        self._in_force = self._held()

    def limits(self) -> tuple[Limit, ...]:
        """Those in force, by name; at most MOST_LIMITS unless new settings came on top of those set live."""
        return self._in_force

    def changes(self, most: int) -> tuple[LimitChange, ...]:
        """Who changed what, the newest first. Errors as those of the ledger."""
        return self._ledger.changes(most)

    def take_up(self, at_s: float) -> bool:
        """Read what was set live, once. False while the ledger cannot be read; the settings hold alone meanwhile.

        at_s  Unix time
        """
        with self._lock:
            try:
                self._take_up(at_s)
            except GreenFlowError as error:
                if str(error) != self._complained:
                    happened(logger, Event.NOT_KNOWN, "limits that were set live are not known: %s", error)
                self._complained = str(error)
            return self._taken_up

    def put(self, limit: Limit, author: str, at_s: float) -> None:
        """Set a limit, instead of what there was of its name. The same again changes and records nothing.

        Raises FixRequest for one that cannot be held or is one too many, and TryAgain when it cannot be kept; then
        nothing changes.
        """
        if (reason := self._holdable.refusal(limit.kind)) is not None:
            raise FixRequest("kind", f"{limit.kind} cannot be limited: {reason}")
        with self._lock:
            self._ready(at_s)
            if limit.name not in self._all and len(self._all) >= MOST_LIMITS:
                raise FixRequest("name", f"there are {len(self._all)} limits, and no more than {MOST_LIMITS} can be")
            self._change(limit.name, limit, author, at_s)

    def clear(self, name: str, author: str, at_s: float) -> None:
        """Remove a limit. Raises NoSuch where there is none, and TryAgain as `put`."""
        with self._lock:
            self._ready(at_s)
            if name not in self._all:
                there = f"there are: {', '.join(sorted(self._all))}" if self._all else "none has been stated"
                raise NoSuch("name", f"there is no limit of this name; {there}")
            self._change(name, None, author, at_s)

    def _ready(self, at_s: float) -> None:
        try:
            self._take_up(at_s)
        except GreenFlowError as error:
            raise TryAgain(f"limits cannot be changed now: {error}") from None

    def _change(self, name: str, value: Limit | None, author: str, at_s: float) -> None:
        before, seed = self._all.get(name), self._seeds.get(name)
        if before == value:
            return
        overrides = {key: one for key, one in self._overrides.items() if key != name}
        if value != seed:
            overrides[name] = Override(name, seed, value, author, at_s)
        change = LimitChange(at_s, author, name, before, value)
        try:
            self._ledger.remember([to_state(overrides, at_s, author)], [*self._owed, change])
        except GreenFlowError as error:
            raise TryAgain(f"limits stay as they were, for the change cannot be kept: {error}") from None
        self._owed = ()
        event = Event.LIMIT_CLEARED if value is None else Event.LIMIT_SET
        happened(logger, event, "limit %s: %s instead of %s, by %s", name, said(value), said(before), author)
        self._overlay(overrides)

    def _take_up(self, at_s: float) -> None:
        if self._taken_up:
            return
        kept = from_state(self._ledger.state(KEY))
        outdated = [one for one in kept.values() if one.seed != self._seeds.get(one.name)]
        self._overlay({name: one for name, one in kept.items() if one not in outdated})
        self._taken_up = True
        if outdated:
            self._forget(outdated, at_s)
        for name in sorted(self._all.keys() - {limit.name for limit in self._in_force}):
            reason = self._holdable.refusal(self._all[name].kind)
            happened(logger, Event.LIMIT_NOT_HELD, "limit %s is not in force: %s", name, reason)

    def _forget(self, outdated: Sequence[Override], at_s: float) -> None:
        """Settings have changed since: write that down, now or with the next change."""
        pairs = [(one, self._seeds.get(one.name)) for one in outdated]
        for one, seed in pairs:
            text = "limit %s: %s, as new settings say, instead of %s by %s"
            happened(logger, Event.LIMIT_BY_SETTINGS, text, one.name, said(seed), said(one.value), one.author)
        changes = (LimitChange(at_s, BY_SETTINGS, one.name, one.value, seed) for one, seed in pairs)
        self._owed = tuple(change for change in changes if change.before != change.after)
        try:
            self._ledger.remember([to_state(self._overrides, at_s, BY_SETTINGS)], self._owed)
            self._owed = ()
        except GreenFlowError as error:
            happened(logger, Event.LEDGER_ERROR, "that new settings won is not written down yet: %s", error)

    def _overlay(self, overrides: Overrides) -> None:
        self._overrides = overrides
        known: dict[str, Limit | None] = {**self._seeds, **{name: one.value for name, one in overrides.items()}}
        self._all = {name: limit for name, limit in known.items() if limit is not None}
        self._in_force = self._held()

    def _held(self) -> tuple[Limit, ...]:
        held = [limit for limit in self._all.values() if self._holdable.refusal(limit.kind) is None]
        return tuple(sorted(held, key=lambda limit: limit.name))
