"""The served demo on a stand-in for RAPL, under traffic, and what can be asked of it and done to it."""

import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from joules import Truth, stand_in, told
from limits_traffic import Traffic
from servers import SERVERS, Running, running

from cluster.config import DEMO
from cluster.traffic.bodies import request_bodies, user_ids

TOKEN = "bench-0123456789abcdef"
PLACEMENTS = ("inline", "own", "file")
LONGEST_S = 3 * 3600.0
PATIENCE_S = 30.0


@dataclass(frozen=True)
class Stand:
    """A server that is metered, and the truth about what its machine draws.

    root    of the stand-in's tree
    idle_w  what the stand-in draws while nothing works: no choice of chains saves it
    cpu_j   what it draws besides for a second of a processor
    """

    server: Running
    root: Path
    truth: Truth
    idle_w: float
    cpu_j: float

    def put(self, cap_w: float) -> None:
        """Set the cap; a controller that has just been lost is waited for. Raises OSError when it stays away."""
        body = json.dumps({"kind": "power", "limit": cap_w, "unit": "W"}).encode()
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        request = Request(f"{self.server.url}/v1/constraints/cap", body, headers, method="PUT")
        until_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                with urlopen(request, timeout=10) as answer:
                    answer.read()
                return
            except OSError:
                if time.monotonic() > until_s:
                    raise
            time.sleep(0.2)

    def get(self, path: str, body: bytes | None = None, timeout_s: float = 10.0) -> Any:
        """What it answers, on a connection of its own. Raises OSError when it does not."""
        headers = {"Content-Type": "application/json"}
        with urlopen(Request(self.server.url + path, body, headers), timeout=timeout_s) as answer:
            return json.load(answer)

    def command(self, *lines: str) -> None:
        """For the stand-in, which obeys all of them at its next tick."""
        with (self.root / "commands").open("a") as commands:
            commands.write("".join(f"{line}\n" for line in lines))

    def zones(self) -> list[str]:
        """Of the stand-in, those that lie in no other one."""
        folder = self.root / "sys" / "class" / "powercap"
        return sorted(zone.name for zone in folder.iterdir() if zone.name.count(":") == 1)


@dataclass(frozen=True)
class Driven(Stand):
    """The same under traffic that the benchmark sends itself."""

    traffic: Traffic


@contextmanager
def standing(placement: str, settings: Mapping[str, str]) -> Iterator[Stand]:
    """The demo as a user would start it, its variants placed like this. Settings are GREENFLOW_.. variables."""
    with tempfile.TemporaryDirectory(prefix="gfc-") as name, stand_in(Path(name) / "tree", LONGEST_S) as root:
        truth = Truth(root)
        chosen = next(server for server in SERVERS if server.name == placement)
        environment = {
            "GREENFLOW_POWER_RAPL_ROOT": str(root / "sys" / "class" / "powercap"),
            "GREENFLOW_ENERGY_LEDGER": str(Path(name) / "ledger.sqlite"),
            "GREENFLOW_ENERGY_ENABLED": "true",
            "GREENFLOW_ALLOCATOR_ENABLED": "true",
            "GREENFLOW_ADMIN_TOKEN": TOKEN,
            **settings,
        }
        os.environ["GREENFLOW_ADMIN_TOKEN"] = TOKEN
        draws = json.loads((root / "truth.json").read_text())
        cpu_j = (draws["full_w"] - draws["idle_w"]) / (os.cpu_count() or 1)
        try:
            with running(replace(chosen, environment={**chosen.environment, **environment}), DEMO) as server:
                told(server)
                yield Stand(server, root, truth, draws["idle_w"], cpu_j)
        finally:
            truth.close()


@contextmanager
def driven(placement: str, rate: float, settings: Mapping[str, str]) -> Iterator[Driven]:
    """The same, and requests of its users come at this rate."""
    with standing(placement, settings) as stand:
        traffic = Traffic(stand.server.url, request_bodies(user_ids(DEMO), seed=0), rate)
        try:
            yield Driven(stand.server, stand.root, stand.truth, stand.idle_w, stand.cpu_j, traffic)
        finally:
            traffic.close()
