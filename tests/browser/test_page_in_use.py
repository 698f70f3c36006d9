"""The live page in Chromium: what it lets people do, and what it does by itself when servers come and go."""

import pytest
from browser import missing
from fake_live import TOKEN, FakeLive
from page_driver import LivePage
from selenium.webdriver import Keys

pytestmark = pytest.mark.skipif(missing() is not None, reason=missing() or "")


def test_a_limit_that_is_set_with_the_token_becomes_a_line_and_is_cleared(page: LivePage, server: FakeLive) -> None:
    page.open(server.url)
    assert page.text("#power-says") == "No limit of power is set."
    page.set_limit("110", TOKEN)
    page.until_text("#limit-answer", "cap is now 110 W")
    page.until_text("#power-says", "the limit cap of 110.0 W")
    page.until(lambda: "Limit cap: 110.0 W" in chart_words(page), "the chart has no line for it")
    page.set_limit("100", TOKEN)
    page.until(lambda: "Limit cap: 100.0 W" in chart_words(page), "the line does not move")
    assert server.world.limits["cap"]["limit"] == 100
    page.clear_limit("cap")
    page.until_text("#power-says", "No limit of power is set.")
    assert "cap" not in server.world.limits


def chart_words(page: LivePage) -> str:
    words: str = page.script("return document.querySelector('#power-chart [role=img]').getAttribute('aria-label')")
    return words


def test_a_chart_stays_the_same_while_windows_come_and_so_does_what_it_says_of_where_the_pointer_is(
    page: LivePage, server: FakeLive
) -> None:
    page.open(server.url)
    page.script("document.querySelector('#power-chart .uplot').kept = true")
    page.point_at("#power-chart .u-over")
    before, words = page.text("#power-chart .readout"), chart_words(page)
    assert "package-0" in before
    page.until_later(2)
    assert page.script("return document.querySelector('#power-chart .uplot').kept") is True
    assert "package-0" in page.text("#power-chart .readout")
    assert chart_words(page) == words
    page.press('#range label:has([value="600"])')
    page.until(lambda: "over the last 10 min" in chart_words(page), "its words are of another range")


@pytest.mark.parametrize(
    ("token", "watts", "said", "field"),
    [
        ("0123456789abcdef-eve", "110", "the token is none of this server's", "token"),
        ("", "110", "token: changing a limit takes a token", "token"),
        (TOKEN, "-5", "limit: Input should be greater than or equal to 0", "limit"),
        (TOKEN, "much", "limit: give a number", "limit"),
        (TOKEN, "1,500", "limit: a comma parts thousands for some and decimals for others", "limit"),
        (TOKEN, "1,5", "without one, as 1500 or 1.5", "limit"),
    ],
)
def test_a_change_is_refused_in_words_beside_its_field(
    page: LivePage, server: FakeLive, token: str, watts: str, said: str, field: str
) -> None:
    page.open(server.url)
    page.set_limit(watts, token)
    page.until_text("#limit-answer", said)
    assert page.script("return document.activeElement.name") == field
    assert "cap" not in server.world.limits


def test_the_token_is_kept_nowhere_unless_a_person_asks_for_it(page: LivePage, server: FakeLive) -> None:
    page.open(server.url)
    page.set_limit("110", TOKEN)
    page.until_text("#limit-answer", "cap is now")
    kept = "return JSON.stringify({...sessionStorage, ...localStorage}) + document.cookie"
    assert TOKEN not in page.script(kept)
    page.press("#limit-form [name=remember]")
    assert TOKEN in page.script(kept)
    page.press("#limit-form [name=remember]")
    assert TOKEN not in page.script(kept)


def test_a_request_is_traced_stage_by_stage_beside_the_chains_not_chosen(page: LivePage, server: FakeLive) -> None:
    page.open(server.url)
    page.trace("42")
    assert "Of 172 chains" in page.text("#trace-answer")
    assert page.script("return document.querySelectorAll('.funnel li').length") == 4
    rows = "return document.querySelectorAll('#trace-result tbody tr').length"
    assert 12 <= page.script(rows) <= 14
    page.press("#trace-result button.quiet")
    assert page.script(rows) == 172
    page.press("#trace-result th:nth-child(3) button")
    energies = page.script(
        "return [...document.querySelectorAll('#trace-result tbody td:nth-child(3)')].map(c => c.textContent)"
    )
    assert energies[0] == min(energies, key=joules)
    assert page.script("return document.querySelectorAll('.scatter .chosen, .scatter .static').length") >= 1


