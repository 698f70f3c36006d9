"""A ledger of some days, made up, with all that a report can tell of: three sensors, a grid, savings, changed limits.

A script as well: `python tests/support/report_month.py FILE [DAYS]`.
"""

import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from ledger_windows import MIDNIGHT_S, pool_of, share, window

from allocator.arms import GROUPS, HOLDBACK, POLICY
from allocator.joules import DeviceJoules, Quality, Share, WindowAccount
from allocator.limits import Kind, Limit
from allocator.savings import GroupSums
from allocator.savings.saved import dumped
from cluster.kept import FORMAT, SAVINGS
from cluster.ledger.changes import LimitChange
from cluster.ledger.marks import State
from cluster.ledger.prune import Retention
from cluster.ledger.store import Ledger
from cluster.outcomes.account import KEY_BYTES
from cluster.served import SERVED, Served
from cluster.served import dumped as dumped_terms

HOUR_S, DAY_S = 3600.0, 86_400.0
GAP_H = range(30, 33)
"""Hours of the second day in which nothing was billed."""


def write(file: Path | None, days: int = 2, start_s: float = MIDNIGHT_S) -> Ledger:
    """The ledger, with a window an hour."""
    ledger = Ledger.open(file, Retention(400 * DAY_S))
    for number, hour in enumerate((h for h in range(24 * days) if h not in GAP_H), start=1):
        ledger.write(_hour(number, start_s, hour))
    ledger.remember([_savings(start_s), _served(start_s)], list(_changes(start_s)))
    return ledger


def _hour(number: int, start_s: float, hour: int) -> WindowAccount:
    load = 0.6 + 0.4 * math.sin((hour % 24 - 9) / 24 * 2 * math.pi) + 0.05 * math.sin(hour * 1.7)
    devices, shares, pools = [], list[Share](), []
    for host, devices_of in (("host-a", _devices("host-a", load)), ("host-b", _devices("host-b", load))):
        for pool, drawn in devices_of.items():
            work = _shares(f"{host}/{pool}", load)
            shares += work
            idle_j = sum(one.energy_j for one in drawn) - sum(one.energy_j for one in work) - 2000 * load
            devices += drawn
            pools.append(pool_of(drawn, work, idle_j))
    grid = 240 + 120 * math.sin((hour % 24 - 15) / 24 * 2 * math.pi)
    account = window(number, start_s + HOUR_S * (hour + 1), devices, shares, pools, intensity=grid, pue=1.25)
    requests = int(400_000 * load)
    return replace(account, window_s=HOUR_S, requests=requests, items=10 * requests, pue_quality=Quality.MEASURED)


def _devices(host: str, load: float) -> dict[str, list[DeviceJoules]]:
    metered = host == "host-a"
    source, quality = ("rapl", Quality.MEASURED) if metered else ("estimate", Quality.MODELLED)
    kind = "package" if metered else "host"
    made = {"cpu": [_device(host, "cpu", kind, source, quality, 70 + 80 * load)]}
    if metered:
        made["gpu-0"] = [_device(host, "gpu-0", "gpu", "nvml", Quality.MEASURED, 75 + 160 * load)]
    return made


def _device(host: str, pool: str, kind: str, source: str, quality: Quality, power_w: float) -> DeviceJoules:
    names = (f"{host}/{pool}", f"{host}/{pool}", f"node-{host}", host, kind, source)
    return DeviceJoules(*names, quality, power_w * HOUR_S, HOUR_S, 0.0, "boot-1")


def _shares(pool: str, load: float) -> list[Share]:
    rank = [("rank", "dien"), ("rank", "din")] if "gpu" in pool else [("rank", "mlp"), ("prerank", "ydnn-l")]
    stages = [("recall", "tower-l"), *rank] if "cpu" in pool else rank
    part_j = (150 if "gpu" in pool else 75) * load * HOUR_S / len(stages)
    quality = Quality.MODELLED if "host-b" in pool else Quality.MEASURED
    return [
        replace(share(part_j, stage, variant, pool, quality), calls=int(9000 * load), items=int(2.4e6 * load))
        for stage, variant in stages
    ]


def _savings(start_s: float) -> State:
    """As if the policy spent 61% of what the static chain does, at 99.6% of its reward."""
    rng, sums = np.random.default_rng(0), GroupSums()
    for arm, requests, spends, earns in ((POLICY, 40_000, 0.61, 0.996), (HOLDBACK, 4_000, 1.0, 1.0)):
        arms, groups = np.full(requests, arm), rng.integers(0, GROUPS, requests)
        joules = rng.gamma(4, 0.03 * spends, requests)
        each = (arms, groups, joules * 5e7, joules)
        sums = sums.decided(*each, static_j=0.12, error_j=0.002, grams_per_j=240 / 3.6e6)
        sums = sums.matured(arms, groups, rng.poisson(0.8 * earns, requests).astype(float))
    return State(SAVINGS, bytes(KEY_BYTES) + dumped(sums), FORMAT, start_s)


def _served(start_s: float) -> State:
    first = Served(start_s, "0.1.0", "demo", "3f" * 32, 0.02, "uk GB")
    second = replace(first, since_s=start_s + DAY_S, sha256="8c" * 32)
    return State(SERVED, dumped_terms((first, second)), FORMAT, start_s)


def _changes(start_s: float) -> Iterator[LimitChange]:
    cap, less = Limit("cap", Kind.POWER, 480.0, "W"), Limit("cap", Kind.POWER, 420.0, "W")
    yield LimitChange(start_s + 9 * HOUR_S, "operations", "cap", None, cap)
    yield LimitChange(start_s + 33 * HOUR_S, "operations", "cap", cap, less)


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 2).close()
