"""A browser and a server of made-up days, one of each for all tests here."""

from collections.abc import Iterator

import pytest
from browser import chromium, coloured, sized
from fake_live import FakeLive, fake_live
from page_driver import LivePage

WINDOW_S = 0.2


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivePage]:
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield LivePage(driver)


@pytest.fixture
def page(browser: LivePage) -> LivePage:
    sized(browser.driver, 1280, 900)
    coloured(browser.driver, "light")
    return browser


@pytest.fixture(scope="session")
def running() -> Iterator[FakeLive]:
    with fake_live(window_s=WINDOW_S) as server:
        server.world.kept_s = 900
        yield server


@pytest.fixture
def server(running: FakeLive) -> FakeLive:
    """A steady day under a limit of computation."""
    running.world.state, running.world.still_s, running.full, running.mute = "steady", None, False, False
    running.traced.clear()
    running.world.limits.clear()
    running.world.limits["capacity"] = {"kind": "compute", "limit": 1.6, "unit": "busy_s/s"}
    return running
