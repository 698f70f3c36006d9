"""What outlives the controller: prices with every window, what chains cost, the grid and the load now and then."""

import asyncio
import json
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from account_world import UNIX_S
from power_loop import REWARDS, Loop, Machine, watts
from small_space import SPACE

from allocator.pacing.saved import dumped
from allocator.price.predictive import PredictiveState
from cluster.accounts import Window
from cluster.carbon.fixed import FixedCarbon, UnknownCarbon
from cluster.carbon.remembered import INTENSITY, RememberedCarbon
from cluster.computing import BUSY, ROWS
from cluster.control import ControlState
from cluster.kept import COSTS_S, INTENSITY_S, LOAD_S, PRICES, SAVINGS, SAVINGS_S, Handed, Kept, parts_of
from cluster.ledger.changes import LimitChange
from cluster.ledger.marks import State
from cluster.ledger.store import Ledger
from cluster.pacer import LOAD, QuotaPacer
from cluster.purse import Purse
from cluster.work import Counts
from models.errors import TryAgain

UK = "uk GB"
GRID = f"grid {UK}"


class FakeDesk:
    """As much of a desk as is kept of it."""

    def __init__(self, state: ControlState | None = None) -> None:
        self.state = state
        self.remembered: Mapping[str, float] = {}


class Locked(Ledger):
    """A ledger in memory that somebody else holds for a while."""

    def __init__(self) -> None:
        super().__init__(None)
        self.locked = False

    def state(self, key: str) -> State | None:
        if self.locked:
            raise TryAgain("another process is writing to it")
        return super().state(key)

    def remember(self, states: Sequence[State], changes: Sequence[LimitChange] = ()) -> None:
        if self.locked and states:
            raise TryAgain("another process is writing to it")
        super().remember(states, changes)


class Room:
    """A controller's parts, and the ledger that one before has written."""

    def __init__(self, ledger: Ledger, state: ControlState | None = None, known: bool = True, of: str = UK) -> None:
        self.ledger, self.now_s, self.desk = ledger, UNIX_S, FakeDesk(state)
        source = FixedCarbon(300.0) if known else UnknownCarbon()
        self.carbon = RememberedCarbon(source, of, 7200.0)
        self.pacer = QuotaPacer(self.carbon)
        self.purse = Purse(SPACE, 1.0, tuple, self.pacer, Machine().prior())
        parts = parts_of(self.desk, self.purse, self.pacer, self.carbon, lambda: self.now_s)  # type: ignore[arg-type]
        self.kept = Kept(ledger, parts, lambda: self.now_s)

    def begins(self) -> "Room":
        assert asyncio.run(self.kept.take_up())
        return self

    def serves(self, windows: int, busy_s: float = 0.4) -> "Room":
        """Windows of 100 requests by the static chain, that take their time."""
        executed = np.zeros(len(SPACE))
        executed[SPACE.static.index] = 100.0
        for at in range(windows):
            work = {
                (action.stage, str(action.variant), "a/cpu"): Counts(10 * at, 100 * at * action.items, busy_s * at)
                for action in SPACE.static.actions
            }
            self.purse.means(Window(executed, 100.0, REWARDS[:4]), work, None, self.now_s)
            self.now_s += 1.0
        return self

    def writes(self, seconds: float = 0.0) -> None:
        self.now_s += seconds
        self.ledger.remember(self.kept.states())

    def costs(self) -> np.ndarray:
        return self.purse._computing.costs(SPACE)


@pytest.fixture
def state() -> ControlState:
    return Loop(Machine(), [watts("cap", 115.0)]).run(30).states[-1]


