"""The book of limits: settings below, what was set live above; kept, or refused whole."""

import logging
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allocator.limits import Kind, Limit
from cluster.ledger.changes import LimitChange
from cluster.ledger.marks import State
from cluster.ledger.store import Ledger
from cluster.limits.book import MOST_LIMITS, LimitBook
from cluster.limits.holdable import Holdable
from cluster.limits.kept import FORMAT, KEY
from models.errors import FixRequest, FixSetup, NoSuch, TryAgain

ALL = Holdable()


def power(watts: float, name: str = "power") -> Limit:
    return Limit(name, Kind.POWER, watts, "W")


def flops(per_s: float, name: str = "flops") -> Limit:
    return Limit(name, Kind.FLOPS, per_s, "FLOP/s")


def opened(ledger: Ledger, *seeds: Limit, holdable: Holdable = ALL) -> LimitBook:
    """As a controller that starts."""
    book = LimitBook(seeds, ledger, holdable)
    assert book.take_up(0.0)
    return book


class Broken(Ledger):
    """A ledger in memory whose disk fails when told to, to write or to read too."""

    def __init__(self) -> None:
        super().__init__(None)
        self.writes, self.reads = True, True

    def remember(self, states: object, changes: object = ()) -> None:
        if not self.writes:
            raise FixSetup("the disk is full")
        super().remember(states, changes)  # type: ignore[arg-type]

    def state(self, key: str) -> State | None:
        if not self.reads:
            raise FixSetup("another process holds the ledger")
        return super().state(key)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger.open(None)


def test_the_settings_hold_from_the_start_by_name(ledger: Ledger) -> None:
    assert LimitBook([power(150), flops(1e9)], ledger, ALL).limits() == (flops(1e9), power(150))
    assert opened(ledger).limits() == ()


