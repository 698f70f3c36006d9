"""Load runs whose users click, against a small server that takes feedback."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web
from click.testing import CliRunner
from numpy.typing import NDArray
from tiny_cascade import build

from cluster.commands.load import load
from cluster.traffic.clicks import MOST, STRANGERS, Clicks, Shown
from cluster.traffic.load import LoadPlan, run_load
from cluster.traffic.report import LoadReport
from cluster.traffic.world_users import WorldUsers
from models.errors import FixFile
from models.features import IdIndex

BODIES = [b'{"user_id":1}', b'{"user_id":2}']


class Shop:
    """Recommends items 10 and 11 under ids of its own, and keeps the feedback that comes; `status` answers it."""

    def __init__(self, status: int = 202, pause_s: float = 0.002) -> None:
        self.status, self.pause_s = status, pause_s
        self.asked: dict[str, int] = {}
        self.told: Counter[str] = Counter()
        self.batches: list[int] = []
        self._ids = count()

    async def recommend(self, request: web.Request) -> web.Response:
        await asyncio.sleep(self.pause_s)
        name = f"r{next(self._ids)}"
        self.asked[name] = (await request.json())["user_id"]
        items = [{"item_id": 10, "score": 1.0}, {"item_id": 11, "score": 0.5}]
        return web.json_response({"request_id": name, "items": items, "chain": {"id": "big"}, "degraded": False})

    async def feedback(self, request: web.Request) -> web.Response:
        found = (await request.json())["feedback"]
        self.batches.append(len(found))
        if self.status == 202:
            self.told.update({one["request_id"]: one["reward"] for one in found})
        return web.json_response({"accepted": len(found)}, status=self.status)


@asynccontextmanager
async def open_shop(shop: Shop) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/v1/recommend", shop.recommend)
    app.router.add_post("/v1/feedback", shop.feedback)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def by_user(shown: Sequence[Shown]) -> NDArray[np.int64]:
    """User 1 never clicks, user 2 on both items."""
    assert all(page.items == (10, 11) for page in shown)
    return np.array([0 if page.user == 1 else 2 for page in shown], dtype=np.int64)


def clicked(shop: Shop, clicks: Clicks = by_user, seconds: float = 0.3, clients: int = 1) -> LoadReport:
    async def run() -> LoadReport:
        async with open_shop(shop) as url:
            return await run_load(LoadPlan(url, BODIES, clients=clients, seconds=seconds, clicks=clicks))

    return asyncio.run(run())


def test_the_server_hears_of_all_clicks_under_the_requests_that_earned_them() -> None:
    shop = Shop()
    report = clicked(shop)
    assert report.clicks is not None
    assert shop.told == {name: 2 for name, user in shop.asked.items() if user == 2}
    assert (report.clicks.pages, report.clicks.clicks) == (len(shop.asked), 2 * len(shop.told))
    assert (report.clicks.sent, report.clicks.failed) == (len(shop.told), 0)
    assert report.clicks.per_page == pytest.approx(1.0, abs=0.1)


def test_feedback_comes_in_batches_once_a_second_and_no_batch_is_too_large() -> None:
    shop = Shop(pause_s=0.0)
    clicked(shop, lambda shown: np.ones(len(shown), dtype=np.int64), seconds=1.3, clients=8)
    assert sum(shop.batches) == len(shop.asked)
    assert max(shop.batches) <= MOST
    assert len(shop.batches) <= 3 + len(shop.asked) / MOST


def test_feedback_that_is_refused_is_counted_and_the_load_goes_on() -> None:
    shop = Shop(status=503)
    report = clicked(shop)
    assert report.clean
    assert report.clicks is not None
    assert report.clicks.sent == 0
    assert report.clicks.errors == {"http 503": sum(user == 2 for user in shop.asked.values())}
    assert "accepted" in report.clicks.examples["http 503"]


def test_pages_of_another_world_are_counted_as_failures() -> None:
    report = clicked(Shop(), lambda shown: np.full(len(shown), -1, dtype=np.int64))
    assert report.clicks is not None
    assert report.clicks.pages == 0
    assert set(report.clicks.errors) == {STRANGERS}
    assert report.clicks.failed == report.sent
    assert "items (10, 11)" in report.clicks.examples[STRANGERS]


class Chance:
    """User row r clicks on item row i with chance 0.25 r + 0.5 i."""

    def click_probability(self, user_rows: NDArray[np.int64], item_rows: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(0.25 * user_rows[:, None] + 0.5 * item_rows)


def world(seed: int) -> WorldUsers:
    return WorldUsers(IdIndex(np.array([1, 2])), IdIndex(np.array([10, 11])), Chance(), seed)


def test_users_click_by_the_truth_and_the_same_seed_clicks_alike() -> None:
    pages = [Shown(str(n), 1 + n % 2, (10, 11)) for n in range(4000)]
    clicks = world(7)(pages)
    assert np.array_equal(clicks, world(7)(pages))
    assert not np.array_equal(clicks, world(8)(pages))
    assert clicks[::2].mean() == pytest.approx(0.5, abs=0.05)
    assert clicks[1::2].mean() == pytest.approx(1.0, abs=0.07)
    assert [chances.tolist() for chances in world(0).chances(pages[:2])] == [[0.0, 0.5], [0.25, 0.75]]


def test_who_or_what_the_world_does_not_have_is_told_apart() -> None:
    pages = [Shown("a", 3, (10, 11)), Shown("b", 2, (10, 99)), Shown("c", 2, (11,))]
    assert (world(0)(pages) < 0).tolist() == [True, True, False]


def test_a_cascade_of_another_world_is_refused(tmp_path: Path) -> None:
    folder = build(tmp_path).folder
    result = CliRunner().invoke(load, ["--cascade", str(folder), "--clicks", "synthetic"])
    assert isinstance(result.exception, FixFile)
    assert "not the histories of this synthetic world; give the --world-seed" in str(result.exception)


def test_users_that_nobody_knows_do_not_click() -> None:
    result = CliRunner().invoke(load, ["--clicks", "synthetic", "--unknown", "0.1"])
    assert result.exit_code == 2
    assert "leave out --unknown" in result.output


def test_the_report_is_json_with_its_clicks() -> None:
    report = clicked(Shop())
    assert json.loads(report.model_dump_json())["clicks"]["failed"] == 0
