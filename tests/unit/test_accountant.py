"""The books over windows that close, ledgers that fail and accountants that die: what is in the ledger at the end."""

import contextlib
import logging
import math
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from account_world import (
    DIN,
    MLP,
    PUE,
    UNIX_S,
    AccountWorld,
    Host,
    by_pool,
    joules_in,
    prior_of,
    work_in,
)
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from allocator.emissions import Kind, grams_per_joule
from allocator.energy.windows import SERVING
from allocator.joules import Quality
from cluster.accountant import MODEL_FORMAT, MODEL_KEY
from cluster.carbon.base import Span
from cluster.carbon.fake import ScriptedCarbon
from cluster.carbon.fixed import FixedCarbon, UnknownCarbon
from cluster.ledger.marks import State
from cluster.ledger.store import Ledger
from cluster.work import Counts, work_sum
from models.errors import FixFile, FixSetup, GreenFlowError, TryAgain

ERRORS = (TryAgain("locked"), FixSetup("the disk is full"), FixFile("ledger.db", "", "is damaged"))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger.open(tmp_path / "ledger.db")
    yield ledger
    ledger.close()


@pytest.fixture
def world(ledger: Ledger) -> AccountWorld:
    return AccountWorld(ledger)


def check(world: AccountWorld) -> None:
    """The ledger holds what was drawn since somebody first read it, and what was served; each once."""
    assert joules_in(world.ledger) == pytest.approx(world.true_j(), rel=1e-9, abs=1e-6)
    assert world.served() == world.should_be_served()
    for key, (drawn_j, parts_j) in by_pool(world.ledger).items():
        assert math.isclose(drawn_j, parts_j, rel_tol=1e-9, abs_tol=1e-9), key


class TestWindows:
    def test_every_window_closes(self, world: AccountWorld) -> None:
        for turn in range(40):
            world.window(watts=20.0 + turn % 7, requests=turn % 5)
        check(world)
        for account in world.book.accounts:
            for pool in account.pools:
                shares = math.fsum(share.energy_j for share in account.shares if share.pool == pool.pool)
                drawn = math.fsum(device.energy_j for device in account.devices if device.pool == pool.pool)
                assert drawn == pytest.approx(shares + pool.idle_j + pool.unattributed_j, rel=1e-12)
                assert drawn == pytest.approx(pool.energy_j, rel=1e-12)

    def test_a_package_counter_that_passes_its_range_is_billed_on(self, world: AccountWorld) -> None:
        world.window()
        assert world.window(seconds=100.0).events == {("web/package-0", "wrap"): 1}
        assert joules_in(world.ledger)["web/package-0"] == pytest.approx(3000.0)
        assert world.window().events == {}

    def test_the_first_window_bills_nothing_and_still_counts_requests(self, world: AccountWorld) -> None:
        closed = world.window(requests=5)
        assert [device.energy_j for device in closed.devices] == [0.0, 0.0]
        assert world.book.accounts[0].requests == 5
        assert world.book.accounts[0].items == 50

    def test_windows_are_numbered_and_follow_each_other(self, world: AccountWorld) -> None:
        for _ in range(3):
            world.window(seconds=2.0)
        accounts = world.book.accounts
        assert [account.number for account in accounts] == [1, 2, 3]
        assert [account.end_s for account in accounts] == [UNIX_S + 2, UNIX_S + 4, UNIX_S + 6]
        assert [account.window_s for account in accounts] == [0.0, 2.0, 2.0]
        assert {account.policy_version for account in accounts} == {3}
        assert {(account.pue, account.pue_quality) for account in accounts} == {(PUE.ratio, PUE.quality)}

    def test_work_of_a_hosts_boot_id_is_in_the_pool_that_its_meter_names(self, world: AccountWorld) -> None:
        for _ in range(3):
            world.window()
        shares = world.book.accounts[-1].shares
        assert {share.pool for share in shares} == {"web/cpu"}
        assert {(share.stage, share.variant) for share in shares} == {DIN, MLP, SERVING}
        assert sum(share.energy_j for share in shares) > 0

    @pytest.mark.parametrize(
        ("replica", "meter"),
        [
            ("boot-1/cpu", "web/cpu"),
            ("boot-1/GPU-web", "GPU-web"),
            ("boot-1/GPU-without-a-meter", "web/cpu"),
            ("boot-9/cpu", "boot-9/cpu"),
        ],
    )
    def test_work_is_in_the_pool_of_what_it_ran_on(self, world: AccountWorld, replica: str, meter: str) -> None:
        world.window()
        work = work_sum(world.done.work, {(*DIN, replica): Counts(3, 30, 0.1)})
        world.accountant.close([world.hosts[0].report()], replace(world.done, work=work), 3, world.unix_s + 1)
        shares = world.book.accounts[-1].shares
        assert [(s.stage, s.variant, s.pool, s.calls, s.items) for s in shares if s.calls] == [(*DIN, meter, 3, 30)]

    def test_without_meters_work_is_counted_and_no_joules(self, world: AccountWorld) -> None:
        world.hosts = []
        closed = world.window()
        assert closed.devices == ()
        assert work_in(world.ledger)[DIN] == (2, 350)
        check(world)

    def test_what_meters_cannot_read_is_told_once(self, world: AccountWorld) -> None:
        other = Host("web2", "boot-1")
        for host in (world.hosts[0], other):
            host.sensor.gone = {"package-0": "no permission"}
        world.hosts.append(other)
        assert [refusal.what for refusal in world.window().refusals] == ["package-0"]