def test_what_was_kept_is_taken_up(state: ControlState) -> None:
    ledger = Ledger(None)
    first = Room(ledger, state).begins().serves(40)
    first.purse.resume(52.5)
    first.writes(LOAD_S)
    second = Room(ledger, known=False).begins()
    assert second.purse.fixed_w == 52.5
    assert second.desk.remembered == {"joules:cap": pytest.approx(float(state.policy.prices[0]))}
    assert dumped(second.pacer.load) == dumped(first.pacer.load)
    assert dumped(second.pacer.grid) == dumped(first.pacer.grid)
    np.testing.assert_allclose(second.costs(), first.costs())
    assert np.abs(second.costs() / Room(Ledger(None)).costs() - 1).max() > 0.5, (
        "and that is not what is believed at first"
    )
    intensity = second.carbon.now(first.now_s + 60)
    assert intensity is not None
    assert (intensity.g_per_kwh, intensity.age_s, intensity.stale) == (300.0, 60.0, False)


def test_what_changes_slowly_is_written_now_and_then_only(state: ControlState) -> None:
    room = Room(Ledger(None), state).begins()
    written: dict[str, list[float]] = {}
    for _ in range(700):
        room.now_s += 1.0
        for one in room.kept.states():
            written.setdefault(one.key, []).append(one.at_s - UNIX_S)
    assert len(written[PRICES]) == 700
    assert written[LOAD] == written[GRID] == [LOAD_S, 2 * LOAD_S]
    assert written[BUSY] == written[ROWS] == [COSTS_S * n for n in range(1, 24)]
    assert written[INTENSITY] == [INTENSITY_S * n for n in range(1, 12)]


def test_before_the_first_snapshot_no_prices_are_kept() -> None:
    assert Room(Ledger(None)).begins().kept.states() == ()


