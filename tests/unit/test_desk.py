"""Controller and replicas together, on a clock of the test's own: reports, restarts, loss, and what all agree on."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from desk_world import RATE, Replica, World, play
from fake_time import FakeTime
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from tiny_cascade import TinyCascade
from tiny_reward import MODEL, space_of

from allocator.chains import ChainSpace
from cluster.accounts import Books, Report
from cluster.follower import Follower, Tie
from cluster.metrics import ENERGY, METRICS, RecordedMetrics
from cluster.promotion.adopting import Loaded, Models
from cluster.publishing import ControlMetrics
from cluster.snapshot import Answer, Standing
from cluster.tally import Tally
from cluster.work import Workbook
from models.errors import TryAgain


@pytest.fixture(scope="module")
def space(tiny: TinyCascade) -> ChainSpace:
    return space_of(tiny)


def limit_of(space: ChainSpace, replicas: int = 2, share: float = 0.5) -> float:
    return replicas * RATE * float(space.flops.min() + share * np.ptp(space.flops))


def test_a_limit_is_met_soon_after_traffic_begins(space: ChainSpace) -> None:
    world = World(space, limit_of(space))
    spend: list[float] = []

    async def story(world: World) -> None:
        for _ in range(30):
            before = sum(float(r.tally.totals(0).executed @ space.flops) for r in world.replicas)
            await world.pass_by(1)
            after = sum(float(r.tally.totals(0).executed @ space.flops) for r in world.replicas)
            spend.append((after - before) / world.limit_per_s)

    play(world, story)
    assert max(spend[3:]) < 1.3
    assert np.mean(spend[5:]) == pytest.approx(1.0, abs=0.03)
    assert world.replicas[0].follower.policy.prices[0] > 0


def test_metrics_are_told_in_every_tick_though_nobody_accounts_for_joules(space: ChainSpace) -> None:
    metrics, ticks, answered = RecordedMetrics(), list[int](), list[int]()
    control = ControlMetrics(metrics, [chain.id for chain in space])

    async def story(world: World) -> None:
        assert world.desk is not None

        def tell(standings: Sequence[Standing], books: Books) -> None:
            ticks.append(len(standings))
            answered.append(int(books.billed.sum()))
            control.tell(standings, books)

        world.desk.tell = tell
        await world.pass_by(3.05)
        world.replicas[0].tally.degraded("late", 2)
        world.replicas[0].tally.cost(np.array([0.15, 0.15, 7.0]))
        await world.pass_by(3)
        standing = world.desk.standings[0]
        key = (("constraint", "flops"),)
        assert metrics.values["greenflow_price", key] == standing.price > 0
        assert metrics.values["greenflow_constraint_spend", key] == standing.spend_per_s

    play(World(space, limit_of(space)), story)
    assert ticks == [1] * 6
    decided = sum(value for (name, _), value in metrics.values.items() if name == "greenflow_decisions_total")
    assert decided == answered[-1] > RATE
    assert metrics.values["greenflow_degraded_total", (("reason", "late"),)] == 2.0
    assert metrics.values["greenflow_control_windows_total", ()] == 6.0
    assert dict(zip(METRICS[ENERGY].bounds, metrics.counts[ENERGY, ()].tolist(), strict=False))[0.2] == 2
    assert metrics.counts[ENERGY, ()].sum() == 3


def test_all_replicas_hold_the_same_version_soon_after_a_tick(space: ChainSpace) -> None:
    async def story(world: World) -> None:
        await world.pass_by(3.05)
        for _ in range(5):
            await world.time.advance(1.0)
            assert len(set(world.versions)) == 1
            assert world.versions[0] > 0

    play(World(space, limit_of(space), replicas=3), story)


def test_a_window_is_reported_just_before_it_ends(space: ChainSpace) -> None:
    world = World(space, limit_of(space))

    async def story(world: World) -> None:
        await world.pass_by(10)

    play(world, story)
    phases = {round(report.totals.at_s % 1.0, 2) for report in world.wires[0].reports[2:]}
    assert phases == {0.9}


def test_without_the_controller_prices_hold_and_are_marked_stale_after_the_bound(space: ChainSpace) -> None:
    async def story(world: World) -> None:
        await world.pass_by(5)
        follower = world.replicas[0].follower
        held = follower.policy
        world.stop_controller()
        await world.pass_by(3)
        told = world.replicas[0].metrics.values
        assert (follower.policy is held, follower.stale) == (True, False)
        assert told["greenflow_policy_stale", ()] == 0.0
        await world.pass_by(3)
        assert (follower.policy is held, follower.stale) == (True, True)
        assert told["greenflow_policy_stale", ()] == 1.0
        assert follower.age_s == pytest.approx(6, abs=1.1)

    play(World(space, limit_of(space), stale_s=5.0), story)


def test_a_restarted_controller_takes_prices_and_version_up_again(space: ChainSpace) -> None:
    world = World(space, limit_of(space))

    async def story(world: World) -> None:
        await world.pass_by(10)
        before = world.replicas[0].follower.policy
        world.stop_controller()
        await world.pass_by(4)
        world.restart_controller()
        await world.pass_by(4)
        after = world.replicas[0].follower
        assert after.policy.version > before.version
        assert 0.5 < after.policy.prices[0] / before.prices[0] < 2
        assert not after.stale
        assert after.age_s < 1.1

    play(world, story)
    for replica in world.replicas:
        prices = [price for (price,) in replica.decided_by.values()]
        began = next(at for at, price in enumerate(prices) if price > 0)
        assert min(prices[began:]) > 0, "prices never fall to zero"


def test_a_controller_that_first_hears_a_new_replica_takes_up_what_an_old_one_tells_later(space: ChainSpace) -> None:
    world = World(space, limit_of(space, replicas=1, share=0.3))

    async def story(world: World) -> None:
        world.wires[1].lose_reports = True
        await world.pass_by(10)
        held = world.replicas[0].follower.policy
        world.wires[0].lose_reports, world.wires[1].lose_reports = True, False
        world.restart_controller()
        await world.pass_by(2)
        assert world.replicas[1].follower.policy.prices[0] == 0, "a new replica can tell nothing of prices"
        world.wires[0].lose_reports = False
        await world.pass_by(2)
        assert world.versions[0] == world.versions[1] > held.version
        assert held.prices[0] > 0
        assert world.replicas[1].follower.policy.prices[0] > 0.3 * held.prices[0]

    play(world, story)


async def nobody(name: str) -> bytes:
    raise TryAgain(f"nobody has {name}")


def test_replicas_of_another_reward_model_or_chain_space_are_not_mixed_in(space: ChainSpace) -> None:
    world = World(space, limit_of(space))
    other = Replica("other", space, world.wires[0], world.time)
    wrong = Tie("other", len(space), "another.onnx@model", 1.0, 10.0)
    stuck = Models(Loaded("another.onnx@model", None), nobody, None)  # type: ignore[arg-type]
    other.follower = Follower(wrong, other.tally, world.wires[0], world.time, world.time.sleep, models=stuck)
    smaller = Tie("smaller", 3, MODEL, 1.0, 10.0)
    tally = Tally(3, 4, np.random.default_rng(0), Workbook("here/cpu"))
    small = Follower(smaller, tally, world.wires[0], world.time, world.time.sleep)

    async def story(world: World) -> None:
        tasks = [asyncio.create_task(other.follower.run()), asyncio.create_task(small.run())]
        tally.executed(np.array([0, 1, 2]), handed=3)
        await world.pass_by(4)
        assert other.follower.snapshot is None
        assert small.snapshot is None
        assert "smaller" not in world.desk.books.accounts
        with pytest.raises(TryAgain, match="no policy"):
            _ = other.follower.policy
        for task in tasks:
            task.cancel()

    play(world, story)


FATES = st.lists(
    st.tuples(
        st.sampled_from(["fine", "reports lost", "answers lost", "controller restarts", "controller gone"]),
        st.integers(0, 1),
        st.integers(1, 25),
    ),
    max_size=8,
)


@examples(max_examples=40)
@example(
    fates=[("controller restarts", 0, 13), ("answers lost", 0, 25), ("controller restarts", 0, 1), ("fine", 0, 21)]
)
@given(fates=FATES)
def test_whatever_happens_versions_never_fall_and_one_version_decides_alike_everywhere(
    space: ChainSpace, fates: list[tuple[str, int, int]]
) -> None:
    world = World(space, limit_of(space))

    async def story(world: World) -> None:
        await world.pass_by(3)
        for fate, who, tenths in fates:
            for wire in world.wires:
                wire.lose_reports = wire.lose_answers = False
            if fate == "controller restarts":
                world.restart_controller()
            elif fate == "controller gone":
                world.stop_controller()
            else:
                world.wires[who].lose_reports = fate == "reports lost"
                world.wires[who].lose_answers = fate == "answers lost"
                if world.desk is None:
                    world.restart_controller()
            await world.pass_by(tenths / 10)

    play(world, story)
    common = dict[int, tuple[float, ...]]()
    for replica in world.replicas:
        assert replica.versions == sorted(replica.versions)
        for version, prices in replica.decided_by.items():
            assert common.setdefault(version, prices) == prices
            assert np.isfinite(prices).all()


def test_the_books_hold_what_replicas_executed_though_reports_and_answers_are_lost(space: ChainSpace) -> None:
    world = World(space, limit_of(space))

    async def story(world: World) -> None:
        for turn in range(12):
            world.wires[turn % 2].lose_reports = turn % 3 == 0
            world.wires[turn % 2].lose_answers = turn % 3 == 1
            await world.pass_by(1)
        for wire in world.wires:
            wire.lose_reports = wire.lose_answers = False
        await world.time.advance(3)
        executed = sum(r.tally.totals(0).executed for r in world.replicas)
        assert world.desk.books.billed.tolist() == executed.tolist()

    play(world, story)


def test_the_loss_and_the_return_of_the_controller_are_said_once(
    space: ChainSpace, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    async def story(world: World) -> None:
        await world.pass_by(3)
        world.stop_controller()
        await world.pass_by(5)
        world.restart_controller()
        await world.pass_by(5)

    play(World(space, limit_of(space), replicas=1), story)
    said = [record.getMessage() for record in caplog.records if record.name == "cluster.follower"]
    assert len(said) == 2
    assert "does not answer" in said[0]
    assert "answers again" in said[1]


def test_that_a_policy_is_stale_and_that_it_is_fresh_again_is_said_once(
    space: ChainSpace, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    async def story(world: World) -> None:
        await world.pass_by(3)
        world.stop_controller()
        await world.pass_by(60)
        world.restart_controller()
        await world.pass_by(5)

    play(World(space, limit_of(space), replicas=1), story)
    told = [record.event for record in caplog.records if record.name == "cluster.follower"]
    assert told == ["controller_lost", "policy_stale", "controller_back", "policy_fresh"]


def test_an_answer_that_makes_no_sense_ends_nothing(space: ChainSpace) -> None:
    class Nonsense:
        async def report(self, report: Report) -> Answer:
            return None  # type: ignore[return-value]

    async def main() -> None:
        time = FakeTime()
        tally = Tally(len(space), 4, np.random.default_rng(0), Workbook("here/cpu"))
        follower = Follower(Tie("r", len(space), MODEL, 1.0, 10.0), tally, Nonsense(), time, time.sleep)
        task = asyncio.create_task(follower.run())
        await time.advance(5)
        assert not task.done()
        task.cancel()

    asyncio.run(main())
