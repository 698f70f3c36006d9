"""What is lost for a while under a cap: meters, the controller, the allocator. What was drawn, and what failed."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from joules import kill
from limits_stand import Driven
from process_group import ProcessGroup

from cluster.config import DEMO
from cluster.traffic.bodies import request_bodies, user_ids
from cluster.traffic.report import LoadReport

MOST_OVER = 0.05
AFTER_S, LONGEST_S = 20.0, 120.0
LOOK_S = 2.0


@dataclass(frozen=True)
class Outage:
    """Something was away.

    away_s         until it worked again, and `back` whether it did in time
    away_w         mean true watts meanwhile, and `after_w` in the AFTER_S from then on
    mean_w         of both together
    start_w        of the watts meanwhile, those of the processes that started in its stead
    load           requests of both
    qualities      how the joules were known meanwhile: how often each was told, "none" for no answer
    watts          of each second of both
    """

    about: str
    cap_w: float
    away_s: float
    away_w: float
    after_w: float
    mean_w: float
    load: LoadReport
    qualities: Mapping[str, int] = field(default_factory=dict)
    watts: tuple[float, ...] = ()
    back: bool = True
    start_w: float = 0.0

    @property
    def over(self) -> float:
        """By what share the limit was exceeded while it was away; negative for below."""
        return self.away_w / self.cap_w - 1

    @property
    def over_in_all(self) -> float:
        """The same, with the time after."""
        return self.mean_w / self.cap_w - 1

    @property
    def reached(self) -> bool:
        """Whether no request failed and the limit was exceeded by 5% at most."""
        near = self.over <= MOST_OVER and self.over_in_all <= MOST_OVER
        return near and not self.load.failed and not self.load.overflow and self.back


def blind(stand: Driven, cap_w: float, seconds: float) -> Outage:
    """All zones of the stand-in vanish at once, and return."""
    zones = stand.zones()
    qualities: Counter[str] = Counter()
    stand.traffic.cut()
    began_s = time.time()
    stand.command(*(f"vanish {zone}" for zone in zones))
    while (left_s := began_s + seconds - time.time()) > 0:
        time.sleep(min(LOOK_S, left_s))
        qualities[quality(stand)] += 1
    stand.command(*(f"return {zone}" for zone in zones))
    return _told(stand, "all meters are lost", cap_w, began_s, seconds, qualities)


def killed(stand: Driven, cap_w: float, part: str) -> Outage:
    """The processes of a part of the server are killed, and come back by themselves."""
    before, qualities = _pids(stand.server.group, part), Counter[str]()
    stand.traffic.cut()
    began_s = time.time()
    number = kill(stand.server.group, part)
    if not number:
        raise RuntimeError(f"nothing called {part} runs")
    while (away_s := time.time() - began_s) < LONGEST_S:
        time.sleep(0.25)
        if _pids(stand.server.group, part) - before and WORKS[part](stand, began_s):
            break
        qualities[quality(stand)] += 1
    start_w = stand.cpu_j * _cpu_s(stand.server.group, _pids(stand.server.group, part) - before) / away_s
    told = _told(stand, f"{part} is killed ({number})", cap_w, began_s, away_s, qualities)
    return replace(told, back=away_s < LONGEST_S, start_w=start_w)


def quality(stand: Driven) -> str:
    """How the joules are known now, as the server tells."""
    try:
        return str(stand.get("/v1/power", timeout_s=0.5)["quality"])
    except (OSError, ValueError):
        return "none"


def _told(
    stand: Driven, about: str, cap_w: float, began_s: float, away_s: float, qualities: Mapping[str, int]
) -> Outage:
    back_s = began_s + away_s
    ends_s = back_s + AFTER_S
    time.sleep(max(0.0, ends_s + 0.2 - time.time()))
    truth = stand.truth
    return Outage(
        about,
        cap_w,
        away_s,
        truth.mean_w(began_s, back_s),
        truth.mean_w(back_s, ends_s),
        truth.mean_w(began_s, ends_s),
        stand.traffic.cut(),
        dict(qualities),
        tuple(truth.watts(began_s, ends_s)),
    )


def _pids(group: ProcessGroup, part: str) -> set[int]:
    return {process.pid for process in group.titled(part)}


def _cpu_s(group: ProcessGroup, pids: Collection[int]) -> float:
    """What these have taken since they began."""
    return sum(cpu_s for pid, cpu_s in group.cpu_s().items() if pid in pids)


def _prices(stand: Driven, since_s: float) -> bool:
    """Whether a policy was made since then: under a cap that binds, prices are never quite the same."""
    return bool(stand.get("/v1/policy", timeout_s=2)["time_s"] > since_s)


def _decides(stand: Driven, _: float) -> bool:
    body = request_bodies(user_ids(DEMO), seed=1)[0]
    return not stand.get("/v1/recommend", body, timeout_s=2)["degraded"]


def _meters(stand: Driven, since_s: float) -> bool:
    told = stand.get("/v1/power", timeout_s=2)
    return bool(told["time_s"] > since_s and told["quality"] == "measured")


def _calm(works: Callable[[Driven, float], bool]) -> Callable[[Driven, float], bool]:
    def asked(stand: Driven, since_s: float) -> bool:
        try:
            return works(stand, since_s)
        except (OSError, ValueError, KeyError):
            return False

    return asked


WORKS = {"controller": _calm(_prices), "allocator": _calm(_decides), "NodeMeter": _calm(_meters)}
"""Parts that can be killed, and how it is told that one works again since a time."""