def test_nothing_is_written_over_what_could_not_be_read_and_it_is_taken_up_late(
    state: ControlState, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Locked()
    first = Room(ledger, state).begins().serves(300)
    first.writes(LOAD_S)
    before = {key: ledger.state(key) for key in (PRICES, LOAD, GRID, BUSY, ROWS, INTENSITY)}
    ledger.locked = True
    second = Room(ledger, state, known=False)
    for _ in range(5):
        assert not asyncio.run(second.kept.take_up())
        second.serves(20)
        second.writes(2 * LOAD_S)
    assert caplog.text.count("another process is writing") == 1
    ledger.locked = False
    assert {key: ledger.state(key) for key in before} == before
    second.begins()
    assert dumped(second.pacer.load) == dumped(first.pacer.load)
    assert "comes late" in caplog.text
    assert second.desk.remembered == state.prices_by_key
    second.writes()
    assert ledger.state(PRICES).at_s == second.now_s  # type: ignore[union-attr]
    assert ledger.state(LOAD) == before[LOAD], "not before it is due"


def test_what_is_known_of_another_grid_is_left_alone() -> None:
    ledger = Ledger(None)
    Room(ledger).begins().serves(20).writes(LOAD_S)
    moved = Room(ledger, known=False, of="electricity-maps DE").begins()
    assert moved.pacer.grid.number is None
    assert moved.carbon.now(UNIX_S) is None
    assert moved.pacer.load.number is not None


def test_what_variants_have_taught_since_is_not_overwritten_by_what_was_kept() -> None:
    ledger = Ledger(None)
    first = Room(ledger).begins().serves(40, busy_s=0.4)
    first.writes(LOAD_S)
    second = Room(ledger).serves(400, busy_s=0.8)
    learned = second.costs()[SPACE.static.index]
    assert learned > 1.5 * first.costs()[SPACE.static.index]
    assert second.begins().costs()[SPACE.static.index] == pytest.approx(learned)


@pytest.mark.parametrize(
    ("value", "version"),
    [(b"nonsense", 1), (b"[1]", 1), (b'{"prices": {"a": "x"}}', 1), (b'{"prices": {"a": 1.0}, "fixed_w": 1}', 2)],
)
def test_what_is_no_record_is_left_alone(value: bytes, version: int) -> None:
    ledger = Ledger(None)
    ledger.remember([State(key, value, version, UNIX_S) for key in (PRICES, LOAD, GRID, BUSY, ROWS, INTENSITY)])
    room = Room(ledger, known=False).begins()
    assert room.desk.remembered == {}
    assert room.pacer.load.number is None
    assert room.carbon.now(UNIX_S) is None
    np.testing.assert_array_equal(room.costs(), Room(Ledger(None)).costs())


def test_prices_that_are_none_are_left_out() -> None:
    ledger = Ledger(None)
    odd = {"prices": {"a": 1.0, "b": -1.0, "c": float("nan")}, "fixed_w": float("inf")}
    ledger.remember([State(PRICES, json.dumps(odd).encode(), 1, UNIX_S)])
    room = Room(ledger).begins()
    assert room.desk.remembered == {"a": 1.0}
    assert room.purse.fixed_w is None


def test_a_new_controller_begins_with_the_prices_that_were_kept() -> None:
    first = Loop(Machine(), [watts("cap", 115.0), watts("other", 500.0)])
    held = first.run(60).states[-1].prices_by_key
    second = Loop(Machine(), [watts("other", 500.0), watts("cap", 115.0)])
    second.ledger = first.ledger
    second.boot()
    state = second.run(1).states[0]
    assert state.prices_by_key == pytest.approx(held)
    assert np.isfinite(state.policy.prices).all()
    assert isinstance(state.prices, PredictiveState)


class Shelf:
    """A controller that keeps what another replica hands over."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.now_s, self.handed = ledger, UNIX_S, Handed(SAVINGS, SAVINGS_S)
        self.kept = Kept(ledger, [self.handed.part], lambda: self.now_s)

    def begins(self) -> "Shelf":
        assert asyncio.run(self.kept.take_up())
        return self

    def writes(self, seconds: float = SAVINGS_S) -> int:
        self.now_s += seconds
        states = self.kept.states()
        self.ledger.remember(states)
        return len(states)


def test_what_was_handed_over_is_kept_for_the_next_controller() -> None:
    ledger = Ledger(None)
    first = Shelf(ledger).begins()
    assert first.handed.asked() is None, "nothing was kept before"
    assert first.writes() == 0
    first.handed.value = b"one"
    assert first.writes(), "and the newest of it"
    first.handed.value = b"two"
    assert first.writes(0.5 * SAVINGS_S) == 0, "not before it is due"
    assert first.writes(0.5 * SAVINGS_S)
    assert Shelf(ledger).begins().handed.asked() == b"two"


def test_where_no_window_of_the_account_takes_it_along_it_is_written_by_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ledger = Locked()
    first = Shelf(ledger).begins()
    first.handed.value = b"one"
    first.now_s += SAVINGS_S

    async def runs() -> None:
        ledger.locked = True
        await first.kept.write()
        await first.kept.write()
        ledger.locked = False
        await first.kept.write()

    with caplog.at_level("INFO"):
        asyncio.run(runs())
    said = [record.getMessage() for record in caplog.records if "next controller" in record.getMessage()]
    assert [("again" in one) for one in said] == [False, True], "each is said once"
    assert Shelf(ledger).begins().handed.asked() == b"one"


def test_while_the_ledger_cannot_be_read_nobody_takes_what_was_kept_for_nothing() -> None:
    ledger = Locked()
    first = Shelf(ledger).begins()
    first.handed.value = b"kept"
    first.writes()
    ledger.locked = True
    second = Shelf(ledger)
    assert not asyncio.run(second.kept.take_up())
    with pytest.raises(TryAgain, match="savings"):
        second.handed.asked()
    assert second.writes() == 0
    ledger.locked = False
    assert second.begins().handed.asked() == b"kept"


def test_what_is_handed_over_early_is_not_replaced_by_what_was_kept() -> None:
    ledger = Ledger(None)
    first = Shelf(ledger).begins()
    first.handed.value = b"old"
    first.writes()
    second = Shelf(ledger)
    second.handed.value = b"new"
    assert second.handed.asked() == b"new"
    assert second.begins().handed.asked() == b"new"
    second.writes()
    assert Shelf(ledger).begins().handed.asked() == b"new"
