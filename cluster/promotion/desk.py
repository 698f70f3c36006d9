"""Which reward model predicts, and which one did before: tried, and kept, before it is decided by. No Ray here."""

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from cluster.events import Event, happened
from cluster.ledger.marks import State
from cluster.ledger.store import Ledger
from cluster.limits.tokens import BY_SETTINGS
from cluster.promotion.kept import FORMAT, KEY, SLOTS, Entry, Promotions, from_state, to_state
from cluster.promotion.model import Model, TryOut, is_named, name_of, sha256_of_bytes
from models.errors import FixFile, FixRequest, GreenFlowError, NoSuch, TryAgain

NONE_BEFORE = "no other reward model predicted before this one, so there is none to go back to"
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """A model, and since when and by whom it predicts, or did: "" and None for the cascade's own from the start."""

    model: Model
    author: str = ""
    since_s: float | None = None


class ModelDesk:
    """Owns which model predicts. Every change is in the ledger, with the model, who made it and when, before it holds.

    What was promoted predicts across restarts, as long as the cascade's own reward model is the one that it was
    promoted over. When that is another, it wins: an operator has deployed it since.

    May be used from several threads. `put`, `back` and `take_up` wait for the disk and for the model to be tried; the
    rest never waits.

    own      the cascade's
    try_out  what tells a model from what is none
    """

    def __init__(self, own: Model, ledger: Ledger, try_out: TryOut) -> None:
        self._own, self._ledger, self._try_out = own, ledger, try_out
        self._lock = threading.Lock()
        self._terms: tuple[Term, Term | None] = (Term(own), None)
        self._slots: dict[str, str] = {}  # by a kept model's sha256
        self._taken_up, self._complained = False, ""

    @property
    def current(self) -> Term:
        """The model that predicts."""
        return self._terms[0]

    @property
    def terms(self) -> tuple[Term, Term | None]:
        """The model that predicts, and the one before; None where no other has."""
        return self._terms

    def is_own(self, model: Model) -> bool:
        """Whether it is the cascade's."""
        return model.sha256 == self._own.sha256

    def content(self, name: str) -> bytes:
        """Of the model of that name, as far as it predicts or did last. Raises NoSuch."""
        for term in self._terms:
            if term is not None and term.model.name == name:
                return term.model.content
        raise NoSuch("name", f"{name} is not the reward model that predicts, nor the one before")

    def take_up(self, at_s: float) -> bool:
        """Read what was promoted, once. False while the ledger cannot be read; the cascade's own predicts meanwhile.

        at_s  Unix time
        """
        with self._lock:
            try:
                self._take_up(at_s)
            except GreenFlowError as error:
                if str(error) != self._complained:
                    happened(logger, Event.NOT_KNOWN, "the reward model that was promoted is not known: %s", error)
                self._complained = str(error)
            return self._taken_up

    def put(self, content: bytes, author: str, at_s: float) -> None:
        """Let this model predict. The one that does already changes and records nothing.

        Raises FixRequest for what is no reward model of this cascade, and TryAgain when it cannot be kept; then nothing
        changes.
        """
        sha256 = sha256_of_bytes(content)
        model = self._own if sha256 == self._own.sha256 else self._tried(content, sha256)
        with self._lock:
            self._ready(at_s)
            if sha256 != self.current.model.sha256:
                self._change(model, author, at_s)

    def back(self, author: str, at_s: float) -> None:
        """Let the model before predict; the present one is then the one before. Raises NoSuch, and else as `put`."""
        with self._lock:
            self._ready(at_s)
            previous = self._terms[1]
            if previous is None:
                raise NoSuch("model", NONE_BEFORE)
            self._change(previous.model, author, at_s)

    def _tried(self, content: bytes, sha256: str) -> Model:
        name = name_of(sha256)
        try:
            return Model(name, sha256, content, self._try_out(content, name))
        except FixFile as error:
            said = f"{error.field}: {error.problem}" if error.field else error.problem
            raise FixRequest("body", f"is no reward model of this cascade: {said}") from None

    def _ready(self, at_s: float) -> None:
        try:
            self._take_up(at_s)
        except GreenFlowError as error:
            raise TryAgain(f"the reward model cannot be changed now: {error}") from None

    def _change(self, model: Model, author: str, at_s: float) -> None:
        before = self.current
        slots = self._slots_for(model, before.model)
        new = [State(slots[model.sha256], model.content, FORMAT, at_s, author)] if model.sha256 in slots else []
        fresh = [] if model.sha256 in self._slots else new  # what is kept already need not be written again
        terms = Term(model, author, at_s), before
        kept = Promotions(self._own.sha256, _entry(terms[0], slots), _entry(before, slots))
        try:
            self._ledger.remember([to_state(kept, author, at_s), *fresh])
        except GreenFlowError as error:
            raise TryAgain(f"the reward model stays as it was, for another one cannot be kept: {error}") from None
        self._terms, self._slots = terms, slots
        text = "reward model %s predicts instead of %s, by %s"
        happened(logger, Event.MODEL_PROMOTED, text, model.name, before.model.name, author)

    def _slots_for(self, model: Model, before: Model) -> dict[str, str]:
        """Keys of the contents of both, but for the cascade's own: a model that is new gets the one that is free."""
        slots = {sha256: slot for sha256, slot in self._slots.items() if sha256 in (model.sha256, before.sha256)}
        if model.sha256 not in slots and not self.is_own(model):
            slots[model.sha256] = next(slot for slot in SLOTS if slot not in slots.values())
        return slots

    def _take_up(self, at_s: float) -> None:
        if self._taken_up:
            return
        kept = from_state(self._ledger.state(KEY))
        if kept is not None and kept.own == self._own.sha256:
            self._resume(kept)
        self._taken_up = True
        if kept is not None and kept.own != self._own.sha256:
            self._forget(kept, at_s)

    def _resume(self, kept: Promotions) -> None:
        """Go on with what was promoted; where that is not possible any more, with the cascade's own."""
        entries = [entry for entry in (kept.current, kept.previous) if entry is not None]
        slots = {entry.sha256: entry.slot for entry in entries if entry.slot is not None}
        states = {slot: self._ledger.state(slot) for slot in slots.values()}
        try:
            current = self._read(kept.current, states)
        except FixFile as error:
            text = "the cascade's own reward model predicts, for the one that was promoted cannot: %s"
            happened(logger, Event.MODEL_UNUSABLE, text, error)
            return
        previous = None
        try:
            previous = None if kept.previous is None else self._read(kept.previous, states)
        except FixFile as error:
            slots = {sha256: slot for sha256, slot in slots.items() if sha256 == current.model.sha256}
            happened(logger, Event.MODEL_UNUSABLE, "the reward model before the present one is lost: %s", error)
        self._terms, self._slots = (current, previous), slots
        if not self.is_own(current.model):
            text = "reward model %s predicts, as %s has promoted it"
            happened(logger, Event.MODEL_PROMOTED, text, current.model.name, current.author)

    def _read(self, entry: Entry, states: Mapping[str, State | None]) -> Term:
        """Raises FixFile for a model that cannot be used."""
        if entry.slot is None:
            return Term(self._own, entry.author, entry.since_s)
        state, name = states[entry.slot], name_of(entry.sha256)
        if state is None or not is_named(state.value, name):
            raise FixFile("the ledger", f"state {entry.slot}", f"does not hold {name}")
        model = Model(name, entry.sha256, state.value, self._try_out(state.value, name))
        return Term(model, entry.author, entry.since_s)

    def _forget(self, kept: Promotions, at_s: float) -> None:
        """The cascade has another model of its own since: write that down, and empty the slots."""
        if kept.current.slot is not None and kept.current.sha256 != self._own.sha256:
            name, author = name_of(kept.current.sha256), kept.current.author
            said = "reward model %s, as the cascade has it now, predicts instead of %s by %s"
            happened(logger, Event.MODEL_BY_CASCADE, said, self._own.name, name, author)
        anew = to_state(Promotions(self._own.sha256, Entry(self._own.sha256, None)), BY_SETTINGS, at_s)
        try:
            self._ledger.remember([anew, *(State(slot, b"", FORMAT, at_s, BY_SETTINGS) for slot in SLOTS)])
        except GreenFlowError as error:
            text = "that the cascade's new reward model won is not written down yet: %s"
            happened(logger, Event.LEDGER_ERROR, text, error)


def _entry(term: Term, slots: dict[str, str]) -> Entry:
    return Entry(term.model.sha256, slots.get(term.model.sha256), term.author, term.since_s)