class TestCarbon:
    def test_rates_follow_the_grid(self, ledger: Ledger) -> None:
        spans = [
            Span(UNIX_S, UNIX_S + 10, 100.0, Quality.MODELLED),
            Span(UNIX_S + 10, UNIX_S + 20, 400.0, Quality.MEASURED),
        ]
        world = AccountWorld(ledger, carbon=ScriptedCarbon(spans))
        clean, _, dirty = (world.window(seconds=4.0).rates for _ in range(3))
        assert clean.grams_per_j == pytest.approx(PUE.ratio * 100 / 3.6e6)
        assert dirty.grams_per_j == pytest.approx(PUE.ratio * 400 / 3.6e6)
        assert [account.intensity_g_per_kwh for account in world.book.accounts] == [100.0, 100.0, 400.0]
        assert world.book.accounts[0].intensity_quality is Quality.MODELLED

    def test_nobody_knows_the_grid_then_nobody_knows_grams(self, ledger: Ledger) -> None:
        world = AccountWorld(ledger, carbon=UnknownCarbon())
        assert world.window().rates.grams_per_j is None
        assert world.book.accounts[0].intensity_g_per_kwh is None
        with ledger.use() as db:
            assert db.execute("SELECT intensity_kind FROM footing").fetchall() == [("none",)]

    def test_marginal_intensity_stays_apart(self, ledger: Ledger) -> None:
        world = AccountWorld(ledger, carbon=FixedCarbon(500.0, Kind.MARGINAL))
        rates = world.window().rates
        figure = world.carbon.now(world.unix_s)
        assert figure is not None
        assert rates.grams_per_j == grams_per_joule(PUE, figure.figure)
        with ledger.use() as db:
            assert db.execute("SELECT intensity_kind FROM footing").fetchall() == [("marginal",)]


