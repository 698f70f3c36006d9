"""What outlives the controller: prices with every window, the forecast of load now and then."""

import json

import numpy as np
import pytest
from account_world import UNIX_S
from power_loop import REWARDS, Loop, Machine, watts

from allocator.pacing.saved import dumped
from cluster.control import ControlState
from cluster.kept import LOAD, LOAD_S, PRICES, Kept
from cluster.ledger.marks import State
from cluster.ledger.store import Ledger
from cluster.pacer import QuotaPacer


class FakeDesk:
    """As much of a desk as is kept of it."""

    def __init__(self, state: ControlState | None = None) -> None:
        self.state, self.remembered = state, {}


class FakePurse:
    """As much of a purse as is kept of it."""

    def __init__(self, fixed_w: float | None = None) -> None:
        self.fixed_w = fixed_w

    def resume(self, fixed_w: float) -> None:
        self.fixed_w = fixed_w


def kept(ledger: Ledger, desk: FakeDesk, pacer: QuotaPacer, wall: list[float], purse: FakePurse | None = None) -> Kept:
    return Kept(ledger, desk, purse or FakePurse(), pacer, lambda: wall[0])  # type: ignore[arg-type]


def pacer_that_saw(windows: int) -> QuotaPacer:
    pacer = QuotaPacer()
    for second in range(windows):
        pacer.seen(UNIX_S + second, 1.0, 300.0, REWARDS[:4])
    return pacer


def test_what_was_kept_is_taken_up() -> None:
    loop = Loop(Machine(), [watts("cap", 115.0)])
    state = loop.run(30).states[-1]
    ledger, wall, pacer = Ledger(None), [UNIX_S], pacer_that_saw(20)
    before = kept(ledger, FakeDesk(state), pacer, wall, FakePurse(52.5))
    assert [one.key for one in before.states()] == [PRICES]
    wall[0] += LOAD_S
    ledger.remember(before.states())
    desk, other, purse = FakeDesk(), pacer_that_saw(0), FakePurse()
    kept(ledger, desk, other, wall, purse).take_up()
    assert purse.fixed_w == 52.5
    assert desk.remembered == {"cap": pytest.approx(float(state.policy.prices[0]))}
    assert dumped(other.load) == dumped(pacer.load)


def test_the_forecast_is_written_now_and_then_only() -> None:
    state = Loop(Machine(), [watts("cap", 115.0)]).run(5).states[-1]
    wall = [UNIX_S]
    keeper = kept(Ledger(None), FakeDesk(state), pacer_that_saw(1), wall)
    written = []
    for _ in range(700):
        wall[0] += 1.0
        written += [one.at_s for one in keeper.states() if one.key == LOAD]
    assert written == [UNIX_S + LOAD_S, UNIX_S + 2 * LOAD_S]


def test_before_the_first_snapshot_there_is_nothing_to_keep() -> None:
    assert kept(Ledger(None), FakeDesk(), pacer_that_saw(0), [UNIX_S]).states() == ()


@pytest.mark.parametrize(
    ("value", "version"),
    [(b"nonsense", 1), (b"[1]", 1), (b'{"prices": {"a": "x"}}', 1), (b'{"prices": {"a": 1.0}, "fixed_w": 1}', 2)],
)
def test_what_is_no_record_of_prices_is_left_alone(value: bytes, version: int) -> None:
    ledger, desk = Ledger(None), FakeDesk()
    ledger.remember([State(PRICES, value, version, UNIX_S)])
    kept(ledger, desk, pacer_that_saw(0), [UNIX_S]).take_up()
    assert desk.remembered == {}


def test_prices_that_are_none_are_left_out() -> None:
    ledger, desk = Ledger(None), FakeDesk()
    odd = {"prices": {"a": 1.0, "b": -1.0, "c": float("nan")}, "fixed_w": float("inf")}
    ledger.remember([State(PRICES, json.dumps(odd).encode(), 1, UNIX_S)])
    purse = FakePurse()
    kept(ledger, desk, pacer_that_saw(0), [UNIX_S], purse).take_up()
    assert desk.remembered == {"a": 1.0}
    assert purse.fixed_w is None


def test_a_new_controller_begins_with_the_prices_that_were_kept() -> None:
    first = Loop(Machine(), [watts("cap", 115.0), watts("other", 500.0)])
    held = first.run(60).states[-1].named_prices
    second = Loop(Machine(), [watts("other", 500.0), watts("cap", 115.0)])
    second.boot(held)
    state = second.run(1).states[0]
    assert state.named_prices == pytest.approx(held)
    assert np.isfinite(state.policy.prices).all()
