"""A cascade with CUDA variants on real Ray Serve: its ledger against the GPUs' own counters, and a power cap on it."""

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
from gpu_watch import Series, Watch, unix_minus_boot
from joules import kill
from rich.console import Console
from servers import Running, Server

from cluster.ledger.connect import for_reading

TOKEN = "bench-0123456789abcdef"
SETTLE_S, REST_S, CAP_S, CLEARED_S, TOLD_S = 5.0, 12.0, 40.0, 8.0, 60.0
EVENTS = ((0.4, "NodeMeter"), (0.6, "controller"))
SAMPLED = 50
LOOKED_AT = ("power_w", "quality", "error")
Found = dict[str, Any]
_DEVICES = """SELECT d.device, d.pool, d.kind, d.source, x.quality, w.end_s, x.energy_j, x.window_s, x.counter_j,
    x.fresh FROM device_window x JOIN device d ON d.id = x.device JOIN window w ON w.number = x.window
    WHERE w.end_s > ? AND w.end_s <= ? ORDER BY w.number"""
_PARTS = """SELECT p.pool, p.kind, p.stage, p.variant, sum(x.energy_j), sum(x.calls), sum(x.items)
    FROM part_window x JOIN part p ON p.id = x.part JOIN window w ON w.number = x.window
    WHERE w.end_s > ? AND w.end_s <= ? GROUP BY 1, 2, 3, 4"""


@dataclass(frozen=True)
class Served:
    """A server under test, its ledger, and what reads the GPUs beside it."""

    up: Running
    ledger: Path
    watch: Watch
    clients: int
    folder: Path
    console: Console


def server_of(ledger: Path) -> Server:
    """`greenflow up` with its defaults, a ledger of its own, and a token by which limits may be changed."""
    command = (str(Path(sys.executable).with_name("greenflow")), "up")
    settings = {"GREENFLOW_ENERGY_LEDGER": str(ledger), "GREENFLOW_ADMIN_TOKEN": TOKEN}
    return Server("gpu", "app on CUDA, chains chosen, joules counted", command, settings)


def served_part(one: Served, found: Found, seconds: float) -> None:
    """A rest, then load, under which the meter and the controller are killed; then the account of it."""
    found["start_s"] = one.up.start_s
    found["at_rest"] = _rested(one)
    _loaded(one, "warm", ("--clients", str(one.clients)), SETTLE_S)
    first_s = newest_window_s(one)
    load = _load(one, "served", ("--clients", str(one.clients)), seconds)
    found["power"] = _disturbed(one, load, seconds)
    found["load"] = _told_by(one, load, "served")
    last_s = newest_window_s(one, time.time())
    found["account"] = account(one, first_s, last_s)
    found["account"]["above_rest_j"] = above_rest_j(found["account"], found["at_rest"]["own_gpu_w"])
    found["answers"] = sampled(one)
    for name in ("power", "policy", "energy?windows=3"):
        found[f"/v1/{name}"] = asked(one, name)


def cap_part(one: Served, found: Found) -> None:
    """A cap midway between watts at rest and under load: what is drawn, chosen and earned without and with it."""
    found["at_rest"] = _rested(one)
    free = _loaded(one, "probe", ("--clients", str(one.clients)), SETTLE_S)
    rate = ("--rate", f"{0.6 * free['throughput_per_s']:.1f}")
    found["rate_per_s"] = float(rate[1])
    found["free"] = _phase(one, "free", rate, CAP_S / 2)
    limit_w = (found["at_rest"]["ledger_w"] + found["free"]["watts"]["ledger_w"]) / 2
    found["limit_w"] = limit_w
    found["put"] = limit(one, "PUT", {"kind": "power", "limit": limit_w, "unit": "W"})
    found["capped"] = _phase(one, "capped", rate, CAP_S)
    found["cleared"] = limit(one, "DELETE")
    found["after"] = _phase(one, "after", rate, CLEARED_S)
    found["changes"] = asked(one, "constraints/changes")


def _rested(one: Served) -> Found:
    """Watts while nobody asks."""
    time.sleep(REST_S)
    return watts(one, time.time() - REST_S + 2, time.time())


