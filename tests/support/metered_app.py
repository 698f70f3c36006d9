"""A served application whose meters are a stand-in for RAPL that knows the truth."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import sysfs_tree
from live import live
from pydantic import SecretStr
from sysfs_power import CpuSeconds, SysfsPower, driven, machine_cpu_s
from sysfs_tree import SysfsTree
from truth import Truth

from cluster.config import EnergySettings, Settings
from cluster.launching.launch import Running
from cluster.power.settings import PowerSettings
from cluster.reporting.payload import EnergyResponse

PACKAGES = ("intel-rapl:0", "intel-rapl:1")
TOKEN = "0123456789abcdef-anna"
ADMIN = {"Authorization": f"Bearer {TOKEN}"}


@dataclass(frozen=True)
class Metered:
    """An application that takes limits from anna, what stands in for its meters, and the file of its account."""

    app: Running
    power: SysfsPower
    truth: Truth
    ledger: Path


@contextmanager
def metered(
    folder: Path,
    start_j: float = 0.0,
    cpu_s: CpuSeconds = machine_cpu_s,
    profile: Path | None = None,
    **settings: Any,
) -> Iterator[Metered]:
    """Serves for as long as it is entered, with these settings besides; `start_j` and `cpu_s` are the stand-in's, as
    whose `profile` counts."""
    tree = SysfsTree.build(folder / "tree", sysfs_tree.intel_two_sockets())
    ledger = folder / "ledger.sqlite"
    told = {} if cpu_s is machine_cpu_s else {"proc_root": tree.proc}
    driver = driven(SysfsPower(tree, start_j), cpu_s=cpu_s, tell_cpus=2 if told else None)
    with driver as power, _watched(power) as truth:
        served = Settings(
            energy=EnergySettings(ledger=ledger, profile=profile),
            power=PowerSettings(rapl_root=tree.powercap, **told),
            admin_token=SecretStr(f"anna:{TOKEN}"),
            **settings,
        )
        with live(served, folder / "state") as app:
            yield Metered(app, power, truth, ledger)


@contextmanager
def without_packages(power: SysfsPower) -> Iterator[None]:
    """No meter can be read meanwhile."""
    for package in PACKAGES:
        power.vanish(package)
    try:
        yield
    finally:
        for package in PACKAGES:
            power.come_back(package)


def account(client: httpx.Client, done: Callable[[EnergyResponse], bool], most_s: float = 40.0) -> EnergyResponse:
    """The account, as soon as it is as wanted."""
    end_s = time.monotonic() + most_s
    while True:
        response = client.get("/v1/energy", params={"windows": 1})
        if response.status_code == 200:
            answer = EnergyResponse.model_validate(response.json())
            if answer.windows and done(answer):
                return answer
        assert time.monotonic() < end_s, f"not in time; the last answer was {response.text}"
        time.sleep(0.2)


def newest(client: httpx.Client) -> EnergyResponse:
    """The account with a window that ends after this was called."""
    now_s = time.time()
    return account(client, lambda answer: answer.windows[0].end_s > now_s)


@contextmanager
def _watched(power: SysfsPower) -> Iterator[Truth]:
    truth = Truth(power)
    try:
        yield truth
    finally:
        truth.close()
