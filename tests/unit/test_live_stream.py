"""GET /v1/live: history, windows, who comes back, who is slow, who is too many; and that nobody asks for nobody."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from fake_time import FakeTime
from fastapi import FastAPI
from ingress_client import Client
from looking import Teller, Viewer, point

from cluster.live.aside import Aside
from cluster.live.hub import HEARTBEAT_S, Hub
from cluster.live.ring import SPAN_S
from cluster.live.routes import add_live
from cluster.live.stream import RETRY_AFTER_S

MOST = 3


class Stand:
    """An application with a hub, on a clock of the test's own."""

    def __init__(self) -> None:
        self.time, self.teller, self.ending = FakeTime(), Teller([point(t) for t in (970.0, 980.0, 990.0)]), False
        aside = Aside(None, None, self.time)
        self.hub = Hub(self.teller, aside, MOST, self.time, lambda: self.ending, self.time.sleep)
        self.app = FastAPI()
        add_live(self.app, self.hub, lambda: b"<p>page</p>")

    async def look(self, last_event_id: str | None = None) -> Viewer:
        """Somebody comes."""
        viewer = Viewer(self.app, last_event_id)
        await self.time.advance(0.0)
        return viewer

    async def windows(self, count: int) -> None:
        """So many windows pass."""
        for _ in range(count):
            self.teller.next_window()
            await self.time.advance(1.0)


def played(story: Callable[[Stand], Awaitable[None]]) -> None:
    async def main() -> None:
        stand = Stand()
        await asyncio.wait_for(story(stand), 20)
        await asyncio.sleep(0)
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert stand.hub.listeners == 0, "who is done looking is not counted"
        assert not others, f"nothing is left under way, not {others}"

    asyncio.run(main())


def times(viewer: Viewer, at: int = 0) -> list[float]:
    return [one["time_s"] for one in viewer.events[at].data["points"]]