def above_rest_j(account: Found, rest_w: float) -> Found:
    """What GPUs truly drew for the work on them, would they have rested at these watts, and what was put down to it."""
    shares = [part["energy_j"] for part in account["split_of_gpus"] if part["kind"] == "share"]
    return {"truly": account["own_gpu_j"] - rest_w * account["seconds"], "put_down": sum(shares), "rest_w": rest_w}


def _phase(one: Served, name: str, rate: tuple[str, str], seconds: float) -> Found:
    """Load at a rate; limits and answers are looked at meanwhile, and watts of its second half."""
    began_s = time.time()
    load = _load(one, name, rate, seconds)
    limits, answers = list[Found](), Found()
    while load.poll() is None and time.time() < began_s + seconds:
        if not answers and time.time() > began_s + 0.7 * seconds:
            answers = sampled(one)
        limits.append({"at_s": time.time() - began_s, "constraints": asked(one, "constraints").get("constraints")})
        time.sleep(2.0)
    told = _told_by(one, load, name)
    newest_window_s(one, began_s + seconds)
    return {
        "watts": watts(one, began_s + seconds / 2, began_s + seconds),
        "answers": answers,
        "load": told,
        "limits": limits,
    }


def _loaded(one: Served, name: str, how: tuple[str, str], seconds: float) -> Found:
    return _told_by(one, _load(one, name, how, seconds), name)


def _load(one: Served, name: str, how: tuple[str, str], seconds: float) -> "subprocess.Popen[bytes]":
    command = [str(Path(sys.executable).with_name("greenflow")), "load", one.up.url, "--allow-errors", "--json"]
    with (one.folder / f"load-{name}.json").open("wb") as output:
        return subprocess.Popen([*command, *how, "--seconds", str(seconds)], stdout=output, stderr=subprocess.DEVNULL)


def _told_by(one: Served, load: "subprocess.Popen[bytes]", name: str) -> Found:
    """The load's report, with the ten chains that answered most."""
    load.wait(TOLD_S)
    report: Found = json.loads((one.folder / f"load-{name}.json").read_text())
    report["all_chains"] = len(report["chains"])
    report["chains"] = dict(list(report["chains"].items())[:10])
    return report


def _disturbed(one: Served, load: "subprocess.Popen[bytes]", seconds: float) -> Found:
    """Kill what is to be killed, each at its share of the time, and look at the power each second."""
    began_s, events = time.time(), list(EVENTS)
    killed, looks = list[Found](), list[Found]()
    while load.poll() is None and time.time() < began_s + seconds:
        if events and time.time() >= began_s + events[0][0] * seconds:
            _, name = events.pop(0)
            killed.append({"at_s": time.time(), "what": name, "processes": kill(one.up.group, name)})
            one.console.print(f"  {time.time() - began_s:4.0f} s: killed {killed[-1]}", highlight=False)
        told = asked(one, "power")
        looks.append({"at_s": time.time(), **{key: told[key] for key in LOOKED_AT if key in told}})
        time.sleep(1.0)
    return {"killed": killed, "looks": looks}


def asked(one: Served, path: str) -> Found:
    """What the server says; `error` where it says nothing."""
    try:
        with urlopen(f"{one.up.url}/v1/{path}", timeout=10) as response:
            answer: Found = json.load(response)
            return answer
    except OSError as error:
        return {"error": str(error)}


def limit(one: Served, method: str, body: Mapping[str, object] | None = None) -> Any:
    """Set or clear the cap."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    with urlopen(Request(f"{one.up.url}/v1/constraints/cap", data, headers, method=method), timeout=30) as answer:
        text = answer.read().decode()
        return json.loads(text) if text else answer.status


def newest_window_s(one: Served, after_s: float = 0.0) -> float:
    """End of the ledger's newest window, once there is one that ended after that."""
    ends_s = time.monotonic() + TOLD_S
    while time.monotonic() < ends_s:
        windows = asked(one, "energy?windows=1").get("windows")
        if windows and windows[0]["end_s"] > after_s:
            return float(windows[0]["end_s"])
        time.sleep(0.3)
    raise TimeoutError(f"no window of the ledger within {TOLD_S:.0f} s")


