"""A real browser without a screen: Debian's Chromium, driven through its own driver, which is never downloaded."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
DRIVER = "chromedriver"
# A container's root may not use the sandbox, and its /dev/shm may be small.
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--no-first-run",
    "--force-color-profile=srgb",
)


def missing() -> str | None:
    """Why no browser can be started here; None where one can."""
    if _browser() is None:
        return "no Chromium: apt-get install --no-install-recommends chromium chromium-driver"
    return None if shutil.which(DRIVER) else "no chromedriver: apt-get install chromium-driver"


def _browser() -> str | None:
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


@contextmanager
def chromium(folder: Path) -> Iterator[webdriver.Chrome]:
    """A browser with a new profile in the folder."""
    options = webdriver.ChromeOptions()
    options.binary_location = _browser() or ""
    for argument in (*ARGUMENTS, f"--user-data-dir={folder}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which(DRIVER)))
    try:
        yield driver
    finally:
        driver.quit()


def sized(driver: Any, width: int, height: int, scale: float = 1.0) -> None:
    """The window's inside, in CSS pixels."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def coloured(driver: Any, scheme: str) -> None:
    """As a system that is set to light or dark, where little is to move."""
    features = [
        {"name": "prefers-color-scheme", "value": scheme},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
