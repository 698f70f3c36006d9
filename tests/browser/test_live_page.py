"""The live page in Chromium, on data that is made up: what it says, in every state, and who can read it."""

import time
from collections.abc import Callable

import httpx
import pytest
from browser import coloured, missing, sized
from fake_live import FakeLive
from page_driver import LivePage

pytestmark = pytest.mark.skipif(missing() is not None, reason=missing() or "")
MOST_BYTES = 300_000


def test_it_loads_small_and_without_a_complaint(
    page: LivePage, server: FakeLive, record_property: Callable[[str, object], None]
) -> None:
    page.open(server.url)
    told = page.loading()
    record_property("interactive_ms", told["domInteractive"])
    assert 10_000 < told["transferSize"] < MOST_BYTES
    page.driver.get("about:blank")
    assert page.complaints() == []


def test_its_figures_are_those_of_the_api(page: LivePage, server: FakeLive) -> None:
    server.world.still_s = time.time()
    page.open(server.url)
    with httpx.Client(base_url=server.url) as client:
        power = client.get("/v1/power").json()
        (limit,) = client.get("/v1/constraints").json()["constraints"]
    page.until_text("#power-w", f"{power['power_w']:.1f} W")
    for node in power["nodes"]:
        for device in node["devices"]:
            watts = device["power_w"]
            assert f"{watts:.1f} W" in page.text("#devices") or f"{watts:.2f} W" in page.text("#devices")
    row = page.text('#limits [data-limit="capacity"]')
    assert f"{limit['spend']:.4g}" in row
    assert "1.6 busy_s/s" in row


def test_every_figure_of_energy_says_how_it_is_known(page: LivePage, server: FakeLive) -> None:
    server.world.state = "lost"
    page.open(server.url)
    known = {
        name: page.text(f"#{name}-known") for name in ("power", "today-energy", "today-grams", "saved", "each", "grid")
    }
    assert known == {
        "power": "modelled",
        "today-energy": "96.8% measured, 3.2% modelled",
        "today-grams": "assumed",
        "saved": "modelled",
        "each": "modelled",
        "grid": "modelled",
    }
    assert page.text("#devices").count("modelled") == 2
    assert page.text("#devices").count("measured") == 2


def test_a_lost_sensor_is_told_on_top_with_its_remedy_and_said_aloud_once(page: LivePage, server: FakeLive) -> None:
    server.world.state = "lost"
    page.open(server.url)
    assert "greenflow doctor" in page.text("#notes-list")
    said = page.text("#announce")
    assert "rapl on rec-a" in said
    page.script(
        "window.spoken = 0; new MutationObserver(() => window.spoken++).observe("
        "document.getElementById('announce'), {childList: true, characterData: true, subtree: true})"
    )
    time.sleep(3 * server.window_s)
    assert page.script("return window.spoken") == 0


@pytest.mark.parametrize("state", ["steady", "lost", "fresh", "off"])
def test_a_narrow_screen_needs_no_scrolling_sideways(page: LivePage, server: FakeLive, state: str) -> None:
    server.world.state = state
    sized(page.driver, 360, 740)
    page.open(server.url)
    page.trace("1")
    assert page.overflow() <= 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(page: LivePage, server: FakeLive, scheme: str) -> None:
    server.world.state = "lost"
    server.world.limits["cap"] = {"kind": "power", "limit": 60.0, "unit": "W"}
    coloured(page.driver, scheme)
    page.open(server.url)
    page.trace("1")
    page.set_limit("110", "")
    page.press("#history summary")
    assert page.violations() == []


def test_what_is_not_accounted_for_or_decided_is_said_plainly(page: LivePage, server: FakeLive) -> None:
    server.world.state = "off"
    page.open(server.url)
    assert "energy.enabled" in page.text("#power-says")
    assert page.text("#today-energy-says") == page.text("#today-grams-says") == "Joules are not accounted for."
    assert "every request runs the static chain" in page.text("#mix-says")
    assert "nothing could hold a limit" in page.text("#limits-says")
    assert not page.shown("#limit-form")
    page.trace("1")
    assert "the static chain ran" in page.text("#trace-answer")


def test_a_ledger_that_tells_nothing_yet_is_not_taken_for_none(page: LivePage, server: FakeLive) -> None:
    server.world.state = "blank"
    page.open(server.url)
    assert page.text("#power-w") != "– W"
    for figure in ("energy", "grams"):
        assert page.text(f"#today-{figure}-says") == "The ledger cannot be read yet, or holds nothing yet."


def test_a_cold_start_says_what_is_not_known_yet(page: LivePage, server: FakeLive) -> None:
    server.world.state = "fresh"
    page.open(server.url)
    assert page.text("#power-w") == "– W"
    assert "no meter has been read twice yet" in page.text("#power-says").lower()
    assert page.text("#saved") == "Not yet known"
    assert "held back" in page.text("#saved-says")
    assert not page.shown("#power-chart")


def test_dark_and_light_are_as_the_person_says_and_remembered(page: LivePage, server: FakeLive) -> None:
    page.open(server.url)
    ground = "return getComputedStyle(document.body).backgroundColor"
    light = page.script(ground)
    page.press('#theme label:has([value="dark"])')
    dark = page.script(ground)
    assert dark != light
    page.open(server.url)
    assert page.script(ground) == dark
    page.press('#theme label:has([value="auto"])')
    assert page.script(ground) == light
