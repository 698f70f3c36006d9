"""How limits stand, as people are told, and what is told of one that has only just been set."""

import asyncio

import pytest

from allocator.limits import Kind, Limit
from cluster.ledger.store import Ledger
from cluster.limit_desk import LocalLimitDesk, in_force
from cluster.limits.book import LimitBook
from cluster.limits.holdable import Holdable
from cluster.limits.schemas import ChangeOut, LimitOut
from cluster.snapshot import Standing
from models.errors import FixRequest, NoSuch

CAP = Limit("cap", Kind.POWER, 120.0, "W")
STANDING = Standing("cap", "power", "W", 120.0, 118.0, 2.5, 120.0, 118.0, False)


CAPACITY = Limit("capacity", Kind.COMPUTE, 1.6, "busy_s/s")


def desk_of(*seeds: Limit, holdable: Holdable | None = None, capacity: Limit | None = None) -> LocalLimitDesk:
    book = LimitBook(seeds, Ledger(None), holdable or Holdable())
    return LocalLimitDesk(book, lambda: in_force(book.limits(), capacity), lambda: (STANDING,), lambda: 1e9)


def test_a_limit_is_told_as_it_stands() -> None:
    told = [LimitOut.model_validate(one) for one in asyncio.run(desk_of(CAP).constraints())]
    assert [(one.name, one.limit, one.spend, one.price, one.reachable) for one in told] == [
        ("cap", 120.0, 118.0, 2.5, False)
    ]


@pytest.mark.parametrize("changed", [Limit("cap", Kind.POWER, 90.0, "W"), Limit("new", Kind.FLOPS, 1e9, "FLOP/s")])
def test_of_one_that_has_just_been_set_nothing_is_known_yet(changed: Limit) -> None:
    async def story() -> dict[str, object]:
        desk = desk_of(CAP)
        answer = await desk.put_limit(changed, "anna")
        assert answer in await desk.constraints()
        return answer

    told = LimitOut.model_validate(asyncio.run(story()))
    assert (told.name, told.limit, told.spend, told.price, told.reachable) == (
        changed.name,
        changed.limit,
        None,
        None,
        None,
    )


def test_one_that_is_cleared_is_gone_and_the_history_says_who() -> None:
    async def story() -> list[dict[str, object]]:
        desk = desk_of(CAP)
        await desk.clear_limit("cap", "bo")
        assert await desk.constraints() == []
        with pytest.raises(NoSuch):
            await desk.clear_limit("cap", "bo")
        return await desk.limit_changes(10)

    changes = [ChangeOut.model_validate(one) for one in asyncio.run(story())]
    assert [(one.author, one.name, one.after) for one in changes] == [("bo", "cap", None)]


def test_what_cannot_be_held_is_refused() -> None:
    with pytest.raises(FixRequest, match="joules are not accounted for"):
        asyncio.run(desk_of(holdable=Holdable(joules=False)).put_limit(CAP, "anna"))


def test_a_limit_that_nobody_stated_is_listed_and_clearing_it_tells_what_to_do() -> None:
    async def story() -> None:
        desk = desk_of(CAP, capacity=CAPACITY)
        assert [one["name"] for one in await desk.constraints()] == ["cap", "capacity"]
        with pytest.raises(FixRequest, match=r"limits\.capacity_share") as refused:
            await desk.clear_limit("capacity", "anna")
        assert not isinstance(refused.value, NoSuch), "it is there"
        assert await desk.limit_changes(10) == []

    asyncio.run(story())


def test_a_limit_of_its_name_stands_in_its_place_until_it_is_cleared() -> None:
    async def story() -> list[list[float]]:
        desk = desk_of(capacity=CAPACITY)
        told = [await desk.constraints()]
        await desk.put_limit(Limit("capacity", Kind.COMPUTE, 0.5, "busy_s/s"), "anna")
        told.append(await desk.constraints())
        await desk.clear_limit("capacity", "anna")
        told.append(await desk.constraints())
        return [[one["limit"] for one in listed] for listed in told]

    assert asyncio.run(story()) == [[1.6], [0.5], [1.6]]


def test_where_it_is_left_out_there_is_none_to_clear() -> None:
    with pytest.raises(NoSuch):
        asyncio.run(desk_of().clear_limit("capacity", "anna"))