def test_history_comes_first_and_then_every_window_once() -> None:
    async def story(stand: Stand) -> None:
        viewer = await stand.look()
        await stand.windows(3)
        assert (viewer.status, viewer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        history, *windows = viewer.events
        assert (history.name, history.id, history.retry) == ("history", "1000.0", "2000")
        assert (history.data["step_s"], history.data["resumed"], times(viewer)) == (10, False, [970.0, 980.0, 990.0])
        assert [(one.name, one.id, one.data["time_s"]) for one in windows] == [
            ("window", f"{t:.1f}", t) for t in (1000.0, 1001.0, 1002.0, 1003.0)
        ]
        await viewer.leave()

    played(story)


def test_a_window_says_also_what_the_replica_knows() -> None:
    async def story(stand: Stand) -> None:
        viewer = await stand.look()
        assert viewer.events[1].data == {"time_s": 1000.0, "savings": None, "policy": None, "notes": []}
        await viewer.leave()

    played(story)


@pytest.mark.parametrize(("known", "later"), [("980.0", [990.0]), ("990.0", []), ("5e3", [])])
def test_who_comes_back_gets_what_it_missed(known: str, later: list[float]) -> None:
    async def story(stand: Stand) -> None:
        viewer = await stand.look(known)
        assert viewer.events[0].data["resumed"] is True
        assert times(viewer) == later
        await viewer.leave()

    played(story)


@pytest.mark.parametrize("known", ["", "yesterday", "nan", "-inf", "1e999"])
def test_an_id_that_is_none_is_answered_with_everything(known: str) -> None:
    async def story(stand: Stand) -> None:
        viewer = await stand.look(known)
        assert viewer.events[0].data["resumed"] is False
        assert times(viewer) == [970.0, 980.0, 990.0]
        await viewer.leave()

    played(story)


def test_all_who_look_are_told_the_same_for_one_question_a_window() -> None:
    async def story(stand: Stand) -> None:
        viewers = [await stand.look() for _ in range(MOST)]
        asked = len(stand.teller.asked)
        await stand.windows(5)
        assert len(stand.teller.asked) == asked + 5
        assert viewers[0].named("window") == viewers[1].named("window") == viewers[2].named("window")
        for viewer in viewers:
            await viewer.leave()

    played(story)


def test_nobody_is_asked_while_nobody_looks_and_what_is_known_is_not_asked_for_again() -> None:
    async def story(stand: Stand) -> None:
        assert stand.teller.asked == []
        await (await stand.look()).leave()
        asked = len(stand.teller.asked)
        await stand.windows(60)
        assert len(stand.teller.asked) == asked
        stand.teller.points.append(point(1050.0))
        viewer = await stand.look()
        assert stand.teller.asked[asked:] == [990.0]
        assert times(viewer) == [970.0, 980.0, 990.0, 1050.0]
        await viewer.leave()

    played(story)


def test_history_that_is_read_late_is_there_for_the_next_who_looks() -> None:
    async def story(stand: Stand) -> None:
        older, stand.teller.points, stand.teller.whole = stand.teller.points, [point(999.0)], False
        first = await stand.look()
        stand.teller.points, stand.teller.whole = [*older, point(999.0)], True
        await stand.windows(2)
        second = await stand.look()
        assert times(second) == [970.0, 980.0, 999.0]
        await first.leave()
        await second.leave()

    played(story)


def test_an_unfinished_step_is_replaced_by_what_is_known_of_it_later() -> None:
    async def story(stand: Stand) -> None:
        first = await stand.look()
        stand.teller.points = [point(999.0)]
        await stand.windows(1)
        stand.teller.points = [point(1003.0), point(1007.0)]
        await stand.windows(8)
        second = await stand.look()
        assert times(second) == [970.0, 980.0, 999.0, 1007.0]
        await first.leave()
        await second.leave()

    played(story)


def test_history_that_is_too_old_is_forgotten() -> None:
    async def story(stand: Stand) -> None:
        first = await stand.look()
        stand.teller.time_s = 985.0 + SPAN_S
        stand.teller.points = [point(stand.teller.time_s)]
        await stand.windows(1)
        second = await stand.look()
        assert times(second) == [990.0, 985.0 + SPAN_S]
        await first.leave()
        await second.leave()

    played(story)


def test_after_a_clock_was_set_back_history_goes_on_from_there() -> None:
    async def story(stand: Stand) -> None:
        first = await stand.look()
        stand.teller.time_s, stand.teller.points = 983.0, [point(970.0), point(983.0)]
        await stand.windows(1)
        stand.teller.points.append(point(991.0))
        stand.teller.time_s = 990.0
        await stand.windows(1)
        second = await stand.look()
        assert times(second) == [970.0, 983.0, 991.0]
        await first.leave()
        await second.leave()

    played(story)


def test_a_mistake_of_ours_ends_no_stream_and_is_not_shown() -> None:
    async def story(stand: Stand) -> None:
        viewer = await stand.look()
        stand.teller.window = {"broken": object()}
        await stand.windows(1)
        assert viewer.events[-1].name == "gone"
        assert "object" not in viewer.events[-1].data["detail"]
        stand.teller.window = {}
        await stand.windows(1)
        assert viewer.events[-1].name == "window"
        await viewer.leave()

    played(story)


def test_a_controller_that_goes_and_comes_back_is_told_of_on_the_open_stream() -> None:
    async def story(stand: Stand) -> None:
        viewer = await stand.look()
        stand.teller.away = True
        await stand.windows(2)
        assert [one.name for one in viewer.events] == ["history", "window", "gone", "gone"]
        assert viewer.events[-1].data == {"detail": "the controller: it restarts"}
        assert viewer.events[-1].id == "1000.0", "nothing later is known"
        late = await stand.look()
        assert [one.name for one in late.events] == ["history", "gone"]
        stand.teller.away = False
        await stand.windows(1)
        assert [one.name for one in late.events] == ["history", "gone", "window"]
        assert viewer.events[-1].data["time_s"] == 1003.0
        await viewer.leave()
        await late.leave()

    played(story)


def test_history_comes_first_also_where_nobody_can_tell_yet() -> None:
    async def story(stand: Stand) -> None:
        stand.teller.away = True
        viewer = await stand.look()
        assert [(one.name, one.id) for one in viewer.events] == [("history", None), ("gone", None)]
        assert times(viewer) == []
        stand.teller.away = False
        await stand.windows(1)
        assert viewer.events[-1].name == "window"
        await viewer.leave()

    played(story)


def test_who_is_slow_gets_the_newest_window_and_holds_up_nobody() -> None:
    async def story(stand: Stand) -> None:
        slow, quick = await stand.look(), await stand.look()
        slow.stall()
        await stand.windows(20)
        assert len(quick.named("window")) == 21
        slow.read_on()
        await stand.time.advance(0.0)
        assert [one.data["time_s"] for one in slow.named("window")] == [1000.0, 1001.0, 1020.0]
        for viewer in (slow, quick):
            await viewer.leave()

    played(story)


def test_too_many_who_look_are_refused_until_one_leaves() -> None:
    async def story(stand: Stand) -> None:
        viewers = [await stand.look() for _ in range(MOST)]
        refused = await stand.look()
        assert (refused.status, refused.headers["retry-after"]) == (503, str(RETRY_AFTER_S))
        assert "page.most_listeners" in refused.answer["detail"]
        await viewers.pop().leave()
        viewers.append(await stand.look())
        assert viewers[-1].status == 200
        for viewer in viewers:
            await viewer.leave()

    played(story)


def test_a_stream_is_kept_alive_while_there_is_nothing_new() -> None:
    async def story(stand: Stand) -> None:
        viewer = await stand.look()
        await stand.time.advance(3 * HEARTBEAT_S + 1.0)
        assert [one.name for one in viewer.events] == ["history", "window", "", "", ""]
        await viewer.leave()

    played(story)


def test_who_leaves_in_the_middle_of_an_event_is_gone_at_once() -> None:
    async def story(stand: Stand) -> None:
        viewer = await stand.look()
        viewer.stall()
        await stand.windows(1)
        await viewer.leave()
        assert viewer.done

    played(story)


def test_streams_end_in_order_when_the_replica_does_and_no_new_one_begins() -> None:
    async def story(stand: Stand) -> None:
        viewers = [await stand.look() for _ in range(2)]
        stand.ending = True
        await stand.time.advance(0.5)
        assert [viewer.ended for viewer in viewers] == [True, True]
        await stand.time.advance(0.0)
        assert all(viewer.done for viewer in viewers)
        assert (await stand.look()).status == 503

    played(story)


def test_without_anybody_who_counts_there_is_no_stream() -> None:
    app = FastAPI()
    add_live(app, None, lambda: b"")
    response = Client(app).get("/v1/live")
    assert (response.status_code, response.headers["content-type"]) == (404, "application/json")
    assert "energy.enabled" in response.json()["detail"]


def test_the_stream_is_described() -> None:
    app = FastAPI()
    add_live(app, None, lambda: b"")
    api = Client(app).get("/openapi.json").json()
    assert {"200", "404", "503"} <= api["paths"]["/v1/live"]["get"]["responses"].keys()
    assert "WindowEvent" in api["components"]["schemas"]
