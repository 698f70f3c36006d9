"""A power meter on every Ray node, and who looks after them.

Ray starts a meter anew that dies. No joule is lost with it where a device has a counter: that counts on, and the ledger
remembers up to where it is billed. A GPU without one is known only while it is watched, so meters outlive the
controller, whose successor finds them by name; those that nobody asks any more end by themselves.
"""

import asyncio
import contextlib
import hashlib
import logging
import socket
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.events import Event, Seldom, happened
from cluster.power.base import Refusal
from cluster.power.host import HostFiles
from cluster.power.meter import HostId, Meter, MeterReport
from cluster.power.select import Opened, Openers, open_sensors
from cluster.power.settings import PowerSettings
from models.errors import SensorAbsent

FOLLOW_S = 1.0
ABANDONED_S = 60.0
LEAST_SLEEP_S = 0.05
Handle = Any
"""Of a NodeMeter as an actor; Ray's own types do not tell an actor from its class."""
STARTING = 30
"""So often a meter may be asked in vain before it has answered the first time: Ray starts it in seconds."""
logger = logging.getLogger(__name__)


class NodeMeter:
    """A meter with a thread that reads its sensors whenever nobody else does for too long.

    openers    as `cluster.power.select.open_sensors` takes them
    abandoned  called once nobody has asked for a report in ABANDONED_S; the thread then ends
    """

    def __init__(
        self,
        node: str,
        settings: PowerSettings,
        clock: Callable[[], float] = time.monotonic,
        openers: Openers | None = None,
        abandoned: Callable[[], None] = lambda: None,
    ) -> None:
        opened = _opened(settings, openers)
        host = HostId(HostFiles().boot_id(), socket.gethostname())
        refusals = tuple(opened.refusals)
        self._said = _said(host.name, opened)
        busy_s = HostFiles(settings.proc_root).busy_cpu_s
        self._meter = Meter(node, host, uuid.uuid4().hex, opened.sensors, refusals, busy_s)
        self._clock, self._lock, self._closing = clock, threading.Lock(), threading.Event()
        self._abandoned, self._asked_s, self._polled_s = abandoned, clock(), -float("inf")
        self._failed = Seldom(clock)
        self._poll()
        self._thread = threading.Thread(target=self._keep_polling, name="meter", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        """What Ray's dashboard shows of this actor: which sensors it reads, and which it cannot."""
        return self._said

    def report(self) -> MeterReport:
        """What the devices have drawn up to now."""
        with self._lock:
            self._asked_s = self._clock()
            self._poll()
            return self._meter.report()

    def close(self) -> None:
        """End the thread and let go of the sensors."""
        self._closing.set()
        self._thread.join()
        self._meter.close()

    def _poll(self) -> None:
        try:
            self._meter.poll()
        finally:
            self._polled_s = self._clock()

    def _poll_unasked(self) -> None:
        """Whatever a sensor raises, its counter goes on, and the next poll may find it."""
        try:
            self._poll()
        except Exception as error:
            if (more := self._failed.passed()) is not None:
                text = "sensors cannot be read: %s: %s (%d more untold)"
                happened(logger, Event.NOT_KNOWN, text, type(error).__name__, error, more)

    def _keep_polling(self) -> None:
        while not self._closing.wait(max(LEAST_SLEEP_S, self._polled_s + self._meter.poll_s - self._clock())):
            with self._lock:
                if self._clock() - self._polled_s >= self._meter.poll_s:
                    self._poll_unasked()
            if self._clock() - self._asked_s > ABANDONED_S:
                self._abandoned()
                return


class Meters:
    """The meters of all nodes that are alive. Used from one event loop.

    sensors  what every node is to read
    owner    whose meters they are: they outlive this object, and the owner's next one finds them; without one they end
             with this process
    """

    def __init__(self, sensors: PowerSettings, owner: str | None = None) -> None:
        self._sensors, self._owner = sensors, owner
        self._meters: dict[str, Handle] = {}
        self._known: set[str] = set()
        self._silent: set[str] = set()
        self._starting: dict[str, int] = {}  # how often those were asked that have not answered yet

    async def run(self) -> None:
        """Start a meter wherever a node joins, and forget those of nodes that left; for ever."""
        while True:
            try:
                self.follow(await asyncio.to_thread(alive_nodes))
            except RayError as error:
                happened(logger, Event.NOT_KNOWN, "nodes cannot be listed: %s", error)
            await asyncio.sleep(FOLLOW_S)

    def follow(self, nodes: Sequence[str]) -> None:
        """These nodes are alive."""
        for gone in self._known - set(nodes):
            happened(logger, Event.NODE_LEFT, "node %s has left", gone[:8])
        for new in set(nodes) - self._known:
            happened(logger, Event.NODE_JOINED, "node %s is there, and gets a meter", new[:8])
            self._starting[new] = 0
        self._known = set(nodes)
        self._starting = {node: times for node, times in self._starting.items() if node in nodes}
        self._silent &= self._known
        self._meters = {node: meter for node, meter in self._meters.items() if node in nodes}
        for node in nodes:
            if node not in self._meters:
                self._meters[node] = started(node, self._sensors, self._owner)

    async def reports(self, timeout_s: float) -> tuple[MeterReport, ...]:
        """What the meters tell that answer in time. Those that do not tell it all next time."""
        asked = {node: asyncio.ensure_future(_ask(meter)) for node, meter in self._meters.items()}
        if not asked:
            return ()
        await asyncio.wait(asked.values(), timeout=timeout_s)
        answered = []
        for node, answer in asked.items():
            if answer.done() and answer.exception() is None:
                answered.append(answer.result())
                if node in self._silent:
                    happened(logger, Event.METER_BACK, "the meter of node %s answers again", node[:8])
                self._silent.discard(node)
                self._starting.pop(node, None)
            else:
                self._tell(node, answer)
        return tuple(answered)

    def _tell(self, node: str, answer: "asyncio.Future[MeterReport]") -> None:
        """Say once that a meter is silent, but for one that starts; one that Ray has given up is started anew."""
        error = answer.exception() if answer.done() else TimeoutError("no answer in time")
        answer.cancel()
        if node in self._starting:
            self._starting[node] += 1
        if node not in self._silent and self._starting.get(node, STARTING) >= STARTING:
            happened(logger, Event.METER_SILENT, "the meter of node %s is silent: %s", node[:8], error)
            self._silent.add(node)
        if isinstance(error, ray.exceptions.ActorDiedError):
            self._meters.pop(node, None)


def alive_nodes() -> list[str]:
    """Ids of the Ray nodes that are alive."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node["NodeID"] for node in nodes if node["Alive"]]


def started(node: str, sensors: PowerSettings, owner: str | None = None) -> Handle:
    """A meter that starts on that node and nowhere else, or the owner's that is there already, if it reads the same.

    It reserves neither CPU nor GPU.
    """
    options: dict[str, Any] = {
        "num_cpus": 0,
        "num_gpus": 0,
        "max_restarts": -1,
        "enable_task_events": False,  # a call a second for ever, which nobody looks up in Ray's list of tasks
        "scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False),
    }
    if owner is not None:
        digest = hashlib.sha256(sensors.model_dump_json().encode()).hexdigest()[:12]
        options |= {"name": f"meter-{node}-{digest}", "namespace": _namespace(owner)}
        options |= {"lifetime": "detached", "get_if_exists": True}
    return ray.remote(**options)(NodeMeter).remote(node, sensors, abandoned=_end_this_actor)


def stop_meters(owner: str) -> None:
    """End the owner's meters at once. Ray's nodes would wait for them before they stop."""
    for actor in ray.util.list_named_actors(all_namespaces=True):
        if actor["namespace"] == _namespace(owner):
            with contextlib.suppress(ValueError):  # it has gone meanwhile
                ray.kill(ray.get_actor(actor["name"], _namespace(owner)))


def _namespace(owner: str) -> str:
    return f"greenflow-{owner}"


def _end_this_actor() -> None:
    ray.kill(ray.get_runtime_context().current_actor)


async def _ask(meter: Handle) -> MeterReport:
    report: MeterReport = await meter.report.remote()
    return report


def _said(host: str, opened: Opened) -> str:
    reads = ", ".join(sensor.name for sensor in opened.sensors) or "nothing"
    lacks = ", ".join(dict.fromkeys(refusal.sensor for refusal in opened.refusals))
    return f"NodeMeter({host} reads {reads}{f', not {lacks}' if lacks else ''})"


def _opened(settings: PowerSettings, openers: Openers | None) -> Opened:
    """The sensors; where one that is wanted by name cannot be read, none, and why."""
    try:
        return open_sensors(settings, openers)
    except SensorAbsent as absent:
        happened(logger, Event.NOTHING_METERED, "no power is metered here: %s", absent)
        return Opened([], [Refusal(absent.sensor, "", absent.problem, absent.remedy)])
