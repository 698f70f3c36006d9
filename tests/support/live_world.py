"""What a server could tell the live page: documents of a world that is made up, true to their schemas.

Everything is a function of time, so that a restart goes on where it was.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from live_books import G_PER_KWH, carbon, energy, noise, only, power, savings, shared

Document = dict[str, Any]
STEP_S, KEPT_S = 10, 3 * 3600
IDLE_W, BUSY_W = 78.0, 96.0
MOST_RPS = 140.0


@dataclass
class World:
    """What is the case. Tests change it while it is told.

    state   fresh, steady, lost (a sensor), blank (a ledger that has nothing or cannot be read), off (nothing is
            accounted for or decided) or away (no controller)
    born_s  the controller's start, before which only the ledger remembers
    limits  by name: kind, limit, unit, and from when on (at_s)
    still_s when set, all windows are like the one of that time
    kept_s  how long what was is remembered
    """

    state: str = "steady"
    born_s: float = 0.0
    limits: dict[str, Document] = field(default_factory=dict)
    still_s: float | None = None
    kept_s: float = KEPT_S

    def window(self, time_s: float, window_s: float = 1.0) -> Document:
        """As the event `window`."""
        told = self._window(self.still_s or time_s, window_s)
        return {**told, "time_s": time_s}

    def _window(self, time_s: float, window_s: float) -> Document:
        if self.state == "off":
            return {
                **self._traffic(time_s, window_s),
                **dict.fromkeys(("power", "energy", "carbon", "savings", "policy")),
            }
        return {
            **self._traffic(time_s, window_s),
            "power": self.power(time_s),
            "energy": None if self.state == "blank" else energy(time_s, self.state == "fresh", self.state == "lost"),
            "carbon": carbon(time_s),
            "savings": savings(self.state == "fresh"),
            "policy": {
                "version": 17954731390,
                "reward_model": "16dfafd0",
                "available": 172,
                "chains": 172,
                "stale": False,
            },
        }

    def _traffic(self, time_s: float, window_s: float) -> Document:
        return {
            "time_s": time_s,
            "window_s": window_s,
            "constraints": self.constraints(time_s),
            "requests": self._requests(time_s),
            "mix": self._mix(time_s),
            "notes": self._notes(),
        }

    def points(self, until_s: float, after_s: float = 0.0) -> Iterator[Document]:
        """As those of the event `history`."""
        first = max(until_s - self.kept_s, after_s, self.born_s if self.state == "fresh" else 0.0)
        step = math.floor(first / STEP_S) + 1
        while step * STEP_S <= until_s:
            yield self._point(float(step * STEP_S))
            step += 1

    def _point(self, time_s: float) -> Document:
        told, requests = self.window(time_s), self._requests(time_s)
        nodes = (told["power"] or {"nodes": []})["nodes"]
        latency = requests["latency_ms"] or {"p50": None, "p99": None}
        return {
            "time_s": time_s,
            "power_w": told["power"] and told["power"]["power_w"],
            "devices": {f"{n['host']}/{d['device']}": d["power_w"] for n in nodes for d in n["devices"]},
            "requests_per_s": requests["per_s"],
            "degraded_per_s": sum(requests["degraded_per_s"].values()),
            "latency_p50_ms": latency["p50"],
            "latency_p99_ms": latency["p99"],
            "reward_per_s": requests["reward_per_s"],
            "energy_j_per_request": requests["energy_j"],
            "g_per_kwh": told["carbon"] and told["carbon"]["g_per_kwh"],
            "constraints": {
                c["name"]: {key: c[key] for key in ("limit", "spend", "price")} for c in told["constraints"]
            },
            "mix": {
                stage["stage"]: {
                    (f"{a['variant']}@{a['items']}" if a["variant"] else "skip"): a["share"] for a in stage["actions"]
                }
                for stage in told["mix"]
            },
        }

    # What is drawn.

    def power(self, time_s: float) -> Document:
        """As GET /v1/power."""
        time_s = self.still_s or time_s
        return power(time_s, None if self.state == "fresh" else self.drawn_w(time_s), self.state == "lost")

    def free_w(self, time_s: float) -> float:
        """Watts without a limit."""
        return IDLE_W + BUSY_W * self.load(time_s) + 1.6 * noise(time_s, 1)

    def drawn_w(self, time_s: float) -> float:
        caps = [one["limit"] for one in self.limits.values() if one["kind"] == "power" and time_s >= one.get("at_s", 0)]
        cap = min(caps, default=math.inf)
        held = max(cap + 0.8 * noise(time_s, 2), IDLE_W + 6 + noise(time_s, 3))
        return min(self.free_w(time_s), held)

    def strictness(self, time_s: float) -> float:
        """0 where nothing binds, 1 where only the cheapest chains are left."""
        free, drawn = self.free_w(time_s), self.drawn_w(time_s)
        return min(1.0, max(0.0, (free - drawn) / max(1.0, free - IDLE_W)))

    def load(self, time_s: float) -> float:
        wave = 0.5 + 0.22 * math.sin(time_s / 2400) + 0.1 * math.sin(time_s / 610 + 1)
        return max(0.05, wave + 0.02 * noise(time_s, 4))

    # What requests do.

    def _requests(self, time_s: float) -> Document:
        if self.state == "fresh":
            return {
                "per_s": 0.0,
                "decided_per_s": 0.0,
                "degraded_per_s": {},
                "reward_per_s": 0.0,
                "latency_ms": None,
                "energy_j": None,
            }
        rate, strict = MOST_RPS * self.load(time_s), self.strictness(time_s)
        late = 0.2 if int(time_s / 45) % 9 == 0 else 0.0
        return {
            "per_s": rate,
            "decided_per_s": 0.0 if self.state == "off" else 0.98 * rate,
            "degraded_per_s": {"late": late} if late else {},
            "reward_per_s": rate * (5.7 - 0.9 * strict**2),
            "latency_ms": {
                "p50": 5.1 - 2.4 * strict + 0.3 * noise(time_s, 5),
                "p90": 9.4 - 4 * strict,
                "p99": 15.2 - 6 * strict + 1.6 * noise(time_s, 6),
            },
            "energy_j": None if self.state == "off" else (0.62 * (1 - strict) + 0.02) * (1 + 0.04 * noise(time_s, 7)),
        }

    def _mix(self, time_s: float) -> list[Document]:
        if self.state == "fresh":
            return [{"stage": stage, "actions": []} for stage in ("recall", "prerank", "rank")]
        strict = 0.0 if self.state == "off" else 0.25 + 0.75 * self.strictness(time_s)
        if self.state == "off":
            return [only("recall", "tower-l", 8000), only("prerank", "ydnn-l", 400), only("rank", "dien", 160)]
        wobble = 0.02 * noise(time_s, 8)
        return [
            shared("recall", {("tower-l", 8000): 1 - 0.8 * strict + wobble, ("tower-s", 8000): 0.8 * strict - wobble}),
            shared(
                "prerank",
                {
                    ("ydnn-l", 400): 0.9 - strict,
                    ("ydnn-l", 200): 0.34,
                    ("ydnn-s", 200): 0.2 + wobble,
                    ("ydnn-s", 100): strict - 0.2,
                },
            ),
            shared(
                "rank",
                {
                    ("dien", 160): 0.35 - 0.5 * strict,
                    ("din", 80): 0.32,
                    ("din", 40): 0.21 - wobble,
                    ("mlp", 40): 0.08 + 0.3 * strict,
                    (None, 0): 0.5 * strict - 0.1,
                },
            ),
        ]

    # What holds.

    def constraints(self, time_s: float) -> list[Document]:
        """As GET /v1/constraints."""
        time_s = self.still_s or time_s
        if self.state == "off":
            return []
        return [
            self._constraint(name, one, time_s)
            for name, one in sorted(self.limits.items())
            if time_s >= one.get("at_s", 0)
        ]

    def _constraint(self, name: str, one: Mapping[str, Any], time_s: float) -> Document:
        spend, price = self._spend(one["kind"], time_s), 0.0
        if one["kind"] == "power":
            price = 9.0 * self.strictness(time_s) ** 1.5
        young = self.state == "fresh"
        reachable = not (one["kind"] == "power" and one["limit"] < IDLE_W + 5)
        told = {key: one[key] for key in ("kind", "limit", "unit")}
        return {
            "name": name,
            **told,
            "spend": None if young else spend,
            "price": None if young else price,
            "reachable": None if young else reachable,
        }

    def _spend(self, kind: str, time_s: float) -> float:
        grams = G_PER_KWH * 1.25
        today_j = energy(time_s, False, False)["today"]["energy_j"]
        return {
            "power": self.drawn_w(time_s),
            "energy": today_j / 3.6e6,
            "carbon": grams * today_j / 3.6e6,
            "compute": 1.1 * self.load(time_s),
            "flops": 2e8 * self.load(time_s),
        }[kind]

    def _notes(self) -> list[Document]:
        if self.state == "lost":
            return [
                {
                    "level": "warning",
                    "code": "sensor_lost",
                    "text": "rapl on rec-a cannot be read since 5 s: its watts "
                    "are modelled from what it last told. Run greenflow doctor on that machine for the remedy.",
                },
            ]
        out = [name for name, one in self.limits.items() if one["kind"] == "power" and one["limit"] < IDLE_W + 5]
        return [
            {
                "level": "error",
                "code": "limit_unreachable",
                "text": f"Limit {name} is out of reach: machines draw more "
                "even with the cheapest chains. Raise it, or take machines away.",
            }
            for name in out
        ]