class TestLedgerFails:
    @pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
    @pytest.mark.parametrize("how", ["down", "unwritten", "unheard"])
    def test_windows_that_cannot_be_written_lose_nothing(
        self, world: AccountWorld, error: GreenFlowError, how: str
    ) -> None:
        for _ in range(3):
            world.window()
        setattr(world.book, how, error)
        for _ in range(5):
            assert world.window().ledger_error == f"{type(error).__name__}: {error}"
        world.book.mend()
        assert world.window().ledger_error is None
        check(world)
        numbers = [account.number for account in world.book.accounts]
        assert numbers == list(range(1, len(numbers) + 1))

    def test_the_window_after_an_outage_covers_it(self, world: AccountWorld) -> None:
        world.window()
        world.book.unwritten = ERRORS[0]
        for _ in range(4):
            world.window()
        world.book.mend()
        world.window()
        account = world.book.accounts[-1]
        assert account.window_s == pytest.approx(5.0)
        assert account.requests == 35
        assert [device.window_s for device in account.devices] == pytest.approx([5.0, 5.0])

    def test_what_was_written_is_told_and_nothing_else(self, world: AccountWorld) -> None:
        told = [world.window().written for _ in range(2)]
        world.book.unwritten = ERRORS[0]
        assert [world.window().written for _ in range(3)] == [None] * 3
        world.book.mend()
        told += [world.window().written for _ in range(2)]
        assert told == world.book.accounts
        drawn = [device for account in told if account for device in account.devices if device.kind == "package"]
        assert sum(device.energy_j for device in drawn) == pytest.approx(joules_in(world.ledger)["web/package-0"])

    def test_figures_of_windows_that_cannot_be_written_are_their_own(self, world: AccountWorld) -> None:
        world.window()
        world.book.down = ERRORS[1]
        world.window(watts=10.0)
        closed = world.window(watts=50.0)
        assert {device.device: device.energy_j for device in closed.devices} == pytest.approx(
            {"web/package-0": 50.0, "GPU-web": 100.0}
        )

    def test_an_outage_of_hours_loses_nothing(self, world: AccountWorld) -> None:
        world.window()
        world.book.unwritten = ERRORS[1]
        for _ in range(5):
            world.window(seconds=1800.0)
        world.book.mend()
        world.window()
        assert joules_in(world.ledger)["web/package-0"] == pytest.approx(5 * 1800 * 30 + 30)
        check(world)

    def test_an_outage_of_hours_that_began_before_the_first_window_loses_nothing(self, world: AccountWorld) -> None:
        world.window()
        world.window()
        world.begin()
        world.book.down = ERRORS[1]
        world.window()
        for _ in range(5):
            world.window(seconds=1800.0)
        world.book.mend()
        world.window()
        check(world)

    def test_devices_that_join_meanwhile_are_billed_from_their_first_reading(self, world: AccountWorld) -> None:
        world.window()
        world.book.down = ERRORS[0]
        world.window()
        world.hosts.append(Host("gpu", "boot-2"))
        for _ in range(3):
            world.window()
        world.book.mend()
        world.window()
        assert joules_in(world.ledger)["gpu/package-0"] == pytest.approx(90.0)
        check(world)

    def test_a_ledger_that_cannot_be_opened_at_first_has_all_since_the_first_reading(self, world: AccountWorld) -> None:
        world.book.down = ERRORS[1]
        for _ in range(4):
            closed = world.window()
            assert closed.ledger_error is not None
        assert closed.rates.joules.keys() == {DIN, MLP, SERVING}
        world.book.mend()
        world.window()
        assert joules_in(world.ledger)["web/package-0"] == pytest.approx(120.0)
        check(world)

    def test_a_file_that_is_no_ledger_is_left_alone_and_a_ledger_is_begun_when_it_is_moved_away(
        self, tmp_path: Path
    ) -> None:
        file = tmp_path / "ledger.db"
        world = AccountWorld(Ledger(None))
        world.book.ledger = world.ledger = Ledger(file)
        file.write_text("this is the diary of somebody else, and no ledger at all\n" * 20)
        for _ in range(3):
            assert str(world.window().ledger_error).startswith(f"FixFile: {file}: is damaged")
        file.unlink()
        assert world.window().ledger_error is None
        check(world)
        world.ledger.close()

    def test_a_ledger_that_is_removed_under_its_writer_is_begun_anew_with_all_that_the_old_one_lacks(
        self, world: AccountWorld, tmp_path: Path
    ) -> None:
        for _ in range(3):
            world.window()
        before, from_j = joules_in(world.ledger), dict(world.billed_from)
        (tmp_path / "ledger.db").unlink()
        assert "was removed" in str(world.window().ledger_error)
        world.window()
        new = joules_in(world.ledger)
        assert {device: before[device] + new[device] for device in from_j} == pytest.approx(world.true_j())

    def test_an_older_copy_of_the_ledger_is_billed_from_its_own_marks(
        self, world: AccountWorld, tmp_path: Path
    ) -> None:
        for _ in range(3):
            world.window()
        with contextlib.closing(sqlite3.connect(tmp_path / "copy.db")) as copy, world.ledger.use() as db:
            db.backup(copy)
        for _ in range(3):
            world.window()
        (tmp_path / "copy.db").replace(tmp_path / "ledger.db")
        assert "was removed or replaced" in str(world.window().ledger_error)
        world.window()
        assert joules_in(world.ledger) == pytest.approx(world.true_j())

    def test_the_error_is_said_once_and_its_end_once(
        self, world: AccountWorld, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        world.window()
        world.book.unwritten = ERRORS[0]
        world.window()
        world.book.down = ERRORS[1]
        for _ in range(4):
            world.window()
        world.book.mend()
        for _ in range(3):
            world.window()
        said = [(r.levelname, r.getMessage()) for r in caplog.records if r.name == "cluster.accountant"]
        assert [level for level, _ in said] == ["ERROR", "WARNING"]
        assert "TryAgain: locked" in said[0][1]
        assert "written again" in said[1][1]


class TestModel:
    def test_it_comes_back_from_the_ledger(self, world: AccountWorld) -> None:
        for _ in range(100):
            learned = world.window(watts=55.0).rates
        world.begin()
        restored = world.window(watts=55.0).rates
        fresh = AccountWorld(Ledger(None)).window(watts=55.0).rates
        assert restored.joules != fresh.joules
        assert restored.joules[DIN] == pytest.approx(learned.joules[DIN], rel=0.5)
        assert restored.quality is Quality.MODELLED
        assert fresh.quality is Quality.ASSUMED

    def test_it_is_saved_soon_at_first_then_once_a_minute(self, world: AccountWorld) -> None:
        saved = set()
        for _ in range(250):
            world.window()
            state = world.ledger.state(MODEL_KEY)
            saved.add(None if state is None else state.at_s)
        assert saved == {None, *(UNIX_S + at for at in (11, 21, 41, 81, 141, 201))}

    def test_that_of_other_variants_begins_anew(self, world: AccountWorld, caplog: pytest.LogCaptureFixture) -> None:
        for _ in range(100):
            world.window()
        world.prior = prior_of(DIN, ("rank", "dien"))
        world.begin()
        rates = world.window().rates
        assert rates.joules[DIN] == (0.01, 0.001)
        assert "of other variants" in caplog.text
        check_joules_only(world)

    @pytest.mark.parametrize("version", [MODEL_FORMAT, MODEL_FORMAT + 1])
    def test_what_is_no_model_begins_anew(self, world: AccountWorld, version: int) -> None:
        world.window()
        world.ledger.remember([State(MODEL_KEY, b"nonsense", version, UNIX_S)])
        world.begin()
        assert world.window().rates.joules[DIN] == (0.01, 0.001)

    @pytest.mark.parametrize("trouble", ["damaged for a while", "removed"])
    def test_one_that_is_learned_outlives_the_trouble_of_a_file(
        self, world: AccountWorld, tmp_path: Path, trouble: str
    ) -> None:
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


def check_joules_only(world: AccountWorld) -> None:
    assert joules_in(world.ledger) == pytest.approx(world.true_j(), rel=1e-9, abs=1e-6)


FATES = st.lists(
    st.tuples(
        st.sampled_from(["fine", "silent", "unwritten", "unheard", "down", "crash", "meter", "joins"]),
        st.floats(0.0, 100.0),
    ),
    max_size=20,
)


@examples(max_examples=150)
@example(fates=[("unheard", 10.0), ("down", 10.0), ("silent", 5.0), ("crash", 1.0)])
@example(fates=[("down", 10.0), ("joins", 20.0), ("unwritten", 10.0), ("meter", 5.0)])
@example(fates=[("fine", 10.0), ("crash", 20.0), ("down", 10.0), ("unheard", 5.0), ("crash", 5.0)])
@given(fates=FATES)
def test_whatever_happens_the_ledger_has_what_was_drawn_and_served_once(fates: list[tuple[str, float]]) -> None:
    ledger = Ledger(None)
    world = AccountWorld(ledger)
    for turn, (fate, watts) in enumerate(fates):
        world.book.mend()
        if fate in ("unwritten", "unheard", "down"):
            setattr(world.book, fate, ERRORS[turn % 3])
        elif fate == "crash":
            world.begin()
        elif fate == "meter":
            world.hosts[0].restart()
        elif fate == "joins" and len(world.hosts) < 3:
            world.hosts.append(Host(f"web-{turn}", f"boot-{turn + 2}"))
        world.window(watts=watts, requests=turn % 4, heard=fate != "silent")
    world.book.mend()
    world.window()
    check(world)
    ledger.close()
