"""The books over windows that close, whatever happens meanwhile: what is in the ledger at the end."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from account_world import DIN, ERRORS, MLP, PUE, UNIX_S, AccountWorld, Host, check, joules_in, work_in
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from allocator.emissions import Kind, grams_per_joule
from allocator.energy.windows import SERVING
from allocator.joules import Quality
from cluster.carbon.base import Span
from cluster.carbon.fake import ScriptedCarbon
from cluster.carbon.fixed import FixedCarbon, UnknownCarbon
from cluster.ledger.store import Ledger
from cluster.work import Counts, work_sum


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger.open(tmp_path / "ledger.db")
    yield ledger
    ledger.close()


@pytest.fixture
def world(ledger: Ledger) -> AccountWorld:
    return AccountWorld(ledger)


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
