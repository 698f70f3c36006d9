"""The live page in a browser, as a person uses it."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

AXE = Path(__file__).parent / "vendor" / "axe-4.14.1.min.js"
GRAVE = ("serious", "critical")


class LivePage:
    """One page in one browser."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        """Loaded, and told of a window."""
        self.driver.get("about:blank")
        self.complaints()
        self.driver.get(url)
        self.until(lambda: self.script("return document.body.dataset.loaded") == "true", "nothing was told")

    @contextmanager
    def clock_ahead(self, seconds: int) -> Iterator[None]:
        """Pages that are opened meanwhile find the machine's clock so far ahead of the server's."""
        source = f"Date.now = (now => () => now() + {1000 * seconds})(Date.now)"
        added = self.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": source})
        try:
            yield
        finally:
            self.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)

    def script(self, source: str, *arguments: Any) -> Any:
        return self.driver.execute_script(source, *arguments)

    def text(self, selector: str) -> str:
        """As it stands there, shown or not; blanks joined."""
        found: str = self.script("return document.querySelector(arguments[0]).textContent", selector)
        return " ".join(found.split())

    def shown(self, selector: str) -> bool:
        return bool(self.script("return document.querySelector(arguments[0]).checkVisibility()", selector))

    @property
    def state(self) -> str:
        state: str = self.script("return document.body.dataset.state")
        return state

    def until(self, true: Callable[[], bool], otherwise: str, most_s: float = 8.0) -> None:
        end_s = time.monotonic() + most_s
        while not true():
            assert time.monotonic() < end_s, otherwise
            time.sleep(0.03)

    def until_text(self, selector: str, part: str) -> None:
        self.until(lambda: part in self.text(selector), f"{selector} does not come to say {part!r}")

    def until_later(self, times: int) -> None:
        """Until it has shown windows of so many later seconds."""
        seen = {self.text("#power-when")}

        def later() -> bool:
            seen.add(self.text("#power-when"))
            return len(seen) > times

        self.until(later, "no other window is shown")

    def fill(self, selector: str, value: str) -> None:
        field = self.driver.find_element(By.CSS_SELECTOR, selector)
        field.clear()
        field.send_keys(value)

    def point_at(self, selector: str) -> None:
        """The pointer at its middle."""
        ActionChains(self.driver).move_to_element(self._seen(selector)).perform()

    def press(self, selector: str) -> None:
        self._seen(selector).click()

    def _seen(self, selector: str) -> WebElement:
        there = "document.querySelector(arguments[0]).scrollIntoView({block: 'center', behavior: 'instant'})"
        self.script(there, selector)
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def rows(self, selector: str) -> list[str]:
        """What each row or line there begins with: the name of a limit, the place and id of an item."""
        listed: list[str] = self.script(
            "return [...document.querySelector(arguments[0]).children].map(row => row.firstElementChild.textContent)",
            selector,
        )
        return listed

    def set_limit(self, amount: str, token: str) -> None:
        self.fill("#limit-form [name=limit]", amount)
        self.fill("#limit-form [name=token]", token)
        self.press("#limit-form [type=submit]")

    def clear_limit(self, name: str) -> None:
        self.press(f'[data-limit="{name}"] button[aria-label="Clear {name}"]')
        self.press('#clear-dialog [value="clear"]')

    def trace(self, user: str) -> None:
        """Until it is shown, and is of this user."""
        self.fill("#trace-form [name=user]", user)
        self.press("#trace-form [type=submit]")
        self.until_text("#trace-result", f"User {user}")

    def tab_to(self, selector: str, most: int = 60) -> None:
        """Presses Tab until the element has the focus, which must be seen."""
        for _ in range(most):
            if self.script("return document.activeElement.matches(arguments[0])", selector):
                assert self.script("return getComputedStyle(document.activeElement).outlineStyle") != "none"
                return
            self.keys(Keys.TAB)
        raise AssertionError(f"Tab does not lead to {selector}")

    def keys(self, *keys: str) -> None:
        ActionChains(self.driver).send_keys(*keys).perform()

    def complaints(self) -> list[str]:
        """What the console has said since it was asked last."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def violations(self) -> list[str]:
        """What axe finds serious or critical."""
        self.driver.execute_cdp_cmd("Runtime.evaluate", {"expression": AXE.read_text(encoding="utf-8")})
        found = self.driver.execute_async_script(
            "const done = arguments[arguments.length - 1];"
            "axe.run(document).then(found => done(JSON.stringify(found.violations)))"
        )
        return [
            f"{one['id']}: {node['html'][:160]} {node['failureSummary']}"
            for one in json.loads(found)
            if one["impact"] in GRAVE
            for node in one["nodes"]
        ]

    def overflow(self) -> int:
        """CSS pixels that can be scrolled to the right."""
        wide: int = self.script("return document.documentElement.scrollWidth - innerWidth")
        return wide

    def loading(self) -> dict[str, float]:
        """Bytes and milliseconds of the page itself, as browsers count them."""
        told: dict[str, float] = self.script("return performance.getEntriesByType('navigation')[0].toJSON()")
        return told
