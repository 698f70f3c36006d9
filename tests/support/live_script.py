"""A server whose live stream follows a script: what each connection gets, one after another. And windows, made up.

A script as well: `python tests/support/live_script.py PORT [NODES]` plays windows until it is stopped.
"""

import asyncio
import json
import math
import sys
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from cluster.live.routes import LIVE

Payload = dict[str, Any]
NOON_S = 1_795_867_200.0


def window(time_s: float = NOON_S, nodes: int = 1, **changes: Any) -> Payload:
    """A window in which all is well, but for what is changed."""
    load = 0.6 + 0.4 * math.sin(time_s / 40)
    told = [_node(n, load) for n in range(nodes)]
    power_w = math.fsum(node["power_w"] for node in told)
    spent = {"start_s": NOON_S - 43_200, "energy_j": 4.5e6, "facility_j": 5.4e6, "grams": 310.0}
    spent |= {"requests": 123_456, "items": 1_234_560, "shares": {"measured": 0.97, "modelled": 0.03, "assumed": 0.0}}
    bounds = {"value": 0.391, "low": 0.333, "high": 0.448}
    saved = {"relative": bounds, "total": {"value": 5e5, "low": 4e5, "high": 6e5}, "reason": ""}
    less = {**saved, "relative": {"value": 0.004, "low": -0.01, "high": 0.018}}
    return {
        "time_s": time_s,
        "window_s": 1.0,
        "power": {"time_s": time_s, "power_w": power_w, "unknown": None, "quality": "modelled", "nodes": told}
        | {"not_read": [], "ledger_error": None},
        "energy": {"since_s": NOON_S - 86_400, "today": spent, "total": spent},
        "carbon": {"zone": "FR", "g_per_kwh": 56.2, "kind": "average", "quality": "measured", "pue": 1.2}
        | {"pue_quality": "measured", "stale": False},
        "constraints": [
            _limit("cap", "power", 150.0, "W", 120 * load + 30, 0.0031),
            _limit("grid", "carbon", 40.0, "g/h", 12.5, 0.0),
        ],
        "requests": {"per_s": 212 * load, "decided_per_s": 208 * load, "degraded_per_s": {}, "reward_per_s": 900.0}
        | {"latency_ms": {"p50": 4.1, "p90": 7.7, "p99": 12.0}, "energy_j": 0.123},
        "mix": [
            {"stage": "recall", "actions": [_action("tower-l", 8000, 0.8), _action("tower-s", 8000, 0.2)]},
            {"stage": "prerank", "actions": [_action("ydnn-l", 400, 0.7), _action(None, 0, 0.297)]},
            {"stage": "rank", "actions": [_action("dien", 160, 0.55), _action("din", 80, 0.45)]},
        ],
        "savings": {"arms": {"policy": 40_000, "holdback": 800}, "energy_j": saved, "reward": less, "co2e_g": saved},
        "policy": {"version": 17, "reward_model": "reward.onnx@16dfafd0bde2", "available": 172, "chains": 172}
        | {"stale": False},
        "notes": [],
        **changes,
    }


def _node(number: int, load: float) -> Payload:
    host = f"host-{number}"
    devices = [
        {"device": f"{host}/package-0", "kind": "package", "source": "rapl", "quality": "measured"},
        {"device": f"{host}/gpu-0", "kind": "gpu", "source": "nvml", "quality": "modelled"},
    ]
    watts = (35 + 40 * load, 20 + 30 * load)
    told = [device | {"power_w": power_w} for device, power_w in zip(devices, watts, strict=True)]
    return {"node": f"{number:056x}", "host": host, "power_w": math.fsum(watts), "devices": told}


def _limit(name: str, kind: str, limit: float, unit: str, spend: float, price: float) -> Payload:
    return {"name": name, "kind": kind, "limit": limit, "unit": unit, "spend": spend, "price": price, "reachable": True}


def _action(variant: str | None, items: int, share: float) -> Payload:
    return {"variant": variant, "items": items, "share": share}


def event(name: str, data: Payload, time_s: float | None = None) -> bytes:
    """One event of the stream."""
    known = "" if time_s is None else f"id: {time_s}\n"
    return f"{known}event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def history(points: Sequence[Payload] = (), time_s: float | None = None) -> bytes:
    """The first event of a connection."""
    return b"retry: 2000\n" + event("history", {"step_s": 10, "resumed": False, "points": list(points)}, time_s)


def scripted(connections: Sequence[Sequence[bytes] | Payload], asked: list[str | None] | None = None) -> FastAPI:
    """Each connection gets its chunks, and is then closed; for a mapping, it is refused with status 503 and that. Those
    after the last stay open. `asked` gets the Last-Event-ID of each.
    """
    app, left = FastAPI(), list(connections)

    @app.get(LIVE)
    async def live(request: Request) -> Response:
        if asked is not None:
            asked.append(request.headers.get("last-event-id"))
        chunks = left.pop(0) if left else [b": \n\n"]
        if isinstance(chunks, dict):
            return JSONResponse(chunks, 503)
        return StreamingResponse(_sent(chunks), media_type="text/event-stream")

    return app


async def _sent(chunks: Sequence[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def playing(nodes: int) -> FastAPI:
    """Plays a window a second, with something wrong now and then, and breaks off every 30 of them."""
    app = FastAPI()

    @app.get(LIVE)
    async def live() -> Response:
        return StreamingResponse(_played(nodes), media_type="text/event-stream")

    return app


async def _played(nodes: int) -> AsyncIterator[bytes]:
    yield history()
    for n in range(30):
        now_s, notes = time.time(), []
        if n % 20 > 10:
            notes = [
                {"level": "warning", "code": "sensor_lost", "text": "The meter of host-0/gpu-0 is lost; see doctor."}
            ]
        degraded = {"undecided": 1.5} if n % 20 > 15 else {}
        made = window(now_s, nodes, notes=notes)
        made["requests"]["degraded_per_s"] = degraded
        yield event("window", made, now_s)
        await asyncio.sleep(1)


if __name__ == "__main__":
    uvicorn.run(playing(int(sys.argv[2]) if len(sys.argv) > 2 else 1), port=int(sys.argv[1]), log_level="error")
