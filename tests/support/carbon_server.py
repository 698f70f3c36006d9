"""A server of carbon intensities on loopback that answers with recorded shapes, and what it was asked."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Route:
    """How paths that begin with a prefix are answered. Tests change it while the server runs.

    slow_s  the answer begins so late
    """

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    slow_s: float = 0.0


class CarbonServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        self.routes: dict[str, Route] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]


class _Handler(BaseHTTPRequestHandler):
    server: CarbonServer

    def do_GET(self) -> None:
        self.server.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        fitting = [prefix for prefix in self.server.routes if self.path.startswith(prefix)]
        route = self.server.routes[max(fitting, key=len)] if fitting else Route({"error": "no such path"}, 404)
        time.sleep(route.slow_s)
        body = route.body if isinstance(route.body, bytes) else json.dumps(route.body).encode()
        try:
            self.send_response(route.status)
            for name, value in {"content-type": "application/json", **route.headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:  # the client has given up
            pass

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def carbon_server() -> Iterator[CarbonServer]:
    with CarbonServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


MIX = [{"fuel": "gas", "perc": 43.6}, {"fuel": "wind", "perc": 6.8}]


def uk_period(begin: str, end: str, forecast: int, actual: int | None = None, **more: object) -> dict[str, Any]:
    return {
        "from": begin,
        "to": end,
        "intensity": {"forecast": forecast, "actual": actual, "index": "moderate"},
        **more,
    }


def uk_national(*periods: dict[str, Any]) -> dict[str, Any]:
    """GET /intensity and /intensity/{from}/fw48h."""
    return {"data": list(periods)}


def uk_regional(*periods: dict[str, Any], in_list: bool = True) -> dict[str, Any]:
    """GET /regional/regionid/13; without the list around it /regional/intensity/{from}/fw48h/regionid/13."""
    shown = [{"from": p["from"], "to": p["to"], "intensity": _forecast_alone(p), "generationmix": MIX} for p in periods]
    region = {"regionid": 13, "dnoregion": "UKPN London", "shortname": "London", "data": shown}
    return {"data": [region] if in_list else region}


def _forecast_alone(period: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in period["intensity"].items() if name != "actual"}


def maps_latest(zone: str, at: str, figure: float, estimated: bool = True) -> dict[str, Any]:
    """GET /v3/carbon-intensity/latest."""
    return {
        "zone": zone,
        "carbonIntensity": figure,
        "datetime": at,
        "updatedAt": "2024-03-06T18:48:27.926Z",
        "createdAt": "2024-03-03T19:47:16.265Z",
        "emissionFactorType": "lifecycle",
        "isEstimated": estimated,
        "estimationMethod": "TIME_SLICER_AVERAGE" if estimated else None,
    }


def maps_forecast(zone: str, *hours: tuple[str, float]) -> dict[str, Any]:
    """GET /v3/carbon-intensity/forecast."""
    rows = [{"carbonIntensity": figure, "datetime": at} for at, figure in hours]
    return {"zone": zone, "forecast": rows, "updatedAt": "2024-03-06T18:48:27.926Z"}
