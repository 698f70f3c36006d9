"""What machines of a made-up world draw, what that comes to, and what is saved, as servers tell it."""

import math
import random
from collections.abc import Mapping
from typing import Any

Document = dict[str, Any]
G_PER_KWH = 312.0
DEVICES = (
    ("rec-a", "package-0", "package", "rapl", 0.42),
    ("rec-a", "package-0/dram", "dram", "rapl", 0.08),
    ("rec-b", "package-0", "package", "rapl", 0.27),
    ("rec-b", "gpu-0", "gpu", "nvml", 0.23),
)
REFUSAL = {
    "sensor": "rapl",
    "what": "package-0",
    "problem": "permission denied for /sys/class/powercap/intel-rapl:0/energy_uj",
    "remedy": "greenflow doctor prints the udev rule that opens it to one group",
}


def power(time_s: float, drawn: float | None, lost: bool) -> Document:
    """As GET /v1/power. `drawn` is None where no meter was read twice yet; `lost` where one has fallen silent."""
    devices = [
        (
            host,
            {
                "device": device,
                "kind": kind,
                "source": "estimate" if lost and host == "rec-a" else source,
                "quality": "modelled" if lost and host == "rec-a" else "measured",
                "power_w": None if drawn is None else drawn * share,
            },
        )
        for host, device, kind, source, share in DEVICES
    ]
    nodes = [
        {
            "node": f"node-{host}",
            "host": host,
            "power_w": None if drawn is None else sum(d["power_w"] for h, d in devices if h == host),
            "devices": [d for h, d in devices if h == host],
        }
        for host in dict.fromkeys(host for host, *_ in DEVICES)
    ]
    return {
        "time_s": time_s,
        "power_w": drawn,
        "unknown": "no meter has been read twice yet: watts are known from the second window on"
        if drawn is None
        else None,
        "quality": "modelled" if lost else "measured",
        "nodes": nodes,
        "not_read": [REFUSAL] if lost else [],
        "ledger_error": None,
    }


def energy(time_s: float, fresh: bool, lost: bool) -> Document:
    start_s = time_s - time_s % 86_400
    seconds = 4.0 if fresh else time_s - start_s
    joules = 131.0 * seconds
    shares = (
        {"measured": 0.968, "modelled": 0.032, "assumed": 0.0}
        if lost
        else {"measured": 1.0, "modelled": 0.0, "assumed": 0.0}
    )

    def account(factor: float) -> Document:
        energy_j = factor * joules
        return {
            "start_s": start_s - (factor - 1) * 86_400,
            "energy_j": energy_j,
            "facility_j": 1.25 * energy_j,
            "grams": 1.25 * energy_j / 3.6e6 * G_PER_KWH,
            "requests": int(factor * 74 * seconds),
            "items": int(factor * 740 * seconds),
            "shares": shares,
        }

    return {"since_s": start_s - 6 * 86_400, "today": account(1.0), "total": account(6.4)}


def carbon(time_s: float) -> Document:
    return {
        "zone": "DE",
        "g_per_kwh": G_PER_KWH + 40 * math.sin(time_s / 3000),
        "kind": "average",
        "quality": "modelled",
        "pue": 1.25,
        "pue_quality": "assumed",
        "stale": False,
    }


def savings(fresh: bool) -> Document:
    unknown = {"relative": None, "total": None, "reason": "not yet known: 3 of the 50 users needed were held back"}
    if fresh:
        return {"arms": {"policy": 41, "holdback": 3}, "energy_j": unknown, "reward": unknown, "co2e_g": unknown}

    def saved(value: float, low: float, high: float, unit: float) -> Document:
        total = {key: one * unit for key, one in (("value", value), ("low", low), ("high", high))}
        return {"relative": {"value": value, "low": low, "high": high}, "total": total, "reason": ""}

    return {
        "arms": {"policy": 2_918_204, "holdback": 59_113},
        "energy_j": saved(0.684, 0.651, 0.717, 4.1e6),
        "co2e_g": saved(0.684, 0.651, 0.717, 444.0),
        "reward": saved(-0.0042, -0.0131, 0.0047, 1.66e7),
    }


def noise(time_s: float, salt: int) -> float:
    """About as large as 1, another one each second, the same whenever it is asked for."""
    return random.Random(int(time_s) * 31 + salt).gauss(0, 0.6)


def only(stage: str, variant: str, items: int) -> Document:
    return {"stage": stage, "actions": [{"variant": variant, "items": items, "share": 1.0}]}


def shared(stage: str, weights: Mapping[tuple[str | None, int], float]) -> Document:
    kept = {action: weight for action, weight in weights.items() if weight > 0.004}
    whole = sum(kept.values())
    return {
        "stage": stage,
        "actions": [{"variant": v, "items": n, "share": weight / whole} for (v, n), weight in kept.items()],
    }
