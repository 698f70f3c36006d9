"""The energy model in the ledger: it is saved now and then, comes back, and begins anew where it cannot."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from account_world import DIN, ERRORS, UNIX_S, AccountWorld, check_joules_only, prior_of

from allocator.joules import Quality
from cluster.accountant import MODEL_FORMAT, MODEL_KEY
from cluster.ledger.marks import State
from cluster.ledger.store import Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger.open(tmp_path / "ledger.db")
    yield ledger
    ledger.close()


@pytest.fixture
def world(ledger: Ledger) -> AccountWorld:
    return AccountWorld(ledger)


def test_it_comes_back_from_the_ledger(world: AccountWorld) -> None:
    for _ in range(100):
        learned = world.window(watts=55.0).rates
    world.begin()
    restored = world.window(watts=55.0).rates
    fresh = AccountWorld(Ledger(None)).window(watts=55.0).rates
    assert restored.joules != fresh.joules
    assert restored.joules[DIN] == pytest.approx(learned.joules[DIN], rel=0.5)
    assert restored.quality is Quality.MODELLED
    assert fresh.quality is Quality.ASSUMED


def test_it_is_saved_soon_at_first_then_once_a_minute(world: AccountWorld) -> None:
    saved = set()
    for _ in range(250):
        world.window()
        state = world.ledger.state(MODEL_KEY)
        saved.add(None if state is None else state.at_s)
    assert saved == {None, *(UNIX_S + at for at in (11, 21, 41, 81, 141, 201))}


def test_that_of_other_variants_begins_anew(world: AccountWorld, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(100):
        world.window()
    world.prior = prior_of(DIN, ("rank", "dien"))
    world.begin()
    rates = world.window().rates
    assert rates.joules[DIN] == (0.01, 0.001)
    assert "of other variants" in caplog.text
    check_joules_only(world)


@pytest.mark.parametrize("version", [MODEL_FORMAT, MODEL_FORMAT + 1])
def test_what_is_no_model_begins_anew(world: AccountWorld, version: int) -> None:
    world.window()
    world.ledger.remember([State(MODEL_KEY, b"nonsense", version, UNIX_S)])
    world.begin()
    assert world.window().rates.joules[DIN] == (0.01, 0.001)


@pytest.mark.parametrize("trouble", ["damaged for a while", "removed"])
def test_one_that_is_learned_outlives_the_trouble_of_a_file(world: AccountWorld, tmp_path: Path, trouble: str) -> None:
    for turn in range(50):
        before = world.window(watts=55.0, requests=5 + 20 * (turn // 7 % 2)).rates
    if trouble == "removed":
        (tmp_path / "ledger.db").unlink()
    else:
        world.book.down = ERRORS[2]
    assert world.window(watts=55.0).ledger_error is not None
    world.book.mend()
    after = world.window(watts=55.0).rates
    assert world.ledger.last().number == (1 if trouble == "removed" else 51)
    assert after.joules[DIN][0] == pytest.approx(before.joules[DIN][0], rel=0.1)
    assert after.joules[DIN][0] < 0.8 * world.prior.variants[DIN].call_j, "it is not the prior"
