"""Whether calls can get anywhere: by what a router knows, by how long it has had, and with a Ray that hides it."""

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest
from small_space import SPACE

from allocator.energy.windows import Name
from allocator.policy import Policy
from cluster.autoscale import STEADY_WINDOWS
from cluster.reaching import LOOK_S, MEET_S, Reach, Waker, known_replicas
from cluster.warming import Warmer


class Router:
    """As far as Serve's router is looked into."""

    def __init__(self, replicas: int | None) -> None:
        self.replicas = replicas

    @property
    def request_router(self) -> SimpleNamespace | None:
        return None if self.replicas is None else SimpleNamespace(curr_replicas=dict.fromkeys(range(self.replicas)))


class Handle:
    """A handle whose router knows so many replicas; None before it has heard how to choose among them."""

    def __init__(self, replicas: int | None, heard: bool = True) -> None:
        self.router, self.heard = Router(replicas), heard
        self._router = SimpleNamespace(_asyncio_router=self.router)

    def running_replicas_populated(self) -> bool:
        return self.heard


class Opaque:
    """A handle of a Ray that shows nothing."""

    def running_replicas_populated(self) -> bool:
        return False


@pytest.fixture
def loop_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for long."""
    monkeypatch.setattr("cluster.reaching.MEET_S", 0.02)
    monkeypatch.setattr("cluster.reaching.LOOK_S", 0.005)


def test_the_number_is_that_of_the_router() -> None:
    assert [known_replicas(Handle(n)) for n in (None, 0, 3)] == [0, 0, 3]
    assert known_replicas(Opaque()) is None


@pytest.mark.parametrize(
    ("handle", "absent"),
    [(Handle(2), False), (Handle(0), True), (Handle(0, heard=False), False), (Opaque(), False)],
)
def test_absent_is_said_of_what_was_there_or_has_had_its_time(handle: Handle | Opaque, absent: bool) -> None:
    async def main() -> bool:
        return Reach(handle).absent

    assert asyncio.run(main()) is absent


@pytest.mark.usefixtures("loop_time")
def test_a_new_router_gets_time_to_hear_of_replicas() -> None:
    async def present(handle: Handle, comes_after_s: float) -> bool:
        asyncio.get_running_loop().call_later(comes_after_s, lambda: setattr(handle.router, "replicas", 1))
        return await Reach(handle).present()

    assert asyncio.run(present(Handle(None, heard=False), 0.01)) is True
    assert asyncio.run(present(Handle(None, heard=False), 9.0)) is False
    assert asyncio.run(present(Handle(0), 0.01)) is False, "it has heard, and none is left"


@pytest.mark.usefixtures("loop_time")
def test_a_call_that_waits_in_vain_runs_out() -> None:
    async def waits(handle: Handle) -> None:
        asyncio.get_running_loop().call_later(0.02, lambda: setattr(handle.router, "replicas", 0))
        async with asyncio.timeout(3600) as limit:
            with Reach(handle).watched(limit):
                await asyncio.sleep(3600)

    with pytest.raises(TimeoutError):
        asyncio.run(waits(Handle(1)))


@pytest.mark.usefixtures("loop_time")
def test_a_call_that_is_answered_is_watched_no_more() -> None:
    async def main() -> None:
        handle = Handle(1)
        async with asyncio.timeout(1) as limit:
            with Reach(handle).watched(limit):
                await asyncio.sleep(0)
            handle.router.replicas = 0
            await asyncio.sleep(0.03)

    asyncio.run(main())


def test_looks_are_rarer_than_they_cost_and_well_within_a_window() -> None:
    assert 0.01 <= LOOK_S <= 0.1
    assert MEET_S >= 1.0


def test_a_wake_up_call_is_made_once_at_a_time_and_survives_its_failure() -> None:
    calls = 0

    async def ping() -> None:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0)
        raise ConnectionError

    async def main() -> None:
        waker = Waker(ping)
        for _ in range(3):
            waker.wake()
        await asyncio.sleep(0.01)
        waker.wake()
        await asyncio.sleep(0.01)

    asyncio.run(main())
    assert calls == 2


def test_a_variant_that_prices_ask_for_steadily_is_called_and_no_other() -> None:
    dear, cold = SPACE.variants[4], SPACE.variants[2]
    policy = Policy(1, 0.0, np.array([0.0]), SPACE.flops[:, None], np.ones(len(SPACE), bool), "m", 0)
    rewards = SPACE.flops[None, :].astype(np.float32)
    called: list[Name] = []

    async def ping(name: Name) -> None:
        called.append(name)

    async def main() -> None:
        warmer = Warmer(SPACE, frozenset({dear}), ping)
        for _ in range(STEADY_WINDOWS):
            assert not called
            warmer.look(policy, rewards, frozenset({dear, cold}))
            warmer.look(policy, rewards[:0], frozenset({dear, cold}))  # nobody asked: that says nothing
            await asyncio.sleep(0)
        warmer.look(policy, rewards, frozenset())
        await asyncio.sleep(0)

    asyncio.run(main())
    assert called == [dear]
