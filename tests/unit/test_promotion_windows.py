"""When another reward model predicts, the next policy says so, prices hold, and rewards of two models are not mixed."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from fake_time import FakeTime
from small_space import SPACE, concave_rewards

from allocator.choice import Rewards
from allocator.constraints import flops_per_second
from allocator.price.predictive import PredictiveState
from allocator.price.select import STRATEGIES, strategy
from allocator.price.start import Start
from cluster.accounts import Report, Totals, Window
from cluster.control import WARM_UP, Control, ControlState
from cluster.desk import ControllerDesk
from cluster.promotion.model import Model

OLD, NEW, SCALE = "reward.onnx@old", "reward.onnx@new", 3.0
REQUESTS = 400
KNOWN = concave_rewards(64, seed=5)
LIMIT = REQUESTS * float(SPACE.flops.min() + 0.3 * np.ptp(SPACE.flops))


def control(name: str = "predictive") -> Control:
    return Control(SPACE, (flops_per_second(LIMIT),), strategy(name), OLD, 0, start=Start(KNOWN))


def drawn(window: int, scale: float) -> Rewards:
    return (scale * concave_rewards(REQUESTS, seed=window)).astype(np.float32)


def step(control: Control, state: ControlState, window: int, scale: float, sampled: bool = True) -> ControlState:
    """The state after a window that was decided by rewards of that scale."""
    rewards = drawn(window, scale)
    executed = np.bincount(state.policy.decide(rewards).chains, minlength=len(SPACE)).astype(float)
    return control.step(state, Window(executed, REQUESTS, rewards[: 128 * sampled]), window + 1.0)


def warmed(control: Control, windows: int = 30) -> ControlState:
    state = control.init(0.0)
    for window in range(windows):
        state = step(control, state, window, 1.0)
    assert state.warm == WARM_UP
    return state


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_next_policy_is_for_the_other_model_and_prices_hold_until_its_rewards_are_known(name: str) -> None:
    before = warmed(control(name))
    other = control(name).predicted_by(NEW, SCALE * KNOWN)
    quiet = replace(before.policy, reward_model=OLD)
    state = other.step(before, Window(np.zeros(len(SPACE)), 0.0, drawn(0, 1.0)[:0]), 31.0)
    assert (state.policy.reward_model, state.policy.version) == (NEW, before.policy.version + 1)
    assert state.policy.prices.tolist() == quiet.prices.tolist()
    assert other.step(state, Window(np.zeros(len(SPACE)), 0.0, drawn(0, 1.0)[:0]), 32.0).policy is state.policy


def test_prices_hold_in_a_window_of_requests_that_the_old_model_still_decided() -> None:
    before = warmed(control())
    state = step(control().predicted_by(NEW, SCALE * KNOWN), before, 30, 1.0, sampled=False)
    assert state.policy.prices.tolist() == before.policy.prices.tolist()
    assert state.policy.reward_model == NEW


def test_the_limit_is_met_again_by_prices_in_the_measure_of_the_other_model() -> None:
    before = warmed(control())
    other, state = control().predicted_by(NEW, SCALE * KNOWN), before
    state = step(other, state, 30, 1.0, sampled=False)
    for window in range(31, 60):
        state = step(other, state, window, SCALE)
        assert isinstance(state.prices, PredictiveState)
        assert (state.prices.rows.max(axis=1) >= 0.99 * SCALE * KNOWN.min()).all()
    spent = state.policy.decide(drawn(99, SCALE)).costs[:, 0].sum()
    assert spent == pytest.approx(LIMIT, rel=0.15)
    assert state.policy.prices[0] / before.policy.prices[0] == pytest.approx(SCALE, rel=0.2)


def test_the_reservoir_begins_anew() -> None:
    before = warmed(control())
    assert isinstance(before.prices, PredictiveState)
    assert len(before.prices.rows) > 128
    state = step(control().predicted_by(NEW, KNOWN), before, 30, 1.0)
    assert isinstance(state.prices, PredictiveState)
    assert len(state.prices.rows) == 128
    assert state.prices.arrivals is not None, "how many requests come is nothing of a model's"


def test_a_start_goes_by_what_the_other_model_predicts() -> None:
    first = [one.init(0.0).policy.prices[0] for one in (control(), control().predicted_by(NEW, SCALE * KNOWN))]
    assert first[1] == pytest.approx(SCALE * first[0])


class Story:
    """A controller's desk and one replica's reports, by hand."""

    def __init__(self) -> None:
        self.time, self.model = FakeTime(1000.0), Model(OLD, "old", b"", KNOWN)
        self.desk = ControllerDesk(control(), self.time, self.time, self.time.sleep)
        self.desk.predicts = lambda: self.model
        self.windows: list[Window] = []
        self.desk.tell = lambda standings, books: None
        self.executed = np.zeros(len(SPACE), np.int64)
        self.acked = Totals.none(999.0, len(SPACE))

    async def measure(self, window: Window) -> None:
        self.windows.append(window)

    async def report(self, reward_model: str, scale: float) -> None:
        """A window of requests, rewards of that model among them."""
        self.executed[0] += REQUESTS
        totals = Totals(self.time.now_s, self.executed.copy(), int(self.executed.sum()))
        rewards = np.full((8, len(SPACE)), scale, np.float32)
        version = self.desk.policy_version
        report = Report("r", totals, self.acked, rewards, version, np.zeros(1), reward_model=reward_model)
        self.acked = totals
        asking = asyncio.create_task(self.desk.report(report))
        await self.time.advance(1.0)
        await asking


def test_the_desk_uses_no_rewards_of_another_model_than_the_present_one() -> None:
    async def story() -> None:
        one = Story()
        one.desk.measure = one.measure
        run = asyncio.create_task(one.desk.run())
        for _ in range(3):
            await one.report(OLD, 1.0)
        assert len(one.windows[-1].rewards) > 0
        before = one.desk.state.policy
        one.model = Model(NEW, "new", b"", SCALE * KNOWN)
        await one.report(OLD, 1.0)
        after = one.desk.state.policy
        assert (before.reward_model, after.reward_model) == (OLD, NEW)
        assert after.version == before.version + 1
        await one.report(OLD, 1.0)
        assert len(one.windows[-1].rewards) == 0, "a replica that has not heard of it yet"
        await one.report(NEW, SCALE)
        assert set(one.windows[-1].rewards.flat) == {SCALE}
        run.cancel()

    asyncio.run(story())


def test_what_was_heard_just_before_the_change_is_not_used_after_it() -> None:
    async def story() -> None:
        one = Story()
        run = asyncio.create_task(one.desk.run())

        async def hears_in_between(window: Window) -> None:
            one.windows.append(window)
            if one.model.name == OLD and len(one.windows) == 3:
                one.model = Model(NEW, "new", b"", SCALE * KNOWN)
                one.executed[0] += REQUESTS
                totals = Totals(one.time.now_s, one.executed.copy(), int(one.executed.sum()))
                rows = np.ones((8, len(SPACE)), np.float32)
                late = Report("r", totals, one.acked, rows, 0, np.zeros(1), reward_model=OLD)
                asyncio.create_task(one.desk.report(late))  # noqa: RUF006
                await asyncio.sleep(0)

        one.desk.measure = hears_in_between
        for _ in range(3):
            await one.report(OLD, 1.0)
        assert one.desk.state.policy.reward_model == NEW
        await one.time.advance(1.0)
        assert len(one.windows[-1].rewards) == 0
        run.cancel()

    asyncio.run(story())