def test_a_change_holds_at_once_and_is_kept_with_who_and_when(tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite"
    ledger = Ledger.open(file)
    book = opened(ledger, power(150))
    book.put(power(100), "anna", 10.0)
    book.put(flops(2e9), "bo", 20.0)
    book.put(flops(1e9), "bo", 25.0)
    book.clear("power", "anna", 30.0)
    assert book.limits() == (flops(1e9),)
    ledger.close()
    again = opened(Ledger.open(file), power(150))
    assert again.limits() == (flops(1e9),), "of the settings' limit it is remembered that there is none"
    assert again.changes(3) == (
        LimitChange(30.0, "anna", "power", power(100), None),
        LimitChange(25.0, "bo", "flops", flops(2e9), flops(1e9)),
        LimitChange(20.0, "bo", "flops", None, flops(2e9)),
    )
    assert len(again.changes(100)) == 4


def test_a_limit_may_become_one_of_another_kind(ledger: Ledger) -> None:
    book = opened(ledger, power(150, "cap"))
    book.put(Limit("cap", Kind.ENERGY, 2.5, "kWh/day"), "anna", 1.0)
    assert opened(ledger, power(150, "cap")).limits() == (Limit("cap", Kind.ENERGY, 2.5, "kWh/day"),)


@pytest.mark.parametrize("live", [power(100), None], ids=["set", "cleared"])
@pytest.mark.parametrize("seed", [power(200), None], ids=["another value", "none any more"])
def test_settings_that_have_changed_since_win_and_it_is_said_once(
    ledger: Ledger, live: Limit | None, seed: Limit | None, caplog: pytest.LogCaptureFixture
) -> None:
    first = opened(ledger, power(150))
    if live is None:
        first.clear("power", "anna", 1.0)
    else:
        first.put(live, "anna", 1.0)
    seeds = [] if seed is None else [seed]
    for _ in range(2):
        book = opened(ledger, *seeds)
        assert book.limits() == tuple(seeds)
    assert caplog.text.count("new settings") == 1
    by_settings = [change for change in book.changes(9) if change.author == "settings"]
    changed = [LimitChange(0.0, "settings", "power", live, seed)]
    assert by_settings == ([] if live == seed else changed)
    assert opened(ledger, power(150)).limits() == (power(150),), "what was set under older settings is forgotten"


def test_settings_that_come_to_name_what_was_set_live_win(ledger: Ledger) -> None:
    opened(ledger).put(flops(1e9), "anna", 1.0)
    assert opened(ledger).limits() == (flops(1e9),)
    assert opened(ledger, flops(3e9)).limits() == (flops(3e9),)


def test_other_names_stay_as_they_were_set_when_settings_of_one_change(ledger: Ledger) -> None:
    book = opened(ledger, power(150), flops(1e9))
    book.put(power(100), "anna", 1.0)
    book.put(flops(2e9), "anna", 2.0)
    assert opened(ledger, power(160), flops(1e9)).limits() == (flops(2e9), power(160))


def test_back_at_what_the_settings_say_they_are_followed_again(ledger: Ledger) -> None:
    book = opened(ledger, power(150))
    book.put(power(100), "anna", 1.0)
    book.put(power(150), "anna", 2.0)
    assert book.limits() == (power(150),)
    assert opened(ledger, power(120)).limits() == (power(120),)
    assert [change.author for change in book.changes(9)] == ["anna", "anna"], "the settings overrule nobody"


def test_the_same_again_is_fine_and_recorded_once(ledger: Ledger) -> None:
    book = opened(ledger)
    for at_s in (1.0, 2.0, 3.0):
        book.put(power(100), "anna", at_s)
    assert book.changes(9) == (LimitChange(1.0, "anna", "power", None, power(100)),)


def test_what_is_not_there_cannot_be_cleared_and_what_is_there_is_named(ledger: Ledger) -> None:
    book = opened(ledger, power(1), flops(2))
    with pytest.raises(NoSuch, match=r"name: .*there are: flops, power"):
        book.clear("carbon", "anna", 1.0)
    book.clear("power", "anna", 1.0)
    with pytest.raises(NoSuch):
        book.clear("power", "anna", 2.0)
    assert (book.limits(), len(book.changes(9))) == ((flops(2),), 1)


@pytest.mark.parametrize(
    ("holdable", "limit", "reason"),
    [
        (Holdable(joules=False), power(1), "energy.enabled is false"),
        (Holdable(joules=False), Limit("e", Kind.ENERGY, 1, "kWh/day"), "energy.enabled is false"),
        (Holdable(joules=False), Limit("c", Kind.CARBON, 1, "g/h"), "energy.enabled is false"),
        (Holdable(grams=False), Limit("c", Kind.CARBON, 1, "g/day"), "GREENFLOW_CARBON_G_PER_KWH"),
        (Holdable(allocates=False), flops(1), "no allocator"),
    ],
)
def test_what_cannot_be_held_here_is_refused_with_the_reason(
    ledger: Ledger, holdable: Holdable, limit: Limit, reason: str
) -> None:
    book = opened(ledger, holdable=holdable)
    with pytest.raises(FixRequest, match=rf"^kind: {limit.kind} cannot be limited: .*{reason}"):
        book.put(limit, "anna", 1.0)
    assert (book.limits(), book.changes(9)) == ((), ())


def test_without_joules_computation_may_still_be_limited(ledger: Ledger) -> None:
    book = opened(ledger, holdable=Holdable(joules=False))
    book.put(flops(1), "anna", 1.0)
    book.put(Limit("busy", Kind.COMPUTE, 1.5, "busy_s/s"), "anna", 1.0)
    assert [limit.name for limit in book.limits()] == ["busy", "flops"]


def test_what_can_no_longer_be_held_is_kept_but_not_in_force(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    opened(ledger).put(power(100), "anna", 1.0)
    without = opened(ledger, holdable=Holdable(joules=False))
    assert without.limits() == ()
    assert "limit power is not in force: joules are not accounted for" in caplog.text
    assert opened(ledger).limits() == (power(100),)
    without.clear("power", "anna", 2.0)
    assert opened(ledger).limits() == ()


def test_there_are_sixteen_at_most_and_each_may_still_change(ledger: Ledger) -> None:
    book = opened(ledger, power(1))
    for number in range(MOST_LIMITS - 1):
        book.put(flops(1, f"f{number}"), "anna", 1.0)
    with pytest.raises(FixRequest, match="name: there are 16 limits"):
        book.put(flops(1, "one-more"), "anna", 2.0)
    book.put(flops(2, "f3"), "anna", 2.0)
    book.clear("f4", "anna", 3.0)
    book.put(flops(1, "one-more"), "anna", 4.0)
    assert len(book.limits()) == MOST_LIMITS


def test_a_change_that_cannot_be_kept_is_refused_and_changes_nothing() -> None:
    ledger = Broken()
    book = opened(ledger, power(150))
    ledger.writes = False
    for change in (lambda: book.put(power(100), "anna", 1.0), lambda: book.clear("power", "anna", 1.0)):
        with pytest.raises(TryAgain, match=r"stay as they were.*the disk is full"):
            change()
    assert (book.limits(), book.changes(9)) == ((power(150),), ())
    ledger.writes = True
    book.put(power(100), "anna", 2.0)
    assert (book.limits(), len(book.changes(9))) == ((power(100),), 1)


def test_a_ledger_that_somebody_else_writes_to_refuses_a_change_until_they_are_done(tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite"
    ledger = Ledger.open(file, busy_s=0.05)
    book = opened(ledger, power(150))
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(TryAgain, match=r"stay as they were.*another process is writing"):
        book.put(power(100), "anna", 1.0)
    assert book.limits() == (power(150),)
    other.execute("COMMIT")
    other.close()
    book.put(power(100), "anna", 2.0)
    assert opened(ledger, power(150)).limits() == (power(100),)
    ledger.close()


def test_changes_that_come_at_the_same_time_are_all_kept(ledger: Ledger) -> None:
    book = LimitBook([], ledger, ALL)
    names = [f"f{number}" for number in range(MOST_LIMITS)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: book.put(flops(1, name), "anna", 1.0), names))
    assert [limit.name for limit in book.limits()] == sorted(names)
    assert opened(ledger).limits() == book.limits()


def test_while_the_ledger_cannot_be_read_settings_hold_and_nothing_can_change(caplog: pytest.LogCaptureFixture) -> None:
    ledger = Broken()
    opened(ledger, power(150)).put(power(100), "anna", 1.0)
    ledger.reads = False
    book = LimitBook([power(150)], ledger, ALL)
    assert not book.take_up(2.0)
    assert not book.take_up(3.0)
    assert caplog.text.count("another process holds the ledger") == 1, "it is said once"
    assert book.limits() == (power(150),)
    with pytest.raises(TryAgain, match="another process holds the ledger"):
        book.put(power(120), "anna", 4.0)
    ledger.reads = True
    assert book.take_up(5.0)
    assert book.limits() == (power(100),), "nothing was lost"


def test_that_new_settings_won_is_written_down_as_soon_as_it_can_be() -> None:
    ledger = Broken()
    opened(ledger, power(150)).put(power(100), "anna", 1.0)
    ledger.writes = False
    book = opened(ledger, power(200))
    assert book.limits() == (power(200),), "a disk that is full does not bring outdated limits back"
    ledger.writes = True
    book.put(flops(1), "anna", 2.0)
    book.put(flops(2), "anna", 3.0)
    assert [change.author for change in book.changes(9)] == ["anna", "anna", "settings", "anna"]


@pytest.mark.parametrize(
    ("version", "value"),
    [
        (FORMAT, b""),
        (FORMAT, b"{}"),
        (FORMAT, b'{"overrides": [{"name": "x"}]}'),
        (FORMAT, b"\xff"),
        (FORMAT + 1, b'{"overrides": []}'),
    ],
)
def test_what_cannot_be_understood_is_left_alone(ledger: Ledger, version: int, value: bytes) -> None:
    strange = State(KEY, value, version, 1.0, "anna")
    ledger.remember([strange])
    book = LimitBook([power(150)], ledger, ALL)
    assert not book.take_up(2.0)
    with pytest.raises(TryAgain, match="run the GreenFlow that wrote it"):
        book.put(power(1), "anna", 3.0)
    assert (book.limits(), ledger.state(KEY)) == ((power(150),), strange)


def test_changes_are_told_to_the_log_with_their_author(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        opened(ledger, power(150)).put(power(99.5), "anna", 1.0)
    assert "limit power: 99.5 W instead of 150 W, by anna" in caplog.text


NAMES = st.sampled_from(["a", "b", "c"])
DEEDS = st.lists(
    st.one_of(st.tuples(NAMES, st.integers(1, 3)), st.tuples(NAMES, st.none()), st.just("restart")), max_size=20
)


@given(seeds=st.dictionaries(NAMES, st.integers(1, 3)), deeds=DEEDS)
@settings(max_examples=60)
def test_no_change_is_lost_whenever_the_controller_starts_anew(
    seeds: dict[str, int], deeds: list[tuple[str, int | None] | str]
) -> None:
    ledger, known = Ledger.open(None), {name: power(watts, name) for name, watts in seeds.items()}
    expected = dict(known)
    book = opened(ledger, *known.values())
    for deed in deeds:
        if isinstance(deed, str):
            book = opened(ledger, *known.values())
        elif deed[1] is not None:
            expected[deed[0]] = power(deed[1], deed[0])
            book.put(expected[deed[0]], "anna", 1.0)
        elif expected.pop(deed[0], None) is not None:
            book.clear(deed[0], "anna", 1.0)
        assert book.limits() == tuple(expected[name] for name in sorted(expected))


def test_a_ledger_without_its_tables_refuses_changes_and_is_taken_up_when_it_is_whole_again(tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite"
    ledger = Ledger.open(file)
    opened(ledger).put(power(100.0), "anna", 1.0)
    with sqlite3.connect(file) as other:
        other.execute("ALTER TABLE state RENAME TO hidden")
    book = LimitBook([], ledger, ALL)
    assert not book.take_up(2.0)
    with pytest.raises(TryAgain, match=r"limits cannot be changed now: .*no such table"):
        book.put(power(50.0), "bo", 2.0)
    with other:
        other.execute("ALTER TABLE hidden RENAME TO state")
    other.close()
    assert book.take_up(3.0)
    assert book.limits() == (power(100.0),)
    ledger.close()
