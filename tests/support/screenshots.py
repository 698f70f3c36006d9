"""Pictures of the live page in every state, to look at: `make screenshots`, or

`python tests/support/screenshots.py FOLDER [URL]`, of the server at URL instead of one that makes its figures up.
"""

import base64
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from browser import chromium, coloured, missing, sized
from fake_live import fake_live
from page_driver import LivePage

WIDE, PHONE = (1280, 860), (390, 844)
CAP = {"kind": "power", "limit": 122.0, "unit": "W"}
CAPACITY = {"kind": "compute", "limit": 1.6, "unit": "busy_s/s"}
STATES: dict[str, dict[str, Any]] = {
    "steady": {},
    "limited": {"cap": CAP},
    "lost": {"cap": CAP},
    "fresh": {},
    "off": {},
}


def main() -> None:
    if (why := missing()) is not None:
        raise SystemExit(why)
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out/screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as profile, chromium(Path(profile)) as driver:
        if len(sys.argv) > 2:
            take_all(LivePage(driver), sys.argv[2], folder, "live")
            return
        for state, limits in STATES.items():
            began = {name: {**one, "at_s": time.time() - 1500} for name, one in limits.items()}
            with fake_live("steady" if state == "limited" else state, capacity=CAPACITY, **began) as server:
                take_all(LivePage(driver), server.url, folder, state)


def take_all(page: LivePage, url: str, folder: Path, name: str) -> None:
    """Wide and on a phone, light and dark; what is seen first, and all of it with a request traced."""
    for shape, size in {"wide": WIDE, "phone": PHONE}.items():
        for scheme in ("light", "dark"):
            sized(page.driver, *size)
            coloured(page.driver, scheme)
            page.open(url)
            time.sleep(1.0)
            take(page, folder / f"{name}-{shape}-{scheme}.png", whole=False)
            page.trace("1")
            page.script("scrollTo(0, 0)")
            take(page, folder / f"{name}-{shape}-{scheme}-whole.png", whole=True)


def take(page: LivePage, file: Path, whole: bool) -> None:
    told = page.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": whole})
    file.write_bytes(base64.b64decode(told["data"]))
    print(file)


if __name__ == "__main__":
    main()