def joules(text: str) -> float:
    figure, unit = text.split(" ")
    return float(figure) * {"J": 1.0, "mJ": 1e-3, "µJ": 1e-6}[unit]


@pytest.mark.parametrize(
    ("user", "asked", "known"),
    [("42", [42], True), ("404", [404, "404"], True), ("405", [405, "405"], False), ("anna", ["anna"], True)],
)
def test_a_user_who_is_not_known_by_a_number_is_tried_as_a_word_and_a_stranger_is_told(
    page: LivePage, server: FakeLive, user: str, asked: list[int | str], known: bool
) -> None:
    page.open(server.url)
    page.trace(user)
    assert server.traced == asked
    assert page.text("#trace-result h3") == f"User {user}" + ("" if known else " not known: cold-start features")


def test_it_comes_back_by_itself_after_a_restart_and_says_meanwhile_how_old_its_figures_are(
    page: LivePage, server: FakeLive
) -> None:
    page.open(server.url)
    server.stop()
    page.until(lambda: page.state == "reconnecting", "it does not notice")
    page.until_text("#state-age", "old")
    server.start()
    page.until(lambda: page.state == "live", "it does not come back")


def test_a_refused_stream_is_told_in_the_servers_words_and_tried_again(page: LivePage, server: FakeLive) -> None:
    page.open(server.url)
    server.full = True
    server.stop()
    server.start()
    page.until_text("#state-why", "64 pages look already")
    server.full = False
    page.until(lambda: page.state == "live", "it does not come back", most_s=20)
    assert not page.shown("#state-why")


def test_a_controller_that_is_away_is_told_and_its_return_too(page: LivePage, server: FakeLive) -> None:
    page.open(server.url)
    server.world.state = "away"
    page.until_text("#state-why", "the controller is away")
    assert page.state == "gone"
    server.world.state = "steady"
    page.until(lambda: page.state == "live", "it does not go on")


@pytest.mark.parametrize("ahead_s", [-60, 60])
def test_figures_are_late_where_none_come_and_not_where_the_browsers_clock_is_wrong(
    page: LivePage, server: FakeLive, ahead_s: int
) -> None:
    with page.clock_ahead(ahead_s):
        page.open(server.url)
        page.until_later(2)
        assert (page.state, page.text("#state-word")) == ("live", "Live")
        server.mute = True
        page.until(lambda: page.state == "late", "it takes what is old for new", most_s=12)
        assert page.text("#state-age") in ("newest figures 6 s old", "newest figures 7 s old")
        server.mute = False
        page.until(lambda: page.state == "live", "it does not hear the new figures")


def test_nobody_is_asked_while_the_page_is_hidden(page: LivePage, server: FakeLive) -> None:
    page.open(server.url)
    page.until(lambda: server.watched == 1, "it does not look")
    first = page.driver.current_window_handle
    page.driver.switch_to.new_window("tab")
    try:
        page.until(lambda: server.watched == 0, "it looks while nobody looks at it")
    finally:
        page.driver.close()
        page.driver.switch_to.window(first)
    page.until(lambda: server.watched == 1, "it does not look again")
    page.until(lambda: page.state == "live", "it does not say so")


def test_a_limit_is_set_and_a_user_traced_by_keyboard_alone(page: LivePage, server: FakeLive) -> None:
    page.open(server.url)
    page.tab_to(".skip")
    page.keys(Keys.ENTER)
    page.tab_to("#limit-form [name=limit]")
    page.keys("120")
    page.tab_to("#limit-form [name=token]")
    page.keys(TOKEN, Keys.ENTER)
    page.until_text("#limit-answer", "cap is now 120 W")
    page.tab_to("#trace-form [name=user]")
    page.keys("7", Keys.ENTER)
    page.until_text("#trace-answer", "Of 172 chains")
    page.tab_to("#trace-result th button")
    page.keys(Keys.ENTER)
    assert page.script("return document.activeElement.closest('th').getAttribute('aria-sort')") == "ascending"
