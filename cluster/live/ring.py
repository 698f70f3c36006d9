"""The last hours in steps of some seconds, as bytes of JSON that are made once. No Ray, no clock."""

from collections import deque
from collections.abc import Sequence
from typing import Any

from pydantic_core import to_json

from cluster.live.actions import Actions
from cluster.live.moment import Moment, point_of

STEP_S, SPAN_S = 10.0, 3 * 3600.0
DIGITS = 6
"""Of figures in points; charts show three."""
Point = tuple[float, bytes]
"""Its Unix time, and its JSON."""


class Ring:
    """Used from one event loop.

    The newest step may be unfinished: its point stands for the windows so far, and is made anew with every one.
    """

    def __init__(self, actions: Actions, step_s: float = STEP_S, span_s: float = SPAN_S) -> None:
        self._actions, self._step_s, self._span_s = actions, step_s, span_s
        self._points: deque[Point] = deque()
        self._open: list[Moment] = []
        self._open_point: Point | None = None

    def add(self, moment: Moment) -> None:
        """A window has ended. Where the clock was set back, what would be later than it is forgotten."""
        self._forget_from(moment.time_s)
        if self._open and self._step_of(self._open[-1].time_s) != self._step_of(moment.time_s):
            self._points.append(self._made())
            self._open = []
        self._open.append(moment)
        self._open_point = None
        while self._points and self._points[0][0] <= moment.time_s - self._span_s:
            self._points.popleft()

    def fill(self, points: Sequence[dict[str, Any]]) -> None:
        """Put in points of before, in order; those that are later than the first known one are left out."""
        known = [self._points[0][0]] if self._points else [one.time_s for one in self._open[:1]]
        first = min(map(self._step_of, known), default=float("inf"))
        older = [encoded_point(point) for point in points if self._step_of(point["time_s"]) < first]
        self._points.extendleft(reversed(older))

    def since(self, time_s: float) -> tuple[Point, ...]:
        """All points that are later, in order."""
        if self._open and self._open_point is None:
            self._open_point = self._made()
        newest = () if self._open_point is None else (self._open_point,)
        return tuple(point for point in (*self._points, *newest) if point[0] > time_s)

    def _made(self) -> Point:
        return encoded_point(point_of(self._open, self._actions))

    def _forget_from(self, time_s: float) -> None:
        while self._points and self._step_of(self._points[-1][0]) >= self._step_of(time_s):
            self._points.pop()
        self._open = [one for one in self._open if one.time_s < time_s]

    def _step_of(self, time_s: float) -> float:
        return time_s // self._step_s


def encoded_point(point: dict[str, Any]) -> Point:
    """The point as bytes."""
    return point["time_s"], encoded({**_rounded(point), "time_s": point["time_s"]})


def encoded(content: Any) -> bytes:
    """JSON of it; null for what is no number."""
    return to_json(content, inf_nan_mode="null")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return value