def sampled(one: Served) -> Found:
    """Means over some answers: predicted reward, joules, FLOPs; and what they say of themselves."""
    answers = []
    for user in range(1, SAMPLED + 1):
        body = json.dumps({"user_id": user}).encode()
        request = Request(f"{one.up.url}/v1/recommend", body, {"Content-Type": "application/json"})
        with urlopen(request, timeout=30) as response:
            answers.append(json.load(response))
    costs = [answer["cost"] for answer in answers]
    return {
        "predicted_reward": _mean([answer["predicted_reward"] for answer in answers]),
        "energy_j": _mean([cost["energy_j"] for cost in costs]),
        "flops": _mean([cost["flops"] for cost in costs]),
        "qualities": sorted({str(cost["quality"]) for cost in costs}),
        "degraded": sum(answer["degraded"] for answer in answers),
        "chains": len({answer["chain"]["id"] for answer in answers}),
        "one": costs[0],
    }


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def account(one: Served, from_s: float, to_s: float) -> Found:
    """The ledger's joules of GPUs between two ends of windows beside their own counters, and whose joules they are."""
    with closing(for_reading(one.ledger)) as db:
        rows = db.execute(_DEVICES, (from_s, to_s)).fetchall()
        parts = db.execute(_PARTS, (from_s, to_s)).fetchall()
    own_j = one.watch.unix_j(to_s) - one.watch.unix_j(from_s)
    of_gpus = [row for row in rows if row[2] in ("gpu", "module")]
    ledger_j = sum(row[6] for row in of_gpus)
    pools = {row[1] for row in of_gpus}
    split = [
        dict(zip(("kind", "stage", "variant", "energy_j", "calls", "items"), p[1:], strict=True))
        for p in parts
        if p[0] in pools
    ]
    ends = sorted({row[5] for row in rows})
    return {
        "seconds": to_s - from_s,
        "windows": len(ends),
        "longest_window_s": max(np.diff([from_s, *ends]).tolist(), default=None),
        "ledger_gpu_j": ledger_j,
        "own_gpu_j": own_j,
        "off_percent": 100 * (ledger_j / own_j - 1) if own_j else None,
        "ledger_other_j": sum(row[6] for row in rows) - ledger_j,
        "devices": {gpu.uuid: _device(gpu, [row for row in of_gpus if row[0] == gpu.uuid]) for gpu in one.watch.gpus},
        "split_of_gpus": split,
        "split_less_devices_j": sum(part["energy_j"] for part in split) - ledger_j,
        "looks_not_answered": one.watch.failures,
    }


def _device(gpu: Series, rows: list[tuple[Any, ...]]) -> Found:
    """One GPU's rows: whether joules are what its counter moved, and how old the counter was at windows' ends."""
    if not rows:
        return {"rows": 0}
    late_s = [row[5] - unix_minus_boot() - gpu.reached_s(row[8]) for row in rows]
    return {
        "rows": len(rows),
        "sources": sorted({row[3] for row in rows}),
        "qualities": sorted({row[4] for row in rows}),
        "not_fresh": sum(not row[9] for row in rows),
        "energy_j": sum(row[6] for row in rows),
        "counter_moved_j": rows[-1][8] - rows[0][8] + rows[0][6],
        "counter_late_s": {"median": float(np.median(late_s)), "max": max(late_s), "min": min(late_s)},
        "pool": rows[0][1],
    }


def watts(one: Served, from_s: float, to_s: float) -> Found:
    """Mean watts between two Unix times: by the ledger, all and GPUs alone, and by the GPUs' own counters."""
    with closing(for_reading(one.ledger)) as db:
        rows = db.execute(_DEVICES, (from_s, to_s)).fetchall()
    spans: dict[str, float] = {}
    joules: dict[str, float] = {}
    for device, _, kind, _, _, _, energy_j, window_s, *_ in rows:
        name = "gpu" if kind in ("gpu", "module") else "other"
        joules[name] = joules.get(name, 0.0) + energy_j
        spans[device] = spans.get(device, 0.0) + window_s
    covered_s = max(spans.values(), default=float("nan"))
    return {
        "ledger_w": sum(joules.values()) / covered_s,
        "ledger_gpu_w": joules.get("gpu", 0.0) / covered_s,
        "own_gpu_w": one.watch.unix_w(from_s, to_s),
    }
